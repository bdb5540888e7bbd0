"""What a stream sends: as fast as its client reads, and a lane's worth ahead of it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from wsadapter.batching import Taken
from wsadapter.errors import ConnectionClosed
from wsadapter.wire.lanes import Priority
from wsadapter.wire.payload import Frame, size_of

#: So many frames that were taken at once leave before others have their turn.
FRAMES_PER_TURN = 32


class Outflow:
    """Lets a sender go on until a lane is full of what its client has not taken.

    Args:
        post: queues a frame, and returns what tells whether it has left.
        closed_error: the error once the connection is over.
        lane_size: frames that may wait in each lane.
        max_bytes: what all of them together may have.
    """

    def __init__(
        self,
        post: Callable[[Frame, Priority], Taken],
        closed_error: Callable[[], ConnectionClosed],
        *,
        lane_size: int,
        max_bytes: int,
    ) -> None:
        self._post = post
        self._closed_error = closed_error
        self._lane_size = lane_size
        self._max_bytes = max_bytes
        # With the bytes of each, oldest first, as they leave; only a lane that waits is there.
        self._waiting: dict[Priority, deque[tuple[Taken, int]]] = {}
        self._bytes = 0
        self._at_once = 0

    async def send(self, frame: Frame, priority: Priority = Priority.NORMAL) -> None:
        """Queue a frame; returns once there is room for another one in its lane.

        Raises:
            ConnectionClosed: the connection is over, and something did not leave.
        """
        taken = self._post(frame, priority)
        if taken.done() and not self._waiting:
            self._check(taken)
            await self._give_way()
            return
        size = size_of(frame)
        self._waiting.setdefault(priority, deque()).append((taken, size))
        self._bytes += size
        self._forget_sent()
        while self._is_full(priority):
            await asyncio.wait([self._oldest(priority)])
            self._forget_sent()

    def _is_full(self, priority: Priority) -> bool:
        if not self._waiting:
            return False
        return (
            len(self._waiting.get(priority, ())) >= self._lane_size or self._bytes > self._max_bytes
        )

    def _oldest(self, priority: Priority) -> Taken:
        """What has to leave before there is room: of this lane, or of any."""
        lane = self._waiting.get(priority) or next(iter(self._waiting.values()))
        return lane[0][0]

    def _forget_sent(self) -> None:
        for priority, lane in list(self._waiting.items()):
            while lane and lane[0][0].done():
                taken, size = lane.popleft()
                self._bytes -= size
                self._check(taken)
            if not lane:
                del self._waiting[priority]

    def _check(self, taken: Taken) -> None:
        if not taken.result():
            raise self._closed_error()

    async def _give_way(self) -> None:
        """Let others have their turn: a loop that sends what is taken at once never waits."""
        self._at_once += 1
        if self._at_once == FRAMES_PER_TURN:
            self._at_once = 0
            await asyncio.sleep(0)
