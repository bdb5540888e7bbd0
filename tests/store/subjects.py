"""The vocabulary of these tests: a store of any kind, and connections to put into it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

import redis

from wsadapter.store import MemoryStore, RedisStore, Store
from wsadapter.store.operations import ClientInfo, OnlineClients, OnlineUsers, Operation, Page

R = TypeVar("R")
T = TypeVar("T")

PassTime: TypeAlias = Callable[[float], None]  # seconds


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Performer(Protocol):
    def __call__(self, op: Operation[R]) -> R: ...


@dataclass
class Subject:
    """A store with one of its two verbs, and a way to let its leases grow old."""

    perform: Performer
    pass_time: PassTime

    def __call__(self, op: Operation[R]) -> R:
        return self.perform(op)


def memory_store() -> tuple[MemoryStore, PassTime]:
    clock = Clock()

    def pass_time(seconds: float) -> None:
        clock.now += seconds

    return MemoryStore(clock), pass_time


def redis_time(store: RedisStore, client: redis.Redis) -> PassTime:
    """Nothing can move Redis' clock, so the ends of leases and of sequences move towards it."""

    def pass_time(seconds: float) -> None:
        for lease in client.zrange(store.keys.nodes, 0, -1):
            client.zincrby(store.keys.nodes, -seconds * 1000, lease)
        for sequence in client.scan_iter(store.keys.sequence("*")):
            client.pexpire(sequence, client.pttl(sequence) - round(seconds * 1000))

    return pass_time


@contextmanager
def performing(store: Store, verb: str) -> Iterator[Performer]:
    """The store's ``run``, or its ``arun`` on an event loop of its own."""
    if verb == "run":
        yield store.run
        return
    with asyncio.Runner() as runner:
        yield lambda op: runner.run(store.arun(op))


def a_client(
    client_id: str = "c1",
    user_id: str | None = "anna",
    *,
    serial: str = "first",
    lease: str = "a:1:x",
) -> ClientInfo:
    return ClientInfo(
        client_id=client_id,
        user_id=user_id,
        lease=lease,
        serial=serial,
        connected_at=1_763_729_672.125,
        path="/ws/",
        address="203.0.113.7",
    )


def all_users(perform: Performer, limit: int = 500) -> list[str]:
    return list(walk(perform, lambda after: OnlineUsers(after, limit)))


def all_clients(
    perform: Performer, user_id: str | None = None, limit: int = 500
) -> list[ClientInfo]:
    return list(walk(perform, lambda cursor: OnlineClients(user_id, cursor, limit)))


def walk(perform: Performer, page_after: Callable[[str | None], Operation[Page[T]]]) -> Iterator[T]:
    """Every page, one after the other; what comes twice would never end."""
    seen: set[T] = set()
    page = perform(page_after(None))
    while True:
        assert not seen & set(page.items)
        seen |= set(page.items)
        yield from page.items
        if page.next is None:
            return
        page = perform(page_after(page.next))
