"""Which local channels are in which group, and how one message reaches all of them.

One `Fanout` serves one event loop and is only ever touched from it, so it needs no locks.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from channels.exceptions import ChannelFull

from wsadapter import hooks
from wsadapter.corking import current_cork
from wsadapter.wire.orders import KICK, PUSH, REPORT_TO, Inspect, Kick, Message, Push

logger = logging.getLogger("wsadapter.layers")

Decode = Callable[[], Message]

FAILED = "A connection failed to take a message; the others have it."


class Member(Protocol):
    """Who receives what arrives on a channel."""

    def deliver(self, push: Push) -> None:
        """Take a frame for the browser; the same object goes to every local member."""

    def kick(self, kick: Kick) -> None:
        """Close the connection."""

    def inspect(self, inspect: Inspect) -> None:
        """Report how the connection is doing."""

    def event(self, message: Message) -> None:
        """Take a message of plain Channels code; the dict is the member's own."""

    def gap(self) -> None:
        """Learn that messages may have been missed."""


class Fanout:
    """The local channels of one event loop and the groups that they are in."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.groups: dict[str, dict[str, Member]] = {}
        self._groups_of: dict[str, set[str]] = {}

    def attach(self, channel: str, member: Member) -> None:
        """Let a channel's messages go to a member."""
        self.members[channel] = member
        for group in self._groups_of.get(channel, ()):
            self.groups[group][channel] = member

    def detach(self, channel: str) -> list[str]:
        """Forget a channel. Returns the groups that have no local member any more."""
        self.members.pop(channel, None)
        return [group for group in self._groups_of.pop(channel, ()) if self._drop(group, channel)]

    def join(self, group: str, channel: str) -> bool:
        """Add a channel to a group. Returns whether it is the group's first local one."""
        channels = self.groups.setdefault(group, {})
        first = not channels
        channels[channel] = self.members[channel]
        self._groups_of.setdefault(channel, set()).add(group)
        return first

    def leave(self, group: str, channel: str) -> bool:
        """Take a channel out of a group. Returns whether it was the group's last local one."""
        groups = self._groups_of.get(channel, set())
        if group not in groups:
            return False
        groups.remove(group)
        if not groups:
            del self._groups_of[channel]
        return self._drop(group, channel)

    def to_channel(self, channel: str, decode: Decode) -> bool:
        """Hand a message to one local channel. Returns whether there is such a channel."""
        member = self.members.get(channel)
        if member is None:
            return False
        hand_over([member], decode)
        return True

    def to_group(self, group: str, decode: Decode) -> bool:
        """Hand a message to a group's local channels. Returns whether there are any."""
        members = self.groups.get(group)
        if not members:
            return False
        # A copy: a member that is closed by the message leaves the group meanwhile.
        hand_over(list(members.values()), decode)
        return True

    def gap(self) -> None:
        """Tell every member that messages may have been missed."""
        for member in list(self.members.values()):
            member.gap()

    def _drop(self, group: str, channel: str) -> bool:
        channels = self.groups[group]
        channels.pop(channel, None)
        if channels:
            return False
        del self.groups[group]
        return True


def hand_over(members: list[Member], decode: Decode) -> None:
    """Decode once, whatever the number of members; a member that fails fails alone."""
    message = decode()
    kind = message.get("type")
    if kind == PUSH and REPORT_TO in message:
        inspect = Inspect.from_message(message)
        for member in members:
            _guarded(member.inspect, inspect)
    elif kind == PUSH:
        push = Push.from_message(message)
        measured = Measured(push, len(members)) if hooks.fanned_out else None
        for member in members:
            # In the loop itself, where it costs nothing: this is the hottest one there is.
            try:
                member.deliver(push)
            except Exception:
                logger.exception(FAILED)
        if measured is not None:
            measured.end()
    elif kind == KICK:
        kick = Kick.from_message(message)
        for member in members:
            _guarded(member.kick, kick)
    else:
        # Plain consumers own their message and may change it: each gets a fresh one.
        for index, member in enumerate(members):
            _guarded(member.event, decode() if index else message)


class Measured:
    """One fan-out, for those who observe it: from its begin to the last write."""

    __slots__ = ("_begun_at", "_members", "_push")

    def __init__(self, push: Push, members: int) -> None:
        self._push = push
        self._members = members
        self._begun_at = time.perf_counter()

    def end(self) -> None:
        """All have been handed the push; those that hold it back write at the end of the turn."""
        cork = current_cork()
        if cork.holding:
            cork.add(self)  # behind all that have something to write
        else:
            self.uncork()

    def uncork(self) -> None:
        seconds = time.perf_counter() - self._begun_at
        sent_at = self._push.sent_at
        hooks.fanned_out(self._members, seconds, None if sent_at is None else time.time() - sent_at)


def _guarded(deliver: Callable[[Any], None], what: Kick | Inspect | Message) -> None:
    try:
        deliver(what)
    except Exception:
        logger.exception(FAILED)


def foreign_channel(group: str, channel: str) -> RuntimeError:
    """What to raise when a channel that does not live here is to be added to a group."""
    return RuntimeError(
        f"{channel!r} is not a channel of this event loop. A consumer can only add its own: "
        f"await self.channel_layer.group_add({group!r}, self.channel_name)"
    )


class QueueMember:
    """The bounded queue of a plain Channels consumer.

    Args:
        channel: the name, for the log.
        capacity: messages that may wait; the newest is dropped beyond, counted and logged.
        expiry_seconds: a message that has waited for longer is dropped, counted and logged.
        clock: the time in seconds.

    Attributes:
        dropped: messages for which there was no room.
        expired: messages that waited for too long.
        readers: who is waiting in `get`, or is about to; kept by the layer.
    """

    def __init__(
        self,
        channel: str,
        capacity: int,
        *,
        expiry_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.channel = channel
        self.capacity = capacity
        self.expiry_seconds = expiry_seconds
        self.clock = clock
        self.dropped = 0
        self.expired = 0
        self.readers = 0
        #: The moment after which a message is too old, and the message; the oldest first.
        self._waiting: deque[tuple[float, Message]] = deque()
        self._arrived = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many messages wait."""
        return len(self._waiting)

    def deliver(self, push: Push) -> None:
        self.event(push.to_message(carries_bytes=True))

    def kick(self, kick: Kick) -> None:
        self.event(kick.to_message())

    def inspect(self, inspect: Inspect) -> None:
        """A plain consumer has nothing to report."""

    def event(self, message: Message) -> None:
        try:
            self.put(message)
        except ChannelFull:
            self._count_drop()

    def put(self, message: Message) -> None:
        """Queue a message.

        Raises:
            ChannelFull: as many wait as may.
        """
        if len(self._waiting) >= self.capacity:
            self._drop_expired()
        if len(self._waiting) >= self.capacity:
            raise ChannelFull(self.channel)
        self._waiting.append((self.clock() + self.expiry_seconds, message))
        self._arrived.set()

    def gap(self) -> None:
        """A plain consumer has no way to hear of it."""

    async def get(self) -> Message:
        while True:
            self._drop_expired()
            if self._waiting:
                return self._waiting.popleft()[1]
            self._arrived.clear()
            await self._arrived.wait()

    def _drop_expired(self) -> None:
        now = self.clock()
        while self._waiting and self._waiting[0][0] < now:
            self._waiting.popleft()
            self.expired += 1
            if self.expired == 1:
                logger.warning(
                    "A message on channel %s has waited for more than %g seconds and is dropped, "
                    "as further ones will be. Make the consumer faster, or raise the layer's "
                    "expiry.",
                    self.channel,
                    self.expiry_seconds,
                )

    def _count_drop(self) -> None:
        self.dropped += 1
        if hooks.event_dropped:
            hooks.event_dropped("channel")
        if self.dropped == 1:
            logger.warning(
                "The consumer on channel %s does not keep up: %d messages wait, further ones "
                "are dropped. Raise the layer's capacity or make the consumer faster.",
                self.channel,
                self.capacity,
            )
