"""The publisher's process: ``python -m benchmarks.publishing <system> <place>``.

A process of its own, as a system may need settings that hold for a whole process, and as the
publisher's time is then its own.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.answering import AnsweringProcess, Verbs, answer, say_ready
from benchmarks.system import Place, Publisher, System

#: Whom the connections of all systems belong to.
USER = "1"


class Broadcasting(NamedTuple):
    """One broadcast: when it began (in `time.monotonic`), and the publisher's CPU seconds."""

    began: float
    cpu_seconds: float


class Targeting(NamedTuple):
    """Single sends: how long each took, and all of them, in seconds."""

    calls: list[float]
    seconds: float


class PublishingProcess(AnsweringProcess):
    """The process, as the load client sees it."""

    def __init__(self, system: System, place: Place, cores: Collection[int]) -> None:
        super().__init__(
            __name__,
            *(system.name, place_as_text(place)),
            cores=cores,
            log=place.directory / "publisher.log",
            environment=system.environment(place),
        )

    def broadcast(self, payloads: Sequence[str]) -> None:
        self.request("broadcast", payloads)

    def broadcasted(self) -> Broadcasting:
        return Broadcasting(*self.answer())

    def broadcast_in_lanes(self, payloads: Sequence[str], priorities: Sequence[int]) -> None:
        self.request("lanes", [payloads, priorities])

    def target(self, payloads: Sequence[str]) -> None:
        self.request("target", payloads)

    def targeted(self) -> Targeting:
        return Targeting(*self.answer())


def place_as_text(place: Place) -> str:
    return json.dumps(asdict(place), default=str)


def place_from_text(text: str) -> Place:
    fields = json.loads(text)
    return Place(**fields | {"directory": Path(fields["directory"])})


def serve(publisher: Publisher) -> None:
    """Answer requests until there are no more."""
    verbs: Verbs = {
        "broadcast": partial(_broadcast, publisher),
        "lanes": partial(_broadcast_in_lanes, publisher),
        "target": partial(_target, publisher),
    }
    say_ready()
    for line in sys.stdin:
        answer(line, verbs)


def _broadcast(publisher: Publisher, payloads: list[str]) -> Broadcasting:
    began, cpu = time.monotonic(), time.process_time()
    publisher.broadcast(payloads)
    return Broadcasting(began, time.process_time() - cpu)


def _broadcast_in_lanes(publisher: Publisher, argument: tuple[list[str], list[int]]) -> None:
    publisher.broadcast_in_lanes(*argument)


def _target(publisher: Publisher, payloads: list[str]) -> Targeting:
    calls: list[float] = []
    began = before = time.perf_counter()
    for payload in payloads:
        publisher.send_to_user(USER, payload)
        after = time.perf_counter()
        calls.append(after - before)
        before = after
    return Targeting(calls, before - began)


def main() -> None:
    from benchmarks.systems import SYSTEMS

    name, place = sys.argv[1], place_from_text(sys.argv[2])
    system = next(system for system in SYSTEMS if system.name == name)
    publisher = system.publisher(place)
    try:
        serve(publisher)
    finally:
        publisher.close()


if __name__ == "__main__":
    main()
