"""A whole endpoint in one line: what a function returns, again and again."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest import mock

import pytest

from tests.consumers.browser import Browser, Closed
from tests.consumers.conftest import Log
from wsadapter import (
    Connection,
    EndpointError,
    HealthPolicy,
    Priority,
    RateLimit,
    abroadcast,
    aonline_count,
    periodic,
    websocket,
    with_views,
)

Connect = Callable[..., Browser]

AT_ONCE = 0.001  # of an interval, seconds: the getters decide how far a test goes
NEVER = 3600.0


class Answers:
    """A getter that returns one value after the other, and the last one for ever."""

    def __init__(self, *values: Any) -> None:
        self.values = list(values)
        self.calls = 0

    def __call__(self) -> Any:
        self.calls += 1
        return self.values.pop(0) if len(self.values) > 1 else self.values[0]


async def test_what_it_returns_comes_at_once_and_again(browser: Connect) -> None:
    client = browser(periodic(partial(next, itertools.count(10)), interval=AT_ONCE).as_asgi())
    await client.open()
    assert [await client.receive() for _ in range(3)] == [10, 11, 12]


async def test_the_first_does_not_wait_for_the_interval(browser: Connect) -> None:
    client = browser(periodic(Answers({"users": 3}), interval=NEVER).as_asgi())
    await client.open()
    assert await client.receive() == {"users": 3}


async def test_an_async_getter_is_awaited(browser: Connect) -> None:
    async def status() -> str:
        return "well"

    client = browser(periodic(status, interval=NEVER).as_asgi())
    await client.open()
    assert await client.receive() == "well"


async def test_what_has_not_changed_is_not_sent_again(browser: Connect) -> None:
    answers = Answers("a", "a", "b", "b", "a", "end")
    client = browser(periodic(answers, interval=AT_ONCE).as_asgi())
    await client.open()
    assert [await client.receive() for _ in range(4)] == ["a", "b", "a", "end"]


async def test_without_deduplication_everything_is_sent(browser: Connect) -> None:
    client = browser(periodic(Answers("same"), interval=AT_ONCE, deduplicate=False).as_asgi())
    await client.open()
    assert [await client.receive() for _ in range(3)] == ["same"] * 3


async def test_a_function_may_say_what_is_a_duplicate(browser: Connect) -> None:
    def is_near(last: int, current: int) -> bool:
        return abs(current - last) < 10

    answers = Answers(100, 105, 109, 110, 101, 100)
    client = browser(periodic(answers, interval=AT_ONCE, deduplicate=is_near).as_asgi())
    await client.open()
    assert [await client.receive() for _ in range(3)] == [100, 110, 100]


@pytest.mark.parametrize("frame", ["text", b"binary", '{"type":"chat.say"}'], ids=repr)
async def test_what_the_client_sends_is_answered_with_an_error(
    browser: Connect, log: Log, frame: str | bytes
) -> None:
    client = browser(periodic(Answers("well"), interval=NEVER).as_asgi())
    await client.open()
    assert await client.receive() == "well"
    answer = await client.request_raw(frame)
    assert (answer["type"], answer["code"]) == ("ws:error", "unsupported")
    assert await client.request(type="ws:ping") == {"type": "ws:pong"}
    assert not log.lines("handlers")


async def test_a_getter_that_raises_closes_with_1011(browser: Connect, log: Log) -> None:
    def broken() -> None:
        raise LookupError("a secret")

    client = browser(periodic(broken, interval=AT_ONCE).as_asgi())
    client_id = await client.open()
    assert await client.closed() == Closed(1011, "internal error")
    assert log.lines("handlers") == [f"The endpoint broken failed with client {client_id}."]
    assert len(log.tracebacks) == 1


async def test_what_cannot_be_sent_closes_with_1011(browser: Connect, log: Log) -> None:
    client = browser(periodic(object, interval=AT_ONCE).as_asgi())
    await client.open()
    assert (await client.closed()).code == 1011
    assert len(log.tracebacks) == 1


async def test_when_the_client_goes_nothing_more_is_asked_for(browser: Connect, log: Log) -> None:
    answers = Answers("well")
    client = browser(periodic(answers, interval=AT_ONCE).as_asgi())
    await client.open()
    assert await client.receive() == "well"
    await client.leave()
    calls = answers.calls
    await browser(periodic(Answers("other"), interval=AT_ONCE).as_asgi()).open()
    assert answers.calls == calls
    assert not log.lines("handlers") and not log.tracebacks


async def test_an_async_getter_that_waits_is_cancelled_with_the_client(browser: Connect) -> None:
    begun, notes = asyncio.Event(), []

    async def endless() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            notes.append("ended")

    client = browser(periodic(endless, interval=NEVER).as_asgi())
    await client.open()
    await begun.wait()
    await client.leave()
    assert notes == ["ended"]


async def test_it_is_counted_and_takes_pushes_as_others_do(browser: Connect) -> None:
    client = browser(periodic(Answers("well"), interval=NEVER).as_asgi())
    await client.open()
    assert await client.receive() == "well"
    assert await aonline_count() == 1
    await abroadcast("a push")
    assert await client.receive() == "a push"


async def test_each_client_has_its_own_first_answer(browser: Connect) -> None:
    application = periodic(Answers("well"), interval=NEVER).as_asgi()
    for client in (browser(application), browser(application)):
        await client.open()
        assert await client.receive() == "well"


async def test_it_takes_the_options_of_an_endpoint(browser: Connect) -> None:
    endpoint = periodic(
        Answers("well"),
        interval=NEVER,
        welcome=False,
        allow_anonymous=False,
        rate_limit=RateLimit(0.001, burst=1),
        health=HealthPolicy(max_silence_seconds=NEVER),
    )
    client = browser(endpoint.as_asgi(), user=7)
    await client.connect()
    assert await client.receive() == "well"
    codes = [(await client.request(type="chat.say"))["code"] for _ in range(2)]
    assert codes == ["unsupported", "rate_limited"]
    assert (await browser(endpoint.as_asgi()).refused()).code == 3500


@pytest.mark.parametrize(
    ("get", "name"), [(dict, "dict"), (Answers(1), "Answers"), (partial(dict), "dict")]
)
def test_its_name_is_that_of_the_getter(get: Callable[[], Any], name: str) -> None:
    endpoint = periodic(get, interval=1)
    assert endpoint.__name__ == endpoint.as_asgi().consumer_class.__name__ == name


def test_a_misspelt_option_is_refused() -> None:
    options: Any = {"deduplicated": True}
    with pytest.raises(EndpointError, match="no option 'deduplicated'"):
        periodic(dict, interval=1, **options)


@with_views(summary=("id",))
@dataclass
class Status:
    id: int
    text: str
    type: str = "status"


async def test_it_is_sent_in_the_view_that_the_client_has_chosen(browser: Connect) -> None:
    endpoint = periodic(Answers(Status(1, "well")), interval=AT_ONCE, views=["default", "summary"])
    client = browser(endpoint.as_asgi(), "/ws/?view=summary")
    await client.open()
    assert await client.receive() == {"id": 1}
    await client.frame('{"type":"ws:view","view":"default"}')
    assert await client.receive() == {"id": 1, "text": "well", "type": "status"}


async def test_it_is_sent_in_the_lane_of_its_type(browser: Connect) -> None:
    lanes: list[Priority] = []

    @websocket(priorities={"status": Priority.LOW})
    async def status(connection: Connection) -> None:
        send_event = connection.send_event

        async def noting(event: Any, priority: Priority, timeout: Any) -> bool:
            lanes.append(priority)
            return await send_event(event, priority, timeout)

        with mock.patch.object(type(connection), "send_event", staticmethod(noting)):
            sending = connection.send_periodically(Answers(Status(1, "well")), interval=NEVER)
            await asyncio.wait_for(sending, None)

    client = browser(status.as_asgi())
    await client.open()
    assert (await client.receive())["id"] == 1
    await client.leave()
    assert lanes == [Priority.LOW]
