"""What waits for one connection's handlers: bounded, in the order of arrival."""

from __future__ import annotations

import asyncio
from collections import deque

from wsadapter.wire.orders import Message

#: Frames of the browser that may wait before its connection is not read any more.
MAX_FRAMES = 100
#: Messages of plain Channels code that may wait before further ones are dropped.
MAX_EVENTS = 1000


class Inbox:
    """The browser's frames and the layer's events of one connection, in one order.

    A browser can be made to wait, so its frames are never dropped; a channel layer cannot.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._waiting: deque[tuple[Message, bool]] = deque()  # with: is it a frame?
        self._frames = 0
        self._room: asyncio.Event | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether the browser has to wait."""
        return self._frames >= MAX_FRAMES

    async def room(self) -> None:
        """Wait until the browser may send on."""
        while self.full:
            self._room = asyncio.Event()
            await self._room.wait()

    def put_frame(self, message: Message) -> None:
        """Queue a frame of the browser."""
        self._frames += 1
        self._waiting.append((message, True))

    def put_event(self, message: Message) -> bool:
        """Queue a message of the layer. Returns whether there was room."""
        if len(self._waiting) - self._frames >= MAX_EVENTS:
            self.dropped += 1
            return False
        self._waiting.append((message, False))
        return True

    def pop(self) -> Message:
        """The oldest message; the inbox must not be empty."""
        message, is_frame = self._waiting.popleft()
        if is_frame:
            self._frames -= 1
            if self._room is not None:
                self._room.set()
        return message
