"""Who is let in at all, before anybody asks who it is.

Nobody is while this process drains, and nobody beyond `MAX_CONNECTIONS`. As it comes in storms,
being turned away costs next to nothing, the log included.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from wsadapter import auth, draining, servers, serving
from wsadapter.auth import Refusal
from wsadapter.close_codes import CloseCode
from wsadapter.conf import settings
from wsadapter.connection import Connection
from wsadapter.event_loops import forget_closed_loops

logger = logging.getLogger("wsadapter.handshake")

FULL = Refusal(CloseCode.TOO_MANY, "this server is full")
DRAINING = Refusal(CloseCode.SHUTDOWN, draining.REASON)

#: Of those that are turned away, one line of the log tells no more often than this.
TOLD_SECONDS = 1.0


def turned_away(connection: Connection, send: servers.Send) -> Refusal | None:
    """Give a connection its seat, and take care of the server's end for the first one.

    Args:
        send: the server's own.

    Returns:
        Why it has none; the log has been told.
    """
    is_first = serving.is_empty()
    refusal = _refusal(connection)
    if refusal is not None:
        _log_of(refusal).add(connection.scope)
    elif is_first:
        draining.Termination(servers.notice_of_end(send)).watch()
    return refusal


def _refusal(connection: Connection) -> Refusal | None:
    if draining.is_draining():
        return DRAINING
    return None if serving.take_seat(connection, settings.max_connections) else FULL


class RefusalLog:
    """The first one at once, as any refusal; then one line a second says how many more came."""

    def __init__(self, refusal: Refusal) -> None:
        self._refusal = refusal
        self._untold = 0
        self._telling: asyncio.TimerHandle | None = None

    def add(self, scope: Any) -> None:
        """Log that a connection with this scope was refused."""
        if self._telling is not None:
            self._untold += 1
            return
        auth.log_refusal(scope, self._refusal.reason, code=self._refusal.code)
        self._tell_later()

    def _tell_later(self) -> None:
        self._telling = asyncio.get_running_loop().call_later(TOLD_SECONDS, self._tell)

    def _tell(self) -> None:
        self._telling = None
        count, self._untold = self._untold, 0
        if not count:
            return
        logger.warning(
            "Refused WebSocket connections with close code %d (%s): %d more.",
            self._refusal.code,
            self._refusal.reason,
            count,
        )
        self._tell_later()


_logs: dict[asyncio.AbstractEventLoop, dict[Refusal, RefusalLog]] = {}


def _log_of(refusal: Refusal) -> RefusalLog:
    forget_closed_loops(_logs)
    logs = _logs.setdefault(asyncio.get_running_loop(), {})
    if refusal not in logs:
        logs[refusal] = RefusalLog(refusal)
    return logs[refusal]
