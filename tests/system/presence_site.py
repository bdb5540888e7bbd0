"""A site whose processes note who comes online and who goes, each in a file of its own.

    NOTES                 the directory: one file for each process, one line for each transition
    CLOCK_AHEAD_SECONDS   by how much the clock of this process is wrong

Visitors say who they are, in which room they sit and on which seat: ``/?user=7&room=hall&seat=3``.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

AHEAD_SECONDS = float(os.environ.get("CLOCK_AHEAD_SECONDS", "0"))
if AHEAD_SECONDS:  # before anybody has looked at it
    right_time, right_time_ns = time.time, time.time_ns
    time.time = lambda: right_time() + AHEAD_SECONDS
    time.time_ns = lambda: right_time_ns() + int(AHEAD_SECONDS * 1e9)

from channels.routing import ProtocolTypeRouter  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402

django_application = get_asgi_application()  # first: it loads the apps

from wsadapter import Connection, websocket  # noqa: E402
from wsadapter.signals import user_came_online, user_went_offline  # noqa: E402


@websocket(announce_members=True)
async def visiting(connection: Connection, room: str = "", seat: int = 0) -> None:
    """Sit in a room, if one is named."""
    if room:
        await connection.join(room, {"seat": seat})
    await connection.send({"type": "seated"})
    async for _ in connection:
        pass


async def came(user_id: str, **kwargs: Any) -> None:
    note(user_id, "came")


def went(user_id: str, **kwargs: Any) -> None:
    note(user_id, "went")


def note(user_id: str, what: str) -> None:
    # The monotonic clock is one for all processes of a machine, and nobody makes it wrong.
    line = json.dumps([time.monotonic_ns(), user_id, what])
    with (Path(os.environ["NOTES"]) / str(os.getpid())).open("a") as notes:
        notes.write(f"{line}\n")


user_came_online.connect(came)
user_went_offline.connect(went)

application = ProtocolTypeRouter({"http": django_application, "websocket": visiting.as_asgi()})
