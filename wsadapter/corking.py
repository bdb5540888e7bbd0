"""Frames that are ready in the same turn of the event loop leave together at its end.

Named after TCP_CORK, which does the same for the packets of one socket. Nothing waits for time
to pass, and a message that comes alone is not held back at all.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from wsadapter.event_loops import forget_closed_loops
from wsadapter.wire.joined import Joined

logger = logging.getLogger("wsadapter.connection")


class Corked(Protocol):
    """Who holds frames back until the turn ends."""

    def uncork(self) -> None: ...


class Cork:
    """Whether one event loop holds frames back in this turn, and who has some."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.holding = False
        #: Where the chains of this turn begin, so that connections with the same frames share one.
        self.nothing = Joined.nothing()
        self._loop = loop
        self._corked: list[Corked] = []

    def hold(self) -> None:
        """Hold back what is pushed from now on, to the end of this turn.

        To be called when a message has been handed over, and before the first one when it is
        known that more will follow it.
        """
        if not self.holding:
            self.holding = True
            self._loop.call_soon(self._release)

    def add(self, connection: Corked) -> None:
        """Have a connection uncorked when the turn ends."""
        self._corked.append(connection)

    def _release(self) -> None:
        self.holding = False
        corked, self._corked = self._corked, []
        self.nothing = Joined.nothing()  # the frames of this turn do not stay in memory
        for connection in corked:
            try:
                connection.uncork()
            except Exception:
                logger.exception("A connection failed to write; the others have written.")


_corks: dict[asyncio.AbstractEventLoop, Cork] = {}


def current_cork() -> Cork:
    """The cork of the running event loop."""
    loop = asyncio.get_running_loop()
    found = _corks.get(loop)
    if found is None:
        forget_closed_loops(_corks)
        found = _corks[loop] = Cork(loop)
    return found
