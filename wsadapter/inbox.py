"""What waits for one connection's handlers: bounded, and in order within a priority."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from wsadapter.incoming import MAX_BYTES
from wsadapter.wire.lanes import LANE_SIZE, Lanes, Priority
from wsadapter.wire.orders import Message, frame_of
from wsadapter.wire.payload import size_of

#: Messages of plain Channels code that may wait before further ones are dropped.
MAX_EVENTS = 1000


class Entry(NamedTuple):
    """A message that waits."""

    message: Message
    #: The lane of a frame; None for an event.
    lane: Priority | None
    #: Of a frame, in bytes.
    size: int = 0


class Inbox:
    """The browser's frames and the layer's events of one connection, in one order.

    A browser can be made to wait, so its frames are never dropped; a channel layer cannot.

    Args:
        max_frames: how many may wait in one lane before the connection is not read any more.
    """

    def __init__(self, max_frames: int = LANE_SIZE) -> None:
        self.dropped = 0
        self._max_frames = max_frames
        self._waiting: Lanes[Entry] = Lanes()
        # How many frames wait in each lane, and how many events in all.
        self._frames: dict[Priority, int] = {}
        self._bytes = 0
        self._events = 0
        self._room: asyncio.Event | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether the browser has to wait: some lane has no room, or all together are too large."""
        too_many = any(count >= self._max_frames for count in self._frames.values())
        return too_many or self._bytes >= MAX_BYTES

    async def room(self) -> None:
        """Wait until the browser may send on."""
        while self.full:
            self._room = asyncio.Event()
            await self._room.wait()

    def put_frame(self, message: Message, priority: Priority = Priority.NORMAL) -> None:
        """Queue a frame of the browser."""
        size = size_of(frame_of(message))
        self._frames[priority] = self._frames.get(priority, 0) + 1
        self._bytes += size
        self._waiting.put(Entry(message, priority, size), priority)

    def put_event(self, message: Message) -> bool:
        """Queue a message of the layer. Returns whether there was room."""
        if self._events >= MAX_EVENTS:
            self.dropped += 1
            return False
        self._events += 1
        self._waiting.put(Entry(message, None))
        return True

    def pop(self) -> Message:
        """The message whose turn it is; the inbox must not be empty."""
        message, lane, size = self._waiting.pop()
        if lane is None:
            self._events -= 1
        else:
            self._frames[lane] -= 1
            self._bytes -= size
            if self._room is not None:
                self._room.set()
        return message
