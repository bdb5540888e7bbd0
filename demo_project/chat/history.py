"""What is said, and what was: each change is saved and announced in one transaction."""

from __future__ import annotations

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import F, OuterRef, Subquery
from django.utils import timezone

from demo_project.chat.models import Message, Room
from demo_project.chat.wire import Line, Look, Removed, RoomCard
from wsadapter import Fatal, Priority, send_to_group

#: The group of everybody who has the chat open, whichever room they are in.
LOBBY = "chat"

PAGE_LINES = 20
PREVIEW_LENGTH = 60


def group_of(room: str) -> str:
    return f"chat, room {room}"


@transaction.atomic
def say(room: str, author: AbstractBaseUser, text: str) -> Line:
    now = timezone.now()
    counted = {"last_sequence": F("last_sequence") + 1, "last_activity": now}
    # The row stays locked until the commit: whoever speaks next in this room has the next number.
    if not Room.objects.filter(slug=room).update(**counted):
        raise Fatal("Enter a room before you say something.")
    place = Room.objects.get(slug=room)
    message = Message.objects.create(
        room=place, sequence=place.last_sequence, author=author, text=text.strip(), sent_at=now
    )
    line = Line.of(message)
    send_to_group(group_of(room), line, on_commit=True)
    send_to_group(LOBBY, card(room), on_commit=True)
    return line


@transaction.atomic
def remove(room: str, sequence: int, moderator: AbstractBaseUser) -> None:
    message = Message.objects.filter(room__slug=room, sequence=sequence).first()
    if message is None:
        raise Fatal(f"There is no message {sequence} in this room.")
    if message.removed_by_id is not None:
        return  # somebody else was faster
    message.removed_by = moderator
    message.save(update_fields=["removed_by"])
    removed = Removed(room, sequence, moderator.get_username())
    send_to_group(group_of(room), removed, priority=Priority.URGENT, on_commit=True)
    send_to_group(LOBBY, card(room), priority=Priority.URGENT, on_commit=True)


def check_room(room: str) -> None:
    """Raises Fatal if there is no such room."""
    if not Room.objects.filter(slug=room).exists():
        raise Fatal(f"There is no room {room!r}.")


def page(room: str, look: Look) -> list[Line]:
    """The newest lines, or those next to the one that is asked about; the oldest first."""
    messages = Message.objects.filter(room__slug=room).select_related(
        "room", "author", "removed_by"
    )
    if look.after is not None:
        return [Line.of(each) for each in messages.filter(sequence__gt=look.after)[:PAGE_LINES]]
    if look.before is not None:
        messages = messages.filter(sequence__lt=look.before)
    newest_first = messages.order_by("-sequence")[:PAGE_LINES]
    return [Line.of(each) for each in newest_first][::-1]


def cards() -> list[RoomCard]:
    """All rooms, the last active one first."""
    newest = Message.objects.filter(
        room=OuterRef("pk"), sequence=OuterRef("last_sequence"), removed_by=None
    )
    rooms = Room.objects.annotate(
        newest_text=Subquery(newest.values("text")),
        newest_author=Subquery(newest.values("author__username")),
    )
    return [
        RoomCard(
            slug=room.slug,
            title=room.title,
            topic=room.topic,
            last_sequence=room.last_sequence,
            last_activity=room.last_activity,
            author=room.newest_author,
            preview=room.newest_text and room.newest_text[:PREVIEW_LENGTH],
        )
        for room in rooms
    ]


def card(room: str) -> RoomCard:
    return next(each for each in cards() if each.slug == room)
