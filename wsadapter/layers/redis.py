"""A channel layer on Redis pub/sub that subscribes and decodes once per process.

On the wire it is channels_redis' ``RedisPubSubChannelLayer``: the same channel names, the same
serialisers, the same encryption. Old and new processes can run side by side.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import os
import re
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeAlias, cast

from channels.layers import BaseChannelLayer
from channels_redis.serializers import registry
from channels_redis.utils import _consistent_hash, decode_hosts

from wsadapter.errors import StoreUnavailable
from wsadapter.event_loops import forget_closed_loops
from wsadapter.layers.fanout import Fanout, Member, QueueMember, foreign_channel, hand_over
from wsadapter.layers.subscriber import Subscriber
from wsadapter.redis_pool import at_loop_shutdown, pool_for
from wsadapter.wire.orders import Message

logger = logging.getLogger("wsadapter.layers")

#: How long a channel stays whose creator has ended and that nobody reads.
ORPHAN_SECONDS = 1.0

#: With encryption keys set, older messages are refused, so that captured ones do not replay.
MAX_MESSAGE_AGE_SECONDS = 60

#: Who hears that Redis went away or is back: the consumers, by a message of that type, as with
#: channels_redis; or a function.
Hook: TypeAlias = str | Callable[[], Any]

#: What has a meaning in Redis' patterns.
_GLOB = re.compile(r"[\\*?\[\]]")


class RedisChannelLayer(BaseChannelLayer):
    """A complete Channels layer over Redis pub/sub.

    Args:
        hosts: as channels_redis takes them; several are sharded by name.
        prefix: of all Redis channel names.
        expiry: seconds for which a message may wait for a plain consumer.
        group_expiry: accepted for compatibility; membership ends with its consumer.
        capacity: messages that may wait for a plain consumer.
        channel_capacity: glob pattern -> capacity.
        symmetric_encryption_keys: the first encrypts, all of them decrypt.
        serializer_format: ``"msgpack"`` or ``"json"``, as registered in channels_redis.
        timeout_seconds: for each command.
        max_connections: the size of the pool for publishing.
        on_disconnect: told on each event loop when it loses a connection to Redis. A message
            type, such as ``"redis.disconnect"``, is sent to the loop's consumers; a function
            without arguments, which may be asynchronous and must not block, is called.
        on_reconnect: the same when Redis is back and everything is subscribed again.
        ignored: options of other layers; a line in the log names them.
    """

    extensions = ["groups", "flush"]

    def __init__(
        self,
        hosts: Any = None,
        prefix: str = "asgi",
        expiry: int = 60,
        group_expiry: int = 86400,
        capacity: int = 100,
        channel_capacity: dict[str, int] | None = None,
        symmetric_encryption_keys: list[str | bytes] | None = None,
        serializer_format: str = "msgpack",
        timeout_seconds: float = 2.0,
        max_connections: int = 20,
        on_disconnect: Hook | None = None,
        on_reconnect: Hook | None = None,
        **ignored: Any,
    ) -> None:
        super().__init__(expiry=expiry, capacity=capacity)
        self.channel_capacity = self.compile_capacities(channel_capacity or {})
        self.prefix = prefix
        self.hosts = decode_hosts(hosts)
        self.pools = [
            pool_for(host, timeout_seconds=timeout_seconds, max_connections=max_connections)
            for host in self.hosts
        ]
        self._serializer = registry.get_serializer(
            serializer_format,
            symmetric_encryption_keys=symmetric_encryption_keys,
            expiry=MAX_MESSAGE_AGE_SECONDS - 10 if symmetric_encryption_keys else None,
        )
        self.on_disconnect = _checked("on_disconnect", on_disconnect)
        self.on_reconnect = _checked("on_reconnect", on_reconnect)
        self._locals: dict[asyncio.AbstractEventLoop, LoopLayer] = {}
        self._counts: Counter[str] = Counter()
        self._counting = threading.Lock()
        if ignored:
            logger.warning(
                "RedisChannelLayer has no options %s and ignores them. "
                "Take them out of CHANNEL_LAYERS, or correct their spelling.",
                ", ".join(sorted(ignored)),
            )

    @property
    def undecodable(self) -> int:
        """Messages that were ignored since the process started: junk, another key, too old."""
        return self._counts["undecodable"]

    @property
    def reconnects(self) -> int:
        """How often a connection to Redis was lost and made anew: all event loops, all hosts."""
        return self._counts["reconnects"]

    def count(self, what: str) -> int:
        """Count something that has happened on any event loop. Returns how often it has."""
        with self._counting:
            self._counts[what] += 1
            return self._counts[what]

    def serialize(self, message: Message) -> bytes:
        return cast("bytes", self._serializer.serialize(message))

    def deserialize(self, payload: bytes) -> Message:
        return cast("Message", self._serializer.deserialize(payload))

    # The channel layer API

    async def new_channel(self, prefix: str = "specific.") -> str:
        return await self.local().new_channel(prefix)

    async def send(self, channel: str, message: Message) -> None:
        await self._publish(channel, message)

    async def receive(self, channel: str) -> Message:
        return await self.local().receive(channel)

    async def group_add(self, group: str, channel: str) -> None:
        if channel not in self.local().fanout.members:
            raise foreign_channel(group, channel)
        await self.local().join([group], channel)

    async def group_discard(self, group: str, channel: str) -> None:
        self.local().leave(group, channel)

    async def group_send(self, group: str, message: Message) -> None:
        await self._publish(self.group_channel(group), message)

    async def flush(self) -> None:
        await self.local().close()

    # What wsadapter's consumers and helpers use

    async def open_channel(self, member: Member) -> str:
        """A new channel for a member. Nothing is waited for: `join` waits for all at once."""
        return self.local().open_channel(member)

    async def detach(self, channel: str) -> None:
        await self.local().detach(channel)

    async def join(self, groups: list[str], channel: str) -> None:
        """Join several groups with one command per shard.

        On return what is sent to them, or to the channel itself, arrives.
        """
        await self.local().join(groups, channel)

    def group_channel(self, group: str) -> str:
        """The Redis channel of a group, spelt as channels_redis spells it."""
        return f"{self.prefix}__group__{group}"

    def shard(self, name: str) -> int:
        return cast("int", _consistent_hash(name, len(self.pools)))

    def local(self) -> LoopLayer:
        """The part of the layer that belongs to the running loop."""
        loop = asyncio.get_running_loop()
        found = self._locals.get(loop)
        if found is None:
            forget_closed_loops(self._locals)
            found = self._locals[loop] = LoopLayer(self)
            at_loop_shutdown(self._close_local, loop)
        return found

    async def _close_local(self, loop: asyncio.AbstractEventLoop) -> None:
        found = self._locals.pop(loop, None)
        if found is not None:
            await found.close()

    async def _publish(self, name: str, message: Message) -> None:
        pool = self.pools[self.shard(name)]
        with pool.reachable():
            await pool.async_client().publish(name, self.serialize(message))


class LoopLayer:
    """The fan-out and the subscriptions of one event loop."""

    def __init__(self, layer: RedisChannelLayer) -> None:
        self.layer = layer
        self.process = uuid.uuid4().hex[:16]
        self.fanout = Fanout()
        self._subscribers = [
            Subscriber(pool, self._on_message, on_lost=self._on_lost, on_gap=self._on_gap)
            for pool in layer.pools
        ]
        self._stem = self._stem_of("specific.")
        #: How many channels there are of each stem; with the last one its pattern goes.
        self._of_stem: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    def open_channel(self, member: Member) -> str:
        channel = self._stem + _random_part()
        self._attach(channel, member)
        # It leaves in one turn with what the member joins meanwhile, and costs no wait of its own.
        patterns = _patterns_for(channel)
        for subscriber in self._subscribers:
            subscriber.ask(patterns=patterns)
        return channel

    async def new_channel(self, prefix: str) -> str:
        channel = self._stem_of(prefix) + _random_part()
        # There before anything is awaited: else the last one that leaves meanwhile would end
        # the subscription that this one relies on.
        self._queue(channel)
        try:
            await self._subscribe([], channel)
        except BaseException:
            await self.detach(channel)
            raise
        self._follow_creator(channel)
        return channel

    def _follow_creator(self, channel: str) -> None:
        """Forget a channel soon after the task that made it has ended, if nobody reads it.

        Channels cancels receive() when a consumer ends, but not when it was a message of the
        layer that ended it.
        """
        loop, creator = asyncio.get_running_loop(), asyncio.current_task()
        assert creator is not None
        creator.add_done_callback(
            lambda _: loop.call_later(ORPHAN_SECONDS, self._forget_orphan, channel)
        )

    def _forget_orphan(self, channel: str) -> None:
        queue = self.fanout.members.get(channel)
        if isinstance(queue, QueueMember) and not queue.readers:
            self._begin(self.detach(channel))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _stem_of(self, prefix: str) -> str:
        return f"{self.layer.prefix}{prefix}{self.process}!"

    async def _subscribe(self, names: list[str], channel: str) -> None:
        """Subscribe to names on their shards and to the pattern of a channel on all of them.

        One pattern per process and shard serves all channels: a further channel costs nothing.
        """
        by_shard, patterns = self._by_shard(names), _patterns_for(channel)
        waits = []
        for shard, subscriber in enumerate(self._subscribers):
            if pending := subscriber.ask(by_shard.get(shard, ()), patterns):
                waits.append(subscriber.until_confirmed(pending))
        if len(waits) == 1:
            await waits[0]
        elif waits:
            await asyncio.gather(*waits)

    async def receive(self, channel: str) -> Message:
        is_new = channel not in self.fanout.members
        queue = self._queue(channel)
        queue.readers += 1
        try:
            if is_new:
                await self._subscribe([] if "!" in channel else [channel], channel)
            return await queue.get()
        except (asyncio.CancelledError, StoreUnavailable):
            # Channels cancels receive() when the consumer ends; it never says so otherwise.
            # What a general channel's last reader has not read is lost, as with channels_redis.
            if queue.readers == 1 and self.fanout.members.get(channel) is queue:
                await self.detach(channel)
            raise
        finally:
            queue.readers -= 1

    async def join(self, groups: Iterable[str], channel: str) -> None:
        # One string for all who are in a group, rather than one each.
        names = [sys.intern(self.layer.group_channel(group)) for group in groups]
        for name in names:
            self.fanout.join(name, channel)
        # Also those that have members already: their confirmation may still be on its way.
        await self._subscribe(names, channel)

    def leave(self, group: str, channel: str) -> None:
        name = self.layer.group_channel(group)
        if self.fanout.leave(name, channel):
            self._unsubscribe([name])

    def _attach(self, channel: str, member: Member) -> None:
        if channel not in self.fanout.members:
            self._of_stem[_stem_in(channel)] += 1
        self.fanout.attach(channel, member)

    async def detach(self, channel: str) -> None:
        """Forget a channel; with the last one, the connections to Redis are closed."""
        was_there = channel in self.fanout.members
        self._unsubscribe(self.fanout.detach(channel))
        if was_there:
            self._give_up(channel)
        if not self.fanout.members:
            await self._stop()

    def _give_up(self, channel: str) -> None:
        """Unsubscribe from a general channel, or from a pattern with its last channel."""
        stem = _stem_in(channel)
        self._of_stem[stem] -= 1
        if self._of_stem[stem]:
            return
        del self._of_stem[stem]
        if "!" not in channel:
            self._unsubscribe([channel])
        for subscriber in self._subscribers:
            subscriber.unsubscribe(patterns=_patterns_for(channel))

    async def close(self) -> None:
        """Forget all channels and groups and close the connections."""
        self.fanout = Fanout()
        self._of_stem.clear()
        await self._stop()

    async def _stop(self) -> None:
        # All of them begin to stop before anything is awaited, and whoever comes then is safe.
        await asyncio.gather(*(subscriber.stop() for subscriber in self._subscribers))

    def _unsubscribe(self, names: list[str]) -> None:
        for shard, of_shard in self._by_shard(names).items():
            self._subscribers[shard].unsubscribe(of_shard)

    def _by_shard(self, names: list[str]) -> dict[int, list[str]]:
        shards: dict[int, list[str]] = {}
        for name in names:
            shards.setdefault(self.layer.shard(name), []).append(name)
        return shards

    def _queue(self, channel: str) -> QueueMember:
        member = self.fanout.members.get(channel)
        if not isinstance(member, QueueMember):
            member = QueueMember(
                channel, self.layer.get_capacity(channel), expiry_seconds=self.layer.expiry
            )
            self._attach(channel, member)
        return member

    def _on_message(self, name: str, payload: bytes) -> None:
        try:
            if name in self.fanout.groups:
                self.fanout.to_group(name, lambda: self._decode(payload))
            elif "!" in name:
                self.fanout.to_channel(name, lambda: self._decode(payload))
            else:
                self._to_reader(name, payload)
        except Exception as error:
            # Junk, another key, another format: whoever sent it, nobody is disconnected.
            self._refuse(name, error)

    def _to_reader(self, general: str, payload: bytes) -> None:
        """A general channel is no consumer's: who reads it knows what is sent there."""
        reader = self.fanout.members.get(general)
        if reader is not None:
            reader.event(self.layer.deserialize(payload))

    def _decode(self, payload: bytes) -> Message:
        message = self.layer.deserialize(payload)
        if not isinstance(message, dict):
            raise TypeError(f"expected a dict, got {type(message).__name__}")
        if not isinstance(message.get("type"), str):
            raise TypeError("expected a message with a type")
        return message

    def _refuse(self, name: str, error: Exception) -> None:
        if self.layer.count("undecodable") == 1:
            logger.warning(
                "A message on the Redis channel %s cannot be decoded (%s) and is ignored, as "
                "further ones will be. Check that all processes use the same serializer_format "
                "and symmetric_encryption_keys, that their clocks agree, and that nothing else "
                "publishes under this prefix.",
                name,
                _reason(error),
            )

    def _on_lost(self) -> None:
        self._tell(self.layer.on_disconnect)

    def _on_gap(self) -> None:
        self.layer.count("reconnects")
        self.fanout.gap()
        self._tell(self.layer.on_reconnect)

    def _tell(self, hook: Hook | None) -> None:
        """Tell whom the project names; in a task, as nothing of it may harm the subscription."""
        if hook is None:
            return
        call = functools.partial(self._to_everybody, hook) if isinstance(hook, str) else hook
        self._begin(_called(call))

    def _to_everybody(self, kind: str) -> None:
        hand_over(list(self.fanout.members.values()), lambda: {"type": kind})


def _checked(option: str, hook: Hook | None) -> Hook | None:
    if hook is None or isinstance(hook, str) or callable(hook):
        return hook
    raise TypeError(
        f'{option} takes a message type, such as "redis.disconnect", or a function, not {hook!r}.'
    )


async def _called(call: Callable[[], Any]) -> None:
    try:
        result = call()
        if inspect.isawaitable(result):
            await result
    except Exception:
        logger.exception("What on_disconnect or on_reconnect calls has failed; all else goes on.")


def _reason(error: Exception) -> str:
    name, text = type(error).__name__, str(error)
    if name == "InvalidToken":  # of a package that is only there where messages are encrypted
        text = "wrong key or too old"
    return f"{name}: {text}" if text else name


def _stem_in(channel: str) -> str:
    """How all channels of the same kind and process begin; a general channel is its own."""
    return channel[: channel.rfind("!") + 1] or channel


def _patterns_for(channel: str) -> tuple[str, ...]:
    """The pattern that a channel arrives by; a general channel has none."""
    if "!" not in channel:
        return ()
    return (_GLOB.sub(r"\\\g<0>", _stem_in(channel)) + "*",)


def _random_part() -> str:
    return os.urandom(8).hex()
