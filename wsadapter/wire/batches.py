"""Messages that leave as one frame: flushed by their number, their size, or the time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec

from wsadapter.wire.payload import size_of, to_json

#: No batch waits for longer.
MAX_DELAY_SECONDS = 60.0

_json = msgspec.json.Decoder()


@dataclass(frozen=True)
class Batch:
    """When what is collected leaves.

    Args:
        max_items: with so many messages.
        max_bytes: before their sizes add up to more; a larger message leaves alone.
        max_delay: seconds after the first of them.

    Raises:
        ValueError: nothing would ever be collected, or never leave.
    """

    max_items: int = 100
    max_bytes: int = 64 * 1024
    max_delay: float = 0.05

    def __post_init__(self) -> None:
        for name in ("max_items", "max_bytes"):
            value = getattr(self, name)
            if not (isinstance(value, int) and value >= 1):
                raise ValueError(
                    f"Batch({name}={value!r}) collects nothing; give a whole number from 1."
                )
        if not (math.isfinite(self.max_delay) and 0 < self.max_delay <= MAX_DELAY_SECONDS):
            raise ValueError(
                f"Batch(max_delay={self.max_delay!r}) is no time to wait; give seconds above 0, "
                f"and at most {MAX_DELAY_SECONDS:g}."
            )


class Collector:
    """What has been collected and has not left.

    Args:
        batch: when it leaves.
    """

    __slots__ = ("_batch", "_items", "_size", "due")

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._items: list[str] = []
        self._size = 0
        #: When it has to leave, on the clock of `add`; meaningless while nothing is in it.
        self.due = 0.0

    def __len__(self) -> int:
        return len(self._items)

    def has_room(self, item: str) -> bool:
        """Whether an item still fits; whatever its size, one fits into nothing."""
        if not self._items:
            return True
        return not self.full and self._size + 1 + size_of(item) <= self._batch.max_bytes

    @property
    def full(self) -> bool:
        """Whether it leaves now."""
        return len(self._items) >= self._batch.max_items or self._size >= self._batch.max_bytes

    def add(self, item: str, now: float) -> None:
        """Collect an item.

        Args:
            item: JSON text, see `as_item`.
            now: seconds.
        """
        if not self._items:
            self.due = now + self._batch.max_delay
        else:
            self._size += 1  # a comma
        self._items.append(item)
        self._size += size_of(item)

    def take(self, id: int, sent_at: int) -> str:
        """Empty it. Returns the frame.

        Args:
            id: the number of the batch on its connection.
            sent_at: milliseconds since the epoch.
        """
        items, self._items, self._size = self._items, [], 0
        return (
            f'{{"type":"ws:batch","id":{id},"sent_at":{sent_at},"size":{len(items)},'
            f'"messages":[{",".join(items)}]}}'
        )


def as_item(text: str) -> str:
    """The text of a frame as it stands in a batch: JSON as it is, other text as a JSON string."""
    try:
        _json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return to_json(text)
    return text
