"""Endpoints under test: each does one thing with its client, and notes in the log how it ended."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any, Literal

import msgspec
from channels.exceptions import DenyConnection
from django.contrib.auth import get_user_model

from wsadapter import (
    Connection,
    ConnectionClosed,
    ConnectionTimeout,
    HealthPolicy,
    PeerError,
    RateLimit,
    ReceiveConflict,
    WriteTimeout,
    periodic,
    pipe,
    websocket,
)
from wsadapter.consumers import AdapterConsumer
from wsadapter.repetition import Duplicates
from wsadapter.wire.lanes import Priority

logger = logging.getLogger("tests.project.endpoints")

BIG = "x" * 64 * 1024


def note(connection: Connection, what: str) -> None:
    logger.info("%s: %s", connection.client_id, what)


# Sending and receiving


@websocket
async def greetings(connection: Connection) -> None:
    """Send in every way, and return."""
    await connection.send({"number": 1})
    await connection.send("text")
    await connection.send(b"binary")
    await connection.send_text('{"number": 2}')
    await connection.send_bytes(bytearray(b"\x00\xff"))
    await connection.send_json("a string")
    await connection.send_json(None)


@websocket(welcome=False)
async def unwelcoming(connection: Connection) -> None:
    await connection.send("first")


@websocket
async def echo(connection: Connection) -> None:
    """Every frame comes back, until the client has enough."""
    try:
        async for frame in connection:
            await connection.send(frame)
    except ConnectionClosed as end:
        note(connection, f"the loop ended with {end.code} {end.reason!r} by {end.closed_by}")
        raise
    note(connection, "the loop ended quietly")


class Item(msgspec.Struct):
    name: str
    price: int


class Order(msgspec.Struct):
    items: list[Item]


@websocket
async def reading(connection: Connection, kind: str, timeout: float | None = None) -> None:
    """Read in one way for ever, and tell what comes of each call."""
    calls: dict[str, Callable[..., Awaitable[Any]]] = {
        "frame": connection.receive,
        "text": connection.receive_text,
        "bytes": connection.receive_bytes,
        "json": connection.receive_json,
        "order": partial(connection.receive_json, Order),
    }
    while True:
        try:
            got = await calls[kind](timeout=timeout)
        except (PeerError, ConnectionTimeout) as error:
            await connection.send({"error": type(error).__name__, **details(error)})
        else:
            await connection.send({"got": repr(got)})


def details(error: Exception) -> dict[str, Any]:
    return {"message": str(error), "path": getattr(error, "path", None)}


@websocket
async def ordering(connection: Connection) -> None:
    """Leave the mistakes of the client to the endpoint."""
    await connection.receive_json(Order)


@websocket
async def failing(connection: Connection) -> None:
    await connection.send("last words")
    raise RuntimeError("a secret of the server")


@websocket
async def crowded(connection: Connection, frames: int, readers: int) -> None:
    """Several tasks send, each in a lane of its own, while others share what arrives."""
    heard: list[list[int]] = [[] for _ in range(readers)]

    async def speak(lane: Priority) -> None:
        for number in range(frames):
            await connection.send({"lane": lane.name, "number": number}, priority=lane)

    async def listen(mine: list[int]) -> None:
        while (number := await connection.receive_json(int)) >= 0:
            mine.append(number)

    async with asyncio.TaskGroup() as tasks:
        for lane in Priority:
            tasks.create_task(speak(lane))
        for mine in heard:
            tasks.create_task(listen(mine))
    await connection.send({"heard": heard})


@websocket
async def stating(connection: Connection) -> None:
    """Tell what a connection knows of itself, whenever it is asked."""
    async for _ in connection:
        stats = connection.stats
        await connection.send(
            {
                "state": connection.state.value,
                "closed": bool(connection.closed),
                "client_id": connection.client_id,
                "user": getattr(connection.user, "username", None),
                "path": connection.scope["path"],
                "subprotocol": connection.subprotocol,
                "age_seconds": time.time() - connection.connected_at,
                "silence_seconds": time.monotonic() - stats.last_seen,
                "round_trip": stats.round_trip,
                "messages": [stats.messages_in, stats.messages_out],
                "bytes": [stats.bytes_in, stats.bytes_out],
                "errors": stats.errors,
                "dropped": stats.dropped,
                "queued_bytes": stats.queued_bytes,
            }
        )


class Talking(AdapterConsumer):
    """A consumer whose connection is the same object: a task of it reads."""

    async def connect(self) -> None:
        await self.accept()
        self.connection.create_task(self._talk())

    async def _talk(self) -> None:
        while True:
            await self.connection.send({"heard": await self.connection.receive_text()})


class Conflicting(AdapterConsumer):
    """Overrides receive(), and reads the connection all the same."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        try:
            await self.connection.receive()
        except ReceiveConflict as error:
            await self.connection.send(str(error))


# The end


@websocket
async def large(connection: Connection, size: int) -> None:
    """Send frames that are larger than what a client may send."""
    await connection.send(bytes(size))
    await connection.send("x" * size)
    await connection.send("last")


@websocket
async def closing(connection: Connection, code: int, reason: str = "") -> None:
    """Close after three frames that are still on their way."""
    for number in range(3):
        connection.create_task(connection.send({"number": number}))
    await asyncio.sleep(0)
    await connection.close(code, reason)
    note(connection, f"closed: {connection.state.value}, {bool(connection.closed)}")


@websocket
async def cutting(connection: Connection, frames: int) -> None:
    """Close, with a second of patience, once so many big frames wait to be read."""
    for _ in range(frames):
        connection.create_task(connection.send(BIG))
    await asyncio.sleep(0)
    note(connection, f"closing with {connection.stats.queued_bytes} bytes queued")
    began = time.monotonic()
    await connection.close(4001, "enough", timeout=1)
    note(connection, f"cut after {time.monotonic() - began:.3f} s")


async def sleeping(connection: Connection) -> None:
    await asyncio.Event().wait()


async def repeating(connection: Connection) -> None:
    await connection.send_periodically(time.monotonic_ns, interval=0.01)
    note(connection, "the repetition returned")


async def filling(connection: Connection) -> None:
    while True:
        await connection.send(BIG)


async def chattering(connection: Connection) -> None:
    while True:
        await connection.send("x")


async def listening(connection: Connection) -> None:
    await connection.receive()


async def absorbing(connection: Connection) -> None:
    await connection.reader().read()


async def expecting(connection: Connection) -> None:
    await connection.closed
    note(connection, "it is closed")


OCCUPATIONS = {
    "sleeping": sleeping,
    "repeating": repeating,
    "filling": filling,
    "chattering": chattering,
    "listening": listening,
    "absorbing": absorbing,
    "expecting": expecting,
}


@websocket
async def occupied(connection: Connection, occupation: str) -> None:
    """Do one thing until the client goes; a task beside it does nothing."""
    connection.create_task(beside(connection))
    note(connection, "begins")
    try:
        await OCCUPATIONS[occupation](connection)
    finally:
        note(connection, "the function is cleaned up")


async def beside(connection: Connection) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        note(connection, "the task is cleaned up")


@websocket(pushes=False, groups=["quiet"])
async def quiet(connection: Connection) -> None:
    await asyncio.Event().wait()


# Options and parameters


@websocket
async def parameters(
    connection: Connection,
    room: str,
    floor: int,
    user: Any,
    page: int = 1,
    tags: list[str] = [],  # noqa: B006 - nobody changes it
    order: Literal["up", "down"] = "up",
) -> None:
    await connection.send(
        {
            "room": room,
            "floor": floor,
            "user": user.username,
            "page": page,
            "tags": tags,
            "order": order,
        }
    )


async def by_token(scope: Any) -> Any:
    token = scope["query_string"].decode()
    if token == "forged":
        raise DenyConnection
    return await get_user_model().objects.filter(username=token).afirst()


def by_token_in_a_thread(scope: Any) -> Any:
    return get_user_model().objects.filter(username=scope["query_string"].decode()).first()


async def introducing(connection: Connection) -> None:
    await connection.send({"user": connection.user.username})


async def naming(connection: Connection) -> None:
    await connection.send({"subprotocol": connection.subprotocol})


tokens = websocket(authenticate=by_token, allow_anonymous=False)(introducing)
tokens_sync = websocket(authenticate=by_token_in_a_thread, allow_anonymous=False)(introducing)
partners = websocket(origins=["https://partner.example"])(naming)
dialects = websocket(subprotocols=["v2.example", "v1.example"])(naming)
uncompressed = websocket(compression=False)(naming)


async def repeat(connection: Connection) -> None:
    async for frame in connection:
        await connection.send(frame)


small = websocket(max_message_size=100)(repeat)
compressed = websocket(compression=9)(repeat)
limited = websocket(rate_limit=RateLimit(per_second=0.01, burst=3))(repeat)
beating = websocket(heartbeat_interval=0.3, heartbeat_timeout=0.3, heartbeat_mode="always")(repeat)


# Health


async def erring(connection: Connection) -> None:
    while True:
        try:
            await connection.receive_json()
        except PeerError as error:
            await connection.send(str(error))


async def multiplying(connection: Connection) -> None:
    for _ in range(5):
        connection.create_task(asyncio.Event().wait())
    await asyncio.Event().wait()


def examined(**limits: Any) -> Any:
    return websocket(health=HealthPolicy(**limits, check_interval_seconds=0.1))


silent = examined(max_silence_seconds=0.2)(repeat)
mistaken = examined(max_error_rate=0.5)(erring)
clogged = examined(max_queued_bytes=50_000)(filling)
overrun = examined(max_tasks=3)(multiplying)


# Repetition


def tens(last: int, current: int) -> bool:
    """Whether both are of the same ten."""
    return last // 10 == current // 10


@websocket
async def sequence(connection: Connection, deduplicate: Literal["yes", "no", "tens"]) -> None:
    """Send what a function returns until it raises."""
    values = iter([1, 1, 2, 2, 12, 15, 1])
    ways: dict[str, bool | Duplicates] = {"yes": True, "no": False, "tens": tens}

    async def get() -> int:
        value = next(values, None)
        if value is None:
            raise LookupError("nothing is left")
        return value

    try:
        await connection.send_periodically(get, interval=0.01, deduplicate=ways[deduplicate])
    except LookupError as error:
        await connection.close(4000, str(error))


class Overlapping:
    """A function that takes longer than its interval, and counts how many of it run at once."""

    def __init__(self) -> None:
        self._running = 0
        self._calls = 0

    async def __call__(self) -> dict[str, int]:
        self._running += 1
        self._calls += 1
        await asyncio.sleep(0.02)
        told = {"calls": self._calls, "running": self._running}
        self._running -= 1
        return told


@websocket
async def overlapping(connection: Connection) -> None:
    await connection.send_periodically(Overlapping(), interval=0.001)


class Tally:
    """Returns the same dict every time, with another number in it."""

    def __init__(self) -> None:
        self._tally = {"count": 0}

    def __call__(self) -> dict[str, int]:
        self._tally["count"] += 1
        return self._tally


def from_the_database() -> dict[str, Any]:
    return {
        "users": get_user_model().objects.count(),
        "thread": threading.current_thread() is not threading.main_thread(),
    }


async def now() -> float:
    """When it was called; it takes half of its interval."""
    called_at = time.monotonic()
    await asyncio.sleep(0.05)
    return called_at


tally = periodic(Tally(), interval=0.02)
users = periodic(from_the_database, interval=0.02)
clock = periodic(now, interval=0.1)


# Streams of bytes


@websocket
async def piping(connection: Connection) -> None:
    """What comes as a stream goes back as one."""
    writer = connection.writer()
    copied = await pipe(connection.reader(), writer)
    writer.write_eof()
    await writer.drain()
    await connection.send({"copied": copied})


@websocket
async def uploading(connection: Connection) -> None:
    """Write a stream to a file, more slowly than it comes, and tell what is in it."""
    with tempfile.TemporaryFile() as file:
        async for chunk in connection.reader():
            await asyncio.to_thread(file.write, chunk)
        file.seek(0)
        digest = await asyncio.to_thread(hashlib.file_digest, file, "sha256")
        await connection.send({"size": file.tell(), "sha256": digest.hexdigest()})


@websocket
async def records(connection: Connection) -> None:
    """Read by numbers of bytes, whatever the frames were."""
    reader = connection.reader()
    await connection.send(await reader.readexactly(5))
    await connection.send(await reader.read(3))
    try:
        await reader.readexactly(100)
    except asyncio.IncompleteReadError as error:
        await connection.send({"partial": error.partial.decode(), "at_eof": reader.at_eof()})
    # What follows the end of one stream is another one.
    await connection.send(await connection.reader().read())


@websocket
async def summing(connection: Connection) -> None:
    """Read a stream to its end, which may be the end of the connection."""
    total = 0
    try:
        async for chunk in connection.reader():
            total += len(chunk)
    except ConnectionClosed as end:
        note(connection, f"the stream broke after {total} bytes with {end.code}")
        raise
    note(connection, f"the stream had {total} bytes")


_opened: dict[str, asyncio.Event] = {}


@websocket
async def gated(connection: Connection, gate: str) -> None:
    """Read nothing before the gate is opened, then everything."""
    opened = _opened[gate] = asyncio.Event()
    note(connection, "waits at the gate")
    await opened.wait()
    digest, size = hashlib.sha256(), 0
    async for chunk in connection.reader():
        digest.update(chunk)
        size += len(chunk)
    await connection.send({"size": size, "sha256": digest.hexdigest()})


@websocket
async def opening(connection: Connection, gate: str) -> None:
    """Open a gate."""
    _opened.pop(gate).set()


def numbered(number: int, size: int) -> bytes:
    return number.to_bytes(4) * (size // 4)


@websocket(heartbeat_interval=1)
async def stalling(connection: Connection) -> None:
    """Send until the client is seen not to read, and wait."""
    try:
        while True:
            await connection.send_bytes(bytes(64 * 1024), timeout=0.2)
    except WriteTimeout:
        note(connection, "it does not read")
    await asyncio.Event().wait()


@websocket
async def downloading(connection: Connection, chunks: int, size: int) -> None:
    """Write faster than anybody reads, at the client's pace."""
    writer = connection.writer()
    for number in range(chunks):
        writer.write(numbered(number, size))
        try:
            async with asyncio.timeout(0.5):
                await writer.drain()
        except TimeoutError:
            note(connection, f"waits with chunk {number}")
            await writer.drain()
    writer.write_eof()
    await writer.drain()


@websocket
async def hasty(connection: Connection) -> None:
    """Write without ever waiting, to a client that does not read."""
    writer = connection.writer()
    try:
        while True:
            writer.write(BIG.encode())
    except BufferError as error:
        note(connection, f"BufferError: {error}")
        note(connection, f"{connection.stats.queued_bytes} bytes are queued")
    await writer.drain()
    writer.write_eof()
    await writer.drain()


@websocket
async def withdrawing(connection: Connection) -> None:
    """Send until the client's buffers are full, then go on when it reads."""
    number = 0
    while True:
        try:
            await connection.send({"number": number, "pad": BIG}, timeout=0.5)
        except WriteTimeout as error:
            note(connection, f"frame {number} timed out, withdrawn: {error.withdrawn}")
            break
        number += 1
    await connection.send({"later": number})


# Looking at the process


def living() -> Iterator[Connection]:
    return (each for each in gc.get_objects() if isinstance(each, Connection))


@websocket(welcome=False, pushes=False)
async def vitals(connection: Connection) -> None:
    """What this process has in memory, once everything is collected that can be."""
    gc.collect()
    await connection.send(
        {
            "tasks": len(asyncio.all_tasks()),
            "connections": sum(1 for _ in living()),
            "objects": len(gc.get_objects()),
            "most": Counter(type(each).__name__ for each in gc.get_objects()).most_common(20),
        }
    )
