"""What Redis has done, and for how long scripts held it, by its own account."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import NamedTuple

import redis

from benchmarks.results import percentile

#: Scripts that take less are not logged, and count as nothing: commands inside of scripts are
#: logged as well, and that takes time.
LOGGED_MICROSECONDS = 50
#: More scripts than any measure runs.
MOST_LOGGED = 1_000_000


class Usage(NamedTuple):
    """What something took of Redis.

    Attributes:
        commands: those that scripts run included.
        bytes_in, bytes_out: over the network, as Redis sees it.
        cpu_seconds: user and system time of Redis.
    """

    commands: float
    bytes_in: float
    bytes_out: float
    cpu_seconds: float

    def less(self, other: Usage) -> Usage:
        return Usage(*(one - two for one, two in zip(self, other, strict=True)))

    def times(self, factor: float) -> Usage:
        return Usage(*(number * factor for number in self))


class Held(NamedTuple):
    """How long the scripts of a run held Redis, each by itself."""

    scripts: int
    p50_ms: float
    p99_ms: float
    max_ms: float


class Meter:
    """Asks a Redis that nobody else uses meanwhile."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def usage(self, act: Callable[[], object]) -> Usage:
        """What the act takes; what the questions themselves take is not in it."""
        questions = self._between(lambda: None)
        return self._between(act).less(questions)

    def _between(self, act: Callable[[], object]) -> Usage:
        before = self._look()
        act()
        return self._look().less(before)

    def _look(self) -> Usage:
        cpu, stats = self._client.info("cpu"), self._client.info("stats")
        return Usage(
            commands=stats["total_commands_processed"],
            bytes_in=stats["total_net_input_bytes"],
            bytes_out=stats["total_net_output_bytes"],
            cpu_seconds=cpu["used_cpu_user"] + cpu["used_cpu_sys"],
        )

    def held(self, act: Callable[[], object]) -> Held:
        """How long the scripts held Redis that the act runs, at least one."""
        self._client.config_set("slowlog-max-len", MOST_LOGGED)
        self._client.slowlog_reset()
        before = self._scripts()
        self._client.config_set("slowlog-log-slower-than", LOGGED_MICROSECONDS)
        act()
        self._client.config_set("slowlog-log-slower-than", -1)
        scripts = self._scripts() - before
        logged = self._logged_milliseconds()
        durations = logged + [0.0] * (scripts - len(logged))
        return Held(scripts, median(durations), percentile(durations, 99), max(durations))

    def _scripts(self) -> int:
        calls = self._client.info("commandstats")
        named = (calls.get(f"cmdstat_{name}", {"calls": 0}) for name in ("eval", "evalsha"))
        return sum(int(each["calls"]) for each in named)

    def _logged_milliseconds(self) -> list[float]:
        entries = self._client.slowlog_get(MOST_LOGGED)
        return [
            entry["duration"] / 1000
            for entry in entries
            if entry["command"].split(maxsplit=1)[0].upper() in (b"EVAL", b"EVALSHA")
        ]
