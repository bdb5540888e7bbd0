"""`wsadapter_send`: to whom it sends what, and what it says of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from io import BytesIO, StringIO, TextIOWrapper
from typing import Any

import pytest

from tests.commands.conftest import Record, run
from tests.redis_server import RedisServer
from tests.sites import MEMORY, REDIS, site
from wsadapter import Receipt, conf
from wsadapter.groups import EVERYONE
from wsadapter.management.commands.wsadapter_send import told
from wsadapter.testing import SentList, capture_sent

DATA = '{"type": "deploy", "version": 7}'


@pytest.fixture
def sent(on_redis: None) -> Iterator[SentList]:
    with capture_sent() as sent:
        yield sent


@pytest.mark.parametrize(
    ("options", "helper", "target"),
    [
        (["--all"], "broadcast", None),
        (["--user", "7", "--user", "8"], "send_to_users", ("7", "8")),
        (["--client", "c1"], "send_to_client", "c1"),
        (["--group", "news of today"], "send_to_group", "news of today"),
    ],
    ids=["all", "users", "client", "group"],
)
def test_whom(sent: SentList, options: list[str], helper: str, target: Any) -> None:
    assert run("wsadapter_send", *options, DATA).code == 0
    assert (sent[0].helper, sent[0].target) == (helper, target)
    assert sent[0].json == {"type": "deploy", "version": 7}
    assert not sent[0].authenticated_only


def test_users_by_name(sent: SentList, django_user_model: Any, db: None) -> None:
    names = ("anna", "bert")
    keys = [str(django_user_model.objects.create(username=name).pk) for name in names]
    run("wsadapter_send", "--username", "anna", "--username", "bert", DATA)
    assert list(sent[0].target) == keys
    ran = run("wsadapter_send", "--username", "anna", "--username", "nobody", DATA)
    assert ran.code == 1 and "'nobody'" in ran.err
    assert len(sent) == 1


def test_users_only(sent: SentList) -> None:
    run("wsadapter_send", "--all", "--authenticated-only", DATA)
    assert sent[0].authenticated_only
    ran = run("wsadapter_send", "--group", "news", "--authenticated-only", DATA)
    assert ran.code == 1 and "--all" in ran.err


def test_whom_must_be_said_once(sent: SentList) -> None:
    assert run("wsadapter_send", DATA).code == 1
    assert run("wsadapter_send", "--all", "--client", "c1", DATA).code == 1
    assert not sent


@pytest.mark.parametrize("data", ["[1, 2]", '"text"', "12", "null", f" {DATA}\n"])
def test_json_arrives_as_it_was_typed(sent: SentList, data: str) -> None:
    run("wsadapter_send", "--all", data)
    assert sent[0].frame == data.strip()


@pytest.mark.parametrize("data", ["{type: deploy}", "hello", "", "NaN", "[" * 100_000])
def test_what_is_no_json_is_refused(sent: SentList, data: str) -> None:
    ran = run("wsadapter_send", "--all", data)
    assert ran.code == 1
    assert "no JSON" in ran.err and "--text" in ran.err
    assert not sent


def test_text(sent: SentList) -> None:
    run("wsadapter_send", "--all", "--text", " hello ")
    assert sent[0].frame == " hello "


def test_stdin(sent: SentList, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO(f"{DATA}\n"))
    run("wsadapter_send", "--all", "-")
    monkeypatch.setattr(sys, "stdin", StringIO("two\nlines\n"))
    run("wsadapter_send", "--all", "--text", "-")
    assert [message.frame for message in sent] == [DATA, "two\nlines"]


def test_stdin_that_is_no_text(sent: SentList, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(b"\xff"), encoding="utf-8"))
    ran = run("wsadapter_send", "--all", "-")
    assert ran.code == 1 and "stdin is no text" in ran.err


def test_types_of_wsadapter_itself_are_refused(sent: SentList) -> None:
    ran = run("wsadapter_send", "--all", '{"type": "ws:ping"}')
    assert ran.code == 1
    assert '"ws:ping" cannot be sent' in ran.err


def test_text_that_no_frame_can_carry(sent: SentList) -> None:
    ran = run("wsadapter_send", "--all", "--text", "\udcff")  # an argument that was not UTF-8
    assert ran.code == 1 and ran.err and not sent


@pytest.mark.parametrize(
    ("receipt", "words"),
    [
        (Receipt(processes=1), "Reached 1 server process."),
        (Receipt(processes=2), "Reached 2 server processes."),
        (Receipt(processes=1, online=True), "Sent; the client is connected."),
        (Receipt(processes=None), "Sent. This channel layer does not tell"),
    ],
    ids=["one", "two", "client", "unknown"],
)
def test_receipts_in_words(receipt: Receipt, words: str) -> None:
    assert told(receipt).startswith(words)


def test_what_reached_a_process(on_redis: None, redis_server: RedisServer) -> None:
    with redis_server.client() as client, client.pubsub() as process:
        process.subscribe(conf.layer().group_channel(EVERYONE))
        assert process.get_message(timeout=5)
        ran = run("wsadapter_send", "--all", DATA)
    assert (ran.code, ran.lines) == (0, ["Reached 1 server process."])


@pytest.mark.parametrize("whom", [["--all"], ["--user", "7"], ["--group", "news"]], ids="-".join)
def test_what_reached_nobody(on_redis: None, whom: list[str]) -> None:
    ran = run("wsadapter_send", *whom, DATA)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "Nobody is connected who would get it.\n"


def test_a_client_that_is_there_or_not(record: Record) -> None:
    record("c1")
    assert run("wsadapter_send", "--client", "c1", DATA).code == 0
    ran = run("wsadapter_send", "--client", "c2", DATA)
    assert (ran.code, ran.err) == (1, "The client is not connected.\n")


def test_without_redis(settings: Any, own_redis: RedisServer) -> None:
    settings.CHANNEL_LAYERS = site(REDIS, [own_redis.url])["CHANNEL_LAYERS"]
    own_redis.stop()
    ran = run("wsadapter_send", "--all", DATA)
    assert ran.code == 1
    assert f"Redis at {own_redis.url} cannot be reached" in ran.err


def test_an_in_memory_layer_reaches_nobody(settings: Any) -> None:
    settings.CHANNEL_LAYERS = site(MEMORY, [])["CHANNEL_LAYERS"]
    ran = run("wsadapter_send", "--all", DATA)
    assert ran.code == 1 and "RedisChannelLayer" in ran.err
