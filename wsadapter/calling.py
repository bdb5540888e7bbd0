"""A project's function, sync or async, called from the event loop."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from channels.db import database_sync_to_async


async def call(function: Callable[..., Any], *arguments: Any, thread_sensitive: bool = True) -> Any:
    """Call it; what may block runs in a thread, with old database connections closed.

    Args:
        function: may also be a sync function that returns an awaitable, or an object that is
            called like an async one.
        thread_sensitive: whether in the one thread that Django keeps for code that cannot do
            with another; a slow function holds up all others there.
    """
    if iscoroutinefunction(function) or iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004 - asked of the method
        return await function(*arguments)
    in_thread = database_sync_to_async(_in_thread, thread_sensitive=thread_sensitive)
    result = await in_thread(function, *arguments)
    return await result if inspect.isawaitable(result) else result


def _in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except StopIteration as error:  # which no future can hold: its caller would wait for ever
        raise RuntimeError(f"{function!r} raised StopIteration") from error
