"""A real WebSocket server on this machine that does as a test tells it."""

from __future__ import annotations

import asyncio
import contextlib
import http
import json
from collections import deque
from collections.abc import AsyncIterator
from ssl import SSLContext
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

WITHIN_SECONDS = 15.0


class Peer:
    """The server's end of a connection."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        assert connection.request is not None
        self.request: Request = connection.request

    async def welcome(self, client_id: str = "c1") -> None:
        await self.say({"type": "ws:welcome", "client": client_id})
        assert await self.heard() == {"type": "ws:pong"}

    async def say(self, message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def heard(self) -> Any:
        return json.loads(await self.heard_raw())

    async def heard_raw(self) -> str | bytes:
        async with asyncio.timeout(WITHIN_SECONDS):
            return await self.connection.recv()

    async def close(self, code: int, reason: str = "") -> None:
        await self.connection.close(code, reason)

    def cut(self) -> None:
        """End the TCP connection without a closing handshake."""
        self.connection.transport.abort()

    async def close_code(self) -> int | None:
        async with asyncio.timeout(WITHIN_SECONDS):
            await self.connection.wait_closed()
        return self.connection.close_code


class Site:
    """Every path is a WebSocket.

    Attributes:
        statuses: what the next handshakes are refused with.
    """

    def __init__(self, server: Server, *, is_secure: bool) -> None:
        port = next(iter(server.sockets)).getsockname()[1]
        self.url = f"{'wss' if is_secure else 'ws'}://127.0.0.1:{port}/ws/"
        self.statuses: deque[int] = deque()
        self.connections: asyncio.Queue[Peer] = asyncio.Queue()

    async def accepted(self) -> Peer:
        """The next connection."""
        async with asyncio.timeout(WITHIN_SECONDS):
            return await self.connections.get()


@contextlib.asynccontextmanager
async def site(ssl: SSLContext | None = None) -> AsyncIterator[Site]:
    made: list[Site] = []

    async def connected(connection: ServerConnection) -> None:
        made[0].connections.put_nowait(Peer(connection))
        await connection.wait_closed()

    def answer(connection: ServerConnection, request: Request) -> Response | None:
        if not made[0].statuses:
            return None
        return connection.respond(http.HTTPStatus(made[0].statuses.popleft()), "no\n")

    async with serve(
        connected,
        "127.0.0.1",
        0,
        ssl=ssl,
        process_request=answer,
        subprotocols=None,
        select_subprotocol=lambda _, offered: offered[0] if offered else None,
        max_size=None,
        close_timeout=1,
    ) as server:
        made.append(Site(server, is_secure=ssl is not None))
        yield made[0]
