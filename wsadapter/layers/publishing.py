"""Publishing on any channel layer, from synchronous and asynchronous code.

A layer class that is known exactly is published on natively: one Redis round trip, no event
loop. A subclass, a wrapper or any other layer gets its own ``group_send`` called: slower,
never broken. Channels' in-memory layer and what is derived from it get it called on the loop
that serves, as their queues know no other.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import redis
from channels.layers import InMemoryChannelLayer as StockInMemoryChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer
from channels_redis.serializers import JSONSerializer
from channels_redis.utils import _consistent_hash, decode_hosts

from wsadapter.errors import StoreUnavailable
from wsadapter.layers import client_ids
from wsadapter.layers.memory import InMemoryChannelLayer
from wsadapter.layers.redis import RedisChannelLayer
from wsadapter.redis_pool import RedisPool, pool_for
from wsadapter.wire.orders import Kick, Message, Push

logger = logging.getLogger("wsadapter.publishing")

Loop = asyncio.AbstractEventLoop


@dataclass(frozen=True, slots=True)
class Post:
    """One order for a group, or for the one client that the group is made for."""

    group: str
    order: Push | Kick
    client_id: str | None = None


Command = tuple[str | bytes | int, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """A command of the store that may travel in the same round trip as the posts.

    Publishers that do not talk to that Redis leave it unanswered.
    """

    pool: RedisPool
    command: Command


class Published:
    """What came of publishing.

    Attributes:
        processes: server processes reached, the most that one post reached, or None where
            the layer cannot know.
        reply: Redis' reply to the question that travelled along, if one did.
    """

    __slots__ = ("processes", "reply")

    def __init__(self, processes: int | None, reply: Any = None) -> None:
        self.processes = processes
        self.reply = reply


class Publisher(Protocol):
    """Puts posts on a layer, and a question beside them where that saves a round trip."""

    def publish(self, posts: Sequence[Post], question: Question | None = None) -> Published: ...

    async def apublish(
        self, posts: Sequence[Post], question: Question | None = None
    ) -> Published: ...


def publisher_for(
    layer: Any,
    serving_loops: Callable[[], Sequence[Loop]],
    *,
    timeout_seconds: float,
    max_connections: int,
) -> Publisher:
    """The way to publish on a layer, chosen by its exact class; see the top of this module.

    Args:
        layer: any channel layer.
        serving_loops: the event loops of this process that serve connections.
        timeout_seconds: for everything that waits for Redis.
        max_connections: the size of the pool of connections for publishing.
    """
    kind = type(layer)
    if kind is RedisChannelLayer or kind is RedisPubSubChannelLayer:
        return RedisPublisher(
            layer, timeout_seconds=timeout_seconds, max_connections=max_connections
        )
    if kind is InMemoryChannelLayer:
        return MemoryPublisher(layer)
    if isinstance(layer, StockInMemoryChannelLayer):
        return StockMemoryPublisher(layer, serving_loops, timeout_seconds)
    return LayerPublisher(layer, timeout_seconds)


#: The layers, as settings name them, that reach nobody outside their process.
IN_MEMORY_BACKENDS = (
    "wsadapter.layers.InMemoryChannelLayer",
    "wsadapter.layers.memory.InMemoryChannelLayer",
    "channels.layers.InMemoryChannelLayer",
)


def is_in_memory(layer: Any) -> bool:
    """Whether a layer reaches nobody outside this process."""
    return isinstance(layer, InMemoryChannelLayer | StockInMemoryChannelLayer)


class RedisPublisher:
    """PUBLISH over a pooled connection of the caller's kind."""

    def __init__(self, layer: Any, *, timeout_seconds: float, max_connections: int) -> None:
        self._layer = layer
        self._own = type(layer) is RedisChannelLayer
        options = {} if self._own else layer._kwargs
        self._prefix = layer.prefix if self._own else options.get("prefix", "asgi")
        hosts = layer.hosts if self._own else decode_hosts(_hosts_of(layer))
        self.pools: list[RedisPool] = [
            pool_for(host, timeout_seconds=timeout_seconds, max_connections=max_connections)
            for host in hosts
        ]
        self._carries_bytes = not isinstance(layer._serializer, JSONSerializer)

    def publish(self, posts: Sequence[Post], question: Question | None = None) -> Published:
        reached, reply = [0], None
        for pool, commands in self._by_pool(posts).items():
            along = question.command if question and question.pool is pool else None
            with pool.reachable(), pool.sync_client().pipeline(transaction=False) as pipeline:
                _fill(pipeline, commands, along)
                replies = pipeline.execute(raise_on_error=False)
                reached += _counts(replies[: len(commands)])
            reply = replies[-1] if along else reply
        return Published(max(reached), reply)

    async def apublish(self, posts: Sequence[Post], question: Question | None = None) -> Published:
        reached, reply = [0], None
        for pool, commands in self._by_pool(posts).items():
            along = question.command if question and question.pool is pool else None
            with pool.reachable():
                async with pool.async_client().pipeline(transaction=False) as pipeline:
                    _fill(pipeline, commands, along)
                    replies = await pipeline.execute(raise_on_error=False)
                    reached += _counts(replies[: len(commands)])
            reply = replies[-1] if along else reply
        return Published(max(reached), reply)

    def _by_pool(self, posts: Sequence[Post]) -> dict[RedisPool, list[tuple[str, bytes]]]:
        payloads: dict[int, bytes] = {}
        commands: dict[RedisPool, list[tuple[str, bytes]]] = {}
        for post in posts:
            key = id(post.order)  # one order for many users is serialised once
            if key not in payloads:
                payloads[key] = self._layer.serialize(
                    as_message(post.order, carries_bytes=self._carries_bytes)
                )
            name = self._name(post)
            pool = self.pools[_consistent_hash(name, len(self.pools))]
            commands.setdefault(pool, []).append((name, payloads[key]))
        return commands

    def _name(self, post: Post) -> str:
        if self._own and post.client_id is not None:
            channel = client_ids.channel_of(post.client_id, self._prefix)
            if channel is not None:
                return channel
        return f"{self._prefix}__group__{post.group}"


class MemoryPublisher:
    """Delivery within this process, on the loops that own the members."""

    def __init__(self, layer: InMemoryChannelLayer) -> None:
        self._layer = layer

    def publish(self, posts: Sequence[Post], question: Question | None = None) -> Published:
        reached = max((self._deliver(post) for post in posts), default=0)
        if not self._layer.serves:
            nobody_here.say()
        return Published(reached)

    async def apublish(self, posts: Sequence[Post], question: Question | None = None) -> Published:
        return self.publish(posts)

    def _deliver(self, post: Post) -> int:
        message = as_message(post.order, carries_bytes=True)
        if post.client_id is not None:
            channel = client_ids.channel_of(post.client_id)
            if channel is not None:
                return self._layer.deliver_to_channel(channel, message)
        return self._layer.deliver_to_group(post.group, message)


class StockMemoryPublisher:
    """Channels' own in-memory layer, whose queues may only be touched on the server's loop."""

    def __init__(
        self,
        layer: StockInMemoryChannelLayer,
        serving_loops: Callable[[], Sequence[Loop]],
        timeout_seconds: float,
    ) -> None:
        self._layer = layer
        self._serving_loops = serving_loops
        self._timeout_seconds = timeout_seconds

    def publish(self, posts: Sequence[Post], question: Question | None = None) -> Published:
        loop = self._loop()
        if loop is None:
            return Published(0)
        with layer_reachable(self._layer):
            return _call(loop, self._send(posts), self._timeout_seconds)

    async def apublish(self, posts: Sequence[Post], question: Question | None = None) -> Published:
        loop = self._loop()
        if loop is None:
            return Published(0)
        if loop is asyncio.get_running_loop():
            return await self._send(posts)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._send(posts), loop))

    def _loop(self) -> Loop | None:
        loops = self._serving_loops()
        if loops:
            return loops[0]
        nobody_here.say()
        return None

    async def _send(self, posts: Sequence[Post]) -> Published:
        for post in posts:
            await self._layer.group_send(post.group, as_message(post.order, carries_bytes=True))
        return Published(int(any(post.group in self._layer.groups for post in posts)))


class LayerPublisher:
    """Any other layer, by its own ``group_send``."""

    def __init__(self, layer: Any, timeout_seconds: float) -> None:
        self._layer = layer
        self._timeout_seconds = timeout_seconds

    def publish(self, posts: Sequence[Post], question: Question | None = None) -> Published:
        with layer_reachable(self._layer):
            return _call(background.loop(), self._send(posts), self._timeout_seconds)

    async def apublish(self, posts: Sequence[Post], question: Question | None = None) -> Published:
        with layer_reachable(self._layer):
            async with asyncio.timeout(self._timeout_seconds):
                return await self._send(posts)

    async def _send(self, posts: Sequence[Post]) -> Published:
        for post in posts:
            # An unknown serialiser may not carry bytes; base64 passes through all of them.
            await self._layer.group_send(post.group, as_message(post.order, carries_bytes=False))
        return Published(None)


def as_message(order: Push | Kick, *, carries_bytes: bool) -> Message:
    """The layer message of an order."""
    if isinstance(order, Push):
        return order.to_message(carries_bytes=carries_bytes)
    return order.to_message()


class BackgroundLoop:
    """One event loop in a thread of its own, for layers that only speak asyncio.

    It is started when first needed and anew in a forked child, where the thread of the
    parent does not exist.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: Loop | None = None
        self._pid = 0

    def loop(self) -> Loop:
        if self._pid != os.getpid():
            with self._lock:
                if self._pid != os.getpid():
                    self._loop = self._start()
                    self._pid = os.getpid()
        assert self._loop is not None
        return self._loop

    def _start(self) -> Loop:
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, name="wsadapter-publisher", daemon=True).start()
        return loop


background = BackgroundLoop()


class SaidOnce:
    """A log line that is worth saying once per process."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._said = False

    def say(self) -> None:
        if not self._said:
            self._said = True
            logger.warning(self._text)


nobody_here = SaidOnce(
    "Nobody can be reached: this process serves no connection for what was sent, and an "
    "in-memory channel layer reaches no other process. For sending from Celery, WSGI or a "
    'command, configure "wsadapter.layers.RedisChannelLayer". (Said once per process.)'
)


def _call(
    loop: Loop, coroutine: Coroutine[Any, Any, Published], timeout_seconds: float
) -> Published:
    future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    try:
        return future.result(timeout_seconds)
    except TimeoutError:
        future.cancel()
        raise


@contextmanager
def layer_reachable(layer: Any) -> Iterator[None]:
    """Turn what a layer raises for an absent server into `StoreUnavailable`."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError, OSError, TimeoutError) as error:
        raise StoreUnavailable(
            f"The channel layer {type(layer).__name__} did not take the message in time "
            f"({type(error).__name__}). Check that its server runs."
        ) from error


def _hosts_of(layer: RedisPubSubChannelLayer) -> Any:
    # Its parameters in order: hosts, prefix, ... (RedisPubSubLoopLayer.__init__).
    return layer._args[0] if layer._args else layer._kwargs.get("hosts")


def _fill(pipeline: Any, commands: list[tuple[str, bytes]], along: Command | None) -> None:
    for name, payload in commands:
        pipeline.publish(name, payload)
    if along is not None:
        pipeline.execute_command(*along)


def _counts(replies: list[Any]) -> list[int]:
    """What each PUBLISH answered; a refusal by Redis is the caller's to know."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies
