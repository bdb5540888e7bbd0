"""The figures of the chat, once a second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from channels.db import database_sync_to_async as in_database
from django.utils import timezone

from demo_project.chat.figures import Figures, look
from wsadapter import stream

EVERY_SECONDS = 1.0


@stream(views=["total", "by_room", "timeline"])
async def analytics() -> AsyncIterator[Figures]:
    while True:
        yield await in_database(look)(timezone.now())
        await asyncio.sleep(EVERY_SECONDS)
