"""When to come back, and when a server is dead; time is an argument, nothing here sleeps."""

from __future__ import annotations

import math

import pytest

from wsadapter.wire.heartbeat import Action
from wsadapter.wire.reconnecting import (
    Backoff,
    Timings,
    Watch,
    backoff_delay_seconds,
    watch_silence,
)

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


def test_back_off_begins_anew_after_a_stable_connection() -> None:
    backoff = Backoff(Timings(stable_after_seconds=5))
    assert [backoff.delay_seconds(0, 0.5) for _ in range(3)] == [0.25, 0.5, 1]
    backoff.dialled()
    backoff.heard(10)
    backoff.heard(14)  # it is the first time that counts
    assert backoff.delay_seconds(14.9, 0.5) == 2
    assert backoff.delay_seconds(15, 0.5) == 0.25


def test_a_connection_that_says_nothing_is_not_stable() -> None:
    backoff = Backoff(Timings())
    backoff.heard(0)
    backoff.dialled()
    assert [backoff.delay_seconds(now, 0.5) for now in (100, 200)] == [0.25, 0.5]


def test_an_exhausted_server_is_spared_by_attempts_that_fail_too() -> None:
    backoff = Backoff(Timings())
    backoff.heard(0)
    backoff.exhausted(0, 30)
    assert backoff.delay_seconds(0, 0.5) == 30.25
    for delay in (30.5, 31, 32):
        backoff.dialled()
        assert backoff.delay_seconds(1_000, 0.5) == delay


def test_it_is_spared_for_as_long_as_it_asked_even_if_every_connection_counts_as_stable() -> None:
    backoff = Backoff(Timings(stable_after_seconds=0))
    backoff.heard(0)
    backoff.exhausted(0, 3)
    assert backoff.delay_seconds(0, 0.5) == 3.25
    backoff.dialled()
    backoff.heard(10)
    assert backoff.delay_seconds(10, 0.5) == 0.25


def test_not_all_come_back_at_once() -> None:
    def delay_seconds(random: float) -> float:
        backoff = Backoff(Timings())
        backoff.exhausted(0, 3)
        return backoff.delay_seconds(0, random)

    delays = sorted(delay_seconds(i / 1_000) for i in range(1_000))
    assert (delays[0], delays[-1]) == (3.1, pytest.approx(3.5, abs=0.001))
    assert sum(delay < 3.3 for delay in delays) == 600


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
