"""The connections of this process to one Redis: one pool for sync code, one per event loop.

No call opens a connection of its own and none retries: a command that may have been carried
out is never sent twice. A pooled connection that Redis has closed meanwhile is noticed before
it is used (redis-py looks whether it is readable) and replaced.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any, TypeAlias, cast
from urllib.parse import urlsplit

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from wsadapter.errors import StoreUnavailable
from wsadapter.event_loops import forget_closed_loops

# With these notices, of which only Redis' own cloud service sends any, the asynchronous half of
# redis-py takes a connection that the server has closed for one with news, and the first call
# after a restart of Redis fails. Older redis-py has neither.
try:
    from redis.maint_notifications import MaintNotificationsConfig
except ImportError:  # pragma: no cover
    _WITHOUT_MAINTENANCE_NOTICES: dict[str, Any] = {}
else:
    _WITHOUT_MAINTENANCE_NOTICES = {
        "maint_notifications_config": MaintNotificationsConfig(enabled=False)
    }


#: A command of Redis, its name first.
Command: TypeAlias = tuple[str | bytes | int, ...]

# Up to redis-py 5.2 a connection is asked for with the name of a command; later ones warn of it.
_command_name = inspect.signature(redis.ConnectionPool.get_connection).parameters["command_name"]
_FOR = ("PUBLISH",) if _command_name.default is inspect.Parameter.empty else ()


class RedisPool:
    """Pooled clients for one Redis address.

    Args:
        host: as channels_redis takes it: ``{"address": "redis://..."}``,
            ``{"host": ..., "port": ...}``, or ``{"master_name": ..., "sentinels": [...]}``;
            all other keys are redis-py connection options.
        timeout_seconds: for connecting, for each command, and for a free connection.
        max_connections: the size of each pool; further callers wait for a free connection.
    """

    def __init__(
        self,
        host: Mapping[str, Any],
        *,
        timeout_seconds: float = 2.0,
        max_connections: int = 20,
    ) -> None:
        self._host = dict(host)
        self.timeout_seconds = timeout_seconds
        self.max_connections = max_connections
        self.address = printable_address(host)
        self.name = f"Redis at {self.address}"
        self._sync: redis.Redis | None = None
        self._lock = threading.Lock()
        self._kept: list[Any] = []  # taken out of the pool; see `_keep`
        self._reachable = _Reachable(self.name)
        self._async: dict[asyncio.AbstractEventLoop, redis.asyncio.Redis] = {}

    def sync_client(self) -> redis.Redis:
        """The client for threads. redis-py makes its pool anew in a forked child."""
        if self._sync is None:
            with self._lock:
                if self._sync is None:
                    self._sync = cast("redis.Redis", self._client(redis, Retry(NoBackoff(), 0)))
        return self._sync

    def async_client(self) -> redis.asyncio.Redis:
        """The client of the running event loop, closed when that loop shuts down."""
        loop = asyncio.get_running_loop()
        client = self._async.get(loop)
        if client is None:
            forget_closed_loops(self._async)
            client = self._async[loop] = cast(
                "redis.asyncio.Redis",
                self._client(redis.asyncio, redis.asyncio.retry.Retry(NoBackoff(), 0)),
            )
            at_loop_shutdown(self._close_client, loop)
        return client

    async def _close_client(self, loop: asyncio.AbstractEventLoop) -> None:
        client = self._async.pop(loop, None)
        if client is None:
            return
        await client.aclose(close_connection_pool=True)
        manager = getattr(client.connection_pool, "sentinel_manager", None)
        for sentinel in manager.sentinels if manager is not None else ():
            await sentinel.aclose(close_connection_pool=True)

    def reachable(self) -> AbstractContextManager[None]:
        """Turn what redis-py raises for a Redis that does not serve into `StoreUnavailable`."""
        return self._reachable

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands together and read their replies: one round trip.

        Returns:
            The reply to each command; one that Redis refused has an exception in its place.

        Raises:
            StoreUnavailable: Redis did not answer in time. The commands may have been carried
                out all the same; they are not sent again.
        """
        with self._reachable:
            connection = self._take()
            try:
                connection.send_packed_command([b"".join(map(packed, commands))])
                replies = [_reply(connection) for _ in commands]
            except BaseException:
                # A reply that is left unread would be taken for that of another command.
                connection.disconnect()
                self.sync_client().connection_pool.release(connection)
                raise
            self._keep(connection)
            return replies

    def _take(self) -> Any:
        """A connection of the pool: the one that is kept aside, if it is there and ready."""
        try:
            connection = self._kept.pop()
        except IndexError:
            return self.sync_client().connection_pool.get_connection(*_FOR)
        if _is_ready(connection):
            return connection
        if connection.pid == os.getpid():  # else it is the parent's, and so is its place
            connection.disconnect()
            self.sync_client().connection_pool.release(connection)
        return self._take()

    def _keep(self, connection: Any) -> None:
        """Keep one connection aside: the pool's own book-keeping takes as long as a PUBLISH."""
        if self._kept or self.max_connections == 1:
            self.sync_client().connection_pool.release(connection)
        else:
            self._kept.append(connection)

    async def aexchange(self, commands: Sequence[Command]) -> list[Any]:
        """The twin of `exchange`."""
        with self._reachable:
            async with self.async_client().pipeline(transaction=False) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)
                return await pipeline.execute(raise_on_error=False)

    def _client(self, kind: Any, retry: Any) -> Any:
        """A client of redis-py's synchronous or asynchronous half, which mirror each other."""
        options = {
            "socket_timeout": self.timeout_seconds,
            "socket_connect_timeout": self.timeout_seconds,
            **_WITHOUT_MAINTENANCE_NOTICES,
            **self._host,
            "retry": retry,
        }
        bounds = {"max_connections": self.max_connections, "timeout": self.timeout_seconds}
        if "address" in options:
            address = options.pop("address")
            pool = kind.BlockingConnectionPool.from_url(address, **options, **bounds)
        elif "master_name" in options:
            return self._sentinel_client(kind, options)
        else:
            pool = kind.BlockingConnectionPool(**options, **bounds)
        return kind.Redis(connection_pool=pool)

    def _sentinel_client(self, kind: Any, options: dict[str, Any]) -> Any:
        master_name = options.pop("master_name")
        # The Sentinels are asked within the same time, unless they have options of their own.
        timeouts = {key: options[key] for key in ("socket_timeout", "socket_connect_timeout")}
        asked_with = {**timeouts, **(options.pop("sentinel_kwargs", None) or {})}
        sentinel = kind.Sentinel(options.pop("sentinels"), sentinel_kwargs=asked_with)
        return sentinel.master_for(master_name, max_connections=self.max_connections, **options)


class _Reachable:
    """See `RedisPool.reachable`; made once, as every call enters it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, redis.ResponseError):
            if _refuses_service(error):
                raise StoreUnavailable(
                    f"{self._name} does not serve ({type(error).__name__}): {error}"
                ) from error
        elif isinstance(error, redis.ConnectionError) and "No connection available" in str(error):
            raise StoreUnavailable(
                f"All connections of this process to {self._name} were in use for too long. Raise "
                "REDIS_POOL_SIZE, or the layer's max_connections, above the number of threads that "
                "send at once."
            ) from error
        elif isinstance(error, redis.ConnectionError | redis.TimeoutError | OSError):
            raise StoreUnavailable(
                f"{self._name} cannot be reached ({_why(error)}). Check that it runs "
                "and that the address is right."
            ) from error


def packed(command: Command) -> bytes:
    """A command as Redis reads it."""
    parts = [b"*%d\r\n" % len(command)]
    for part in command:
        data = part if isinstance(part, bytes) else str(part).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


def _is_ready(connection: Any) -> bool:
    """Whether a connection is this process's, open, and has no reply waiting."""
    try:
        return connection.pid == os.getpid() and not connection.can_read()
    except (redis.ConnectionError, redis.TimeoutError, OSError):
        return False


def _reply(connection: Any) -> Any:
    """The next reply, be it a refusal."""
    try:
        return connection.read_response()
    except redis.ResponseError as refusal:
        return refusal


#: With these words begin the errors of a Redis that does not serve just now.
_STATES = ("MISCONF", "BUSY ", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN")


def _refuses_service(error: redis.ResponseError) -> bool:
    """Whether it is Redis' state that is wrong (read-only, out of memory, ...), not the call."""
    states = (
        redis.exceptions.ReadOnlyError,
        redis.exceptions.OutOfMemoryError,
        redis.exceptions.NoPermissionError,
    )
    return isinstance(error, states) or str(error).startswith(_STATES)


def _why(error: Exception) -> str:
    """The reason in a few words; never the error's own text, which may hold a URL."""
    if isinstance(error, redis.TimeoutError | TimeoutError):
        return "no answer in time"
    if isinstance(error, redis.AuthenticationError):
        return "wrong password"
    cause: BaseException | None = error
    while cause is not None:  # the asynchronous half of redis-py wraps it once more
        if isinstance(cause, ConnectionRefusedError):
            return "connection refused"
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__


_pools: dict[str, RedisPool] = {}
_pools_lock = threading.Lock()


def pool_for(
    host: Mapping[str, Any], *, timeout_seconds: float = 2.0, max_connections: int = 20
) -> RedisPool:
    """The pool of this process for a host: the same options give the same pool."""
    key = repr((sorted(host.items(), key=lambda item: item[0]), timeout_seconds, max_connections))
    with _pools_lock:
        if key not in _pools:
            _pools[key] = RedisPool(
                host, timeout_seconds=timeout_seconds, max_connections=max_connections
            )
        return _pools[key]


def printable_address(host: Mapping[str, Any]) -> str:
    """The address of a host for messages and logs: no user name, no password, no options."""
    if "address" in host:
        url = urlsplit(host["address"])
        return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
    if "master_name" in host:
        return f"sentinel master {host['master_name']}"
    if "path" in host:
        return f"unix://{host['path']}"
    return f"{host.get('host', 'localhost')}:{host.get('port', 6379)}"


_closers: set[AsyncGenerator[None, None]] = set()


def at_loop_shutdown(
    close: Callable[[asyncio.AbstractEventLoop], Awaitable[None]],
    loop: asyncio.AbstractEventLoop,
) -> None:
    """Await ``close(loop)`` when the running loop shuts down.

    A loop finalises its asynchronous generators before it closes (asyncio.run, uvicorn,
    async_to_sync and pytest-asyncio all ask it to), so a generator that is suspended for
    the loop's whole life gets its `finally` run in time, and no loop.close() is patched.
    """

    async def until_shutdown() -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            _closers.discard(generator)
            await close(loop)

    generator = until_shutdown()
    _closers.add(generator)  # the loop itself holds it weakly
    # One step by hand runs it up to its `yield`, which registers it with the loop.
    with suppress(StopIteration):
        generator.__anext__().send(None)
