"""python-socketio with its Redis manager, as an ASGI application; WebSocket only."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import parse_qs

import socketio

# Engine.IO pings every 25 seconds by default; once a day, none stands among the messages measured.
PING_SECONDS = 25 if os.environ["BENCH_HEARTBEATS"] else 86_400

server = socketio.AsyncServer(
    async_mode="asgi",
    client_manager=socketio.AsyncRedisManager(os.environ["BENCH_REDIS_URL"]),
    transports=["websocket"],
    http_compression=False,
    ping_interval=PING_SECONDS,
)


@server.event
async def connect(sid: str, environ: dict[str, Any]) -> None:
    user = parse_qs(environ["QUERY_STRING"]).get("user", ["nobody"])[0]
    await server.enter_room(sid, f"user:{user}")


async def subscribe() -> None:
    """Before the first client comes, where python-socketio would wait for it."""
    server.manager_initialized = True
    server.manager.initialize()


app = socketio.ASGIApp(server, on_startup=subscribe)
