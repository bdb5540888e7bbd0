"""A handler that fails for a while is called again; meanwhile its connection lives on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from channels.exceptions import StopConsumer
from django.db import OperationalError

from tests.consumers.browser import Browser, Closed
from tests.consumers.conftest import Log
from tests.waiting import aeventually
from wsadapter import (
    Connection,
    Exhausted,
    Fatal,
    InvalidMessage,
    Priority,
    Retry,
    Transient,
    abroadcast,
    adisconnect_client,
    handler,
)
from wsadapter.consumers import AdapterConsumer

Connect = Callable[..., Browser]

AN_HOUR = 3600.0
SECRET = "password=hunter2"


class Order(msgspec.Struct):
    number: int


class Shop(AdapterConsumer):
    """Fails with one error after the other, as often as its client says."""

    attempts: list[Any]

    def make(self) -> Exception:
        return Transient(f"attempt {len(self.attempts)}")

    @handler("order", retry=Retry(attempts=3, first_delay_seconds=1, factor=2))
    async def order(self, message: Order) -> str:
        self.attempts.append(message)
        if len(self.attempts) <= message.number:
            raise self.make()
        return "ordered"

    @handler("look")
    async def look(self) -> str:
        return "looked"


def shop(**attributes: Any) -> type[Shop]:
    return type("Shop", (Shop,), {"attempts": [], **attributes})


def failing_with(make: Callable[[], BaseException], retry: Retry, **attributes: Any) -> type[Shop]:
    """A shop whose every attempt fails."""

    @handler("order", retry=retry)
    async def order(self: Shop) -> None:
        self.attempts.append(None)
        raise make()

    return shop(order=order, **attributes)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of all waits, which take no time."""
    seconds_of_all: list[float] = []

    async def pass_by(connection: Connection, seconds: float) -> bool:
        seconds_of_all.append(seconds)
        return False

    monkeypatch.setattr(Connection, "ends_within", pass_by)
    return seconds_of_all


# Its result


@pytest.mark.parametrize("failures", [0, 1, 2, 3])
async def test_what_works_in_the_end_is_answered_once(
    browser: Connect, log: Log, waits: list[float], failures: int
) -> None:
    client = browser(shop())
    await client.open()
    assert await client.request(type="order", id=7, number=failures) == {
        "type": "ws:reply",
        "id": 7,
        "result": "ordered",
    }
    assert waits == [1.0, 2.0, 4.0][:failures]
    assert client.output_queue.empty()
    assert not log.lines("handlers")


async def test_what_does_not_is_told_how_often_it_was_tried(
    browser: Connect, log: Log, waits: list[float]
) -> None:
    consumer = shop()
    client = browser(consumer)
    client_id = await client.open()
    assert await client.request(type="order", id=7, number=100) == {
        "type": "ws:error",
        "id": 7,
        "code": "exhausted",
        "kind": "exhausted",
        "message": "failed after 3 retries: attempt 4",
    }
    assert (len(consumer.attempts), waits) == (4, [1.0, 2.0, 4.0])
    assert log.lines("handlers") == [
        f"Shop failed on the message 'order' of client {client_id}: "
        "failed after 3 retries: attempt 4"
    ]
    assert not log.tracebacks


async def test_each_attempt_gets_the_message_as_it_came(
    browser: Connect, waits: list[float]
) -> None:
    consumer = shop()
    client = browser(consumer)
    await client.open()
    await client.request(type="order", id=7, number=2)
    assert consumer.attempts == [Order(2)] * 3
    assert len({id(order) for order in consumer.attempts}) == 3


async def test_one_message_after_the_other_has_its_own_attempts(
    browser: Connect, waits: list[float]
) -> None:
    consumer = failing_with(Transient, Retry(attempts=1, first_delay_seconds=5))
    client = browser(consumer)
    await client.open()
    for id in (1, 2):
        answer = await client.request(type="order", id=id)
        assert answer["message"] == f"failed after 1 retry: {Transient.sentence}"
    assert waits == [5.0, 5.0]


async def test_a_declared_error_is_tried_again_and_its_text_is_for_the_log_alone(
    browser: Connect, log: Log, waits: list[float]
) -> None:
    client = browser(
        failing_with(lambda: LookupError(SECRET), Retry(), errors={LookupError: Transient})
    )
    await client.open()
    answer = await client.request(type="order", id=7)
    assert answer["message"] == f"failed after 3 retries: {Transient.sentence}"
    assert len(log.tracebacks) == len(log.lines("handlers")) == 1


async def test_a_lost_database_is_tried_again(browser: Connect, waits: list[float]) -> None:
    consumer = shop(make=lambda self: OperationalError(SECRET))
    client = browser(consumer)
    await client.open()
    assert (await client.request(type="order", id=7, number=3))["result"] == "ordered"


async def test_database_connections_are_looked_after_before_each_attempt(
    browser: Connect, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    async def look_after() -> None:
        steps.append("connections")

    def make(self: Shop) -> Exception:
        steps.append("attempt")
        return Transient()

    client = browser(shop(make=make))
    await client.open()
    monkeypatch.setattr("channels.db.aclose_old_connections", look_after)
    await client.request(type="order", id=7, number=100)
    assert steps == ["connections", "attempt"] * 4


# What is tried once

OTHERS: dict[str, tuple[Callable[[], BaseException], str]] = {
    "fatal": (Fatal, "fatal"),
    "exhausted": (lambda: Exhausted(retry_after=3), "exhausted"),
    "a mistake of the client": (lambda: InvalidMessage("teapot", "I am a teapot."), "teapot"),
    "a bug": (lambda: LookupError(SECRET), "internal_error"),
    "a task of its own that is cancelled": (asyncio.CancelledError, "internal_error"),
}


@pytest.mark.parametrize(("make", "code"), OTHERS.values(), ids=OTHERS)
async def test_anything_else_is_tried_once(
    browser: Connect, waits: list[float], make: Callable[[], BaseException], code: str
) -> None:
    consumer = failing_with(make, Retry())
    client = browser(consumer)
    await client.open()
    assert (await client.request(type="order", id=7))["code"] == code
    assert (consumer.attempts, waits) == ([None], [])


async def test_a_field_that_does_not_fit_is_not_tried_again(
    browser: Connect, waits: list[float]
) -> None:
    consumer = shop()
    client = browser(consumer)
    await client.open()
    answer = await client.request(type="order", id=7, number="one")
    assert (answer["code"], answer["path"], answer["id"]) == ("invalid", "$.number", 7)
    assert (consumer.attempts, waits) == ([], [])


@pytest.mark.parametrize("errors", [{}, {Exception: Transient}], ids=["as it is", "declared"])
async def test_a_consumer_that_stops_is_not_tried_again(
    browser: Connect, waits: list[float], errors: Any
) -> None:
    consumer = failing_with(StopConsumer, Retry(), errors=errors)
    client = browser(consumer)
    await client.open()
    await client.send_json_to({"type": "order"})
    assert await client.closed() == Closed(1000, "")
    assert (consumer.attempts, waits) == ([None], [])


async def test_a_mistake_of_the_client_is_not_tried_again_whatever_is_declared(
    browser: Connect, waits: list[float]
) -> None:
    consumer = failing_with(
        lambda: InvalidMessage("teapot", "I am a teapot."), Retry(), errors={Exception: Transient}
    )
    client = browser(consumer)
    await client.open()
    assert (await client.request(type="order", id=7))["code"] == "teapot"
    assert (consumer.attempts, waits) == ([None], [])


async def test_without_retry_a_transient_failure_is_told_at_once(
    browser: Connect, waits: list[float]
) -> None:
    class Once(AdapterConsumer):
        @handler("order")
        async def order(self) -> None:
            raise Transient

    client = browser(Once)
    await client.open()
    assert (await client.request(type="order", id=7))["code"] == "transient"
    assert waits == []


# While it waits


class Waiting(Shop):
    """Its second attempt would be in an hour."""

    heartbeat_interval = 0.02
    heartbeat_timeout = 30

    @handler("order", retry=Retry(attempts=1, first_delay_seconds=AN_HOUR))
    async def order(self) -> None:  # type: ignore[override]
        self.attempts.append(None)
        raise Transient


@pytest.fixture
def waiting() -> type[Waiting]:
    return type("Waiting", (Waiting,), {"attempts": []})


async def begin_to_wait(client: Browser, waiting: type[Waiting]) -> str:
    client_id = await client.open()
    await client.send_json_to({"type": "order", "id": 7})
    await aeventually(lambda: waiting.attempts)
    return client_id


async def test_pushes_and_heartbeats_go_on(browser: Connect, waiting: type[Waiting]) -> None:
    client = browser(waiting)
    await begin_to_wait(client, waiting)
    await abroadcast("a push")
    received: list[Any] = []
    while not ("a push" in received and {"type": "ws:ping"} in received):
        received.append(await client.receive())
    await client.send_json_to({"type": "ws:ping"})
    while await client.receive() != {"type": "ws:pong"}:
        pass


async def test_messages_behind_it_wait_in_their_lanes(
    browser: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits, go_on = asyncio.Event(), asyncio.Event()

    @handler("hurry", priority=Priority.URGENT)
    async def hurry(self: Shop) -> str:
        return "hurried"

    async def wait(connection: Connection, seconds: float) -> bool:
        waits.set()
        await go_on.wait()
        return False

    monkeypatch.setattr(Connection, "ends_within", wait)
    client = browser(shop(hurry=hurry))
    await client.open()
    await client.send_json_to({"type": "order", "id": "order", "number": 1})
    await waits.wait()
    for kind in ("look", "hurry"):
        await client.send_json_to({"type": kind, "id": kind})
    await aeventually(client.input_queue.empty)
    assert client.output_queue.empty()
    go_on.set()
    answers = [(await client.receive())["result"] for _ in range(3)]
    assert answers == ["ordered", "hurried", "looked"]


@pytest.mark.parametrize("end", ["left", "cut", "kicked", "lost"])
async def test_it_ends_with_the_connection_and_nobody_is_warned(
    browser: Connect, log: Log, waiting: type[Waiting], end: str
) -> None:
    client = browser(waiting)
    client_id = await begin_to_wait(client, waiting)
    if end == "kicked":
        await adisconnect_client(client_id)
        await client.closed()
    elif end == "cut":
        await client.cut()
    else:
        await client.leave(1000 if end == "left" else 1006)
    assert waiting.attempts == [None]
    assert not log.lines("handlers")  # which would name a handler that had to be cancelled


async def test_what_waits_behind_it_is_still_handled_when_the_client_leaves(
    browser: Connect, waiting: type[Waiting]
) -> None:
    looked: list[str] = []

    class Noting(waiting):  # type: ignore[valid-type, misc]
        @handler("note")
        async def note(self, message: dict[str, Any]) -> None:
            looked.append(json.dumps(message))

    client = browser(Noting)
    await begin_to_wait(client, waiting)
    await client.send_json_to({"type": "note", "text": "hi"})
    await aeventually(client.input_queue.empty)
    await client.leave()
    assert looked == ['{"text": "hi"}']
    assert waiting.attempts == [None]


async def test_one_that_fails_once_more_after_the_end_is_not_tried_again(
    browser: Connect, log: Log
) -> None:
    """The connection ends while the handler runs, not while it waits."""
    begun, go_on = asyncio.Event(), asyncio.Event()
    attempts: list[None] = []

    class Slow(AdapterConsumer):
        @handler("order", retry=Retry(attempts=3, first_delay_seconds=AN_HOUR))
        async def order(self) -> None:
            attempts.append(None)
            begun.set()
            await go_on.wait()
            raise Transient

    client = browser(Slow)
    await client.open()
    await client.send_json_to({"type": "order"})
    await begun.wait()
    await client.send_input({"type": "websocket.disconnect", "code": 1001})
    await aeventually(client.input_queue.empty)
    go_on.set()
    await client.wait(10)
    assert attempts == [None]
    assert not log.lines("handlers")


async def test_each_attempt_gets_what_the_client_sent(browser: Connect) -> None:
    got: list[str] = []

    class Shop(AdapterConsumer):
        @handler("order", retry=Retry(attempts=1, first_delay_seconds=0))
        async def order(self, message: dict[str, Any]) -> None:
            got.append(json.dumps(message))
            message["items"].pop()
            raise Transient

    client = browser(Shop)
    await client.open()
    await client.request(type="order", id=1, items=[1, 2])
    assert got == ['{"items": [1, 2]}'] * 2
