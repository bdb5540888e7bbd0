"""The ticks of a periodic task lie on a grid; time is an argument, nothing here sleeps."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsadapter.wire.cadence import Cadence


def test_a_tick_comes_every_interval() -> None:
    cadence = Cadence(5, now=100)
    assert cadence.due(100) == 5
    assert cadence.due(105) == 5
    assert cadence.due(110) == 5


def test_how_long_a_run_takes_moves_no_tick() -> None:
    cadence = Cadence(5, now=100)
    cadence.due(100)
    assert cadence.due(106) == 4
    assert cadence.due(114.5) == 0.5


def test_ticks_that_were_missed_are_skipped() -> None:
    cadence = Cadence(5, now=100)
    cadence.due(100)
    assert cadence.due(122) == 3
    assert cadence.due(125) == 5


def test_a_run_that_ends_at_a_tick_is_followed_at_once() -> None:
    cadence = Cadence(5, now=100)
    cadence.due(100)
    assert cadence.due(110) == 0
    assert cadence.due(110) == 5


def test_a_timer_that_wakes_early_does_not_make_a_slot_run_twice() -> None:
    cadence = Cadence(5, now=100)
    cadence.due(100)
    assert cadence.due(104.999) == pytest.approx(5.001)


def test_a_late_start_is_late_once() -> None:
    assert Cadence(5, now=100).due(107) == 3


@pytest.mark.parametrize("interval", [0, -1, math.nan, math.inf])
def test_an_interval_that_cannot_be_kept_is_refused(interval: float) -> None:
    with pytest.raises(ValueError, match=rf"every {interval} seconds; give a number above 0\."):
        Cadence(interval, now=0)


@given(
    interval=st.floats(0.01, 1000),
    start=st.floats(0, 1e6),
    runs=st.lists(st.floats(0, 5) | st.integers(0, 5), max_size=50),
)
def test_all_ticks_lie_on_the_grid_and_no_two_in_one_slot(
    interval: float, start: float, runs: list[float]
) -> None:
    """The runs take so many intervals each."""
    cadence, now, slots = Cadence(interval, now=start), start, [0]
    for run in runs:
        now += run * interval
        wait = cadence.due(now)
        assert 0 <= wait <= interval + 1e-6
        now += wait
        slot = round((now - start) / interval)
        assert now == pytest.approx(start + slot * interval, abs=1e-6)
        assert slot > slots[-1]
        slots.append(slot)


@given(st.floats(0.01, 1000), st.lists(st.floats(-1e6, 1e6)))
def test_no_clock_makes_a_wait_negative(interval: float, times: list[float]) -> None:
    cadence = Cadence(interval, now=0)
    assert all(cadence.due(now) >= 0 for now in times)
