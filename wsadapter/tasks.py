"""What runs beside one connection, and ends with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from weakref import WeakSet, ref

logger = logging.getLogger("wsadapter.connection")

T = TypeVar("T")

#: Seconds for readers to read to the end, and then for whoever is cancelled to clean up.
PATIENCE_SECONDS = 2.0


def causes(error: BaseException) -> list[BaseException]:
    """The errors that a group of them, as task groups raise it, is made of; else the error."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [cause for inner in error.exceptions for cause in causes(inner)]


class Tasks:
    """The tasks of one connection.

    Args:
        on_failure: called with a task that has failed and its error.
    """

    def __init__(self, on_failure: Callable[[asyncio.Task[Any], BaseException], None]) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        # Whoever has read the connection, whether or not it is one of these.
        self._readers: WeakSet[asyncio.Task[Any]] = WeakSet()
        # Nearly always there is one, which reads again and again.
        self._last_reader: ref[asyncio.Task[Any]] | None = None
        self._on_failure = on_failure

    def __len__(self) -> int:
        return len(self._tasks)

    def create(self, coroutine: Coroutine[Any, Any, T], name: str | None) -> asyncio.Task[T]:
        """Run a coroutine as one of these tasks."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def note_reader(self) -> None:
        """The task that calls this reads the connection."""
        task = asyncio.current_task()
        if task is None or (self._last_reader is not None and self._last_reader() is task):
            return
        self._readers.add(task)
        self._last_reader = ref(task)

    def forget_readers(self) -> None:
        """Nobody reads the connection any more."""
        self._readers.clear()
        self._last_reader = None

    async def end(self, client_id: str) -> None:
        """End them all.

        One that reads learns of the end by what it reads: it may first read what has arrived.
        The others are cancelled at once.
        """
        for task in self._tasks - self._reading():
            task.cancel()
        await self._wait()
        for task in self._tasks:
            task.cancel()
        await self._wait()
        for task in self._tasks:
            logger.warning(
                "The task %s of client %s did not end within %g s of its cancellation.",
                task.get_name(),
                client_id,
                PATIENCE_SECONDS,
            )

    def _reading(self) -> set[asyncio.Task[Any]]:
        """The tasks that read, or may wait for a child that does."""
        readers = {task for task in self._readers if not task.done()}
        return self._tasks if readers - self._tasks else self._tasks & readers

    async def _wait(self) -> None:
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=PATIENCE_SECONDS)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_failure(task, error)
