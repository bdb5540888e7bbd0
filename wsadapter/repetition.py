"""What a function returns, sent again and again, and only when it has changed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction

from wsadapter.calling import call
from wsadapter.wire.cadence import Cadence
from wsadapter.wire.payload import Frame, encode

Getter = Callable[[], Any]
#: Whether the current value is a duplicate of the last one.
Duplicates = Callable[[Any, Any], bool]

_NOTHING = object()


class Repetition:
    """A function that is called at every interval, and what it returned when that was sent last.

    Args:
        get: sync or async; a sync function runs in a thread.
        interval_seconds: the time from one call to the next.
        deduplicate: see `wsadapter.Connection.send_periodically`.

    Raises:
        ValueError: the interval is not a positive number.
        TypeError: ``get`` is no function, or ``deduplicate`` none that is called at once.
    """

    def __init__(
        self, get: Getter, *, interval_seconds: float, deduplicate: bool | Duplicates
    ) -> None:
        if not callable(get):
            raise TypeError(f"A function gives what is sent, and {get!r} is none.")
        if not (isinstance(deduplicate, bool) or _decides_at_once(deduplicate)):
            raise TypeError(
                "deduplicate is True, False, or a function (last, current) -> bool that is not "
                f"async, and not {deduplicate!r}."
            )
        self._get = get
        self._cadence = Cadence(interval_seconds, now=time.monotonic())
        self._deduplicate = deduplicate
        self._last: Any = _NOTHING
        self._last_frame: Frame | None = None

    async def run(
        self,
        send: Callable[[Frame], Awaitable[bool]],
        ending: Awaitable[None],
        *,
        encode: Callable[[Any], Frame] = encode,
    ) -> None:
        """Send until the connection ends.

        Args:
            send: returns False once nothing can be sent any more.
            ending: comes with that; to be awaited any number of times.
            encode: makes a frame of what the function returned.
        """
        while True:
            # Not in the one thread that all share: a slow one would stop everybody's.
            value = await call(self._get, thread_sensitive=False)
            frame = encode(value)
            if self._is_news(value, frame):
                if not await send(frame):
                    return
                self._last, self._last_frame = value, frame
            if await ends_within(ending, self._cadence.due(time.monotonic())):
                return

    def _is_news(self, value: Any, frame: Frame) -> bool:
        if self._last is _NOTHING or self._deduplicate is False:
            return True
        if self._deduplicate is True:
            return frame != self._last_frame
        return not self._deduplicate(self._last, value)


def _decides_at_once(function: object) -> bool:
    return callable(function) and not iscoroutinefunction(function)


async def ends_within(ending: Awaitable[None], seconds: float) -> bool:
    """Wait for an end, and no longer than so many seconds. Returns whether it came."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await ending
            return True
    return False
