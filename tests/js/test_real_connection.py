"""socket.js in Chromium against a real WebSocket server."""

from __future__ import annotations

from tests.js.lab import Tab

CONNECT = """
    window.log = [];
    window.socket = connect("/ws/?page=1", { backoffFloorMs: 0, backoffBaseMs: 1, ...argument });
    for (const name of ["ws:open", "ws:close", "ws:gap", "ws:message"]) {
      socket.on(name, (event) => log.push([name, event]));
    }
    const size = (data) => data.byteLength ?? data.size;
    socket.on("ws:binary", (data) => log.push([data.constructor.name, size(data)]));
"""


def test_a_whole_conversation(tab: Tab) -> None:
    tab.run(CONNECT)
    peer = tab.accepted()
    assert peer.path == "/ws/?page=1"
    peer.welcome("c1")
    assert tab.run("return [socket.state, socket.clientId]") == ["open", "c1"]

    peer.say({"type": "ws:ping"})
    assert peer.heard() == {"type": "ws:pong"}

    tab.run("window.reply = socket.request('chat.say', { text: 'hi 🙂' })")
    assert peer.heard() == {"type": "chat.say", "id": 1, "text": "hi 🙂"}
    peer.say({"type": "ws:reply", "id": 1, "result": {"at": 5}})
    assert tab.run("return reply") == {"at": 5}

    tab.run("socket.send(new Uint8Array([1, 2])); socket.send(new Blob(['abc'])); socket.send('')")
    assert [peer.heard_raw() for _ in range(3)] == [b"\x01\x02", b"abc", ""]

    peer.say({"type": "ws:batch", "messages": [{"type": "a"}, {"type": "b"}]})
    peer.say_raw(b"\x00\x01\x02")
    peer.say_raw("{junk")
    tab.until("log.length >= 6")
    events = tab.run("return log.filter(([name]) => name !== 'ws:open')")
    assert events[:3] == [
        ["ws:message", {"type": "a"}],
        ["ws:message", {"type": "b"}],
        ["ArrayBuffer", 3],
    ]
    assert events[4] == ["ws:message", "{junk"]

    tab.run("socket.close(4500, 'enough')")
    assert peer.close_code() == 4500
    assert tab.errors == []


def test_comes_back_after_a_restart_and_a_cut_and_stays_away_when_forced_out(tab: Tab) -> None:
    tab.run(CONNECT)
    peer = tab.accepted()
    peer.welcome()
    peer.close(3001, "shutdown")
    peer = tab.accepted()
    peer.welcome()
    peer.cut()
    peer = tab.accepted()
    peer.welcome()
    peer.close(3503, "replaced")
    tab.until("socket.state === 'closed'")
    closes = tab.run("return log.filter(([name]) => name === 'ws:close').map(([, each]) => each)")
    told = [(each["code"], each["reason"], each["willReconnect"]) for each in closes]
    assert told == [(3001, "shutdown", True), (1006, "", True), (3503, "replaced", False)]
    assert tab.run("return log.filter(([name]) => name === 'ws:gap').length") == 2


def test_a_fresh_ticket_for_each_attempt(tab: Tab) -> None:
    tab.run("""
        let asked = 0;
        const url = async () => `/ws/?ticket=${++asked}`;
        window.socket = connect(url, { backoffFloorMs: 0, backoffBaseMs: 1 });
        socket.view("summary");
    """)
    for number in (1, 2):
        peer = tab.accepted()
        assert peer.path == f"/ws/?ticket={number}"
        assert peer.heard() == {"type": "ws:view", "view": "summary"}
        peer.welcome()
        peer.close(3005 if number == 1 else 3503)
    tab.until("socket.state === 'closed'")
    assert tab.errors == []


def test_binary_arrives_as_blob_on_request(tab: Tab) -> None:
    tab.run(CONNECT, {"binaryType": "blob"})
    tab.accepted().say_raw(b"\x00\x01\x02")
    tab.until("log.some(([name]) => name === 'Blob')")
    assert tab.run("return log.find(([name]) => name === 'Blob')") == ["Blob", 3]


def test_a_silent_server_is_left(tab: Tab) -> None:
    slow = {"backoffFloorMs": 20_000, "backoffBaseMs": 20_000}
    tab.run(CONNECT, {"pingAfterMs": 1, "pongWithinMs": 1, **slow})
    peer = tab.accepted()
    assert peer.heard() == {"type": "ws:ping"}
    assert peer.close_code() == 3012


def test_leaving_the_page_closes_the_connection_in_the_regular_way(tab: Tab) -> None:
    tab.run(CONNECT)
    peer = tab.accepted()
    peer.welcome()
    tab.go("/")
    assert peer.close_code() == 1000
