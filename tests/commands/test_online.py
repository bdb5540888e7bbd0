"""`wsadapter_online`: what it reads and what it shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.commands.conftest import ATerminal, Record, run
from tests.redis_server import RedisServer
from tests.sites import MEMORY, REDIS, site
from wsadapter.management.commands import wsadapter_online
from wsadapter.store import RedisStore
from wsadapter.store.operations import OnlineClients, Operation

FOR_A_WHILE = 3725  # seconds: "1h 2m", and for most of a minute longer


@pytest.fixture
def after_each_look(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Do one thing after each look of ``--watch``; after the last one comes Ctrl-C."""

    def plan(*actions: Callable[[], object]) -> None:
        left: Iterator[Callable[[], object]] = iter(actions)

        def sleep(seconds: float) -> None:
            action = next(left, None)
            if action is None:
                raise KeyboardInterrupt
            action()

        monkeypatch.setattr(wsadapter_online.Command, "sleep", staticmethod(sleep))

    return plan


def test_a_table_of_connections(record: Record) -> None:
    record("c1", user_id="7", connected_for=FOR_A_WHILE)
    record("c2", lease="web-2:9:bb", address=None, path="/chat/")
    assert run("wsadapter_online").lines == [
        "2 connections, 1 user, 2 processes",
        "",
        "CLIENT ID  USER  ADDRESS      PATH    FOR    NODE",
        "c1         7     203.0.113.7  /ws/    1h 2m  web-1:41",
        "c2         -     -            /chat/  0s     web-2:9",
    ]


def test_nobody_is_one_line(on_redis: None) -> None:
    assert run("wsadapter_online").lines == ["0 connections, 0 users, 0 processes"]


def test_one_user(record: Record, django_user_model: Any, db: None) -> None:
    anna = django_user_model.objects.create(username="anna")
    record("c1", "c2", user_id=str(anna.pk))
    record("c3", user_id="another")
    for option in (("--user", str(anna.pk)), ("--username", "anna")):
        ran = run("wsadapter_online", *option)
        assert ran.lines[0] == (
            f"2 connections of user {anna.pk}; in all 3 connections, 2 users, 1 process"
        )
        assert [line.split()[0] for line in ran.lines[3:]] == ["c1", "c2"]


def test_a_username_that_nobody_has(on_redis: None, db: None) -> None:
    ran = run("wsadapter_online", "--username", "nobody")
    assert ran.code == 1
    assert "'nobody'" in ran.err and "--user" in ran.err


def test_no_more_is_read_than_is_shown(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    record(*(f"c{n:04}" for n in range(1200)))
    asked: list[int] = []
    original = RedisStore.run

    def noting(store: RedisStore, op: Operation[Any]) -> Any:
        if isinstance(op, OnlineClients):
            asked.append(op.limit)
        return original(store, op)

    monkeypatch.setattr(RedisStore, "run", noting)
    ran = run("wsadapter_online")
    assert ran.lines[-1] == "and 1 150 more"
    assert len(ran.lines) == 54
    assert len(run("wsadapter_online", "--limit", "1200").lines) == 1203
    run("wsadapter_online", "--limit", "0")
    run("wsadapter_online", "--nodes")
    assert asked == [50, 500, 500, 200]


def test_processes(record: Record) -> None:
    record("c1", "c2")
    record("c3", lease="web-2:9:bb")
    record("c4", lease="web-2:9:cc")  # another event loop of the same process
    ran = run("wsadapter_online", "--nodes")
    assert ran.lines[0] == "4 connections, 0 users, 2 processes"
    assert ran.lines[2].split() == ["HOST", "PID", "CONNECTIONS", "LEASE", "ENDS", "IN"]
    rows = [line.split() for line in ran.lines[3:]]
    assert [row[:3] for row in rows] == [["web-1", "41", "2"], *[["web-2", "9", "1"]] * 2]
    assert all(0 < int(row[3].removesuffix("s")) <= 100 for row in rows)


def test_json(record: Record) -> None:
    (client,) = record("c1", user_id="7", connected_for=FOR_A_WHILE)
    seen = json.loads(run("wsadapter_online", "--json").out)
    (listed,) = seen["clients"]
    assert listed.pop("connected_for_seconds") == pytest.approx(FOR_A_WHILE, abs=30)
    assert listed.pop("connected_at").endswith("+00:00")
    assert listed == {
        "client": "c1",
        "user": "7",
        "address": "203.0.113.7",
        "path": "/ws/",
        "node": client.process,
    }
    (node,) = seen["nodes"]
    assert (node["host"], node["pid"], node["connections"]) == ("web-1", 41, 1)
    numbers = ("connections", "users", "processes", "more")
    assert [seen[name] for name in numbers] == [1, 1, 1, 0]


def test_watching_a_pipe_prints_a_line_for_each_look(
    record: Record, after_each_look: Callable[..., None]
) -> None:
    after_each_look(lambda: record("c1"))
    ran = run("wsadapter_online", "--watch")
    assert ran.code == 0
    first, second = (line.split("  ", 1)[1] for line in ran.lines)
    assert first.startswith("0 connections")
    assert second.startswith("1 connection,")
    assert "\x1b" not in ran.out


def test_watching_as_json_is_a_document_in_each_line(
    record: Record, after_each_look: Callable[..., None]
) -> None:
    after_each_look(lambda: record("c1"))
    out = ATerminal()  # scripts may have one
    run("wsadapter_online", "--watch", "--json", out=out)
    documents = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [document["connections"] for document in documents] == [0, 1]


def test_watching_on_a_terminal_draws_in_place(
    record: Record, after_each_look: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "10")
    record(*(f"c{n}" for n in range(9)), path="/a/path/that/is/too/long/for/this/terminal/")
    after_each_look(lambda: None)
    out = ATerminal()
    assert run("wsadapter_online", "--watch", out=out).code == 0
    _, *drawings = out.getvalue().split("\x1b[H")
    assert len(drawings) == 2
    for drawing in drawings:
        lines = drawing.split("\x1b[J")[0].replace("\x1b[K", "").splitlines()
        assert len(lines) < 10 and max(map(len, lines)) <= 60
        assert lines[-1] == "and 4 more"


@pytest.mark.parametrize("out", [None, ATerminal], ids=["pipe", "terminal"])
def test_watching_goes_on_while_redis_is_away(
    own_redis: RedisServer, settings: Any, after_each_look: Callable[..., None], out: Any
) -> None:
    for setting, value in site(REDIS, [own_redis.url]).items():
        setattr(settings, setting, value)
    after_each_look(own_redis.stop, own_redis.start)
    shown = out() if out else None
    ran = run("wsadapter_online", "--watch", out=shown)
    assert ran.code == 0
    before, _, after = ran.out.partition("cannot be reached")
    assert before.count("0 connections") == after.count("0 connections") == 1


def test_without_redis_it_says_so(settings: Any, own_redis: RedisServer) -> None:
    settings.CHANNEL_LAYERS = site(REDIS, [own_redis.url])["CHANNEL_LAYERS"]
    own_redis.stop()
    ran = run("wsadapter_online")
    assert ran.code == 1
    assert f"Redis at {own_redis.url} cannot be reached" in ran.err


def test_an_in_memory_layer_is_no_zero(settings: Any) -> None:
    settings.CHANNEL_LAYERS = site(MEMORY, [])["CHANNEL_LAYERS"]
    ran = run("wsadapter_online")
    assert "RedisChannelLayer" in ran.err


@pytest.mark.parametrize("option", [("--limit", "-1"), ("--interval", "0"), ("--interval", "nan")])
def test_numbers_that_cannot_be(on_redis: None, option: tuple[str, str]) -> None:
    ran = run("wsadapter_online", *option)
    assert ran.code == 1 and option[0] in ran.err
