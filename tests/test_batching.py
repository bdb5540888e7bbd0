"""What one connection collects leaves in order, in time, and with whoever waits for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsadapter.batching import Batching, Taken
from wsadapter.wire.batches import Batch
from wsadapter.wire.lanes import Priority

URGENT, HIGH, NORMAL, LOW = Priority

NEVER = 60.0


class Sent(NamedTuple):
    """A frame that was sent, and what was said about it."""

    frame: dict[str, Any]
    priority: Priority
    waiting: list[Taken]

    @property
    def messages(self) -> Any:
        return self.frame["messages"]


class Clock:
    """The timers of the running event loop, to be fired by hand."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.now = 1000.0
        self._loop = loop
        self._call_at = loop.call_at
        self.timers: list[asyncio.TimerHandle] = []
        self._calls: list[tuple[float, asyncio.TimerHandle, Callable[[], Any]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., Any], *given: Any) -> Any:
        timer = asyncio.TimerHandle(when, callback, given, self._loop)
        self._calls.append((when, timer, lambda: callback(*given)))
        self.timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [call for call in self._calls if call[0] <= self.now]
        self._calls = [call for call in self._calls if call[0] > self.now]
        for _, timer, call in due:
            if not timer.cancelled():
                call()

    @property
    def pending(self) -> int:
        return sum(not timer.cancelled() for _, timer, _ in self._calls)


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    loop = asyncio.get_running_loop()
    clock = Clock(loop)
    monkeypatch.setattr("wsadapter.batching.asyncio.get_running_loop", lambda: clock)
    return clock


class Box(Batching):
    """A `Batching`, and what it has sent."""

    def __init__(self, **options: Any) -> None:
        self.sent: list[Sent] = []
        super().__init__(Batch(**{"max_delay": NEVER, **options}), self._note)

    def _note(self, frame: str, priority: Priority, waiting: list[Taken]) -> None:
        self.sent.append(Sent(json.loads(frame), priority, waiting))

    @property
    def messages(self) -> list[Any]:
        return [sent.messages for sent in self.sent]


def taken() -> Taken:
    return asyncio.Future()


# When it leaves


async def test_it_leaves_with_the_last_of_so_many(clock: Clock) -> None:
    box = Box(max_items=2)
    for number in range(5):
        assert box.collect(str(number), NORMAL)
    assert box.messages == [[0, 1], [2, 3]]
    assert clock.pending == 1, "the fifth has a timer"


async def test_it_leaves_before_it_is_too_large(clock: Clock) -> None:
    box = Box(max_bytes=10)
    for text in ("1111", "22222", "3", "4" * 30, "5"):
        box.collect(text, NORMAL)
    assert [[len(str(number)) for number in batch] for batch in box.messages] == [
        [4, 5],
        [1],
        [30],
    ]


async def test_it_leaves_in_time_whatever_comes_meanwhile(clock: Clock) -> None:
    box = Box(max_delay=0.5)
    box.collect("1", NORMAL)
    clock.advance(0.4)
    box.collect("2", NORMAL)
    assert box.messages == []
    clock.advance(0.1)
    assert box.messages == [[1, 2]]
    box.collect("3", NORMAL)
    clock.advance(0.4)
    assert len(box.sent) == 1, "the time is that of its own first message"
    clock.advance(0.1)
    assert box.messages == [[1, 2], [3]]


async def test_a_batch_that_has_left_does_not_leave_again(clock: Clock) -> None:
    box = Box(max_items=2, max_delay=0.5)
    box.collect("1", NORMAL)
    box.collect("2", NORMAL)
    assert all(timer.cancelled() for timer in clock.timers)
    clock.advance(0.4)
    box.collect("3", NORMAL)
    clock.advance(0.1)
    assert box.messages == [[1, 2]], "the timer was that of the first"


async def test_the_real_clock_lets_it_leave() -> None:
    left = asyncio.Event()
    batching = Batching(Batch(max_delay=0.001), lambda *sent: left.set())
    batching.collect("1", NORMAL)
    await asyncio.wait_for(left.wait(), 10)


async def test_what_is_urgent_is_not_collected_and_lets_nothing_leave(clock: Clock) -> None:
    box = Box()
    box.collect("1", HIGH)
    assert not box.collect("2", URGENT)
    assert not box.collect(b"3", URGENT)
    assert box.sent == []


async def test_what_is_binary_is_not_collected_and_lets_its_lane_leave(clock: Clock) -> None:
    box = Box()
    box.collect("1", NORMAL)
    box.collect("2", LOW)
    assert not box.collect(b"3", NORMAL)
    assert [(sent.messages, sent.priority) for sent in box.sent] == [([1], NORMAL)]
    assert not box.collect(b"4", NORMAL)
    assert len(box.sent) == 1, "there is nothing more"


async def test_lanes_do_not_mix(clock: Clock) -> None:
    box = Box(max_items=3)
    for number, priority in enumerate((LOW, NORMAL, HIGH) * 3):
        box.collect(str(number), priority)
    assert [(sent.messages, sent.priority) for sent in box.sent] == [
        ([0, 3, 6], LOW),
        ([1, 4, 7], NORMAL),
        ([2, 5, 8], HIGH),
    ]
    assert [sent.frame["id"] for sent in box.sent] == [1, 2, 3], "one count for all of them"


async def test_each_lane_has_its_time(clock: Clock) -> None:
    box = Box(max_delay=0.5)
    box.collect("1", LOW)
    clock.advance(0.3)
    box.collect("2", HIGH)
    clock.advance(0.2)
    assert box.messages == [[1]]
    clock.advance(0.3)
    assert box.messages == [[1], [2]]


async def test_all_leave_at_the_end_the_most_urgent_first(clock: Clock) -> None:
    box = Box()
    for number, priority in enumerate((LOW, HIGH, NORMAL)):
        box.collect(str(number), priority)
    box.flush_all()
    assert [sent.priority for sent in box.sent] == [HIGH, NORMAL, LOW]
    box.flush_all()
    assert len(box.sent) == 3
    assert clock.pending == 0


async def test_a_lane_without_anything_sends_nothing(clock: Clock) -> None:
    box = Box()
    box.flush(NORMAL)
    assert box.sent == []


# What it says


async def test_a_batch_has_its_number_its_time_and_its_size(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsadapter.batching.time.time_ns", lambda: 1_763_762_000_123_999_999)
    box = Box(max_items=2)
    for text in ('{"a":1}', "no JSON"):
        box.collect(text, NORMAL)
    assert box.sent[0].frame == {
        "type": "ws:batch",
        "id": 1,
        "sent_at": 1_763_762_000_123,
        "size": 2,
        "messages": [{"a": 1}, "no JSON"],
    }


async def test_another_connection_begins_at_one(clock: Clock) -> None:
    for _ in range(2):
        box = Box(max_items=1)
        box.collect("1", NORMAL)
        assert box.sent[0].frame["id"] == 1


# Who waits for it


async def test_whoever_waits_goes_with_the_batch(clock: Clock) -> None:
    box = Box(max_items=2)
    futures = [taken() for _ in range(4)]
    for future in futures:
        box.collect("1", NORMAL, future)
    assert [sent.waiting for sent in box.sent] == [futures[:2], futures[2:]]


async def test_who_waits_for_nothing_is_not_named(clock: Clock) -> None:
    box = Box(max_items=2)
    future = taken()
    box.collect("1", NORMAL, future)
    box.collect("2", NORMAL)
    box.collect("3", NORMAL)
    box.collect("4", NORMAL)
    assert [sent.waiting for sent in box.sent] == [[future], []]


async def test_whoever_waits_for_one_that_does_not_fit_goes_with_the_next(clock: Clock) -> None:
    box = Box(max_bytes=5)
    first, second = taken(), taken()
    box.collect("1111", NORMAL, first)
    box.collect("2222", NORMAL, second)
    box.flush_all()
    assert [sent.waiting for sent in box.sent] == [[first], [second]]


async def test_what_is_dropped_never_leaves_and_whoever_waits_is_returned(clock: Clock) -> None:
    box = Box(max_delay=0.5)
    normal, low = taken(), taken()
    box.collect("1", NORMAL, normal)
    box.collect("2", LOW, low)
    box.collect("3", LOW)
    assert box.drop_all() == [normal, low]
    assert clock.pending == 0
    clock.advance(1)
    box.flush_all()
    assert box.sent == []
    assert box.drop_all() == []


async def test_it_goes_on_after_all_has_been_dropped(clock: Clock) -> None:
    box = Box(max_items=2)
    box.collect("1", NORMAL)
    box.drop_all()
    box.collect("2", NORMAL)
    assert box.sent == []
    box.collect("3", NORMAL)
    assert box.messages == [[2, 3]]


# All of it together


frames = st.one_of(
    st.integers(0, 10**6).map(str),
    st.sampled_from(["text", "{", '{"a":[1,2]}', ""]),
    st.binary(max_size=3),
)
steps = st.lists(
    st.one_of(
        st.tuples(frames, st.sampled_from(list(Priority))),
        st.floats(0, 2).map(lambda seconds: ("advance", seconds)),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(steps, st.integers(1, 5), st.integers(1, 40))
def test_within_a_lane_everything_leaves_once_and_in_order(
    steps: list[tuple[Any, Any]], max_items: int, max_bytes: int
) -> None:
    asyncio.run(check_order(steps, max_items, max_bytes))


async def check_order(steps: list[tuple[Any, Any]], max_items: int, max_bytes: int) -> None:
    clock = Clock(asyncio.get_running_loop())
    left: dict[Priority, list[Any]] = {priority: [] for priority in Priority}
    given: dict[Priority, list[Any]] = {priority: [] for priority in Priority}

    def send(frame: str, priority: Priority, waiting: list[Taken]) -> None:
        messages = json.loads(frame)["messages"]
        assert 1 <= len(messages) <= max_items
        left[priority] += messages

    batching = Batching(Batch(max_items, max_bytes, 1.0), send)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wsadapter.batching.asyncio.get_running_loop", lambda: clock)
        for what, argument in steps:
            if what == "advance":
                clock.advance(argument)
                continue
            given[argument].append(what if isinstance(what, bytes) else meant(what))
            if not batching.collect(what, argument):
                left[argument].append(given[argument][-1])
        clock.advance(1.0)
    assert left == given
    assert clock.pending == 0


def meant(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


async def test_what_is_awaited_and_what_is_not_may_be_kept_apart_in_order(clock: Clock) -> None:
    box = Box(max_items=9)
    first, second = taken(), taken()
    box.collect("1", NORMAL, first, apart=True)
    box.collect("2", NORMAL, apart=True)
    box.collect("3", NORMAL, apart=True)
    box.collect("4", NORMAL, second, apart=True)
    box.flush_all()
    assert box.messages == [[1], [2, 3], [4]]
    assert [sent.waiting for sent in box.sent] == [[first], [], [second]]
    assert clock.pending == 0
