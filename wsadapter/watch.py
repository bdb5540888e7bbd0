"""The tasks that watch over one open connection: its heartbeat, and its health."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable

from wsadapter import hooks
from wsadapter.close_codes import CloseCode
from wsadapter.conf import settings
from wsadapter.connection import Connection
from wsadapter.errors import StoreUnavailable
from wsadapter.turns import turns
from wsadapter.wire.health import HealthCheck, HealthPolicy
from wsadapter.wire.heartbeat import Action, Heartbeat

logger = logging.getLogger("wsadapter.connection")
health_logger = logging.getLogger("wsadapter.health")


class Watch:
    """Watches over one connection from its handshake to its end.

    Args:
        connection: which one.
        heartbeat: when to ping it, and when to call it dead.
        health: when to call it unwell, if it is to be looked at.
        is_held_back: whether the client has to wait, so that it is busy and not dead.
    """

    # A process has thousands of them.
    __slots__ = ("_connection", "_heartbeat", "_is_held_back", "_tasks")

    def __init__(
        self,
        connection: Connection,
        heartbeat: Heartbeat,
        health: HealthPolicy | None,
        is_held_back: Callable[[], bool],
    ) -> None:
        self._connection = connection
        self._heartbeat = heartbeat
        self._is_held_back = is_held_back
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._beat())]
        if health is not None:
            self._tasks.append(loop.create_task(self._examine(HealthCheck(health))))

    def end(self) -> None:
        """Watch no more."""
        # A task that was cancelled refers to this object: nobody should refer to it in turn.
        while self._tasks:
            self._tasks.pop().cancel()

    async def _beat(self) -> None:
        heartbeat = self._heartbeat
        while True:
            now = time.monotonic()
            verdict = heartbeat.beat(now)
            if verdict.action is Action.DEAD and self._is_held_back():
                # Busy, not dead: its frames wait for whoever reads them. It is pinged on, since
                # sending is what shows a server that a client has left unread.
                heartbeat.heard(now)
                verdict = heartbeat.beat(now)
            if verdict.action is Action.PING:
                self._connection.ping()
            elif verdict.action is Action.DEAD:
                if hooks.heartbeat_timed_out:
                    hooks.heartbeat_timed_out()
                self._connection.close_soon(CloseCode.NO_PONG, "no pong")
                return
            await self._renew_membership(now)
            # A pong may come at once: then the next ping is due an interval from now.
            await asyncio.sleep(min(verdict.ask_at - now, heartbeat.interval))

    async def _renew_membership(self, now: float) -> None:
        membership = self._connection.membership
        if membership is None or now < membership.renew_at:
            return
        try:
            async with turns().turn(settings.redis_timeout):
                await membership.renew()
        except StoreUnavailable:
            logger.debug("Client %s: its groups are renewed later.", self._connection.client_id)

    async def _examine(self, check: HealthCheck) -> None:
        held_back_at = -math.inf
        while True:
            await asyncio.sleep(check.policy.check_interval_seconds)
            now = time.monotonic()
            if self._is_held_back():
                held_back_at = now  # it is silent because nobody listens
            vitals = self._connection.vitals(now)
            silence_seconds = min(vitals.silence_seconds, now - held_back_at)
            ailment = check.examine(vitals._replace(silence_seconds=silence_seconds))
            if ailment is not None:
                health_logger.warning(
                    "Client %s is unhealthy and is closed with code %d: %s.",
                    self._connection.client_id,
                    ailment.code,
                    ailment.reason,
                )
                self._connection.close_soon(ailment.code, ailment.reason)
                return
