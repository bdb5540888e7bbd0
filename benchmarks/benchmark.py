"""The benchmark: which measures of which systems, one after the other, into one report."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from benchmarks import lanes, measures, profile, variants
from benchmarks.echo import echo
from benchmarks.machine import Cores
from benchmarks.measures import Effort
from benchmarks.results import Report, Result
from benchmarks.running import Running, start
from benchmarks.storm import storm
from benchmarks.system import System

MEASURES = (
    *("targeted", "connect", "closed", "burst"),
    *("idle", "storm", "lanes", "compressed", "scale", "echo"),
)


@dataclass(frozen=True)
class Extent:
    """How large and how long the measures are.

    Attributes:
        sizes: numbers of connections for the fan-out; the first is also that of what is
            measured at one size only.
        idle_connections: at most, of the measure of idle ones, and of those of a storm.
        echo_sizes: numbers of connections for the echoes.
    """

    sizes: Sequence[int]
    idle_connections: int
    closed: Effort
    burst: Effort
    targeted_seconds: float
    idle_seconds: float
    echo: Effort
    echo_sizes: Sequence[int] = (1, 100)

    def of_sizes(self, sizes: Sequence[int]) -> Extent:
        own = sorted(sizes)
        return replace(self, sizes=own, idle_connections=max(sizes), echo_sizes=own)


#: An idle minute has three heartbeats of most servers; a third of one has one, and two of ours.
FULL = Extent(
    sizes=(1000, 5000),
    idle_connections=5000,
    closed=Effort(least_rounds=5, most_rounds=200, seconds=3),
    burst=Effort(least_rounds=3, most_rounds=25, seconds=4),
    targeted_seconds=2,
    idle_seconds=20,
    echo=Effort(least_rounds=3, most_rounds=9, seconds=2),
)
QUICK = Extent(
    sizes=(200,),
    idle_connections=200,
    closed=Effort(least_rounds=2, most_rounds=20, seconds=0.3),
    burst=Effort(least_rounds=2, most_rounds=2, seconds=0),
    targeted_seconds=0.3,
    idle_seconds=2,
    echo=Effort(least_rounds=1, most_rounds=1, seconds=0),
)


class Progress(Protocol):
    """Is told what is being done."""

    def step(self, text: str) -> None: ...


@dataclass
class Benchmark:
    """Runs systems and fills a report.

    Attributes:
        wanted: only these measures.
        profiles: where samples of the servers go; they cost time, so the numbers are not good.
    """

    extent: Extent
    cores: Cores
    report: Report
    wanted: Collection[str] = MEASURES
    profiles: Path | None = None

    def steps(self, system: System) -> int:
        """How often `run` tells the progress of a step."""
        sizes = dict.fromkeys(("closed", "burst"), len(self._sizes(system)))
        sizes["echo"] = len(self.extent.echo_sizes)
        return sum(sizes.get(name, 1) for name in self._of(system))

    def run(self, system: System, progress: Progress) -> None:
        self._progress = progress
        measured = self._of(system)
        acts: Mapping[str, Callable[[System], None]] = {
            "idle": self._idle,
            "storm": self._storm,
            "lanes": self._lanes,
            "compressed": self._compressed,
            "scale": self._scale,
            "echo": self._echo,
        }
        if measured - acts.keys():
            with self._recorded(system, "its start or fan-out"):
                self._fan_out(system, measured)
        for name, act in acts.items():
            if name in measured:
                with self._recorded(system, name):
                    act(system)

    def _of(self, system: System) -> frozenset[str]:
        return system.measures.intersection(self.wanted)

    def _sizes(self, system: System) -> list[int]:
        most = system.most_connections
        return [size for size in self.extent.sizes if size <= most] or [most]

    def _fan_out(self, system: System, measured: Collection[str]) -> None:
        with start(system, self.cores) as running:
            if "targeted" in measured:
                self._take(
                    running,
                    "targeted",
                    1,
                    lambda: measures.targeted(running, self.extent.targeted_seconds),
                )
            first = self._sizes(system)[0]
            if "connect" in measured:
                self._take(running, "connect", first, lambda: measures.connect(running, first))
            for size in self._sizes(system):
                if {"closed", "burst"}.intersection(measured):
                    running.crowd.grow(size)
                if "closed" in measured:
                    self._take(
                        running,
                        "closed",
                        size,
                        lambda: measures.closed(running, self.extent.closed),
                    )
                if "burst" in measured:
                    self._take(
                        running, "burst", size, lambda: measures.burst(running, self.extent.burst)
                    )

    def _take(
        self, running: Running, name: str, size: int, measure: Callable[[], dict[str, float]]
    ) -> None:
        self._progress.step(f"{running.system.name}: {name}, {size} connections")
        with self._profiled(running, f"{running.system.name}, {name}, {size}"):
            values = measure()
        self._record(running.system, name, size, values)

    @contextmanager
    def _profiled(self, running: Running, what: str) -> Iterator[None]:
        if self.profiles is None:
            yield
            return
        file = self.profiles / f"{what}.txt"
        with profile.recorded(running.servers[0].pid, file):
            yield
        self.report.profiles[what] = profile.described(file)

    def _idle(self, system: System) -> None:
        size = min(self.extent.idle_connections, system.most_connections)
        self._progress.step(f"{system.name}: idle, {size} connections")
        with start(system, self.cores, heartbeats=True) as running:
            values = measures.idle(running, size, self.extent.idle_seconds)
        self._record(system, "idle", size, values)

    def _storm(self, system: System) -> None:
        size = min(self.extent.idle_connections, system.most_connections)
        self._progress.step(f"{system.name}: storm, {size} connections")
        with start(system, self.cores) as running:
            self._record(system, "storm", size, storm(running, size))

    def _lanes(self, system: System) -> None:
        """Not timed, and of one size: it is right, or the run has failed."""
        size = lanes.CONNECTIONS
        self._progress.step(f"{system.name}: order in lanes, {size} connections")
        with start(system, self.cores, receive_buffer=lanes.RECEIVE_BUFFER) as running:
            self._record(system, "lanes", size, lanes.lanes(running, size))

    def _compressed(self, system: System) -> None:
        self._twice(system, "compressed", variants.compressed)

    def _scale(self, system: System) -> None:
        self._twice(system, "scale", variants.scale)

    def _echo(self, system: System) -> None:
        with start(system, self.cores) as running:
            for size in self.extent.echo_sizes:
                self._take(running, "echo", size, partial(echo, running, size, self.extent.echo))

    def _twice(
        self,
        system: System,
        name: str,
        measure: Callable[[System, Cores, int, Effort], dict[str, float]],
    ) -> None:
        size = self.extent.sizes[0]
        self._progress.step(f"{system.name}: {name}, {size} connections")
        self._record(system, name, size, measure(system, self.cores, size, self.extent.burst))

    def _record(self, system: System, name: str, size: int, values: dict[str, float]) -> None:
        self.report.results.append(Result(system.name, system.family, name, size, values))

    @contextmanager
    def _recorded(self, system: System, what: str) -> Iterator[None]:
        """A failure is part of the report, and the next measure goes on."""
        try:
            yield
        except Exception as error:
            notes = getattr(error, "__notes__", [])
            text = "\n".join([f"{type(error).__name__}: {error}", *notes])
            self.report.failures[f"{system.name}, {what}"] = text
