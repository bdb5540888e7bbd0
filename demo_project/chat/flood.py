"""More than a browser can take in at once, and an urgent message after all of it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable

from demo_project.chat.wire import Noise
from wsadapter import Connection

MESSAGES = 2_000
PADDING = secrets.token_hex(8 * 1024)  # random: it would not shrink, were it compressed
SPAM = "Cogs! Cheap cogs! Two thousand for the price of one!"


async def flood(connection: Connection, spam: int, remove: Callable[[], Awaitable[None]]) -> None:
    """Normal messages without end, and then the removal of a line, which is urgent."""
    async with asyncio.TaskGroup() as sends:
        for number in range(1, MESSAGES + 1):
            noise = Noise(number, of=MESSAGES, spam=spam, padding=PADDING)
            sends.create_task(connection.send(noise))
        await asyncio.sleep(0)  # each send has begun: it has left, or waits in the outbox
        await remove()
