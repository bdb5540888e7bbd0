"""What waits for a slow client: bounded, in order, and dropped by the policy that was chosen."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsadapter.wire.outbox import Outbox, Outcome, Overflow, Priority

NORMAL, HIGH, LOW, URGENT = Priority.NORMAL, Priority.HIGH, Priority.LOW, Priority.URGENT


def outbox(
    max_bytes: int = 100, overflow: Overflow = Overflow.CLOSE
) -> tuple[Outbox[Any], list[Any]]:
    """An outbox, and the list of what it drops."""
    dropped: list[Any] = []
    return Outbox(max_bytes, overflow, on_drop=dropped.append), dropped


def drained(box: Outbox[Any]) -> list[Any]:
    return list(box.clear())


def test_an_empty_outbox_has_nothing() -> None:
    box, _ = outbox()
    assert box.pop() is None
    assert len(box) == 0
    assert box.queued_bytes == 0


def test_items_leave_in_the_order_in_which_they_came() -> None:
    box, _ = outbox()
    for number in range(10):
        assert box.put(number, 1) is Outcome.QUEUED
    assert [box.pop() for _ in range(10)] == list(range(10))


def test_the_more_urgent_lane_leaves_first() -> None:
    box, _ = outbox()
    for priority in (LOW, NORMAL, URGENT, HIGH, LOW, URGENT):
        box.put(priority.name, 1, priority)
    assert drained(box) == ["URGENT", "URGENT", "HIGH", "NORMAL", "LOW", "LOW"]


def test_what_has_left_makes_room() -> None:
    box, _ = outbox(10)
    box.put("first", 10)
    assert box.put("second", 1) is Outcome.FULL
    box.pop()
    assert box.put("second", 10) is Outcome.QUEUED


def test_an_item_larger_than_the_bound_passes_only_while_the_outbox_is_empty() -> None:
    box, _ = outbox(10)
    assert box.put("huge", 1000) is Outcome.QUEUED
    assert box.put("tiny", 1) is Outcome.FULL
    assert box.pop() == "huge"
    box.put("tiny", 1)
    assert box.put("huge", 1000) is Outcome.FULL


def test_control_frames_are_never_refused() -> None:
    box, dropped = outbox(10, Overflow.DROP_OLDEST)
    box.put("push", 10)
    box.put_control("close", 50)
    assert not dropped
    assert drained(box) == ["close", "push"]


def test_clearing_leaves_nothing_behind() -> None:
    box, _ = outbox()
    box.put("a", 5)
    box.put_control("b", 5)
    assert drained(box) == ["b", "a"]
    assert (len(box), box.queued_bytes) == (0, 0)


# Policies


def test_close_refuses_and_drops_nothing() -> None:
    box, dropped = outbox(10)
    box.put("old", 10)
    assert box.put("new", 1) is Outcome.FULL
    assert not dropped
    assert drained(box) == ["old"]


def test_drop_newest_keeps_what_waits() -> None:
    box, dropped = outbox(10, Overflow.DROP_NEWEST)
    box.put("old", 10)
    assert box.put("new", 1, URGENT) is Outcome.DROPPED
    assert dropped == ["new"]
    assert drained(box) == ["old"]


def test_drop_oldest_drops_no_more_than_it_must() -> None:
    box, dropped = outbox(10, Overflow.DROP_OLDEST)
    for number in range(5):
        box.put(number, 2)
    assert box.put("new", 3) is Outcome.QUEUED
    assert dropped == [0, 1]
    assert drained(box) == [2, 3, 4, "new"]


def test_drop_oldest_begins_with_the_least_urgent() -> None:
    box, dropped = outbox(10, Overflow.DROP_OLDEST)
    box.put("low", 3, LOW)
    box.put("high", 3, HIGH)
    box.put("normal", 4, NORMAL)
    assert box.put("new", 6, HIGH) is Outcome.QUEUED
    assert dropped == ["low", "normal"]
    assert drained(box) == ["high", "new"]


def test_drop_oldest_drops_nothing_more_urgent_than_the_newcomer() -> None:
    box, dropped = outbox(10, Overflow.DROP_OLDEST)
    box.put("high", 10, HIGH)
    assert box.put("new", 1, NORMAL) is Outcome.DROPPED
    assert dropped == ["new"]
    assert drained(box) == ["high"]


def test_drop_oldest_drops_nothing_for_a_newcomer_that_cannot_fit() -> None:
    box, dropped = outbox(10, Overflow.DROP_OLDEST)
    box.put("high", 8, HIGH)
    box.put("normal", 2, NORMAL)
    assert box.put("new", 5, NORMAL) is Outcome.DROPPED
    assert dropped == ["new"]
    assert drained(box) == ["high", "normal"]


def test_drop_oldest_lets_a_huge_newcomer_pass_alone() -> None:
    box, dropped = outbox(10, Overflow.DROP_OLDEST)
    box.put("old", 5)
    box.put("low", 5, LOW)
    assert box.put("huge", 1000) is Outcome.QUEUED
    assert sorted(dropped) == ["low", "old"]
    assert drained(box) == ["huge"]


def test_drop_oldest_leaves_more_urgent_items_of_no_size_alone() -> None:
    box, dropped = outbox(10, Overflow.DROP_OLDEST)
    box.put_control("close", 0)
    box.put("old", 5)
    assert box.put("huge", 1000) is Outcome.QUEUED
    assert dropped == ["old"]
    assert drained(box) == ["close", "huge"]


# Properties: any sequence of puts and pops

POP = None
steps = st.lists(
    st.just(POP) | st.tuples(st.sampled_from(Priority), st.integers(0, 60)), max_size=60
)
policies = st.sampled_from(Overflow)


@given(steps, policies)
def test_it_never_exceeds_its_bound_except_by_an_item_that_is_alone(
    steps: list[Any], overflow: Overflow
) -> None:
    dropped: list[tuple[int, int]] = []
    box: Outbox[tuple[int, int]] = Outbox(40, overflow, on_drop=dropped.append)
    waiting: dict[int, int] = {}
    for number, step in enumerate(steps):
        if step is POP:
            if (popped := box.pop()) is not None:
                del waiting[popped[0]]
        elif box.put((number, step[1]), step[1], step[0]) is not Outcome.FULL:
            waiting[number] = step[1]
        while dropped:
            del waiting[dropped.pop()[0]]
        assert box.queued_bytes == sum(waiting.values())
        assert box.queued_bytes <= 40 or len([size for size in waiting.values() if size]) == 1


@given(steps, policies)
def test_every_item_is_taken_or_refused_or_dropped_exactly_once(
    steps: list[Any], overflow: Overflow
) -> None:
    box, dropped = outbox(40, overflow)
    refused, popped, given_in = [], [], []
    for number, step in enumerate(steps):
        if step is POP:
            popped.append(box.pop())
            continue
        given_in.append(number)
        if box.put(number, step[1], step[0]) is Outcome.FULL:
            refused.append(number)
    accounted = [item for item in popped if item is not None] + refused + dropped + drained(box)
    assert sorted(accounted) == given_in
    assert box.queued_bytes == 0


@given(steps, policies)
def test_order_is_kept_within_a_lane(steps: list[Any], overflow: Overflow) -> None:
    box, _ = outbox(40, overflow)
    popped: list[Any] = []
    for number, step in enumerate(steps):
        if step is POP:
            popped.append(box.pop())
        else:
            box.put((step[0], number), step[1], step[0])
    popped.extend(drained(box))
    for priority in Priority:
        numbers = [item[1] for item in popped if item is not None and item[0] is priority]
        assert numbers == sorted(numbers)


@given(steps)
def test_what_leaves_is_the_most_urgent_that_waits(steps: list[Any]) -> None:
    box, _ = outbox(10_000)
    waiting: list[Priority] = []
    for step in steps:
        if step is POP:
            assert box.pop() == (min(waiting) if waiting else None)
            waiting[:] = sorted(waiting)[1:]
        else:
            box.put(step[0], step[1], step[0])
            waiting.append(step[0])


@pytest.mark.parametrize("overflow", Overflow)
def test_sizes_of_zero_are_no_trouble(overflow: Overflow) -> None:
    box, _ = outbox(1, overflow)
    for number in range(5):
        assert box.put(number, 0) is Outcome.QUEUED
    assert drained(box) == [0, 1, 2, 3, 4]


def test_an_item_counts_for_more_than_its_size() -> None:
    """Else tiny or empty messages would take many times the bound in memory."""
    box: Outbox[int] = Outbox(100, item_bytes=40, on_drop=lambda item: None)
    assert [box.put(number, 0) for number in range(3)] == [
        Outcome.QUEUED,
        Outcome.QUEUED,
        Outcome.FULL,
    ]
    assert box.queued_bytes == 80
    assert drained(box) == [0, 1]
    assert box.queued_bytes == 0
