"""What one connection collects before it sends it, in one frame for each lane."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable

from wsadapter.wire.batches import Batch, Collector, as_item
from wsadapter.wire.lanes import Priority
from wsadapter.wire.payload import Frame

Taken = asyncio.Future[bool]
Send = Callable[[str, Priority, list[Taken]], None]


class Batching:
    """The messages of one connection that wait for others to leave with.

    Args:
        batch: when they leave.
        send: takes a frame, its lane, and whoever waits for something in it.
    """

    __slots__ = ("_batch", "_collectors", "_ids", "_send", "_timers", "_waiting")

    def __init__(self, batch: Batch, send: Send) -> None:
        self._batch = batch
        self._send = send
        self._ids = itertools.count(1)
        # Only a lane that has something is in these.
        self._collectors: dict[Priority, Collector] = {}
        self._timers: dict[Priority, asyncio.TimerHandle] = {}
        self._waiting: dict[Priority, list[Taken]] = {}

    def collect(
        self,
        frame: Frame,
        priority: Priority,
        taken: Taken | None = None,
        *,
        apart: bool = False,
    ) -> bool:
        """Collect a frame, unless it has to leave by itself: what is urgent, or binary.

        What has been collected in its lane leaves before it then.

        Args:
            taken: whoever waits for it.
            apart: keep what somebody waits for apart from what nobody does. Where much waits for
                the client, the one may not be dropped, and the other has to be bounded.

        Returns:
            Whether it was collected.
        """
        if priority is Priority.URGENT:
            return False
        if isinstance(frame, bytes):
            self.flush(priority)
            return False
        is_alike = (taken is not None) is (priority in self._waiting)
        if apart and not is_alike:
            self.flush(priority)
        self._add(as_item(frame), priority, taken)
        return True

    def flush(self, priority: Priority) -> None:
        """Send what a lane has."""
        collector = self._collectors.pop(priority, None)
        if collector is None:
            return
        self._timers.pop(priority).cancel()
        waiting = self._waiting.pop(priority, [])
        frame = collector.take(next(self._ids), time.time_ns() // 1_000_000)
        self._send(frame, priority, waiting)

    def flush_all(self) -> None:
        """Send everything, the most urgent first."""
        for priority in sorted(self._collectors):
            self.flush(priority)

    def drop_all(self) -> list[Taken]:
        """Forget everything. Returns whoever waits for it."""
        for timer in self._timers.values():
            timer.cancel()
        waiting = [taken for lane in self._waiting.values() for taken in lane]
        self._collectors, self._timers, self._waiting = {}, {}, {}
        return waiting

    def _add(self, item: str, priority: Priority, taken: Taken | None) -> None:
        collector = self._collectors.get(priority)
        if collector is not None and not collector.has_room(item):
            self.flush(priority)
            collector = None
        loop = asyncio.get_running_loop()
        if collector is None:
            collector = self._collectors[priority] = Collector(self._batch)
            collector.add(item, loop.time())
            self._timers[priority] = loop.call_at(collector.due, self.flush, priority)
        else:
            collector.add(item, loop.time())
        if taken is not None:
            self._waiting.setdefault(priority, []).append(taken)
        if collector.full:
            self.flush(priority)
