"""How many messages of one type a client may send, whatever it sends beside them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.consumers.browser import Browser, Closed
from tests.consumers.conftest import Log
from wsadapter import RateLimit, handler
from wsadapter.consumers import AdapterConsumer
from wsadapter.wire.priorities import SUBPROTOCOL

Connect = Callable[..., Browser]

#: Two at once, and the next one in a quarter of an hour.
TWO = RateLimit(0.001, burst=2)
ONE = RateLimit(0.002, burst=1)


class Chat(AdapterConsumer):
    @handler("say", rate_limit=TWO)
    async def say(self) -> str:
        return "said"

    @handler("look")
    async def look(self) -> str:
        return "looked"


class Listed(AdapterConsumer):
    """The same, as a list of the class."""

    rate_limits = {"say": TWO}

    @handler("say")
    async def say(self) -> str:
        return "said"

    @handler("look")
    async def look(self) -> str:
        return "looked"


both_ways = pytest.mark.parametrize("consumer", [Chat, Listed])


class Clock:
    """What the gates of connections take for the time."""

    def __init__(self) -> None:
        self.seconds = time.monotonic()

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("wsadapter.gate.time", clock)
    return clock


async def said(client: Browser, count: int, type: str = "say") -> list[str]:
    """What so many messages of a type are answered with: a result, or the code of an error."""
    answers = [await client.request(type=type, id=number) for number in range(count)]
    return [answer.get("result") or answer["code"] for answer in answers]


@both_ways
async def test_what_is_too_much_is_refused_with_its_id_and_the_time_to_wait(
    browser: Connect, consumer: type[AdapterConsumer]
) -> None:
    client = browser(consumer)
    await client.open()
    assert await said(client, 2) == ["said", "said"]
    refused = await client.request(type="say", id="third")
    assert 0 < refused.pop("retry_after") <= 1000
    assert refused == {
        "type": "ws:error",
        "id": "third",
        "code": "rate_limited",
        "kind": "exhausted",
        "message": "More than 0.001 messages a second are not taken here.",
    }


@both_ways
async def test_messages_of_other_types_pass(
    browser: Connect, consumer: type[AdapterConsumer]
) -> None:
    client = browser(consumer)
    await client.open()
    assert await said(client, 3) == ["said", "said", "rate_limited"]
    assert await said(client, 5, "look") == ["looked"] * 5
    assert await client.request(type="ws:ping") == {"type": "ws:pong"}
    assert await said(client, 1) == ["rate_limited"]


@both_ways
async def test_each_connection_has_a_limit_of_its_own(
    browser: Connect, consumer: type[AdapterConsumer]
) -> None:
    for client in (browser(consumer), browser(consumer)):
        await client.open()
        assert await said(client, 3) == ["said", "said", "rate_limited"]


async def test_each_type_has_a_limit_of_its_own(browser: Connect) -> None:
    class Twofold(Chat):
        rate_limits = {"look": ONE}

    client = browser(Twofold)
    await client.open()
    assert await said(client, 2, "look") == ["looked", "rate_limited"]
    assert await said(client, 3) == ["said", "said", "rate_limited"]
    refused = await client.request(type="look")
    assert refused["message"] == "More than 0.002 messages a second are not taken here."


@both_ways
async def test_who_goes_on_and_on_is_closed(
    browser: Connect, log: Log, consumer: type[AdapterConsumer]
) -> None:
    flooding, other = browser(consumer), browser(consumer)
    client_id = await flooding.open()
    await other.open()
    for number in range(13):  # two pass, ten are refused
        await flooding.send_json_to({"type": "say", "id": number})
    assert await flooding.closed() == Closed(3013, "too many messages")
    assert await said(other, 1) == ["said"]
    assert [line for line in log.lines("connection") if client_id in line and "3013" in line]


async def test_who_says_something_else_in_between_is_closed_as_well(browser: Connect) -> None:
    """What counts is how often the type itself was refused."""
    client = browser(Chat)
    await client.open()
    assert await said(client, 12) == ["said"] * 2 + ["rate_limited"] * 10
    assert await said(client, 5, "look") == ["looked"] * 5
    await client.send_json_to({"type": "say"})
    assert (await client.closed()).code == 3013


async def test_the_limit_of_the_connection_holds_beside_it(browser: Connect) -> None:
    class Narrow(Chat):
        rate_limit = RateLimit(0.005, burst=4)

    client = browser(Narrow)
    await client.open()
    assert await said(client, 3) == ["said", "said", "rate_limited"]
    assert await said(client, 2, "look") == ["looked", "rate_limited"]
    refused = await client.request(type="say")
    assert "0.005 messages" in refused["message"]


async def test_what_the_connections_limit_refuses_does_not_count_for_the_type(
    browser: Connect, clock: Clock
) -> None:
    class Narrow(Chat):
        rate_limit = RateLimit(1, burst=1)

    client = browser(Narrow)
    await client.open()
    assert await said(client, 1, "look") == ["looked"]
    assert await said(client, 3) == ["rate_limited"] * 3
    answers = []
    for _ in range(3):
        clock.seconds += 1
        answers += await said(client, 1)
    assert answers == ["said", "said", "rate_limited"]


async def test_after_the_time_to_wait_a_message_passes(browser: Connect, clock: Clock) -> None:
    client = browser(Chat)
    await client.open()
    assert await said(client, 2) == ["said", "said"]
    retry_after = (await client.request(type="say"))["retry_after"]
    clock.seconds += retry_after / 2
    assert await said(client, 1) == ["rate_limited"]
    clock.seconds += retry_after / 2
    assert await said(client, 2) == ["said", "rate_limited"]


async def test_what_a_handler_says_stands_over_the_list(browser: Connect) -> None:
    class Listing(Chat):
        rate_limits = {"say": RateLimit(1000), "look": ONE}

    client = browser(Listing)
    await client.open()
    assert await said(client, 3) == ["said", "said", "rate_limited"]
    assert await said(client, 2, "look") == ["looked", "rate_limited"]


async def test_a_subclass_has_the_list_of_its_base_and_the_limits_of_its_own_handlers(
    browser: Connect,
) -> None:
    class Base(Chat):
        rate_limits = {"look": ONE}

    class Free(Base):
        @handler("say")
        async def say(self) -> str:
            return "said"

    Base.as_asgi()  # which leaves nothing behind
    client = browser(Free)
    await client.open()
    assert await said(client, 5) == ["said"] * 5
    assert await said(client, 2, "look") == ["looked", "rate_limited"]


@pytest.mark.parametrize(
    "frame",
    [
        '{"id": 1, "type": "say"}',
        '{ "type" : "say" }',
        '{"type": "s\\u0061y"}',
        '{"type": "look", "type": "say"}',
        '{"text": {"type": "look"}, "type": "say"}',
        '{"type": "say", "priority": {"any": "thing"}}',
        '{"type": "say", "id": 1.5}',
    ],
)
async def test_a_limit_is_not_got_around_by_another_spelling(browser: Connect, frame: str) -> None:
    client = browser(Chat)
    await client.open()
    await said(client, 2)
    assert (await client.request_raw(frame))["code"] == "rate_limited"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", "invalid_json"),
        ("[1]", "invalid"),
        ('"say"', "invalid"),
        ('{"type": 7}', "invalid"),
        ('{"id": 7}', "invalid"),
        ('{"type": ""}', "unknown_type"),
        (b'{"type": "say"}', "unsupported"),
    ],
)
async def test_what_is_of_no_type_is_answered_as_without_limits(
    browser: Connect, frame: str | bytes, code: str
) -> None:
    client = browser(Chat)
    await client.open()
    await said(client, 3)
    assert (await client.request_raw(frame))["code"] == code


async def test_a_type_that_no_handler_takes_may_be_limited_too(browser: Connect) -> None:
    class Reading(AdapterConsumer):
        rate_limits = {"say": TWO}

        async def receive(self, text_data: str | None = None, bytes_data: Any = None) -> None:
            assert text_data is not None
            await self.send(json.dumps({"result": json.loads(text_data)["type"]}))

    client = browser(Reading)
    await client.open()
    assert await said(client, 3) == ["say", "say", "rate_limited"]
    assert await said(client, 3, "look") == ["look"] * 3


async def test_what_is_refused_asks_for_no_lane(browser: Connect) -> None:
    """A wrong priority does not count beside it."""
    client = browser(Chat, subprotocols=[SUBPROTOCOL])
    await client.open()
    await said(client, 2)
    answer = await client.request(type="say", id=7, priority="nonsense")
    assert (answer["code"], answer["id"]) == ("rate_limited", 7)
