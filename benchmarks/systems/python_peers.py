"""Other ways to push from Python, each with Redis between the publisher and the server."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from benchmarks.system import Family, Place, Publisher, System
from benchmarks.systems.raw_redis import RedisPublisher, server_environment
from benchmarks.systems.socketio_frames import (
    ANSWERS,
    EVENT,
    GREETINGS,
    HELLO,
    PATH,
    event_frame,
)

SERVERS = Path(__file__).parent / "python"


class PythonPeer(System):
    """A server in Python, in a file of its own beside this one.

    Attributes:
        needs: the modules that have to be installed.
    """

    family: Family = "peer"
    needs: tuple[str, ...]

    def missing(self) -> str | None:
        absent = [module for module in self.needs if find_spec(module) is None]
        if not absent:
            return None
        return (
            f"{' and '.join(absent)} cannot be imported: "
            "run `pip install -r benchmarks/requirements.txt`."
        )

    def environment(self, place: Place) -> Mapping[str, str]:
        return server_environment(place)

    def publisher(self, place: Place) -> Publisher:
        return RedisPublisher(place)


class Picows(PythonPeer):
    name = "picows"
    path = "/ws/?user=1"
    needs = ("picows", "uvloop", "redis")

    def command(self, place: Place) -> list[str]:
        return [sys.executable, str(SERVERS / "picows_server.py")]


class WebsocketsBroadcast(PythonPeer):
    name = "websockets.broadcast"
    path = "/ws/?user=1"
    needs = ("websockets", "uvloop", "redis")

    def command(self, place: Place) -> list[str]:
        return [sys.executable, str(SERVERS / "websockets_server.py")]


class PythonSocketIO(PythonPeer):
    name = "python-socketio, uvicorn"
    path = PATH
    hello = HELLO
    greetings = GREETINGS
    answers = ANSWERS
    needs = ("socketio", "uvicorn", "uvloop", "httptools", "websockets", "redis")

    def command(self, place: Place) -> list[str]:
        return [
            *(sys.executable, "-m", "uvicorn", "socketio_server:app", "--app-dir", str(SERVERS)),
            *("--host", "127.0.0.1", "--port", str(place.port), "--loop", "uvloop"),
            *("--http", "httptools", "--ws", "websockets-sansio"),
            *("--ws-per-message-deflate", "false", "--log-level", "warning", "--no-access-log"),
            # Engine.IO has a heartbeat of its own.
            *("--ws-ping-interval", "86400"),
        ]

    def frame(self, payload: str) -> bytes:
        return event_frame(payload, ascii_only=True)

    def publisher(self, place: Place) -> Publisher:
        return SocketIOPublisher(place)


class SocketIOPublisher(Publisher):
    """What the documentation of python-socketio has an external process do."""

    def __init__(self, place: Place) -> None:
        from socketio import RedisManager

        self._manager = RedisManager(place.redis_url, write_only=True)

    def broadcast(self, payloads: Sequence[str]) -> None:
        for payload in payloads:
            self._manager.emit(EVENT, payload)

    def send_to_user(self, user: str, payload: str) -> None:
        self._manager.emit(EVENT, payload, room=f"user:{user}")


SYSTEMS: list[System] = [PythonSocketIO(), WebsocketsBroadcast(), Picows()]
