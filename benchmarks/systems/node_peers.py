"""Servers in Node with Redis: `ws`, and socket.io with its adapter."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import redis

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

SERVERS = Path(__file__).parent / "node"
OLDEST_NODE = 20


def packages_directory() -> Path:
    """Where npm installs to: outside the repository, a new directory for each package.json."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    version = hashlib.sha256((SERVERS / "package.json").read_bytes()).hexdigest()[:12]
    return cache / "wsadapter-bench" / f"node-{version}"


def install_packages(directory: Path) -> None:
    """`npm install`, once. The servers stand beside their packages, where Node looks for them."""
    directory.mkdir(parents=True, exist_ok=True)
    for source in SERVERS.iterdir():
        shutil.copy(source, directory)
    stamp = directory / "installed"
    if stamp.exists():
        return
    run = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"],
        cwd=directory,
        capture_output=True,
        text=True,
    )
    if run.returncode:
        raise RuntimeError(f"npm install failed in {directory}; it says:\n{run.stderr}")
    stamp.touch()


def node_version() -> int:
    """The major version of the Node that is installed."""
    answer = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    return int(answer.stdout.lstrip("v").partition(".")[0])


class NodePeer(System):
    """A server in JavaScript.

    Attributes:
        script: its file in the directory node/.
    """

    family: Family = "peer"
    script: str

    def missing(self) -> str | None:
        for program in ("node", "npm"):
            if shutil.which(program) is None:
                return f"{program} is not on the PATH: install Node {OLDEST_NODE} or newer."
        if (version := node_version()) < OLDEST_NODE:
            return f"node is version {version}: install Node {OLDEST_NODE} or newer."
        return None

    def prepare(self, place: Place) -> None:
        install_packages(packages_directory())

    def command(self, place: Place) -> list[str]:
        return ["node", str(packages_directory() / self.script)]

    def environment(self, place: Place) -> Mapping[str, str]:
        return {**server_environment(place), "NODE_ENV": "production"}


class NodeWs(NodePeer):
    name = "node ws"
    path = "/ws/?user=1"
    script = "ws_server.mjs"

    def publisher(self, place: Place) -> Publisher:
        return RedisPublisher(place)


class NodeSocketIO(NodePeer):
    name = "node socket.io"
    path = PATH
    hello = HELLO
    greetings = GREETINGS
    answers = ANSWERS
    script = "socketio_server.mjs"

    def frame(self, payload: str) -> bytes:
        return event_frame(payload, ascii_only=False)

    def publisher(self, place: Place) -> Publisher:
        return AdapterPublisher(place)


class AdapterPublisher(Publisher):
    """Speaks to socket.io's Redis adapter as its own emitter for other processes does."""

    def __init__(self, place: Place) -> None:
        self._redis = redis.Redis.from_url(place.redis_url)

    def broadcast(self, payloads: Sequence[str]) -> None:
        with self._redis.pipeline(transaction=False) as pipeline:
            for payload in payloads:
                pipeline.publish("socket.io#/#", adapter_message(payload))
            pipeline.execute()

    def send_to_user(self, user: str, payload: str) -> None:
        room = f"user:{user}"
        self._redis.publish(f"socket.io#/#{room}#", adapter_message(payload, rooms=(room,)))

    def close(self) -> None:
        self._redis.close()


def adapter_message(payload: str, *, rooms: Sequence[str] = ()) -> bytes:
    """Who sends it, an event packet (type 2) of the namespace "/", and to whom."""
    packet = {"type": 2, "data": [EVENT, payload], "nsp": "/"}
    recipients = {"rooms": list(rooms), "except": [], "flags": {}}
    return msgspec.msgpack.encode(["emitter", packet, recipients])


SYSTEMS: list[System] = [NodeSocketIO(), NodeWs()]
