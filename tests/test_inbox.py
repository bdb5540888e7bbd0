"""Order within a priority; a browser waits for room, a layer's surplus is dropped."""

from __future__ import annotations

import asyncio

import pytest

from wsadapter.inbox import MAX_EVENTS, Inbox
from wsadapter.incoming import MAX_BYTES
from wsadapter.wire.lanes import LANE_SIZE, PATIENCE_TURNS, Priority
from wsadapter.wire.orders import Message


def frame(number: int = 0) -> Message:
    return {"type": "websocket.receive", "text": str(number)}


def event(number: int = 0) -> Message:
    return {"type": "chat.message", "number": number}


async def turns_of_the_loop() -> None:
    """Let every task that can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def full_inbox() -> Inbox:
    inbox = Inbox()
    for number in range(LANE_SIZE):
        inbox.put_frame(frame(number))
    return inbox


async def test_frames_and_events_come_out_in_the_order_of_arrival() -> None:
    inbox = Inbox()
    inbox.put_frame(frame(1))
    inbox.put_event(event(2))
    inbox.put_frame(frame(3))
    assert len(inbox) == 3
    assert [inbox.pop() for _ in range(3)] == [frame(1), event(2), frame(3)]
    assert len(inbox) == 0


async def test_a_browser_waits_while_the_inbox_is_full() -> None:
    inbox = await full_inbox()
    assert inbox.full
    waiting = asyncio.ensure_future(inbox.room())
    await turns_of_the_loop()
    assert not waiting.done()
    assert inbox.pop() == frame(0)
    await waiting
    inbox.put_frame(frame(LANE_SIZE))
    assert [inbox.pop() for _ in range(LANE_SIZE)] == [
        frame(number) for number in range(1, LANE_SIZE + 1)
    ]


async def test_room_is_made_by_frames_and_not_by_events() -> None:
    inbox = Inbox()
    inbox.put_event(event())
    for _ in range(LANE_SIZE):
        inbox.put_frame(frame())
    inbox.pop()
    assert inbox.full
    inbox.pop()
    assert not inbox.full


async def test_a_browser_that_gives_up_waiting_has_put_nothing() -> None:
    inbox = await full_inbox()
    waiting = asyncio.ensure_future(inbox.room())
    await turns_of_the_loop()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert len(inbox) == LANE_SIZE
    inbox.pop()
    inbox.put_frame(frame())
    assert len(inbox) == LANE_SIZE


async def test_events_are_dropped_and_counted_beyond_the_bound() -> None:
    inbox = Inbox()
    assert all(inbox.put_event(event(number)) for number in range(MAX_EVENTS))
    assert inbox.dropped == 0
    assert not inbox.put_event(event())
    assert not inbox.put_event(event())
    assert inbox.dropped == 2
    assert len(inbox) == MAX_EVENTS


async def test_events_have_room_beside_a_flood_of_frames_and_frames_beside_events() -> None:
    inbox = await full_inbox()
    assert all(inbox.put_event(event()) for _ in range(MAX_EVENTS))
    inbox = Inbox()
    for _ in range(MAX_EVENTS):
        inbox.put_event(event())
    inbox.put_frame(frame())
    assert len(inbox) == MAX_EVENTS + 1


async def test_what_was_taken_makes_room_for_events() -> None:
    inbox = Inbox()
    for number in range(MAX_EVENTS):
        inbox.put_event(event(number))
    inbox.pop()
    assert inbox.put_event(event())


# Priorities


def taken(inbox: Inbox) -> list[Message]:
    return [inbox.pop() for _ in range(len(inbox))]


def test_the_urgent_come_out_first_and_a_lane_in_its_order() -> None:
    inbox = Inbox()
    for number, priority in enumerate([*reversed(Priority), *reversed(Priority)]):
        inbox.put_frame(frame(number), priority)
    assert taken(inbox) == [frame(number) for number in (3, 7, 2, 6, 1, 5, 0, 4)]


def test_an_event_waits_among_the_normal_frames() -> None:
    inbox = Inbox()
    inbox.put_frame(frame(1))
    inbox.put_event(event(2))
    inbox.put_frame(frame(3))
    inbox.put_frame(frame(4), Priority.LOW)
    inbox.put_frame(frame(5), Priority.HIGH)
    assert taken(inbox) == [frame(5), frame(1), event(2), frame(3), frame(4)]


def test_nobody_waits_for_ever() -> None:
    inbox = Inbox()
    inbox.put_frame(frame(-1), Priority.LOW)
    inbox.put_event(event(-1))
    popped = []
    for number in range(2 * PATIENCE_TURNS):
        inbox.put_frame(frame(number), Priority.URGENT)
        popped.append(inbox.pop())
    assert frame(-1) in popped[:PATIENCE_TURNS]
    assert event(-1) in popped[: PATIENCE_TURNS + 1]


@pytest.mark.parametrize("lane", Priority)
async def test_one_full_lane_makes_the_browser_wait_until_something_leaves_it(
    lane: Priority,
) -> None:
    inbox = Inbox()
    for other in Priority:
        for _ in range(LANE_SIZE - 1):
            inbox.put_frame(frame(), other)
    assert not inbox.full
    inbox.put_frame(frame(), lane)
    assert inbox.full
    waiting = asyncio.ensure_future(inbox.room())
    taken_before = 0
    while not waiting.done():
        assert inbox.full
        inbox.pop()
        taken_before += 1
        await turns_of_the_loop()
    assert not inbox.full
    assert len(inbox) == 4 * (LANE_SIZE - 1) + 1 - taken_before


def test_all_lanes_together_are_bounded_in_bytes() -> None:
    inbox = Inbox()
    large = {"type": "websocket.receive", "text": "x" * (MAX_BYTES // 2)}
    inbox.put_frame(large, Priority.LOW)
    assert not inbox.full
    inbox.put_frame(large, Priority.URGENT)
    assert inbox.full
    inbox.pop()
    assert not inbox.full


def test_one_large_frame_passes() -> None:
    inbox = Inbox()
    inbox.put_frame({"type": "websocket.receive", "bytes": b"x" * (2 * MAX_BYTES)})
    assert inbox.full
    assert len(inbox.pop()["bytes"]) == 2 * MAX_BYTES
    assert not inbox.full
