"""A failed attempt is repeated so often, and after such waits."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsadapter.wire.retries import LONGEST_DELAY_SECONDS, Retry


def delays(retry: Retry) -> list[float]:
    return list(retry.delays_seconds())


@pytest.mark.parametrize(
    ("retry", "expected"),
    [
        (Retry(), [1, 2, 4]),
        (Retry(attempts=3, first_delay_seconds=1, factor=2), [1, 2, 4]),
        (Retry(1), [1]),
        (Retry(4, 0.5, 1), [0.5] * 4),
        (Retry(3, 0.1, 1.5), [0.1, 0.15, 0.225]),
        (Retry(2, 0), [0, 0]),
        (Retry(4, 1000, 3), [1000, 3000, 3600, 3600]),
        (Retry(2, 7200), [3600, 3600]),
    ],
    ids=lambda value: "" if isinstance(value, list) else str(value),
)
def test_waits_grow_by_the_factor_up_to_an_hour(retry: Retry, expected: list[float]) -> None:
    assert delays(retry) == pytest.approx(expected)


@pytest.mark.parametrize("attempts", [0, -1, 1.5, math.nan, math.inf, -math.inf])
def test_what_would_repeat_nothing_is_refused(attempts: float) -> None:
    with pytest.raises(ValueError, match=r"repeats nothing; give a whole number from 1, or no"):
        Retry(attempts=attempts)  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [-1, -0.001, math.nan, math.inf, -math.inf])
def test_a_first_wait_that_is_no_time_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match=r"Retry\(first_delay_seconds=.*\) is no time to wait; g"):
        Retry(first_delay_seconds=seconds)


@pytest.mark.parametrize("factor", [0.99, 0, -2, math.nan, math.inf, -math.inf])
def test_waits_that_shrink_are_refused(factor: float) -> None:
    with pytest.raises(ValueError, match=r"would wait less and less; give a number from 1"):
        Retry(factor=factor)


def test_a_refusal_repeats_what_was_given() -> None:
    with pytest.raises(ValueError, match=r"^Retry\(attempts=0\) repeats nothing"):
        Retry(attempts=0)
    with pytest.raises(ValueError, match=r"^Retry\(factor=0\.5\) would"):
        Retry(factor=0.5)


@pytest.mark.parametrize("attempts", [1.0, 2.0, 1e3])
def test_a_number_of_attempts_that_is_taken_can_be_counted(attempts: float) -> None:
    try:
        retry = Retry(attempts=attempts)  # type: ignore[arg-type]
    except ValueError:
        return
    assert len(delays(retry)) == attempts


def test_a_retry_is_a_value() -> None:
    assert Retry(3, 1, 2) == Retry()
    assert hash(Retry(3, 1, 2)) == hash(Retry())
    with pytest.raises(AttributeError):
        Retry().attempts = 7  # type: ignore[misc]


def test_every_call_begins_with_the_first_wait() -> None:
    retry = Retry(5)
    begun = retry.delays_seconds()
    assert next(begun) == 1
    assert delays(retry) == [1, 2, 4, 8, 16]
    assert list(begun) == [2, 4, 8, 16]


# Properties

retries = st.builds(
    Retry,
    attempts=st.integers(1, 200),
    first_delay_seconds=st.floats(0, allow_infinity=False, allow_nan=False) | st.integers(0, 9000),
    factor=st.floats(1, allow_infinity=False, allow_nan=False) | st.integers(1, 100),
)


@given(retries)
def test_there_is_one_wait_before_each_repetition(retry: Retry) -> None:
    assert len(delays(retry)) == retry.attempts


@given(retries)
def test_no_wait_is_shorter_than_the_one_before_it_or_longer_than_an_hour(retry: Retry) -> None:
    waits = delays(retry)
    assert all(before <= after for before, after in pairwise(waits))
    assert all(0 <= wait <= LONGEST_DELAY_SECONDS for wait in waits), "nor infinite, nor NaN"
    assert waits[0] == min(retry.first_delay_seconds, LONGEST_DELAY_SECONDS)


@given(retries)
def test_each_wait_is_the_factor_times_the_one_before_it(retry: Retry) -> None:
    for before, after in pairwise(delays(retry)):
        assert after == pytest.approx(min(before * retry.factor, LONGEST_DELAY_SECONDS))


numbers = st.floats() | st.integers(-10, 10) | st.integers()


@given(st.integers(-5, 50), numbers, numbers)
def test_a_retry_is_refused_or_works(attempts: int, first: float, factor: float) -> None:
    if attempts >= 1 and 0 <= first < math.inf and 1 <= factor < math.inf:
        assert len(delays(Retry(attempts, first, factor))) == attempts
    else:
        with pytest.raises(ValueError, match="give a"):
            Retry(attempts, first, factor)


@pytest.mark.parametrize("kind", [int, float])
def test_thousands_of_repetitions_are_no_trouble(kind: type[int] | type[float]) -> None:
    waits = delays(Retry(5000, kind(1), kind(10)))
    assert len(waits) == 5000
    assert waits[-1] == LONGEST_DELAY_SECONDS
