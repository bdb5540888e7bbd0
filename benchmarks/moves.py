"""Moves: what clients did whose server went away, read from what each of them has noted.

Times are in seconds, of one clock that all processes share (`time.monotonic`).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from wsadapter.wire.reconnecting import Timings


class Stay(NamedTuple):
    """One connection, from the handshake to its end."""

    began: float
    ended: float
    port: int


@dataclass(frozen=True)
class Client:
    """One of the fleet.

    Attributes:
        stays: its connections, one after the other.
        attempts: when it began to connect.
        missed: numbers that it never heard, after its first.
        repeated: numbers that it heard twice, or too late.
        slowest_seconds: which a message took to it, at the longest.
        failure: why it gave up, if it did.
    """

    stays: Sequence[Stay]
    attempts: Sequence[float]
    missed: int
    repeated: int
    slowest_seconds: float
    failure: str | None

    @classmethod
    def read(cls, noted: Mapping[str, Any]) -> Client:
        """From what the fleet reports of it."""
        history = noted["history"]
        ends = [at for at, _, _ in history[1:]] + [math.inf]
        return cls(
            stays=[
                Stay(at, end, port)
                for (at, state, port), end in zip(history, ends, strict=True)
                if state == "open"
            ],
            attempts=[at for at, state, _ in history if state == "connecting"],
            missed=noted["missed"],
            repeated=noted["repeated"],
            slowest_seconds=noted["slowest_seconds"],
            failure=noted["failure"],
        )

    @property
    def was_moved(self) -> bool:
        return len(self.stays) > 1

    def away_seconds(self) -> float:
        """From the end of its first connection to the beginning of its last."""
        return self.stays[-1].began - self.stays[0].ended


def promised_peak(
    clients: int, drain_seconds: float, timings: Timings, late_seconds: float = 0.0
) -> float:
    """The most attempts within any second that a drain lets happen.

    Clients are told evenly, and each waits for some time between the least and the most of its
    first back-off. So those who come within a second were told within a second and as much more
    as the one is beyond the other.

    Args:
        clients: who are told.
        late_seconds: by which a busy machine may be late to tell them, or they to come.
    """
    jitter_seconds = timings.backoff_base_seconds - timings.backoff_floor_seconds
    window_seconds = 1 + jitter_seconds + late_seconds
    return clients * window_seconds / max(drain_seconds, window_seconds)


def peak(times: Sequence[float], window_seconds: float = 1.0) -> int:
    """The most of them within any such window."""
    ordered = sorted(times)
    return max(
        (
            bisect_left(ordered, first + window_seconds) - number
            for number, first in enumerate(ordered)
        ),
        default=0,
    )


class Count(NamedTuple):
    """What the store said, at some time between the question and its answer."""

    asked_at: float
    answered_at: float
    connections: int


def count_error(counts: Sequence[Count], stays: Sequence[Stay], slack_seconds: float) -> int:
    """By how much a count was wrong, at the worst.

    A connection has to be counted that was there from so long before until so long after, and
    may be counted that was there at any time in between: it is counted when its handshake is
    over, and until the server has cleaned up after it.
    """
    return max((_distance(count, stays, slack_seconds) for count in counts), default=0)


def _distance(count: Count, stays: Sequence[Stay], slack_seconds: float) -> int:
    before, after = count.asked_at - slack_seconds, count.answered_at + slack_seconds
    least = sum(stay.began <= before and stay.ended >= after for stay in stays)
    most = sum(stay.began <= after and stay.ended >= before for stay in stays)
    return max(0, least - count.connections, count.connections - most)
