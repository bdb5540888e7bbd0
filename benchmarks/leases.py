"""Leases: the ways to say again and again that connections are still there.

wsadapter's is one for each process. The usual way is one for each connection: a sorted set of
connections by the time at which each was seen last, or a key for each that expires by itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import redis

#: Between two renewals. wsadapter's default, and the same for everybody.
BEAT_SECONDS = 5.0
#: After so long without one, a connection counts as gone; three beats, as wsadapter's lease.
LEASE_SECONDS = 15.0
#: Commands that are sent together, or members of one command, where that is what is measured.
TOGETHER = 500

SEEN = "presence:seen"


class LeasePerConnection(ABC):
    """One way to renew the lease of each connection.

    Attributes:
        name: as the table shows it.
    """

    name: str

    def __init__(self, client: redis.Redis, connections: Sequence[str]) -> None:
        self._client = client
        self._connections = connections

    @abstractmethod
    def beat(self, now: float) -> None:
        """Renew all of them.

        Args:
            now: Unix time, in seconds.
        """

    def questions(self, now: float) -> Mapping[str, Callable[[], object]]:
        """What it can be asked, by the names of `benchmarks.presence.QUESTIONS`."""
        return {}

    def _chunks(self) -> list[Sequence[str]]:
        starts = range(0, len(self._connections), TOGETHER)
        return [self._connections[start : start + TOGETHER] for start in starts]


class EachInSortedSet(LeasePerConnection):
    """``ZADD`` for each, one after the other: what a consumer does that renews its own."""

    name = "ZADD for each connection"

    def beat(self, now: float) -> None:
        for connection in self._connections:
            self._client.zadd(SEEN, {connection: now})

    def questions(self, now: float) -> Mapping[str, Callable[[], object]]:
        since, middle = now - LEASE_SECONDS, len(self._connections) // 2
        client, one = self._client, self._connections[middle]
        page = TOGETHER
        return {
            "online_count": lambda: client.zcount(SEEN, since, "+inf"),
            "find_client": lambda: client.zscore(SEEN, one),
            "first_page": lambda: client.zrangebyscore(SEEN, since, "+inf", 0, page),
            "middle_page": lambda: client.zrangebyscore(SEEN, since, "+inf", middle, page),
        }


class PipelinedSortedSet(LeasePerConnection):
    """The same, if a process collects what its connections have to say."""

    name = f"ZADD for each, {TOGETHER} in a pipeline"

    def beat(self, now: float) -> None:
        for chunk in self._chunks():
            with self._client.pipeline(transaction=False) as pipeline:
                for connection in chunk:
                    pipeline.zadd(SEEN, {connection: now})
                pipeline.execute()


class JointSortedSet(LeasePerConnection):
    """The best that it can be: commands with many members each."""

    name = f"ZADD of {TOGETHER} at a time"

    def beat(self, now: float) -> None:
        for chunk in self._chunks():
            self._client.zadd(SEEN, dict.fromkeys(chunk, now))


class EachKey(LeasePerConnection):
    """``SET … EX`` for each, one after the other."""

    name = "SET EX for each connection"

    def beat(self, now: float) -> None:
        for connection in self._connections:
            self._client.set(f"presence:{connection}", "1", ex=int(LEASE_SECONDS))


class PipelinedKeys(LeasePerConnection):
    """The same, if a process collects what its connections have to say."""

    name = f"SET EX for each, {TOGETHER} in a pipeline"

    def beat(self, now: float) -> None:
        for chunk in self._chunks():
            with self._client.pipeline(transaction=False) as pipeline:
                for connection in chunk:
                    pipeline.set(f"presence:{connection}", "1", ex=int(LEASE_SECONDS))
                pipeline.execute()


WAYS: Sequence[type[LeasePerConnection]] = (
    EachInSortedSet,
    PipelinedSortedSet,
    JointSortedSet,
    EachKey,
    PipelinedKeys,
)
