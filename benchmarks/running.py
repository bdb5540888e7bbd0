"""A system that runs: its Redis, its server processes, its publisher and its clients."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path

import redis

from benchmarks import machine
from benchmarks.load import Crowd, Manners
from benchmarks.machine import Cores
from benchmarks.processes import Process, free_port, redis_command
from benchmarks.publishing import PublishingProcess
from benchmarks.system import Place, System

PAYLOAD_BYTES = 200
FILLER = "The quick brown fox jumps over the lazy dog and is back before the dog has noticed. "


@dataclass
class Running:
    """One start of a system; `start` makes it."""

    system: System
    place: Place
    servers: Sequence[Process]
    redis: redis.Redis
    publisher: PublishingProcess
    crowd: Crowd

    def __post_init__(self) -> None:
        self._numbers = count(1)

    def numbers(self, number: int) -> list[int]:
        """So many that no other message has."""
        return list(islice(self._numbers, number))

    def payloads(self, number: int) -> list[str]:
        """Texts of one length, each with a number of its own."""
        return list(map(payload, self.numbers(number)))

    def stream(self, payloads: Sequence[str]) -> bytes:
        """The bytes in which a client receives them."""
        return b"".join(map(self.system.frame, payloads))

    def server_cpu_seconds(self) -> float:
        return sum(machine.cpu_seconds(server.pid) for server in self.servers)

    def server_bytes(self) -> int:
        self.system.settle(self.place)
        return sum(machine.resident_bytes(server.pid) for server in self.servers)

    def redis_statistic(self, name: str) -> int:
        """Asked over a connection that has been open all the time; the question is a command."""
        return int(self.redis.info("stats")[name])


def payload(number: int) -> str:
    return f"{number:012d} {FILLER * 3}"[:PAYLOAD_BYTES]


@contextmanager
def start(
    system: System,
    cores: Cores,
    *,
    heartbeats: bool = False,
    compression: bool = False,
    server_cores: Sequence[frozenset[int]] | None = None,
    receive_buffer: int | None = None,
) -> Iterator[Running]:
    """Start a system, its Redis and its publisher; nothing is left of them afterwards.

    Args:
        system: that has all it needs.
        cores: who runs where.
        heartbeats, compression: as `Place` has them.
        server_cores: the core of each server process, where there are several.
        receive_buffer: as `Crowd` has it.
    """
    with ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="benchmark-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        place = Place(directory, free_port(), free_port(), heartbeats, compression)
        _start_redis(stack, place, cores)
        system.prepare(place)
        servers: list[Process] = []
        ports: list[int] = []
        for core in server_cores or [cores.server]:
            one = replace(place, port=free_port()) if servers else place
            servers.append(_start_server(stack, system, one, core))
            ports.append(one.port)
        publisher = PublishingProcess(system, place, cores.others)
        stack.callback(publisher.end)
        crowd = Crowd(ports, manners(system, place), receive_buffer=receive_buffer)
        stack.callback(crowd.close)
        client = redis.Redis(port=place.redis_port)
        client.ping()
        stack.callback(client.close)
        try:
            yield Running(system, place, servers, client, publisher, crowd)
        except Exception as error:
            error.add_note("\n".join(server.end_of_log() for server in servers))
            raise


def manners(system: System, place: Place) -> Manners:
    return Manners(
        path=system.path,
        headers=system.headers(place),
        hello=system.hello,
        greetings=system.greetings,
        answers=system.answers,
        compression=place.compression,
    )


def _start_redis(stack: ExitStack, place: Place, cores: Cores) -> None:
    command = redis_command(place.redis_port, place.directory)
    process = Process(command, cores=cores.others, log=place.directory / "redis.log")
    stack.callback(process.end)
    process.until_port_answers(place.redis_port)


def _start_server(stack: ExitStack, system: System, place: Place, core: frozenset[int]) -> Process:
    process = Process(
        system.command(place),
        cores=core,
        log=place.directory / f"server-{place.port}.log",
        environment=system.environment(place),
    )
    stack.callback(process.end)
    process.until_port_answers(place.port)
    time.sleep(0.3)  # several servers still have something to do after they listen
    return process
