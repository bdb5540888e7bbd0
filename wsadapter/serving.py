"""The connections that this process serves, and how they end when the server stops."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from typing import Any

#: Seconds that all connections together may take when the server stops.
SHUTDOWN_SECONDS = 8.0

_serving: set[asyncio.Task[Any]] = set()
_cleaning_up: set[asyncio.Task[None]] = set()


@contextlib.contextmanager
def served() -> Iterator[None]:
    """The task that runs this block serves a connection."""
    task = asyncio.current_task()
    assert task is not None
    _serving.add(task)
    try:
        yield
    finally:
        _serving.discard(task)


async def cleaned_up(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a clean-up to its end, even if whoever awaits it is cancelled once more."""
    task = asyncio.get_running_loop().create_task(coroutine)
    _cleaning_up.add(task)
    task.add_done_callback(_cleaning_up.discard)
    await asyncio.shield(task)


async def end_all() -> None:
    """End every connection as a server does that stops, and wait for their clean-up."""
    for task in _serving:
        if not task.cancelling():
            task.cancel()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SHUTDOWN_SECONDS):
            while tasks := _serving | _cleaning_up:
                await asyncio.wait(tasks)
                await asyncio.sleep(0)  # those that are done leave the sets
