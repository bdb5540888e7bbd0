"""What a client has sent and nobody has read yet: bounded, ordered, for any number of readers."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from wsadapter.wire.lanes import LANE_SIZE, Lanes, Priority
from wsadapter.wire.payload import Frame, size_of

#: Bytes that may wait before that. One more frame passes, so that a large one can be read at all.
MAX_BYTES = 256 * 1024


class Entry(NamedTuple):
    """A frame that waits; at the end None, for whoever asks."""

    frame: Frame | None
    lane: Priority


_END = Entry(None, Priority.LOW)


class _Queue(asyncio.Queue[Entry]):
    """A queue of four lanes, by the methods that `asyncio.Queue` has for that."""

    def _init(self, maxsize: int) -> None:
        self._queue: Lanes[Entry] = Lanes()

    def _put(self, item: Entry) -> None:
        self._queue.put(item, item.lane)

    def _get(self) -> Entry:
        return self._queue.pop()


class Incoming:
    """The frames of one connection between its pump, which puts, and its readers, who get.

    It needs no event loop of its own: all calls come from the connection's.

    Args:
        max_frames: how many may wait in one lane before the connection is not read any more.
    """

    def __init__(self, max_frames: int = LANE_SIZE) -> None:
        self._max_frames = max_frames
        self._waiting = _Queue()
        self._frames: dict[Priority, int] = {}
        self._bytes = 0
        self._room = asyncio.Event()
        self._room.set()
        self._ended = False

    @property
    def full(self) -> bool:
        """Whether the client has to wait."""
        return not self._room.is_set()

    async def room(self) -> None:
        """Wait until there is room, or the end has come."""
        await self._room.wait()

    def put(self, frame: Frame, priority: Priority = Priority.NORMAL) -> None:
        """Queue a frame; after the end it is dropped."""
        if not self._ended:
            count = self._frames[priority] = self._frames.get(priority, 0) + 1
            self._bytes += size_of(frame)
            self._waiting.put_nowait(Entry(frame, priority))
            if count >= self._max_frames or self._bytes >= MAX_BYTES:
                self._room.clear()

    async def get(self) -> Frame | None:
        """The frame whose turn it is, as soon as there is one; None after the last one."""
        while True:
            entry = await self._waiting.get()
            if entry.frame is not None:
                self._took(entry.frame, entry.lane)
                return entry.frame
            is_last = self._waiting.empty()
            self._waiting.put_nowait(_END)  # for the next one who asks
            if is_last:
                return None

    def take_all(self) -> list[Frame]:
        """The frames that wait, if any."""
        entries = [self._waiting.get_nowait() for _ in range(self._waiting.qsize())]
        if self._ended:
            self._waiting.put_nowait(_END)
        self._frames, self._bytes = {}, 0
        self._room.set()
        return [entry.frame for entry in entries if entry.frame is not None]

    def end(self) -> None:
        """Nothing more will come; what is there can still be read."""
        if not self._ended:
            self._ended = True
            self._waiting.put_nowait(_END)
            self._room.set()

    def _took(self, frame: Frame, lane: Priority) -> None:
        self._frames[lane] -= 1
        self._bytes -= size_of(frame)
        if not self._room.is_set() and self._has_room():
            self._room.set()

    def _has_room(self) -> bool:
        return self._bytes < MAX_BYTES and max(self._frames.values()) < self._max_frames
