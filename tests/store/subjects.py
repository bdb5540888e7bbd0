"""The vocabulary of these tests: a store of any kind, and connections to put into it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

import redis

from wsadapter.store import MemoryStore, RedisStore, Store
from wsadapter.store.operations import (
    TAKE_SIZE,
    Beat,
    ClientInfo,
    Join,
    JoinOutcome,
    LeaseState,
    Member,
    Members,
    OnlineClients,
    OnlineUsers,
    OpenLease,
    Operation,
    Page,
    TakeDue,
    Transition,
)

R = TypeVar("R")
T = TypeVar("T")

PassTime: TypeAlias = Callable[[float], None]  # seconds

A, B, C = "a:1:x", "b:2:y", "c:3:z"
# So long that the time a test takes is nothing.
LEASE_SECONDS = 1500.0
GRACE_SECONDS = 300.0

# Any text may name a user or a group.
ODD_TEXTS = [
    "",
    "anna@example.com",
    "Анна",
    "👩‍🚀🎈",
    "x" * 300,
    'quote " \\ backslash',
    "a\x00b",
    "a:b{c}*?[d]",
    "ÿþ\u00ff",
    "null",
    "0",
]


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
        for since in (store.keys.leaving, store.keys.arriving, store.keys.reaped):
            for entry in client.zrange(since, 0, -1):
                client.zincrby(since, -seconds * 1000, entry)
        if (left_ms := client.pttl(store.keys.forgotten)) > 0:
            client.pexpire(store.keys.forgotten, left_ms - round(seconds * 1000))
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


def open_leases(store: Subject, *leases: str) -> None:
    for lease in leases:
        store(OpenLease(lease, LEASE_SECONDS))


def join(store: Subject, lease: str, *users: str | None) -> None:
    """One connection for each, with the ids a:1:x-0, a:1:x-1, …"""
    for number, user in enumerate(users):
        client = a_client(f"{lease}-{number}", user, lease=lease)
        assert store(Join(lease, client, claim=False)).outcome is JoinOutcome.JOINED


def let_die(store: Subject, *others: str) -> None:
    """More than a lease goes by, in which only the others beat."""
    for _ in range(2):
        store.pass_time(LEASE_SECONDS * 2 / 3)
        for lease in others:
            assert store(Beat(lease, LEASE_SECONDS)) is not LeaseState.LAPSED


def take_all(perform: Performer, take: TakeDue) -> list[Transition]:
    """All that is due, as an announcer takes it: as long as there may be more."""
    taken = list(perform(take))
    size = len(taken)
    while size >= TAKE_SIZE:
        more = perform(take)
        size = len(more)
        taken += more
    return taken


def due(store: Subject) -> set[Transition]:
    """What is to be announced by now; nothing is given twice."""
    taken = take_all(store, TakeDue(GRACE_SECONDS, LEASE_SECONDS))
    assert len(set(taken)) == len(taken)
    return set(taken)


def all_users(perform: Performer, limit: int = 500) -> list[str]:
    return list(walk(perform, lambda after: OnlineUsers(after, limit)))


def all_clients(
    perform: Performer, user_id: str | None = None, limit: int = 500
) -> list[ClientInfo]:
    return list(walk(perform, lambda cursor: OnlineClients(user_id, cursor, limit)))


def all_members(perform: Performer, group: str, limit: int = 500) -> list[Member]:
    return list(walk(perform, lambda cursor: Members(group, cursor, limit)))


def walk(perform: Performer, page_after: Callable[[str | None], Operation[Page[T]]]) -> Iterator[T]:
    """Every page, one after the other; what comes twice would never end."""
    seen: set[str] = set()
    page = perform(page_after(None))
    while True:
        items = set(map(repr, page.items))  # of which some cannot be hashed
        assert not seen & items
        seen |= items
        yield from page.items
        if page.next is None:
            return
        page = perform(page_after(page.next))
