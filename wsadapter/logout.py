"""A login session that ends takes its connections with it, on every node."""

from __future__ import annotations

import logging
import secrets
from typing import Any

from django.conf import settings

from wsadapter import broadcasting
from wsadapter.auth import LOGIN_NAME, session_digests
from wsadapter.groups import digest

logger = logging.getLogger("wsadapter.connection")


def name_login(*, request: Any = None, **kwargs: Any) -> None:
    """Receiver of ``user_logged_in``: give the session a name that a new key does not change.

    A session without one is new, or was flushed because another user was logged in before,
    of which Django tells nobody; that user's connections came with the key in the cookie.
    """
    session = getattr(request, "session", None)
    if session is None or LOGIN_NAME in session:
        return
    session[LOGIN_NAME] = secrets.token_hex(16)
    previous_key = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    if previous_key:
        _end(digest(previous_key))


def close_connections_of_session(*, request: Any = None, user: Any = None, **kwargs: Any) -> None:
    """Receiver of ``user_logged_out``."""
    session = getattr(request, "session", None)
    if session is None or user is None:
        return
    getattr(session, "_session", None)  # loads it, where nobody has yet
    for name in session_digests(session):
        _end(name, user)


def _end(session: str, user: Any = None) -> None:
    """A login or logout never fails because of its connections."""
    try:
        broadcasting.end_session(session, user)
    except Exception:
        logger.exception("The connections of a session that ended could not be closed.")
