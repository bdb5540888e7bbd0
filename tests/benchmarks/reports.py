"""A report with round numbers."""

from __future__ import annotations

from benchmarks.results import Report, Result
from benchmarks.table import LIMIT, STOCK

SYSTEMS = [
    ("wsadapter, uvicorn", "wsadapter", 100_000.0),
    (STOCK, "channels", 10_000.0),
    ("a slow peer", "peer", 40_000.0),
    ("a fast <peer>", "peer", 50_000.0),
    (LIMIT, "limit", 200_000.0),
]


def report() -> Report:
    machine = {"processor": "A processor", "cores": 2, "memory_gib": 8, "system": "Linux"}
    made = Report(machine, {"python": "3.13"}, "2025-01-31")
    for name, family, rate in SYSTEMS:
        for size in (1000, 5000):
            values = rates(rate, size)
            made.results.append(Result(name, family, "burst", size, values))
            made.results.append(Result(name, family, "closed", size, values))
    return made


def rates(rate: float, size: int) -> dict[str, float]:
    milliseconds = size / rate * 1000
    return {
        "p50_ms": milliseconds,
        "p99_ms": 2 * milliseconds,
        "deliveries_per_second": rate,
        "messages": 50,
        "rounds": 3,
        "server_cpu": 1.0,
        "client_cpu": 0.254,
        "publisher_cpu": 0.01,
    }
