"""A logout closes the connections of its session, on every node."""

from __future__ import annotations

import logging
from typing import Any

from wsadapter import broadcasting
from wsadapter.auth import session_digest
from wsadapter.errors import WSAdapterError

logger = logging.getLogger("wsadapter.connection")


def close_connections_of_session(*, request: Any = None, user: Any = None, **kwargs: Any) -> None:
    """Receiver of ``user_logged_out``; a logout never fails because of it."""
    session = session_digest({"session": getattr(request, "session", None)})
    if session is None or user is None:
        return
    try:
        broadcasting.end_session(user, session)
    except WSAdapterError:
        logger.exception("The connections of a session that logged out could not be closed.")
