"""`wsadapter_disconnect`: whom it closes, with what, and what it asks before."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.commands.conftest import Record, run
from tests.redis_server import RedisServer
from wsadapter import EVERYONE, conf
from wsadapter.groups import SILENT
from wsadapter.testing import Disconnected, SentList, capture_sent
from wsadapter.wire.orders import Kick

REASON = "disconnected by the server"


@pytest.fixture
def sent(on_redis: None) -> Iterator[SentList]:
    with capture_sent() as sent:
        yield sent


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], list[str]]:
    """What the operator says, None for nobody there; gives the questions that were asked."""

    def say(words: str | None) -> list[str]:
        asked: list[str] = []

        def ask(question: str) -> str:
            asked.append(question)
            if words is None:
                raise EOFError
            return words

        monkeypatch.setattr(builtins, "input", ask)
        return asked

    return say


@pytest.fixture
def everybody(on_redis: None, redis_server: RedisServer) -> Iterator[Callable[[], list[Kick]]]:
    """What reaches the two groups that all connections are in."""
    with redis_server.client() as client, client.pubsub() as process:
        for group in (EVERYONE, SILENT):
            process.subscribe(conf.layer().group_channel(group))
            assert process.get_message(timeout=5)

        def kicks() -> list[Kick]:
            found = []
            while (message := process.get_message(timeout=0.1)) is not None:
                found.append(Kick.from_message(conf.layer().deserialize(message["data"])))
            return found

        yield kicks


def test_a_user(sent: SentList, django_user_model: Any, db: None) -> None:
    anna = django_user_model.objects.create(username="anna")
    run("wsadapter_disconnect", "--user", str(anna.pk))
    run("wsadapter_disconnect", "--username", "anna", "--code", "3001", "--reason", "move on")
    assert sent.disconnected == [
        Disconnected("disconnect_user", str(anna.pk), 3503, REASON),
        Disconnected("disconnect_user", str(anna.pk), 3001, "move on"),
    ]


def test_a_client(sent: SentList) -> None:
    run("wsadapter_disconnect", "--client", "c1")
    assert sent.disconnected == [Disconnected("disconnect_client", "c1", 3503, REASON)]


def test_it_says_how_many(record: Record) -> None:
    record("c1", "c2", user_id="7")
    assert run("wsadapter_disconnect", "--user", "7").out == (
        "Disconnected 2 connections, not to come back.\n"
    )
    assert run("wsadapter_disconnect", "--client", "c1", "--code", "3001").out == (
        "Disconnected 1 connection.\n"
    )
    assert run("wsadapter_disconnect", "--user", "8").out == "Disconnected 0 connections.\n"


def test_all_of_them(record: Record, everybody: Callable[[], list[Kick]]) -> None:
    record("c1", "c2", "c3")
    ran = run("wsadapter_disconnect", "--all", "--yes", "--reason", "maintenance")
    assert ran.out == "Disconnected 3 connections, not to come back.\n"
    assert everybody() == [Kick(3503, "maintenance")] * 2


@pytest.mark.parametrize(
    ("code", "warned"), [("3503", "do not come back"), ("3001", "clients come back")]
)
def test_all_of_them_after_a_question(
    record: Record,
    everybody: Callable[[], list[Kick]],
    answer: Callable[[str | None], list[str]],
    code: str,
    warned: str,
) -> None:
    record("c1", "c2")
    asked = answer("y")
    assert run("wsadapter_disconnect", "--all", "--code", code).code == 0
    (question,) = asked
    assert "2 connections" in question and warned in question
    assert len(everybody()) == 2


@pytest.mark.parametrize("words", ["", "n", "perhaps", None])
def test_nobody_unless_it_is_meant(
    record: Record,
    everybody: Callable[[], list[Kick]],
    answer: Callable[[str | None], list[str]],
    words: str | None,
) -> None:
    record("c1")
    answer(words)
    ran = run("wsadapter_disconnect", "--all")
    assert ran.code == 1 and ran.err
    assert ("--yes" in ran.err) == (words is None)
    assert everybody() == []


@pytest.mark.parametrize("option", ["--no-input", "--noinput"])
def test_the_names_that_django_has_for_it(
    record: Record, everybody: Callable[[], list[Kick]], option: str
) -> None:
    assert run("wsadapter_disconnect", "--all", option).code == 0
    assert len(everybody()) == 2


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--code", "1006", "1006 is no close code"),
        ("--code", "5000", "5000 is no close code"),
        ("--reason", "é" * 62, "123 bytes"),
        ("--reason", "\udcff", "encode"),
    ],
    ids=["reserved", "unknown", "long", "no text"],
)
def test_what_no_close_frame_can_carry(sent: SentList, option: str, value: str, says: str) -> None:
    ran = run("wsadapter_disconnect", "--user", "7", option, value)
    assert ran.code == 1 and says in ran.err
    assert not sent.disconnected


def test_whom_must_be_said_once(sent: SentList) -> None:
    assert run("wsadapter_disconnect").code == 1
    assert run("wsadapter_disconnect", "--all", "--user", "7").code == 1
