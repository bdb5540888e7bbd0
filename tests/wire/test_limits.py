"""A message may be so large, as counted on the wire, and so many may come in which time."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsadapter.wire.limits import RateLimit, TokenBucket, exceeds


@given(st.text(st.characters(exclude_categories=[])), st.integers(0, 100))
def test_text_counts_as_utf8(text: str, max_bytes: int) -> None:
    assert exceeds(text, max_bytes) == (len(text.encode("utf-8", "surrogatepass")) > max_bytes)


@given(st.binary(), st.integers(0, 100))
def test_bytes_count_as_they_are(data: bytes, max_bytes: int) -> None:
    assert exceeds(data, max_bytes) == (len(data) > max_bytes)


@pytest.mark.parametrize(
    ("frame", "size"), [("a" * 10, 10), ("é" * 5, 10), ("😀" * 3, 12), (b"\xff" * 10, 10), ("", 0)]
)
def test_a_frame_may_have_just_the_bound(frame: str | bytes, size: int) -> None:
    assert not exceeds(frame, size)
    assert exceeds(frame, size - 1)


# Rates


def passes(bucket: TokenBucket, now: float) -> bool:
    return bucket.take(now) == 0.0


@pytest.mark.parametrize(
    ("per_second", "burst"), [(0.1, 1), (1, 1), (1.5, 2), (10, 10), (10.0, 10), (99.1, 100)]
)
def test_a_burst_is_what_comes_in_a_second_unless_it_is_given(
    per_second: float, burst: int
) -> None:
    assert RateLimit(per_second).burst == burst
    assert RateLimit(per_second, 3).burst == 3


@pytest.mark.parametrize("per_second", [0, -1, math.nan, math.inf])
def test_a_rate_that_cannot_be_kept_is_refused(per_second: float) -> None:
    with pytest.raises(ValueError, match=r"messages a second cannot be kept; give a number above"):
        RateLimit(per_second)


@pytest.mark.parametrize("burst", [0, -1])
def test_a_burst_of_nothing_is_refused(burst: int) -> None:
    with pytest.raises(ValueError, match=rf"a burst of {burst} lets nothing pass; give 1 or more"):
        RateLimit(1, burst)


def test_a_limit_is_a_value() -> None:
    assert RateLimit(2.5) == RateLimit(2.5, burst=3)
    assert hash(RateLimit(2.5)) == hash(RateLimit(2.5, burst=3))
    with pytest.raises(AttributeError):
        RateLimit(2.5).burst = 7  # type: ignore[misc]


def test_a_burst_passes_and_then_one_is_asked_to_wait() -> None:
    bucket = TokenBucket(RateLimit(2, burst=3), now=100)
    assert [bucket.take(100) for _ in range(4)] == [0, 0, 0, 0.5]
    assert bucket.take(100.25) == 0.25
    assert bucket.take(100.5) == 0
    assert bucket.take(100.5) == 0.5


def test_a_long_pause_allows_a_burst_and_no_more() -> None:
    bucket = TokenBucket(RateLimit(10, burst=2), now=0)
    assert [passes(bucket, 1000) for _ in range(3)] == [True, True, False]


def test_a_refusal_takes_nothing() -> None:
    bucket = TokenBucket(RateLimit(1), now=0)
    bucket.take(0)
    assert [bucket.take(0.5) for _ in range(5)] == [0.5] * 5
    assert passes(bucket, 1)


@pytest.mark.parametrize(("burst", "refusals"), [(1, 10), (10, 10), (25, 25)])
def test_a_flood_is_more_refusals_than_a_burst(burst: int, refusals: int) -> None:
    bucket = TokenBucket(RateLimit(1, burst), now=0)
    for _ in range(burst + refusals):
        bucket.take(0)
    assert (bucket.refused_in_a_row, bucket.flooding) == (refusals, False)
    bucket.take(0)
    assert (bucket.refused_in_a_row, bucket.flooding) == (refusals + 1, True)
    assert passes(bucket, 1)
    assert (bucket.refused_in_a_row, bucket.flooding) == (0, False)


def test_a_clock_that_is_set_back_neither_gives_nor_silences() -> None:
    bucket = TokenBucket(RateLimit(1), now=1000)
    bucket.take(1000)
    assert bucket.take(0) == 1
    assert bucket.take(0.5) == 0.5
    assert passes(bucket, 1)


limits = st.builds(RateLimit, st.floats(0.01, 1000), st.none() | st.integers(1, 50))
pauses = st.lists(st.floats(0, 10) | st.just(0.0), max_size=200)


@given(limits, st.floats(0, 1e6), pauses)
def test_in_no_time_more_than_a_burst_and_the_rate_pass(
    limit: RateLimit, start: float, pauses: list[float]
) -> None:
    bucket = TokenBucket(limit, now=start)
    times = [start := start + pause for pause in pauses]
    passed = [now for now in times if passes(bucket, now)]
    for first, since in enumerate(passed):
        for last in range(first, len(passed)):
            allowed = limit.burst + limit.per_second * (passed[last] - since)
            assert last - first + 1 <= allowed + 1e-5


@given(limits, st.floats(0, 1e6), st.integers(0, 100))
def test_who_waits_as_long_as_was_asked_is_let_through(
    limit: RateLimit, now: float, messages: int
) -> None:
    bucket = TokenBucket(limit, now=now)
    for _ in range(messages):
        retry_after = bucket.take(now)
        if retry_after:
            now += retry_after
            assert passes(bucket, now)


@given(limits, st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_no_clock_makes_one_wait_longer_than_for_a_token(
    limit: RateLimit, times: list[float]
) -> None:
    bucket = TokenBucket(limit, now=0)
    for now in times:
        assert 0 <= bucket.take(now) <= 1 / limit.per_second + 1e-3
