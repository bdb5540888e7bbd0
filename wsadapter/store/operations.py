"""What can be asked of the store: every operation is data, and so is its answer.

    lease        OpenLease  Beat  Lapse  Reap
    connection   Join  JoinAll  Leave  LeaveAll  Restore
    how many     OnlineCount  OnlineUserCount  UserConnections  LiveNodes
    who          IsOnline  OnlineUsers  ClientOnline  FindClient  OnlineClients
    group        JoinGroups  LeaveGroups  MemberCount  Members  NextStamps
    transition   NoteGone  TakeDue

``store.run(op)`` and ``await store.arun(op)`` carry one out. A *lease* is a process's right to
be counted: its id is ``host:pid:token``, and it lasts ``lease_seconds`` from its last beat. What
hangs on a lease that has ended is in no answer, whether or not anybody has removed it yet.

Who comes online and who goes is a *transition* of a user in the whole cluster. Coming is told by
the answer to what has brought it about. Of who has gone, the store keeps since when; when that
is long enough ago, `TakeDue` gives the transition to the first one who asks, and to nobody else.
Who is back before has neither gone nor come. The same goes for the members of a group, where one
is announced.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

from wsadapter.wire.stamps import Stamp

__all__ = [
    "BATCH_SIZE",
    "PAGE_SIZE",
    "RESTORE_SIZE",
    "SEQUENCE_SECONDS",
    "TAKE_SIZE",
    "Beat",
    "ClientInfo",
    "ClientOnline",
    "FindClient",
    "IsOnline",
    "Join",
    "JoinAll",
    "JoinGroups",
    "JoinOutcome",
    "JoinResult",
    "Lapse",
    "LeaseState",
    "Leave",
    "LeaveAll",
    "LeaveGroups",
    "LeaveOutcome",
    "LiveNodes",
    "Member",
    "MemberCount",
    "Members",
    "Membership",
    "NextStamps",
    "NodeInfo",
    "NoteGone",
    "OldLease",
    "OnlineClients",
    "OnlineCount",
    "OnlineUserCount",
    "OnlineUsers",
    "OpenLease",
    "Operation",
    "Page",
    "Reap",
    "Restore",
    "Restored",
    "SingleCall",
    "TakeDue",
    "Transition",
    "UserConnections",
]

R = TypeVar("R")
T = TypeVar("T")

# The most that one call reads or writes, so that none holds Redis for long.
PAGE_SIZE = 500
RESTORE_SIZE = 500
BATCH_SIZE = 64
TAKE_SIZE = 200

# How long a sequence outlives its last number: a week.
SEQUENCE_SECONDS = 7 * 24 * 60 * 60.0


@dataclass(frozen=True)
class ClientInfo:
    """One connection, as all processes know it.

    Attributes:
        serial: tells apart two connections that had the same client id one after the other.
        connected_at: Unix time in seconds, by the clock of the process that accepted it.
        address: the peer's address, or None where the server does not tell.
    """

    client_id: str
    user_id: str | None
    lease: str
    serial: str
    connected_at: float
    path: str
    address: str | None

    @property
    def process(self) -> str:
        """``host:pid`` of the process that holds the connection."""
        return self.lease.rpartition(":")[0]


@dataclass(frozen=True)
class NodeInfo:
    """One event loop of one server process, as all processes know it.

    Attributes:
        lease: ``host:pid:token``.
        ends_in_seconds: what is left of the lease; it is renewed long before that.
    """

    lease: str
    connections: int
    ends_in_seconds: float

    @property
    def host(self) -> str:
        return self.lease.rsplit(":", 2)[0]

    @property
    def pid(self) -> int:
        return int(self.lease.rsplit(":", 2)[1])


@dataclass(frozen=True)
class Membership:
    """A connection in a group, as its process knows it.

    Attributes:
        group: any text.
        info: what `join` was given, as JSON.
        announced: whether the group is told of who joins and who leaves.
    """

    client_id: str
    user_id: str | None
    serial: str
    group: str
    info: bytes = b"null"
    announced: bool = False


@dataclass(frozen=True)
class Member:
    """A connection in a group, as all processes know it.

    Attributes:
        info: what it gave when it joined, or None.
    """

    client_id: str
    user_id: str | None
    info: Any


@dataclass(frozen=True)
class Transition:
    """Somebody who has come or gone, to be told once.

    Attributes:
        user_id: None for a client without a user, which only groups are told of.
        client_id: of such a client.
        group: where; None for coming online and going offline.
    """

    came: bool
    user_id: str | None
    client_id: str | None = None
    group: str | None = None


class LeaseState(Enum):
    HELD = "held"
    BUSY = "held, and something is to be reaped or announced"
    LAPSED = "lapsed"  # unknown or over; nothing was written


class OldLease(Enum):
    """What the store knows of the lease that a new one takes the place of."""

    HELD = "held"  # it is there, or there was none
    REAPED = "reaped"  # it was over for so long that its users were taken for gone
    FORGOTTEN = "forgotten"  # the store has lost its memory


class JoinOutcome(Enum):
    JOINED = "joined"
    REPLACED = "replaced"  # joined, in place of an older connection of the same user
    TAKEN = "taken"  # the id belongs to somebody else; nothing was written
    LAPSED = "lapsed"  # the lease is unknown or over; nothing was written


class LeaveOutcome(Enum):
    LEFT = "left"
    GONE = "gone"  # not there, or replaced by another connection since; nothing was written
    LAPSED = "lapsed"  # the lease is unknown or over; nothing was written


@dataclass(frozen=True)
class JoinResult:
    outcome: JoinOutcome
    replaced: ClientInfo | None = None  # the connection that REPLACED put out, for closing it
    came_online: bool = False  # its user had no connection, and was not just about to be missed


@dataclass(frozen=True)
class Restored:
    """What putting connections back has brought about.

    Attributes:
        strangers: users of whom the store knew no connection. They have come back if they had
            been taken for gone; if it has lost its memory, nothing has happened.
    """

    state: LeaseState
    strangers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some of the items. ``next`` asks for those after them; with None these were the last."""

    items: tuple[T, ...]
    next: str | None


@dataclass(frozen=True)
class Operation(Generic[R]):
    """Something to ask of the store; ``R`` is the type of the answer."""


@dataclass(frozen=True)
class SingleCall(Operation[R]):
    """An operation that is always one command, so that it can ride in a pipeline."""


@dataclass(frozen=True)
class OpenLease(Operation[OldLease]):
    """Register a process, at its start or under a new id after a lapse.

    Args:
        replaces: the lease that it had before.
    """

    lease: str
    lease_seconds: float
    replaces: str = ""


@dataclass(frozen=True)
class Beat(SingleCall[LeaseState]):
    """Renew a lease. O(1), whatever the number of its connections.

    Args:
        overdue_seconds: an absence that began so long ago should have been announced by whoever
            saw it begin.
    """

    lease: str
    lease_seconds: float
    overdue_seconds: float = math.inf


@dataclass(frozen=True)
class Lapse(Operation[None]):
    """Give a lease up. Its connections leave every answer at once and are then removed."""

    lease: str


@dataclass(frozen=True)
class Reap(Operation[None]):
    """Remove what processes left behind whose lease is over.

    No answer depends on it; it keeps the store small, and empty when all are gone.
    """


@dataclass(frozen=True)
class Join(SingleCall[JoinResult]):
    """Register a connection under a live lease. Joining twice with one serial is joining once.

    An id belongs to one connection at a time. With ``claim`` the client chose its id itself, and
    a newcomer of the same user (or, like the holder, of none) takes it over. Without, the id was
    made to be unique, and whoever holds it already keeps it. A holder on a dead lease is gone.
    """

    lease: str
    client: ClientInfo
    claim: bool


@dataclass(frozen=True)
class JoinAll(Operation[tuple[JoinResult, ...]]):
    """A `Join` for each newcomer, in their order, in one step. At most `BATCH_SIZE`.

    Args:
        newcomers: each with its ``claim``.
        opens_for: seconds. The first connections of a process open its lease on the way; None
            where it is open, for a lease that is unknown is then one that has lapsed.
    """

    lease: str
    newcomers: tuple[tuple[ClientInfo, bool], ...]
    opens_for: float | None = None

    def __post_init__(self) -> None:
        _check_batch(len(self.newcomers))


@dataclass(frozen=True)
class Leave(SingleCall[LeaveOutcome]):
    """Remove a connection, if the one registered still has this serial."""

    lease: str
    client_id: str
    serial: str


@dataclass(frozen=True)
class LeaveAll(Operation[tuple[LeaveOutcome, ...]]):
    """A `Leave` for each client id with its serial, in one step. At most `BATCH_SIZE`."""

    lease: str
    leavers: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        _check_batch(len(self.leavers))


@dataclass(frozen=True)
class Restore(Operation[Restored]):
    """Put connections back under a new lease. Doing it twice is doing it once.

    A connection whose id another one has taken meanwhile stays out. At most `RESTORE_SIZE`.
    """

    lease: str
    clients: tuple[ClientInfo, ...]

    def __post_init__(self) -> None:
        _check_restore(len(self.clients))


@dataclass(frozen=True)
class OnlineCount(SingleCall[int]):
    """Connections of all processes. O(processes)."""


@dataclass(frozen=True)
class OnlineUserCount(Operation[int]):
    """Distinct users of all processes. O(1), after what is dead has been reaped."""


@dataclass(frozen=True)
class LiveNodes(SingleCall[tuple[NodeInfo, ...]]):
    """The processes that hold a lease, in the order of their names. O(processes)."""


@dataclass(frozen=True)
class UserConnections(SingleCall[int]):
    """Connections of a user. O(processes where the user is)."""

    user_id: str


@dataclass(frozen=True)
class IsOnline(SingleCall[bool]):
    """Whether a user has a connection anywhere. O(processes where the user is)."""

    user_id: str


@dataclass(frozen=True)
class ClientOnline(SingleCall[bool]):
    """Whether a client id has a connection anywhere. O(1)."""

    client_id: str


@dataclass(frozen=True)
class FindClient(SingleCall[ClientInfo | None]):
    """The connection of a client id. O(1)."""

    client_id: str


@dataclass(frozen=True)
class OnlineUsers(Operation[Page[str]]):
    """Who is online: user ids in a fixed order, so that pages never repeat one.

    O(log users + limit), after what is dead has been reaped.

    Args:
        after: ``next`` of the page before, None for the first.
        limit: 1 to `PAGE_SIZE`.
    """

    after: str | None = None
    limit: int = PAGE_SIZE

    def __post_init__(self) -> None:
        _check_limit(self.limit)


@dataclass(frozen=True)
class OnlineClients(Operation[Page[ClientInfo]]):
    """Connections in a fixed order (user id, client id), so that pages never repeat one.

    O(log connections + limit), for one user as for all, after what is dead has been reaped.

    Args:
        user_id: only this user's; None for everybody's, anonymous ones included.
        cursor: ``next`` of the page before, None for the first.
        limit: 1 to `PAGE_SIZE`.
    """

    user_id: str | None = None
    cursor: str | None = None
    limit: int = PAGE_SIZE

    def __post_init__(self) -> None:
        _check_limit(self.limit)


@dataclass(frozen=True)
class JoinGroups(Operation[tuple[bool, ...] | None]):
    """Register memberships of groups, or their new info; doing it twice is doing it once.

    Answers for each whether the group is to be told: it is announced, and its user, or its
    client without one, was not in the group and is not just about to be missed there. None, and
    nothing written, where the lease is over. At most `RESTORE_SIZE`.
    """

    lease: str
    memberships: tuple[Membership, ...]

    def __post_init__(self) -> None:
        _check_restore(len(self.memberships))


@dataclass(frozen=True)
class LeaveGroups(Operation[LeaveOutcome]):
    """Remove memberships, each if it is still of this serial. At most `BATCH_SIZE`.

    LEFT says that none of them is there any more.
    """

    lease: str
    memberships: tuple[Membership, ...]

    def __post_init__(self) -> None:
        _check_batch(len(self.memberships))


@dataclass(frozen=True)
class MemberCount(SingleCall[int]):
    """Connections in a group. O(processes where the group is)."""

    group: str


@dataclass(frozen=True)
class Members(Operation[Page[Member]]):
    """Connections in a group in a fixed order (user id, client id): pages never repeat one.

    O(log members + limit), after what is dead has been reaped.

    Args:
        cursor: ``next`` of the page before, None for the first.
        limit: 1 to `PAGE_SIZE`.
    """

    group: str
    cursor: str | None = None
    limit: int = PAGE_SIZE

    def __post_init__(self) -> None:
        _check_limit(self.limit)


@dataclass(frozen=True)
class NoteGone(Operation[None]):
    """Note that users are gone who have no connection; for a store that has lost its memory."""

    user_ids: tuple[str, ...]


@dataclass(frozen=True)
class TakeDue(Operation[tuple[Transition, ...]]):
    """Reap what is dead, then take the transitions that are due: nobody else gets them.

    The answer has `TAKE_SIZE` or more where there may be further ones.

    Args:
        grace_seconds: for how long somebody is absent before it is a transition.
        lease_seconds: by when every process has put its connections back, after the store has
            lost its memory.
    """

    grace_seconds: float
    lease_seconds: float


@dataclass(frozen=True)
class NextStamps(Operation[tuple[Stamp, ...]]):
    """The next place in the sequence of a group, for each of the groups, in their order.

    No number is given twice, and those of one group rise by one. A sequence that is not there,
    or not there any more, begins at the time in microseconds: beyond all numbers that it has had.

    Args:
        groups: names on the channel layer; one that needs several numbers stands there as often.
    """

    groups: tuple[str, ...]


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= PAGE_SIZE:
        raise ValueError(f"The limit of a page is 1 to {PAGE_SIZE}, not {limit}.")


def _check_restore(size: int) -> None:
    if size > RESTORE_SIZE:
        raise ValueError(
            f"At most {RESTORE_SIZE} are put back at a time, not {size}; do it in several calls."
        )


def _check_batch(size: int) -> None:
    if not 1 <= size <= BATCH_SIZE:
        raise ValueError(f"A batch has 1 to {BATCH_SIZE} connections, not {size}.")
