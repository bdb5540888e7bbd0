"""The store in Redis: each operation is decided once and performed twice, sync and async.

An operation's decision is a generator: it yields the script calls that it needs, is sent their
replies and returns the answer. `RedisStore.run` and `RedisStore.arun` differ by one ``await``.
What must not be interrupted is one script; what may be long is one chunk per call.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
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
    position,
    positions_of,
    user_part,
)
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
    SingleCall,
    UserConnections,
)
from wsadapter.wire.stamps import Stamp

R = TypeVar("R")

# Connections that one script adds or removes, or numbers that it gives; it then holds Redis for a
# millisecond or two.
CHUNK = 200


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
def open_lease(op: OpenLease) -> Steps[None]:
    # A new lease must not inherit the connections of an old one that had its id.
    while not (yield Call("open_lease", (op.lease, milliseconds(op.lease_seconds)))):
        yield from reap_lease(op.lease)


@decide.register
def beat(op: Beat) -> Steps[LeaseState]:
    held = yield Call("beat", (op.lease, milliseconds(op.lease_seconds)))
    return LeaseState.HELD if held else LeaseState.LAPSED


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
def restore(op: Restore) -> Steps[LeaseState]:
    for start in range(0, max(len(op.clients), 1), CHUNK):
        chunk = op.clients[start : start + CHUNK]
        records = (part for client in chunk for part in (client.client_id, encode(client)))
        if not (yield Call("restore", (op.lease, *records))):
            return LeaseState.LAPSED
    return LeaseState.HELD


@decide.register
def online_count(op: OnlineCount) -> Steps[int]:
    return cast(int, (yield Call("online_count")))


@decide.register
def online_user_count(op: OnlineUserCount) -> Steps[int]:
    return cast(int, (yield from read_reaped(Call("online_user_count"))))


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
    reply = yield from read_reaped(Call("online_clients", (lower, upper, op.limit)))
    clients = tuple(in_order(reply))
    return Page(clients, place_of(clients[-1]).hex() if len(clients) == op.limit else None)


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
    return tuple(
        join_result(client, answer) for (client, _), answer in zip(newcomers, reply, strict=True)
    )


def join_result(client: ClientInfo, answer: Any) -> JoinResult:
    if isinstance(answer, bytes):
        return JoinResult(JoinOutcome(answer.decode()))
    return JoinResult(JoinOutcome.REPLACED, decode(client.client_id.encode(), *answer))


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
        cursor = yield Call("reap", (lease, cursor, CHUNK))


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


def in_order(reply: list[Any]) -> list[ClientInfo]:
    """A page of connections, which arrives lease by lease."""
    leases = zip(reply[::3], reply[1::3], reply[2::3], strict=True)
    clients = (
        decode(client_id, lease, record)
        for lease, client_ids, records in leases
        for client_id, record in zip(client_ids, records, strict=True)
    )
    return sorted(clients, key=place_of)


def place_of(client: ClientInfo) -> bytes:
    return position(client.user_id, client.client_id)
