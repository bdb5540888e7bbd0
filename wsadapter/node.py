"""This process's lease: one task per event loop, from its first connection to its last.

All connections of an event loop hang on one lease, renewed by one Redis command per beat. Those
that come together are counted in by one command, and those that leave together out by one. When
the lease has lapsed (Redis lost its memory, the process was stopped for too long), the node
takes a new one and puts its connections back.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
from collections.abc import Sequence
from uuid import uuid4

from wsadapter import outages
from wsadapter.close_codes import CloseCode
from wsadapter.conf import settings, store
from wsadapter.connection import Connection
from wsadapter.errors import StoreUnavailable
from wsadapter.event_loops import end_task
from wsadapter.store import MemoryStore, RedisStore
from wsadapter.store.operations import (
    RESTORE_SIZE,
    Beat,
    FindClient,
    JoinAll,
    JoinOutcome,
    JoinResult,
    Lapse,
    LeaseState,
    Leave,
    LeaveAll,
    LeaveOutcome,
    OpenLease,
    Reap,
    Restore,
)
from wsadapter.turns import Together, turns

logger = logging.getLogger("wsadapter.node")

#: While Redis is away the lease is tried more often than it beats, to be back soon.
RETRY_SECONDS = 1.0
#: What killed processes left behind is removed this often, in beats.
BEATS_PER_REAP = 6


class Node:
    """The connections of one event loop and the lease that they hang on.

    Args:
        store: where the lease lives.
        lease_seconds: how long the lease lasts from its last beat.
        beat_seconds: the time between two beats.
    """

    def __init__(
        self, store: RedisStore | MemoryStore, *, lease_seconds: float, beat_seconds: float
    ) -> None:
        self.store = store
        self.lease_seconds = lease_seconds
        self.beat_seconds = beat_seconds
        self.lease = ""
        self.connections: dict[str, Connection] = {}
        timeout_seconds = settings.redis_timeout
        self._joining = Together(self._join_together, timeout_seconds=timeout_seconds)
        self._leaving = Together(self._leave_together, timeout_seconds=timeout_seconds)
        self._leaves_under_way = 0
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

    async def leave(self, connection: Connection) -> None:
        """Count a connection out; with the last one the lease is given up."""
        if self.connections.pop(connection.serial, None) is None:
            return
        try:
            # The next beat counts everybody anew, or the lease that ends takes all along.
            if self.connections and not self._doubtful:
                await self._leave(connection)
        finally:
            await self._stop_if_empty()

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

    async def _join(self, connection: Connection) -> JoinResult:
        lease, result = await self._joining.ask(connection)
        if result.outcome is JoinOutcome.LAPSED:
            async with turns().turn(settings.redis_timeout):
                await self._replace_lease(lease)
            _, result = await self._joining.ask(connection)
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
            self._beating = asyncio.get_running_loop().create_task(self._beat())
        return [(lease, result) for result in results]

    async def _leave_together(self, connections: Sequence[Connection]) -> Sequence[LeaveOutcome]:
        leavers = tuple((each.client_id, each.serial) for each in connections)
        return await self.store.arun(LeaveAll(self.lease, leavers))

    async def _beat(self) -> None:
        for beat in itertools.count():
            await asyncio.sleep(RETRY_SECONDS if self._outage else self.beat_seconds)
            try:
                await self._renew()
                if beat % BEATS_PER_REAP == 0:
                    await self.store.arun(Reap())
            except StoreUnavailable as error:
                self._outage = True
                outages.begins(self._redis_name, error)
            except Exception:
                logger.exception("Renewing the lease failed; trying again.")
            else:
                self._outage = False
                outages.ends(self._redis_name)

    async def _renew(self) -> None:
        lease = self.lease
        if self._doubtful:
            await self._replace_lease(lease)
        elif await self.store.arun(Beat(lease, self.lease_seconds)) is LeaseState.LAPSED:
            # After an outage that has been logged, this is a part of it.
            logger.log(
                logging.INFO if self._outage else logging.WARNING,
                "The lease lapsed; connections counted anew: %d.",
                len(self.connections),
            )
            await self._replace_lease(lease)

    async def _replace_lease(self, old: str) -> None:
        """Take a new lease, put the connections back, then give up the old one.

        Many connections may notice at once that the lease has lapsed; the first one acts.
        """
        async with self._replacing:
            if self.lease != old:
                return
            self._doubtful = False
            try:
                await self._move(old, _new_lease_id())
            except BaseException:
                self._doubtful = True
                raise

    async def _move(self, old: str, new: str) -> None:
        await self.store.arun(OpenLease(new, self.lease_seconds))
        self.lease = new
        connections = iter(list(self.connections.values()))
        while chunk := list(itertools.islice(connections, RESTORE_SIZE)):
            await self._restore(chunk, new)
        await self.store.arun(Lapse(old))

    async def _restore(self, chunk: list[Connection], lease: str) -> None:
        present = [c for c in chunk if c.serial in self.connections]
        await self.store.arun(Restore(lease, tuple(c.info(lease) for c in present)))
        for connection in present:
            if connection.serial not in self.connections:
                # It left meanwhile, and its Leave may have overtaken the Restore.
                await self.store.arun(Leave(lease, connection.client_id, connection.serial))
            elif connection.chose_id:
                await self._close_if_replaced(connection)

    async def _close_if_replaced(self, connection: Connection) -> None:
        """While the lease was over, another connection may have taken over a chosen id."""
        holder = await self.store.arun(FindClient(connection.client_id))
        if holder is not None and holder.serial != connection.serial:
            connection.close_soon(CloseCode.FORCED_OUT, "replaced by a newer connection")


_nodes: dict[asyncio.AbstractEventLoop, Node] = {}


def current_node() -> Node:
    """The node of the running event loop; it begins with the loop's first connection."""
    loop = asyncio.get_running_loop()
    if loop not in _nodes:
        _nodes[loop] = Node(
            store(),
            lease_seconds=settings.lease_seconds,
            beat_seconds=settings.beat_seconds,
        )
    return _nodes[loop]


def serving_loops() -> list[asyncio.AbstractEventLoop]:
    """The event loops of this process that serve connections."""
    return [loop for loop in list(_nodes) if loop.is_running()]  # threads ask, too


def _new_lease_id() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:16]}"
