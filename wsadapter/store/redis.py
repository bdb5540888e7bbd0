"""The store in Redis: each operation is decided once and performed twice, sync and async.

An operation's decision is a generator: it yields the script calls that it needs, is sent their
replies and returns the answer. `RedisStore.run` and `RedisStore.arun` differ by one ``await``.
What must not be interrupted is one script; what may be long is one chunk per call.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, singledispatch
from importlib.resources import files
from itertools import chain
from typing import Any, Generic, TypeAlias, TypeVar, cast

import msgspec
from redis.exceptions import NoScriptError

from wsadapter.redis_pool import RedisPool
from wsadapter.store.keys import (
    ANONYMOUS,
    SEPARATOR,
    Keys,
    beyond,
    group_of,
    group_part,
    position,
    positions_of,
    user_part,
)
from wsadapter.store.operations import (
    SEQUENCE_SECONDS,
    TAKE_SIZE,
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
    SingleCall,
    TakeDue,
    Transition,
    UserConnections,
)
from wsadapter.wire.stamps import Stamp

R = TypeVar("R")
P = TypeVar("P", ClientInfo, Member)

# What one script does, so that it holds Redis for half a millisecond: numbers that it gives or
# absences that it looks after; connections or memberships that it reads; those that it writes.
CHUNK = 200
READ_CHUNK = 250
RECORDS_CHUNK = 32

# Beyond every lease; what stands for "never" where a script reckons in milliseconds.
NEVER_SECONDS = 10**9


@dataclass(frozen=True)
class Script:
    source: str
    sha: str


@cache
def script(name: str) -> Script:
    """A file of ``lua/`` behind the prelude that all share."""
    folder = files(__package__) / "lua"
    source = "\n".join((folder / f"{part}.lua").read_text("utf-8") for part in ("prelude", name))
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


@dataclass(frozen=True)
class Call:
    """One run of a script, by the name of its file, with its ARGV."""

    script: str
    args: tuple[str | bytes | int, ...] = ()


Steps: TypeAlias = Generator[Call, Any, R]
Command: TypeAlias = tuple[str | bytes | int, ...]


class Decision(Generic[R]):
    """How far an operation has come: ``call`` is to be run next; when None, ``result`` is there."""

    call: Call | None
    result: R

    def __init__(self, steps: Steps[R]) -> None:
        self._steps = steps
        self.answer(None)

    def answer(self, reply: Any) -> None:
        """Go on with the reply to ``call``."""
        try:
            self.call = self._steps.send(reply)
        except StopIteration as end:
            self.call, self.result = None, end.value


@dataclass(frozen=True)
class Step(Generic[R]):
    """An operation as one command, for a pipeline that carries other commands as well."""

    command: Command
    _op: SingleCall[R]

    def parse(self, reply: Any) -> R:
        """The operation's answer, from the reply to ``command``.

        Raises:
            Exception: the reply itself, if it is an error.
        """
        if isinstance(reply, Exception):
            raise reply
        decision = Decision[R](decide(self._op))
        decision.answer(reply)
        return decision.result


class RedisStore:
    """The store that all processes share.

    Every call is bounded by the pool's timeout, and raises `StoreUnavailable` when Redis does
    not answer. None is repeated: an operation that failed may have been carried out, and can be
    asked for again.
    """

    def __init__(self, pool: RedisPool, prefix: str = "{wsadapter}") -> None:
        self.pool = pool
        self.keys = Keys(prefix)

    def run(self, op: Operation[R]) -> R:
        """Carry an operation out. Blocks for a round trip, a few for what is done in chunks.

        Raises:
            StoreUnavailable: Redis did not answer in time.
        """
        decision = Decision[R](decide(op))
        client = self.pool.sync_client()
        with self.pool.reachable():
            while decision.call is not None:
                try:
                    reply = client.execute_command(*self._by_sha(decision.call))
                except NoScriptError:
                    reply = client.execute_command(*self._by_source(decision.call))
                decision.answer(reply)
        return decision.result

    async def arun(self, op: Operation[R]) -> R:
        """The twin of `run`."""
        decision = Decision[R](decide(op))
        client = self.pool.async_client()
        with self.pool.reachable():
            while decision.call is not None:
                try:
                    reply = await client.execute_command(*self._by_sha(decision.call))
                except NoScriptError:
                    reply = await client.execute_command(*self._by_source(decision.call))
                decision.answer(reply)
        return decision.result

    def step(self, op: SingleCall[R]) -> Step[R]:
        """The operation as one command to put into a pipeline of one's own.

            step = store.step(ClientOnline(client_id))
            pipeline.publish(channel, frame)
            pipeline.execute_command(*step.command)
            _, reply = pipeline.execute(raise_on_error=False)
            online = step.parse(reply)

        The command names its script by SHA. When Redis does not have it (the first call after
        its start), the reply is a `NoScriptError`, which ``parse`` raises: `run` the operation
        then, which loads it.
        """
        decision = Decision[R](decide(op))
        assert decision.call is not None
        return Step(self._by_sha(decision.call), op)

    def _by_sha(self, call: Call) -> Command:
        return ("EVALSHA", script(call.script).sha, *self._arguments(call))

    def _by_source(self, call: Call) -> Command:
        """EVAL also keeps the script, so that its SHA is known from then on."""
        return ("EVAL", script(call.script).source, *self._arguments(call))

    def _arguments(self, call: Call) -> Command:
        keys = self.keys.for_scripts()
        return (len(keys), *keys, *call.args)


# What each operation does.


@singledispatch
def decide(op: Operation[Any]) -> Steps[Any]:
    """The script calls that an operation takes, and its answer."""
    raise TypeError(f"The Redis store has no operation {type(op).__name__}.")


@decide.register
def open_lease(op: OpenLease) -> Steps[OldLease]:
    call = Call("open_lease", (op.lease, milliseconds(op.lease_seconds), op.replaces))
    while True:
        opened, *known = yield call
        if opened:
            return OldLease(known[0].decode())
        # A new lease must not inherit the connections of an old one that had its id.
        yield from reap_lease(op.lease)


LEASE_STATES = (LeaseState.LAPSED, LeaseState.HELD, LeaseState.BUSY)


@decide.register
def beat(op: Beat) -> Steps[LeaseState]:
    overdue_ms = milliseconds(min(op.overdue_seconds, NEVER_SECONDS))
    state = yield Call("beat", (op.lease, milliseconds(op.lease_seconds), overdue_ms))
    return LEASE_STATES[state]


@decide.register
def lapse(op: Lapse) -> Steps[None]:
    yield Call("lapse", (op.lease,))
    yield from reap_lease(op.lease)


@decide.register
def reap(op: Reap) -> Steps[None]:
    yield from reap_all()


@decide.register
def join(op: Join) -> Steps[JoinResult]:
    return (yield from join_together(op.lease, [(op.client, op.claim)], opens_for=None))[0]


@decide.register
def join_all(op: JoinAll) -> Steps[tuple[JoinResult, ...]]:
    return (yield from join_together(op.lease, op.newcomers, op.opens_for))


@decide.register
def leave(op: Leave) -> Steps[LeaveOutcome]:
    return (yield from leave_together(op.lease, [(op.client_id, op.serial)]))[0]


@decide.register
def leave_all(op: LeaveAll) -> Steps[tuple[LeaveOutcome, ...]]:
    return (yield from leave_together(op.lease, op.leavers))


@decide.register
def restore(op: Restore) -> Steps[Restored]:
    strangers: list[str] = []
    for start in range(0, max(len(op.clients), 1), RECORDS_CHUNK):
        chunk = op.clients[start : start + RECORDS_CHUNK]
        records = (part for client in chunk for part in (client.client_id, encode(client)))
        users = yield Call("restore", (op.lease, *records))
        if users is None:
            return Restored(LeaseState.LAPSED, tuple(sorted(strangers)))
        strangers += (user.decode() for user in users)
    return Restored(LeaseState.HELD, tuple(sorted(strangers)))


@decide.register
def online_count(op: OnlineCount) -> Steps[int]:
    return cast(int, (yield Call("online_count")))


@decide.register
def online_user_count(op: OnlineUserCount) -> Steps[int]:
    return cast(int, (yield from read_reaped(Call("online_user_count"))))


@decide.register
def live_nodes(op: LiveNodes) -> Steps[tuple[NodeInfo, ...]]:
    reply = yield Call("live_nodes")
    rows = zip(reply[::3], reply[1::3], reply[2::3], strict=True)
    return tuple(
        sorted(
            (NodeInfo(lease.decode(), count, left_ms / 1000) for lease, count, left_ms in rows),
            key=lambda node: node.lease,
        )
    )


@decide.register
def user_connections(op: UserConnections) -> Steps[int]:
    return cast(int, (yield Call("user_connections", (op.user_id,))))


@decide.register
def is_online(op: IsOnline) -> Steps[bool]:
    return bool((yield Call("user_connections", (op.user_id,))))


@decide.register
def client_online(op: ClientOnline) -> Steps[bool]:
    return bool((yield Call("client_online", (op.client_id,))))


@decide.register
def find_client(op: FindClient) -> Steps[ClientInfo | None]:
    reply = yield Call("find_client", (op.client_id,))
    return decode(op.client_id.encode(), *reply) if reply else None


@decide.register
def online_users(op: OnlineUsers) -> Steps[Page[str]]:
    lower = b"-" if op.after is None else b"(" + op.after.encode()
    reply = yield from read_reaped(Call("online_users", (lower, op.limit)))
    users = tuple(user.decode() for user in reply)
    return Page(users, users[-1] if len(users) == op.limit else None)


@decide.register
def online_clients(op: OnlineClients) -> Steps[Page[ClientInfo]]:
    lower, upper = positions_of(op.user_id)
    if op.cursor is not None:
        lower = beyond(bytes.fromhex(op.cursor))

    def read(lower: bytes, limit: int) -> Steps[list[ClientInfo]]:
        call = Call("online_clients", (lower, upper, limit))
        return in_order((yield from read_reaped(call)))

    return (yield from read_page(read, lower, op.limit))


@decide.register
def join_groups(op: JoinGroups) -> Steps[tuple[bool, ...] | None]:
    announced: list[bool] = []
    for start in range(0, max(len(op.memberships), 1), RECORDS_CHUNK):
        chunk = op.memberships[start : start + RECORDS_CHUNK]
        parts = (
            part
            for each in chunk
            for part in (each.client_id, group_part(each.group), encode_membership(each))
        )
        reply = yield Call("join_groups", (op.lease, *parts))
        if reply is None:
            return None
        announced += map(bool, reply)
    return tuple(announced)


@decide.register
def leave_groups(op: LeaveGroups) -> Steps[LeaveOutcome]:
    parts = (
        part
        for each in op.memberships
        for part in (each.client_id, each.serial, group_part(each.group))
    )
    done = yield Call("leave_groups", (op.lease, *parts))
    return LeaveOutcome.LEFT if done else LeaveOutcome.LAPSED


@decide.register
def member_count(op: MemberCount) -> Steps[int]:
    return cast(int, (yield Call("member_count", (group_part(op.group),))))


@decide.register
def members(op: Members) -> Steps[Page[Member]]:
    lower = b"-" if op.cursor is None else beyond(bytes.fromhex(op.cursor))

    def read(lower: bytes, limit: int) -> Steps[list[Member]]:
        call = Call("members", (group_part(op.group), lower, limit))
        return members_in_order((yield from read_reaped(call)))

    return (yield from read_page(read, lower, op.limit))


@decide.register
def note_gone(op: NoteGone) -> Steps[None]:
    for start in range(0, len(op.user_ids), CHUNK):
        yield Call("note_gone", op.user_ids[start : start + CHUNK])


@decide.register
def take_due(op: TakeDue) -> Steps[tuple[Transition, ...]]:
    yield from reap_all()
    grace_ms, lease_ms = milliseconds(op.grace_seconds), milliseconds(op.lease_seconds)
    gone, come = yield Call("take_due", (grace_ms, lease_ms, TAKE_SIZE))
    return (
        *(transition(who, came=False) for who in gone),
        *(transition(who, came=True) for who in come),
    )


@decide.register
def next_stamps(op: NextStamps) -> Steps[tuple[Stamp, ...]]:
    stamps: list[Stamp] = []
    for start in range(0, len(op.groups), CHUNK):
        groups = op.groups[start : start + CHUNK]
        now_ms, *numbers = yield Call("next_stamps", (milliseconds(SEQUENCE_SECONDS), *groups))
        stamps += (Stamp(number, now_ms) for number in numbers)
    return tuple(stamps)


# What several operations have in common.


def join_together(
    lease: str, newcomers: Sequence[tuple[ClientInfo, bool]], opens_for: float | None
) -> Steps[tuple[JoinResult, ...]]:
    clients = (
        part
        for client, claim in newcomers
        for part in (client.client_id, encode(client), int(claim))
    )
    opens_ms = 0 if opens_for is None else milliseconds(opens_for)
    call = Call("join", (lease, opens_ms, *clients))
    while (reply := (yield call)) is None and opens_ms:
        yield from reap_lease(lease)  # as for OpenLease: it must not inherit any
    if reply is None:
        return (JoinResult(JoinOutcome.LAPSED),) * len(newcomers)
    came, answers = reply
    strangers: set[str | None] = {user.decode() for user in came}
    return tuple(
        join_result(client, answer, strangers)
        for (client, _), answer in zip(newcomers, answers, strict=True)
    )


def join_result(client: ClientInfo, answer: Any, strangers: set[str | None]) -> JoinResult:
    """The result of one; a stranger comes online with the first of theirs that is in."""
    if answer == b"taken":
        return JoinResult(JoinOutcome.TAKEN)
    came_online = client.user_id in strangers
    strangers.discard(client.user_id)
    if answer == b"joined":
        return JoinResult(JoinOutcome.JOINED, came_online=came_online)
    replaced = decode(client.client_id.encode(), *answer)
    return JoinResult(JoinOutcome.REPLACED, replaced, came_online)


def leave_together(
    lease: str, leavers: Sequence[tuple[str, str]]
) -> Steps[tuple[LeaveOutcome, ...]]:
    reply = yield Call("leave", (lease, *chain.from_iterable(leavers)))
    if reply is None:
        return (LeaveOutcome.LAPSED,) * len(leavers)
    return tuple(LeaveOutcome.LEFT if left else LeaveOutcome.GONE for left in reply)


def read_reaped(call: Call) -> Steps[Any]:
    """Read what is only right without the dead: remove them first, if the script says so."""
    while (reply := (yield call)) is None:
        yield from reap_all()
    return reply


def reap_all() -> Steps[None]:
    while (lease := (yield Call("dead_lease"))) is not None:
        yield from reap_lease(lease)


def reap_lease(lease: str | bytes) -> Steps[None]:
    cursor: bytes | None = b"0"
    while cursor is not None:
        cursor = yield Call("reap", (lease, cursor, RECORDS_CHUNK))


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


class Details(msgspec.Struct, frozen=True, array_like=True):
    """What of a connection no script looks at."""

    connected_at: float
    path: str
    address: str | None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Details)


def encode(client: ClientInfo) -> bytes:
    """A connection as the node's hash holds it, under its client id."""
    details = Details(client.connected_at, client.path, client.address)
    return SEPARATOR.join(
        (user_part(client.user_id), client.serial.encode(), _encoder.encode(details))
    )


def decode(client_id: bytes, lease: bytes, record: bytes) -> ClientInfo:
    user, serial, rest = record.split(SEPARATOR)
    details = _decoder.decode(rest)
    return ClientInfo(
        client_id=client_id.decode(),
        user_id=None if user == ANONYMOUS else user.decode(),
        lease=lease.decode(),
        serial=serial.decode(),
        connected_at=details.connected_at,
        path=details.path,
        address=details.address,
    )


def read_page(
    read: Callable[[bytes, int], Steps[list[P]]], lower: bytes, limit: int
) -> Steps[Page[P]]:
    """A page, some after some. ``read`` gives so many of those beyond a lower bound, in order."""
    items: list[P] = []
    while len(items) < limit:
        wanted = min(READ_CHUNK, limit - len(items))
        some = yield from read(lower, wanted)
        items += some
        if len(some) < wanted:
            return Page(tuple(items), None)
        lower = beyond(place_of(some[-1]))
    return Page(tuple(items), place_of(items[-1]).hex())


def in_order(reply: list[Any]) -> list[ClientInfo]:
    """Some connections."""
    clients = (decode(client_id, lease, record) for lease, client_id, record in by_lease(reply))
    return sorted(clients, key=place_of)


def members_in_order(reply: list[Any]) -> list[Member]:
    """Some members. An id that changes hands is there twice until the old connection is closed."""
    in_leases = sorted(by_lease(reply))
    members = (decode_member(client_id, record) for _, client_id, record in in_leases)
    return sorted(members, key=place_of)


def by_lease(reply: list[Any]) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Lease, client id and record of those on a page, which arrives lease by lease."""
    for lease, client_ids, records in zip(reply[::3], reply[1::3], reply[2::3], strict=True):
        for client_id, record in zip(client_ids, records, strict=True):
            yield lease, client_id, record


def place_of(client: ClientInfo | Member) -> bytes:
    return position(client.user_id, client.client_id)


def encode_membership(membership: Membership) -> bytes:
    """A membership as the hash of its lease holds it, under its client id and group."""
    return SEPARATOR.join(
        (
            user_part(membership.user_id),
            membership.serial.encode(),
            b"1" if membership.announced else b"0",
            membership.info,
        )
    )


def decode_member(client_id: bytes, record: bytes) -> Member:
    user, _, _, info = record.split(SEPARATOR)
    user_id = None if user == ANONYMOUS else user.decode()
    return Member(client_id.decode(), user_id, msgspec.json.decode(info))


def transition(who: bytes, *, came: bool) -> Transition:
    """What a member of ``leaving`` or ``arriving`` stands for."""
    name, *group = who.split(SEPARATOR)
    if name.startswith(ANONYMOUS):
        user_id, client_id = None, name.removeprefix(ANONYMOUS).decode()
    else:
        user_id, client_id = name.decode(), None
    return Transition(came, user_id, client_id, group_of(group[0]) if group else None)
