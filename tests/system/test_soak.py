"""Ten thousand connections later, a server has in memory what it had after the first thousands."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
from websockets.frames import Close, Frame, Opcode

from tests.deployment import Deployment, DjangoServer
from tests.redis_server import RedisServer
from tests.system.memory import resident_bytes
from tests.waiting import aeventually

#: After the first ones, modules are loaded, pools are full and allocators have their arenas.
WARM_UP = 2_000
CONNECTIONS = 8_000
AT_ONCE = 50

#: A leak of one KiB a connection would be 8 MiB.
MARGIN_BYTES = 4 * 1024 * 1024
#: Of some 100 000; one object a connection would be 8 000.
MARGIN_OBJECTS = 500


@pytest.fixture
def server(deployment: Deployment) -> DjangoServer:
    return deployment.server("uvicorn-frames")


CLOSE = Frame(Opcode.CLOSE, Close(1000, "").serialize()).serialize(mask=True)


class Visitor:
    """A client that does the least that a WebSocket asks for: thousands of them must be cheap."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def enter(self, path: str) -> None:
        lines = [
            f"GET {path} HTTP/1.1",
            *("Host: 127.0.0.1", "Connection: Upgrade", "Upgrade: websocket"),
            *("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
        ]
        self._writer.write("\r\n".join([*lines, "", ""]).encode())
        answer = await self._reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 "), answer

    async def receive(self) -> str:
        """The next frame, whatever it is; none here has more than 64 KiB."""
        _, size = await self._reader.readexactly(2)
        if size == 126:
            size = int.from_bytes(await self._reader.readexactly(2))
        return (await self._reader.readexactly(size)).decode("latin-1")

    def send(self, text: str) -> None:
        self._writer.write(Frame(Opcode.TEXT, text.encode()).serialize(mask=True))

    async def leave(self) -> None:
        """Close, and read what is still on its way."""
        self._writer.write(CLOSE)
        await self._reader.read()

    def vanish(self) -> None:
        self._writer.transport.abort()


@asynccontextmanager
async def visiting(server: DjangoServer, path: str) -> AsyncIterator[Visitor]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        visitor = Visitor(reader, writer)
        await visitor.enter(path)
        yield visitor
    finally:
        writer.close()
        await writer.wait_closed()


# What clients do


async def talk(visitor: Visitor) -> None:
    for number in range(3):
        visitor.send(f"message {number}")
        assert await visitor.receive() == f"message {number}"
    await visitor.leave()


async def watch(visitor: Visitor) -> None:
    """Stay for some frames of a periodic endpoint."""
    for _ in range(2):
        assert "count" in await visitor.receive()
    await visitor.leave()


async def vanish(visitor: Visitor) -> None:
    """Leave without a word, which cancels what runs."""
    visitor.vanish()


async def listen(visitor: Visitor) -> None:
    """Hear everything, until the endpoint returns."""
    for _ in range(7):
        await visitor.receive()
    await visitor.leave()


Conversation = Callable[[Visitor], Awaitable[None]]

#: Where to go, and what to do there.
CONVERSATIONS: list[tuple[str, Conversation]] = [
    ("/talk/echo/", talk),
    ("/talk/tally/", watch),
    ("/talk/occupied/sleeping/", vanish),
    ("/talk/greetings/", listen),
    ("/talk/occupied/repeating/", vanish),
]


async def converse(server: DjangoServer, number: int) -> None:
    path, conversation = CONVERSATIONS[number % len(CONVERSATIONS)]
    async with visiting(server, path) as visitor:
        assert "ws:welcome" in await visitor.receive()
        await conversation(visitor)


async def soak(server: DjangoServer, connections: int) -> None:
    """Have so many conversations, some of them at once; return when all are forgotten."""
    numbers = iter(range(connections))

    async def worker(mine: Iterator[int]) -> None:
        for number in mine:
            await converse(server, number)

    async with asyncio.TaskGroup() as workers:
        for _ in range(AT_ONCE):
            workers.create_task(worker(numbers))
    await aeventually(lambda: server.get("/counts/").json() == {"clients": 0, "users": 0})


# What they leave behind


class Remains(NamedTuple):
    resident_bytes: int
    objects: int
    tasks: int
    connections: int
    most: Any


async def remains(server: DjangoServer) -> Remains:
    async with visiting(server, "/talk/vitals/") as visitor:
        vitals = json.loads(await visitor.receive())
        await visitor.leave()
    return Remains(resident_bytes(server), **vitals)


def in_redis(redis_server: RedisServer) -> dict[str, Any]:
    with redis_server.client() as client:
        return {
            "keys": sorted(client.keys("*")),
            "channels": sorted(client.pubsub_channels()),
            "patterns": client.pubsub_numpat(),
        }


async def test_ten_thousand_connections_leave_nothing_behind(
    server: DjangoServer, redis_server: RedisServer
) -> None:
    await soak(server, len(CONVERSATIONS))
    keys = in_redis(redis_server)
    await soak(server, WARM_UP)
    before = await remains(server)
    await soak(server, CONNECTIONS)
    after = await remains(server)
    assert (after.tasks, after.connections) == (before.tasks, 1), "the one that asks"
    assert after.objects - before.objects < MARGIN_OBJECTS, (before.most, after.most)
    assert after.resident_bytes - before.resident_bytes < MARGIN_BYTES
    await aeventually(lambda: in_redis(redis_server) == keys)
    assert "Traceback" not in server.log()
