"""One side's frames as a stream of bytes, with the interface of asyncio's streams."""

from __future__ import annotations

import asyncio
import codecs
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Protocol

from wsadapter.close_codes import FINISHED_CODES
from wsadapter.errors import ConnectionClosed, PeerError, UnexpectedFrame
from wsadapter.wire import envelope
from wsadapter.wire.payload import Frame

#: Bytes of a frame that a writer makes: pushes and heartbeats pass between two of them.
CHUNK_SIZE = 64 * 1024

Bytes = bytes | bytearray | memoryview


class ByteReader:
    """The bytes of successive binary frames, as `asyncio.StreamReader` gives them.

    The stream ends at the text frame ``{"type": "ws:end"}``, after which another reader can
    begin, or with a normal close of the connection. A frame is asked for when nothing is left
    of the last one: what is not read stays with the client.

    All that reads raises `ConnectionClosed` when the connection ends in any other way,
    `UnexpectedFrame` at any other text, and `ReadTimeout` where the reader was given a timeout.

    As with `asyncio.StreamReader`, one task reads at a time; another one gets a
    ``RuntimeError``.

    Args:
        receive: gets the next frame.
        blame: notes a mistake of the client's, and returns it.
    """

    def __init__(
        self,
        receive: Callable[[], Awaitable[Frame]],
        blame: Callable[[PeerError], PeerError],
    ) -> None:
        self._receive = receive
        self._blame = blame
        self._buffer = bytearray()
        self._ended = False
        self._waits = False

    def at_eof(self) -> bool:
        """Whether the end has been reached, and everything read."""
        return self._ended and not self._buffer

    async def read(self, n: int = -1) -> bytes:
        """Up to ``n`` bytes, as soon as there are any; everything to the end, if ``n`` is -1.

        ``b""`` means that the stream has ended.
        """
        if n < 0:
            return b"".join([chunk async for chunk in self])
        if n > 0:
            await self._hold(1)
        return self._take(n)

    async def readexactly(self, n: int) -> bytes:
        """Exactly ``n`` bytes. Where it raises anything but the following, nothing is taken.

        Raises:
            asyncio.IncompleteReadError: the stream ended before; it has what there was.
        """
        if n < 0:
            raise ValueError(f"readexactly() takes a number of bytes from 0, not {n}.")
        await self._hold(n)
        if len(self._buffer) < n:
            raise asyncio.IncompleteReadError(self._take(n), n)
        return self._take(n)

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The chunks of the stream, each as large as the client has made its frame."""
        return self

    async def __anext__(self) -> bytes:
        await self._hold(1)
        if not self._buffer:
            raise StopAsyncIteration
        return self._take(len(self._buffer))

    async def _hold(self, n: int) -> None:
        """Have ``n`` bytes, or the end."""
        while len(self._buffer) < n and not self._ended:
            if self._waits:
                raise RuntimeError("Another task waits for the bytes of this reader already.")
            self._waits = True
            try:
                await self._receive_one()
            finally:
                self._waits = False

    async def _receive_one(self) -> None:
        try:
            self._take_in(await self._receive())
        except ConnectionClosed as end:
            if end.code not in FINISHED_CODES:
                raise
            self._ended = True

    def _take_in(self, frame: Frame) -> None:
        if isinstance(frame, bytes):
            self._buffer += frame
        elif envelope.is_end(frame):
            self._ended = True
        else:
            raise self._blame(
                UnexpectedFrame(
                    f"Expected binary frames or {envelope.END}, got text of {len(frame)} "
                    "characters.",
                    frame,
                )
            )

    def _take(self, n: int) -> bytes:
        taken = bytes(self._buffer[:n])
        del self._buffer[:n]
        return taken


class ByteWriter:
    """Bytes on their way to the client in frames, as `asyncio.StreamWriter` takes them.

    Args:
        post: queues a frame, and returns what tells whether it has left.
        closed_error: the error once the connection is over.
        binary: whether the frames are binary, or text; then the bytes are UTF-8.
        max_unsent_bytes: how much may wait for `drain`.
    """

    def __init__(
        self,
        post: Callable[[Frame], asyncio.Future[bool]],
        closed_error: Callable[[], ConnectionClosed],
        *,
        binary: bool,
        max_unsent_bytes: int,
    ) -> None:
        self._post = post
        self._closed_error = closed_error
        self._decoder = None if binary else codecs.getincrementaldecoder("utf-8")()
        self._max_unsent_bytes = max_unsent_bytes
        # With the bytes of each, oldest first, as they leave.
        self._unsent: deque[tuple[asyncio.Future[bool], int]] = deque()
        self._unsent_bytes = 0
        self._ended = False

    def write(self, data: Bytes) -> None:
        """Send bytes without waiting; await `drain` after each, to keep to the client's pace.

        Raises:
            BufferError: more waits already than the outbox may hold.
            UnicodeDecodeError: a writer of text was given what is not UTF-8.
            ConnectionClosed: the connection is over.
            RuntimeError: after `write_eof`.
        """
        if self._ended:
            raise RuntimeError("The stream has been ended with write_eof().")
        self._make_sure_of_room()
        view = memoryview(data).cast("B")
        for start in range(0, len(view), CHUNK_SIZE):
            self._write_chunk(view[start : start + CHUNK_SIZE])

    def writelines(self, chunks: Iterable[Bytes]) -> None:
        """Send several chunks, as `write` does."""
        for chunk in chunks:
            self.write(chunk)

    async def drain(self) -> None:
        """Wait until the transport has taken what was written.

        Raises:
            ConnectionClosed: the connection is over, and something did not leave.
        """
        if self._unsent:
            await asyncio.wait([taken for taken, _ in self._unsent])
            self._forget_sent()
        else:  # a loop that writes what is taken at once would never let others have their turn
            await asyncio.sleep(0)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Tell the client that the stream ends, by the text frame ``{"type": "ws:end"}``.

        Raises:
            UnicodeDecodeError: a writer of text was given half a character at last.
        """
        if not self._ended:
            if self._decoder is not None:
                self._decoder.decode(b"", final=True)
            self._ended = True
            self._send(envelope.END, len(envelope.END))

    def _write_chunk(self, chunk: memoryview) -> None:
        frame: Frame = bytes(chunk) if self._decoder is None else self._decoder.decode(chunk)
        if frame:
            self._send(frame, len(chunk))

    def _send(self, frame: Frame, size: int) -> None:
        self._unsent.append((self._post(frame), size))
        self._unsent_bytes += size
        self._forget_sent()

    def _make_sure_of_room(self) -> None:
        self._forget_sent()
        if self._unsent_bytes > self._max_unsent_bytes:
            raise BufferError(
                f"{self._unsent_bytes} bytes wait to be read by the client: await drain() after "
                "write()."
            )

    def _forget_sent(self) -> None:
        while self._unsent and self._unsent[0][0].done():
            taken, size = self._unsent.popleft()
            self._unsent_bytes -= size
            if not taken.result():
                raise self._closed_error()


class Reader(Protocol):
    """What `pipe` reads: a `ByteReader`, or an `asyncio.StreamReader`."""

    async def read(self, n: int, /) -> bytes: ...


class Writer(Protocol):
    """What `pipe` writes to: a `ByteWriter`, or an `asyncio.StreamWriter`."""

    def write(self, data: bytes, /) -> None: ...

    async def drain(self) -> None: ...


async def pipe(reader: Reader, writer: Writer) -> int:
    """Copy everything from a reader to a writer, at the pace of the slower one.

    The writer is not ended.

    Returns:
        The bytes that were copied.
    """
    copied = 0
    while chunk := await reader.read(CHUNK_SIZE):
        writer.write(chunk)
        await writer.drain()
        copied += len(chunk)
    return copied
