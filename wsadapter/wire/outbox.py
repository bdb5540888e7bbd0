"""What waits to be sent to one client: bounded by bytes, ordered within a priority."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum, IntEnum
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Priority(IntEnum):
    """The lanes of an outbox. Order is a promise within a lane, not between lanes."""

    URGENT = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3


class Overflow(Enum):
    """What happens to a push that does not fit any more."""

    CLOSE = "close"
    DROP_OLDEST = "drop-oldest"
    DROP_NEWEST = "drop-newest"


class Outcome(Enum):
    """What became of an item that was put."""

    QUEUED = "queued"
    DROPPED = "dropped"
    FULL = "full"


class Outbox(Generic[Item]):
    """Four lanes of items with sizes in bytes.

    An item that is larger than the bound passes only while the outbox is empty, so that it
    can be sent at all.

    Args:
        max_bytes: the bound on the sum of the sizes.
        overflow: what a full outbox does.
        item_bytes: what an item costs beside its size, and counts for.
        on_drop: called with every item that an overflow drops.
    """

    def __init__(
        self,
        max_bytes: int,
        overflow: Overflow = Overflow.CLOSE,
        *,
        item_bytes: int = 0,
        on_drop: Callable[[Item], None],
    ) -> None:
        self.max_bytes = max_bytes
        self.overflow = overflow
        self.queued_bytes = 0
        self._item_bytes = item_bytes
        self._on_drop = on_drop
        # Only a lane that has something is there: an idle connection keeps none.
        self._lanes: dict[Priority, deque[tuple[Item, int]]] = {}

    def __len__(self) -> int:
        return sum(len(lane) for lane in self._lanes.values())

    def put(self, item: Item, size: int, priority: Priority = Priority.NORMAL) -> Outcome:
        """Queue an item of ``size`` bytes, or say why not."""
        size += self._item_bytes
        if self.queued_bytes and self.queued_bytes + size > self.max_bytes:
            if self.overflow is Overflow.CLOSE:
                return Outcome.FULL
            if self.overflow is Overflow.DROP_NEWEST or not self._make_room(size, priority):
                self._on_drop(item)
                return Outcome.DROPPED
        self._append(item, size, priority)
        return Outcome.QUEUED

    def put_control(self, item: Item, size: int, priority: Priority = Priority.URGENT) -> None:
        """Queue what must not be refused, whatever the bound: accept, close, a heartbeat."""
        self._append(item, size + self._item_bytes, priority)

    def _append(self, item: Item, size: int, priority: Priority) -> None:
        lane = self._lanes.get(priority)
        if lane is None:
            lane = self._lanes[priority] = deque()
            if len(self._lanes) > 1:
                self._lanes = dict(sorted(self._lanes.items()))
        lane.append((item, size))
        self.queued_bytes += size

    def pop(self) -> Item | None:
        """The next item: the oldest of the most urgent lane that has one."""
        for priority, lane in self._lanes.items():
            if lane:
                item, size = lane.popleft()
                self.queued_bytes -= size
                if not lane:
                    del self._lanes[priority]
                return item
        return None

    def clear(self) -> Iterator[Item]:
        """Take out everything, most urgent first."""
        while (item := self.pop()) is not None:
            yield item

    def _make_room(self, size: int, priority: Priority) -> bool:
        """Drop the oldest of the least urgent, never anything more urgent than the newcomer."""
        more_urgent = [lane for other, lane in self._lanes.items() if other < priority]
        kept = sum(kept_size for lane in more_urgent for _, kept_size in lane)
        if kept and kept + size > self.max_bytes:
            return False  # dropping would not help
        droppable = [lane for other, lane in self._lanes.items() if other >= priority]
        for lane in reversed(droppable):
            while lane and self.queued_bytes + size > self.max_bytes:
                dropped, dropped_size = lane.popleft()
                self.queued_bytes -= dropped_size
                self._on_drop(dropped)
        return True
