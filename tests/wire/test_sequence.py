"""Gaps, repeats and latecomers of a sequence; tests/examples/client.json has one for each case."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsadapter.wire.sequence import Sequence, Taken

numbers = st.lists(st.integers(min_value=-5, max_value=30), max_size=50)


def take_all(numbers: list[int]) -> list[Taken]:
    sequence = Sequence()
    return [sequence.take({"sequence": number}) for number in numbers]


@pytest.mark.parametrize(
    "message",
    [None, 5, "text", b"1", [1], {}, {"sequence": None}, {"sequence": True}, {"sequence": "1"}],
    ids=repr,
)
def test_what_has_no_number_has_no_place_in_it(message: object) -> None:
    sequence = Sequence()
    sequence.take({"sequence": 1})
    assert sequence.take(message) == Taken(0, stale=False)
    assert sequence.take({"sequence": 2}) == Taken(0, stale=False)


@given(st.sets(st.integers(min_value=0, max_value=200), min_size=1))
def test_all_that_was_left_out_is_missed_once(arrived: set[int]) -> None:
    taken = take_all(sorted(arrived))
    assert sum(each.missed for each in taken) == max(arrived) - min(arrived) + 1 - len(arrived)
    assert not any(each.stale for each in taken)


@given(numbers)
def test_it_is_stale_when_a_number_as_high_has_come(arrived: list[int]) -> None:
    seen: list[int] = []
    for number, taken in zip(arrived, take_all(arrived), strict=True):
        assert taken.stale == any(number <= other for other in seen)
        assert taken.missed == 0 or not taken.stale
        seen.append(number)
