"""Streams under test: each keeps one promise, and notes in the log how far it has come."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any, Literal

import msgspec

from tests.project.endpoints import note
from wsadapter import (
    Batch,
    Connection,
    Priority,
    RateLimit,
    Retry,
    Transient,
    handler,
    stream,
    websocket,
    with_views,
)
from wsadapter.consumers import AdapterConsumer

KIBIBYTE = 1024

FILLING = "x" * 32 * KIBIBYTE
LANE_SIZE = 10

POLL_SECONDS = 0.01

_gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)


@websocket
async def opening(connection: Connection, gate: str) -> None:
    """Open a gate."""
    _gates[gate].set()


async def note_when_queued(connection: Connection, size: int) -> None:
    """Note that so many bytes wait for a client that does not read."""
    while connection.stats.queued_bytes < size:
        if await connection.ends_within(POLL_SECONDS):
            return
    note(connection, f"{size} bytes wait")


# The three patterns


class Tick(msgspec.Struct):
    symbol: str
    number: int


class Reading(msgspec.Struct):
    sensor: str
    celsius: float


class Summary(msgspec.Struct):
    count: int
    highest: float | None = None


class Word(msgspec.Struct):
    text: str


class Translation(msgspec.Struct):
    text: str
    length: int


@stream
async def ticking(symbol: str, count: int) -> AsyncIterator[Tick]:
    for number in range(count):
        yield Tick(symbol, number)


@stream
async def summarising(incoming: AsyncIterator[Reading]) -> Summary:
    values = [reading.celsius async for reading in incoming]
    return Summary(len(values), max(values, default=None))


@stream
async def translating(incoming: AsyncIterator[Word]) -> AsyncIterator[Translation]:
    async for word in incoming:
        yield Translation(word.text[::-1], len(word.text))


strict = stream(on_invalid="end")(summarising.function)
numbered = stream(sequence=True)(ticking.function)
batching = stream(batch=Batch(max_items=100, max_delay=60))(ticking.function)


# Back-pressure


class Parcel(msgspec.Struct):
    number: int
    filling: str = ""


@stream(lane_size=LANE_SIZE)
async def pouring(count: int, connection: Connection) -> AsyncIterator[Parcel]:
    """Send more than anybody holds, and note each message as it is made."""
    connection.create_task(note_when_queued(connection, (LANE_SIZE - 1) * len(FILLING)))
    for number in range(count):
        note(connection, f"makes {number}")
        yield Parcel(number, FILLING)


@stream(heartbeat_interval=0.3)  # which is how a server sees that a client has left unread
async def gated(incoming: AsyncIterator[Parcel], gate: str, connection: Connection) -> list[int]:
    """Read nothing before the gate is opened, then everything."""
    note(connection, "waits at the gate")
    await _gates[gate].wait()
    return [parcel.number async for parcel in incoming]


@websocket(groups=["flooded"], max_outbox_size=8 * KIBIBYTE * KIBIBYTE)
async def flooded(connection: Connection) -> None:
    await note_when_queued(connection, KIBIBYTE * KIBIBYTE)
    await connection.closed


# The end


@stream(lane_size=LANE_SIZE)
async def dwelling(
    way: Literal["sleeping", "held-up"], connection: Connection
) -> AsyncIterator[str]:
    try:
        yield "begun"
        if way == "sleeping":
            note(connection, "sleeps")
            await asyncio.Event().wait()
        connection.create_task(note_when_queued(connection, LANE_SIZE // 2 * len(FILLING)))
        while True:
            yield FILLING
    finally:
        await asyncio.sleep(0)  # cleaning up may wait for something
        note(connection, "the generator is cleaned up")


# Views


@with_views(default=("id", "title", "teaser"), summary=("title", "id"))
class Article(msgspec.Struct):
    id: int
    title: str
    teaser: str
    text: str = ""


@stream
async def articles(incoming: AsyncIterator[int]) -> AsyncIterator[Article]:
    async for number in incoming:
        yield Article(number, "Spring", "It is warm.", "It is not.")


class Desk(AdapterConsumer):
    groups = ["desk"]
    views = ("default", "summary")


# Batches of pushes


class Board(AdapterConsumer):
    groups = ["board"]
    batch = Batch(max_items=100, max_delay=60)


# What arrives, by its priority and rate


@stream
async def sorting(
    incoming: AsyncIterator[dict[str, Any]], expected: int, connection: Connection
) -> list[Any]:
    """Read nothing before so many frames are there; then tell in which order they are read."""
    await until_received(connection, expected)
    return [message async for message in incoming]


async def until_received(connection: Connection, frames: int) -> None:
    while connection.stats.messages_in < frames:
        if await connection.ends_within(POLL_SECONDS):
            return


class Hold(msgspec.Struct):
    expected: int


class Counter(AdapterConsumer):
    """Handles messages in the order of their lanes."""

    rate_limits = {"note": RateLimit(per_second=0.01, burst=2)}

    @handler("hold")
    async def hold(self, message: Hold) -> None:
        await until_received(self.connection, message.expected)

    @handler("stop", priority=Priority.URGENT)
    async def stop(self, message: dict[str, Any]) -> str:
        return "stopped"

    @handler("say")
    async def say(self, message: dict[str, Any]) -> str:
        return "said"

    @handler("file", priority=Priority.LOW)
    async def file(self, message: dict[str, Any]) -> str:
        return "filed"

    @handler("ask", rate_limit=RateLimit(per_second=0.01, burst=3))
    async def ask(self, message: dict[str, Any]) -> str:
        return "answered"

    @handler("note")
    async def write_down(self, message: dict[str, Any]) -> str:
        return "noted"


# Retries


class Errand(msgspec.Struct):
    gate: str


class Errands(AdapterConsumer):
    """Runs what fails at first, and pings its clients meanwhile."""

    heartbeat_interval = 0.2
    groups = ["errands"]
    attempts = 0

    @handler("run", retry=Retry(attempts=10_000, first_delay_seconds=0.05, factor=1))
    async def run(self, errand: Errand) -> int:
        """Fail until the gate is open."""
        self.attempts += 1
        if not _gates[errand.gate].is_set():
            raise Transient("The gate is closed.")
        return self.attempts

    @handler("postpone", retry=Retry(attempts=1, first_delay_seconds=60))
    async def postpone(self, message: dict[str, Any]) -> None:
        note(self.connection, "postponed")
        raise Transient("Not today.")

    @handler("despair", retry=Retry(attempts=3, first_delay_seconds=0.1, factor=2))
    async def despair(self, message: dict[str, Any]) -> None:
        self.attempts += 1
        raise Transient(f"attempt {self.attempts} failed")
