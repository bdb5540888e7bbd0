"""Every code block of docs/connection.md is run, and its tables are held against the code."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import fields
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Browser, Page
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.markdown import DOCS, README
from tests.redis_server import RedisServer
from tests.shop import Shop
from tests.test_docs import codes_in
from tests.waiting import eventually
from wsadapter import Connection, HealthPolicy, Overflow, State
from wsadapter.endpoints import EndpointConsumer, Options
from wsadapter.incoming import MAX_BYTES
from wsadapter.outlet import CLOSE_SECONDS, Stats
from wsadapter.tasks import PATIENCE_SECONDS as END_SECONDS
from wsadapter.wire.health import HealthCheck, Vitals
from wsadapter.wire.lanes import LANE_SIZE

pytestmark = pytest.mark.xdist_group("connection page")  # its project is made once

PAGE = DOCS["connection"]

#: Seconds that a server may take for anything here.
PATIENCE_SECONDS = 15.0
KIB = 1024


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Shop:
    """A reader's project, with all of README and all of the page typed into it."""
    shop = Shop(
        tmp_path_factory.mktemp("conversations"),
        redis_url=f"redis://127.0.0.1:{redis_server.port}/8",
    )
    shop.type(README.blocks)
    shop.type(PAGE.blocks)
    shop.manage("migrate")
    return shop


@pytest.fixture(scope="module")
def port(shop: Shop) -> Iterator[int]:
    with shop.uvicorn("shop.asgi:application") as port:
        yield port


class Client:
    """A client that has had its welcome.

    Attributes:
        id: the client id of it.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        welcome = self.next()
        assert welcome["type"] == "ws:welcome"
        self.id: str = welcome["client"]

    def next(self) -> Any:
        frame = self.connection.recv(PATIENCE_SECONDS)
        try:
            return json.loads(frame)
        except ValueError:
            return frame

    def send(self, message: Any) -> None:
        """Text and bytes as they are, all else as JSON."""
        raw = isinstance(message, str | bytes)
        self.connection.send(message if raw else json.dumps(message))

    def ask(self, message: Any) -> Any:
        self.send(message)
        return self.next()

    def end(self) -> tuple[int, str]:
        """Read to the end: the close code and its reason."""
        return end_of(self.connection)


Open = Callable[..., AbstractContextManager[Client]]


@pytest.fixture
def client(port: int) -> Open:
    """Open a connection to a path."""

    @contextmanager
    def open_client(path: str, **options: Any) -> Iterator[Client]:
        with connect(f"ws://127.0.0.1:{port}/ws/{path}", **options) as connection:
            yield Client(connection)

    return open_client


def end_of(connection: ClientConnection) -> tuple[int, str]:
    with suppress(ConnectionClosed):
        while True:
            connection.recv(PATIENCE_SECONDS)
    close = connection.protocol.close_rcvd
    assert close is not None, "the connection was cut"
    return close.code, close.reason


def test_every_block_is_run() -> None:
    assert Counter((block.language, block.path) for block in PAGE.blocks if not block.path) == {
        ("js", None): 1
    }
    assert {block.language for block in PAGE.blocks if block.path} == {"python"}


def test_every_endpoint_is_mounted() -> None:
    typed = "".join(block.text for block in PAGE.blocks)
    endpoints = len(re.findall(r"^@websocket|= periodic\(", typed, re.MULTILINE))
    mounted = re.findall(r'path\("ws/.*/", [\w.]+\.as_asgi\(\)\)', typed)
    assert len(mounted) == endpoints + 1  # and a consumer


def test_the_system_checks_find_nothing(shop: Shop) -> None:
    assert "no issues" in shop.manage("check")


def test_the_readers_own_tests_pass(shop: Shop) -> None:
    shop.manage("test", "shop.tests.QuizTest")


# README, "Talk with one client"


def test_the_exam_of_readme(client: Open) -> None:
    with client("exam/?factor=7") as exam:
        assert exam.next() == {"type": "question", "text": "What is 7 times 7?"}
        assert exam.ask({"number": 49}) == {"type": "checked", "right": True}
        assert exam.end() == (1000, "")


def test_the_periodic_endpoint_of_readme(client: Open) -> None:
    with client("online/") as online:
        first = online.next()
    assert first["type"] == "online"
    assert first["count"] >= 1  # who has just left may still be counted


# Sending and receiving


def test_echo(client: Open) -> None:
    with client("echo/") as echo:
        assert echo.ask("hi") == "hi"
        assert echo.ask(b"\x00\x01") == b"\x00\x01"
        assert echo.ask({"type": "ws:ping"}) == {"type": "ws:pong"}


def test_history_is_read_to_its_end(client: Open) -> None:
    with client("history/?pages=3") as history:
        assert [history.next() for _ in range(3)] == [bytes(64 * KIB)] * 3
        assert history.end() == (1000, "")


def test_history_that_nobody_reads_is_given_up(client: Open, shop: Shop, port: int) -> None:
    log = shop.directory / f"server-{port}.log"
    # Compressed, so many zeros would go into the socket's buffers.
    with client("history/?pages=4000", compression=None, close_timeout=0) as history:
        end = rf"client {re.escape(history.id)} .* with code 3008 \(too slow\)"
        eventually(lambda: re.search(end, log.read_text()), within_seconds=PATIENCE_SECONDS)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ({"number": 42}, {"type": "checked", "right": True}),
        ({"number": 41}, {"type": "checked", "right": False}),
        (
            {"number": "six"},
            {"type": "unclear", "text": "Expected `int`, got `str`.", "path": "$.number"},
        ),
    ],
    ids=["right", "wrong", "unclear"],
)
def test_the_quiz(client: Open, answer: object, verdict: object) -> None:
    with client("quiz/") as quiz:
        assert quiz.next()["type"] == "question"
        assert quiz.ask(answer) == verdict
        assert quiz.end() == (1000, "")


def test_the_quiz_does_not_wait_for_ever(client: Open) -> None:
    with client("quiz/?seconds=0.01") as quiz:
        assert [quiz.next()["type"] for _ in range(2)] == ["question", "late"]


def test_what_a_function_lets_out_is_told(client: Open) -> None:
    with client("quiz/") as quiz:
        quiz.next()
        quiz.send(b"42")
        assert quiz.end() == (3501, "Expected text, got a binary frame of 2 bytes.")


# Parameters and options


def test_parameters(client: Open, shop: Shop) -> None:
    as_ada = {"additional_headers": {"Cookie": f"sessionid={shop.login()}"}}
    with client("north/orders/?page=2&user=eve&branch=south", **as_ada) as orders:
        assert orders.next() == {"user": "ada", "branch": "north", "page": 2, "state": "open"}
        assert orders.end() == (1000, "")


def test_a_wrong_parameter_is_told_as_the_page_says(port: int) -> None:
    with connect(f"ws://127.0.0.1:{port}/ws/north/orders/?page=x") as connection:
        code, reason = end_of(connection)
    assert code == 3501
    assert f"`{reason}`" in PAGE.text


def test_a_ticket_says_who_connects(client: Open, shop: Shop, port: int) -> None:
    ticket = shop.shell(
        "from django.core.signing import TimestampSigner\nprint(TimestampSigner().sign('7'))"
    ).strip()
    speaks: dict[str, Any] = {"subprotocols": ["prices.v2", "prices.v1"]}
    with client(f"prices/?ticket={ticket}", **speaks) as prices:
        assert prices.connection.subprotocol == "prices.v1"
        assert prices.ask("ACME") == {"symbol": "ACME", "to": "7"}
        for _ in range(19):  # nine of the burst are left, and after ten too many it is no flood yet
            prices.send("ACME")
        answers = [prices.next() for _ in range(19)]
        limited = [answer for answer in answers if answer.get("code") == "rate_limited"]
        assert limited and limited[0]["retry_after"] > 0
    with connect(f"ws://127.0.0.1:{port}/ws/prices/?ticket={ticket}x", **speaks) as forged:
        assert end_of(forged)[0] == 3500
    url = f"ws://127.0.0.1:{port}/ws/prices/?ticket={ticket}"
    with connect(url, subprotocols=["prices.v2"]) as stranger:  # type: ignore[list-item]
        assert end_of(stranger)[0] == 3501


def test_the_options_are_those_of_endpoints() -> None:
    told = {codes_in(row[0])[0]: codes_in(row[1])[0] for row in PAGE.table("option")}
    assert set(told) == set(Options.__annotations__)
    of_functions = {"authenticate": "None", "groups": "()"}  # a method, and Channels' own
    defaults = {name: getattr(EndpointConsumer, name) for name in set(told) - set(of_functions)}
    assert told == {name: str(default) for name, default in defaults.items()} | of_functions


# Byte streams


@pytest.fixture
def tab(chromium: Browser, port: int) -> Page:
    """A page of the site that has the page's JavaScript."""
    (script,) = (block.text for block in PAGE.blocks if block.language == "js")
    page = chromium.new_page()
    page.goto(f"http://127.0.0.1:{port}/ws/")
    page.add_script_tag(type="module", content=f"{script}\nwindow.upload = upload;")
    page.wait_for_function("() => window.upload")
    return page


def test_an_upload_from_a_browser_and_its_download(tab: Page, client: Open, shop: Shop) -> None:
    size = 5 * 1024 * KIB + 7
    number, progress = tab.evaluate(
        """async (size) => {
            const bytes = new Uint8Array(size).map((_, index) => index % 251);
            const progress = [];
            const number = await upload(new Blob([bytes]), (part) => progress.push(part));
            return [number, progress];
        }""",
        size,
    )
    content = bytes(index % 251 for index in range(size))
    assert (shop.directory / f"uploads/{UUID(number)}.bin").read_bytes() == content
    assert progress == sorted(progress) and 0 <= progress[0] <= progress[-1] <= 1
    with client(f"download/{number}/") as download:
        assert b"".join(iter(download.next, {"type": "ws:end"})) == content
        assert download.end() == (1000, "")


@pytest.mark.parametrize(
    "frames", [[bytes(9), {"type": "ws:end"}], [bytes(11)]], ids=["less", "more"]
)
def test_an_upload_of_another_size_leaves_nothing(
    client: Open, shop: Shop, frames: list[object]
) -> None:
    before = uploads(shop, "bin")
    with client("upload/?size=10") as upload:
        assert upload.next() == {"type": "upload.progress", "bytes": 0}
        for frame in frames:
            upload.send(frame)
        assert upload.end() == (4500, "not the 10 bytes that were announced")
    eventually(lambda: not uploads(shop, "part"))
    assert uploads(shop, "bin") == before


def test_an_upload_that_is_left_half_way_leaves_nothing(client: Open, shop: Shop) -> None:
    before = uploads(shop, "bin")
    with client("upload/?size=10") as upload:
        upload.send(bytes(5))
        eventually(lambda: uploads(shop, "part"))
    eventually(lambda: not uploads(shop, "part"))
    assert uploads(shop, "bin") == before


def test_an_upload_that_is_too_large_is_refused(tab: Page) -> None:
    refused = "size => upload({ size, slice: () => new Blob() }).catch((error) => error.message)"
    assert tab.evaluate(refused, 2**40) == "Closed with 4500: too large"


def uploads(shop: Shop, suffix: str) -> set[str]:
    return {path.name for path in (shop.directory / "uploads").glob(f"*.{suffix}")}


def test_a_mirror(client: Open) -> None:
    with client("mirror/") as mirror:
        assert mirror.ask(b"abc") == b"abc"
        mirror.send({"type": "ws:end"})
        assert mirror.end() == (1000, "")


# Again and again


def test_a_status_is_sent_when_it_has_changed(client: Open, shop: Shop) -> None:
    with client("status/") as status:
        before = status.next()
        shop.shell(
            "from django.contrib.auth.models import User\nUser.objects.create_user('one more')"
        )
        assert status.next() == before | {"users": before["users"] + 1}
        assert status.ask("hi")["code"] == "unsupported"


def test_a_thermometer_sends_what_is_another_value(client: Open) -> None:
    with client("thermometer/") as thermometer:
        values = [thermometer.next() for _ in range(6)]
    assert all(abs(current - last) >= 0.5 for last, current in pairwise(values))


def test_a_status_that_is_sent_from_one_place(client: Open, shop: Shop) -> None:
    with client("status-page/") as one, client("status-page/") as other:
        assert one.next() == other.next()
        shop.shell(
            "from shop.conversations import get_status\n"
            "from wsadapter import send_to_group\n"
            "send_to_group('status', get_status())"
        )
        assert one.next() == other.next()


# The end, and the rest


def test_maintenance(client: Open) -> None:
    with client("maintenance/") as maintenance:
        assert maintenance.next()["type"] == "notice"
        assert maintenance.end() == (4000, "maintenance")


def test_a_room(client: Open) -> None:
    with client("rooms/attic/") as ada:
        ada.send("is anybody here?")
        with client("rooms/attic/") as grace:
            grace.send("I am")
            assert ada.next() == {"type": "said", "text": "I am"}
        assert ada.next() == {"type": "left"}


def test_a_stopwatch(client: Open) -> None:
    with client("stopwatch/") as stopwatch:
        assert [stopwatch.next()["number"] for _ in range(3)] == [0, 1, 2]
        stopwatch.send("stop")
        while (message := stopwatch.next())["type"] == "tick":
            pass
        assert message == {"type": "stopped"}


def test_statistics(client: Open) -> None:
    with client("counted/") as counted:
        assert counted.ask("abc") == {"messages": 1, "bytes": 3}
        assert counted.ask("defg") == {"messages": 2, "bytes": 7}


def test_the_wizard(client: Open) -> None:
    with client("wizard/") as wizard:
        question = wizard.ask('"Ada"')
        assert question == {"type": "question", "text": "How old are you, Ada?"}
        assert wizard.ask("36") == {"type": "thanks", "age": 36}
        assert wizard.end() == (1000, "")


def test_the_attributes_exist() -> None:
    told = [name for row in PAGE.table("attribute") for name in codes_in(row[0])]
    assert set(told) <= set(dir(Connection))
    (states,) = (row[1] for row in PAGE.table("attribute") if "`state`" in row[0])
    assert [code for code in codes_in(states) if code.isupper()] == [each.name for each in State]


def test_the_statistics_are_those_that_exist() -> None:
    told = [name for row in PAGE.table("field") for name in codes_in(row[0])]
    assert set(told) == {each.name for each in fields(Stats)} - {"outbox"} | {"queued_bytes"}
    assert {"DROP_OLDEST", "DROP_NEWEST"} <= {each.name for each in Overflow}


WELL = Vitals(silence_seconds=0, messages=0, errors=0, queued_bytes=0, tasks=0)


@pytest.mark.parametrize(
    ("limit", "allowed", "vitals"),
    [
        ("max_silence_seconds", 60, WELL._replace(silence_seconds=61)),
        ("max_error_rate", 0.5, WELL._replace(messages=10, errors=6)),
        ("max_queued_bytes", 100, WELL._replace(queued_bytes=101)),
        ("max_tasks", 2, WELL._replace(tasks=3)),
    ],
    ids=["silence", "errors", "queue", "tasks"],
)
def test_what_is_unwell_closes_with_what_the_table_says(
    limit: str, allowed: Any, vitals: Vitals
) -> None:
    told = {codes_in(row[0])[0]: int(row[1]) for row in PAGE.table("limit")}
    assert set(told) == {each.name for each in fields(HealthPolicy)} - {"check_interval_seconds"}
    ailment = HealthCheck(HealthPolicy(**{limit: allowed})).examine(vitals)
    assert ailment is not None and ailment.code == told[limit]


def test_the_numbers_of_the_page() -> None:
    text = " ".join(PAGE.text.split())
    assert f"{LANE_SIZE} frames or {MAX_BYTES // KIB} KiB" in text
    assert f"`check_interval_seconds`, {HealthPolicy().check_interval_seconds:g} by" in text
    assert f"`close(code, reason, timeout={CLOSE_SECONDS:g})`" in text
    assert f"has {END_SECONDS:g} second" in text
