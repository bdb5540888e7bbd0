"""What comes first, both ways: priorities; and what a client can tell of it: sequences."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import pydantic
import pytest
from pytest_django import Settings

from tests.consumers.browser import Browser, Closed
from tests.consumers.conftest import Log
from tests.streams.conftest import Watched
from tests.test_outlet import settle
from tests.waiting import aeventually
from wsadapter import Connection, Priority, Stream, stream, with_views
from wsadapter.wire.priorities import SUBPROTOCOL

Connect = Callable[..., Browser]

END = '{"type":"ws:end"}'


class Tick(msgspec.Struct):
    n: int


class Say(msgspec.Struct, tag="chat.say"):
    n: int


class Alarm(msgspec.Struct, tag="alarm"):
    n: int


class Typing(pydantic.BaseModel):
    type: Literal["chat.typing"] = "chat.typing"
    n: int


@dataclass
class Note:
    type: str
    n: int


async def received(client: Browser, count: int) -> list[Any]:
    return [await client.receive() for _ in range(count)]


# Sequences


async def test_each_message_has_its_number_and_its_time(browser: Connect) -> None:
    @stream(sequence=True)
    async def ticks() -> AsyncIterator[Tick]:
        for number in range(40):
            yield Tick(number)

    before = time.time_ns() // 1_000_000
    client = browser(ticks.as_asgi())
    await client.open()
    messages = await received(client, 40)
    after = time.time_ns() // 1_000_000
    assert [list(message) for message in messages] == [["n", "sequence", "timestamp"]] * 40
    assert [message["sequence"] for message in messages] == list(range(1, 41))
    times = [message["timestamp"] for message in messages]
    assert all(type(each) is int for each in times)
    assert before <= times[0] and times == sorted(times) and times[-1] <= after


async def test_each_connection_counts_for_itself(browser: Connect) -> None:
    @stream(sequence=True)
    async def echo(incoming: AsyncIterator[Tick]) -> AsyncIterator[Tick]:
        async for tick in incoming:
            yield tick

    application = echo.as_asgi()
    one, other = browser(application), browser(application)
    await one.open()
    await other.open()
    for number in (1, 2, 3):
        assert (await one.request(n=0))["sequence"] == number
    assert (await other.request(n=0))["sequence"] == 1


async def test_what_is_refused_takes_no_number(browser: Connect) -> None:
    @stream(sequence=True)
    async def echo(incoming: AsyncIterator[Tick]) -> AsyncIterator[Tick]:
        async for tick in incoming:
            yield tick

    client = browser(echo.as_asgi())
    await client.open()
    assert (await client.request(n=0))["sequence"] == 1
    error = await client.request(n="x")
    assert error["type"] == "ws:error" and "sequence" not in error
    assert (await client.request(n=0))["sequence"] == 2


async def test_a_result_has_a_number(browser: Connect) -> None:
    @stream(sequence=True)
    async def give(incoming: AsyncIterator[Tick]) -> Tick:
        return Tick(7)

    client = browser(give.as_asgi())
    await client.open()
    message = await client.receive()
    assert (message["n"], message["sequence"]) == (7, 1)


async def test_without_the_option_there_is_none(browser: Connect) -> None:
    @stream
    async def ticks() -> AsyncIterator[Tick]:
        yield Tick(1)

    client = browser(ticks.as_asgi())
    await client.open()
    assert await client.receive() == {"n": 1}


@with_views(short=("n",))
class Numbered(msgspec.Struct):
    n: int
    sequence: int = 0


class Renamed(msgspec.Struct, rename={"number": "sequence"}):
    number: int


@dataclass
class Timed:
    timestamp: float


class TimedModel(pydantic.BaseModel):
    timestamp: float


UNSTAMPABLE: dict[str, Any] = {
    "Struct": Numbered(1),
    "renamed field": Renamed(1),
    "dataclass": Timed(1.5),
    "pydantic": TimedModel(timestamp=1.5),
    "dict": {"n": 1, "sequence": 5},
    "dict with a time": {"timestamp": None},
    "text": "text",
    "text that is JSON": "{}",
    "bytes": b"{}",
    "list": [{"n": 1}],
    "number": 7,
    "nothing": None,
}


@pytest.mark.parametrize("value", UNSTAMPABLE.values(), ids=UNSTAMPABLE)
async def test_a_message_that_cannot_take_a_number_fails_the_stream(
    browser: Connect, log: Log, value: Any
) -> None:
    @stream(sequence=True)
    async def broken() -> AsyncIterator[Any]:
        yield {}
        yield value

    client = browser(broken.as_asgi())
    await client.open()
    assert (await client.receive()).keys() == {"sequence", "timestamp"}
    assert await client.event() == {
        "type": "websocket.close",
        "code": 1011,
        "reason": "internal error",
    }
    assert len(log.tracebacks) == 1


# Priorities of what is sent


def feeding(watched: Watched, *values: Any, **options: Any) -> Stream:
    """A stream that sends one message, and these once it is told to; then it stays."""

    @stream(**options)
    async def feed(connection: Connection) -> AsyncIterator[Any]:
        yield {"type": "first", "n": -1}
        watched.begun.set()
        await watched.go_on.wait()
        for value in values:
            yield value
        watched.over.set()
        await connection.closed

    return feed


async def held_up(client: Browser, watched: Watched) -> None:
    """Let the stream send all at once, while the server has the first one in its hands."""
    await client.connect()
    await aeventually(client.output_queue.full)
    await watched.begun.wait()
    await settle()
    watched.go_on.set()
    await watched.over.wait()
    await settle()
    assert (await client.receive())["type"] == "ws:welcome"
    assert (await client.receive())["type"] == "first"


async def overtaking(client: Browser, watched: Watched, count: int) -> list[int]:
    """The order in which so many messages leave that were held up."""
    await held_up(client, watched)
    return [message["n"] for message in await received(client, count)]


OF_TYPES = {
    "chat.typing": Priority.LOW,
    "alarm": Priority.URGENT,
    "chat.note": Priority.HIGH,
}

MIXED = [Say(0), Typing(n=1), Say(2), Note("chat.note", 3), {"type": "alarm", "n": 4}, Alarm(5)]
IN_ORDER_OF_PRIORITY = [4, 5, 3, 0, 2, 1]
AS_THEY_CAME = [0, 1, 2, 3, 4, 5]


async def test_types_have_their_lanes(browser: Connect, watched: Watched) -> None:
    application = feeding(watched, *MIXED, priorities=OF_TYPES).as_asgi()
    assert await overtaking(browser(application, takes=1), watched, 6) == IN_ORDER_OF_PRIORITY


async def test_types_have_their_lanes_by_the_setting(
    browser: Connect, watched: Watched, settings: Settings
) -> None:
    settings.WSADAPTER = {"PRIORITIES": OF_TYPES}
    application = feeding(watched, *MIXED).as_asgi()
    assert await overtaking(browser(application, takes=1), watched, 6) == IN_ORDER_OF_PRIORITY


@pytest.mark.parametrize(
    ("own", "order"),
    [({}, AS_THEY_CAME), ({"chat.typing": Priority.HIGH}, [1, 0, 2, 3, 4, 5])],
    ids=["none", "another"],
)
async def test_the_option_stands_in_place_of_the_setting(
    browser: Connect,
    watched: Watched,
    settings: Settings,
    own: dict[str, Priority],
    order: list[int],
) -> None:
    settings.WSADAPTER = {"PRIORITIES": OF_TYPES}
    application = feeding(watched, *MIXED, priorities=own).as_asgi()
    assert await overtaking(browser(application, takes=1), watched, 6) == order


async def test_without_either_order_is_kept(browser: Connect, watched: Watched) -> None:
    application = feeding(watched, *MIXED).as_asgi()
    assert await overtaking(browser(application, takes=1), watched, 6) == AS_THEY_CAME


async def test_order_is_kept_within_a_lane(browser: Connect, watched: Watched) -> None:
    values = [(Alarm if number % 3 == 2 else Say)(number) for number in range(60)]
    application = feeding(watched, *values, priorities=OF_TYPES).as_asgi()
    found = await overtaking(browser(application, takes=1), watched, 60)
    assert found[:20] == list(range(2, 60, 3)), "the urgent ones"
    assert found[20:] == [number for number in range(60) if number % 3 != 2]


async def test_numbers_are_those_of_the_generator_whatever_overtakes(
    browser: Connect, watched: Watched
) -> None:
    """So that a client can sort what priorities have mixed."""
    values = [Say(0), Typing(n=1), Alarm(2)]
    application = feeding(watched, *values, priorities=OF_TYPES, sequence=True).as_asgi()
    client = browser(application, takes=1)
    await held_up(client, watched)
    found = [(message["n"], message["sequence"]) for message in await received(client, 3)]
    assert found == [(2, 4), (0, 2), (1, 3)]


async def test_a_call_has_a_lane_of_its_own(browser: Connect, watched: Watched) -> None:
    @stream(priorities=OF_TYPES)
    async def feed(connection: Connection) -> AsyncIterator[Any]:
        yield {"type": "first", "n": -1}
        watched.begun.set()
        await watched.go_on.wait()
        yield Say(1)
        for number, priority in ((2, Priority.URGENT), (3, Priority.LOW), (4, Priority.NORMAL)):
            connection.create_task(connection.send(Say(number), priority=priority))
        # One whose type has a lane: a call says more.
        connection.create_task(connection.send(Alarm(5), priority=Priority.LOW))
        watched.over.set()
        await connection.closed

    client = browser(feed.as_asgi(), takes=1)
    assert await overtaking(client, watched, 5) == [2, 1, 4, 3, 5]


# Priorities of what arrives


@pytest.fixture
def reader(watched: Watched) -> Stream:
    """A stream that begins to read when it is told to."""

    @stream
    async def read(incoming: AsyncIterator[dict[str, Any]]) -> None:
        await watched.go_on.wait()
        async for message in incoming:
            watched.notes.append(message)
        watched.over.set()

    return read


async def have_arrived(client: Browser, *messages: dict[str, Any]) -> None:
    for message in messages:
        await client.send_json_to(message)
    await aeventually(client.input_queue.empty)


SENT: list[dict[str, Any]] = [
    {"n": 0},
    {"n": 1, "priority": "low"},
    {"n": 2, "priority": "normal"},
    {"n": 3, "priority": "high"},
    {"n": 4, "priority": "urgent"},
    {"n": 5, "priority": 3},
    {"n": 6, "priority": 2},
    {"n": 7, "priority": 1},
    {"n": 8, "priority": 0},
]


async def test_under_the_subprotocol_the_urgent_ones_are_read_first(
    browser: Connect, watched: Watched, reader: Stream
) -> None:
    """Named or numbered; and the priority is not a part of what is read."""
    client = browser(reader.as_asgi(), subprotocols=[SUBPROTOCOL])
    await client.open()
    await have_arrived(client, *SENT)
    watched.go_on.set()
    await client.frame(END)
    await watched.over.wait()
    assert watched.notes == [{"n": number} for number in (4, 8, 3, 7, 0, 2, 6, 1, 5)]


async def test_without_it_messages_are_read_as_they_come(
    browser: Connect, watched: Watched, reader: Stream
) -> None:
    client = browser(reader.as_asgi())
    await client.open()
    await have_arrived(client, *SENT)
    watched.go_on.set()
    await client.frame(END)
    await watched.over.wait()
    assert watched.notes == SENT


async def test_the_subprotocol_is_chosen_by_itself(browser: Connect, reader: Stream) -> None:
    application = reader.as_asgi()
    for offered, chosen in (([SUBPROTOCOL], SUBPROTOCOL), (["v1"], None), ([], None)):
        client = browser(application, subprotocols=offered)
        assert await client.connect() == (True, chosen)
        await client.cut()


async def test_order_is_kept_within_a_lane_of_the_client(
    browser: Connect, watched: Watched, reader: Stream
) -> None:
    names = ["low", "urgent", "normal", "high"]
    client = browser(reader.as_asgi(), subprotocols=[SUBPROTOCOL])
    await client.open()
    await have_arrived(client, *({"n": n, "priority": names[n % 4]} for n in range(80)))
    watched.go_on.set()
    await client.frame(END)
    await watched.over.wait()
    found = [message["n"] for message in watched.notes]
    lanes = [[n for n in found if n % 4 == lane] for lane in range(4)]
    assert lanes == [list(range(lane, 80, 4)) for lane in range(4)]


async def test_the_low_ones_have_their_turn(browser: Connect, watched: Watched) -> None:
    """However many urgent ones there are: one in a hundred."""

    @stream
    async def read(incoming: AsyncIterator[dict[str, Any]]) -> None:
        await watched.go_on.wait()
        async for message in incoming:
            watched.notes.append(message["n"])
            await asyncio.sleep(0)  # so that more of them can come

    client = browser(read.as_asgi(), subprotocols=[SUBPROTOCOL])
    await client.open()
    await have_arrived(client, {"n": -1, "priority": "low"}, {"n": -2, "priority": "low"})
    for number in range(500):
        text = f'{{"n":{number},"priority":"urgent"}}'
        client.input_queue.put_nowait({"type": "websocket.receive", "text": text})
    watched.go_on.set()
    await aeventually(lambda: len(watched.notes) == 502)
    assert watched.notes.index(-1) < 100
    assert watched.notes.index(-2) < 200
    assert [number for number in watched.notes if number >= 0] == list(range(500))


@pytest.mark.parametrize("priority", ["soon", "", "URGENT", 4, -1, 1.5, True, []], ids=repr)
async def test_a_priority_that_is_none_is_answered_and_the_message_is_not_read(
    browser: Connect, watched: Watched, reader: Stream, priority: Any
) -> None:
    client = browser(reader.as_asgi(), subprotocols=[SUBPROTOCOL])
    await client.open()
    watched.go_on.set()
    error = await client.request(id=7, n=1, priority=priority)
    assert (error["type"], error["code"], error["path"]) == ("ws:error", "invalid", "$.priority")
    assert (error["id"], error["kind"]) == (7, "fatal")
    assert error["message"] == "A priority is one of urgent, high, normal, low."
    await client.send_json_to({"n": 2})
    await client.frame(END)
    await watched.over.wait()
    assert watched.notes == [{"n": 2}]


@pytest.mark.parametrize("kind", ["chat.say", 7, None], ids=repr)
async def test_a_message_has_a_priority_whatever_else_is_in_it(
    browser: Connect, watched: Watched, reader: Stream, kind: Any
) -> None:
    """A stream's messages need no type."""
    client = browser(reader.as_asgi(), subprotocols=[SUBPROTOCOL])
    await client.open()
    await have_arrived(client, {"n": 1}, {"n": 2, "type": kind, "priority": "urgent"})
    watched.go_on.set()
    await client.frame(END)
    await watched.over.wait()
    assert [message["n"] for message in watched.notes] == [2, 1]


class StrictTick(msgspec.Struct, forbid_unknown_fields=True):
    n: int


async def test_a_type_that_takes_no_further_fields_takes_a_priority(browser: Connect) -> None:
    @stream
    async def echo(incoming: AsyncIterator[StrictTick]) -> AsyncIterator[StrictTick]:
        async for tick in incoming:
            yield tick

    client = browser(echo.as_asgi(), subprotocols=[SUBPROTOCOL])
    await client.open()
    assert await client.request(n=1, priority="high") == {"n": 1}


async def test_a_message_of_any_type_is_without_its_priority_too(browser: Connect) -> None:
    @stream
    async def echo(incoming: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for message in incoming:
            yield message

    client = browser(echo.as_asgi(), subprotocols=[SUBPROTOCOL])
    await client.open()
    assert await client.request(n=1, priority="high") == {"n": 1}


@pytest.mark.parametrize("end", [END, '{"type":"ws:end","priority":"urgent"}'])
async def test_the_clients_end_overtakes_nothing(
    browser: Connect, watched: Watched, reader: Stream, end: str
) -> None:
    client = browser(reader.as_asgi(), subprotocols=[SUBPROTOCOL])
    await client.open()
    await have_arrived(client, {"n": 1, "priority": "low"}, {"n": 2}, {"n": 3, "priority": "low"})
    await client.frame(end)
    await aeventually(client.input_queue.empty)
    watched.go_on.set()
    await watched.over.wait()
    assert watched.notes == [{"n": 2}, {"n": 1}, {"n": 3}]
    assert await client.closed() == Closed(1000, "")


async def test_binary_frames_take_the_normal_lane(browser: Connect, watched: Watched) -> None:
    @stream
    async def read(incoming: AsyncIterator[dict[str, int] | bytes]) -> None:
        await watched.go_on.wait()
        watched.notes = [message async for message in incoming]
        watched.over.set()

    client = browser(read.as_asgi(), subprotocols=[SUBPROTOCOL])
    await client.open()
    await have_arrived(client, {"n": 1, "priority": "low"})
    await client.frame(b"2")
    await have_arrived(client, {"n": 3, "priority": "high"})
    watched.go_on.set()
    await client.frame(END)
    await watched.over.wait()
    assert watched.notes == [{"n": 3}, b"2", {"n": 1}]
