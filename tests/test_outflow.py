"""A sender is as far ahead of its client as a lane holds, and learns of its end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_outlet import settle
from wsadapter.close_codes import ClosedBy
from wsadapter.errors import ConnectionClosed
from wsadapter.outflow import FRAMES_PER_TURN, Outflow, Taken
from wsadapter.wire.lanes import Priority
from wsadapter.wire.payload import Frame, size_of

URGENT, HIGH, NORMAL, LOW = Priority

MAX_BYTES = 100

#: Seconds that anything may take here before a test gives up on it.
PATIENCE_SECONDS = 10.0


class Way:
    """Where an `Outflow` posts: what waits there leaves as the test says."""

    def __init__(self, *, takes_at_once: bool = False) -> None:
        self.takes_at_once = takes_at_once
        self.posted: list[tuple[Frame, Priority]] = []
        self.waiting: dict[Priority, deque[tuple[Frame, Taken]]] = {
            each: deque() for each in Priority
        }

    def post(self, frame: Frame, priority: Priority) -> Taken:
        self.posted.append((frame, priority))
        taken: Taken = asyncio.Future()
        if self.takes_at_once:
            taken.set_result(True)
        else:
            self.waiting[priority].append((frame, taken))
        return taken

    def take(self, count: int = 1, priority: Priority = NORMAL) -> None:
        """The client takes the oldest of a lane."""
        for _ in range(count):
            self.waiting[priority].popleft()[1].set_result(True)

    def close(self) -> None:
        """Nothing more leaves."""
        self.takes_at_once = False
        for lane in self.waiting.values():
            while lane:
                lane.popleft()[1].set_result(False)

    def outflow(self, lane_size: int = 3, max_bytes: int = 1000) -> Outflow:
        return Outflow(self.post, closed_error, lane_size=lane_size, max_bytes=max_bytes)


def closed_error() -> ConnectionClosed:
    return ConnectionClosed(1006, "gone", ClosedBy.NETWORK)


@pytest.fixture
def way() -> Way:
    return Way()


class Sender:
    """A task that sends frames one after the other, as fast as it may."""

    def __init__(self, outflow: Outflow, frames: Iterator[tuple[Frame, Priority]]) -> None:
        self.returned = 0
        self.task = asyncio.create_task(self._send(outflow, frames))

    async def end(self) -> None:
        """Wait until all has been sent."""
        await asyncio.wait_for(self.task, PATIENCE_SECONDS)

    async def _send(self, outflow: Outflow, frames: Iterator[tuple[Frame, Priority]]) -> None:
        for frame, priority in frames:
            await outflow.send(frame, priority)
            self.returned += 1


def sending(outflow: Outflow, *frames: Frame, priority: Priority = NORMAL) -> Sender:
    return Sender(outflow, iter([(frame, priority) for frame in frames]))


async def sent(outflow: Outflow, frame: Frame, priority: Priority = NORMAL) -> None:
    """Send what there is room for."""
    await asyncio.wait_for(outflow.send(frame, priority), PATIENCE_SECONDS)


async def stopped(sender: Sender) -> None:
    sender.task.cancel()
    await asyncio.wait([sender.task])


# While the client takes nothing


async def test_it_returns_until_a_lane_is_full(way: Way) -> None:
    sender = sending(way.outflow(3), *"abcdef")
    await settle()
    assert sender.returned == 2, "the third returns once there is room for a fourth"
    assert [frame for frame, _ in way.posted] == ["a", "b", "c"]
    await stopped(sender)


async def test_each_that_is_taken_makes_room_for_one(way: Way) -> None:
    sender = sending(way.outflow(3), *"abcdef")
    for number in range(3):
        await settle()
        assert (sender.returned, len(way.posted)) == (2 + number, 3 + number)
        way.take()
    await settle()
    assert len(way.posted) == 6
    way.take()
    await sender.end()


async def test_a_lane_of_one_waits_for_each(way: Way) -> None:
    sender = sending(way.outflow(1), "a", "b")
    await settle()
    assert (sender.returned, len(way.posted)) == (0, 1)
    way.take()
    await settle()
    assert (sender.returned, len(way.posted)) == (1, 2)
    way.take()
    await sender.end()


async def test_many_that_are_taken_at_once_make_room_for_as_many(way: Way) -> None:
    sender = sending(way.outflow(3), *"abcdefgh")
    await settle()
    way.take(3)
    await settle()
    assert len(way.posted) == 6
    await stopped(sender)


async def test_another_lane_has_room_of_its_own(way: Way) -> None:
    outflow = way.outflow(2)
    await sent(outflow, "a", NORMAL)
    await sent(outflow, "b", HIGH)
    await sent(outflow, "c", LOW)
    sender = sending(outflow, "d", priority=HIGH)
    await settle()
    assert sender.returned == 0
    way.take(1, NORMAL)
    way.take(1, LOW)
    await settle()
    assert sender.returned == 0, "it waits for its own lane"
    way.take(1, HIGH)
    await sender.end()


async def test_what_is_taken_at_once_passes_by_what_waits_in_another_lane(way: Way) -> None:
    outflow = way.outflow(2)
    await sent(outflow, "a", LOW)
    way.takes_at_once = True
    for _ in range(10):
        await sent(outflow, "urgent", URGENT)


# Bytes


async def test_all_lanes_together_have_so_many_bytes(way: Way) -> None:
    outflow = way.outflow(lane_size=100, max_bytes=10)
    await sent(outflow, "12345", NORMAL)
    await sent(outflow, "12345", LOW)
    sender = sending(outflow, "1", priority=HIGH)
    await settle()
    assert sender.returned == 0 and len(way.posted) == 3
    way.take(1, HIGH)
    await sender.end()


async def test_bytes_of_any_lane_make_room_for_an_empty_one(way: Way) -> None:
    """Its own frame may have been taken, while the others are still too much."""
    outflow = way.outflow(lane_size=100, max_bytes=10)
    await sent(outflow, "1234567890", NORMAL)
    large = sending(outflow, "x" * 50, priority=LOW)
    await settle()
    assert large.returned == 0
    sender = sending(outflow, "1", priority=HIGH)
    await settle()
    way.take(1, HIGH)
    await settle()
    assert sender.returned == 0
    way.take(1, NORMAL)
    way.take(1, LOW)
    await sender.end()
    await large.end()


@pytest.mark.parametrize(
    ("frame", "fits"), [("x" * 10, True), ("x" * 11, False), ("é" * 5, True), ("é" * 6, False)]
)
async def test_bytes_are_those_of_the_payload(way: Way, frame: str, fits: bool) -> None:
    sender = sending(way.outflow(lane_size=100, max_bytes=10), frame)
    await settle()
    assert sender.task.done() is fits
    way.take()
    await sender.end()


async def test_a_frame_larger_than_all_of_it_waits_until_it_is_taken(way: Way) -> None:
    sender = sending(way.outflow(max_bytes=10), b"x" * 1000, "next")
    await settle()
    assert len(way.posted) == 1
    way.take()
    await settle()
    assert len(way.posted) == 2
    await sender.end()


async def test_what_was_taken_is_counted_out(way: Way) -> None:
    outflow = way.outflow(lane_size=100, max_bytes=10)
    for _ in range(20):
        await sent(outflow, "12345", NORMAL)
        way.take()


# While the client takes everything


async def test_what_is_taken_at_once_never_waits() -> None:
    way = Way(takes_at_once=True)
    outflow = way.outflow(1, max_bytes=1)
    for _ in range(1000):
        await sent(outflow, "frame", NORMAL)
    assert len(way.posted) == 1000


@pytest.mark.parametrize("before", [0, 1], ids=["at first", "after one that had to wait"])
async def test_others_have_their_turn_nevertheless(way: Way, before: int) -> None:
    outflow = way.outflow()
    for _ in range(before):
        await sent(outflow, "waits")
        way.take()
    way.takes_at_once = True
    sender = sending(outflow, *["frame"] * (10 * FRAMES_PER_TURN))
    turns = 0
    while not sender.task.done():
        await asyncio.sleep(0)
        turns += 1
    assert 10 <= turns <= 20


# The end


async def test_whoever_waits_learns_of_the_end(way: Way) -> None:
    sender = sending(way.outflow(2), *"abc")
    await settle()
    way.close()
    with pytest.raises(ConnectionClosed, match="gone"):
        await sender.end()
    assert sender.returned == 1


async def test_whoever_sends_after_it_learns_of_it_as_well(way: Way) -> None:
    outflow = way.outflow(5)
    await sent(outflow, "a")
    way.close()
    with pytest.raises(ConnectionClosed, match="gone"):
        await sent(outflow, "b")


async def test_what_was_never_taken_in_says_so(way: Way) -> None:
    class Closed(Way):
        def post(self, frame: Frame, priority: Priority) -> Taken:
            taken: Taken = asyncio.Future()
            taken.set_result(False)
            return taken

    with pytest.raises(ConnectionClosed, match="gone"):
        await sent(Closed().outflow(), "a")


async def test_a_sender_that_gives_up_takes_nothing_back(way: Way) -> None:
    """What it sent before still counts, and still leaves."""
    outflow = way.outflow(2)
    sender = sending(outflow, *"abc")
    await settle()
    await stopped(sender)
    assert sender.task.cancelled()
    way.take(2)
    await sent(outflow, "d")


# All of it together


steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.sampled_from(list(Priority)), st.integers(0, 60)),
        st.tuples(st.just("take"), st.sampled_from(list(Priority)), st.integers(1, 3)),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(steps, st.integers(1, 5))
def test_no_more_waits_than_may_and_nobody_waits_in_vain(
    steps: list[tuple[str, Priority, Any]], lane_size: int
) -> None:
    asyncio.run(check_bounds(steps, lane_size))


async def check_bounds(steps: list[tuple[str, Priority, Any]], lane_size: int) -> None:
    way = Way()
    to_send = [(b"x" * size, priority) for kind, priority, size in steps if kind == "send"]
    sender = Sender(way.outflow(lane_size, MAX_BYTES), iter(to_send))
    takes = [(priority, count) for kind, priority, count in steps if kind == "take"]
    await settle()
    for priority, count in takes:
        check_waiting(way, sender, lane_size)
        way.take(min(count, len(way.waiting[priority])), priority)
        await settle()
    while any(way.waiting.values()):  # the most urgent first, as an outbox does
        check_waiting(way, sender, lane_size)
        way.take(1, next(priority for priority in Priority if way.waiting[priority]))
        await settle()
    assert sender.task.done() and sender.returned == len(to_send)
    assert way.posted == to_send


def check_waiting(way: Way, sender: Sender, lane_size: int) -> None:
    lanes = way.waiting.values()
    waiting_bytes = sum(size_of(frame) for lane in lanes for frame, _ in lane)
    assert all(len(lane) <= lane_size for lane in lanes)
    before = waiting_bytes - size_of(way.posted[-1][0]) if way.posted else 0
    assert before <= MAX_BYTES, "it went on although they were too many"
    if not sender.task.done():
        own = way.waiting[way.posted[-1][1]]
        assert own or waiting_bytes > MAX_BYTES, "it waits in vain"
