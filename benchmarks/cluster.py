"""A cluster as the store knows it: leases, and what hangs on them, without any server."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

from wsadapter.store import RedisStore
from wsadapter.store.operations import (
    BATCH_SIZE,
    RESTORE_SIZE,
    Beat,
    ClientInfo,
    JoinAll,
    JoinGroups,
    Membership,
    OpenLease,
    Reap,
    Restore,
    TakeDue,
    Transition,
)

T = TypeVar("T")

#: Longer than any measure takes: nothing ends by itself.
LONG_SECONDS = 3600.0
#: What is left of a lease that is to be over when somebody looks.
SHORT_SECONDS = 0.001

#: The group of everybody, and how many others there are, one of which each connection is in.
EVERYBODY, ROOMS = "everybody", 100


@dataclass
class Cluster:
    """So many connections, evenly under so many leases; each user has two of them.

    Attributes:
        store: has nothing in it yet.
    """

    store: RedisStore
    connections: int
    leases: int

    def __post_init__(self) -> None:
        self.names = [f"host-{number:02d}:{1000 + number}:first" for number in range(self.leases)]

    @property
    def users(self) -> int:
        return self.connections // 2

    def client(self, number: int) -> ClientInfo:
        """One of the connections, by its number."""
        lease = self.names[number % self.leases]
        return ClientInfo(
            client_id=f"{number % self.leases:016x}.{number:016x}",
            user_id=f"{number // 2:08d}",
            lease=lease,
            serial=f"{number:032x}",
            connected_at=1_700_000_000.0 + number,
            path="/ws/",
            address="203.0.113.7",
        )

    def clients(self, node: int) -> list[ClientInfo]:
        """The connections of one lease, by its number."""
        return [self.client(number) for number in range(node, self.connections, self.leases)]

    def fill(self) -> None:
        """Connect everybody."""
        for node, lease in enumerate(self.names):
            self.store.run(OpenLease(lease, LONG_SECONDS))
            for batch in chunks(self.clients(node), BATCH_SIZE):
                newcomers = tuple((client, False) for client in batch)
                self.store.run(JoinAll(lease, newcomers))

    def join_groups(self, nodes: Sequence[int]) -> None:
        """Each connection joins two groups, which are told of it."""
        for node in nodes:
            memberships = [each for client in self.clients(node) for each in both_groups(client)]
            for batch in chunks(memberships, RESTORE_SIZE):
                self.store.run(JoinGroups(self.names[node], tuple(batch)))

    def beat(self, times: int = 1) -> None:
        """Renew all leases, so many times."""
        for _ in range(times):
            for lease in self.names:
                self.store.run(Beat(lease, LONG_SECONDS))

    def kill(self, nodes: Sequence[int]) -> None:
        """Let the leases of these end."""
        for node in nodes:
            self.store.run(Beat(self.names[node], SHORT_SECONDS))
        time.sleep(2 * SHORT_SECONDS)

    def reap(self) -> None:
        self.store.run(Reap())

    def take_due(self) -> list[Transition]:
        return all_due(self.store)

    def restore(self, nodes: Sequence[int]) -> None:
        """Put the connections of these back under new leases, as processes do that woke up."""
        for node in nodes:
            old, clients = self.names[node], self.clients(node)
            new = self.names[node] = old.replace("first", "second")
            self.store.run(OpenLease(new, LONG_SECONDS, replaces=old))
            for batch in chunks(clients, RESTORE_SIZE):
                returned = tuple(replace(client, lease=new) for client in batch)
                self.store.run(Restore(new, returned))


def all_due(store: RedisStore) -> list[Transition]:
    """Take all transitions that there are, whatever grace they have left."""
    taken: list[Transition] = []
    while due := store.run(TakeDue(grace_seconds=0, lease_seconds=0)):
        taken += due
    return taken


def both_groups(client: ClientInfo) -> Iterator[Membership]:
    room = f"room-{int(client.serial, 16) % ROOMS}"
    for group in (EVERYBODY, room):
        yield Membership(
            client_id=client.client_id,
            user_id=client.user_id,
            serial=client.serial,
            group=group,
            info=b'{"name":"Ada"}',
            announced=True,
        )


def chunks(items: Sequence[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
