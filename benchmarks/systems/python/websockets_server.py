"""websockets on uvloop with Redis: `broadcast` to every connection of a room."""

from __future__ import annotations

from collections import defaultdict

import uvloop
from subscription import BACKLOG, HEARTBEATS, PORT, rooms_of, subscribed
from websockets.asyncio.server import ServerConnection, broadcast, serve

# websockets pings every 20 seconds unless it is told otherwise.
PING_SECONDS = 20 if HEARTBEATS else None

connections: defaultdict[str, set[ServerConnection]] = defaultdict(set)


async def stay(connection: ServerConnection) -> None:
    """In the rooms of the client until it goes."""
    assert connection.request is not None
    rooms = rooms_of(connection.request.path)
    for room in rooms:
        connections[room].add(connection)
    try:
        await connection.wait_closed()
    finally:
        for room in rooms:
            connections[room].discard(connection)


async def main() -> None:
    server = serve(
        stay, "127.0.0.1", PORT, backlog=BACKLOG, compression=None, ping_interval=PING_SECONDS
    )
    async with subscribed() as messages, server:
        async for room, payload in messages:
            broadcast(connections.get(room, ()), payload, text=True)


if __name__ == "__main__":
    uvloop.run(main())
