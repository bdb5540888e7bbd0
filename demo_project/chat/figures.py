"""The figures of the chat, and the three views that a page can have of them."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
from django.db.models import Count, Q

from demo_project.chat.models import Message, Room
from wsadapter import online_user_count, with_views

MINUTES = 30


class RoomFigure(msgspec.Struct):
    title: str
    messages: int


@with_views(
    total=("messages", "removed", "people"),
    by_room=("rooms",),
    timeline=("minutes",),
)
class Figures(msgspec.Struct, tag_field="type", tag="chat.figures"):
    """One look at the whole chat.

    Attributes:
        people: users who are online, anywhere on the site.
        minutes: how many messages there were in each of the last minutes, the oldest first.
    """

    messages: int
    removed: int
    people: int
    rooms: list[RoomFigure]
    minutes: list[int]


def look(now: datetime) -> Figures:
    """Counts everything.

    Raises:
        StoreUnavailable: Redis did not answer in time.
    """
    rooms = Room.objects.annotate(count=Count("messages")).order_by("-count", "title")
    counts = Message.objects.aggregate(
        messages=Count("pk"), removed=Count("pk", filter=Q(removed_by__isnull=False))
    )
    return Figures(
        people=online_user_count(),
        rooms=[RoomFigure(room.title, room.count) for room in rooms],
        minutes=_minutes(now),
        **counts,
    )


def _minutes(now: datetime) -> list[int]:
    first = now - timedelta(minutes=MINUTES)
    counts = [0] * MINUTES
    for sent_at in Message.objects.filter(sent_at__gt=first).values_list("sent_at", flat=True):
        minutes_ago = max(0, (now - sent_at) // timedelta(minutes=1))
        counts[MINUTES - 1 - minutes_ago] += 1
    return counts
