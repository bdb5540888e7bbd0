"""Blocks of code whose sends leave together when the block ends.

A block belongs to a context (`contextvars`): to the thread or task that began it, and to the
tasks and `asyncio.to_thread` calls that are started in it. Those may outlive it; what they send
then belongs to the block around it, or to none.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Bulk(Generic[T]):
    """What one block has collected, until it ends."""

    def __init__(self, outer: Bulk[T] | None) -> None:
        self._outer = outer
        self._items: list[T] | None = []  # None once it has ended
        self._lock = threading.Lock()  # against an end while another thread adds something

    def keep(self, items: Sequence[T]) -> bool:
        """Collect items. Returns False when this block, and all around it, have ended."""
        with self._lock:
            if self._items is not None:
                self._items += items
                return True
        return self._outer is not None and self._outer.keep(items)

    def take(self) -> list[T]:
        """All that was collected so far, here and in the blocks around; the block goes on."""
        items = [] if self._outer is None else self._outer.take()
        with self._lock:
            if self._items:
                items += self._items
                self._items = []
        return items

    def end(self) -> list[T]:
        """Collect no more. Returns what is to be sent now: nothing, inside of another block."""
        items = self.drop()
        if self._outer is not None and self._outer.keep(items):
            return []
        return items

    def drop(self) -> list[T]:
        """Collect no more, and send nothing."""
        with self._lock:
            items, self._items = self._items or [], None
        return items


_innermost: ContextVar[Bulk[Any] | None] = ContextVar("wsadapter_bulk", default=None)

#: The block that the caller is in, or None.
current = _innermost.get


@contextmanager
def begun() -> Iterator[Bulk[Any]]:
    """Let the block's sends be collected. One that raises has collected nothing.

    The caller ends the `Bulk`, and sends what it returns.
    """
    outer = current()
    bulk: Bulk[Any] = Bulk(outer)
    _innermost.set(bulk)
    try:
        yield bulk
    except BaseException:
        bulk.drop()
        raise
    finally:
        _innermost.set(outer)


@contextmanager
def left() -> Iterator[None]:
    """For the time of this block, be in no other."""
    outer = current()
    _innermost.set(None)
    try:
        yield
    finally:
        _innermost.set(outer)
