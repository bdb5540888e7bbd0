"""When a socket comes back, how soon, and when it stays away; time is moved by hand."""

from __future__ import annotations

import math

from tests.js.lab import Tab


def test_the_close_code_says_whether_to_come_back(tab: Tab) -> None:
    ends = tab.run(
        """
        return argument.map((code) => {
          const w = world();
          w.wire.welcome().end(code, "why");
          const [, { willReconnect, delayMs }] = w.events.at(-1);
          const after = w.socket.state;
          w.clock.advance(60_000);
          return [code, after, willReconnect, delayMs, w.wires.length > 1];
        })
        """,
        [1001, 1006, 3001, 4499, 1000, 1009, 3503, 4999],
    )
    assert ends == [
        [1001, "waiting", True, 250, True],
        [1006, "waiting", True, 250, True],
        [3001, "waiting", True, 250, True],
        [4499, "waiting", True, 250, True],
        [1000, "closed", False, None, False],
        [1009, "closed", False, None, False],
        [3503, "closed", False, None, False],
        [4999, "closed", False, None, False],
    ]


def test_a_life_in_events(tab: Tab) -> None:
    events, urls, client_ids = tab.run("""
        const w = world({ protocols: ["a", "b"] });
        const clientIds = [w.socket.clientId];
        w.wire.welcome("c1");
        clientIds.push(w.socket.clientId);
        w.wire.end(3001, "shutdown");
        clientIds.push(w.socket.clientId);
        w.clock.advance(250);
        w.wire.welcome("c2");
        clientIds.push(w.socket.clientId);
        w.socket.close();
        return [w.events, w.wires.map(({ url, protocols }) => [url, protocols]), clientIds]
    """)
    assert events == [
        ["ws:state", "open"],
        ["ws:open", {"reconnected": False}],
        ["ws:welcome", {"type": "ws:welcome", "client": "c1"}],
        ["ws:state", "waiting"],
        ["ws:close", ending(3001, "shutdown", "transient", will_reconnect=True, delay_ms=250)],
        ["ws:state", "connecting"],
        ["ws:state", "open"],
        ["ws:open", {"reconnected": True}],
        ["ws:welcome", {"type": "ws:welcome", "client": "c2"}],
        ["ws:gap", {"type": "ws:gap", "reason": "reconnected"}],
        ["ws:state", "closed"],
        ["ws:close", ending(1000, "", will_reconnect=False, delay_ms=None)],
    ]
    assert client_ids == [None, "c1", None, "c2"]
    assert len(urls) == 2
    assert all(url.startswith("ws://127.0.0.1:") and url.endswith("/ws/") for url, _ in urls)
    assert all(protocols == ["a", "b"] for _, protocols in urls)


def test_back_off_grows_until_a_connection_proves_stable(tab: Tab) -> None:
    refused, dropped, stable = tab.run("""
        const w = world();
        const delayAfter = (live) => {
          live(w.wire);
          w.wire.end(1006, "", false);
          const { delayMs } = w.events.findLast(([name]) => name === "ws:close")[1];
          w.clock.advance(delayMs);
          return delayMs;
        };
        const refuse = () => {};
        const drop = (wire) => { wire.welcome(); w.clock.advance(4_999); };
        const mute = (wire) => { wire.accept(); w.clock.advance(9_000); };
        const live = (wire) => { wire.welcome(); w.clock.advance(5_000); };
        return [
          Array.from({ length: 8 }, () => delayAfter(refuse)),
          [delayAfter(drop), delayAfter(mute)],
          [delayAfter(live), delayAfter(refuse), delayAfter(live)],
        ]
    """)
    assert refused == [250, 500, 1000, 2000, 4000, 8000, 10000, 10000]
    assert dropped == [10000, 10000]
    assert stable == [250, 500, 250]


def test_an_attempt_that_hangs_is_given_up(tab: Tab) -> None:
    before, state, closed_with, detail, late_events = tab.run("""
        const w = world();
        const [first] = w.wires;
        w.clock.advance(19_999);
        const before = w.socket.state;
        w.clock.advance(1);
        const told = [before, w.socket.state, first.closedWith, w.events.at(-1)[1]];
        first.accept();
        first.say({ type: "late" });
        first.end(1000);
        return [...told, w.events.length - 2]
    """)
    assert (before, state, closed_with) == ("connecting", "waiting", [None, None])
    assert detail == {
        "code": 1006,
        "reason": "no connection in time",
        "wasClean": False,
        "kind": "transient",
        "willReconnect": True,
        "delayMs": 250,
    }
    assert late_events == 0


def test_close_is_final_in_every_state(tab: Tab) -> None:
    ends = tab.run("""
        const bring = {
          connecting: () => {},
          open: (w) => w.wire.accept(),
          waiting: (w) => w.wire.end(1006),
          closed: (w) => w.wire.end(3503),
        };
        return Object.entries(bring).map(([state, act]) => {
          const w = world();
          act(w);
          const was = w.socket.state;
          w.socket.close(4500, "bye");
          w.socket.close();
          const timers = w.clock.delaysMs.length;
          w.clock.advance(60_000);
          window.dispatchEvent(new Event("online"));
          return [was, w.socket.state, timers, w.wires.length, w.wire.closedWith, w.states.at(-1)];
        })
    """)
    assert ends == [
        ["connecting", "closed", 0, 1, [4500, "bye"], "closed"],
        ["open", "closed", 0, 1, [4500, "bye"], "closed"],
        ["waiting", "closed", 0, 1, None, "closed"],
        ["closed", "closed", 0, 1, None, "closed"],
    ]


def test_reconnect_begins_afresh_in_every_state(tab: Tab) -> None:
    ends = tab.run("""
        const bring = {
          connecting: () => {},
          open: (w) => w.wire.welcome(),
          waiting: (w) => w.wire.end(1006),
          closed: (w) => w.socket.close(),
        };
        return Object.entries(bring).map(([state, act]) => {
          const w = world();
          act(w);
          const was = w.socket.state;
          w.socket.reconnect();
          w.clock.advance(0);
          const connecting = w.socket.state;
          w.wire.end(1006);
          return [was, connecting, w.wires.length, w.wires[0].closedWith, w.clock.delaysMs];
        })
    """)
    assert ends == [
        ["connecting", "connecting", 2, [1000, "reconnect"], [250]],
        ["open", "connecting", 2, [1000, "reconnect"], [250]],
        ["waiting", "connecting", 2, None, [250]],
        ["closed", "connecting", 2, [1000, ""], [250]],
    ]


def test_a_waiting_socket_connects_at_once_when_network_or_page_is_back(tab: Tab) -> None:
    states = tab.run("""
        const signals = {
          online: () => window.dispatchEvent(new Event("online")),
          hidden: () => pageIs("hidden"),
          visible: () => pageIs("visible"),
          pageshow: () => transition("pageshow"),
        };
        return Object.entries(signals).map(([name, signal]) => {
          const w = world({ backoffFloorMs: 20_000, backoffBaseMs: 20_000 });
          w.wire.end(1006);
          signal();
          const { state } = w.socket;
          w.socket.close();
          signal();
          return [name, state, w.socket.state];
        })
    """)
    assert states == [
        ["online", "connecting", "closed"],
        ["hidden", "waiting", "closed"],
        ["visible", "connecting", "closed"],
        ["pageshow", "connecting", "closed"],
    ]


EXHAUSTED = """
    const exhausted = { type: "ws:error", id: null, code: "exhausted", kind: "exhausted" };
    const w = world();
    w.wire.welcome().say({ ...exhausted, message: "Later.", retry_after: 3 });
    w.wire.end(3013);
"""


def test_a_server_that_is_exhausted_is_spared_whatever_the_page_does(tab: Tab) -> None:
    told = tab.run(f"""
        {EXHAUSTED}
        const detail = w.events.at(-1)[1];
        w.clock.advance(1_000);
        window.dispatchEvent(new Event("online"));
        const told = [detail, w.socket.state, w.clock.delaysMs];
        transition("pagehide");
        w.clock.advance(1_000);
        told.push(w.clock.delaysMs);
        transition("pageshow");
        told.push(w.clock.delaysMs);
        w.clock.nowMs -= 3_600_000;
        pageIs("visible");
        told.push(w.clock.delaysMs);
        w.clock.advance(3_250);
        return [...told, w.socket.state]
    """)
    detail = ending(3013, "", "exhausted", will_reconnect=True, delay_ms=3250)
    assert told == [detail, "waiting", [2250], [], [1250], [3250], "connecting"]


def test_a_page_that_was_away_for_long_enough_connects_at_once(tab: Tab) -> None:
    told = tab.run(f"""
        {EXHAUSTED}
        transition("pagehide");
        w.clock.advance(3_250);
        transition("pageshow");
        return [w.socket.state, w.wires.length]
    """)
    assert told == ["connecting", 2]


def test_reconnect_does_not_wait_for_an_exhausted_server(tab: Tab) -> None:
    told = tab.run(f"""
        {EXHAUSTED}
        w.socket.reconnect();
        const {{ state }} = w.socket;
        transition("pagehide");
        transition("pageshow");
        const again = w.socket.state;
        w.wire.end(1006);
        return [state, again, w.clock.delaysMs]
    """)
    assert told == ["connecting", "connecting", [250]]


def test_a_closed_socket_leaves_nothing_on_the_page(tab: Tab) -> None:
    told = tab.run("""
        const listening = new Set();
        const add = window.addEventListener.bind(window);
        window.addEventListener = (name, fn) => { listening.add(name); add(name, fn) };
        const remove = window.removeEventListener.bind(window);
        window.removeEventListener = (name, fn) => { listening.delete(name); remove(name, fn) };
        const w = world();
        const connecting = [...listening].sort();
        w.socket.close();
        return [connecting, [...listening]]
    """)
    assert told == [["online", "pagehide", "pageshow", "visibilitychange"], []]


def test_a_page_that_is_put_away_closes_and_comes_back_when_it_is_shown(tab: Tab) -> None:
    closed_with, detail, timers, wires_away, back = tab.run("""
        const w = world();
        w.wire.welcome();
        transition("pagehide");
        const told = [w.wire.closedWith, w.events.at(-1)[1], w.clock.delaysMs];
        w.clock.advance(3_600_000);
        const wiresAway = w.wires.length;
        transition("pageshow");
        w.wire.accept();
        return [...told, wiresAway, [w.socket.state, w.wires.length]]
    """)
    assert closed_with == [1000, "page hidden"]
    assert detail == ending(1000, "page hidden", will_reconnect=True, delay_ms=math.inf)
    assert (timers, wires_away) == ([], 1)
    assert back == ["open", 2]


def test_a_waiting_socket_does_not_connect_from_a_page_that_is_put_away(tab: Tab) -> None:
    told = tab.run("""
        const w = world();
        w.wire.end(1006);
        transition("pagehide");
        w.clock.advance(60_000);
        const away = [w.socket.state, w.wires.length];
        transition("pageshow");
        return [away, [w.socket.state, w.wires.length]]
    """)
    assert told == [["waiting", 1], ["connecting", 2]]


def test_listeners_may_close_and_reconnect(tab: Tab) -> None:
    told = tab.run("""
        const closes = world();
        closes.socket.on("ws:close", () => closes.socket.close());
        closes.wire.welcome().end(3001);
        const returns = world();
        returns.socket.on("ws:close", ({ code }) => code === 3503 && returns.socket.reconnect());
        returns.wire.welcome().end(3503);
        return [closes.socket.state, closes.clock.delaysMs, returns.socket.state, returns.states]
    """)
    assert told == ["closed", [], "connecting", ["open", "closed", "connecting"]]


def ending(
    code: int,
    reason: str,
    kind: str | None = None,
    *,
    will_reconnect: bool,
    delay_ms: float | None,
) -> dict[str, object]:
    return {
        "code": code,
        "reason": reason,
        "wasClean": True,
        "kind": kind,
        "willReconnect": will_reconnect,
        "delayMs": delay_ms,
    }
