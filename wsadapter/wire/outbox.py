"""What waits to be sent to one client: bounded by bytes, ordered within a priority."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Generic, NamedTuple, TypeVar

from wsadapter.wire.lanes import Priority

Item = TypeVar("Item")


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


class Entry(NamedTuple, Generic[Item]):
    """An item in its lane."""

    item: Item
    size: int
    #: Whether it counts for the bound, and may be dropped.
    bounded: bool


class Outbox(Generic[Item]):
    """Four lanes of items with sizes in bytes.

    An item that is larger than the bound passes only while nothing else counts for it, so that
    it can be sent at all.

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
        #: Of everything that waits.
        self.queued_bytes = 0
        self._bounded_bytes = 0
        self._item_bytes = item_bytes
        self._on_drop = on_drop
        # Only a lane that has something is there: an idle connection keeps none.
        self._lanes: dict[Priority, deque[Entry[Item]]] = {}

    def __len__(self) -> int:
        return sum(len(lane) for lane in self._lanes.values())

    @property
    def is_empty(self) -> bool:
        return not self._lanes

    def put(self, item: Item, size: int, priority: Priority = Priority.NORMAL) -> Outcome:
        """Queue an item of ``size`` bytes, or say why not."""
        size += self._item_bytes
        if self._bounded_bytes and self._bounded_bytes + size > self.max_bytes:
            if self.overflow is Overflow.CLOSE:
                return Outcome.FULL
            if self.overflow is Overflow.DROP_NEWEST or not self._make_room(size, priority):
                self._on_drop(item)
                return Outcome.DROPPED
        self._append(Entry(item, size, bounded=True), priority)
        return Outcome.QUEUED

    def put_control(self, item: Item, size: int, priority: Priority = Priority.URGENT) -> None:
        """Queue what must not be refused, whatever the bound: accept, close, a heartbeat."""
        self._append(Entry(item, size + self._item_bytes, bounded=True), priority)

    def put_awaited(self, item: Item, size: int, priority: Priority = Priority.NORMAL) -> None:
        """Queue what its sender waits for, and holds itself: it is neither bounded nor dropped."""
        self._append(Entry(item, size + self._item_bytes, bounded=False), priority)

    def withdraw(self, item: Item, priority: Priority) -> bool:
        """Take an item back. Returns whether it was still there."""
        lane = self._lanes.get(priority, ())
        entry = next((entry for entry in lane if entry.item is item), None)
        if entry is not None:
            self._remove(entry, priority)
        return entry is not None

    def pop(self) -> Item | None:
        """The next item: the oldest of the most urgent lane that has one."""
        for priority, lane in self._lanes.items():
            entry = lane.popleft()
            self._forget(entry, priority)
            return entry.item
        return None

    def clear(self) -> Iterator[Item]:
        """Take out everything, most urgent first."""
        while (item := self.pop()) is not None:
            yield item

    def _append(self, entry: Entry[Item], priority: Priority) -> None:
        lane = self._lanes.get(priority)
        if lane is None:
            lane = self._lanes[priority] = deque()
            if len(self._lanes) > 1:
                self._lanes = dict(sorted(self._lanes.items()))
        lane.append(entry)
        self.queued_bytes += entry.size
        if entry.bounded:
            self._bounded_bytes += entry.size

    def _remove(self, entry: Entry[Item], priority: Priority) -> None:
        lane = self._lanes[priority]
        # Not remove(), which takes the first one that is equal.
        del lane[next(index for index, found in enumerate(lane) if found is entry)]
        self._forget(entry, priority)

    def _forget(self, entry: Entry[Item], priority: Priority) -> None:
        """Count out what has been taken from its lane."""
        self.queued_bytes -= entry.size
        if entry.bounded:
            self._bounded_bytes -= entry.size
        if not self._lanes[priority]:
            del self._lanes[priority]

    def _make_room(self, size: int, priority: Priority) -> bool:
        """Drop the oldest of the least urgent, never anything more urgent than the newcomer."""
        kept = sum(
            entry.size
            for other, lane in self._lanes.items()
            if other < priority
            for entry in lane
            if entry.bounded
        )
        if kept and kept + size > self.max_bytes:
            return False  # dropping would not help
        while self._bounded_bytes + size > self.max_bytes:
            victim = next(self._droppable(priority), None)
            if victim is None:
                break  # larger than the bound, and now alone
            self._remove(*victim)
            self._on_drop(victim[0].item)
        return True

    def _droppable(self, priority: Priority) -> Iterator[tuple[Entry[Item], Priority]]:
        """What may give way to a newcomer of this priority, in that order."""
        for other, lane in reversed(self._lanes.items()):
            if other >= priority:
                yield from ((entry, other) for entry in lane if entry.bounded)
