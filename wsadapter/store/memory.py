"""The store of one process: what `RedisStore` does, in this process's memory.

For development and for tests. It is right for the process that it lives in and knows no other.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar, cast

from wsadapter.store.keys import position
from wsadapter.store.operations import (
    SEQUENCE_SECONDS,
    Beat,
    ClientInfo,
    ClientOnline,
    FindClient,
    IsOnline,
    Join,
    JoinAll,
    JoinOutcome,
    JoinResult,
    Lapse,
    LeaseState,
    Leave,
    LeaveAll,
    LeaveOutcome,
    NextStamps,
    OnlineClients,
    OnlineCount,
    OnlineUserCount,
    OnlineUsers,
    OpenLease,
    Operation,
    Page,
    Reap,
    Restore,
    UserConnections,
)
from wsadapter.wire.stamps import Stamp

R = TypeVar("R")


@dataclass
class Node:
    """A process and its connections."""

    ends_at: float
    clients: dict[str, ClientInfo] = field(default_factory=dict)
    users: Counter[str] = field(default_factory=Counter)

    def put(self, client: ClientInfo) -> None:
        self.clients[client.client_id] = client
        if client.user_id is not None:
            self.users[client.user_id] += 1

    def take(self, client: ClientInfo) -> None:
        del self.clients[client.client_id]
        if client.user_id is not None:
            self.users[client.user_id] -= 1
            if not self.users[client.user_id]:
                del self.users[client.user_id]


class LastNumber(NamedTuple):
    """How far a sequence has come."""

    number: int
    ends_at: float


class MemoryStore:
    """Args: clock: the time in seconds, since the epoch where stamps are to tell it."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._nodes: dict[str, Node] = {}
        self._sequences: dict[str, LastNumber] = {}  # by group, the one used last at the end
        self._lock = threading.Lock()

    def run(self, op: Operation[R]) -> R:
        """Carry an operation out. Any thread may call it."""
        with self._lock:
            self._reap()
            return cast(R, self._perform(op))

    async def arun(self, op: Operation[R]) -> R:
        """The twin of `run`; it waits for nothing but the lock."""
        return self.run(op)

    def _perform(self, op: Operation[Any]) -> Any:
        match op:
            case OpenLease(lease, lease_seconds):
                return self._open(lease, lease_seconds)
            case Beat(lease, lease_seconds):
                return self._beat(lease, lease_seconds)
            case Lapse(lease):
                return self._lapse(lease)
            case Reap():
                return None  # it is done before every operation
            case Join(lease, client, claim):
                return self._join(lease, client, claim)
            case JoinAll(lease, newcomers, opens_for):
                if opens_for is not None:
                    self._open(lease, opens_for)
                return tuple(self._join(lease, client, claim) for client, claim in newcomers)
            case Leave(lease, client_id, serial):
                return self._leave(lease, client_id, serial)
            case LeaveAll(lease, leavers):
                return tuple(self._leave(lease, *leaver) for leaver in leavers)
            case Restore(lease, clients):
                return self._restore(lease, clients)
            case OnlineCount():
                return sum(len(node.clients) for node in self._nodes.values())
            case OnlineUserCount():
                return len(self._users())
            case UserConnections(user_id):
                return self._connections(user_id)
            case IsOnline(user_id):
                return self._connections(user_id) > 0
            case ClientOnline(client_id):
                return self._find(client_id) is not None
            case FindClient(client_id):
                return self._find(client_id)
            case OnlineUsers(after, limit):
                return self._user_page(after, limit)
            case OnlineClients(user_id, cursor, limit):
                return self._client_page(user_id, cursor, limit)
            case NextStamps(groups):
                return self._next_stamps(groups)
            case _:
                raise TypeError(f"The memory store has no operation {type(op).__name__}.")

    def _reap(self) -> None:
        now = self._clock()
        for lease in [lease for lease, node in self._nodes.items() if node.ends_at <= now]:
            del self._nodes[lease]
        while self._sequences and next(iter(self._sequences.values())).ends_at <= now:
            del self._sequences[next(iter(self._sequences))]

    def _open(self, lease: str, lease_seconds: float) -> None:
        if self._beat(lease, lease_seconds) is LeaseState.LAPSED:
            self._nodes[lease] = Node(self._clock() + lease_seconds)

    def _beat(self, lease: str, lease_seconds: float) -> LeaseState:
        node = self._nodes.get(lease)
        if node is None:
            return LeaseState.LAPSED
        node.ends_at = self._clock() + lease_seconds
        return LeaseState.HELD

    def _lapse(self, lease: str) -> None:
        self._nodes.pop(lease, None)

    def _join(self, lease: str, client: ClientInfo, claim: bool) -> JoinResult:
        if lease not in self._nodes:
            return JoinResult(JoinOutcome.LAPSED)
        holder = self._find(client.client_id)
        if holder is None:
            self._put(lease, client)
            return JoinResult(JoinOutcome.JOINED)
        is_same = holder.serial == client.serial
        if not is_same and not (claim and holder.user_id == client.user_id):
            return JoinResult(JoinOutcome.TAKEN)
        self._nodes[holder.lease].take(holder)
        self._put(lease, client)
        if is_same:
            return JoinResult(JoinOutcome.JOINED)
        return JoinResult(JoinOutcome.REPLACED, holder)

    def _leave(self, lease: str, client_id: str, serial: str) -> LeaveOutcome:
        node = self._nodes.get(lease)
        if node is None:
            return LeaveOutcome.LAPSED
        client = node.clients.get(client_id)
        if client is None or client.serial != serial:
            return LeaveOutcome.GONE
        node.take(client)
        return LeaveOutcome.LEFT

    def _restore(self, lease: str, clients: Iterable[ClientInfo]) -> LeaseState:
        if lease not in self._nodes:
            return LeaseState.LAPSED
        for client in clients:
            self._join(lease, client, claim=False)
        return LeaseState.HELD

    def _put(self, lease: str, client: ClientInfo) -> None:
        self._nodes[lease].put(replace(client, lease=lease))

    def _find(self, client_id: str) -> ClientInfo | None:
        held = (node.clients.get(client_id) for node in self._nodes.values())
        return next((client for client in held if client is not None), None)

    def _connections(self, user_id: str) -> int:
        return sum(node.users[user_id] for node in self._nodes.values())

    def _users(self) -> set[str]:
        return {user for node in self._nodes.values() for user in node.users}

    def _next_stamps(self, groups: Iterable[str]) -> tuple[Stamp, ...]:
        now = self._clock()
        return tuple(Stamp(self._next_number(group, now), int(now * 1000)) for group in groups)

    def _next_number(self, group: str, now: float) -> int:
        last = self._sequences.pop(group, None)
        number = int(now * 1_000_000) if last is None else last.number + 1
        self._sequences[group] = LastNumber(number, now + SEQUENCE_SECONDS)
        return number

    def _user_page(self, after: str | None, limit: int) -> Page[str]:
        users = sorted(user for user in self._users() if after is None or user > after)[:limit]
        return Page(tuple(users), users[-1] if len(users) == limit else None)

    def _client_page(self, user_id: str | None, cursor: str | None, limit: int) -> Page[ClientInfo]:
        places = {
            position(client.user_id, client.client_id).hex(): client
            for node in self._nodes.values()
            for client in node.clients.values()
            if user_id is None or client.user_id == user_id
        }
        order = sorted(place for place in places if cursor is None or place > cursor)[:limit]
        return Page(
            tuple(places[place] for place in order),
            order[-1] if len(order) == limit else None,
        )
