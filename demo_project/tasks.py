"""What Celery does: a long job that reports to its user, and the statistics of every tick."""

from __future__ import annotations

import time
from typing import Any

from celery import Task

from demo_project.celery import app
from demo_project.measurements import statistics
from wsadapter import broadcast, send_to_user

STEP_SECONDS = 0.15


@app.task
def make_report(user_id: int, click: str) -> None:
    for percent in range(0, 101, 5):
        send_to_user(user_id, progress(percent, click))
        time.sleep(STEP_SECONDS)


@app.task(bind=True)
def publish_statistics(self: Task) -> None:
    broadcast(statistics(tick=self.request.id))


def progress(percent: int, click: str) -> dict[str, Any]:
    return {"type": "progress", "origin": "celery", "percent": percent, "click": click}
