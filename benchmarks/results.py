"""Results: named numbers of one measure of one system, and how they are kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Values = Mapping[str, float]


@dataclass(frozen=True)
class Result:
    """What a measure of a system gave at a number of connections."""

    system: str
    family: str
    measure: str
    connections: int
    values: Values


@dataclass
class Report:
    """All of one run of the benchmark.

    Attributes:
        missing: system -> what is to be installed for it.
        failures: "system, measure" -> what went wrong.
        profiles: "system, measure, connections" -> where the server's time went.
    """

    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    date: str
    results: list[Result] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    profiles: dict[str, str] = field(default_factory=dict)

    def of(self, measure: str, connections: int | None = None) -> list[Result]:
        return [
            result
            for result in self.results
            if result.measure == measure and connections in (None, result.connections)
        ]

    def sizes(self, measure: str) -> list[int]:
        return sorted({result.connections for result in self.of(measure)})

    def put(self, results: Sequence[Result]) -> None:
        """Add results, and drop those that there were of the same measures."""
        measures = {result.measure for result in results}
        self.results = [result for result in self.results if result.measure not in measures]
        self.results += results

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Report:
        fields = json.loads(path.read_text())
        return cls(**fields | {"results": [Result(**result) for result in fields["results"]]})


def percentile(numbers: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of at least one number."""
    ordered = sorted(numbers)
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]
