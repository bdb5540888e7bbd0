"""What waits to be read: in order, to exactly one reader, bounded, and ended for all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_outlet import settle
from wsadapter.incoming import MAX_BYTES, MAX_FRAMES, Incoming


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
    "frames": [""] * MAX_FRAMES,
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
    assert not holding(*[""] * (MAX_FRAMES - 1)).full


async def test_what_is_put_while_it_is_full_is_kept() -> None:
    """The server may have had it already when it was told to wait."""
    incoming = holding(*map(str, range(MAX_FRAMES + 2)))
    assert await taken(incoming, MAX_FRAMES + 2) == list(map(str, range(MAX_FRAMES + 2)))


@pytest.mark.parametrize("end", [Incoming.end, Incoming.take_all], ids=["end", "take all"])
async def test_all_who_wait_for_room_go_on_when_it_ends_or_is_emptied(end: object) -> None:
    assert callable(end)
    incoming = holding(*[b"x"] * MAX_FRAMES)
    waiting = [asyncio.create_task(incoming.room()) for _ in range(2)]
    await settle()
    end(incoming)
    await asyncio.wait_for(asyncio.gather(*waiting), 10)
    assert not incoming.full


async def test_an_ended_one_is_never_full_whatever_is_left_in_it() -> None:
    incoming = holding(*map(str, range(MAX_FRAMES + 5)))
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
        assert incoming.full is (not ended and (len(waiting) >= MAX_FRAMES or size >= MAX_BYTES))
