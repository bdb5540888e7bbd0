"""One connection on a channel layer: its channel, its groups, and what arrives for it.

wsadapter's own layers hand messages over directly. Any other layer is read by a pump, one
task per connection, which survives whatever that layer raises.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable
from typing import Any, Protocol

import redis

from wsadapter import outages
from wsadapter.conf import settings
from wsadapter.corking import current_cork
from wsadapter.errors import StoreUnavailable
from wsadapter.event_loops import end_task
from wsadapter.layers import InMemoryChannelLayer, RedisChannelLayer, client_ids
from wsadapter.layers.fanout import Member, hand_over
from wsadapter.layers.publishing import SaidOnce, layer_reachable
from wsadapter.turns import turns
from wsadapter.wire.orders import Message

unreadable = SaidOnce(
    "A message on the channel layer cannot be read and is ignored, as further ones will be. "
    "Check that all processes use the same serialiser and encryption keys, and that nothing "
    "else writes under the layer's prefix. (Said once per process.)"
)

FIRST_RETRY_SECONDS = 0.05
LAST_RETRY_SECONDS = 1.0
#: What is not left within this time, the layer forgets by itself.
LEAVE_SECONDS = 2.0


class Membership(Protocol):
    """A channel of its own and the groups that it is in."""

    channel: str
    #: The client id that leads helpers straight to the channel, or None: a group has to.
    client_id: str | None
    #: When to call `renew` (monotonic seconds), or infinity where nothing expires.
    renew_at: float

    async def open(self, member: Member) -> None:
        """Get a channel whose messages go to the member."""

    async def join(self, groups: Iterable[str]) -> None: ...

    async def leave(self, group: str) -> None: ...

    async def renew(self) -> None:
        """Keep the layer from forgetting the groups."""

    async def close(self) -> None:
        """Leave all groups and give the channel up."""


def membership_of(layer: Any) -> Membership:
    """The way to be on a layer, chosen by its exact class."""
    if type(layer) in (RedisChannelLayer, InMemoryChannelLayer):
        return DirectMembership(layer)
    return PumpedMembership(layer)


class DirectMembership:
    """On one of wsadapter's own layers: no task, no queue."""

    def __init__(self, layer: RedisChannelLayer | InMemoryChannelLayer) -> None:
        self.channel = ""
        self.client_id: str | None = None
        self.renew_at = math.inf
        self._layer = layer

    async def open(self, member: Member) -> None:
        self.channel = await self._layer.open_channel(member)
        self.client_id = client_ids.of_channel(self.channel)

    async def join(self, groups: Iterable[str]) -> None:
        await self._layer.join(list(groups), self.channel)

    async def leave(self, group: str) -> None:
        await self._layer.group_discard(group, self.channel)

    async def renew(self) -> None:
        """Membership on an own layer does not expire."""

    async def close(self) -> None:
        if self.channel:
            await self._layer.detach(self.channel)


class PumpedMembership:
    """On any other layer, by nothing but the Channels API."""

    def __init__(self, layer: Any) -> None:
        self.channel = ""
        self.client_id: str | None = None
        self._layer = layer
        self._layer_name = f"The server of the channel layer {type(layer).__name__}"
        self._groups: set[str] = set()
        self._pump: asyncio.Task[None] | None = None
        # Channels' core layer forgets groups that were joined longer ago than this.
        self._renew_after_seconds: float = getattr(layer, "group_expiry", 86400) / 3
        self.renew_at = time.monotonic() + self._renew_after_seconds

    async def open(self, member: Member) -> None:
        with layer_reachable(self._layer):
            async with turns().turn(settings.redis_timeout):
                self.channel = await self._layer.new_channel()
        self._pump = asyncio.get_running_loop().create_task(self._run(member))

    async def join(self, groups: Iterable[str]) -> None:
        self._groups.update(groups)
        with layer_reachable(self._layer):
            for group in groups:
                await self._layer.group_add(group, self.channel)

    async def leave(self, group: str) -> None:
        self._groups.discard(group)
        with layer_reachable(self._layer):
            await self._layer.group_discard(group, self.channel)

    async def renew(self) -> None:
        self.renew_at = time.monotonic() + self._renew_after_seconds
        await self.join(set(self._groups))

    async def close(self) -> None:
        if self._pump is None:
            return
        try:
            async with turns().turn(LEAVE_SECONDS):
                for group in list(self._groups):
                    await self.leave(group)
        finally:
            await end_task(self._pump)

    async def _run(self, member: Member) -> None:
        retry_seconds = FIRST_RETRY_SECONDS
        lost = False
        while True:
            try:
                if lost:
                    await self.join(set(self._groups))
                    member.gap()
                    lost = False
                    outages.ends(self._layer_name)
                message = await self._layer.receive(self.channel)
                retry_seconds = FIRST_RETRY_SECONDS
                self._hand_over(member, message)
            except redis.TimeoutError:
                continue  # nothing arrived within the socket's own timeout
            except (redis.ConnectionError, OSError, StoreUnavailable) as error:
                outages.begins(self._layer_name, error)
                lost = True
                await asyncio.sleep(retry_seconds)
                retry_seconds = min(retry_seconds * 2, LAST_RETRY_SECONDS)
            except Exception:
                unreadable.say()
                await asyncio.sleep(retry_seconds)

    def _hand_over(self, member: Member, message: Message) -> None:
        if not isinstance(message.get("type"), str):
            raise TypeError("expected a message with a type")
        hand_over([member], lambda: message)
        current_cork().hold()  # what follows in the same turn leaves in one write
