"""Bytes in frames, as streams: whole, in order, ended, and at the pace of the slower side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_outlet import ACCEPT, Server, settle
from wsadapter import servers
from wsadapter.bytestreams import CHUNK_SIZE, ByteReader, ByteWriter, pipe
from wsadapter.close_codes import FINISHED_CODES, CloseCode, ClosedBy
from wsadapter.connection import Connection
from wsadapter.errors import ConnectionClosed, ReadTimeout, ReceiveConflict, UnexpectedFrame
from wsadapter.wire.envelope import END
from wsadapter.wire.lanes import Priority

SOON = 0.001

Read = Callable[[ByteReader], Awaitable[Any]]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def connection(server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Connection]:
    """An open one; its outbox has room for ten bytes."""
    monkeypatch.setattr(servers, "can_be_stepped", lambda send: True)
    made = Connection(
        {"type": "websocket"}, server.send, max_outbox_size=10, on_closing=lambda seconds: None
    )
    made.client_id = "tab"
    await made.accept(ACCEPT)
    yield made
    made.end(CloseCode.ABNORMAL)
    await made.stop_writing(cut=False)


def arrive(connection: Connection, *frames: str | bytes) -> None:
    for frame in frames:
        connection.take_in(frame)


# Reading


async def test_a_stream_spans_frames_and_ends_at_the_end_frame(connection: Connection) -> None:
    arrive(connection, b"one", b"", b"two", END)
    reader = connection.reader()
    assert not reader.at_eof()
    assert await reader.read() == b"onetwo"
    assert reader.at_eof()
    assert await reader.read() == b"" == await reader.read(5)


@pytest.mark.parametrize("end", ['{"type": "ws:end"}', ' {"name": "a.png", "type":"ws:end"} '])
async def test_the_end_frame_may_be_written_in_any_way(connection: Connection, end: str) -> None:
    arrive(connection, b"bytes", end)
    assert await connection.reader().read() == b"bytes"


async def test_after_the_end_frame_another_stream_can_begin(connection: Connection) -> None:
    arrive(connection, b"first", END, END, b"third", END, "a text")
    assert [await connection.reader().read() for _ in range(3)] == [b"first", b"", b"third"]
    assert await connection.receive() == "a text"


async def test_read_gives_what_there_is_up_to_a_number(connection: Connection) -> None:
    arrive(connection, b"abcde", b"fg", END)
    reader = connection.reader()
    assert [await reader.read(n) for n in (2, 0, 100, 100, 100)] == [b"ab", b"", b"cde", b"fg", b""]


async def test_read_waits_only_until_there_is_something(connection: Connection) -> None:
    reading = asyncio.create_task(connection.reader().read(100))
    await settle()
    assert not reading.done()
    arrive(connection, b"a")
    assert await reading == b"a"


async def test_reading_nothing_waits_for_nothing(connection: Connection) -> None:
    assert await connection.reader(timeout=0).read(0) == b""
    assert await connection.reader(timeout=0).readexactly(0) == b""


async def test_readexactly_gives_so_many_whatever_the_frames(connection: Connection) -> None:
    arrive(connection, b"a", b"bcdefg", b"h", END)
    reader = connection.reader()
    assert [await reader.readexactly(n) for n in (3, 3, 2)] == [b"abc", b"def", b"gh"]
    with pytest.raises(asyncio.IncompleteReadError) as caught:
        await reader.readexactly(1)
    assert (caught.value.partial, caught.value.expected) == (b"", 1)


async def test_a_stream_that_is_too_short_gives_what_there_was(connection: Connection) -> None:
    arrive(connection, b"ab", b"c", END)
    with pytest.raises(asyncio.IncompleteReadError) as caught:
        await connection.reader().readexactly(5)
    assert (caught.value.partial, caught.value.expected) == (b"abc", 5)


async def test_a_number_of_bytes_is_not_negative(connection: Connection) -> None:
    with pytest.raises(ValueError, match="from 0, not -1"):
        await connection.reader().readexactly(-1)


async def test_the_chunks_are_as_the_client_made_them(connection: Connection) -> None:
    arrive(connection, b"abcd", b"", b"ef", END)
    reader = connection.reader()
    assert await reader.read(1) == b"a"
    assert [chunk async for chunk in reader] == [b"bcd", b"ef"]
    assert [chunk async for chunk in reader] == []
    assert reader.at_eof()


async def test_bytes_that_are_not_read_yet_keep_it_from_its_end(connection: Connection) -> None:
    arrive(connection, b"ab")
    connection.end(CloseCode.NORMAL)
    reader = connection.reader()
    await reader.read(1)
    assert not reader.at_eof()
    assert await reader.read() == b"b" and reader.at_eof()


async def test_it_holds_one_frame_at_a_time(connection: Connection) -> None:
    """What it does not hold stays with the client: there is no third buffer."""
    arrive(connection, b"abc", b"def", b"ghi")
    assert await connection.reader().read(1) == b"a"
    assert list(connection.take_unread()) == [b"def", b"ghi"]


@pytest.mark.parametrize("code", sorted(FINISHED_CODES))
async def test_a_normal_close_ends_the_stream(connection: Connection, code: int) -> None:
    arrive(connection, b"all")
    connection.end(code)
    reader = connection.reader()
    assert await reader.read() == b"all"
    assert reader.at_eof() and await reader.read(1) == b""


READS: list[Read] = [
    lambda reader: reader.read(),
    lambda reader: reader.read(10),
    lambda reader: reader.readexactly(10),
    lambda reader: anext(reader),
]
EACH_WAY = pytest.mark.parametrize("read", READS, ids=["all", "some", "exactly", "a chunk"])


@EACH_WAY
async def test_any_other_close_is_an_error_each_time(connection: Connection, read: Read) -> None:
    connection.end(4000, "enough", ClosedBy.CLIENT)
    reader = connection.reader()
    for _ in range(2):
        with pytest.raises(ConnectionClosed, match="enough"):
            await read(reader)
    assert not reader.at_eof()


@EACH_WAY
async def test_any_other_text_is_unexpected_and_the_next_frame_can_be_read(
    connection: Connection, read: Read
) -> None:
    arrive(connection, '{"type":"chat"}', b"after that", END)
    reader = connection.reader()
    with pytest.raises(UnexpectedFrame, match=r"binary frames or .*ws:end.*, got text of 15"):
        await read(reader)
    assert await read(reader) == b"after that"


async def test_what_a_client_sends_in_error_counts(connection: Connection) -> None:
    """As it does where a binary frame is read by itself: a `HealthPolicy` looks at it."""
    arrive(connection, "a text", "a text")
    with pytest.raises(UnexpectedFrame):
        await connection.receive_bytes()
    with pytest.raises(UnexpectedFrame):
        await connection.reader().read(1)
    assert connection.stats.errors == 2


@EACH_WAY
async def test_a_client_that_sends_nothing_in_time_is_a_read_timeout(
    connection: Connection, read: Read
) -> None:
    reader = connection.reader(timeout=SOON)
    with pytest.raises(ReadTimeout):
        await read(reader)
    arrive(connection, b"ten bytes.", END)
    assert await read(reader) == b"ten bytes."


@pytest.mark.parametrize("trouble", ["timeout", "cancelled", "text"])
async def test_readexactly_that_is_broken_off_has_taken_nothing(
    connection: Connection, trouble: str
) -> None:
    """As with `asyncio.StreamReader`: who asks again has it all."""
    arrive(connection, b"hello")
    reader = connection.reader(timeout=SOON if trouble == "timeout" else None)
    reading = asyncio.create_task(reader.readexactly(10))
    await settle()
    if trouble == "text":
        arrive(connection, "a text")
    elif trouble == "cancelled":
        reading.cancel()
    (end,) = await asyncio.gather(reading, return_exceptions=True)
    assert isinstance(end, ReadTimeout | UnexpectedFrame | asyncio.CancelledError)
    arrive(connection, b"world", END)
    assert await reader.readexactly(10) == b"helloworld"


async def test_a_reader_that_two_tasks_share_loses_nothing(connection: Connection) -> None:
    """Or refuses the second one, as `asyncio.StreamReader` does."""
    reader = connection.reader()
    reading = [asyncio.create_task(reader.read(1)) for _ in range(2)]
    await settle()
    arrive(connection, b"abc", b"def", END)
    ends = await asyncio.gather(*reading, return_exceptions=True)
    read = [end for end in ends if isinstance(end, bytes)]
    assert sorted(b"".join(read) + await reader.read()) == sorted(b"abcdef")


async def test_a_reader_that_two_tasks_share_takes_nothing_from_the_next_stream(
    connection: Connection,
) -> None:
    reader = connection.reader()
    reading = [asyncio.create_task(reader.read(1)) for _ in range(2)]
    await settle()
    arrive(connection, END)
    await settle()
    arrive(connection, b"of the next stream", END)
    await asyncio.wait_for(asyncio.gather(*reading, return_exceptions=True), 10)
    assert await connection.reader().read() == b"of the next stream"


async def test_a_consumer_that_reads_itself_has_no_reader_beside_it(connection: Connection) -> None:
    connection.handled_by = "Chat declares handlers."
    with pytest.raises(ReceiveConflict):
        await connection.reader().read()


@settings(deadline=None)
@given(
    frames=st.lists(st.binary(max_size=20), max_size=10),
    sizes=st.lists(st.integers(1, 25), min_size=1, max_size=10),
    exactly=st.booleans(),
)
def test_however_it_is_cut_the_bytes_are_the_same(
    frames: list[bytes], sizes: list[int], exactly: bool
) -> None:
    async def read() -> bytes:
        waiting = iter([*frames, END])

        async def receive() -> str | bytes:
            return next(waiting)

        reader, parts = ByteReader(receive, lambda error: error), []
        for size in sizes * (len(frames) * 20 + 1):
            try:
                parts.append(await (reader.readexactly if exactly else reader.read)(size))
            except asyncio.IncompleteReadError as end:
                parts.append(end.partial)
            assert len(parts[-1]) == size or not exactly or reader.at_eof()
            if reader.at_eof():
                break
        assert all(len(part) <= size for part, size in zip(parts, sizes, strict=False))
        return b"".join(parts)

    assert asyncio.run(read()) == b"".join(frames)


# Writing


async def test_bytes_leave_as_binary_frames(connection: Connection, server: Server) -> None:
    writer = connection.writer()
    writer.write(b"bytes")
    writer.writelines([bytearray(b"by"), memoryview(b"other")[2:], b""])
    await writer.drain()
    assert server.frames == [b"bytes", b"by", b"her"]


async def test_what_is_written_does_not_change_with_its_buffer(
    connection: Connection, server: Server
) -> None:
    server.running.clear()
    buffer = bytearray(b"before")
    writer = connection.writer()
    writer.write(buffer)
    buffer[:] = b"after."
    server.running.set()
    await writer.drain()
    assert server.frames == [b"before"]


async def test_items_of_several_bytes_are_written_as_bytes(
    connection: Connection, server: Server
) -> None:
    writer = connection.writer()
    writer.write(memoryview(bytes(2 * CHUNK_SIZE)).cast("H"))
    await writer.drain()
    assert server.frames == [bytes(CHUNK_SIZE)] * 2


async def test_a_large_write_leaves_in_frames_between_which_others_pass(
    connection: Connection, server: Server
) -> None:
    server.running.clear()
    writer = connection.writer()
    writer.write(b"x" * (2 * CHUNK_SIZE + 1))
    await settle()
    connection.post("urgent", Priority.URGENT)
    server.running.set()
    await writer.drain()
    assert [len(frame) for frame in server.frames] == [CHUNK_SIZE, 6, CHUNK_SIZE, 1]


async def test_a_writer_has_its_lane(connection: Connection, server: Server) -> None:
    server.running.clear()
    connection.post("first")
    low, high = connection.writer(priority=Priority.LOW), connection.writer(priority=Priority.HIGH)
    low.write(b"low")
    high.write(b"high")
    high.write_eof()
    server.running.set()
    await low.drain()
    assert server.frames == ["first", b"high", END, b"low"]


async def test_drain_returns_when_the_transport_has_taken_everything(
    connection: Connection, server: Server
) -> None:
    server.running.clear()
    writer = connection.writer()
    writer.write(b"one")
    writer.write(b"two")
    draining = asyncio.create_task(writer.drain())
    await settle()
    assert not draining.done()
    server.running.set()
    await draining
    assert server.frames == [b"one", b"two"]
    await writer.drain()


async def test_who_never_drains_is_stopped_before_memory_is(
    connection: Connection, server: Server
) -> None:
    """A write of any size passes while no more than the outbox's bound waits."""
    server.running.clear()
    writer = connection.writer()
    writer.write(b"ten bytes.")
    writer.write(b"!")
    with pytest.raises(BufferError, match=r"11 bytes wait to be read by the client: await drain"):
        writer.write(b"refused")
    server.running.set()
    await writer.drain()
    writer.write(b"taken")
    await writer.drain()
    assert server.frames == [b"ten bytes.", b"!", b"taken"]


async def test_the_end_is_told_once_and_nothing_follows_it(
    connection: Connection, server: Server
) -> None:
    writer = connection.writer()
    assert writer.can_write_eof() is True
    writer.write(b"all")
    writer.write_eof()
    writer.write_eof()
    with pytest.raises(RuntimeError, match="write_eof"):
        writer.write(b"more")
    await writer.drain()
    assert server.frames == [b"all", END]
    connection.writer().write(b"another stream")
    assert server.frames[2:] == [b"another stream"]


async def test_a_drain_that_is_cancelled_takes_nothing_back(
    connection: Connection, server: Server
) -> None:
    server.running.clear()
    writer = connection.writer()
    writer.write(b"one")
    writer.write(b"two")
    draining = asyncio.create_task(writer.drain())
    await settle()
    draining.cancel()
    await asyncio.wait([draining])
    server.running.set()
    await writer.drain()
    assert server.frames == [b"one", b"two"]


async def test_a_drain_tells_that_the_end_came_first(
    connection: Connection, server: Server
) -> None:
    server.running.clear()
    writer = connection.writer()
    writer.write(b"one")
    writer.write(b"two")
    draining = asyncio.create_task(writer.drain())
    await settle()
    connection.end(4000, "enough")
    await connection.stop_writing(cut=False)
    with pytest.raises(ConnectionClosed, match="enough"):
        await draining


async def test_after_the_end_nothing_can_be_written(connection: Connection) -> None:
    writer = connection.writer()
    connection.end(4000, "enough")
    for _ in range(2):
        with pytest.raises(ConnectionClosed, match="enough"):
            writer.write(b"too late")


async def test_what_is_written_before_the_accept_follows_it_as_what_is_sent_does(
    server: Server,
) -> None:
    connection = Connection(
        {"type": "websocket"}, server.send, max_outbox_size=1000, on_closing=lambda seconds: None
    )
    writer = connection.writer()
    await connection.send("sent")
    writer.write(b"written")
    await connection.accept(ACCEPT)
    await writer.drain()
    await settle()
    assert server.frames == ["sent", b"written"]


# Writing text


async def test_text_leaves_as_text_frames_of_whole_characters(
    connection: Connection, server: Server
) -> None:
    writer = connection.writer(binary=False)
    for byte in "aé€🌷".encode():
        writer.write(bytes([byte]))
    writer.write_eof()
    await writer.drain()
    assert server.frames == ["a", "é", "€", "🌷", END]


async def test_a_character_on_the_border_of_two_frames_is_in_one(
    connection: Connection, server: Server
) -> None:
    text = "a" + "é" * CHUNK_SIZE
    writer = connection.writer(binary=False)
    writer.write(text.encode())
    await writer.drain()
    assert len(server.frames) == 3 and "".join(map(str, server.frames)) == text


async def test_what_is_not_utf_8_is_refused(connection: Connection, server: Server) -> None:
    writer = connection.writer(binary=False)
    with pytest.raises(UnicodeDecodeError):
        writer.write(b"\xff")
    writer.write("é".encode()[:1])
    with pytest.raises(UnicodeDecodeError, match="unexpected end of data"):
        writer.write_eof()
    assert not server.frames


# From one to the other


async def test_a_pipe_echoes_everything_and_counts_it(
    connection: Connection, server: Server
) -> None:
    arrive(connection, b"one", b"", b"three", END, "next")
    writer = connection.writer()
    assert await pipe(connection.reader(), writer) == 8
    assert server.frames == [b"one", b"three"], "the writer has not been ended"
    assert await connection.receive() == "next"


async def test_a_pipe_passes_a_large_frame_on_in_parts(
    connection: Connection, server: Server
) -> None:
    arrive(connection, b"x" * (CHUNK_SIZE + 1), b"yz", END)
    assert await pipe(connection.reader(), connection.writer()) == CHUNK_SIZE + 3
    assert [len(frame) for frame in server.frames] == [CHUNK_SIZE, 1, 2]


async def test_a_pipe_takes_no_more_than_the_slower_side_does(
    connection: Connection, server: Server
) -> None:
    server.running.clear()
    arrive(connection, b"one", b"two", b"three")
    piping = asyncio.create_task(pipe(connection.reader(), connection.writer()))
    await settle()
    assert list(connection.take_unread()) == [b"two", b"three"]
    server.running.set()
    arrive(connection, END)
    assert await piping == 3


async def test_a_pipe_takes_the_streams_of_asyncio_as_well(
    connection: Connection, server: Server
) -> None:
    source = asyncio.StreamReader()
    source.feed_data(b"two\nlines\n")
    source.feed_eof()
    assert await pipe(source, connection.writer()) == 10
    assert server.frames == [b"two\nlines\n"]


@pytest.mark.parametrize("side", ["reader", "writer"])
async def test_what_breaks_either_side_breaks_the_pipe(connection: Connection, side: str) -> None:
    class Broken:
        async def read(self, n: int) -> bytes:
            raise OSError("broken")

        def write(self, data: bytes) -> None: ...

        async def drain(self) -> None:
            raise OSError("broken")

    arrive(connection, b"one", END)
    reader: Any = Broken() if side == "reader" else connection.reader()
    writer: ByteWriter | Broken = Broken() if side == "writer" else connection.writer()
    with pytest.raises(OSError, match="broken"):
        await pipe(reader, writer)
