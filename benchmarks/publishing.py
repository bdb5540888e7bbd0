"""The publisher's process: ``python -m benchmarks.publishing <system> <place>``.

A process of its own, as a system may need settings that hold for a whole process, and as the
publisher's time is then its own. It takes one JSON request a line, and answers each with one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from os import sched_setaffinity
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.processes import ROOT, child_environment
from benchmarks.system import Place, Publisher, System

#: Whom the connections of all systems belong to.
USER = "1"


class PublishingFailed(Exception):
    """The publisher's process ended; the message has what it said."""


class Broadcasting(NamedTuple):
    """One broadcast: when it began (in `time.monotonic`), and the publisher's CPU seconds."""

    began: float
    cpu_seconds: float


class Targeting(NamedTuple):
    """Single sends: how long each took, and all of them, in seconds."""

    calls: list[float]
    seconds: float


class PublishingProcess:
    """The process, as the load client sees it."""

    def __init__(self, system: System, place: Place, cores: Collection[int]) -> None:
        self._log = (place.directory / "publisher.log").open("w+")
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.publishing", system.name, place_as_text(place)],
            cwd=ROOT,
            env=child_environment(system.environment(place)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        sched_setaffinity(self._popen.pid, cores)
        self.answer()

    def request(self, verb: str, argument: Any) -> None:
        """Ask for something; `answer` then waits for it to be done."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(json.dumps({"verb": verb, "argument": argument}) + "\n")
        self._popen.stdin.flush()

    def answer(self) -> Any:
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        if not line:
            self._popen.wait()
            self._log.seek(0)
            raise PublishingFailed(self._log.read()[-2000:])
        return json.loads(line)

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

    def end(self) -> None:
        assert self._popen.stdin is not None and self._popen.stdout is not None
        self._popen.kill()
        self._popen.wait()
        self._popen.stdin.close()
        self._popen.stdout.close()
        self._log.close()


def place_as_text(place: Place) -> str:
    return json.dumps(asdict(place), default=str)


def place_from_text(text: str) -> Place:
    fields = json.loads(text)
    return Place(**fields | {"directory": Path(fields["directory"])})


def serve(publisher: Publisher) -> None:
    """Answer requests until there are no more."""
    verbs: Mapping[str, Callable[[Publisher, Any], Any]]
    verbs = {"broadcast": _broadcast, "lanes": _broadcast_in_lanes, "target": _target}
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(verbs[request["verb"]](publisher, request["argument"])), flush=True)


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
