"""What runs beside one connection, and ends with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from weakref import WeakSet, ref

logger = logging.getLogger("wsadapter.connection")

T = TypeVar("T")

#: Seconds for readers to read to the end.
PATIENCE_SECONDS = 1.0
#: Seconds for whoever is cancelled to clean up.
CANCELLED_SECONDS = 0.25


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
        # Who learns of the connection's end by itself, whether or not it is one of these: by what
        # it reads, or because sending has failed.
        self._informed: WeakSet[asyncio.Task[Any]] = WeakSet()
        # Nearly always there is one, which reads again and again.
        self._last_informed: ref[asyncio.Task[Any]] | None = None
        self._on_failure = on_failure

    def __len__(self) -> int:
        return len(self._tasks)

    def create(self, coroutine: Coroutine[Any, Any, T], name: str | None) -> asyncio.Task[T]:
        """Run a coroutine as one of these tasks."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def note_informed(self) -> None:
        """The task that calls this reads the connection, or has been told of its end."""
        task = asyncio.current_task()
        if task is None or (self._last_informed is not None and self._last_informed() is task):
            return
        self._informed.add(task)
        self._last_informed = ref(task)

    def forget_readers(self) -> None:
        """Nobody reads the connection any more."""
        self._informed.clear()
        self._last_informed = None

    async def end(self, client_id: str) -> None:
        """End them all.

        One that reads learns of the end by what it reads, and may first read what has arrived;
        one whose sending failed has been told. The others are cancelled at once.
        """
        for task in self._tasks - self._of_informed():
            task.cancel()
        await self._wait(PATIENCE_SECONDS)
        for task in self._tasks:
            task.cancel()
        await self._wait(CANCELLED_SECONDS)
        for task in self._tasks:
            logger.warning(
                "The task %s of client %s did not end within %g s of its cancellation.",
                task.get_name(),
                client_id,
                CANCELLED_SECONDS,
            )

    def _of_informed(self) -> set[asyncio.Task[Any]]:
        """The tasks that are informed, or may wait for a child that is."""
        informed = {task for task in self._informed if not task.done()}
        return self._tasks if informed - self._tasks else self._tasks & informed

    async def _wait(self, seconds: float) -> None:
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_failure(task, error)
