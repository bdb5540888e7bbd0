"""The connections that this process serves, and how they end when the server stops.

Each has a seat, from its admission until its clean-up is over: seats are what `MAX_CONNECTIONS`
limits, and what a drain waits for. Whoever is turned away at the door has none.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from wsadapter.connection import Connection
from wsadapter.event_loops import forget_closed_loops

#: Seconds that all connections together may take when the server stops.
SHUTDOWN_SECONDS = 8.0

_serving: set[asyncio.Task[Any]] = set()
_cleaning_up: set[asyncio.Task[None]] = set()

_seats: dict[asyncio.AbstractEventLoop, set[Connection]] = {}
_when_empty: dict[asyncio.AbstractEventLoop, Callable[[], None]] = {}
_lock = threading.Lock()  # the limit is one for all threads


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


async def cleaned_up(connection: Connection, clean_up: Coroutine[Any, Any, None]) -> None:
    """Run a clean-up to its end, even if whoever awaits it is cancelled once more."""
    task = asyncio.get_running_loop().create_task(clean_up)
    _cleaning_up.add(task)
    task.add_done_callback(_cleaning_up.discard)
    task.add_done_callback(lambda _: _give_up_seat(connection))
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


def take_seat(connection: Connection, limit: int | None) -> bool:
    """Seat a connection of the running event loop, where there is a free seat.

    Args:
        limit: how many seats this process has, or None for as many as come.

    Returns:
        Whether there was one.
    """
    loop = asyncio.get_running_loop()
    with _lock:
        forget_closed_loops(_seats)
        forget_closed_loops(_when_empty)
        if limit is not None and sum(map(len, _seats.values())) >= limit:
            return False
        _seats.setdefault(loop, set()).add(connection)
    return True


def seated() -> list[Connection]:
    """Who has a seat in the running event loop."""
    return list(_seats.get(asyncio.get_running_loop(), ()))


def is_empty() -> bool:
    """Whether nobody has a seat in the running event loop."""
    return asyncio.get_running_loop() not in _seats


def seating_loops() -> list[asyncio.AbstractEventLoop]:
    """The event loops of this process, in whatever thread, in which somebody has a seat."""
    return [loop for loop in list(_seats) if loop.is_running()]


def when_empty(action: Callable[[], None]) -> None:
    """Call something once, when the last seat of the running event loop has been given up."""
    _when_empty[asyncio.get_running_loop()] = action


def _give_up_seat(connection: Connection) -> None:
    loop = asyncio.get_running_loop()
    with _lock:
        seats = _seats.get(loop)
        if seats is None or connection not in seats:
            return  # it was turned away
        seats.discard(connection)
        if seats:
            return
        del _seats[loop]
    _when_empty.pop(loop, _nothing)()


def _nothing() -> None:
    """Nobody waits for it."""
