"""Messages of a stream leave together, and as soon as its batch says."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from tests.consumers.browser import Browser, Closed
from tests.consumers.conftest import Log
from tests.streams.conftest import Watched
from tests.test_outlet import settle
from tests.waiting import aeventually
from wsadapter import (
    Batch,
    Connection,
    Overflow,
    Priority,
    Stream,
    adisconnect_client,
    asend_to_client,
    asend_to_group,
    stream,
)

Connect = Callable[..., Browser]

END = '{"type":"ws:end"}'

#: Seconds that no test waits for.
NEVER = 60.0


class Tick(msgspec.Struct):
    n: int


class Alarm(msgspec.Struct, tag="alarm"):
    n: int


def feeding(watched: Watched, *values: Any, **options: Any) -> Stream:
    """A stream that sends these, and stays until it is told to end."""

    @stream(**options)
    async def feed() -> AsyncIterator[Any]:
        for value in values:
            yield value
        watched.begun.set()
        await watched.go_on.wait()

    return feed


async def batch_of(client: Browser) -> list[Any]:
    """The messages of the next frame, which has to be a batch."""
    frame = await client.receive()
    assert frame["type"] == "ws:batch" and frame["size"] == len(frame["messages"])
    return frame["messages"]  # type: ignore[no-any-return]


# What it is


async def test_messages_leave_in_one_frame(browser: Connect, watched: Watched) -> None:
    before = time.time_ns() // 1_000_000
    batch = Batch(max_items=3, max_delay=NEVER)
    client = browser(feeding(watched, Tick(1), {"type": "any"}, 7, batch=batch).as_asgi())
    await client.open()
    frame = await client.receive()
    sent_at = frame.pop("sent_at")
    assert frame == {
        "type": "ws:batch",
        "id": 1,
        "size": 3,
        "messages": [{"n": 1}, {"type": "any"}, 7],
    }
    assert type(sent_at) is int and before <= sent_at <= time.time_ns() // 1_000_000


async def test_batches_are_counted_for_each_connection(browser: Connect, watched: Watched) -> None:
    batch = Batch(max_items=2, max_delay=NEVER)
    application = feeding(watched, *range(6), batch=batch).as_asgi()
    for _ in range(2):
        client = browser(application)
        await client.open()
        assert [(await client.receive())["id"] for _ in range(3)] == [1, 2, 3]


async def test_text_that_is_no_json_travels_as_a_string(browser: Connect) -> None:
    @stream(batch=Batch(max_items=3, max_delay=NEVER))
    async def texts() -> AsyncIterator[str]:
        yield "no JSON"
        yield '{"n":1}'
        yield ""

    client = browser(texts.as_asgi())
    await client.open()
    assert await batch_of(client) == ["no JSON", {"n": 1}, ""]


async def test_a_sequence_counts_messages_and_not_batches(
    browser: Connect, watched: Watched
) -> None:
    values = [Tick(number) for number in range(4)]
    options = {"batch": Batch(max_items=2, max_delay=NEVER), "sequence": True}
    client = browser(feeding(watched, *values, **options).as_asgi())
    await client.open()
    messages = [*await batch_of(client), *await batch_of(client)]
    assert [message["sequence"] for message in messages] == [1, 2, 3, 4]


# When it leaves


async def test_it_leaves_with_so_many_messages(browser: Connect, watched: Watched) -> None:
    batch = Batch(max_items=3, max_delay=NEVER)
    client = browser(feeding(watched, *range(7), batch=batch).as_asgi())
    await client.open()
    assert [await batch_of(client), await batch_of(client)] == [[0, 1, 2], [3, 4, 5]]
    await settle()
    assert client.output_queue.empty(), "the seventh waits for others"


async def test_it_leaves_before_it_has_too_many_bytes(browser: Connect, watched: Watched) -> None:
    values = ["x" * size for size in (10, 10, 30, 100, 10)]
    batch = Batch(max_bytes=40, max_delay=NEVER)
    client = browser(feeding(watched, *values, batch=batch).as_asgi())
    await client.open()
    watched.go_on.set()
    sizes = [[len(text) for text in await batch_of(client)] for _ in range(4)]
    assert sizes == [[10, 10], [30], [100], [10]]


async def test_it_leaves_after_so_much_time(browser: Connect, watched: Watched) -> None:
    client = browser(feeding(watched, 1, 2, batch=Batch(max_delay=0.001)).as_asgi())
    await client.open()
    assert await batch_of(client) == [1, 2]


async def test_the_time_is_that_of_its_first_message(browser: Connect, watched: Watched) -> None:
    """Others that come meanwhile do not put it off."""

    @stream(batch=Batch(max_items=10_000, max_delay=0.02), lane_size=10_000)
    async def endless() -> AsyncIterator[int]:
        for number in range(10_000):
            yield number
            await asyncio.sleep(0.001)

    client = browser(endless.as_asgi())
    await client.open()
    assert len(await batch_of(client)) < 1000


async def test_what_is_urgent_never_waits(browser: Connect, watched: Watched) -> None:
    options = {"batch": Batch(max_delay=NEVER), "priorities": {"alarm": Priority.URGENT}}
    client = browser(feeding(watched, Tick(1), Alarm(2), Tick(3), **options).as_asgi())
    await client.open()
    assert await client.receive() == {"type": "alarm", "n": 2}
    watched.go_on.set()
    assert await batch_of(client) == [{"n": 1}, {"n": 3}]


async def test_heartbeats_and_the_welcome_are_in_no_batch(
    browser: Connect, watched: Watched
) -> None:
    options = {"heartbeat_interval": 0.01, "heartbeat_mode": "never"}
    client = browser(feeding(watched, batch=Batch(max_delay=NEVER), **options).as_asgi())
    await client.open()
    assert await client.receive() == {"type": "ws:ping"}
    await client.send_json_to({"type": "ws:ping"})
    while (message := await client.receive()) != {"type": "ws:pong"}:
        assert message == {"type": "ws:ping"}


async def test_a_binary_message_is_in_no_batch_and_overtakes_nothing(
    browser: Connect, watched: Watched
) -> None:
    values = [1, 2, b"3", b"4", 5]
    client = browser(feeding(watched, *values, batch=Batch(max_delay=NEVER)).as_asgi())
    await client.open()
    assert await batch_of(client) == [1, 2]
    assert await client.receive_from() == b"3"
    assert await client.receive_from() == b"4"
    watched.go_on.set()
    assert await batch_of(client) == [5]


async def test_each_lane_has_a_batch_of_its_own(browser: Connect, watched: Watched) -> None:
    values = [{"type": kind, "n": n} for n in range(3) for kind in ("low", "plain", "high")]
    options = {
        "batch": Batch(max_delay=NEVER),
        "priorities": {"low": Priority.LOW, "high": Priority.HIGH},
    }
    client = browser(feeding(watched, *values, **options).as_asgi())
    await client.open()
    watched.go_on.set()
    for kind in ("high", "plain", "low"):
        assert await batch_of(client) == [{"type": kind, "n": n} for n in range(3)]
    assert (await client.closed()).code == 1000


async def test_order_is_kept_over_batches(browser: Connect) -> None:
    @stream(batch=Batch(max_items=7, max_delay=0.001))
    async def many() -> AsyncIterator[int]:
        for number in range(500):
            yield number

    client = browser(many.as_asgi(), takes=1)
    await client.open()
    found: list[int] = []
    while len(found) < 500:
        found += await batch_of(client)
    assert found == list(range(500))


# At the end


async def test_what_waits_leaves_before_the_stream_closes(browser: Connect) -> None:
    @stream(batch=Batch(max_delay=NEVER))
    async def brief() -> AsyncIterator[int]:
        yield 1
        yield 2

    client = browser(brief.as_asgi())
    await client.open()
    assert await batch_of(client) == [1, 2]
    assert await client.event() == {"type": "websocket.close", "code": 1000}


async def test_a_result_leaves_before_the_stream_closes(browser: Connect) -> None:
    @stream(batch=Batch(max_delay=NEVER))
    async def total(incoming: AsyncIterator[int]) -> int:
        return sum([number async for number in incoming])

    client = browser(total.as_asgi())
    await client.open()
    await client.frame("7")
    await client.frame(END)
    assert await batch_of(client) == [7]
    assert await client.closed() == Closed(1000, "")


async def test_a_client_that_is_kicked_gets_none_of_what_waits(
    browser: Connect, watched: Watched
) -> None:
    client = browser(feeding(watched, 1, batch=Batch(max_delay=NEVER)).as_asgi())
    client_id = await client.open()
    await watched.begun.wait()
    await adisconnect_client(client_id, 4501)
    event = await client.event()
    assert (event["type"], event["code"]) == ("websocket.close", 4501)


async def test_nothing_is_left_of_a_batch_whose_client_has_gone(
    browser: Connect, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even what would have let it leave."""
    timers: list[asyncio.TimerHandle] = []
    loop = asyncio.get_running_loop()
    call_at = loop.call_at

    def noted(when: float, callback: Any, *arguments: Any, **options: Any) -> asyncio.TimerHandle:
        timer = call_at(when, callback, *arguments, **options)
        if getattr(callback, "__qualname__", "").startswith("Batching"):
            timers.append(timer)
        return timer

    monkeypatch.setattr(loop, "call_at", noted)
    client = browser(feeding(watched, 1, batch=Batch(max_delay=NEVER)).as_asgi())
    await client.open()
    await watched.begun.wait()
    assert [timer.cancelled() for timer in timers] == [False]
    await client.leave()
    assert [timer.cancelled() for timer in timers] == [True]


# With what others send


async def test_pushes_are_in_the_batch(browser: Connect, watched: Watched) -> None:
    options = {"batch": Batch(max_items=4, max_delay=NEVER), "groups": ["red"]}
    client = browser(feeding(watched, 1, **options).as_asgi())
    client_id = await client.open()
    await watched.begun.wait()
    await asend_to_group("red", {"n": 2})
    await asend_to_client(client_id, "three")
    await asend_to_group("red", "urgent", priority=Priority.URGENT)
    await asend_to_group("red", {"n": 4})
    assert await client.receive() == "urgent"
    assert await batch_of(client) == [1, {"n": 2}, "three", {"n": 4}]


async def test_an_error_is_in_the_batch_in_its_place(browser: Connect) -> None:
    @stream(batch=Batch(max_items=3, max_delay=NEVER))
    async def echo(incoming: AsyncIterator[Tick]) -> AsyncIterator[Tick]:
        async for tick in incoming:
            yield tick

    client = browser(echo.as_asgi())
    await client.open()
    for n in (1, "x", 3):
        await client.send_json_to({"n": n})
    first, error, third = await batch_of(client)
    assert (first, third) == ({"n": 1}, {"n": 3})
    assert (error["type"], error["path"]) == ("ws:error", "$.n")


async def test_what_the_connection_sends_is_in_the_batch_and_does_not_wait_for_it(
    browser: Connect, watched: Watched
) -> None:
    @stream(batch=Batch(max_delay=NEVER))
    async def beside(connection: Connection) -> AsyncIterator[int]:
        yield 1
        await connection.send(2)
        await connection.send_json("three")
        await connection.send(b"bytes")
        yield 4

    client = browser(beside.as_asgi())
    await client.open()
    assert await batch_of(client) == [1, 2, "three"]
    assert await client.receive_from() == b"bytes"
    assert await batch_of(client) == [4]


async def test_whoever_sends_while_nothing_leaves_waits_until_the_batch_has(
    browser: Connect, watched: Watched
) -> None:
    @stream(batch=Batch(max_items=2, max_delay=NEVER))
    async def beside(connection: Connection) -> AsyncIterator[int]:
        for number in range(6):
            await connection.send(number)
            watched.notes.append(number)
        yield 6

    client = browser(beside.as_asgi(), takes=1)
    await client.connect()
    await aeventually(client.output_queue.full)
    await settle()
    assert len(watched.notes) < 6
    assert (await client.receive())["type"] == "ws:welcome"
    assert [await batch_of(client) for _ in range(4)] == [[0, 1], [2, 3], [4, 5], [6]]
    assert watched.notes == list(range(6))


# With a client that does not read, and is pushed too much


async def held_up(client: Browser, watched: Watched) -> None:
    await client.connect()
    await aeventually(client.output_queue.full)
    await watched.begun.wait()
    await settle()


BULKY = "x" * 400


async def test_whoever_is_pushed_too_much_is_closed_once(
    browser: Connect, watched: Watched
) -> None:
    options = {
        "batch": Batch(max_items=2, max_delay=NEVER),
        "groups": ["red"],
        "max_outbox_size": 2000,
    }
    client = browser(feeding(watched, 1, **options).as_asgi(), takes=1)
    await held_up(client, watched)
    for _ in range(20):
        await asend_to_group("red", BULKY)
    await settle()
    assert (await client.receive())["type"] == "ws:welcome"
    while (event := await client.event())["type"] != "websocket.close":
        pass
    assert event["code"] == 3008
    await settle()
    assert client.output_queue.empty()
    await client.leave(3008)


async def test_a_last_batch_that_does_not_fit_closes_once(
    browser: Connect, log: Log, watched: Watched
) -> None:
    """It has pushes in it, and these cannot wait for who does not read."""
    options = {
        "batch": Batch(max_items=3, max_delay=NEVER),
        "groups": ["red"],
        "max_outbox_size": 2500,
    }
    client = browser(feeding(watched, **options).as_asgi(), takes=1)
    await held_up(client, watched)
    for _ in range(3 + 3 + 2):  # one is with the server, one waits, the last is not full
        await asend_to_group("red", BULKY)
        await settle()
    watched.go_on.set()
    await settle()
    events = [await client.event()]
    while not client.output_queue.empty() or events[-1]["type"] != "websocket.close":
        events.append(await client.event())
        await settle()
    assert [event["type"] for event in events].count("websocket.close") == 1
    assert events[-1]["code"] == 3008
    await client.leave(3008)
    assert not log.tracebacks


@pytest.mark.parametrize("overflow", [Overflow.DROP_OLDEST, Overflow.DROP_NEWEST])
async def test_pushes_are_dropped_and_what_the_stream_sends_is_not(
    browser: Connect, log: Log, watched: Watched, overflow: Overflow
) -> None:
    @stream(
        batch=Batch(max_items=3, max_delay=NEVER),
        groups=["red"],
        max_outbox_size=2500,
        overflow=overflow,
    )
    async def feed() -> AsyncIterator[int]:
        watched.begun.set()
        await watched.go_on.wait()
        for number in range(10):
            yield number
            await asend_to_group("red", BULKY)
            await asend_to_group("red", BULKY)

    client = browser(feed.as_asgi(), takes=1)
    await held_up(client, watched)
    watched.go_on.set()
    await settle()
    assert (await client.receive())["type"] == "ws:welcome"
    found: list[Any] = []
    while (event := await client.event())["type"] != "websocket.close":
        found += json.loads(event["text"])["messages"]
    assert [each for each in found if isinstance(each, int)] == list(range(10))
    assert event["code"] == 1000
    await client.leave()
    assert not log.tracebacks


async def test_pushes_beside_what_the_stream_sends_are_bounded_all_the_same(
    browser: Connect, watched: Watched
) -> None:
    largest = 0

    @stream(
        batch=Batch(max_items=3, max_delay=NEVER),
        groups=["red"],
        max_outbox_size=5000,
    )
    async def feed(connection: Connection) -> AsyncIterator[int]:
        nonlocal largest
        watched.begun.set()
        await watched.go_on.wait()
        for number in range(90):
            yield number
            await asend_to_group("red", BULKY)
            await asend_to_group("red", BULKY)
            largest = max(largest, connection.stats.queued_bytes)

    client = browser(feed.as_asgi(), takes=1)
    await held_up(client, watched)
    watched.go_on.set()
    await settle()
    while (event := await client.event())["type"] != "websocket.close":
        pass
    assert event["code"] == 3008
    assert largest < 3 * 5000
    await client.leave(3008)
