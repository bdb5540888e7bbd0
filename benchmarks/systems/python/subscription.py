"""What Redis publishes, for the servers beside this file."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

from redis.asyncio import Redis

PORT = int(os.environ["BENCH_PORT"])
REDIS_URL = os.environ["BENCH_REDIS_URL"]
HEARTBEATS = bool(os.environ["BENCH_HEARTBEATS"])

# As long as uvicorn's, so that no server loses a connection which it has not accepted yet.
BACKLOG = 2048


def rooms_of(target: str) -> tuple[str, str]:
    """The channels that concern a client, from the path and query of its handshake."""
    user = parse_qs(urlsplit(target).query).get("user", ["nobody"])[0]
    return "broadcast", f"user:{user}"


@asynccontextmanager
async def subscribed() -> AsyncIterator[AsyncIterator[tuple[str, bytes]]]:
    """The channel and the payload of each message; Redis has been told once this is entered."""
    async with Redis.from_url(REDIS_URL) as client, client.pubsub() as pubsub:
        await pubsub.subscribe("broadcast")
        await pubsub.psubscribe("user:*")
        yield (
            (message["channel"].decode(), message["data"])
            async for message in pubsub.listen()
            if message["type"] in {"message", "pmessage"}
        )
