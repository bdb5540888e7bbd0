"""Streams of bytes over real servers: whole, in order, at the pace of the slower side."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.deployment import Deployment, DjangoServer, ServerKind, one_server
from tests.redis_server import RedisServer
from tests.system.client import Closed, connected
from tests.system.memory import forget_peak, growth
from tests.system.notes import until_noted
from tests.system.stubborn_client import serialised, stubborn
from tests.waiting import eventually

END = '{"type": "ws:end"}'

MEBIBYTE = 1024 * 1024
#: The largest frame that a client may send, by default.
FRAME_BYTES = 64 * 1024

UPLOAD_BYTES = 256 * MEBIBYTE
#: What a server's memory may grow by meanwhile: a few frames, and what its allocator keeps.
UPLOAD_GROWTH_BYTES = 4 * MEBIBYTE

#: What a client tries to push into a server that does not read, and what kernels may take of it.
PUSHED_BYTES = 64 * MEBIBYTE
HELD_BYTES = 32 * MEBIBYTE
#: What the process itself may keep of what waits.
KEPT_BYTES = 12 * MEBIBYTE
#: A server on this machine that takes nothing for so long does not read.
BLOCKED_SECONDS = 1.0


@pytest.fixture(scope="module", params=["uvicorn-frames", "daphne", "uvicorn"])
def server(
    request: pytest.FixtureRequest,
    redis_server: RedisServer,
    project_database: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DjangoServer]:
    directory = tmp_path_factory.mktemp("streams")
    yield from one_server(request.param, directory, project_database, redis_server)


def chunk(number: int, size: int = FRAME_BYTES) -> bytes:
    """Bytes that say which chunk they are of."""
    return number.to_bytes(4) * (size // 4)


def stream_of(client: Any) -> bytes:
    """The bytes of the binary frames up to the end of the stream."""
    data = bytearray()
    while isinstance(frame := client.receive(), bytes):
        data += frame
    assert frame == {"type": "ws:end"}
    return bytes(data)


# What the client sends


def test_a_pipe_echoes_every_byte(server: DjangoServer) -> None:
    sizes = [1, 70, 4096, FRAME_BYTES, 0, 3, FRAME_BYTES - 1]
    sent = [bytes([number]) * size for number, size in enumerate(sizes * 5)]
    with connected(server, "/bytes/piping/") as client:
        for frame in sent:
            client.send(frame)
        client.send(END)
        assert stream_of(client) == b"".join(sent)
        assert client.receive() == {"copied": len(b"".join(sent))}
        assert client.closed() == Closed(1000, "")


def test_reads_are_of_any_size_whatever_the_frames_were(server: DjangoServer) -> None:
    with connected(server, "/bytes/records/") as client:
        for frame in (b"ab", b"", b"cd", b"efghijk"):
            client.send(frame)
        assert client.receive() == b"abcde"
        assert client.receive() == b"fgh"
        client.send(END)
        assert client.receive() == {"partial": "ijk", "at_eof": True}
        client.send(b"the second ")
        client.send(b"stream")
        client.send(END)
        assert client.receive() == b"the second stream"


def test_text_within_a_stream_is_a_mistake_of_the_client(server: DjangoServer) -> None:
    with connected(server, "/bytes/piping/") as client:
        client.send(b"bytes")
        client.send("text")
        assert client.closed().code == 3501


@pytest.mark.parametrize("code", [1000, 1001])
def test_a_normal_close_ends_a_stream(server: DjangoServer, code: int) -> None:
    with connected(server, "/bytes/summing/") as client:
        for _ in range(50):
            client.send(chunk(1, 1000))
        client.close(code)
    until_noted(server, client.id, "the stream had 50000 bytes")


def test_any_other_close_breaks_it_after_what_had_arrived(server: DjangoServer) -> None:
    with connected(server, "/bytes/summing/") as client:
        for _ in range(50):
            client.send(chunk(1, 1000))
        client.close(4321)
    until_noted(server, client.id, "the stream broke after 50000 bytes with 4321")


def test_a_connection_that_is_lost_breaks_it(server: DjangoServer) -> None:
    with connected(server, "/bytes/summing/") as client:
        client.send(b"bytes")
        client.reset()
        until_noted(server, client.id, r"the stream broke after [05] bytes with 1006")


@pytest.mark.parametrize("kind", ["uvicorn-frames", "daphne"])
def test_a_server_that_stops_breaks_it(
    kind: ServerKind, redis_server: RedisServer, project_database: Path, tmp_path: Path
) -> None:
    """What has arrived by then must not look as if it was all."""
    deployment = Deployment(tmp_path, database=project_database, redis_url=redis_server.url)
    try:
        server = deployment.server(kind)
        with connected(server, "/bytes/summing/") as client:
            client.send(b"bytes")
            server.terminate()
        until_noted(server, client.id, r"the stream broke after [05] bytes with 3001")
    finally:
        deployment.stop()


def test_one_who_says_goodbye_and_does_not_read_is_let_go(server: DjangoServer) -> None:
    """The server would keep what waits for it, for as long as its socket is open."""
    with stubborn(server, "/bytes/stalling/") as client:
        until_noted(server, client.id, "it does not read")
        client.send_close(1000)
        eventually(client.is_let_go, within_seconds=20)


def test_a_large_upload_goes_to_a_file_in_bounded_memory(server: DjangoServer) -> None:
    digest, chunks = hashlib.sha256(), UPLOAD_BYTES // FRAME_BYTES
    with connected(server, "/bytes/uploading/") as client:
        before = forget_peak(server)
        for number in range(chunks):
            data = chunk(number)
            digest.update(data)
            client.send(data)
        client.send(END)
        assert client.receive() == {"size": UPLOAD_BYTES, "sha256": digest.hexdigest()}
        assert growth(server, before) < UPLOAD_GROWTH_BYTES


def test_a_client_waits_for_a_reader_that_does_not_read(server: DjangoServer) -> None:
    gate = uuid4().hex
    frames = [serialised(chunk(number)) for number in range(PUSHED_BYTES // FRAME_BYTES)]
    data = b"".join(frames)
    with stubborn(server, f"/bytes/gated/{gate}/") as client:
        until_noted(server, client.id, "waits at the gate")
        before = forget_peak(server)
        taken = client.offer(data, patience_seconds=BLOCKED_SECONDS)
        assert taken < HELD_BYTES
        assert growth(server, before) < KEPT_BYTES, "it is the kernel that keeps what waits"
        with connected(server, f"/bytes/opening/{gate}/"):
            pass
        # The frame that was on its way is whole again, and the last one.
        last = -(-taken // len(frames[0]))
        client.socket.sendall(data[taken : last * len(frames[0])])
        client.send(END)
        digest = hashlib.sha256(b"".join(map(chunk, range(last))))
        assert client.receive() == {"size": last * FRAME_BYTES, "sha256": digest.hexdigest()}


def test_others_are_served_while_a_client_waits(server: DjangoServer) -> None:
    gate = uuid4().hex
    with (
        stubborn(server, f"/bytes/gated/{gate}/") as waits,
        connected(server, "/talk/echo/") as one,
    ):
        until_noted(server, waits.id, "waits at the gate")
        waits.offer(serialised(chunk(1)) * 512, patience_seconds=0.2)
        assert one.request("still here") == "still here"
        with connected(server, f"/bytes/opening/{gate}/"):
            pass


# What the server sends


def test_a_writer_waits_for_a_client_that_does_not_read(server: DjangoServer) -> None:
    chunks = PUSHED_BYTES // MEBIBYTE
    with stubborn(server, f"/bytes/downloading/?chunks={chunks}&size={MEBIBYTE}") as client:
        before = forget_peak(server)
        waits_with = int(until_noted(server, client.id, r"waits with chunk (\d+)")[1])
        assert waits_with * MEBIBYTE < HELD_BYTES
        assert growth(server, before) < KEPT_BYTES
        expected = hashlib.sha256(b"".join(chunk(n, MEBIBYTE) for n in range(chunks)))
        assert hashlib.sha256(stream_of(client)).digest() == expected.digest()
        assert client.closed() == Closed(1000, "")


def test_a_writer_that_never_drains_is_told_so(server: DjangoServer) -> None:
    with stubborn(server, "/bytes/hasty/") as client:
        until_noted(server, client.id, "BufferError: .*: await drain.*")
        queued = int(until_noted(server, client.id, r"(\d+) bytes are queued")[1])
        assert queued < 2 * MEBIBYTE
        data = stream_of(client)
        assert data == b"x" * len(data) and len(data) >= queued // 2
        assert client.closed() == Closed(1000, "")


def test_a_write_that_timed_out_was_taken_back(server: DjangoServer) -> None:
    with stubborn(server, "/bytes/withdrawing/") as client:
        match = until_noted(server, client.id, r"frame (\d+) timed out, withdrawn: (.*)")
        number = int(match[1])
        assert match[2] == "True"
        frames = [client.receive() for _ in range(number + 1)]
        assert [frame.get("number") for frame in frames] == [*range(number), None]
        assert frames[-1] == {"later": number}
        assert client.closed() == Closed(1000, "")
