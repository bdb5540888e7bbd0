"""When to come back, and when a server is dead; time is an argument, nothing here sleeps."""

from __future__ import annotations

import math

import pytest

from wsadapter.wire.heartbeat import Action
from wsadapter.wire.reconnecting import Timings, Watch, backoff_delay_seconds, watch_silence

SHORT = Timings(ping_after_seconds=25, pong_within_seconds=10)


def test_the_delay_is_spread_over_the_whole_range_of_its_attempt() -> None:
    draws = [backoff_delay_seconds(6, i / 10_000, Timings()) for i in range(10_000)]
    for low in (0, 5, 10, 15):
        assert sum(low <= draw < low + 5 for draw in draws) == 2_500


@pytest.mark.parametrize(
    ("attempt", "ceiling"), [(0, 0.5), (1, 1), (2, 2), (5, 16), (6, 20), (40, 20), (5_000, 20)]
)
def test_the_range_doubles_up_to_the_cap(attempt: int, ceiling: float) -> None:
    assert backoff_delay_seconds(attempt, 0.0, Timings()) == 0.1
    assert backoff_delay_seconds(attempt, 1.0, Timings()) == ceiling


def test_the_delay_follows_its_timings() -> None:
    timings = Timings(
        backoff_floor_seconds=0.05, backoff_base_seconds=0.01, backoff_cap_seconds=0.08
    )
    delays = [backoff_delay_seconds(attempt, 1.0, timings) for attempt in (0, 1, 2, 3, 9)]
    assert delays == [0.01, 0.02, 0.04, 0.08, 0.08]


def test_a_silence_from_beginning_to_end() -> None:
    watch = Watch(100.0)
    action, watch, again_in_seconds = watch_silence(watch, 100.0, SHORT)
    assert (action, again_in_seconds) == (Action.WAIT, 25)
    action, watch, again_in_seconds = watch_silence(watch, 125.0, SHORT)
    assert (action, watch, again_in_seconds) == (Action.PING, Watch(125.0, 1), 10)
    assert watch_silence(watch, 134.0, SHORT).action is Action.WAIT
    action, _, again_in_seconds = watch_silence(watch, 135.0, SHORT)
    assert (action, again_in_seconds) == (Action.DEAD, math.inf)


def test_a_process_that_slept_asks_once_more() -> None:
    action, watch, _ = watch_silence(Watch(125.0, 1), 90_000.0, SHORT)
    assert (action, watch) == (Action.PING, Watch(90_000.0, 2))
    assert watch_silence(watch, 90_010.0, SHORT).action is Action.DEAD


def test_never_means_never() -> None:
    timings = Timings(ping_after_seconds=math.inf)
    assert watch_silence(Watch(0.0), 1e9, timings) == (Action.WAIT, Watch(0.0), math.inf)


@pytest.mark.parametrize("seconds", [-1, -0.001, math.nan])
def test_a_wrong_duration_is_named(seconds: float) -> None:
    message = f"pong_within_seconds is a number of seconds from 0, not {seconds}"
    with pytest.raises(ValueError, match=message):
        Timings(pong_within_seconds=seconds)
