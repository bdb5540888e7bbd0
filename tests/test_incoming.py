"""What waits to be read: in order within a priority, to one reader, bounded, and ended for all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_outlet import settle
from wsadapter.incoming import MAX_BYTES, Incoming
from wsadapter.wire.lanes import LANE_SIZE, PATIENCE_TURNS, Priority


def holding(*frames: str | bytes) -> Incoming:
    incoming = Incoming()
    for frame in frames:
        incoming.put(frame)
    return incoming


async def taken(incoming: Incoming, count: int) -> list[str | bytes | None]:
    return [await incoming.get() for _ in range(count)]


async def test_frames_are_taken_in_their_order_and_then_the_end_for_whoever_asks() -> None:
    incoming = holding("one", b"two", "", b"")
    incoming.end()
    assert await taken(incoming, 6) == ["one", b"two", "", b"", None, None]


async def test_who_waits_gets_the_frame_or_the_end() -> None:
    incoming = Incoming()
    waiting = [asyncio.create_task(incoming.get()) for _ in range(4)]
    await settle()
    incoming.put("one")
    incoming.put("two")
    incoming.end()
    assert await asyncio.gather(*waiting) == ["one", "two", None, None]


async def test_who_gives_up_waiting_keeps_nobody_from_the_end() -> None:
    incoming = Incoming()
    first, second = (asyncio.create_task(incoming.get()) for _ in range(2))
    await settle()
    incoming.end()
    first.cancel()
    assert await second is None


async def test_after_the_end_nothing_is_taken_in() -> None:
    incoming = Incoming()
    incoming.end()
    incoming.put("too late")
    incoming.end()
    assert await taken(incoming, 2) == [None, None]
    assert not incoming.full


FILLS = {
    "frames": [""] * LANE_SIZE,
    "bytes": [b"x" * (MAX_BYTES // 2)] * 2,
    "text": ["\N{GRINNING FACE}" * (MAX_BYTES // 4)],
    "one that is too large": [b"x" * (MAX_BYTES * 10)],
}


@pytest.mark.parametrize("frames", FILLS.values(), ids=FILLS)
async def test_it_is_full_at_a_number_of_frames_or_bytes(frames: Iterable[str | bytes]) -> None:
    *others, last = frames
    incoming = holding(*others)
    assert not incoming.full
    incoming.put(last)
    assert incoming.full
    waiting = asyncio.create_task(incoming.room())
    await settle()
    assert not waiting.done()
    await incoming.get()
    await asyncio.wait_for(waiting, 10)
    assert not incoming.full


async def test_a_byte_less_is_not_full() -> None:
    assert not holding(b"x" * (MAX_BYTES - 1)).full
    assert not holding(*[""] * (LANE_SIZE - 1)).full


async def test_what_is_put_while_it_is_full_is_kept() -> None:
    """The server may have had it already when it was told to wait."""
    incoming = holding(*map(str, range(LANE_SIZE + 2)))
    assert await taken(incoming, LANE_SIZE + 2) == list(map(str, range(LANE_SIZE + 2)))


@pytest.mark.parametrize("end", [Incoming.end, Incoming.take_all], ids=["end", "take all"])
async def test_all_who_wait_for_room_go_on_when_it_ends_or_is_emptied(end: object) -> None:
    assert callable(end)
    incoming = holding(*[b"x"] * LANE_SIZE)
    waiting = [asyncio.create_task(incoming.room()) for _ in range(2)]
    await settle()
    end(incoming)
    await asyncio.wait_for(asyncio.gather(*waiting), 10)
    assert not incoming.full


async def test_an_ended_one_is_never_full_whatever_is_left_in_it() -> None:
    incoming = holding(*map(str, range(LANE_SIZE + 5)))
    incoming.end()
    assert not incoming.full
    assert await incoming.get() == "0"
    assert not incoming.full


async def test_what_is_taken_away_is_counted_out() -> None:
    incoming = holding(b"x" * MAX_BYTES, "one")
    assert incoming.take_all() == [b"x" * MAX_BYTES, "one"]
    assert incoming.take_all() == []
    incoming.put(b"x" * (MAX_BYTES - 1))
    assert not incoming.full
    incoming.put(b"x")
    assert incoming.full


async def test_taking_away_what_is_left_leaves_the_end() -> None:
    incoming = holding("one", "two")
    incoming.end()
    assert incoming.take_all() == ["one", "two"]
    assert incoming.take_all() == []
    assert await taken(incoming, 2) == [None, None]


# Priorities


def holding_each(*priorities: Priority) -> Incoming:
    """Frames that are named for their priorities."""
    incoming = Incoming()
    for number, priority in enumerate(priorities):
        incoming.put(f"{priority.name} {number}", priority)
    return incoming


async def test_the_urgent_are_read_first_and_the_end_comes_last() -> None:
    low, normal, high, urgent = reversed(Priority)
    incoming = holding_each(low, normal, low, high, urgent, high)
    incoming.end()
    assert await taken(incoming, 8) == [
        *("URGENT 4", "HIGH 3", "HIGH 5", "NORMAL 1", "LOW 0", "LOW 2", None, None),
    ]


async def test_the_end_comes_last_even_when_it_has_been_passed_over_for_long() -> None:
    """It waits in the last lane, which has its turn at least once in a hundred."""
    incoming = Incoming()
    for lane in (Priority.URGENT, Priority.HIGH, Priority.NORMAL):
        for number in range(LANE_SIZE - 1):
            incoming.put(f"{lane.name} {number}", lane)
    incoming.end()
    read = await taken(incoming, 3 * (LANE_SIZE - 1) + 2)
    assert read[-2:] == [None, None]
    assert None not in read[:-2]


async def test_what_is_low_is_read_at_least_once_in_a_hundred() -> None:
    incoming = Incoming()
    incoming.put("low", Priority.LOW)
    read = []
    for number in range(PATIENCE_TURNS):
        incoming.put(str(number), Priority.URGENT)
        read.append(await incoming.get())
    assert "low" in read


@pytest.mark.parametrize("lane", Priority)
async def test_one_full_lane_is_full(lane: Priority) -> None:
    incoming = holding_each(*Priority, *[lane] * (LANE_SIZE - 2))
    assert not incoming.full
    incoming.put(f"{lane.name} {LANE_SIZE}", lane)
    assert incoming.full
    read = []
    while incoming.full:
        read.append(str(await incoming.get()).split()[0])
    assert read.count(lane.name) == 1


async def test_the_bytes_of_all_lanes_count_together() -> None:
    incoming = Incoming()
    for lane in Priority:
        assert not incoming.full
        incoming.put(b"x" * (MAX_BYTES // 4), lane)
    assert incoming.full
    await incoming.get()
    assert not incoming.full


async def test_taking_all_away_takes_all_lanes_and_counts_them_out() -> None:
    incoming = holding_each(*[Priority.LOW] * LANE_SIZE, Priority.URGENT)
    frames = incoming.take_all()
    assert (len(frames), frames[0]) == (LANE_SIZE + 1, f"URGENT {LANE_SIZE}")
    assert not incoming.full
    incoming.put("one", Priority.LOW)
    assert await taken(incoming, 1) == ["one"]


GET, TAKE_ALL, END = "get", "take all", "end"
steps = st.lists(
    st.sampled_from([GET, TAKE_ALL]) | st.integers(0, MAX_BYTES // 3), max_size=40
).flatmap(lambda steps: st.sampled_from([steps, [*steps, END, GET, GET], [END, *steps]]))


@settings(deadline=None)
@given(steps)
def test_it_is_a_queue_that_says_when_it_is_full(steps: list[str | int]) -> None:
    asyncio.run(check_against_a_list(steps))


async def check_against_a_list(steps: list[str | int]) -> None:
    incoming, waiting, ended = Incoming(), list[bytes](), False
    for number, step in enumerate(steps):
        if isinstance(step, int):
            frame = bytes([number]) + bytes(step)
            incoming.put(frame)
            waiting += [] if ended else [frame]
        elif step == TAKE_ALL:
            assert incoming.take_all() == waiting
            waiting = []
        elif step == END:
            incoming.end()
            ended = True
        elif waiting or ended:
            assert await incoming.get() == (waiting.pop(0) if waiting else None)
        size = sum(map(len, waiting))
        assert incoming.full is (not ended and (len(waiting) >= LANE_SIZE or size >= MAX_BYTES))
