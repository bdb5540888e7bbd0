from __future__ import annotations

import asyncio
import logging

from wsadapter.consumers import AdapterConsumer
from wsadapter.handlers import handler

logger = logging.getLogger("tests.project.ends")


class Ending(AdapterConsumer):
    """Writes every call of ``disconnect`` to the log, and ends in the ways that a test asks for."""

    async def disconnect(self, code: int) -> None:
        logger.info("disconnect(%d) of %s", code, self.connection.client_id)

    @handler("end.close")
    async def end(self) -> None:
        await self.close(4000, "as you wish")

    @handler("end.raise")
    async def fail(self) -> None:
        raise RuntimeError("a secret of the server")

    @handler("end.hang")
    async def hang(self) -> None:
        logger.info("hanging: %s", self.connection.client_id)
        await asyncio.Event().wait()


class Stubborn(Ending):
    """Neither its handlers nor its ``disconnect`` come to an end in good time."""

    async def disconnect(self, code: int) -> None:
        await asyncio.sleep(10)


class Held(Ending):
    """Holds every client to answering pings, soon."""

    heartbeat_interval = 0.5
    heartbeat_timeout = 0.5
    heartbeat_mode = "always"
