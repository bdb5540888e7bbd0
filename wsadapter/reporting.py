"""Connections report how they are doing to whoever has asked; those of one process together."""

from __future__ import annotations

import asyncio
import logging

from wsadapter.conf import layer, settings
from wsadapter.event_loops import forget_closed_loops
from wsadapter.wire.orders import Push
from wsadapter.wire.reports import Report, reports_frame

logger = logging.getLogger("wsadapter.connection")

#: Reports to one channel wait for so long, and then leave as one message.
TOGETHER_SECONDS = 0.02

#: What is about to leave each event loop, by the channel that it goes to.
_waiting: dict[asyncio.AbstractEventLoop, dict[str, list[Report]]] = {}
_leaving: set[asyncio.Task[None]] = set()


def report(channel: str, report: Report) -> None:
    """Send a report to a channel of the layer, soon. One that gets lost is asked for again."""
    loop = asyncio.get_running_loop()
    if loop not in _waiting:
        forget_closed_loops(_waiting)
        _waiting[loop] = {}
    if channel not in _waiting[loop]:
        _waiting[loop][channel] = []
        loop.call_later(TOGETHER_SECONDS, _leave, loop, channel)
    _waiting[loop][channel].append(report)


def _leave(loop: asyncio.AbstractEventLoop, channel: str) -> None:
    task = loop.create_task(_send(channel, _waiting[loop].pop(channel)))
    _leaving.add(task)
    task.add_done_callback(_leaving.discard)


async def _send(channel: str, reports: list[Report]) -> None:
    message = Push(reports_frame(reports)).to_message(carries_bytes=True)
    try:
        async with asyncio.timeout(settings.redis_timeout):
            await layer().send(channel, message)
    except Exception:  # of whatever layer: no connection is worse off for it
        logger.debug("Reports to %s could not be sent.", channel, exc_info=True)
