"""Letting the clients of this process go before it stops, so that a deploy is no storm.

They are told to come back, by close code 3001, a few at a time over `DRAIN_SECONDS`. It begins
with the first SIGTERM, for which the first connection in the main thread stands before the
server's own handler, with the server's own word, or with a call of `drain`. Once it has begun
there is no way back: the process is to be ended.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import math
import random
import signal
import threading
from collections.abc import Callable

from wsadapter import serving
from wsadapter.close_codes import CloseCode
from wsadapter.conf import settings
from wsadapter.connection import Connection
from wsadapter.event_loops import forbid_event_loop
from wsadapter.node import current_node
from wsadapter.servers import Notice, is_supervised
from wsadapter.signal_chain import ALONE_SAME_SECONDS, SAME_SECONDS, SignalChain

Shuffle = Callable[[list[Connection]], object]

logger = logging.getLogger("wsadapter.draining")

REASON = "the server restarts; come back"

#: What a drain may take beyond its seconds: the last clients have half of it to answer the close.
ENDING_SECONDS = 2.0
#: The last quarter of that is for giving up the lease where somebody does not leave.
LEASE_SECONDS = ENDING_SECONDS / 4

#: A few clients are no storm: between two of them there is no more than this.
LONGEST_BETWEEN_SECONDS = 1.0

#: Clients are told in batches, so often.
BATCH_SECONDS = 0.05


def due(count: int, elapsed_seconds: float, over_seconds: float) -> int:
    """How many of so many clients have been told by now: evenly, the first one at once.

    Args:
        count: how many there are.
        elapsed_seconds: since the first one.
        over_seconds: in which all of them are told.
    """
    if elapsed_seconds >= over_seconds:
        return count
    return min(count, math.floor(count * elapsed_seconds / over_seconds) + 1)


class Farewell:
    """The drain of one event loop.

    Args:
        over_seconds: the time over which its clients are told.
        shuffle: mixes them: who has been here for the longest is not always the first.
    """

    def __init__(self, over_seconds: float, shuffle: Shuffle = random.shuffle) -> None:
        self._over_seconds = over_seconds
        self._shuffle = shuffle
        self._waiting: list[Connection] = []
        self._ends_at = math.inf

    async def run(self) -> None:
        """Tell everybody, wait until they have left, and give up the lease if they do not."""
        clock = asyncio.get_running_loop().time
        began = clock()
        self._ends_at = began + self._over_seconds + ENDING_SECONDS
        self._waiting = serving.seated()
        self._shuffle(self._waiting)
        count = len(self._waiting)
        over_seconds = min(self._over_seconds, count * LONGEST_BETWEEN_SECONDS)
        while not serving.is_empty() and clock() < self._ends_at - LEASE_SECONDS:
            self._tell_all_but(count - due(count, clock() - began, over_seconds))
            await asyncio.sleep(BATCH_SECONDS)
        if not serving.is_empty():
            logger.warning(
                "Connections that have not ended by the end of the drain: %d.",
                len(serving.seated()),
            )
            await self._give_up_lease()

    def hurry(self) -> None:
        """Tell all who have not been told yet."""
        self._tell_all_but(0)

    def _tell_all_but(self, left: int) -> None:
        loop = asyncio.get_running_loop()
        patience_seconds = self._ends_at - ENDING_SECONDS / 2 - loop.time()
        while len(self._waiting) > left:
            self._waiting.pop().close_soon(
                CloseCode.SHUTDOWN, REASON, drain=True, timeout=patience_seconds
            )

    async def _give_up_lease(self) -> None:
        """Counts are right at once, whoever does not answer; what fails, the lease's end mends."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._ends_at):
                await current_node().stop()


class Drain:
    """The drain of this process: of all its event loops, side by side.

    Args:
        seconds: the time over which clients are told.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._farewells: dict[asyncio.AbstractEventLoop, Farewell] = {}
        self._done: list[concurrent.futures.Future[None]] = []

    def begin(self) -> None:
        for loop in serving.seating_loops():
            farewell = self._farewells[loop] = Farewell(self.seconds)
            self._done.append(asyncio.run_coroutine_threadsafe(farewell.run(), loop))

    def wait(self) -> None:
        """Wait until it is over."""
        concurrent.futures.wait(self._done, self.seconds + ENDING_SECONDS)

    async def await_end(self) -> None:
        """The twin of `wait`."""
        if self._done:
            ends = [asyncio.wrap_future(done) for done in self._done]
            await asyncio.wait(ends, timeout=self.seconds + ENDING_SECONDS)

    def hurry(self) -> None:
        """Tell all clients now."""
        for loop, farewell in self._farewells.items():
            with contextlib.suppress(RuntimeError):  # it has been closed meanwhile
                loop.call_soon_threadsafe(farewell.hurry)


_drain: Drain | None = None
_lock = threading.Lock()


def is_draining() -> bool:
    """Whether this process lets its clients go; from the first moment on, until it ends."""
    return _drain is not None


def drain(seconds: float | None = None) -> None:
    """Tell all clients of this process to come back elsewhere, and wait until they have left.

    Newcomers are turned away from now on, and `is_draining` is true. To be called by whatever
    stops a server that handles no SIGTERM in its main thread, before it stops. It may be called
    again, and from several threads: there is one drain, which all of them wait for.

    Args:
        seconds: the time over which the clients are told, or None for `DRAIN_SECONDS`; with 0
            all are told at once. It is over at most 2 seconds later, and sooner when all have left.

    Raises:
        AsyncContextError: an event loop runs in this thread; await `adrain`.
        ValueError: the seconds are below 0, or no number.
    """
    forbid_event_loop("drain")
    _begin(seconds).wait()


async def adrain(seconds: float | None = None) -> None:
    """The twin of `drain`."""
    await _begin(seconds).await_end()


def _begin(seconds: float | None) -> Drain:
    """The one drain of this process, which begins now unless it has."""
    global _drain
    over_seconds = settings.drain_seconds if seconds is None else seconds
    if not 0 <= over_seconds < math.inf:
        raise ValueError(f"A drain takes a number of seconds from 0, not {seconds!r}.")
    with _lock:
        if _drain is None:
            logger.info("Clients are told to come back elsewhere, over %g s.", over_seconds)
            _drain = Drain(over_seconds)  # first: nobody is let in any more
            _drain.begin()
        return _drain


# The server's end


class Termination:
    """The end of a server: drain first.

    It is SIGTERM, where the event loop runs in the main thread: what the server does then is
    put off until the drain is over. Or it is the server's own word, which puts off nothing.

    Args:
        notice: of a server that gives it to its applications.
    """

    def __init__(self, notice: Notice | None = None) -> None:
        self._notice = notice
        self._supervised = is_supervised()
        self._chain = SignalChain(
            signal.SIGTERM,
            first=self._begin,
            again=self._hurry,
            same_seconds=SAME_SECONDS if self._supervised else ALONE_SAME_SECONDS,
        )
        self._draining: asyncio.Task[None] | None = None
        self._heeding: asyncio.Task[None] | None = None

    def watch(self) -> None:
        """Be ready for it for as long as the event loop has connections."""
        self._chain.install()
        if self._notice is not None:
            self._heeding = asyncio.get_running_loop().create_task(self._heed(self._notice))
        serving.when_empty(self._release)

    async def _heed(self, notice: Notice) -> None:
        await notice.wait()
        await adrain(_in_time(notice))

    def _begin(self) -> None:
        self._draining = asyncio.get_running_loop().create_task(self._drain_and_stop())

    async def _drain_and_stop(self) -> None:
        # A supervisor stops its worker now, in its own way as well: that will not be put off.
        notice = self._notice if self._supervised else None
        try:
            await adrain(None if notice is None else _in_time(notice))
        except asyncio.CancelledError:  # the event loop ends: the server has stopped by itself
            self._chain.remove()
            raise
        except Exception:
            logger.exception("The drain failed; the server stops without it.")
        if self._chain.has_taken:
            self._chain.hand_on()

    def _hurry(self) -> None:
        if _drain is not None:
            _drain.hurry()

    def _release(self) -> None:
        """The last connection has left; a signal that has been taken still has to be handed on."""
        if self._heeding is not None:
            self._heeding.cancel()
        if not self._chain.has_taken:
            self._chain.remove()


def _in_time(notice: Notice) -> float:
    """Seconds for a drain whose last clients can still answer before they are cut off."""
    return min(settings.drain_seconds, max(notice.graceful_seconds - ENDING_SECONDS / 2, 0.0))
