"""What goes over the socket: requests and replies, and what a room hears."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from demo_project.chat.models import Message

MAX_LENGTH = 1000

Text = Annotated[str, msgspec.Meta(pattern=r"\S", max_length=MAX_LENGTH)]


class Line(msgspec.Struct, tag_field="type", tag="chat.line"):
    """A message as the room sees it; a removed one has no text."""

    room: str
    sequence: int
    author: str
    text: str
    sent_at: datetime
    removed_by: str | None = None

    @classmethod
    def of(cls, message: Message) -> Line:
        """The message has its room, author and moderator loaded."""
        removed_by = message.removed_by
        return cls(
            room=message.room.slug,
            sequence=message.sequence,
            author=message.author.get_username(),
            text="" if removed_by else message.text,
            sent_at=message.sent_at,
            removed_by=removed_by and removed_by.get_username(),
        )


class Removed(msgspec.Struct, tag_field="type", tag="chat.removed"):
    room: str
    sequence: int
    by: str


class Typing(msgspec.Struct, tag_field="type", tag="chat.typing"):
    room: str
    person: str


class RoomCard(msgspec.Struct, tag_field="type", tag="chat.room"):
    """A room in the list of rooms."""

    slug: str
    title: str
    topic: str
    last_sequence: int
    last_activity: datetime
    author: str | None
    preview: str | None


class Person(msgspec.Struct):
    name: str
    tabs: int


class People(msgspec.Struct, tag_field="type", tag="chat.people"):
    """Who is here."""

    room: str
    people: list[Person]


class Enter(msgspec.Struct):
    room: Annotated[str, msgspec.Meta(max_length=50)]


class Entered(msgspec.Struct):
    room: str
    rooms: list[RoomCard]
    people: list[Person]
    lines: list[Line]


class Say(msgspec.Struct):
    text: Text


class Look(msgspec.Struct):
    """Asks for a page of history: what came before a message, or after one."""

    before: int | None = None
    after: int | None = None


class Remove(msgspec.Struct):
    sequence: int


class Noise(msgspec.Struct, tag_field="type", tag="chat.noise"):
    """One message of a flood, during which the line `spam` is removed."""

    number: int
    of: int
    spam: int
    padding: str
