"""What waits is handled most urgent first, in order within a lane, and nothing waits for ever."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsadapter.wire.lanes import PATIENCE_TURNS, Lanes, Priority

URGENT, HIGH, NORMAL, LOW = Priority.URGENT, Priority.HIGH, Priority.NORMAL, Priority.LOW

#: A lane may be taken this early, for all of them to have their turn in time.
DUE_AFTER = PATIENCE_TURNS - len(Priority)


def filled(*contents: tuple[Priority, int]) -> Lanes[tuple[Priority, int]]:
    """Lanes that have so many items, numbered from 0 within each."""
    lanes: Lanes[tuple[Priority, int]] = Lanes()
    for priority, count in contents:
        for number in range(count):
            lanes.put((priority, number), priority)
    return lanes


def served(lanes: Lanes[tuple[Priority, int]], turns: int | None = None) -> list[Priority]:
    """The lanes that the next turns take from."""
    return [lanes.pop()[0] for _ in range(len(lanes) if turns is None else turns)]


def test_nothing_waits_at_first() -> None:
    lanes: Lanes[str] = Lanes()
    assert len(lanes) == 0
    with pytest.raises(IndexError):
        lanes.pop()


@pytest.mark.parametrize("lanes_used", [[LOW], [HIGH, LOW]], ids=["one lane", "two lanes"])
def test_what_is_empty_again_has_nothing(lanes_used: list[Priority]) -> None:
    lanes = filled(*((priority, 1) for priority in lanes_used))
    served(lanes)
    assert len(lanes) == 0
    with pytest.raises(IndexError):
        lanes.pop()


def test_an_item_is_normal_unless_it_says_otherwise() -> None:
    lanes: Lanes[str] = Lanes()
    lanes.put("low", LOW)
    lanes.put("unmarked")
    lanes.put("normal", NORMAL)
    lanes.put("high", HIGH)
    assert [lanes.pop() for _ in range(4)] == ["high", "unmarked", "normal", "low"]


@pytest.mark.parametrize("priority", Priority)
def test_a_lane_keeps_its_order(priority: Priority) -> None:
    lanes = filled((priority, 300))
    assert [lanes.pop() for _ in range(300)] == [(priority, number) for number in range(300)]


def test_an_urgent_item_overtakes_what_waits_longer() -> None:
    lanes = filled((NORMAL, 50))
    served(lanes, 10)
    lanes.put((URGENT, 0), URGENT)
    assert lanes.pop() == (URGENT, 0)
    assert lanes.pop() == (NORMAL, 10)


def test_a_lane_first_used_later_takes_its_place() -> None:
    lanes = filled((LOW, 1), (URGENT, 1), (NORMAL, 1), (HIGH, 1))
    assert served(lanes) == [URGENT, HIGH, NORMAL, LOW]


def test_equal_items_are_not_confused() -> None:
    lanes: Lanes[list[str]] = Lanes()
    first, second = ["equal"], ["equal"]
    lanes.put(first)
    lanes.put(second)
    assert lanes.pop() is first
    assert lanes.pop() is second


# Nobody waits for ever


def longest_wait(turns: Iterable[Priority], priority: Priority) -> int:
    """The most turns in a row, of these and one more, that a lane would wait for its own."""
    longest = passed_over = 0
    for turn in turns:
        passed_over = 0 if turn is priority else passed_over + 1
        longest = max(longest, passed_over)
    return longest + 1


@pytest.mark.parametrize("flood", [URGENT, HIGH, NORMAL])
def test_a_flood_leaves_a_low_lane_one_turn_in_a_hundred(flood: Priority) -> None:
    turns = served(filled((flood, 3000), (LOW, 20)), 1000)
    assert 10 <= Counter(turns)[LOW] <= 11, "it is served, and takes no more than it must"
    assert longest_wait(turns, LOW) <= PATIENCE_TURNS


def test_each_of_the_lanes_that_a_flood_passes_over_is_served_in_time() -> None:
    turns = served(filled(*((priority, 3000) for priority in Priority)), 2500)
    assert {
        lane: longest_wait(turns, lane) <= PATIENCE_TURNS for lane in Priority
    } == dict.fromkeys(Priority, True)


def test_a_flood_that_never_ends_is_still_served_first() -> None:
    turns = Counter(served(filled(*((priority, 3000) for priority in Priority)), 1000))
    assert turns[URGENT] >= 960
    assert all(turns[lane] <= 11 for lane in (HIGH, NORMAL, LOW)), "no more than they must"


def test_patience_is_counted_from_the_last_turn_of_a_lane() -> None:
    lanes = filled((URGENT, DUE_AFTER - 1), (LOW, 2))
    assert set(served(lanes, DUE_AFTER - 1)) == {URGENT}
    assert lanes.pop() == (LOW, 0), "nothing else waits"
    for number in range(DUE_AFTER - 1):
        lanes.put((URGENT, number), URGENT)
    assert set(served(lanes, DUE_AFTER - 1)) == {URGENT}


def test_an_empty_lane_loses_no_patience() -> None:
    lanes = filled((LOW, 1), (URGENT, 3 * PATIENCE_TURNS))
    served(lanes, 2 * PATIENCE_TURNS)  # the low one is among them
    lanes.put((LOW, 1), LOW)
    assert set(served(lanes, DUE_AFTER - 1)) == {URGENT}


# Any puts and pops, held against a model


@dataclass
class Naive:
    """Four queues, and how often in a row each that waits has been passed over."""

    queues: dict[Priority, deque[int]] = field(
        default_factory=lambda: {priority: deque() for priority in Priority}
    )
    passed_over: Counter[Priority] = field(default_factory=Counter)

    @property
    def waiting(self) -> list[Priority]:
        return [priority for priority in Priority if self.queues[priority]]

    def allows(self, priority: Priority) -> bool:
        """Whether this lane may be next: the most urgent, or one that has to be soon."""
        return priority is self.waiting[0] or self.passed_over[priority] >= DUE_AFTER

    def take(self, priority: Priority) -> int:
        for other in self.waiting:
            self.passed_over[other] += 1
        self.passed_over[priority] = 0
        return self.queues[priority].popleft()


puts = st.tuples(st.sampled_from(Priority), st.integers(1, 150))
pops = st.integers(1, 150)


@settings(deadline=None)
@given(st.lists(puts | pops, max_size=14))
def test_the_lanes_do_as_the_model(steps: list[tuple[Priority, int] | int]) -> None:
    lanes: Lanes[tuple[Priority, int]] = Lanes()
    model = Naive()
    arrived = 0
    for step in steps:
        if isinstance(step, tuple):
            priority, count = step
            for number in range(arrived, arrived := arrived + count):
                lanes.put((priority, number), priority)
                model.queues[priority].append(number)
        else:
            for _ in range(min(step, len(lanes))):
                priority, number = lanes.pop()
                assert model.allows(priority), "it was not its turn"
                assert number == model.take(priority), "it was not the oldest of its lane"
                assert not [lane for lane in model.waiting if late(model, lane)]
        assert len(lanes) == sum(map(len, model.queues.values()))
    rest = sorted(lanes.pop() for _ in range(len(lanes)))
    assert rest == sorted((lane, number) for lane in Priority for number in model.queues[lane])


def late(model: Naive, priority: Priority) -> bool:
    """Whether a lane that waits was passed over once more than its patience allows."""
    return model.passed_over[priority] >= PATIENCE_TURNS
