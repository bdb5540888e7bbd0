"""The rooms that the demo begins with, and what has been said in them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import timezone

from demo_project.chat.models import Message, Room


class Beginning(NamedTuple):
    slug: str
    title: str
    topic: str
    #: How long ago the last line was said, and the time between two, in seconds.
    ago_seconds: int
    pace_seconds: int
    #: In turn by Ada and Grace.
    lines: tuple[str, ...]


BEGINNINGS = (
    Beginning(
        "lobby",
        "Lobby",
        "Come in, say who you are.",
        ago_seconds=70,
        pace_seconds=47,
        lines=(
            "Good morning. Is this the new machine?",
            "It is. Come in, mind the cables.",
            "I brought a few cards along, in case it takes punched ones.",
            "It takes JSON these days.",
            "Then I shall have to learn JSON.",
            "You have learnt it by now. Braces, quotes, commas, and no comma at the end.",
            "None at the end? That is where I should have put one.",
            "Everybody would.",
            "Who keeps what we say here?",
            "The database. Each room counts its messages, and the count is in the row of the room.",
            "So two of us who speak at once cannot get the same number.",
            "One waits until the other has committed. It is over before anyone notices.",
            "And if it rolls back?",
            "Then nothing was said: no number, no message, nothing on any screen.",
            "I like a machine that keeps its word.",
            "Stop Redis on the first page, and talk on here.",
            "I did. What you said meanwhile came a moment later, all of it.",
            "Your page was told of a gap, and asked what it had missed.",
            "Is that in the library?",
            "The gap is told by the library. What was said is in the database.",
            "How do I know that you are here?",
            "My name is on the right. Close my window, and it goes.",
            "And if your window dies without a word?",
            "Then it goes a little later, once my lease is over.",
            "Even the dead pay rent here.",
            "For six seconds.",
            "What happens to somebody who cannot stop talking?",
            "Two messages a second, eight at once. After that, the box tells them to wait.",
            "And to somebody who should not have begun?",
            "You are the moderator, Ada. You remove it, and that travels in the fast lane.",
            "Past everything that is still on its way?",
            "Press the button under “A flood” and count.",
        ),
    ),
    Beginning(
        "engine",
        "Analytical Engine",
        "Notes, mostly G.",
        ago_seconds=150,
        pace_seconds=83,
        lines=(
            "Note G is done: the Bernoulli numbers, as the Engine would work them out.",
            "You know that there is a slip in step four?",
            "The fraction is upside down. I have been told.",
            "The first bug in the first program.",
            "It weaves algebraic patterns just as the Jacquard loom weaves flowers and leaves.",
            "And leaves a loose thread, as looms do.",
        ),
    ),
    Beginning(
        "compilers",
        "Compilers",
        "Words instead of numbers.",
        ago_seconds=380,
        pace_seconds=61,
        lines=(
            "They still say that computers can only do arithmetic?",
            "Nobody believed that I had a running compiler, and nobody would touch it.",
            "What did you do?",
            "Ran it. It is easier to ask forgiveness than it is to get permission.",
        ),
    ),
    Beginning(
        "moths",
        "Bugs and moths",
        "First actual case of bug being found.",
        ago_seconds=760,
        pace_seconds=95,
        lines=(
            "What is that in your logbook?",
            "A moth. Relay number 70, panel F.",
            "You taped it to the page?",
            "How else would you attach it to the ticket?",
        ),
    ),
)


@transaction.atomic
def make_rooms() -> None:
    """Makes those that do not exist yet."""
    for beginning in BEGINNINGS:
        if not Room.objects.filter(slug=beginning.slug).exists():
            _make(beginning, timezone.now())


def _make(beginning: Beginning, now: datetime) -> None:
    count = len(beginning.lines)
    last = now - timedelta(seconds=beginning.ago_seconds)
    room = Room.objects.create(
        slug=beginning.slug,
        title=beginning.title,
        topic=beginning.topic,
        last_sequence=count,
        last_activity=last,
    )
    users = get_user_model().objects
    authors = [users.get(username=name) for name in ("ada", "grace")]
    pace = timedelta(seconds=beginning.pace_seconds)
    Message.objects.bulk_create(
        Message(
            room=room,
            sequence=index + 1,
            author=authors[index % 2],
            text=text,
            sent_at=last - pace * (count - 1 - index),
        )
        for index, text in enumerate(beginning.lines)
    )
