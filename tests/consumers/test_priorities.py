"""Which of a client's messages is handled first, and that none waits for ever."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, ClassVar

import msgspec
import pytest
from channels.layers import get_channel_layer

from tests.consumers.browser import Browser
from tests.test_outlet import settle
from tests.waiting import aeventually
from wsadapter import Priority, abroadcast, handler
from wsadapter.consumers import AdapterConsumer
from wsadapter.wire.lanes import LANE_SIZE
from wsadapter.wire.priorities import SUBPROTOCOL

Connect = Callable[..., Browser]
Message = dict[str, Any]


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    text: str


class Office(AdapterConsumer):
    """Once it is held, it handles nothing until it may go on."""

    groups = ["office"]
    held: ClassVar[asyncio.Event]
    go_on: ClassVar[asyncio.Event]

    @handler("hold")
    async def hold(self) -> None:
        self.held.set()
        await self.go_on.wait()

    @handler("plain")
    async def plain(self, message: Message) -> Message:
        return message

    @handler("strict")
    async def strict(self, message: Strict) -> str:
        return message.text

    @handler("low", priority=Priority.LOW)
    async def low(self, message: Message) -> Message:
        return message

    @handler("high", priority=Priority.HIGH)
    async def high(self, message: Message) -> Message:
        return message

    @handler("urgent", priority=Priority.URGENT)
    async def urgent(self, message: Message) -> Message:
        return message

    async def office_event(self, event: Message) -> None:
        await self.send("an event")


@pytest.fixture
def office() -> type[Office]:
    return type("Office", (Office,), {"held": asyncio.Event(), "go_on": asyncio.Event()})


async def hold(client: Browser, office: type[Office]) -> None:
    await client.send_json_to({"type": "hold"})
    await office.held.wait()


async def queue(client: Browser, *messages: Message) -> None:
    """Let messages wait for their turn."""
    for message in messages:
        await client.send_json_to(message)
    await aeventually(client.input_queue.empty)


async def answered(client: Browser, count: int) -> list[Any]:
    """The ids of so many replies, in their order; of other frames, the frames."""
    frames = [await client.receive() for _ in range(count)]
    return [frame["id"] if isinstance(frame, dict) else frame for frame in frames]


def declared(*types: str) -> list[Message]:
    """A message of each of the types, whose id is that."""
    return [{"type": type, "id": type} for type in types]


def asking(*priorities: Any) -> list[Message]:
    """Messages that ask for priorities, with those as their ids."""
    return [{"type": "plain", "id": str(each), "priority": each} for each in priorities]


# Declared by the server


async def test_what_is_urgent_overtakes_what_waits(browser: Connect, office: type[Office]) -> None:
    client = browser(office)
    await client.open()
    await hold(client, office)
    await queue(client, *declared("low", "plain", "high", "urgent"))
    office.go_on.set()
    assert await answered(client, 4) == ["urgent", "high", "plain", "low"]


async def test_within_a_lane_it_is_the_order_of_arrival(
    browser: Connect, office: type[Office]
) -> None:
    client = browser(office)
    await client.open()
    await hold(client, office)
    mixed = [{"type": ("low", "high")[n % 2], "id": n} for n in range(20)]
    await queue(client, *mixed)
    office.go_on.set()
    assert await answered(client, 20) == [*range(1, 20, 2), *range(0, 20, 2)]


async def test_what_is_low_has_its_turn_at_least_once_in_a_hundred(
    browser: Connect, office: type[Office]
) -> None:
    client = browser(office)
    await client.open()
    await hold(client, office)
    await queue(client, *declared("low"), *declared("urgent") * 99, *declared("high") * 99)
    office.go_on.set()
    answers = await answered(client, 199)
    assert answers.index("low") < 100
    assert answers.count("urgent") == answers.count("high") == 99


async def test_connect_comes_before_everything(browser: Connect, office: type[Office]) -> None:
    """Even before what is there already when it begins."""

    class Slow(office):  # type: ignore[valid-type, misc]
        async def authenticate(self) -> None:
            await asyncio.sleep(0)  # meanwhile the next frame is read ahead

        async def connect(self) -> None:
            await self.accept()
            await self.go_on.wait()
            await self.send("connected")

    client = browser(Slow)
    client.input_queue.put_nowait({"type": "websocket.connect"})
    for message in declared("plain", "urgent"):
        client.input_queue.put_nowait({"type": "websocket.receive", "text": json.dumps(message)})
    office.go_on.set()
    assert (await client.event())["type"] == "websocket.accept"
    assert (await client.receive())["type"] == "ws:welcome"
    assert await answered(client, 3) == ["connected", "urgent", "plain"]


async def test_an_event_of_the_layer_waits_with_what_is_normal(
    browser: Connect, office: type[Office]
) -> None:
    client = browser(office)
    await client.open()
    await hold(client, office)
    await queue(client, *declared("low", "urgent"))
    await get_channel_layer().group_send("office", {"type": "office.event"})
    await queue(client, *declared("plain"))
    office.go_on.set()
    assert await answered(client, 4) == ["urgent", "an event", "plain", "low"]


# A full lane


@pytest.mark.parametrize("lane", ["low", "plain", "urgent"])
async def test_a_full_lane_stops_reading_and_drops_nothing(
    browser: Connect, office: type[Office], lane: str
) -> None:
    client = browser(office)
    await client.open()
    await hold(client, office)
    for message in [*declared(lane) * LANE_SIZE, *declared("high") * 2]:
        await client.send_json_to(message)
    await aeventually(lambda: client.input_queue.qsize() <= 2)
    await abroadcast("a push")
    assert await client.receive() == "a push"
    assert client.input_queue.qsize() == 2, "what is left to the transport"
    office.go_on.set()
    answers = await answered(client, LANE_SIZE + 2)
    assert answers.count(lane) == LANE_SIZE
    assert answers.count("high") == 2


async def test_other_lanes_have_room_beside_one_that_has_none_left(
    browser: Connect, office: type[Office]
) -> None:
    client = browser(office)
    await client.open()
    await hold(client, office)
    almost = LANE_SIZE - 1
    await queue(client, *declared("low") * almost, *declared("high") * almost, *declared("urgent"))
    office.go_on.set()
    assert (await answered(client, 2 * almost + 1))[0] == "urgent"


# Asked for by the client


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([SUBPROTOCOL], SUBPROTOCOL),
        (["v1", SUBPROTOCOL], SUBPROTOCOL),
        (["v1"], None),
        ([], None),
    ],
    ids=str,
)
async def test_the_subprotocol_is_chosen_where_the_client_offers_it(
    browser: Connect, office: type[Office], offered: list[str], chosen: str | None
) -> None:
    assert await browser(office, subprotocols=offered).connect() == (True, chosen)


async def test_it_is_not_chosen_where_no_handler_would_heed_it(browser: Connect) -> None:
    client = browser(AdapterConsumer, subprotocols=[SUBPROTOCOL])
    assert await client.connect() == (True, None)


async def test_what_connect_chooses_stands(browser: Connect, office: type[Office]) -> None:
    class Picky(office):  # type: ignore[valid-type, misc]
        async def connect(self) -> None:
            await self.accept("v1")

    client = browser(Picky, subprotocols=[SUBPROTOCOL, "v1"])
    assert await client.connect() == (True, "v1")


@pytest.mark.parametrize(
    "asked", [["low", "normal", "high", "urgent"], [3, 2, 1, 0]], ids=["names", "numbers"]
)
async def test_the_field_says_the_lane(
    browser: Connect, office: type[Office], asked: list[Any]
) -> None:
    client = browser(office, subprotocols=[SUBPROTOCOL])
    await client.open()
    await hold(client, office)
    await queue(client, *asking(*asked))
    office.go_on.set()
    assert await answered(client, 4) == [str(each) for each in reversed(asked)]


@pytest.mark.parametrize("message", [{}, {"priority": None}], ids=["left out", "null"])
async def test_without_the_field_a_message_is_normal(
    browser: Connect, office: type[Office], message: Message
) -> None:
    client = browser(office, subprotocols=[SUBPROTOCOL])
    await client.open()
    await hold(client, office)
    await queue(client, *asking("low"), {"type": "plain", "id": "it", **message}, *asking("high"))
    office.go_on.set()
    assert await answered(client, 3) == ["high", "it", "low"]


async def test_what_is_declared_stands_over_the_field(
    browser: Connect, office: type[Office]
) -> None:
    client = browser(office, subprotocols=[SUBPROTOCOL])
    await client.open()
    await hold(client, office)
    await queue(
        client,
        {"type": "low", "id": "low", "priority": "urgent"},
        {"type": "plain", "id": "plain"},
        {"type": "urgent", "id": "urgent", "priority": 3},
    )
    office.go_on.set()
    assert await answered(client, 3) == ["urgent", "plain", "low"]


@pytest.mark.parametrize("priority", ["highest", "URGENT", "", 4, -1, 1.0, True, [], {}], ids=repr)
async def test_any_other_priority_is_answered_with_an_error(
    browser: Connect, office: type[Office], priority: Any
) -> None:
    client = browser(office, subprotocols=[SUBPROTOCOL])
    await client.open()
    assert await client.request(type="plain", id=7, priority=priority) == {
        "type": "ws:error",
        "id": 7,
        "code": "invalid",
        "kind": "fatal",
        "message": "A priority is one of urgent, high, normal, low.",
        "path": "$.priority",
    }
    assert (await client.request(type="plain", id=8, priority="low"))["id"] == 8


async def test_the_field_is_of_the_envelope_and_not_of_the_message(
    browser: Connect, office: type[Office]
) -> None:
    client = browser(office, subprotocols=[SUBPROTOCOL])
    await client.open()
    for number in (0, 1):
        message = {"id": number, "text": "hi", "priority": number}
        assert (await client.request(type="plain", **message))["result"] == {"text": "hi"}
        assert (await client.request(type="strict", **message))["result"] == "hi"


async def test_without_the_subprotocol_the_field_is_one_like_others(
    browser: Connect, office: type[Office]
) -> None:
    client = browser(office)
    await client.open()
    assert (await client.request(type="plain", id=1, priority="x"))["result"] == {"priority": "x"}
    await hold(client, office)
    await queue(client, *asking("low", "urgent"))
    office.go_on.set()
    assert await answered(client, 2) == ["low", "urgent"]


@pytest.mark.parametrize(
    ("frame", "code", "path"),
    [
        ("{", "invalid_json", None),
        ("[1]", "invalid", "$"),
        ('{"type": 7, "priority": "urgent"}', "invalid", "$.type"),
        ('{"type": "unheard of", "priority": "urgent"}', "unknown_type", "$.type"),
    ],
)
async def test_other_mistakes_are_answered_as_without_it(
    browser: Connect, office: type[Office], frame: str, code: str, path: str | None
) -> None:
    client = browser(office, subprotocols=[SUBPROTOCOL])
    await client.open()
    answer = await client.request_raw(frame)
    assert (answer["code"], answer.get("path")) == (code, path)


async def test_heartbeats_wait_for_nothing(browser: Connect, office: type[Office]) -> None:
    client = browser(office, subprotocols=[SUBPROTOCOL])
    await client.open()
    await hold(client, office)
    await queue(client, *asking("urgent"))
    assert await client.request(type="ws:ping") == {"type": "ws:pong"}
    office.go_on.set()
    assert await answered(client, 1) == ["urgent"]


@pytest.mark.parametrize("size", [1, 3])
async def test_a_lane_has_the_room_that_is_declared(
    browser: Connect, office: type[Office], size: int
) -> None:
    client = browser(type("Small", (office,), {"inbox_size": size}))
    await client.open()
    await hold(client, office)
    for message in asking(*range(9)):
        await client.send_json_to(message)
    await aeventually(lambda: client.input_queue.qsize() <= 9 - size)
    await settle()
    assert client.input_queue.qsize() == 9 - size, "it is not read any more"
    office.go_on.set()
    assert await answered(client, 9) == [str(each) for each in range(9)]
