"""One connection to one Redis that stays subscribed, whatever happens to that Redis."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import redis
from redis.asyncio.connection import AbstractConnection

from wsadapter import outages
from wsadapter.corking import current_cork
from wsadapter.event_loops import CANCEL_AGAIN_SECONDS, Begun, end_task, patient_timeout
from wsadapter.redis_pool import RedisPool

FIRST_RETRY_SECONDS = 0.05
LAST_RETRY_SECONDS = 1.0
#: Silence after which the connection is asked whether it still lives, and after which it is given
#: up when it does not answer.
PING_AFTER_SECONDS = 5.0


class Subscriber:
    """Keeps a set of names subscribed and hands on what is published to them.

    The names that are asked for in one turn of the event loop leave in one command. After a
    lost connection all names are subscribed again in one command, and `on_gap` is called.

    Args:
        pool: where; the connection is made from it but does not count towards its size.
        on_message: called with the channel's name and the payload.
        on_lost: called when the connection is lost or cannot be made, once until `on_gap`.
        on_gap: called when it is back and everything is subscribed again: what was published
            meanwhile is lost.
    """

    def __init__(
        self,
        pool: RedisPool,
        on_message: Callable[[str, bytes], None],
        *,
        on_lost: Callable[[], None],
        on_gap: Callable[[], None],
    ) -> None:
        self._pool = pool
        self._on_message = on_message
        self._on_lost = on_lost
        self._on_gap = on_gap
        self._channels: set[str] = set()
        self._patterns: set[str] = set()
        self._confirmed: set[str] = set()
        # Answers still to come: only the last one confirms what has been left and asked again.
        self._unanswered: Counter[str] = Counter()
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._outgoing: dict[str, set[str]] = {}
        self._sends: set[asyncio.Task[None]] = set()
        self._connection: AbstractConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._endings: set[asyncio.Task[None]] = set()
        self._lost = False
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._gap_pending: set[str] | None = None
        self._heard = False

    async def subscribe(self, *names: str) -> None:
        """Subscribe and wait for Redis' word that it is so.

        Raises:
            StoreUnavailable: it did not come within the pool's timeout.
        """
        await self.until_confirmed(self.ask(names))

    async def subscribe_pattern(self, pattern: str) -> None:
        """The same for a pattern in Redis' glob syntax."""
        await self.until_confirmed(self.ask(patterns=(pattern,)))

    def ask(
        self, names: Iterable[str] = (), patterns: Iterable[str] = ()
    ) -> set[asyncio.Future[None]]:
        """Subscribe soon. Returns what `until_confirmed` waits for; mostly there is nothing."""
        pending = self._want("SUBSCRIBE", names)
        pending |= self._want("PSUBSCRIBE", patterns)
        if pending:
            self._ensure_running()
        return pending

    async def until_confirmed(self, pending: set[asyncio.Future[None]]) -> None:
        """Wait for what `ask` has returned; raises as `subscribe` does."""
        if not pending:
            return
        with self._pool.reachable():
            async with patient_timeout(self._pool.timeout_seconds):
                # Others wait for the same answers: unlike gather(), wait() cancels none of them.
                await asyncio.wait(pending)

    def unsubscribe(self, names: Iterable[str] = (), patterns: Iterable[str] = ()) -> None:
        """Unsubscribe soon; nobody waits for it."""
        self._want_no_more("UNSUBSCRIBE", names)
        self._want_no_more("PUNSUBSCRIBE", patterns)

    def stop(self) -> Coroutine[Any, Any, None]:
        """Forget all names and close the connection; await what is returned for its end.

        No coroutine function: whoever subscribes from now on begins afresh and is not forgotten.
        """
        if self._task is not None:
            self._task.cancel()  # at once: it takes no answers for those who come next
            ending = asyncio.get_running_loop().create_task(_end_cancelled(self._task))
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)
            self._task = None
        self._waiting = {}
        self._channels.clear()
        self._patterns.clear()
        self._confirmed.clear()
        self._lost = False
        return self._ended()

    async def _ended(self) -> None:
        while self._endings:
            await asyncio.wait(self._endings)

    def _want(self, command: str, names: Iterable[str]) -> set[asyncio.Future[None]]:
        wanted = self._wanted(command)
        pending = set()
        for name in names:
            if name in self._confirmed:
                continue
            if name not in self._waiting:
                self._waiting[name] = asyncio.get_running_loop().create_future()
                wanted.add(name)
                self._send_soon(command, {name})
            pending.add(self._waiting[name])
        return pending

    def _want_no_more(self, command: str, names: Iterable[str]) -> None:
        wanted = self._wanted(command)
        gone = wanted.intersection(names)
        wanted -= gone
        self._confirmed -= gone
        for name in gone:
            self._waiting.pop(name, None)  # who asks next, asks anew
        if gone:
            self._send_soon(command, gone)

    def _wanted(self, command: str) -> set[str]:
        """What a command is about: the channels or the patterns that are to be subscribed."""
        return self._patterns if command in ("PSUBSCRIBE", "PUNSUBSCRIBE") else self._channels

    def _ensure_running(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def _send_soon(self, command: str, names: set[str]) -> None:
        """Collect the names of one turn of the loop; they leave together."""
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._flush)
        # The opposite order of the same turn is settled by what is wanted at the flush.
        self._outgoing.setdefault(command, set()).update(names)

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, {}
        if self._connection is None:
            return  # on connecting, everything that is wanted is subscribed
        commands = [
            (command, *names)
            for command, names in (
                (command, self._still_meant(command, names)) for command, names in outgoing.items()
            )
            if names
        ]
        self._expect_answers(commands)
        task = asyncio.get_running_loop().create_task(self._send(self._connection, commands))
        self._sends.add(task)
        task.add_done_callback(self._sends.discard)

    def _still_meant(self, command: str, names: set[str]) -> set[str]:
        if command in ("UNSUBSCRIBE", "PUNSUBSCRIBE"):
            return names - self._wanted(command)
        return names & self._wanted(command)

    async def _send(self, connection: AbstractConnection, commands: list[tuple[str, ...]]) -> None:
        try:
            await self._write(connection, commands)
        except (redis.RedisError, OSError):
            # The reader of the same connection notices, reconnects and subscribes anew.
            await connection.disconnect(nowait=True)

    async def _write(self, connection: AbstractConnection, commands: list[tuple[str, ...]]) -> None:
        # redis-py's own health check would read an answer, and reading is what _read does.
        packed = connection.pack_commands(commands)
        await connection.send_packed_command(packed, check_health=False)

    def _expect_answers(self, commands: list[tuple[str, ...]]) -> None:
        for command, *names in commands:
            if command in ("SUBSCRIBE", "PSUBSCRIBE"):
                self._unanswered.update(names)

    async def _run(self) -> None:
        await self._ended()  # what is left of the connection before
        self._retry_seconds = FIRST_RETRY_SECONDS
        while True:
            try:
                await self._connect()
                await self._read()
            except (redis.RedisError, OSError, TimeoutError) as error:
                outages.begins(self._pool.name, error)
                self._note_loss()
            finally:
                await self._disconnect()
            await asyncio.sleep(self._retry_seconds)
            self._retry_seconds = min(self._retry_seconds * 2, LAST_RETRY_SECONDS)

    def _note_loss(self) -> None:
        if not self._lost:
            self._lost = True
            self._on_lost()

    async def _connect(self) -> None:
        connection = self._make_connection()
        try:
            async with patient_timeout(self._pool.timeout_seconds):
                await connection.connect()
                await self._subscribe_all(connection)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise

    def _make_connection(self) -> AbstractConnection:
        """A connection as the pool makes them, but for reading at any time.

        Its reads have no timeout, which would be set and cleared for every message: `_watch`
        notices a silent Redis. And it speaks RESP 2, in which redis-py has nothing to look for
        in a message; the newer protocol is for commands on a connection that subscribes.
        """
        pool = self._pool.async_client().connection_pool
        options = {**pool.connection_kwargs, "socket_timeout": None, "protocol": 2}
        return pool.connection_class(**options)

    async def _subscribe_all(self, connection: AbstractConnection) -> None:
        wanted = {"SUBSCRIBE": self._channels, "PSUBSCRIBE": self._patterns}
        commands = [(command, *names) for command, names in wanted.items() if names]
        self._connection = connection
        self._outgoing.clear()
        self._expect_answers(commands)
        if self._lost:
            # Told once everything is subscribed again: see _confirm.
            self._gap_pending = self._channels | self._patterns
        if commands:
            await self._write(connection, commands)
        self._end_gap()

    async def _read(self) -> None:
        """Handle what arrives: all that Redis has sent by now before the loop turns."""
        connection = self._connection
        assert connection is not None
        async with asyncio.timeout(None) as patience:
            watching = asyncio.get_running_loop().create_task(self._watch(connection, patience))
            try:
                await self._read_on(connection)
            finally:
                await end_task(watching)

    async def _read_on(self, connection: AbstractConnection) -> None:
        cork = current_cork()
        coming: Begun[Any] = Begun(connection.read_response())
        try:
            while True:
                response = await coming
                coming = Begun(connection.read_response())
                if coming.done:
                    cork.hold()  # what is pushed leaves together with what follows
                self._handle(response)
                cork.hold()
                self._heard = True
        finally:
            coming.close()

    async def _watch(self, connection: AbstractConnection, patience: asyncio.Timeout) -> None:
        """Ping a connection that is silent; give it up when it does not answer."""
        pinged = False
        while True:
            self._heard = False
            await asyncio.sleep(PING_AFTER_SECONDS)
            if self._heard:
                pinged = False
            elif pinged:
                patience.reschedule(asyncio.get_running_loop().time())
                return
            else:
                pinged = True
                await self._send(connection, [("PING",)])

    def _handle(self, response: Any) -> None:
        kind = response[0] if isinstance(response, list | tuple) else response
        if kind == b"message":
            self._on_message(response[1].decode(errors="replace"), response[2])
        elif kind == b"pmessage":
            self._on_message(response[2].decode(errors="replace"), response[3])
        elif kind in (b"subscribe", b"psubscribe"):
            self._confirm(response[1].decode())

    def _confirm(self, name: str) -> None:
        self._unanswered[name] -= 1
        if self._unanswered[name] > 0:
            return
        del self._unanswered[name]
        # Only now: a Redis that takes connections may still refuse to serve.
        self._retry_seconds = FIRST_RETRY_SECONDS
        outages.ends(self._pool.name)
        if name in self._channels or name in self._patterns:
            self._confirmed.add(name)
        future = self._waiting.pop(name, None)
        if future is not None and not future.done():
            future.set_result(None)
        if self._gap_pending is not None:
            self._gap_pending.discard(name)
            self._end_gap()

    def _end_gap(self) -> None:
        if self._gap_pending is None or self._gap_pending:
            return
        self._gap_pending = None
        self._lost = False
        self._on_gap()

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        self._confirmed.clear()
        self._unanswered.clear()
        self._gap_pending = None
        for task in self._sends:
            task.cancel()
        await asyncio.gather(*self._sends, return_exceptions=True)
        if connection is not None:
            await connection.disconnect(nowait=True)


async def _end_cancelled(task: asyncio.Task[None]) -> None:
    """Return when a task that is cancelled already has ended; again only if it takes too long."""
    await asyncio.wait([task], timeout=CANCEL_AGAIN_SECONDS)
    await end_task(task)
