"""What is read from the notes of clients that had to move."""

from __future__ import annotations

import math

import pytest

from benchmarks.fleet import Visit
from benchmarks.moves import Client, Count, Stay, count_error, peak, promised_peak
from wsadapter.wire.reconnecting import Timings

HISTORY = [
    (1.0, "connecting", 0),
    (1.5, "open", 80),
    (9.0, "waiting", 80),
    (9.25, "connecting", 80),
    (9.5, "waiting", 81),
    (9.75, "connecting", 81),
    (10.0, "open", 82),
]


def noted(history: list[tuple[float, str, int]]) -> dict[str, object]:
    told = {"missed": 3, "repeated": 0, "slowest_seconds": 0.25, "failure": None}
    return {"history": history, **told}


def test_a_client_that_moved_is_read_from_its_notes() -> None:
    client = Client.read(noted(HISTORY))
    assert client.stays == [Stay(1.5, 9.0, 80), Stay(10.0, math.inf, 82)]
    assert client.attempts == [1.0, 9.25, 9.75]
    assert client.was_moved
    assert client.away_seconds() == 1.0
    assert (client.missed, client.slowest_seconds) == (3, 0.25)


def test_a_client_that_stayed_was_not_moved() -> None:
    assert not Client.read(noted(HISTORY[:2])).was_moved


def test_numbers_are_missed_after_the_first_and_heard_once() -> None:
    visit = Visit(room=0)
    for number in (7, 8, 11, 11, 9, 12):
        visit.hear(number, seconds=number / 10)
    assert (visit.last, visit.missed, visit.repeated) == (12, 2, 2)
    assert visit.slowest_seconds == 1.2


@pytest.mark.parametrize(
    ("times", "most"),
    [
        pytest.param([], 0, id="nobody"),
        pytest.param([1.0], 1, id="one"),
        pytest.param([1.0, 2.0, 3.0], 1, id="a second apart"),
        pytest.param([3.0, 1.9, 1.0, 1.5, 2.6], 3, id="in no order"),
    ],
)
def test_the_peak_is_the_most_within_a_second(times: list[float], most: int) -> None:
    assert peak(times) == most


def test_the_spread_promises_what_its_seconds_and_the_jitter_add_up_to() -> None:
    timings = Timings(backoff_floor_seconds=0.1, backoff_base_seconds=0.5)
    assert promised_peak(1000, 8, timings) == pytest.approx(175)
    assert promised_peak(1000, 8, timings, late_seconds=1) == pytest.approx(300)


@pytest.mark.parametrize("drain_seconds", [0, 0.5])
def test_without_a_spread_all_may_come_in_the_same_second(drain_seconds: float) -> None:
    assert promised_peak(1000, drain_seconds, Timings()) == pytest.approx(1000)


def test_those_who_are_told_evenly_stay_below_the_promise() -> None:
    """The worst that can be: the first ones wait the longest, and those after them the least."""
    timings = Timings()
    times = [
        number * 0.008
        + (timings.backoff_base_seconds if number * 0.008 < 4 else timings.backoff_floor_seconds)
        for number in range(1000)
    ]
    assert 170 < peak(times) <= promised_peak(1000, 8, timings) + 1


STAYS = [Stay(0.0, 10.0, 80), Stay(0.0, math.inf, 81), Stay(10.4, math.inf, 82)]


@pytest.mark.parametrize(
    ("at", "connections", "error"),
    [
        pytest.param(5.0, 2, 0, id="as it is"),
        pytest.param(5.0, 1, 1, id="one too few"),
        pytest.param(5.0, 4, 2, id="two too many"),
        pytest.param(10.2, 1, 0, id="moving, and counted nowhere"),
        pytest.param(10.2, 3, 0, id="moving, and counted twice"),
        pytest.param(10.2, 0, 1, id="moving, and the other one is not counted"),
        pytest.param(20.0, 2, 0, id="moved"),
        pytest.param(20.0, 1, 1, id="moved, and one too few"),
    ],
)
def test_a_count_may_be_off_by_those_who_move_just_then(
    at: float, connections: int, error: int
) -> None:
    assert count_error([Count(at, at, connections)], STAYS, slack_seconds=1.0) == error


def test_the_worst_count_is_what_counts() -> None:
    counts = [Count(5.0, 5.0, said) for said in (2, 9, 1)]
    assert count_error(counts, STAYS, slack_seconds=1.0) == 7
    assert count_error([], STAYS, slack_seconds=1.0) == 0


def test_a_count_may_be_from_any_time_while_it_was_asked() -> None:
    assert count_error([Count(5.0, 9.5, 1)], STAYS, slack_seconds=1.0) == 0
