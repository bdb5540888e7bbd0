"""What waits for a slow client: bounded, in order, and dropped by the policy that was chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from wsadapter.wire.lanes import Priority
from wsadapter.wire.outbox import Outbox, Outcome, Overflow

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


# What its sender waits for, and may take back


@pytest.mark.parametrize("overflow", Overflow)
def test_what_is_awaited_is_neither_refused_nor_dropped(overflow: Overflow) -> None:
    box, dropped = outbox(10, overflow)
    for number in range(3):
        box.put_awaited(number, 100, LOW)
    assert box.put("push", 10) is Outcome.QUEUED, "it takes no room from what is bounded"
    box.put_awaited("awaited", 100)
    box.put("over the bound", 10, URGENT)
    assert not {"awaited", 0, 1, 2} & set(dropped)
    assert [item for item in drained(box) if item not in ("push", "over the bound")] == [
        "awaited",
        *range(3),
    ]


def test_what_is_awaited_counts_for_what_waits() -> None:
    box: Outbox[str] = Outbox(100, item_bytes=40, on_drop=lambda item: None)
    box.put_awaited("a", 5)
    box.put("b", 3)
    assert (len(box), box.queued_bytes) == (2, 88)
    drained(box)
    assert (len(box), box.queued_bytes) == (0, 0)


def test_what_is_awaited_keeps_its_place_in_its_lane() -> None:
    box, _ = outbox()
    for number in range(6):
        put = box.put_awaited if number % 2 else box.put
        put(number, 1, NORMAL if number < 4 else HIGH)
    assert drained(box) == [4, 5, 0, 1, 2, 3]


def test_a_huge_push_passes_what_is_only_awaited() -> None:
    box, dropped = outbox(10, Overflow.DROP_OLDEST)
    box.put_awaited("awaited", 50)
    assert box.put("huge", 1000) is Outcome.QUEUED
    assert not dropped and drained(box) == ["awaited", "huge"]


@pytest.mark.parametrize("put", [Outbox.put, Outbox.put_control, Outbox.put_awaited])
@pytest.mark.parametrize("priority", Priority)
def test_an_item_can_be_taken_back_once(put: Any, priority: Priority) -> None:
    box, dropped = outbox(10)
    put(box, "first", 3, priority)
    put(box, "second", 4, priority)
    assert box.withdraw("first", priority)
    assert not box.withdraw("first", priority)
    assert (len(box), box.queued_bytes) == (1, 4)
    assert drained(box) == ["second"] and not dropped


def test_what_is_taken_back_makes_room() -> None:
    box, _ = outbox(10)
    box.put("first", 10)
    assert box.put("second", 1) is Outcome.FULL
    assert box.withdraw("first", NORMAL)
    assert box.put("second", 10) is Outcome.QUEUED


def test_what_is_not_there_cannot_be_taken_back() -> None:
    box, _ = outbox()
    assert not box.withdraw("never put", NORMAL)
    box.put("item", 1)
    assert not box.withdraw("item", HIGH), "it is in another lane"
    assert box.pop() == "item"
    assert not box.withdraw("item", NORMAL)


def test_of_equal_items_the_very_one_is_taken_back() -> None:
    box, _ = outbox()
    first, second = ["equal"], ["equal"]
    box.put_awaited(first, 1)
    box.put_awaited(second, 1)
    assert box.withdraw(second, NORMAL)
    assert box.pop() is first


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


# All operations in any order, held against a model


@dataclass(eq=False)
class Item:
    """What the model knows of an item."""

    number: int
    size: int
    priority: Priority
    bounded: bool


MAX_BYTES = 40
ITEM_BYTES = 3

priorities, sizes = st.sampled_from(Priority), st.integers(0, 60)


class AgainstAList(RuleBasedStateMachine):
    """The model is a list in the order of arrival; the outbox must not differ from it."""

    @initialize(overflow=policies)
    def begin(self, overflow: Overflow) -> None:
        self.dropped: list[Item] = []
        self.box: Outbox[Item] = Outbox(
            MAX_BYTES, overflow, item_bytes=ITEM_BYTES, on_drop=self.dropped.append
        )
        self.waiting: list[Item] = []
        self.gone: list[Item] = []
        self.count = 0

    def item(self, size: int, priority: Priority, *, bounded: bool) -> Item:
        self.count += 1
        return Item(self.count, size, priority, bounded)

    @rule(size=sizes, priority=priorities)
    def put(self, size: int, priority: Priority) -> None:
        item = self.item(size, priority, bounded=True)
        fits = self.bounded_bytes == 0 or self.bounded_bytes + cost(item) <= MAX_BYTES
        expected = Outcome.QUEUED if fits else self.overflowing(item)
        assert self.box.put(item, size, priority) is expected
        if expected is Outcome.QUEUED:
            self.waiting.append(item)
        else:
            self.gone.append(item)
        self.forget_dropped(item if expected is Outcome.DROPPED else None)

    def overflowing(self, item: Item) -> Outcome:
        """What the policy makes of an item that does not fit."""
        if self.box.overflow is Overflow.CLOSE:
            return Outcome.FULL
        above = sum(cost(it) for it in self.waiting if it.bounded and it.priority < item.priority)
        would_help = not above or above + cost(item) <= MAX_BYTES
        is_oldest = self.box.overflow is Overflow.DROP_OLDEST
        return Outcome.QUEUED if is_oldest and would_help else Outcome.DROPPED

    def forget_dropped(self, newcomer: Item | None) -> None:
        """They have to be the least urgent and oldest of what may go, and no more than needed."""
        dropped, self.dropped[:] = list(self.dropped), []
        if newcomer is not None or not dropped:
            assert dropped == ([newcomer] if newcomer else [])
            return
        *others, item = self.waiting
        may_go = [it for it in others if it.bounded and it.priority >= item.priority]
        may_go.sort(key=lambda it: (-it.priority, it.number))
        assert dropped == may_go[: len(dropped)]
        still = self.bounded_bytes - sum(cost(it) for it in dropped[:-1])
        assert still > MAX_BYTES, "one less would not have been enough"
        self.waiting = [it for it in self.waiting if it not in dropped]
        self.gone += dropped

    @rule(size=sizes, priority=priorities)
    def put_control(self, size: int, priority: Priority) -> None:
        self.waiting.append(self.item(size, priority, bounded=True))
        self.box.put_control(self.waiting[-1], size, priority)

    @rule(size=sizes, priority=priorities)
    def put_awaited(self, size: int, priority: Priority) -> None:
        self.waiting.append(self.item(size, priority, bounded=False))
        self.box.put_awaited(self.waiting[-1], size, priority)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from(self.waiting))
        others = [priority for priority in Priority if priority is not item.priority]
        assert not self.box.withdraw(item, data.draw(st.sampled_from(others)))
        assert self.box.withdraw(item, item.priority)
        self.waiting.remove(item)
        self.gone.append(item)

    @precondition(lambda self: self.gone)
    @rule(data=st.data())
    def withdraw_what_is_gone(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from(self.gone))
        assert not self.box.withdraw(item, item.priority)

    @rule()
    def pop(self) -> None:
        expected = min(self.waiting, key=in_order, default=None)
        assert self.box.pop() is expected
        if expected is not None:
            self.waiting.remove(expected)
            self.gone.append(expected)

    @rule()
    def clear(self) -> None:
        assert list(self.box.clear()) == sorted(self.waiting, key=in_order)
        self.gone += self.waiting
        self.waiting = []

    @property
    def bounded_bytes(self) -> int:
        return sum(cost(item) for item in self.waiting if item.bounded)

    @invariant()
    def counts_are_right(self) -> None:
        assert len(self.box) == len(self.waiting)
        assert self.box.queued_bytes == sum(map(cost, self.waiting))
        assert not self.dropped, "nothing is dropped but by a put"


def cost(item: Item) -> int:
    return item.size + ITEM_BYTES


def in_order(item: Item) -> tuple[Priority, int]:
    return item.priority, item.number


AgainstAList.TestCase.settings = settings(deadline=None)
TestAgainstAList = AgainstAList.TestCase
