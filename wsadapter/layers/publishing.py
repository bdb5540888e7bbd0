"""Publishing on any channel layer, from synchronous and asynchronous code.

A layer class that is known exactly is published on natively: one Redis round trip, no event
loop. A subclass, a wrapper or any other layer gets its own ``group_send`` called: slower,
never broken. Channels' in-memory layer and what is derived from it get it called on the loop
that serves, as their queues know no other. Very many posts go in parts of a bounded size.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import msgspec
import redis
from channels.layers import InMemoryChannelLayer as StockInMemoryChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer
from channels_redis.serializers import JSONSerializer
from channels_redis.utils import _consistent_hash, decode_hosts

from wsadapter.errors import StoreUnavailable
from wsadapter.layers import client_ids
from wsadapter.layers.memory import InMemoryChannelLayer
from wsadapter.layers.redis import RedisChannelLayer
from wsadapter.redis_pool import Command, RedisPool, pool_for
from wsadapter.wire.orders import Message, Order, Push

logger = logging.getLogger("wsadapter.publishing")

Loop = asyncio.AbstractEventLoop


class Post(msgspec.Struct, frozen=True):
    """One order for a group, or for the one client that the group is made for.

    Attributes:
        sequence: whoever publishes it stamps it first, with the next place in the sequence of
            the group.
    """

    group: str
    order: Order
    client_id: str | None = None
    sequence: bool = False

    @property
    def size(self) -> int:
        """The bytes of its frames."""
        return self.order.total_size if isinstance(self.order, Push) else 0


class Question(msgspec.Struct, frozen=True):
    """A command of the store that may travel in the same round trip as the posts.

    Publishers that do not talk to that Redis leave it unanswered.

    Attributes:
        parse: makes an answer of what Redis replied.
    """

    pool: RedisPool
    command: Command
    parse: Callable[[Any], Any]


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
    """Puts posts on a layer, and a question beside them where that saves a round trip.

    For any number of posts there are `publish_all` and `apublish_all`.
    """

    def publish(self, posts: Sequence[Post], question: Question | None = None) -> Published: ...

    async def apublish(
        self, posts: Sequence[Post], question: Question | None = None
    ) -> Published: ...


#: What leaves in one round trip. Redis closes a subscriber for which too much waits in it, and
#: what is packed for the round trip is in our memory twice.
MOST_POSTS_AT_ONCE = 500
MOST_BYTES_AT_ONCE = 1024 * 1024


def publish_all(publisher: Publisher, posts: Sequence[Post]) -> Published:
    """Publish in order: in one round trip, or in several of a bounded size.

    Raises:
        StoreUnavailable: saying how many of the posts had been handed over before.
    """
    if len(posts) == 1:
        return publisher.publish(posts)
    tally = _Tally(len(posts))
    for chunk in in_chunks(posts):
        with tally.telling_how_far():
            tally.add(chunk, publisher.publish(chunk))
    return tally.published


async def apublish_all(publisher: Publisher, posts: Sequence[Post]) -> Published:
    """The twin of `publish_all`."""
    if len(posts) == 1:
        return await publisher.apublish(posts)
    tally = _Tally(len(posts))
    for chunk in in_chunks(posts):
        with tally.telling_how_far():
            tally.add(chunk, await publisher.apublish(chunk))
    return tally.published


def in_chunks(posts: Iterable[Post]) -> Iterator[list[Post]]:
    """The posts in their order, as many together as may leave at once; never none."""
    chunk: list[Post] = []
    size = 0
    for post in posts:
        if chunk and (len(chunk) == MOST_POSTS_AT_ONCE or size + post.size > MOST_BYTES_AT_ONCE):
            yield chunk
            chunk, size = [], 0
        chunk.append(post)
        size += post.size
    if chunk:
        yield chunk


class _Tally:
    """How far the publishing of many posts has come."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._handed_over = 0
        self.published = Published(0)

    def add(self, chunk: list[Post], published: Published) -> None:
        self._handed_over += len(chunk)
        if published.processes is None or self.published.processes is None:
            self.published.processes = None
        else:
            self.published.processes = max(self.published.processes, published.processes)

    @contextmanager
    def telling_how_far(self) -> Iterator[None]:
        try:
            yield
        except StoreUnavailable as error:
            raise StoreUnavailable(
                f"{error} {self._handed_over} of {self._total} messages had been handed over "
                "before; how far the others came is not known."
            ) from error.__cause__


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
        published = Published(0)
        for pool, commands in self._by_pool(posts, question).items():
            _note(published, pool, pool.exchange(commands), question)
        return published

    async def apublish(self, posts: Sequence[Post], question: Question | None = None) -> Published:
        published = Published(0)
        for pool, commands in self._by_pool(posts, question).items():
            _note(published, pool, await pool.aexchange(commands), question)
        return published

    def _by_pool(
        self, posts: Sequence[Post], question: Question | None
    ) -> dict[RedisPool, list[Command]]:
        payloads: dict[int, bytes] = {}
        commands: dict[RedisPool, list[Command]] = {}
        for post in posts:
            key = id(post.order)  # one order for many users is serialised once
            if key not in payloads:
                payloads[key] = self._layer.serialize(
                    as_message(post.order, carries_bytes=self._carries_bytes)
                )
            name = self._name(post)
            pool = self.pools[_consistent_hash(name, len(self.pools))]
            commands.setdefault(pool, []).append(("PUBLISH", name, payloads[key]))
        if question is not None and question.pool in commands:
            commands[question.pool].append(question.command)
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


def as_message(order: Order, *, carries_bytes: bool) -> Message:
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


def _note(
    published: Published, pool: RedisPool, replies: list[Any], question: Question | None
) -> None:
    """Add what one Redis answered; that it refused a post is the caller's to know."""
    if question is not None and question.pool is pool:
        published.reply = replies.pop()
    for reply in replies:
        if isinstance(reply, Exception):
            with pool.reachable():
                raise reply
    published.processes = max(published.processes or 0, *replies)
