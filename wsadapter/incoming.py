"""What a client has sent and nobody has read yet: bounded, in order, for any number of readers."""

from __future__ import annotations

import asyncio

from wsadapter.wire.payload import Frame, size_of

#: Frames that may wait before the connection is not read any more.
MAX_FRAMES = 100
#: Bytes that may wait before that. One more frame passes, so that a large one can be read at all.
MAX_BYTES = 256 * 1024


class Incoming:
    """The frames of one connection between its pump, which puts, and its readers, who get.

    It needs no event loop of its own: all calls come from the connection's.
    """

    def __init__(self) -> None:
        # At the end None, for whoever asks.
        self._frames: asyncio.Queue[Frame | None] = asyncio.Queue()
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

    def put(self, frame: Frame) -> None:
        """Queue a frame; after the end it is dropped."""
        if not self._ended:
            self._bytes += size_of(frame)
            self._frames.put_nowait(frame)
            self._note_room()

    async def get(self) -> Frame | None:
        """The oldest frame, as soon as there is one; None after the last one."""
        frame = await self._frames.get()
        if frame is None:
            self._frames.put_nowait(None)  # for the next one who asks
        else:
            self._bytes -= size_of(frame)
            self._note_room()
        return frame

    def take_all(self) -> list[Frame]:
        """The frames that wait, if any."""
        frames = []
        while self._frames.qsize() > self._ended:
            frame = self._frames.get_nowait()
            assert frame is not None
            frames.append(frame)
        self._bytes = 0
        self._note_room()
        return frames

    def end(self) -> None:
        """Nothing more will come; what is there can still be read."""
        if not self._ended:
            self._ended = True
            self._frames.put_nowait(None)
            self._room.set()

    def _note_room(self) -> None:
        if self._ended or (self._frames.qsize() < MAX_FRAMES and self._bytes < MAX_BYTES):
            self._room.set()
        else:
            self._room.clear()
