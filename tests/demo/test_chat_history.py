"""What the chat saves and announces, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core.management import call_command
from django.db import transaction
from django.test import override_settings
from django.utils import timezone

from demo_project.chat import figures, history, rooms
from demo_project.chat.models import Message, Room
from demo_project.chat.wire import Line, Look, Removed
from wsadapter import Fatal, Priority
from wsadapter.testing import capture_sent


@pytest.fixture(scope="module", autouse=True)
def installed(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The chat is no app of the site under test; its tables are made by its migrations."""
    apps = [*settings.INSTALLED_APPS, "demo_project.chat"]
    with django_db_blocker.unblock(), override_settings(INSTALLED_APPS=apps):
        call_command("migrate", "chat", verbosity=0)
        yield
        call_command("migrate", "chat", "zero", verbosity=0)


@pytest.fixture
def ada(db: None) -> AbstractBaseUser:
    return get_user_model().objects.create_user("ada", is_staff=True)


@pytest.fixture
def grace(db: None) -> AbstractBaseUser:
    return get_user_model().objects.create_user("grace")


@pytest.fixture(autouse=True)
def demo_rooms(ada: AbstractBaseUser, grace: AbstractBaseUser) -> None:
    rooms.make_rooms()


def numbers(lines: list[Line]) -> list[int]:
    return [line.sequence for line in lines]


def test_the_migrations_make_what_the_models_say() -> None:
    call_command("makemigrations", "chat", check_changes=True, dry_run=True, verbosity=0)


def test_what_is_said_has_the_next_number_of_its_room(
    ada: AbstractBaseUser, grace: AbstractBaseUser
) -> None:
    assert history.say("moths", ada, "One").sequence == 5
    assert history.say("engine", ada, "Two").sequence == 7
    line = history.say("moths", grace, " Three ")
    assert (line.sequence, line.author, line.text) == (6, "grace", "Three")


def test_what_is_said_is_announced_to_the_room_and_to_the_lobby(ada: AbstractBaseUser) -> None:
    with capture_sent() as sent:
        line = history.say("moths", ada, "A moth!")
    to_room, to_lobby = sent
    assert (to_room.target, to_room.data) == (history.group_of("moths"), line)
    assert to_lobby.target == history.LOBBY
    assert (to_lobby.data.last_sequence, to_lobby.data.preview) == (5, "A moth!")


def test_what_is_rolled_back_is_not_announced_and_leaves_no_number_out(
    ada: AbstractBaseUser,
) -> None:
    with capture_sent() as sent:
        with transaction.atomic():
            history.say("moths", ada, "Never mind")
            transaction.set_rollback(True)
        line = history.say("moths", ada, "This one stands")
    assert line.sequence == 5
    assert sent[0].data == line


def test_nothing_is_said_in_no_room(ada: AbstractBaseUser) -> None:
    with capture_sent() as sent, pytest.raises(Fatal, match="Enter a room"):
        history.say("", ada, "Hello?")
    assert sent == []


def test_speaking_brings_a_room_to_the_top(ada: AbstractBaseUser) -> None:
    assert [card.slug for card in history.cards()] == ["lobby", "engine", "compilers", "moths"]
    history.say("moths", ada, "Look!")
    assert [card.slug for card in history.cards()] == ["moths", "lobby", "engine", "compilers"]


def test_a_removal_is_urgent_and_takes_the_text_away(ada: AbstractBaseUser) -> None:
    with capture_sent() as sent:
        history.remove("moths", 4, ada)
    to_room, to_lobby = sent
    assert (to_room.data, to_room.priority) == (Removed("moths", 4, "ada"), Priority.URGENT)
    assert to_lobby.data.preview is None
    last = history.page("moths", Look())[-1]
    assert (last.sequence, last.text, last.removed_by) == (4, "", "ada")


def test_a_message_is_removed_once(ada: AbstractBaseUser, grace: AbstractBaseUser) -> None:
    history.remove("moths", 4, ada)
    with capture_sent() as sent:
        history.remove("moths", 4, grace)
    assert sent == []
    assert history.page("moths", Look())[-1].removed_by == "ada"


def test_what_is_not_there_cannot_be_removed(ada: AbstractBaseUser) -> None:
    with pytest.raises(Fatal, match="no message 99"):
        history.remove("moths", 99, ada)


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        (Look(), range(13, 33)),
        (Look(before=13), range(1, 13)),
        (Look(before=1), range(0)),
        (Look(after=0), range(1, 21)),
        (Look(after=30), range(31, 33)),
    ],
    ids=["newest", "before", "before-the-first", "after", "after-near-the-end"],
)
def test_history_is_read_a_page_at_a_time(look: Look, expected: range) -> None:
    assert numbers(history.page("lobby", look)) == list(expected)


def test_the_rooms_are_made_once(ada: AbstractBaseUser) -> None:
    history.say("moths", ada, "It stays.")
    rooms.make_rooms()
    assert len(history.cards()) == 4
    assert history.page("moths", Look())[-1].text == "It stays."


def test_a_room_has_to_be_there() -> None:
    history.check_room("moths")
    with pytest.raises(Fatal, match="There is no room 'butterflies'"):
        history.check_room("butterflies")


def test_the_figures_count_rooms_removals_and_minutes(ada: AbstractBaseUser) -> None:
    now = timezone.now() + timedelta(days=1)
    history.remove("moths", 4, ada)
    for minutes_ago in (0.5, 29.5, 29.9, 30.5):
        room = Room.objects.get(slug="moths")
        line = history.say("moths", ada, "Now and then")
        sent_at = now - timedelta(minutes=minutes_ago)
        Message.objects.filter(room=room, sequence=line.sequence).update(sent_at=sent_at)
    found = figures.look(now)
    assert (found.messages, found.removed, found.people) == (50, 1, 0)
    assert [(room.title, room.messages) for room in found.rooms] == [
        ("Lobby", 32),
        ("Bugs and moths", 8),
        ("Analytical Engine", 6),
        ("Compilers", 4),
    ]
    assert found.minutes == [2, *[0] * 28, 1]
