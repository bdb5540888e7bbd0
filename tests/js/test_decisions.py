"""The pure parts of socket.js: numbers in, numbers out."""

from __future__ import annotations

import math

from tests.js.lab import Tab
from wsadapter.close_codes import should_reconnect
from wsadapter.wire.failures import kind_of_close


def test_browser_and_server_agree_on_every_close_code(tab: Tab) -> None:
    verdicts = tab.run("return Array.from({ length: 4000 }, (_, i) => shouldReconnect(1000 + i))")
    assert verdicts == [should_reconnect(code) for code in range(1000, 5000)]


def test_browser_and_server_agree_on_what_every_end_means(tab: Tab) -> None:
    kinds = tab.run("return Array.from({ length: 4000 }, (_, i) => kindOf(1000 + i))")
    assert kinds == [kind_of_close(code) for code in range(1000, 5000)]


def test_delay_is_spread_over_the_whole_range_of_its_attempt(tab: Tab) -> None:
    lowest, highest, shares = tab.run("""
        const attempts = [0, 1, 2, 5, 6, 40, 2000];
        const draws = Array.from({ length: 10000 }, (_, i) => backoffDelayMs(6, i / 10000));
        const share = (from, to) => draws.filter((ms) => ms >= from && ms < to).length / 10000;
        return [
          attempts.map((attempt) => backoffDelayMs(attempt, 0)),
          attempts.map((attempt) => backoffDelayMs(attempt, 1)),
          [share(0, 5000), share(5000, 10000), share(10000, 15000), share(15000, 20000)],
        ]
    """)
    assert lowest == [100] * 7
    assert highest == [500, 1000, 2000, 16000, 20000, 20000, 20000]
    assert shares == [0.25] * 4


def test_delay_follows_its_options(tab: Tab) -> None:
    delays = tab.run("""
        const timings = { backoffFloorMs: 50, backoffBaseMs: 10, backoffCapMs: 80 };
        return [0, 1, 2, 3, 9].map((attempt) => backoffDelayMs(attempt, 1, timings))
    """)
    assert delays == [10, 20, 40, 80, 80]


def test_states_change_by_their_table_alone(tab: Tab) -> None:
    table = tab.run("""
        const events = ["dialled", "opened", "lost", "ended", "toString"];
        const next = (state, event) => {
          try { return nextState(state, event) } catch { return null }
        };
        const row = (state) => [state, events.map((event) => next(state, event))];
        return Object.fromEntries(["connecting", "open", "waiting", "closed", "?"].map(row))
    """)
    assert table == {
        "connecting": [None, "open", "waiting", "closed", None],
        "open": [None, None, "waiting", "closed", None],
        "waiting": ["connecting", None, None, "closed", None],
        "closed": ["connecting", None, None, None, None],
        "?": [None, None, None, None, None],
    }


Silence = tuple[tuple[int, int, int], tuple[str, int, int, float]]

# since, pings, now: verdict, since, pings, ask again in
SILENCE: dict[str, Silence] = {
    "just heard": ((100, 0, 100), ("wait", 100, 0, 25)),
    "almost silent": ((100, 0, 124), ("wait", 100, 0, 1)),
    "silent": ((100, 0, 125), ("ping", 125, 1, 10)),
    "woken after a long sleep": ((100, 0, 90000), ("ping", 90000, 1, 10)),
    "the answer may still come": ((125, 1, 134), ("wait", 125, 1, 1)),
    "no answer": ((125, 1, 135), ("dead", 125, 1, math.inf)),
    "asleep while the answer came": ((125, 1, 90000), ("ping", 90000, 2, 10)),
    "no third chance": ((125, 2, 90000), ("dead", 125, 2, math.inf)),
    "the clock was set back": ((500, 0, 100), ("wait", 100, 0, 25)),
}


def test_a_silent_server_is_asked_and_then_given_up(tab: Tab) -> None:
    decided = tab.run(
        """
        const timings = { pingAfterMs: 25, pongWithinMs: 10 };
        return argument.map(([sinceMs, pings, nowMs]) => {
          const { verdict, watch, againInMs } = watchSilence({ sinceMs, pings }, nowMs, timings);
          return [verdict, watch.sinceMs, watch.pings, againInMs];
        })
        """,
        [list(given) for given, _ in SILENCE.values()],
    )
    verdicts = dict(zip(SILENCE, map(tuple, decided), strict=True))
    assert verdicts == {name: expected for name, (_, expected) in SILENCE.items()}


def test_urls_are_resolved_against_the_page(tab: Tab) -> None:
    resolved = tab.run("""
        const page = "https://shop.example:8443/orders/?page=2#top";
        const urls = ["/ws/", "live/", "?a=1", "http://other.example/ws/", "wss://other.example/x#y"];
        return [...urls.map((url) => resolveUrl(url, page)), resolveUrl("/ws/", "http://localhost:8000")]
    """)
    assert resolved == [
        "wss://shop.example:8443/ws/",
        "wss://shop.example:8443/orders/live/",
        "wss://shop.example:8443/orders/?a=1",
        "ws://other.example/ws/",
        "wss://other.example/x",
        "ws://localhost:8000/ws/",
    ]


def test_wrong_options_are_named(tab: Tab) -> None:
    errors = tab.run("""
        const error = (options) => {
          try { connect("/ws/", options) } catch (error) { return String(error) }
        };
        const wrong = [
          { pingAfter: 5 }, { toString: 1 }, { pingAfterMs: -1 }, { pongWithinMs: "soon" },
        ];
        return wrong.map(error)
    """)
    assert errors[0].startswith('TypeError: connect() has no option "pingAfter"; it has protocols')
    assert errors[1].startswith('TypeError: connect() has no option "toString"')
    assert errors[2:] == [
        "RangeError: pingAfterMs is a number of milliseconds from 0, not -1.",
        "RangeError: pongWithinMs is a number of milliseconds from 0, not soon.",
    ]
