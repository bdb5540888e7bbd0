"""Whoever is faster waits for the other side, and nobody else does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.consumers.browser import Browser, Closed
from tests.streams.conftest import Watched
from tests.test_outlet import settle
from tests.waiting import aeventually
from wsadapter import (
    Batch,
    Connection,
    Priority,
    Stream,
    aonline_count,
    asend_to_client,
    asend_to_group,
    stream,
)
from wsadapter.wire.lanes import LANE_SIZE as MAX_FRAMES
from wsadapter.wire.priorities import SUBPROTOCOL

Connect = Callable[..., Browser]

END = '{"type":"ws:end"}'

LANE_SIZE = 8
MANY = 500


def counting(watched: Watched, **options: Any) -> Stream:
    """A server stream that notes each number once the next one is wanted."""

    @stream(**{"lane_size": LANE_SIZE, **options})
    async def count() -> AsyncIterator[int]:
        for number in range(MANY):
            watched.notes.append(number)
            yield number

    return count


async def unread(client: Browser) -> Browser:
    """Connect to a server that takes the welcome, and nothing after it."""
    await client.connect()
    await aeventually(client.output_queue.full)
    return client


async def at_a_standstill(watched: Watched, least: int) -> int:
    """How far the generator is when it gets no further."""
    await aeventually(lambda: len(watched.notes) >= least)
    await settle()
    return len(watched.notes)


async def messages(client: Browser, count: int) -> list[Any]:
    """So many messages, out of their batches."""
    found: list[Any] = []
    while len(found) < count:
        message = await client.receive()
        is_batch = isinstance(message, dict) and message["type"] == "ws:batch"
        found += message["messages"] if is_batch else [message]
    return found


# A client that does not read


OPTIONS: dict[str, dict[str, Any]] = {
    "one by one": {},
    "in batches": {"batch": Batch(max_items=4, max_delay=60)},
    "in batches of all that may wait": {"batch": Batch(max_items=LANE_SIZE, max_delay=60)},
    "in batches by bytes": {"batch": Batch(max_items=LANE_SIZE, max_bytes=3, max_delay=60)},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
async def test_a_generator_is_ahead_of_its_client_by_a_lane_and_no_more(
    browser: Connect, watched: Watched, options: dict[str, Any]
) -> None:
    client = await unread(browser(counting(watched, **options).as_asgi(), takes=1))
    assert LANE_SIZE <= await at_a_standstill(watched, LANE_SIZE) <= LANE_SIZE + 1
    assert (await client.receive())["type"] == "ws:welcome"
    assert await messages(client, MANY) == list(range(MANY))
    assert await client.closed() == Closed(1000, "")


async def test_it_goes_on_as_its_client_reads(browser: Connect, watched: Watched) -> None:
    client = await unread(browser(counting(watched).as_asgi(), takes=1))
    before = await at_a_standstill(watched, LANE_SIZE)
    await client.receive()  # the welcome
    for number in range(5):
        assert await at_a_standstill(watched, before + number + 1) == before + number + 1
        assert await client.receive() == number


async def test_large_messages_wait_by_their_bytes(browser: Connect, watched: Watched) -> None:
    """As many as the outbox may hold, and one more."""

    @stream(max_outbox_size=1000)
    async def large() -> AsyncIterator[str]:
        for number in range(MANY):
            watched.notes.append(number)
            yield f"{number}".ljust(400, ".")

    client = await unread(browser(large.as_asgi(), takes=1))
    assert await at_a_standstill(watched, 3) == 3
    await client.receive()
    found = await messages(client, 20)
    assert [text.rstrip(".") for text in found] == list(map(str, range(20)))


async def test_a_message_larger_than_all_that_may_wait_is_sent(browser: Connect) -> None:
    @stream(max_outbox_size=100, batch=Batch(max_bytes=50, max_delay=60))
    async def huge() -> AsyncIterator[str]:
        yield "small"
        yield "x" * 1000
        yield "small"

    client = await unread(browser(huge.as_asgi(), takes=1))
    await client.receive()
    assert await messages(client, 3) == ["small", "x" * 1000, "small"]
    assert (await client.closed()).code == 1000


async def test_each_lane_is_full_for_itself(browser: Connect, watched: Watched) -> None:
    """Whoever waits in one lane keeps nobody from another, and the total is bounded."""

    @stream(lane_size=LANE_SIZE, priorities={"high": Priority.HIGH})
    async def two_lanes() -> AsyncIterator[dict[str, Any]]:
        for number in range(LANE_SIZE - 1):
            watched.notes.append(number)
            yield {"type": "normal", "n": number}
        for number in range(MANY):
            watched.notes.append(number)
            yield {"type": "high", "n": number}

    await unread(browser(two_lanes.as_asgi(), takes=1))
    total = LANE_SIZE - 1 + LANE_SIZE
    assert total <= await at_a_standstill(watched, total) <= total + 1


async def test_others_go_on_while_one_does_not_read(browser: Connect, watched: Watched) -> None:
    application = counting(watched, groups=["news"]).as_asgi()
    slow = await unread(browser(application, takes=1))
    before = await at_a_standstill(watched, LANE_SIZE)
    quick = browser(application)
    await quick.open()
    assert await messages(quick, MANY) == list(range(MANY))
    assert len(watched.notes) == before + MANY
    assert await quick.closed() == Closed(1000, "")
    assert not slow.future.done()


async def test_pushes_go_to_who_reads_and_wait_for_who_does_not(
    browser: Connect, watched: Watched
) -> None:
    @stream(lane_size=LANE_SIZE, groups=["news"])
    async def count(upto: int, connection: Connection) -> AsyncIterator[int]:
        for number in range(upto):
            watched.notes.append(number)
            yield number
        await connection.closed

    slow = await unread(browser(count.as_asgi(), f"/ws/?upto={MANY}", takes=1))
    await at_a_standstill(watched, LANE_SIZE)
    quick = browser(count.as_asgi(), "/ws/?upto=0")
    await quick.open()
    await asend_to_group("news", {"type": "news"})
    await asend_to_group("news", {"type": "urgent news"}, priority=Priority.URGENT)
    assert {message["type"] for message in await messages(quick, 2)} == {"news", "urgent news"}
    assert (await slow.receive())["type"] == "ws:welcome"
    found = await messages(slow, MANY + 2)
    assert [each for each in found if isinstance(each, int)] == list(range(MANY))
    assert found.index({"type": "urgent news"}) <= 1, "behind what the server had already"
    assert found.index({"type": "news"}) <= LANE_SIZE + 1


async def test_a_client_that_is_pushed_too_much_is_closed_with_3008(
    browser: Connect, watched: Watched
) -> None:
    """What is pushed cannot wait for it, unlike what its own stream sends."""
    application = counting(watched, max_outbox_size=2000, groups=["news"]).as_asgi()
    client = await unread(browser(application, takes=1))
    await at_a_standstill(watched, LANE_SIZE)
    for _ in range(20):
        await asend_to_group("news", "x" * 100)
    assert (await client.closed()).code == 3008


async def test_a_client_that_does_not_read_is_heard(browser: Connect, watched: Watched) -> None:
    client = await unread(browser(counting(watched).as_asgi(), takes=1))
    await at_a_standstill(watched, LANE_SIZE)
    await client.send_json_to({"type": "ws:ping"})
    await aeventually(client.input_queue.empty)
    assert (await client.receive())["type"] == "ws:welcome"
    assert {"type": "ws:pong"} in await messages(client, 2), "behind what the server had already"


# A function that does not read


async def flood(client: Browser, count: int, message: Callable[[int], str] = str) -> None:
    """Have the server hold so many messages of the client."""
    for number in range(count):
        client.input_queue.put_nowait({"type": "websocket.receive", "text": message(number)})


async def taken_of(client: Browser, count: int) -> int:
    """How many of those the application has taken when it takes no more."""
    await aeventually(lambda: client.input_queue.qsize() <= count - MAX_FRAMES)
    await settle()
    return count - client.input_queue.qsize()


async def test_a_client_waits_for_a_function_that_does_not_read(
    browser: Connect, watched: Watched
) -> None:
    @stream
    async def slow(incoming: AsyncIterator[int]) -> int:
        await watched.go_on.wait()
        watched.notes = [number async for number in incoming]
        return len(watched.notes)

    client = browser(slow.as_asgi())
    await client.open()
    await flood(client, MANY)
    assert await taken_of(client, MANY) <= MAX_FRAMES + 1
    await client.frame(END)
    watched.go_on.set()
    assert await client.receive() == MANY
    assert watched.notes == list(range(MANY))


async def test_it_may_send_on_as_the_function_reads(browser: Connect, watched: Watched) -> None:
    turns = asyncio.Semaphore(0)

    @stream
    async def slow(incoming: AsyncIterator[int]) -> None:
        async for number in incoming:
            watched.notes.append(number)
            await turns.acquire()

    client = browser(slow.as_asgi())
    await client.open()
    await flood(client, MANY)
    before = await taken_of(client, MANY)
    for number in range(1, 6):
        turns.release()
        await aeventually(lambda number=number: len(watched.notes) == number + 1)
        await settle()
        assert MANY - client.input_queue.qsize() == before + number
    await client.cut()


async def test_each_lane_of_the_client_is_full_for_itself(
    browser: Connect, watched: Watched
) -> None:
    @stream
    async def slow(incoming: AsyncIterator[dict[str, int]]) -> int:
        await watched.go_on.wait()
        return len([message async for message in incoming])

    client = browser(slow.as_asgi(), subprotocols=[SUBPROTOCOL])
    await client.open()
    await flood(client, MAX_FRAMES - 1)
    await flood(client, MAX_FRAMES - 1, lambda n: f'{{"n":{n},"priority":"high"}}')
    await aeventually(client.input_queue.empty)
    await flood(client, MANY, lambda n: f'{{"n":{n},"priority":"low"}}')
    assert await taken_of(client, MANY) == MAX_FRAMES
    await client.cut()


async def test_pushes_and_pings_go_on_while_a_client_waits(
    browser: Connect, watched: Watched
) -> None:
    @stream(groups=["news"], heartbeat_interval=0.01, heartbeat_mode="never")
    async def slow(incoming: AsyncIterator[int]) -> None:
        await watched.go_on.wait()

    client = browser(slow.as_asgi())
    client_id = await client.open()
    await flood(client, MANY)
    await taken_of(client, MANY)
    await asend_to_group("news", "for the group")
    await asend_to_client(client_id, "for the client")
    expected: list[Any] = ["for the group", "for the client", {"type": "ws:ping"}]
    while expected:
        message = await client.receive()
        if message in expected:
            expected.remove(message)


async def test_a_function_reads_on_while_its_client_does_not(
    browser: Connect, watched: Watched
) -> None:
    """Neither direction waits for the other."""

    @stream(lane_size=LANE_SIZE)
    async def both(incoming: AsyncIterator[int]) -> AsyncIterator[int]:
        async def read() -> None:
            async for number in incoming:
                watched.notes.append(number)
            watched.over.set()

        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            for number in range(MANY):
                yield number

    client = await unread(browser(both.as_asgi(), takes=1))
    await flood(client, MANY)
    await client.frame(END)
    await watched.over.wait()
    assert watched.notes == list(range(MANY))
    await client.receive()
    assert await messages(client, MANY) == list(range(MANY))
    assert (await client.closed()).code == 1000


async def test_an_echo_holds_up_a_client_that_does_not_read(browser: Connect) -> None:
    """What is sent back waits in a lane, and then what is sent in another one."""

    @stream(lane_size=LANE_SIZE)
    async def echo(incoming: AsyncIterator[int]) -> AsyncIterator[int]:
        async for number in incoming:
            yield number

    client = await unread(browser(echo.as_asgi(), takes=1))
    await flood(client, MANY)
    await client.frame(END)
    assert await taken_of(client, MANY) <= LANE_SIZE + 1 + MAX_FRAMES + 1
    await client.receive()
    assert await messages(client, MANY) == list(range(MANY))
    assert (await client.closed()).code == 1000
    assert await aonline_count() == 0
