"""What can be asked of the store: every operation is data, and so is its answer.

    lease        OpenLease  Beat  Lapse  Reap
    connection   Join  JoinAll  Leave  LeaveAll  Restore
    how many     OnlineCount  OnlineUserCount  UserConnections
    who          IsOnline  OnlineUsers  ClientOnline  FindClient  OnlineClients
    group        NextStamps

``store.run(op)`` and ``await store.arun(op)`` carry one out. A *lease* is a process's right to
be counted: its id is ``host:pid:token``, and it lasts ``lease_seconds`` from its last beat. What
hangs on a lease that has ended is in no answer, whether or not anybody has removed it yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from wsadapter.wire.stamps import Stamp

__all__ = [
    "BATCH_SIZE",
    "PAGE_SIZE",
    "RESTORE_SIZE",
    "SEQUENCE_SECONDS",
    "Beat",
    "ClientInfo",
    "ClientOnline",
    "FindClient",
    "IsOnline",
    "Join",
    "JoinAll",
    "JoinOutcome",
    "JoinResult",
    "Lapse",
    "LeaseState",
    "Leave",
    "LeaveAll",
    "LeaveOutcome",
    "NextStamps",
    "OnlineClients",
    "OnlineCount",
    "OnlineUserCount",
    "OnlineUsers",
    "OpenLease",
    "Operation",
    "Page",
    "Reap",
    "Restore",
    "SingleCall",
    "UserConnections",
]

R = TypeVar("R")
T = TypeVar("T")

# The most that one call reads or writes, so that none holds Redis for long.
PAGE_SIZE = 500
RESTORE_SIZE = 500
BATCH_SIZE = 64

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


class LeaseState(Enum):
    HELD = "held"
    LAPSED = "lapsed"  # unknown or over; nothing was written


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
class OpenLease(Operation[None]):
    """Register a process, at its start or under a new id after a lapse."""

    lease: str
    lease_seconds: float


@dataclass(frozen=True)
class Beat(SingleCall[LeaseState]):
    """Renew a lease. O(1), whatever the number of its connections."""

    lease: str
    lease_seconds: float


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
class Restore(Operation[LeaseState]):
    """Put connections back under a new lease. Doing it twice is doing it once.

    A connection whose id another one has taken meanwhile stays out. At most `RESTORE_SIZE`.
    """

    lease: str
    clients: tuple[ClientInfo, ...]

    def __post_init__(self) -> None:
        if len(self.clients) > RESTORE_SIZE:
            raise ValueError(
                f"Restore takes at most {RESTORE_SIZE} clients at a time, not {len(self.clients)}; "
                "restore them in several calls."
            )


@dataclass(frozen=True)
class OnlineCount(SingleCall[int]):
    """Connections of all processes. O(processes)."""


@dataclass(frozen=True)
class OnlineUserCount(Operation[int]):
    """Distinct users of all processes. O(1), after what is dead has been reaped."""


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


def _check_batch(size: int) -> None:
    if not 1 <= size <= BATCH_SIZE:
        raise ValueError(f"A batch has 1 to {BATCH_SIZE} connections, not {size}.")
