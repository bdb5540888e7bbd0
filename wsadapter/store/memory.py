"""The store of one process: what `RedisStore` does, in this process's memory.

For development and for tests. It is right for the process that it lives in and knows no other.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, NamedTuple, TypeVar, cast

import msgspec

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
    JoinGroups,
    JoinOutcome,
    JoinResult,
    Lapse,
    LeaseState,
    Leave,
    LeaveAll,
    LeaveGroups,
    LeaveOutcome,
    LiveNodes,
    Member,
    MemberCount,
    Members,
    Membership,
    NextStamps,
    NodeInfo,
    NoteGone,
    OldLease,
    OnlineClients,
    OnlineCount,
    OnlineUserCount,
    OnlineUsers,
    OpenLease,
    Operation,
    Page,
    Reap,
    Restore,
    Restored,
    TakeDue,
    Transition,
    UserConnections,
)
from wsadapter.wire.stamps import Stamp

R = TypeVar("R")
T = TypeVar("T")

# How long it is remembered which leases have lapsed.
KEPT_SECONDS = 60 * 60.0


@dataclass
class Node:
    """A process and its connections."""

    ends_at: float
    clients: dict[str, ClientInfo] = field(default_factory=dict)
    users: Counter[str] = field(default_factory=Counter)
    #: By group and client id.
    members: dict[str, dict[str, Membership]] = field(default_factory=dict)
    #: The connections there of everybody who would be missed.
    present: Counter[Transition] = field(default_factory=Counter)

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

    def put_member(self, membership: Membership) -> None:
        self.members.setdefault(membership.group, {})[membership.client_id] = membership
        self.present[_absence(membership)] += 1

    def take_member(self, membership: Membership) -> None:
        members = self.members[membership.group]
        del members[membership.client_id]
        if not members:
            del self.members[membership.group]
        absence = _absence(membership)
        self.present[absence] -= 1
        if not self.present[absence]:
            del self.present[absence]

    def member(self, client_id: str, group: str) -> Membership | None:
        return self.members.get(group, {}).get(client_id)


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
        # Since when somebody is absent, or may have come, and it is not announced.
        self._leaving: dict[Transition, float] = {}
        self._arriving: dict[str, float] = {}
        self._reaped: dict[str, float] = {}  # leases that had ended, and when that was found
        self._forgotten_until = -math.inf
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
            case OpenLease(lease, lease_seconds, replaces):
                return self._open(lease, lease_seconds, replaces)
            case Beat(lease, lease_seconds, overdue_seconds):
                return self._beat(lease, lease_seconds, overdue_seconds)
            case Lapse(lease):
                return self._lapse(lease)
            case Reap():
                return None  # it is done before every operation
            case Join(lease, client, claim):
                return self._join(lease, client, claim)
            case JoinAll(lease, newcomers, opens_for):
                if opens_for is not None and lease not in self._nodes:
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
            case LiveNodes():
                return self._live_nodes()
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
            case JoinGroups(lease, memberships):
                return self._join_groups(lease, memberships)
            case LeaveGroups(lease, memberships):
                return self._leave_groups(lease, memberships)
            case MemberCount(group):
                return sum(len(node.members.get(group, {})) for node in self._nodes.values())
            case Members(group, cursor, limit):
                return self._member_page(group, cursor, limit)
            case NoteGone(user_ids):
                self._note_gone(user for user in user_ids if not self._connections(user))
                return None
            case TakeDue(grace_seconds, lease_seconds):
                return self._take_due(grace_seconds, lease_seconds)
            case NextStamps(groups):
                return self._next_stamps(groups)
            case _:
                raise TypeError(f"The memory store has no operation {type(op).__name__}.")

    def _reap(self) -> None:
        now = self._clock()
        for lease in [lease for lease, node in self._nodes.items() if node.ends_at <= now]:
            self._reaped[lease] = now
            _take_before(self._reaped, now - KEPT_SECONDS)
            self._drop(lease)
        while self._sequences and next(iter(self._sequences.values())).ends_at <= now:
            del self._sequences[next(iter(self._sequences))]

    def _drop(self, lease: str) -> None:
        """Remove a lease with everything that hangs on it."""
        node = self._nodes.pop(lease, None)
        if node is not None:
            self._note_gone(user for user in node.users if not self._connections(user))
            self._note_missing(chain.from_iterable(map(dict.values, node.members.values())))

    def _open(self, lease: str, lease_seconds: float, replaces: str = "") -> OldLease:
        known = OldLease.HELD
        if replaces in self._reaped:
            known = OldLease.REAPED
        elif replaces and replaces not in self._nodes:
            known = OldLease.FORGOTTEN
            self._forgotten_until = self._clock() + lease_seconds
        if self._beat(lease, lease_seconds) is LeaseState.LAPSED:
            self._nodes[lease] = Node(self._clock() + lease_seconds)
        return known

    def _beat(
        self, lease: str, lease_seconds: float, overdue_seconds: float = math.inf
    ) -> LeaseState:
        node = self._nodes.get(lease)
        if node is None:
            return LeaseState.LAPSED
        now = self._clock()
        node.ends_at = now + lease_seconds
        is_overdue = _oldest(self._leaving) <= now - overdue_seconds
        may_announce = _oldest(self._arriving) <= now - lease_seconds
        return LeaseState.BUSY if is_overdue or may_announce else LeaseState.HELD

    def _lapse(self, lease: str) -> None:
        self._drop(lease)

    def _join(self, lease: str, client: ClientInfo, claim: bool) -> JoinResult:
        if lease not in self._nodes:
            return JoinResult(JoinOutcome.LAPSED)
        holder = self._find(client.client_id)
        if holder is None:
            return JoinResult(JoinOutcome.JOINED, came_online=self._enter(lease, client))
        is_same = holder.serial == client.serial
        if not is_same and not (claim and holder.user_id == client.user_id):
            return JoinResult(JoinOutcome.TAKEN)
        self._take(self._nodes[holder.lease], holder)
        came_online = self._enter(lease, client)
        if is_same:
            return JoinResult(JoinOutcome.JOINED, came_online=came_online)
        return JoinResult(JoinOutcome.REPLACED, holder, came_online)

    def _enter(self, lease: str, client: ClientInfo) -> bool:
        """Put a newcomer in. Returns whether its user comes online by it."""
        if not self._put(lease, client):
            return False
        assert client.user_id is not None
        if self._clock() >= self._forgotten_until:
            return True
        self._arriving[client.user_id] = self._clock()
        return False

    def _leave(self, lease: str, client_id: str, serial: str) -> LeaveOutcome:
        node = self._nodes.get(lease)
        if node is None:
            return LeaveOutcome.LAPSED
        client = node.clients.get(client_id)
        if client is None or client.serial != serial:
            return LeaveOutcome.GONE
        self._take(node, client)
        return LeaveOutcome.LEFT

    def _restore(self, lease: str, clients: Iterable[ClientInfo]) -> Restored:
        if lease not in self._nodes:
            return Restored(LeaseState.LAPSED)
        strangers: set[str] = set()
        for client in clients:
            holder = self._find(client.client_id)
            if holder is not None and (holder.serial != client.serial or holder.lease == lease):
                continue
            if holder is None and client.user_id is not None:
                self._arriving.pop(client.user_id, None)
            if self._put(lease, client):
                assert client.user_id is not None
                strangers.add(client.user_id)
            if holder is not None:  # who moves is here before leaving there, and so never gone
                self._take(self._nodes[holder.lease], holder)
        return Restored(LeaseState.HELD, tuple(sorted(strangers)))

    def _put(self, lease: str, client: ClientInfo) -> bool:
        """Returns whether its user had no connection, and was not about to be missed."""
        user_id = client.user_id
        is_stranger = (
            user_id is not None
            and not self._connections(user_id)
            and self._leaving.pop(Transition(False, user_id), None) is None
        )
        self._nodes[lease].put(replace(client, lease=lease))
        return is_stranger

    def _take(self, node: Node, client: ClientInfo) -> None:
        node.take(client)
        if client.user_id is not None and not self._connections(client.user_id):
            self._note_gone([client.user_id])

    def _note_gone(self, user_ids: Iterable[str]) -> None:
        for user_id in user_ids:
            if self._arriving.pop(user_id, None) is None:  # else nobody knows that it was here
                self._note_absent(Transition(False, user_id))

    def _note_absent(self, absence: Transition) -> None:
        """After a loss of memory that is so when all have put back what they have."""
        self._leaving[absence] = max(self._clock(), self._forgotten_until)

    # Groups

    def _join_groups(
        self, lease: str, memberships: Iterable[Membership]
    ) -> tuple[bool, ...] | None:
        node = self._nodes.get(lease)
        if node is None:
            return None
        return tuple(self._join_group(node, membership) for membership in memberships)

    def _join_group(self, node: Node, membership: Membership) -> bool:
        absence = _absence(membership)
        is_new = not self._is_present(absence) and self._leaving.pop(absence, None) is None
        old = node.member(membership.client_id, membership.group)
        if old is not None:
            node.take_member(old)
        node.put_member(membership)
        if old is not None:  # of another user, if the id has changed hands
            self._note_missing([old])
        return is_new and membership.announced

    def _leave_groups(self, lease: str, memberships: Iterable[Membership]) -> LeaveOutcome:
        node = self._nodes.get(lease)
        if node is None:
            return LeaveOutcome.LAPSED
        taken = []
        for membership in memberships:
            old = node.member(membership.client_id, membership.group)
            if old is not None and old.serial == membership.serial:
                node.take_member(old)
                taken.append(old)
        self._note_missing(taken)
        return LeaveOutcome.LEFT

    def _note_missing(self, memberships: Iterable[Membership]) -> None:
        for membership in memberships:
            absence = _absence(membership)
            if membership.announced and not self._is_present(absence):
                self._note_absent(absence)

    def _is_present(self, absence: Transition) -> bool:
        return any(node.present[absence] for node in self._nodes.values())

    def _member_page(self, group: str, cursor: str | None, limit: int) -> Page[Member]:
        # An id that changes hands is there twice until the old connection is closed.
        places = (
            (position(each.user_id, each.client_id).hex(), lease, each)
            for lease, node in self._nodes.items()
            for each in node.members.get(group, {}).values()
        )
        page = sorted(place for place in places if cursor is None or place[0] > cursor)[:limit]
        return Page(
            tuple(
                Member(each.client_id, each.user_id, msgspec.json.decode(each.info))
                for _, _, each in page
            ),
            page[-1][0] if len(page) == limit else None,
        )

    def _take_due(self, grace_seconds: float, lease_seconds: float) -> tuple[Transition, ...]:
        now = self._clock()
        gone = _take_before(self._leaving, now - grace_seconds)
        come = _take_before(self._arriving, now - lease_seconds)
        return (*gone, *(Transition(True, user_id) for user_id in come))

    def _find(self, client_id: str) -> ClientInfo | None:
        held = (node.clients.get(client_id) for node in self._nodes.values())
        return next((client for client in held if client is not None), None)

    def _live_nodes(self) -> tuple[NodeInfo, ...]:
        now = self._clock()
        return tuple(
            NodeInfo(lease, len(node.clients), node.ends_at - now)
            for lease, node in sorted(self._nodes.items())
        )

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


def _absence(membership: Membership) -> Transition:
    """Who is missed where a membership ends: a user, or a client that has none."""
    client_id = membership.client_id if membership.user_id is None else None
    return Transition(False, membership.user_id, client_id, membership.group)


def _oldest(since: dict[Any, float]) -> float:
    """When the first of them began."""
    return min(since.values(), default=math.inf)


def _take_before(since: dict[T, float], time: float) -> list[T]:
    """Take away what began until then."""
    due = [each for each, began in since.items() if began <= time]
    for each in due:
        del since[each]
    return due
