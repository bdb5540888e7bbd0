"""Rooms, of the measure of a deploy: clients say who they are, and hear what is sent there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.dispatch import receiver
from django.urls import path

from benchmarks.ticker import room_name
from wsadapter.auth import query
from wsadapter.consumers import AdapterConsumer
from wsadapter.signals import user_went_offline

#: Gets a line for each user who is announced as gone, by whichever process.
GONE = Path(os.environ["BENCHMARK_GONE"])


class Visitor(AdapterConsumer):
    """In the room that the path names, as the user whom the query string names."""

    async def authenticate(self) -> Any:
        return query(self.scope, "user")

    async def connect(self) -> None:
        self.groups = [room_name(self.scope["url_route"]["kwargs"]["room"])]
        await self.accept()


@receiver(user_went_offline)
def note(user_id: str, **kwargs: Any) -> None:
    with GONE.open("a") as file:
        file.write(f"{user_id}\n")


routes = [path("rooms/<int:room>/", Visitor.as_asgi())]
