"""The figures that Celery beat publishes."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from django.conf import settings
from redis import Redis

from wsadapter import online_count


def statistics(tick: str) -> dict[str, Any]:
    """The message of one tick of Celery beat."""
    redis = _redis().info()
    return {
        "type": "statistics",
        "origin": "beat",
        "tick": tick,
        "load": round(os.getloadavg()[0], 2),
        "redis_commands_per_second": redis["instantaneous_ops_per_sec"],
        "redis_connections": redis["connected_clients"],
        "redis_megabytes": round(redis["used_memory"] / 1024**2, 1),
        "online": online_count(),
    }


@cache
def _redis() -> Redis:
    return Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2)
