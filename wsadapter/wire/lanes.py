"""What waits to be handled, in four lanes: the urgent first, and nobody for ever."""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Priority(IntEnum):
    """The four lanes, each way. Order is a promise within a lane, not between lanes."""

    URGENT = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3


#: How much may wait in one lane, where nothing else is said.
LANE_SIZE = 100

#: A lane that waits is served at least once in so many turns.
PATIENCE_TURNS = 100

# Early enough for all that are due at the same time, one after the other.
_DUE_AFTER = PATIENCE_TURNS - (len(Priority) - 1)


class Lanes(Generic[Item]):
    """One queue for each priority; order is a promise within a queue, not between them.

    How much may wait is for its owner to say.
    """

    __slots__ = ("_length", "_passed_over", "_queues")

    def __init__(self) -> None:
        # The most urgent first; only a lane that has something is there.
        self._queues: dict[Priority, deque[Item]] = {}
        # How many turns in a row each lane that waits has been passed over.
        self._passed_over: dict[Priority, int] = {}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def put(self, item: Item, priority: Priority = Priority.NORMAL) -> None:
        """Add an item behind those of its lane."""
        queue = self._queues.get(priority)
        if queue is None:
            queue = self._queues[priority] = deque()
            if len(self._queues) > 1:
                self._queues = dict(sorted(self._queues.items()))
        queue.append(item)
        self._length += 1

    def pop(self) -> Item:
        """Take the item whose turn it is.

        Raises:
            IndexError: nothing waits.
        """
        if not self._queues:
            raise IndexError("nothing waits")
        served = self._next()
        queue = self._queues[served]
        item = queue.popleft()
        self._length -= 1
        if not queue:
            del self._queues[served]
        return item

    def _next(self) -> Priority:
        """The most urgent lane, unless one has been passed over as often as may be."""
        first, *others = self._queues
        if not others:  # nearly always
            self._passed_over = {}
            return first
        # From the last in line, which has the least chance otherwise.
        due = (lane for lane in reversed(others) if self._turns_lost(lane) >= _DUE_AFTER)
        served = next(due, first)
        self._passed_over = {
            lane: self._turns_lost(lane) + 1 for lane in self._queues if lane is not served
        }
        return served

    def _turns_lost(self, lane: Priority) -> int:
        return self._passed_over.get(lane, 0)
