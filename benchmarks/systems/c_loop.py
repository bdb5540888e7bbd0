"""The limit of the machine: a C program that sends one ready frame to every socket."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import redis

from benchmarks.processes import DidNotStart
from benchmarks.system import Family, Place, Publisher, System

SOURCE = Path(__file__).with_name("c_loop.c")
CHANNEL = "benchmark"


class CLoop(System):
    """One ``send`` per frame and socket, and nothing else."""

    name = "C loop"
    family: Family = "limit"
    measures = frozenset({"closed", "burst", "connect", "idle", "scale"})

    def missing(self) -> str | None:
        if shutil.which("cc"):
            return None
        return "cc is not on the PATH: on Debian, run `apt-get install gcc libc6-dev`."

    def prepare(self, place: Place) -> None:
        program = place.directory / "c_loop"
        command = ["cc", "-O2", "-o", str(program), str(SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise DidNotStart(f"cc could not build the C loop; it says:\n{done.stderr[-2000:]}")

    def command(self, place: Place) -> list[str]:
        program = str(place.directory / "c_loop")
        return [program, str(place.port), str(place.redis_port), CHANNEL]

    def publisher(self, place: Place) -> Publisher:
        return ChannelPublisher(place, CHANNEL)


class ChannelPublisher(Publisher):
    """Plain PUBLISH of the payloads themselves."""

    def __init__(self, place: Place, channel: str) -> None:
        self._redis = redis.Redis.from_url(place.redis_url)
        self._channel = channel

    def broadcast(self, payloads: Sequence[str]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for payload in payloads:
            pipeline.publish(self._channel, payload)
        pipeline.execute()

    def send_to_user(self, user: str, payload: str) -> None:
        self._redis.publish(self._channel, payload)


SYSTEMS: list[System] = [CLoop()]
