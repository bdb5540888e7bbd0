from __future__ import annotations

from collections.abc import Callable

import redis
from django.conf import settings


def connections_opened_by(action: Callable[[], object]) -> int:
    """How many connections this Redis received while the action ran, from whomever."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        before = connections_received(client)
        action()
        return connections_received(client) - before


def connections_received(client: redis.Redis) -> int:
    return int(client.info("stats")["total_connections_received"])
