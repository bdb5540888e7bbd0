"""Event loops of a process: any number, in any thread, and none may be blocked."""

from __future__ import annotations

import asyncio
from typing import Any

from wsadapter.errors import AsyncContextError

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


def forget_closed_loops(by_loop: dict[asyncio.AbstractEventLoop, Any]) -> None:
    """Drop what belonged to event loops that were closed without a word.

    Other threads may add and drop theirs meanwhile, hence the copy and the lenient `pop`.
    """
    for loop in list(by_loop):
        if loop.is_closed():
            by_loop.pop(loop, None)
