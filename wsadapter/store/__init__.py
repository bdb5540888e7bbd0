"""What all processes share: leases, and who is online."""

from __future__ import annotations

from typing import Protocol, TypeVar

from wsadapter.store.memory import MemoryStore
from wsadapter.store.operations import Operation
from wsadapter.store.redis import RedisStore

__all__ = ["MemoryStore", "RedisStore", "Store"]

R = TypeVar("R")


class Store(Protocol):
    """Two verbs for every operation of `wsadapter.store.operations`."""

    def run(self, op: Operation[R]) -> R: ...

    async def arun(self, op: Operation[R]) -> R: ...
