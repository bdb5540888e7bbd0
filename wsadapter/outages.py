"""One line of the log when something goes away and one when it is back, whoever notices.

Of one Redis that is away, a subscription, a lease and a thousand connections learn within a
second; an operator needs to be told once.
"""

from __future__ import annotations

import logging
import threading

from wsadapter import hooks

logger = logging.getLogger("wsadapter.outages")

_away: set[str] = set()
_lock = threading.Lock()


def begins(what: str, error: BaseException) -> None:
    """Note that something does not answer.

    Args:
        what: such as ``"Redis at redis://localhost:6379/0"``; never with a password.
    """
    with _lock:
        if what in _away:
            return
        _away.add(what)
    logger.warning(
        "%s is away (%s). Connections stay open; everything goes on when it is back.",
        what,
        type(error).__name__,
    )


def ends(what: str) -> None:
    """Note that it answers."""
    if what not in _away:  # the usual case, without the lock
        return
    with _lock:
        if what not in _away:
            return
        _away.discard(what)
    logger.warning("%s is back.", what)
    if hooks.came_back:
        hooks.came_back(what)
