"""Event loops of a process: any number, in any thread, and none may be blocked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Generator
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from wsadapter.errors import AsyncContextError

T = TypeVar("T")

CANCEL_AGAIN_SECONDS = 0.1


def forbid_event_loop(helper: str) -> None:
    """Refuse to block a running event loop.

    Args:
        helper: the name of the synchronous helper; its twin has the prefix ``a``.

    Raises:
        AsyncContextError: an event loop runs in this thread.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise AsyncContextError(
        f"{helper}() would block the event loop that runs in this thread. "
        f"Use a{helper}() with await, or async for where it iterates."
    )


async def end_task(task: asyncio.Task[Any]) -> None:
    """Cancel a task and return when it has ended, whatever it raised.

    Once is not enough: `asyncio.wait_for`, under which redis-py sends, may swallow a
    cancellation that comes when what it waits for is just done (Python 3.11).
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_AGAIN_SECONDS)
    if not task.cancelled():
        task.exception()  # asked for, so that nobody is told that it was lost


#: A patient time limit takes at least so many turns of the event loop.
PATIENT_TURNS = 8


@asynccontextmanager
async def patient_timeout(seconds: float) -> AsyncIterator[None]:
    """As `asyncio.timeout`, for answers that may have come long ago.

    Where thousands of browsers come at once, a turn of the loop takes a second, and an answer that
    takes several turns to be read is none that came late.

    Raises:
        TimeoutError: the time is up, in which the loop has had several turns.
    """
    async with asyncio.timeout(None) as limit:
        patience = _Patience(limit, seconds / PATIENT_TURNS)
        try:
            yield
        finally:
            patience.end()


class _Patience:
    """Lets a time limit expire after some timers, each of which takes a turn of the loop."""

    def __init__(self, limit: asyncio.Timeout, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._turns = PATIENT_TURNS
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(seconds, self._pass)

    def end(self) -> None:
        self._timer.cancel()

    def _pass(self) -> None:
        self._turns -= 1
        if self._turns:
            self._timer = self._loop.call_later(self._seconds, self._pass)
        else:
            self._limit.reschedule(self._loop.time())


def forget_closed_loops(by_loop: dict[asyncio.AbstractEventLoop, Any]) -> None:
    """Drop what belonged to event loops that were closed without a word.

    Other threads may add and drop theirs meanwhile, hence the copy and the lenient `pop`.
    """
    for loop in list(by_loop):
        if loop.is_closed():
            by_loop.pop(loop, None)


class Resumed(Generic[T]):
    """Awaits the rest of a coroutine that was stepped by hand until it suspended.

    Args:
        coroutine: what was stepped.
        waits_for: what it has yielded.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T], waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, T]:
        waits_for = self._waits_for
        while True:
            try:
                value = yield waits_for
            except BaseException as error:
                step: Any = self._coroutine.throw
                argument: Any = error
            else:
                step, argument = self._coroutine.send, value
            try:
                waits_for = step(argument)
            except StopIteration as end:
                result: T = end.value
                return result


class Begun(Generic[T]):
    """A coroutine that has been run for as long as it did not wait; await it for its result.

    Attributes:
        done: whether it did not wait at all, so that the result is there.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._waits_for: Any = None
        self._error: Exception | None = None
        self.done = True
        try:
            self._waits_for = coroutine.send(None)
            self.done = False
        except StopIteration as end:
            self._result: T = end.value
        except Exception as error:
            self._error = error

    def __await__(self) -> Generator[Any, Any, T]:
        if not self.done:
            return (yield from Resumed(self._coroutine, self._waits_for).__await__())
        if self._error is not None:
            raise self._error
        return self._result

    def close(self) -> None:
        """Give up what has not been awaited to its end."""
        self._coroutine.close()
