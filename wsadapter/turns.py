"""How many connections of an event loop talk to Redis at once, so that a storm is a queue.

When thousands of browsers come back in one moment, the time that a call takes is the time that
all of them take together. Their timeouts therefore start with their turn, not with their
arrival.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from wsadapter.errors import StoreUnavailable
from wsadapter.event_loops import forget_closed_loops

AT_ONCE = 64


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
                async with asyncio.timeout(timeout_seconds):
                    yield
            except TimeoutError as error:
                self._failures += 1
                raise StoreUnavailable(
                    f"Redis did not answer within {timeout_seconds:g} s."
                ) from error


_turns: dict[asyncio.AbstractEventLoop, Turns] = {}


def turns() -> Turns:
    """The queue of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _turns.get(loop)
    if found is None:
        forget_closed_loops(_turns)
        found = _turns[loop] = Turns()
    return found
