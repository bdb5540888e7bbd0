"""How many connections of an event loop talk to Redis at once, so that a storm is a queue.

When thousands of browsers come back in one moment, the time that a call takes is the time that
all of them take together. Their timeouts therefore start with their turn, not with their
arrival, and those whose turn it is share one call.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from wsadapter.errors import StoreUnavailable
from wsadapter.event_loops import end_task, forget_closed_loops, patient_timeout
from wsadapter.store.operations import BATCH_SIZE

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = BATCH_SIZE


class Turns:
    """The queue of one event loop."""

    def __init__(self) -> None:
        self._semaphore = asyncio.Semaphore(AT_ONCE)
        self._failures = 0

    @asynccontextmanager
    async def turn(self, timeout_seconds: float) -> AsyncIterator[None]:
        """Wait for a turn, then bound what is done in it.

        Raises:
            StoreUnavailable: it took longer than the timeout, or one that was ahead in the
                queue has failed so: nobody waits for a Redis that is known to be away.
        """
        failures = self._failures
        async with self._semaphore:
            if self._failures != failures:
                raise StoreUnavailable("Redis did not answer those who came before.")
            try:
                async with patient_timeout(timeout_seconds):
                    yield
            except TimeoutError as error:
                self._failures += 1
                raise _too_late(timeout_seconds) from error


class Together(Generic[T, R]):
    """Joins calls: those of one turn of the loop, and those made while one is on its way.

    Args:
        perform: carries out up to `BATCH_SIZE` calls; one answer for each, in their order.
        timeout_seconds: how long that may take, whatever the time spent in the queue.
    """

    def __init__(
        self,
        perform: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        timeout_seconds: float,
    ) -> None:
        self._perform = perform
        self._timeout_seconds = timeout_seconds
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def ask(self, call: T) -> R:
        """The answer to one call; raises what performing it has raised.

        Raises:
            StoreUnavailable: it took longer than the timeout, or one that was ahead in the
                queue did.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()
        self._waiting.append((call, answer))
        if self._task is None:
            self._task = loop.create_task(self._run())
        return await answer

    async def stop(self) -> None:
        """Break off what is on its way, of which nobody waits for an answer any more."""
        if self._task is not None:
            await end_task(self._task)

    async def _run(self) -> None:
        try:
            while batch := self._next_batch():
                await self._carry_out(batch)
        finally:
            self._task = None

    def _next_batch(self) -> list[tuple[T, asyncio.Future[R]]]:
        batch: list[tuple[T, asyncio.Future[R]]] = []
        while self._waiting and len(batch) < BATCH_SIZE:
            call, answer = self._waiting.popleft()
            if not answer.done():  # else its caller has given up
                batch.append((call, answer))
        return batch

    async def _carry_out(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            async with patient_timeout(self._timeout_seconds):
                results = await self._perform([call for call, _ in batch])
        except TimeoutError:
            # Nor does anybody wait for a Redis that is known to be away.
            _fail([*batch, *self._waiting], _too_late(self._timeout_seconds))
        except Exception as error:
            _fail(batch, error)
        else:
            for (_, answer), result in zip(batch, results, strict=True):
                if not answer.done():
                    answer.set_result(result)


def _fail(calls: Iterable[tuple[Any, asyncio.Future[Any]]], error: Exception) -> None:
    for _, answer in calls:
        if not answer.done():
            answer.set_exception(error)


def _too_late(timeout_seconds: float) -> StoreUnavailable:
    return StoreUnavailable(f"Redis did not answer within {timeout_seconds:g} s.")


_turns: dict[asyncio.AbstractEventLoop, Turns] = {}


def turns() -> Turns:
    """The queue of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _turns.get(loop)
    if found is None:
        forget_closed_loops(_turns)
        found = _turns[loop] = Turns()
    return found
