"""This process's lease: one task per event loop, from its first connection to its last.

All connections of an event loop hang on one lease, renewed by one Redis command per beat. Those
that come together are counted in by one command, and those that leave together out by one, and
so it is with groups. When the lease has lapsed (Redis lost its memory, the process was stopped
for too long), the node takes a new one and puts its connections back.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import os
import socket
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from uuid import uuid4

from wsadapter import outages
from wsadapter.close_codes import CloseCode
from wsadapter.conf import settings, store
from wsadapter.connection import Connection
from wsadapter.errors import StoreUnavailable
from wsadapter.event_loops import end_task, forget_closed_loops
from wsadapter.store import MemoryStore, RedisStore
from wsadapter.store.operations import (
    BATCH_SIZE,
    RESTORE_SIZE,
    Beat,
    FindClient,
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
    Membership,
    NoteGone,
    OldLease,
    OpenLease,
    Reap,
    Restore,
    Transition,
)
from wsadapter.transitions import Announcer
from wsadapter.turns import Together, turns

logger = logging.getLogger("wsadapter.node")

#: While Redis is away the lease is tried more often than it beats, to be back soon.
RETRY_SECONDS = 1.0
#: By then whoever saw somebody go has told it. Else another process does.
OVERDUE_SECONDS = 2.0
#: How long those who leave may still wait for receivers of what was found out before.
TELL_SECONDS = 2.0


class Node:
    """The connections of one event loop and the lease that they hang on.

    Args:
        store: where the lease lives.
        lease_seconds: how long the lease lasts from its last beat.
        beat_seconds: the time between two beats.
        grace_seconds: for how long a user is away before it is told.
        predecessor: the node of this event loop that has ended: what it has to tell comes first.
    """

    def __init__(
        self,
        store: RedisStore | MemoryStore,
        *,
        lease_seconds: float,
        beat_seconds: float,
        grace_seconds: float = 5.0,
        predecessor: Node | None = None,
    ) -> None:
        self.store = store
        self.lease_seconds = lease_seconds
        self.beat_seconds = beat_seconds
        self.grace_seconds = grace_seconds
        self.lease = ""
        #: When the lease was renewed last, monotonic seconds.
        self.renewed_at = -math.inf
        self.connections: dict[str, Connection] = {}
        timeout_seconds = settings.redis_timeout
        self._joining = Together(self._join_together, timeout_seconds=timeout_seconds)
        self._leaving = Together(self._leave_together, timeout_seconds=timeout_seconds)
        self._joining_groups = Together(self._join_groups_together, timeout_seconds=timeout_seconds)
        self._leaving_groups = Together(
            self._leave_groups_together, timeout_seconds=timeout_seconds
        )
        self._leaves_under_way = 0
        # Serials of those who found the lease lapsed: they come anew, and are not put back.
        self._newcomers: set[str] = set()
        self._announcer: Announcer = Announcer(
            store,
            grace_seconds=grace_seconds,
            lease_seconds=lease_seconds,
            on_taken=self._note_taken,
            after=None if predecessor is None else predecessor._announcer,
        )
        # Users who had a connection here, and when they left (monotonic seconds), or infinity
        # where the store could not be told: for one that loses its memory meanwhile.
        self._gone: dict[str, float] = {}
        # Of those who had gone by then it is told, if the store has not lost its memory before:
        # the next beat finds that out, and comes early.
        self._taken_by = -math.inf
        self._beat_early = asyncio.Event()
        #: Beats as long as there is a lease.
        self._beating: asyncio.Task[None] | None = None
        # Whether the record in Redis may differ from `connections`, after a failed call.
        self._doubtful = False
        self._replacing = asyncio.Lock()
        self._outage = False
        self._redis_name = store.pool.name if isinstance(store, RedisStore) else "The store"

    async def join(self, connection: Connection) -> JoinResult:
        """Count a connection in.

        Raises:
            StoreUnavailable: Redis did not answer in time.
        """
        # From now on it is part of what a new lease restores.
        self.connections[connection.serial] = connection
        try:
            result = await self._join(connection)
        except BaseException:
            # It may have been written all the same: the next beat starts afresh.
            self._doubtful = True
            await self._forget(connection)
            raise
        if result.outcome is JoinOutcome.TAKEN:
            await self._forget(connection)
            return result
        connection.register = self  # what it joins from now on is recorded as it does
        if connection.memberships:
            await self.join_groups(connection, list(connection.memberships.values()))
        return result

    async def leave(self, connection: Connection) -> None:
        """Count a connection out; with the last one the lease is given up."""
        if self.connections.pop(connection.serial, None) is None:
            return
        self._note_gone(connection, math.inf)
        try:
            # The next beat counts everybody anew, or the lease that ends takes all along.
            if self.connections and not self._doubtful:
                await self.leave_groups(connection, list(connection.memberships.values()))
                await self._leave(connection)
                self._note_gone(connection, time.monotonic())
        finally:
            await self._stop_if_empty()

    async def join_groups(self, connection: Connection, memberships: Sequence[Membership]) -> None:
        """Record that a connection is in groups, if it is counted in.

        Raises:
            StoreUnavailable: Redis did not answer in time; the next beat records it.
        """
        if connection.serial not in self.connections:
            return
        await self._ask_all(self._joining_groups, memberships)
        if connection.serial not in self.connections:  # it left meanwhile
            await self.leave_groups(connection, memberships)

    async def leave_groups(self, connection: Connection, memberships: Sequence[Membership]) -> None:
        """Record that it is in groups no more; the errors are those of `join_groups`."""
        if memberships:
            await self._ask_all(self._leaving_groups, memberships)
            self._announcer.expect()

    async def _ask_all(
        self, together: Together[Membership, None], memberships: Sequence[Membership]
    ) -> None:
        try:
            for chunk in _batches(memberships):
                await asyncio.gather(*map(together.ask, chunk))
        except BaseException:
            self._doubtful = True
            raise

    def _note_gone(self, connection: Connection, at: float) -> None:
        if connection.user_id is not None:
            self._gone[connection.user_id] = at
            self._announcer.expect()

    async def _leave(self, connection: Connection) -> None:
        self._leaves_under_way += 1
        try:
            outcome = await self._leaving.ask(connection)
        except BaseException:
            self._doubtful = True
            raise
        finally:
            self._leaves_under_way -= 1
        if outcome is LeaveOutcome.LAPSED:
            self._doubtful = True

    async def _forget(self, connection: Connection) -> None:
        self.connections.pop(connection.serial, None)
        await self._stop_if_empty()

    async def _stop_if_empty(self) -> None:
        if not self.connections and not self._leaves_under_way:
            await self.stop()

    async def stop(self) -> None:
        """Give the lease up and end the task."""
        loop = asyncio.get_running_loop()
        if _nodes.get(loop) is self:  # else a successor serves the loop already
            del _nodes[loop]
        await self._joining.stop()
        if self._beating is not None:
            await end_task(self._beating)
            self._beating = None
        lease, self.lease = self.lease, ""
        if lease:
            try:
                await self.store.arun(Lapse(lease))
                await self.store.arun(Reap())
            except StoreUnavailable:
                logger.info("The lease %s could not be given up and will expire.", lease)
        self._announcer.expect()
        self._announcer.expect_last()
        await self._announcer.finish(TELL_SECONDS)

    async def _join(self, connection: Connection) -> JoinResult:
        lease, result = await self._joining.ask(connection)
        if result.outcome is JoinOutcome.LAPSED:
            self._newcomers.add(connection.serial)
            try:
                async with turns().turn(settings.redis_timeout):
                    await self._replace_lease(lease)
                _, result = await self._joining.ask(connection)
            finally:
                self._newcomers.discard(connection.serial)
        return result

    async def _join_together(
        self, connections: Sequence[Connection]
    ) -> list[tuple[str, JoinResult]]:
        """The results, with the lease that they hang on.

        The first ones open it. Where that fails, a next attempt takes another one: what may have
        been written all the same is in no answer once its lease is over.
        """
        opening = self._beating is None
        lease = _new_lease_id() if opening else self.lease
        newcomers = tuple((each.info(lease), each.chose_id) for each in connections)
        opens_for = self.lease_seconds if opening else None
        results = await self.store.arun(JoinAll(lease, newcomers, opens_for))
        if opening:
            self.lease = lease
            self.renewed_at = time.monotonic()
            self._beating = asyncio.get_running_loop().create_task(self._beat())
        self._announcer.tell(
            Transition(True, each.user_id)
            for each, result in zip(connections, results, strict=True)
            if result.came_online
        )
        return [(lease, result) for result in results]

    async def _leave_together(self, connections: Sequence[Connection]) -> Sequence[LeaveOutcome]:
        leavers = tuple((each.client_id, each.serial) for each in connections)
        return await self.store.arun(LeaveAll(self.lease, leavers))

    async def _join_groups_together(self, memberships: Sequence[Membership]) -> Sequence[None]:
        lease = self.lease
        new = await self.store.arun(JoinGroups(lease, tuple(memberships)))
        if new is None:
            # It puts these back as well: the connections know of them already.
            await self._replace_lease(lease)
        else:
            self._tell_new(memberships, new)
        return [None] * len(memberships)

    async def _leave_groups_together(self, memberships: Sequence[Membership]) -> Sequence[None]:
        outcome = await self.store.arun(LeaveGroups(self.lease, tuple(memberships)))
        if outcome is LeaveOutcome.LAPSED:
            self._doubtful = True
        return [None] * len(memberships)

    def _tell_new(self, memberships: Iterable[Membership], new: Iterable[bool]) -> None:
        pairs = zip(memberships, new, strict=True)
        self._announcer.tell(membership for membership, is_new in pairs if is_new)

    async def _beat(self) -> None:
        while True:
            await self._until_next_beat()
            try:
                await self._renew()
            except StoreUnavailable as error:
                self._outage = True
                outages.begins(self._redis_name, error)
            except Exception:
                logger.exception("Renewing the lease failed; trying again.")
            else:
                self._outage = False
                outages.ends(self._redis_name)

    async def _until_next_beat(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(RETRY_SECONDS if self._outage else self.beat_seconds):
                await self._beat_early.wait()
        self._beat_early.clear()

    async def _renew(self) -> None:
        lease, taken_by = self.lease, self._taken_by
        if self._doubtful:
            await self._replace_lease(lease)
            return
        overdue_seconds = self.grace_seconds + OVERDUE_SECONDS
        state = await self.store.arun(Beat(lease, self.lease_seconds, overdue_seconds))
        if state is LeaseState.LAPSED:
            # After an outage that has been logged, this is a part of it.
            logger.log(
                logging.INFO if self._outage else logging.WARNING,
                "The lease lapsed; connections counted anew: %d.",
                len(self.connections),
            )
            await self._replace_lease(lease)
            return
        self.renewed_at = time.monotonic()
        self._gone = {user_id: at for user_id, at in self._gone.items() if at > taken_by}
        if state is LeaseState.BUSY:
            await self._announcer.take_due()
            self._announcer.expect()  # of those who were reaped

    def _note_taken(self, gone_by: float) -> None:
        """Of those it is not to be told once more, should the store forget that it was."""
        self._taken_by = gone_by
        if any(at <= gone_by for at in self._gone.values()):
            self._beat_early.set()

    async def _replace_lease(self, old: str) -> None:
        """Take a new lease, put the connections back, then give up the old one.

        Many connections may notice at once that the lease has lapsed; the first one acts.
        """
        async with self._replacing:
            if self.lease != old or self._beating is None:
                return
            self._doubtful = False
            try:
                await self._move(old, _new_lease_id())
            except BaseException:
                self._doubtful = True
                raise

    async def _move(self, old: str, new: str) -> None:
        known = await self.store.arun(OpenLease(new, self.lease_seconds, replaces=old))
        self.lease = new
        self.renewed_at = time.monotonic()
        connections = iter(list(self.connections.values()))
        while chunk := list(itertools.islice(connections, RESTORE_SIZE)):
            await self._restore(chunk, new, known)
        known_from = self.renewed_at
        if known is OldLease.FORGOTTEN:
            await self.store.arun(NoteGone(tuple(self._gone)))
            known_from += self.lease_seconds  # by then all have put back whom they have
        self._gone = dict.fromkeys(self._gone, known_from)
        await self.store.arun(Lapse(old))
        self._announcer.expect()

    async def _restore(self, chunk: list[Connection], lease: str, known: OldLease) -> None:
        present = [
            each
            for each in chunk
            if each.serial in self.connections and each.serial not in self._newcomers
        ]
        restored = await self.store.arun(Restore(lease, tuple(c.info(lease) for c in present)))
        if known is OldLease.REAPED:  # all have been told that they had gone
            self._announcer.tell(Transition(True, user_id) for user_id in restored.strangers)
        await self._restore_groups(present, lease, known)
        for connection in present:
            if connection.serial not in self.connections:
                # It left meanwhile, and its Leave may have overtaken the Restore.
                await self._take_back(connection, lease)
            elif connection.chose_id:
                await self._close_if_replaced(connection)

    async def _restore_groups(
        self, connections: list[Connection], lease: str, known: OldLease
    ) -> None:
        memberships = [each for c in connections for each in c.memberships.values()]
        for start in range(0, len(memberships), RESTORE_SIZE):
            chunk = memberships[start : start + RESTORE_SIZE]
            new = await self.store.arun(JoinGroups(lease, tuple(chunk)))
            if new is not None and known is OldLease.REAPED:
                self._tell_new(chunk, new)

    async def _take_back(self, connection: Connection, lease: str) -> None:
        for chunk in _batches(list(connection.memberships.values())):
            await self.store.arun(LeaveGroups(lease, tuple(chunk)))
        await self.store.arun(Leave(lease, connection.client_id, connection.serial))

    async def _close_if_replaced(self, connection: Connection) -> None:
        """While the lease was over, another connection may have taken over a chosen id."""
        holder = await self.store.arun(FindClient(connection.client_id))
        if holder is not None and holder.serial != connection.serial:
            connection.close_soon(CloseCode.FORCED_OUT, "replaced by a newer connection")


_nodes: dict[asyncio.AbstractEventLoop, Node] = {}
#: Those that have ended included.
_latest: dict[asyncio.AbstractEventLoop, Node] = {}


def current_node() -> Node:
    """The node of the running event loop; it begins with the loop's first connection."""
    loop = asyncio.get_running_loop()
    if loop not in _nodes:
        forget_closed_loops(_latest)
        _nodes[loop] = _latest[loop] = Node(
            store(),
            lease_seconds=settings.lease_seconds,
            beat_seconds=settings.beat_seconds,
            grace_seconds=settings.grace_seconds,
            predecessor=_latest.get(loop),
        )
    return _nodes[loop]


def _batches(memberships: Sequence[Membership]) -> Iterable[Sequence[Membership]]:
    return (
        memberships[start : start + BATCH_SIZE] for start in range(0, len(memberships), BATCH_SIZE)
    )


def _new_lease_id() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:16]}"
