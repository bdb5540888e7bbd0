from __future__ import annotations

import asyncio
import os
from typing import Any

from celery import shared_task

import wsadapter
from tests.project import sending
from tests.project.redis_connections import connections_opened_by


@shared_task
def send(target: str, data: Any, **options: Any) -> Any:
    """Send from the worker; the last receipt."""
    return sending.send(target, data, **options)


@shared_task
def asend(target: str, data: Any, **options: Any) -> Any:
    """The same through the twin, on an event loop of the task's own."""
    return asyncio.run(sending.asend(target, data, **options))


@shared_task
def connections_opened(target: str, data: Any, **options: Any) -> int:
    """How many Redis connections the sending of this opened."""
    return connections_opened_by(lambda: sending.send(target, data, **options))


@shared_task
def counts() -> dict[str, int]:
    return {"clients": wsadapter.online_count(), "users": wsadapter.online_user_count()}


@shared_task
def pid() -> int:
    return os.getpid()
