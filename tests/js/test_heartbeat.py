"""Pings, pongs, and a server that says nothing; time is moved by hand."""

from __future__ import annotations

from tests.js.lab import Tab


def test_answers_pings_and_the_welcome(tab: Tab) -> None:
    sent, names = tab.run("""
        const w = world();
        w.wire.accept();
        const silent = w.wire.sent.length;
        w.wire.say({ type: "ws:welcome", client: "c1" });
        w.wire.say({ type: "ws:ping" });
        w.wire.say({ type: "ws:pong" });
        return [[silent, ...w.wire.sent], w.names]
    """)
    assert sent == [0, {"type": "ws:pong"}, {"type": "ws:pong"}]
    assert names == ["ws:state", "ws:open", "ws:welcome"]


def test_a_silent_server_is_asked_then_left(tab: Tab) -> None:
    sent, before, closed_with, detail = tab.run("""
        const w = world();
        w.wire.accept();
        const [first] = w.wires;
        w.clock.advance(24_999);
        const sent = [first.sent.length];
        w.clock.advance(1);
        sent.push(...first.sent);
        w.clock.advance(9_999);
        const before = w.socket.state;
        w.clock.advance(1);
        return [sent, before, first.closedWith, w.events.at(-1)[1]]
    """)
    assert sent == [0, {"type": "ws:ping"}]
    assert before == "open"
    assert closed_with == [3012, "no pong"]
    assert detail == {
        "code": 3012,
        "reason": "no pong",
        "wasClean": False,
        "kind": "transient",
        "willReconnect": True,
        "delayMs": 250,
    }


def test_any_frame_counts_as_life(tab: Tab) -> None:
    told = tab.run("""
        const frames = ['{"type":"ws:pong"}', "junk", new ArrayBuffer(1), '{"type":"ws:unknown"}'];
        return frames.map((frame) => {
          const w = world({ pingAfterMs: 100, pongWithinMs: 50 });
          w.wire.accept();
          w.clock.advance(149);
          w.wire.sayRaw(frame);
          w.clock.advance(99);
          const quiet = [w.socket.state, w.wire.sent.length];
          w.clock.advance(1);
          return [...quiet, w.wire.sent.length];
        })
    """)
    assert told == [["open", 1, 2]] * 4


def test_a_late_timer_asks_once_more_before_it_gives_up(tab: Tab) -> None:
    told = tab.run("""
        const w = world();
        w.wire.accept();
        w.clock.advance(25_000);
        w.clock.sleep(3_600_000);
        const woken = [w.socket.state, w.wire.sent.length];
        w.clock.advance(10_000);
        return [woken, w.socket.state]
    """)
    assert told == [["open", 2], "waiting"]


def test_a_page_that_wakes_asks_whether_the_server_is_there(tab: Tab) -> None:
    told = tab.run("""
        const w = world();
        w.wire.accept();
        w.clock.nowMs += 600_000;
        pageIs("hidden");
        const hidden = w.wire.sent.length;
        pageIs("visible");
        window.dispatchEvent(new Event("online"));
        const asked = w.wire.sent.length;
        w.clock.advance(9_999);
        const waits = w.socket.state;
        w.clock.advance(1);
        return [hidden, asked, waits, w.socket.state]
    """)
    assert told == [0, 1, "open", "waiting"]


def test_the_check_can_be_switched_off(tab: Tab) -> None:
    told = tab.run("""
        const w = world({ pingAfterMs: Infinity });
        w.wire.accept();
        const timers = w.clock.delaysMs;
        w.clock.advance(86_400_000);
        return [timers, w.socket.state, w.wire.sent]
    """)
    assert told == [[], "open", []]
