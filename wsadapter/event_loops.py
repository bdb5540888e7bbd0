"""Synchronous helpers and event loops do not go together; this says so in time."""

from __future__ import annotations

import asyncio

from wsadapter.errors import AsyncContextError


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
