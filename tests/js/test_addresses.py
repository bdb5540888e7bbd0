"""Functions for the URL and the protocols, asked before each attempt; time is moved by hand."""

from __future__ import annotations

import pytest

from tests.js.lab import Tab

#: A function that answers when the test says so.
PENDING = """
    const answers = [];
    const url = () => new Promise((resolve, reject) => answers.push({ resolve, reject }));
    const w = world({}, url);
    await settled();
"""


def test_each_attempt_asks_anew(tab: Tab) -> None:
    told = tab.run("""
        let asked = 0;
        const url = async () => `/ws/?ticket=${++asked}`;
        const w = world({ protocols: () => ["token", `t${asked}`] }, url);
        const before = [w.socket.state, w.socket.url, w.wires.length];
        await settled();
        w.wire.welcome().end(3005);
        w.clock.advance(250);
        await settled();
        const asWere = w.wires.map(({ url, protocols }) => [new URL(url).search, protocols]);
        return [before, asWere, w.socket.url === w.wire.url, w.states]
    """)
    assert told == [
        ["connecting", "", 0],
        [["?ticket=1", ["token", "t1"]], ["?ticket=2", ["token", "t2"]]],
        True,
        ["open", "waiting", "connecting"],
    ]


def test_protocols_may_be_fresh_where_the_url_is_not(tab: Tab) -> None:
    told = tab.run("""
        const w = world({ protocols: async () => "a" });
        await settled();
        return [w.wires.map(({ url, protocols }) => [url === w.socket.url, protocols])]
    """)
    assert told == [[[True, "a"]]]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("() => { throw new Error('no ticket') }", "Error: no ticket"),
        ("async () => { throw new TypeError('Failed to fetch') }", "TypeError: Failed to fetch"),
        ("() => 'ws://['", "TypeError: Failed to construct 'URL': Invalid URL"),
    ],
    ids=["throws", "rejects", "gives no URL"],
)
def test_an_attempt_without_an_address_has_failed(tab: Tab, fault: str, reason: str) -> None:
    detail, delays, state = tab.run(f"""
        const answers = [{fault}, {fault}, () => "/ws/"];
        const w = world({{}}, () => answers.shift()());
        const delays = [];
        while (answers.length > 0) {{
          await settled();
          if (w.socket.state === "waiting") delays.push(...w.clock.delaysMs);
          w.clock.advance(delays.at(-1) ?? 0);
        }}
        await settled();
        const detail = w.events.find(([name]) => name === "ws:close")[1];
        w.wire.accept();
        return [detail, delays, w.socket.state]
    """)
    assert detail == {
        "code": 1006,
        "reason": reason,
        "wasClean": False,
        "kind": "transient",
        "willReconnect": True,
        "delayMs": 250,
    }
    assert (delays, state) == ([250, 500], "open")
    assert tab.errors == []


def test_a_url_that_comes_after_the_end_opens_nothing(tab: Tab) -> None:
    told = tab.run(f"""
        const ways = {{
          close: (w) => w.socket.close(),
          pagehide: () => transition("pagehide"),
          timeout: (w) => w.clock.advance(20_000),
        }};
        const told = [];
        for (const [name, leave] of Object.entries(ways)) {{
          {PENDING}
          leave(w);
          const {{ state }} = w.socket;
          answers[0].resolve("/ws/");
          await settled();
          told.push([name, state, w.socket.state, w.wires.length, w.names.at(-1)]);
          w.socket.close();
        }}
        return told
    """)
    assert told == [
        ["close", "closed", "closed", 0, "ws:close"],
        ["pagehide", "waiting", "waiting", 0, "ws:close"],
        ["timeout", "waiting", "waiting", 0, "ws:close"],
    ]


def test_a_fault_that_comes_after_the_end_is_nobodys(tab: Tab) -> None:
    told = tab.run(f"""
        {PENDING}
        w.socket.close();
        const events = w.events.length;
        answers[0].reject(new Error("too late"));
        await settled();
        return [w.socket.state, w.events.length - events]
    """)
    assert told == ["closed", 0]
    assert tab.errors == []


def test_only_the_newest_attempt_uses_its_answer(tab: Tab) -> None:
    told = tab.run(f"""
        {PENDING}
        w.socket.reconnect();
        w.clock.advance(0);
        await settled();
        answers[1].resolve("/new/");
        answers[0].resolve("/old/");
        await settled();
        return w.wires.map(({{ url }}) => new URL(url).pathname)
    """)
    assert told == ["/new/"]


def test_while_the_address_is_awaited_nothing_is_sent(tab: Tab) -> None:
    told = tab.run(f"""
        {PENDING}
        const taken = w.socket.send("early");
        const asking = w.socket.request("chat.who");
        answers[0].resolve("/ws/");
        await settled();
        w.wire.accept().say({{ type: "ws:reply", id: 1, result: 5 }});
        return [taken, w.wire.sent, await outcome(asking)]
    """)
    assert told == [False, [{"type": "chat.who", "id": 1}], {"result": 5}]


def test_a_listener_may_close_before_the_function_is_asked(tab: Tab) -> None:
    told = tab.run(f"""
        {PENDING}
        answers[0].reject(new Error("no ticket"));
        await settled();
        w.socket.on("ws:state", (state) => state === "connecting" && w.socket.close());
        w.clock.advance(250);
        answers[1]?.resolve("/ws/");
        await settled();
        return [w.socket.state, w.wires.length, w.clock.delaysMs]
    """)
    assert told == ["closed", 0, []]


def test_the_function_may_close_the_socket_for_which_it_is_asked(tab: Tab) -> None:
    told = tab.run("""
        const states = [];
        const w = world({}, () => {
          states.push(w.socket.state);
          w.socket.close();
          return "/ws/";
        });
        await settled();
        w.socket.reconnect();
        await settled();
        return [states, w.socket.state, w.wires.length, w.clock.delaysMs]
    """)
    assert told == [["connecting", "connecting"], "closed", 0, []]


def test_a_fixed_address_that_is_none_is_the_callers_error(tab: Tab) -> None:
    told = tab.run("""
        try { return connect("ws://[") } catch (error) { return error.name }
    """)
    assert told == "TypeError"
