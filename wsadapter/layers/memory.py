"""A channel layer within one process: any thread may send, each loop's members receive."""

from __future__ import annotations

import asyncio
import os
import threading
import uuid
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from channels.layers import BaseChannelLayer

from wsadapter.corking import current_cork
from wsadapter.layers.fanout import Fanout, Member, QueueMember, foreign_channel
from wsadapter.wire.orders import Message


class InMemoryChannelLayer(BaseChannelLayer):
    """A complete Channels layer for one process: development, tests, single-process servers.

    Unlike the stock one it delivers on the loop that owns the member, so sending from another
    thread works, and it copies a message per plain consumer only, never per browser.

    Args:
        expiry: seconds for which a message may wait for a plain consumer.
        group_expiry: accepted for compatibility; membership ends with its consumer.
        capacity: messages that may wait for a plain consumer.
        channel_capacity: glob pattern -> capacity.
    """

    extensions = ["groups", "flush"]

    def __init__(
        self,
        expiry: int = 60,
        group_expiry: int = 86400,
        capacity: int = 100,
        channel_capacity: dict[str, int] | None = None,
    ) -> None:
        super().__init__(expiry=expiry, capacity=capacity)
        self.channel_capacity = self.compile_capacities(channel_capacity or {})
        self.process = uuid.uuid4().hex[:16]
        self._fanouts: dict[asyncio.AbstractEventLoop, Fanout] = {}
        self._lock = threading.Lock()

    # The channel layer API

    async def new_channel(self, prefix: str = "specific.") -> str:
        channel = self._new_name(prefix)
        self._queue(channel)
        return channel

    async def send(self, channel: str, message: Message) -> None:
        """Send to one channel.

        Raises:
            ChannelFull: the channel is one of this event loop, and as many wait as may.
        """
        self.require_valid_channel_name(channel)
        member = self.fanout().members.get(channel)
        if isinstance(member, QueueMember):
            member.put(deepcopy(message))
        elif not self.deliver_to_channel(channel, deepcopy(message)) and "!" not in channel:
            # A general channel's messages wait for its reader; a consumer that is gone has none.
            self._queue(channel).put(deepcopy(message))

    async def receive(self, channel: str) -> Message:
        self.require_valid_channel_name(channel)
        queue = self._queue(channel)
        queue.readers += 1
        try:
            return await queue.get()
        except asyncio.CancelledError:
            # Channels cancels receive() when the consumer ends; it never says so otherwise.
            if queue.readers == 1:
                self._give_up(channel, queue)
            raise
        finally:
            queue.readers -= 1

    def _give_up(self, channel: str, queue: QueueMember) -> None:
        """Forget a channel without readers; what waits in a general one, the next may read."""
        fanout = self.fanout()
        if fanout.members.get(channel) is queue and ("!" in channel or not queue.waiting):
            fanout.detach(channel)

    def _new_name(self, prefix: str) -> str:
        return f"{prefix}{self.process}!{os.urandom(8).hex()}"

    def _queue(self, channel: str) -> QueueMember:
        fanout = self.fanout()
        member = fanout.members.get(channel)
        if not isinstance(member, QueueMember):
            member = QueueMember(channel, self.get_capacity(channel), expiry_seconds=self.expiry)
            fanout.attach(channel, member)
        return member

    async def group_add(self, group: str, channel: str) -> None:
        self.require_valid_group_name(group)
        fanout = self.fanout()
        if channel not in fanout.members:
            if "!" in channel:
                raise foreign_channel(group, channel)
            self._queue(channel)
        fanout.join(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        self.require_valid_group_name(group)
        self.fanout().leave(group, channel)

    async def group_send(self, group: str, message: Message) -> None:
        self.require_valid_group_name(group)
        self.deliver_to_group(group, deepcopy(message))

    async def flush(self) -> None:
        with self._lock:
            self._fanouts.clear()

    # What wsadapter's consumers and helpers use

    @property
    def serves(self) -> bool:
        """Whether anybody in this process listens."""
        with self._lock:
            return any(fanout.members for fanout in self._fanouts.values())

    def fanout(self) -> Fanout:
        """The fan-out of the running loop."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if loop not in self._fanouts:
                self._forget_closed_loops()
                self._fanouts[loop] = Fanout()
            return self._fanouts[loop]

    async def open_channel(self, member: Member) -> str:
        """A new channel for a member."""
        channel = self._new_name("specific.")
        self.fanout().attach(channel, member)
        return channel

    async def detach(self, channel: str) -> None:
        self.fanout().detach(channel)

    async def join(self, groups: list[str], channel: str) -> None:
        for group in groups:
            self.fanout().join(group, channel)

    def deliver_to_group(self, group: str, message: Message) -> int:
        """Deliver from any thread. Returns the processes reached: 1 or 0."""
        return self._deliver(
            lambda fanout: group in fanout.groups,
            lambda fanout: fanout.to_group(group, lambda: deepcopy(message)),
        )

    def deliver_to_channel(self, channel: str, message: Message) -> int:
        """Deliver from any thread. Returns the processes reached: 1 or 0."""
        return self._deliver(
            lambda fanout: channel in fanout.members,
            lambda fanout: fanout.to_channel(channel, lambda: deepcopy(message)),
        )

    def _deliver(self, has: Callable[[Fanout], bool], hand_over: Callable[[Fanout], Any]) -> int:
        with self._lock:
            fanouts = [
                (loop, fanout)
                for loop, fanout in self._fanouts.items()
                if not loop.is_closed() and has(fanout)
            ]
        running = _running_loop()
        for loop, fanout in fanouts:
            if loop is running:
                _on_its_loop(hand_over, fanout)
            else:
                loop.call_soon_threadsafe(_on_its_loop, hand_over, fanout)
        return 1 if fanouts else 0

    def _forget_closed_loops(self) -> None:
        self._fanouts = {
            loop: fanout for loop, fanout in self._fanouts.items() if not loop.is_closed()
        }


def _on_its_loop(hand_over: Callable[[Fanout], Any], fanout: Fanout) -> None:
    hand_over(fanout)
    current_cork().hold()  # what follows in the same turn leaves in one write


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
