"""What a failure tells the client: to try again, to come back later, or not to come back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.db import DatabaseError, OperationalError
from django.utils.translation import gettext_lazy

from tests.consumers.browser import Browser, Closed
from tests.consumers.conftest import Log
from wsadapter import (
    Connection,
    Exhausted,
    Failure,
    Fatal,
    InvalidMessage,
    RateLimit,
    StoreUnavailable,
    Transient,
    abroadcast,
    handler,
    websocket,
)
from wsadapter.consumers import AdapterConsumer

Connect = Callable[..., Browser]
Raise = Callable[[], BaseException]

SECRET = "password=hunter2"


class QuotaError(Exception):
    def __init__(self) -> None:
        super().__init__(SECRET)
        self.seconds = 2.5


class SmallQuotaError(QuotaError):
    """Not declared itself."""


def quota(error: QuotaError) -> Failure:
    return Exhausted("Your quota is used up.", retry_after=error.seconds)


ERRORS = {QuotaError: quota, LookupError: Fatal}


def in_a_handler(make: Raise, **attributes: Any) -> type[AdapterConsumer]:
    @handler("work")
    async def work(self: AdapterConsumer) -> None:
        raise make()

    return type("Shop", (AdapterConsumer,), {"work": work, **attributes})


def in_receive(make: Raise, **attributes: Any) -> type[AdapterConsumer]:
    async def receive(self: AdapterConsumer, text_data: Any = None, bytes_data: Any = None) -> None:
        raise make()

    return type("Shop", (AdapterConsumer,), {"receive": receive, **attributes})


def in_connect(make: Raise, **attributes: Any) -> type[AdapterConsumer]:
    async def connect(self: AdapterConsumer) -> None:
        raise make()

    return type("Shop", (AdapterConsumer,), {"connect": connect, **attributes})


def in_an_endpoint(make: Raise, **options: Any) -> Any:
    @websocket(**options)
    async def shop(connection: Connection) -> None:
        raise make()

    return shop.as_asgi()


# What the failures are, and what a client is told

TELLING: dict[str, tuple[Raise, dict[str, Any], int]] = {
    "transient": (
        lambda: Transient("The warehouse is busy."),
        {"code": "transient", "kind": "transient", "message": "The warehouse is busy."},
        3004,
    ),
    "exhausted": (
        lambda: Exhausted("Sold out.", retry_after=3),
        {"code": "exhausted", "kind": "exhausted", "message": "Sold out.", "retry_after": 3.0},
        3013,
    ),
    "fatal": (
        lambda: Fatal("There is no such shop."),
        {"code": "fatal", "kind": "fatal", "message": "There is no such shop."},
        3501,
    ),
    "fatal, with codes of its own": (
        lambda: Fatal("Closed.", code="closed", close_code=4501),
        {"code": "closed", "kind": "fatal", "message": "Closed."},
        4501,
    ),
    "exhausted, with codes of its own": (
        lambda: Exhausted("Sold out.", code="sold_out", close_code=4013),
        {"code": "sold_out", "kind": "exhausted", "message": "Sold out."},
        4013,
    ),
    "in a language that is chosen late": (
        lambda: Transient(gettext_lazy("The warehouse is busy.")),  # type: ignore[arg-type]
        {"code": "transient", "kind": "transient", "message": "The warehouse is busy."},
        3004,
    ),
    "declared": (
        QuotaError,
        {
            "code": "exhausted",
            "kind": "exhausted",
            "message": "Your quota is used up.",
            "retry_after": 2.5,
        },
        3013,
    ),
    "declared for its base": (
        SmallQuotaError,
        {
            "code": "exhausted",
            "kind": "exhausted",
            "message": "Your quota is used up.",
            "retry_after": 2.5,
        },
        3013,
    ),
    "declared by a class": (
        lambda: KeyError(SECRET),
        {"code": "fatal", "kind": "fatal", "message": Fatal.sentence},
        3501,
    ),
    "the database is away": (
        lambda: OperationalError(SECRET),
        {"code": "transient", "kind": "transient", "message": Transient.sentence},
        3004,
    ),
    "redis is away": (
        lambda: StoreUnavailable(SECRET),
        {"code": "transient", "kind": "transient", "message": Transient.sentence},
        3004,
    ),
    "a group": (
        lambda: ExceptionGroup(SECRET, [Transient(), QuotaError()]),
        {
            "code": "exhausted",
            "kind": "exhausted",
            "message": "Your quota is used up.",
            "retry_after": 2.5,
        },
        3013,
    ),
}
telling = pytest.mark.parametrize(("make", "told", "code"), TELLING.values(), ids=TELLING)


@telling
async def test_a_handlers_failure_is_answered_with_the_id(
    browser: Connect, make: Raise, told: dict[str, Any], code: int
) -> None:
    client = browser(in_a_handler(make, errors=ERRORS))
    await client.open()
    for id in (7, "seven"):
        assert await client.request(type="work", id=id) == {"type": "ws:error", "id": id, **told}
    assert await client.request(type="work") == {"type": "ws:error", "id": None, **told}


@telling
async def test_a_failure_of_receive_is_answered_as_well(
    browser: Connect, make: Raise, told: dict[str, Any], code: int
) -> None:
    client = browser(in_receive(make, errors=ERRORS))
    await client.open()
    assert await client.request(type="anything", id=7) == {"type": "ws:error", "id": 7, **told}
    assert await client.request_raw("no JSON") == {"type": "ws:error", "id": None, **told}
    assert await client.request_raw(b"\x00") == {"type": "ws:error", "id": None, **told}


@telling
async def test_a_failure_of_connect_closes_with_its_code(
    browser: Connect, make: Raise, told: dict[str, Any], code: int
) -> None:
    client = browser(in_connect(make, errors=ERRORS))
    assert await client.refused() == Closed(code, told["message"])


@telling
async def test_a_failure_of_an_endpoint_is_told_and_closes_with_its_code(
    browser: Connect, make: Raise, told: dict[str, Any], code: int
) -> None:
    client = browser(in_an_endpoint(make, errors=ERRORS))
    await client.open()
    assert await client.receive() == {"type": "ws:error", "id": None, **told}
    assert await client.closed() == Closed(code, told["message"])


async def test_connect_may_fail_after_it_has_accepted(browser: Connect) -> None:
    class Shop(AdapterConsumer):
        async def connect(self) -> None:
            await self.accept()
            raise Exhausted("The hall is full.", retry_after=60)

    client = browser(Shop)
    await client.connect()
    assert await client.closed() == Closed(3013, "The hall is full.")


async def test_a_failure_ends_neither_the_connection_nor_the_messages_behind_it(
    browser: Connect,
) -> None:
    class Shop(AdapterConsumer):
        @handler("work")
        async def work(self) -> None:
            raise Fatal

        @handler("rest")
        async def rest(self) -> str:
            return "rested"

    client = browser(Shop)
    await client.open()
    await client.send_json_to({"type": "work", "id": 1})
    await client.send_json_to({"type": "rest", "id": 2})
    assert (await client.receive())["kind"] == "fatal"
    assert (await client.receive())["result"] == "rested"
    await abroadcast("a push")
    assert await client.receive() == "a push"


async def test_a_failure_on_a_message_of_the_layer_is_logged_and_nobody_is_told(
    browser: Connect, log: Log
) -> None:
    class Shop(AdapterConsumer):
        groups = ["shop"]

        async def order_paid(self, event: dict[str, Any]) -> None:
            raise Transient("The warehouse is busy.")

    client = browser(Shop)
    client_id = await client.open()
    await get_channel_layer().group_send("shop", {"type": "order.paid"})
    await abroadcast("a push")
    assert await client.receive() == "a push"
    await client.leave()
    assert log.lines("handlers") == [
        f"Shop failed on the message 'order.paid' of client {client_id}: The warehouse is busy."
    ]


async def test_a_failure_within_a_task_group_of_an_endpoint_counts(browser: Connect) -> None:
    async def fail() -> None:
        raise Fatal("There is no such shop.")

    @websocket
    async def shop(connection: Connection) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            group.create_task(asyncio.Event().wait())

    client = browser(shop.as_asgi())
    await client.open()
    assert (await client.receive())["code"] == "fatal"
    assert await client.closed() == Closed(3501, "There is no such shop.")


async def test_what_an_endpoint_sent_leaves_before_it_fails(browser: Connect) -> None:
    @websocket
    async def shop(connection: Connection) -> None:
        for number in range(3):
            connection.post(str(number))
        raise Fatal

    client = browser(shop.as_asgi(), takes=1)
    await client.open()
    assert [await client.receive() for _ in range(3)] == [0, 1, 2]
    assert (await client.receive())["kind"] == "fatal"
    assert (await client.closed()).code == 3501


async def test_a_close_reason_has_no_more_than_fits(browser: Connect) -> None:
    client = browser(in_an_endpoint(lambda: Fatal("я" * 200)))
    await client.open()
    assert (await client.receive())["message"] == "я" * 200
    assert (await client.closed()).reason == "я" * 61


async def test_an_endpoint_whose_client_is_gone_fails_quietly_for_it(
    browser: Connect, log: Log
) -> None:
    @websocket
    async def shop(connection: Connection) -> None:
        async for _ in connection:
            pass
        raise Transient("The warehouse is busy.")

    client = browser(shop.as_asgi())
    await client.open()
    await client.leave()
    assert len(log.lines("handlers")) == 1
    assert not log.tracebacks


# What nobody declared, or declared wrongly

WRONG: dict[str, Mapping[type[Exception], Any]] = {
    "undeclared": {},
    "declared for others": {DatabaseError: Transient},
    "a function that raises": {QuotaError: lambda error: Exhausted(error.nonsense)},
    "a function that returns nothing": {QuotaError: lambda error: None},
    "a function that returns a class": {QuotaError: lambda error: Transient},
    "a function that returns what is no failure": {QuotaError: lambda error: ValueError(SECRET)},
    "a time that is none": {QuotaError: lambda error: Exhausted(retry_after="soon")},  # type: ignore[arg-type]
    "a code that may not be sent": {QuotaError: lambda error: Fatal(close_code=1006)},
}
wrong = pytest.mark.parametrize("errors", WRONG.values(), ids=WRONG)


@wrong
async def test_any_other_error_of_a_handler_is_internal(
    browser: Connect, log: Log, errors: Mapping[type[Exception], Any]
) -> None:
    client = browser(in_a_handler(QuotaError, errors=errors))
    await client.open()
    for id in (1, 2):
        assert await client.request(type="work", id=id) == {
            "type": "ws:error",
            "id": id,
            "code": "internal_error",
            "kind": "transient",
            "message": "The server failed to handle this message.",
        }
    assert len([line for line in log.lines("handlers") if line.startswith("Shop failed")]) == 2
    assert log.tracebacks


@wrong
async def test_so_it_is_with_connect_and_an_endpoint(
    browser: Connect, log: Log, errors: Mapping[type[Exception], Any]
) -> None:
    client = browser(in_connect(QuotaError, errors=errors))
    assert await client.refused() == Closed(3004, "internal error")
    client = browser(in_an_endpoint(QuotaError, errors=errors))
    await client.open()
    assert await client.closed() == Closed(1011, "internal error")
    assert log.tracebacks


async def test_a_failure_of_ones_own_that_cannot_be_made_is_an_error_of_the_handler(
    browser: Connect, log: Log
) -> None:
    client = browser(in_a_handler(lambda: Exhausted(retry_after="soon")))  # type: ignore[arg-type]
    await client.open()
    assert (await client.request(type="work", id=7))["code"] == "internal_error"
    assert len(log.tracebacks) == 1


async def test_a_mistake_of_the_client_is_told_as_that_whatever_is_declared(
    browser: Connect,
) -> None:
    errors = {Exception: Transient}
    mistake = InvalidMessage("teapot", "I am a teapot.", id=7)
    client = browser(in_a_handler(lambda: mistake, errors=errors))
    await client.open()
    answer = await client.request(type="work", id=7)
    assert (answer["code"], answer["kind"]) == ("teapot", "fatal")
    client = browser(in_an_endpoint(lambda: mistake, errors=errors))
    await client.open()
    assert await client.closed() == Closed(3501, "I am a teapot.")


async def test_the_errors_of_one_consumer_are_those_of_no_other(browser: Connect) -> None:
    declaring = browser(in_a_handler(QuotaError, errors=ERRORS))
    other = browser(in_a_handler(QuotaError))
    await declaring.open()
    await other.open()
    assert (await declaring.request(type="work"))["code"] == "exhausted"
    assert (await other.request(type="work"))["code"] == "internal_error"


# Every error says what to do about it


class Limited(AdapterConsumer):
    rate_limit = RateLimit(0.001, burst=8)

    @handler("work")
    async def work(self, message: dict[str, int]) -> None:
        raise LookupError


@pytest.mark.parametrize(
    ("frame", "code", "kind"),
    [
        ("{", "invalid_json", "fatal"),
        ("[]", "invalid", "fatal"),
        ('{"type": "work", "number": "one"}', "invalid", "fatal"),
        ('{"type": "play"}', "unknown_type", "fatal"),
        (b"\x00", "unsupported", "fatal"),
        ('{"type": "work"}', "internal_error", "transient"),
    ],
)
async def test_every_error_has_a_kind(
    browser: Connect, frame: str | bytes, code: str, kind: str
) -> None:
    client = browser(Limited)
    await client.open()
    answer = await client.request_raw(frame)
    assert (answer["type"], answer["code"], answer["kind"]) == ("ws:error", code, kind)


async def test_who_is_limited_is_to_come_back_later(browser: Connect) -> None:
    client = browser(Limited)
    await client.open()
    for _ in range(8):
        await client.request_raw("{")
    answer = await client.request_raw("{")
    assert (answer["code"], answer["kind"]) == ("rate_limited", "exhausted")
    assert answer["retry_after"] > 0


# The log

PLACES: dict[str, tuple[Callable[..., Any], str]] = {
    "a handler": (in_a_handler, "Shop failed on the message 'work' of client {}: {}"),
    "receive": (in_receive, "Shop failed on the message 'work' of client {}: {}"),
    "an endpoint": (in_an_endpoint, "The endpoint shop failed with client {}: {}"),
}


@pytest.mark.parametrize(("place", "line"), PLACES.values(), ids=PLACES)
@pytest.mark.parametrize(
    ("make", "sentence", "has_traceback"),
    [
        (lambda: Fatal("There is no such shop."), "There is no such shop.", False),
        (lambda: Fatal("two\nlines"), r"two\nlines", False),
        (QuotaError, "Your quota is used up.", True),
        (lambda: OperationalError(SECRET), Transient.sentence, True),
    ],
    ids=["raised", "with a line break", "declared", "known"],
)
async def test_a_failure_is_a_warning_with_a_traceback_of_what_was_translated(
    browser: Connect,
    caplog: pytest.LogCaptureFixture,
    place: Callable[..., Any],
    line: str,
    make: Raise,
    sentence: str,
    has_traceback: bool,
) -> None:
    client = browser(place(make, errors=ERRORS))
    client_id = await client.open()
    if place is not in_an_endpoint:
        await client.send_json_to({"type": "work"})
    assert (await client.receive())["type"] == "ws:error"
    await client.leave()
    [record] = [each for each in caplog.records if each.name == "wsadapter.handlers"]
    assert record.levelno == logging.WARNING
    assert record.getMessage() == line.format(client_id, sentence)
    assert bool(record.exc_info) is has_traceback


async def test_a_failure_of_connect_is_logged_once_too(browser: Connect, log: Log) -> None:
    client = browser(in_connect(lambda: Fatal("There is no such shop.")))
    await client.refused()
    [line] = log.lines("handlers")
    assert line.startswith("Shop failed on the message 'websocket.connect' of client ")
    assert line.endswith(": There is no such shop.")
    assert not log.tracebacks


async def test_a_failure_counts_as_an_error_of_the_connection(browser: Connect) -> None:
    counts: list[int] = []

    class Shop(AdapterConsumer):
        @handler("work")
        async def work(self) -> None:
            counts.append(self.connection.stats.errors)
            raise Transient

    client = browser(Shop)
    await client.open()
    for _ in range(3):
        await client.request(type="work", id=1)
    assert counts == [0, 1, 2]


async def test_a_handlers_own_refusal_is_answered_with_the_id(browser: Connect) -> None:
    class Shop(AdapterConsumer):
        @handler("order")
        async def order(self) -> None:
            raise InvalidMessage("sold_out", "Sold out.")

    client = browser(Shop)
    await client.open()
    answer = await client.request(type="order", id=7)
    assert (answer["id"], answer["code"]) == (7, "sold_out")


@pytest.mark.parametrize(
    ("error", "closed"),
    [
        (Exhausted("Too many logins."), Closed(3013, "Too many logins.")),
        (OperationalError(SECRET), Closed(3004, Transient.sentence)),
        (KeyError(SECRET), Closed(3004, "internal error")),
    ],
    ids=["a failure", "a mapped error", "a bug"],
)
async def test_authenticate_may_fail_as_a_handler_may(
    browser: Connect, error: Exception, closed: Closed
) -> None:
    class Door(AdapterConsumer):
        async def authenticate(self) -> Any:
            raise error

    assert await browser(Door).refused() == closed
