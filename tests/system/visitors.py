"""Who visits the `presence_site`: a socket each, and what has come over it."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from contextlib import suppress
from typing import Any, Self
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

#: By then a server has done what it owes a visitor.
PATIENCE_SECONDS = 20.0


class Visitor:
    """One connection, which reads by itself.

    Args:
        heard: the messages up to the one that says that it is seated.

    Attributes:
        id: its client id.
        url: the address of the server.
        user: None for an anonymous one.
        room: the group that it is in, or "" for none.
        seat: what it says of itself there.
        heard: all messages that it got.
    """

    def __init__(
        self,
        connection: ClientConnection,
        heard: list[Any],
        *,
        url: str,
        user: str | None,
        room: str,
        seat: int,
    ) -> None:
        self.id: str = heard[0]["client"]
        self.url = url
        self.user = user
        self.room = room
        self.seat = seat
        self.heard = heard
        self._connection = connection
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def enter(cls, url: str, user: str | None = None, room: str = "", seat: int = 0) -> Self:
        """Connect, and take the seat.

        Raises:
            ConnectionClosed: the server turned it away.
        """
        asked = {"room": room, "seat": seat} | ({"user": user} if user is not None else {})
        connection = await connect(
            f"{url}/?{urlencode(asked)}",
            compression=None,
            open_timeout=PATIENCE_SECONDS,
            close_timeout=5,
            ping_interval=None,
        )
        async with asyncio.timeout(PATIENCE_SECONDS):
            heard = await until_seated(connection)
        return cls(connection, heard, url=url, user=user, room=room, seat=seat)

    @property
    def is_connected(self) -> bool:
        return not self._reading.done()

    async def leave(self) -> None:
        await self._connection.close()
        await self.ended()

    async def cut(self) -> None:
        """As if its process had been killed: a TCP reset in place of a close frame."""
        transport = self._connection.transport
        own = transport.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        await self.ended()

    async def ended(self) -> None:
        """Wait until the connection is closed, or broken."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.shield(self._reading)

    def heard_of(self, type: str) -> list[Any]:
        """Its messages of that type, in the order of their arrival."""
        return [message for message in self.heard if message["type"] == type]

    async def _read(self) -> None:
        with suppress(ConnectionClosed):
            while True:
                self.heard.append(json.loads(await self._connection.recv()))


async def until_seated(connection: ClientConnection) -> list[Any]:
    """What is said up to then: the welcome, and pushes perhaps."""
    heard = [json.loads(await connection.recv())]
    while heard[-1]["type"] != "seated":
        heard.append(json.loads(await connection.recv()))
    return heard
