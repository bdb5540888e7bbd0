"""Either side may end a stream, at any moment; what the function has begun, it ends."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
from django.db import OperationalError

from tests.consumers.browser import Browser, Closed
from tests.consumers.conftest import Log
from tests.streams.conftest import Watched
from tests.test_outlet import settle
from tests.waiting import aeventually
from wsadapter import (
    Batch,
    Connection,
    ConnectionClosed,
    Exhausted,
    Failure,
    Fatal,
    Stream,
    Transient,
    adisconnect_client,
    aonline_count,
    stream,
    with_views,
)
from wsadapter.wire.priorities import SUBPROTOCOL

Connect = Callable[..., Browser]
Open = Callable[[Stream], Awaitable[Browser]]
End = Callable[[Browser], Awaitable[None]]

END = '{"type":"ws:end"}'

#: Seconds that no test waits for.
NEVER = 60.0


async def closing(client: Browser) -> None:
    await client.leave(1000)


async def leaving_the_page(client: Browser) -> None:
    await client.leave(1001)


async def vanishing(client: Browser) -> None:
    await client.leave(1006)


async def cut_by_the_server(client: Browser) -> None:
    await client.cut()


async def kicked(client: Browser) -> None:
    [client_id] = client.scope["ids"]
    await adisconnect_client(client_id)
    await client.closed()


ENDS: list[End] = [closing, leaving_the_page, vanishing, cut_by_the_server, kicked]

every_end = pytest.mark.parametrize("end", ENDS, ids=[end.__name__ for end in ENDS])


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is given time to read to the end has all of the test's."""
    monkeypatch.setattr("wsadapter.tasks.PATIENCE_SECONDS", NEVER)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has read, and does not read on, is cancelled in a moment."""
    monkeypatch.setattr("wsadapter.tasks.PATIENCE_SECONDS", 0.02)


async def opened(client: Browser) -> Browser:
    """Connect, and leave the welcome unread where the server takes no more than one event."""
    ids: list[str] = []
    client.scope["ids"] = ids
    await client.connect()
    await aeventually(client.output_queue.qsize)
    return client


# The client goes


def waiting_before_its_first_item(watched: Watched) -> Stream:
    @stream
    async def generator(connection: Connection) -> AsyncIterator[int]:
        connection.scope["ids"].append(connection.client_id)
        try:
            watched.begun.set()
            await asyncio.Event().wait()
            yield 1
        finally:
            watched.notes.append("over")

    return generator


def waiting_after_an_item(watched: Watched) -> Stream:
    @stream
    async def generator(connection: Connection) -> AsyncIterator[int]:
        connection.scope["ids"].append(connection.client_id)
        try:
            yield 1
            watched.begun.set()
            await asyncio.Event().wait()
        finally:
            watched.notes.append("over")

    return generator


def held_up_at_a_yield(watched: Watched) -> Stream:
    @stream(lane_size=1)
    async def generator(connection: Connection) -> AsyncIterator[int]:
        connection.scope["ids"].append(connection.client_id)
        try:
            watched.begun.set()
            for number in range(1000):
                yield number
            watched.notes.append("all sent")
        finally:
            watched.notes.append("over")

    return generator


def held_up_at_a_batch(watched: Watched) -> Stream:
    @stream(lane_size=2, batch=Batch(max_items=2, max_delay=NEVER))
    async def generator(connection: Connection) -> AsyncIterator[int]:
        connection.scope["ids"].append(connection.client_id)
        try:
            watched.begun.set()
            for number in range(1000):
                yield number
            watched.notes.append("all sent")
        finally:
            watched.notes.append("over")

    return generator


def with_a_batch_that_waits(watched: Watched) -> Stream:
    @stream(batch=Batch(max_delay=NEVER))
    async def generator(connection: Connection) -> AsyncIterator[int]:
        connection.scope["ids"].append(connection.client_id)
        try:
            yield 1
            watched.begun.set()
            await asyncio.Event().wait()
        finally:
            watched.notes.append("over")

    return generator


def held_up_both_ways(watched: Watched) -> Stream:
    @stream(lane_size=1)
    async def generator(incoming: AsyncIterator[int], connection: Connection) -> AsyncIterator[int]:
        connection.scope["ids"].append(connection.client_id)
        try:
            watched.begun.set()
            for number in range(1000):
                yield number
            watched.notes.append("all sent")
        finally:
            watched.notes.append("over")

    return generator


def without_having_read(watched: Watched) -> Stream:
    @stream
    async def generator(incoming: AsyncIterator[int], connection: Connection) -> AsyncIterator[int]:
        connection.scope["ids"].append(connection.client_id)
        try:
            watched.begun.set()
            await asyncio.Event().wait()
            yield 1
        finally:
            watched.notes.append("over")

    return generator


def reading_both_ways(watched: Watched) -> Stream:
    @stream
    async def generator(incoming: AsyncIterator[int], connection: Connection) -> AsyncIterator[int]:
        connection.scope["ids"].append(connection.client_id)
        try:
            watched.begun.set()
            async for number in incoming:
                yield number
        finally:
            watched.notes.append("over")

    return generator


def reading(watched: Watched) -> Stream:
    @stream
    async def function(incoming: AsyncIterator[int], connection: Connection) -> int:
        connection.scope["ids"].append(connection.client_id)
        try:
            watched.begun.set()
            return sum([number async for number in incoming])
        finally:
            watched.notes.append("over")

    return function


SITUATIONS: list[Callable[[Watched], Stream]] = [
    waiting_before_its_first_item,
    waiting_after_an_item,
    held_up_at_a_yield,
    held_up_at_a_batch,
    with_a_batch_that_waits,
    held_up_both_ways,
    without_having_read,
    reading_both_ways,
    reading,
]

every_situation = pytest.mark.parametrize(
    "make", SITUATIONS, ids=[make.__name__ for make in SITUATIONS]
)


@pytest.mark.usefixtures("at_once")
@every_end
@every_situation
async def test_the_function_ends_at_once_with_its_connection_and_cleans_up(
    browser: Connect, log: Log, watched: Watched, make: Callable[[Watched], Stream], end: End
) -> None:
    takes = 1 if make.__name__.startswith("held") else 0
    client = await opened(browser(make(watched).as_asgi(), takes=takes))
    await watched.begun.wait()
    await settle()
    assert watched.notes == []
    await end(client)
    await aeventually(lambda: watched.notes)
    await settle()
    assert watched.notes == ["over"]
    assert not log.lines("handlers") and not log.tracebacks


@pytest.mark.usefixtures("at_once")
@every_end
async def test_who_has_read_and_is_held_up_at_a_yield_gets_no_further(
    browser: Connect, log: Log, watched: Watched, end: End
) -> None:
    """A reader is not cancelled: it learns of the end by what it cannot send."""

    @stream(lane_size=1)
    async def repeat(incoming: AsyncIterator[int], connection: Connection) -> AsyncIterator[int]:
        connection.scope["ids"].append(connection.client_id)
        try:
            async for number in incoming:
                watched.begun.set()
                for _ in range(1000):
                    yield number
                watched.notes.append("all sent")
        finally:
            watched.notes.append("over")

    client = await opened(browser(repeat.as_asgi(), takes=1))
    await client.frame("1")
    await watched.begun.wait()
    await settle()
    await end(client)
    await aeventually(lambda: watched.notes)
    assert watched.notes == ["over"]
    assert not log.lines("handlers") and not log.tracebacks


async def test_a_clean_up_may_await(browser: Connect, watched: Watched) -> None:
    @stream
    async def careful() -> AsyncIterator[int]:
        try:
            yield 1
            watched.begun.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            watched.notes.append(await aonline_count())

    client = browser(careful.as_asgi())
    await client.open()
    await watched.begun.wait()
    await client.leave()
    assert len(watched.notes) == 1


@pytest.mark.parametrize(
    "make",
    [held_up_at_a_yield, held_up_both_ways, reading_both_ways],
    ids=lambda make: make.__name__,
)
async def test_the_clean_up_is_not_left_to_the_garbage_collector(
    browser: Connect, watched: Watched, make: Callable[[Watched], Stream]
) -> None:
    """It runs in the task of the function, as everything in it."""
    tasks: list[asyncio.Task[Any] | None] = []

    class Noting(list[Any]):
        def append(self, note: Any) -> None:
            tasks.append(asyncio.current_task())

    watched.notes = Noting()
    client = await opened(browser(make(watched).as_asgi(), takes=1))
    await watched.begun.wait()
    await settle()
    await client.leave()
    assert [task.get_name() for task in tasks if task] == ["generator"]


async def test_a_clean_up_that_fails_is_logged(
    browser: Connect, log: Log, watched: Watched
) -> None:
    @stream
    async def broken() -> AsyncIterator[int]:
        try:
            yield 1
            watched.begun.set()
            await asyncio.Event().wait()
        finally:
            raise LookupError("a secret")

    client = browser(broken.as_asgi())
    await client.open()
    await watched.begun.wait()
    await client.leave()
    assert len(log.tracebacks) == 1


async def test_a_client_that_leaves_at_once_leaves_nothing_behind(
    browser: Connect, log: Log, watched: Watched
) -> None:
    @stream
    async def brief() -> AsyncIterator[int]:
        watched.notes.append("begun")
        try:
            yield 1
        finally:
            watched.notes.append("over")

    for _ in range(5):
        client = browser(brief.as_asgi())
        await client.send_input({"type": "websocket.connect"})
        await client.send_input({"type": "websocket.disconnect", "code": 1006})
        await client.wait(10)
    assert watched.notes.count("begun") == watched.notes.count("over")
    assert not log.lines("handlers")


@pytest.mark.usefixtures("soon")
async def test_who_has_read_and_does_something_else_is_cancelled(
    browser: Connect, log: Log, watched: Watched
) -> None:
    @stream
    async def busy(incoming: AsyncIterator[int]) -> AsyncIterator[int]:
        try:
            async for number in incoming:
                yield number
                await asyncio.Event().wait()
        finally:
            watched.notes.append("over")

    client = browser(busy.as_asgi())
    await client.open()
    assert await client.request_raw("1") == 1
    await client.leave()
    assert watched.notes == ["over"]
    assert not log.lines("handlers")


@pytest.mark.usefixtures("at_once")
async def test_who_has_read_to_the_end_is_a_reader_no_more(
    browser: Connect, watched: Watched
) -> None:
    """There is nothing left that it could learn the connection's end by."""

    @stream
    async def after_all(incoming: AsyncIterator[int]) -> AsyncIterator[int]:
        try:
            total = sum([number async for number in incoming])
            watched.begun.set()
            await asyncio.Event().wait()
            yield total
        finally:
            watched.notes.append("over")

    client = browser(after_all.as_asgi())
    await client.open()
    await client.frame(END)
    await watched.begun.wait()
    await client.leave()
    assert watched.notes == ["over"]


@pytest.mark.usefixtures("soon")
async def test_a_task_of_the_function_ends_with_it(browser: Connect, watched: Watched) -> None:
    @stream
    async def both(incoming: AsyncIterator[int]) -> AsyncIterator[int]:
        async def read() -> None:
            try:
                async for number in incoming:
                    watched.notes.append(number)
            finally:
                watched.notes.append("read")

        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            yield 1
            await asyncio.Event().wait()

    client = browser(both.as_asgi())
    await client.open()
    assert await client.receive() == 1
    await client.frame("2")
    await aeventually(lambda: watched.notes)
    await client.leave()
    assert watched.notes == [2, "read"]


# What a reader learns of it


@pytest.mark.parametrize("code", [1000, 1001, 1005])
async def test_a_client_that_closes_is_done(
    browser: Connect, log: Log, watched: Watched, code: int
) -> None:
    @stream
    async def collect(incoming: AsyncIterator[int]) -> int:
        watched.notes = [number async for number in incoming]
        return sum(watched.notes)

    client = browser(collect.as_asgi())
    await client.open()
    await client.frame("1")
    await client.frame("2")
    await client.leave(code)
    assert watched.notes == [1, 2]
    assert not log.lines("handlers")


async def test_any_other_end_is_an_error_for_who_reads(
    browser: Connect, log: Log, watched: Watched
) -> None:
    @stream
    async def collect(incoming: AsyncIterator[int]) -> None:
        try:
            async for number in incoming:
                watched.notes.append(number)
        except ConnectionClosed as end:
            watched.notes.append(end.code)
            raise

    client = browser(collect.as_asgi())
    await client.open()
    await client.frame("1")
    await client.leave(1006)
    assert watched.notes == [1, 1006]
    assert not log.lines("handlers")


async def test_what_had_arrived_is_read_though_the_client_has_gone(
    browser: Connect, watched: Watched
) -> None:
    @stream
    async def late(incoming: AsyncIterator[int]) -> None:
        async for number in incoming:
            watched.begun.set()
            await watched.go_on.wait()
            watched.notes.append(number)

    client = browser(late.as_asgi())
    await client.open()
    await client.frame("1")
    await watched.begun.wait()
    for number in (2, 3):
        await client.frame(str(number))
    await client.send_input({"type": "websocket.disconnect", "code": 1000})
    await aeventually(client.input_queue.empty)
    await settle()
    watched.go_on.set()
    await client.wait(10)
    assert watched.notes == [1, 2, 3]


# The function ends


async def test_what_waits_leaves_before_the_stream_closes(browser: Connect) -> None:
    @stream
    async def hasty() -> AsyncIterator[int]:
        for number in range(50):
            yield number

    client = await opened(browser(hasty.as_asgi(), takes=1))
    await client.receive()
    assert [await client.receive() for _ in range(50)] == list(range(50))
    assert await client.closed() == Closed(1000, "")


async def test_a_function_that_returns_stops_a_client_that_still_sends(
    browser: Connect, log: Log
) -> None:
    @stream
    async def first(incoming: AsyncIterator[int]) -> int:
        return await anext(incoming)

    client = browser(first.as_asgi())
    await client.open()
    for number in range(500):
        client.input_queue.put_nowait({"type": "websocket.receive", "text": str(number)})
    assert await client.receive() == 0
    assert await client.event() == {"type": "websocket.close", "code": 1000}
    await aeventually(client.input_queue.empty)
    await client.leave()
    assert not log.lines("handlers")


async def test_a_function_that_returns_without_reading_stops_a_client_that_is_held_up(
    browser: Connect, watched: Watched
) -> None:
    @stream
    async def nothing(incoming: AsyncIterator[int]) -> str:
        await watched.go_on.wait()
        return "enough"

    client = browser(nothing.as_asgi())
    await client.open()
    for number in range(500):
        client.input_queue.put_nowait({"type": "websocket.receive", "text": str(number)})
    await aeventually(lambda: client.input_queue.qsize() < 450)
    watched.go_on.set()
    assert await client.receive() == "enough"
    assert (await client.closed()).code == 1000
    assert client.input_queue.empty()


async def test_a_function_may_close_with_a_code_of_its_own(browser: Connect, log: Log) -> None:
    @stream
    async def closing_itself(connection: Connection) -> AsyncIterator[str]:
        yield "bye"
        await connection.close(4001, "as I like")

    client = browser(closing_itself.as_asgi())
    await client.open()
    assert await client.receive() == "bye"
    assert await client.closed() == Closed(4001, "as I like")
    assert not log.lines("handlers")


@pytest.mark.parametrize(
    "error",
    [LookupError("a secret"), asyncio.CancelledError("a secret"), TimeoutError("a secret")],
    ids=lambda error: type(error).__name__,
)
async def test_a_generator_that_raises_closes_with_1011_after_what_it_sent(
    browser: Connect, log: Log, error: BaseException
) -> None:
    @stream
    async def broken() -> AsyncIterator[int]:
        yield 1
        yield 2
        raise error

    client = browser(broken.as_asgi())
    client_id = await client.open()
    assert [await client.receive(), await client.receive()] == [1, 2]
    assert await client.closed() == Closed(1011, "internal error")
    assert log.lines("handlers") == [f"The stream broken failed with client {client_id}."]
    assert log.tracebacks == log.lines("handlers")


async def test_a_function_that_raises_closes_with_1011(browser: Connect, log: Log) -> None:
    @stream
    async def broken(incoming: AsyncIterator[int]) -> int:
        async for number in incoming:
            raise LookupError(number)
        return 0

    client = browser(broken.as_asgi())
    await client.open()
    await client.frame("1")
    assert await client.closed() == Closed(1011, "internal error")
    assert len(log.tracebacks) == 1


class TooManyReports(Exception):
    """One of a project's own."""


FAILURES: dict[str, tuple[Exception, dict[str, Any], Closed]] = {
    "transient": (
        Transient("The sensor is asleep."),
        {"code": "transient", "kind": "transient", "message": "The sensor is asleep."},
        Closed(3004, "The sensor is asleep."),
    ),
    "exhausted": (
        Exhausted("Enough for today.", retry_after=3.0),
        {
            "code": "exhausted",
            "kind": "exhausted",
            "message": "Enough for today.",
            "retry_after": 3.0,
        },
        Closed(3013, "Enough for today."),
    ),
    "fatal": (
        Fatal("There is no such sensor."),
        {"code": "fatal", "kind": "fatal", "message": "There is no such sensor."},
        Closed(3501, "There is no such sensor."),
    ),
    "with codes of its own": (
        Fatal("Sold out.", code="sold_out", close_code=4600),
        {"code": "sold_out", "kind": "fatal", "message": "Sold out."},
        Closed(4600, "Sold out."),
    ),
    "a project's own": (
        TooManyReports("a secret"),
        {"code": "exhausted", "kind": "exhausted", "message": Exhausted.sentence},
        Closed(3013, Exhausted.sentence),
    ),
    "the database is away": (
        OperationalError("a secret"),
        {"code": "transient", "kind": "transient", "message": Transient.sentence},
        Closed(3004, Transient.sentence),
    ),
}


@pytest.mark.parametrize("batch", [None, Batch(max_delay=NEVER)], ids=["", "in a batch"])
@pytest.mark.parametrize(("error", "told", "closed"), FAILURES.values(), ids=FAILURES)
async def test_a_failure_is_told_and_closes_with_its_code(
    browser: Connect,
    log: Log,
    batch: Batch | None,
    error: Exception,
    told: dict[str, Any],
    closed: Closed,
) -> None:
    @stream(errors={TooManyReports: Exhausted}, batch=batch)
    async def failing() -> AsyncIterator[int]:
        yield 1
        raise error

    client = browser(failing.as_asgi())
    client_id = await client.open()
    expected = [1, {"type": "ws:error", "id": None, **told}]
    if batch is None:
        assert [await client.receive(), await client.receive()] == expected
    else:
        assert (await client.receive())["messages"] == expected
    assert await client.closed() == closed
    [line] = log.lines("handlers")
    assert line == f"The stream failing failed with client {client_id}: {told['message']}"
    assert len(log.tracebacks) == (not isinstance(error, Failure))


# Nothing is left


@with_views(short=("id",))
class Article(msgspec.Struct):
    id: int
    text: str = ""


@stream
async def endless() -> AsyncIterator[Article]:
    yield Article(1)
    await asyncio.Event().wait()


@stream
async def both_ways(incoming: AsyncIterator[int]) -> AsyncIterator[Article]:
    async for number in incoming:
        yield Article(number)


@stream(batch=Batch(max_items=1, max_delay=NEVER), lane_size=1, sequence=True)
async def in_batches() -> AsyncIterator[Article]:
    yield Article(1)
    await asyncio.Event().wait()


@stream(on_invalid="end")
async def picky(incoming: AsyncIterator[int]) -> AsyncIterator[Article]:
    yield Article(1)
    async for number in incoming:
        yield Article(number)


@stream
async def failing_fast(incoming: AsyncIterator[int]) -> AsyncIterator[Article]:
    yield Article(1)
    async for _ in incoming:
        raise Fatal


@stream
async def to_the_end(incoming: AsyncIterator[int]) -> Article:
    return Article(sum([number async for number in incoming]))


async def leaves(client: Browser) -> None:
    await client.receive()
    await client.disconnect()


async def breaks_off(client: Browser) -> None:
    await client.receive()
    await client.disconnect(1006)


async def breaks_off_unheard(client: Browser) -> None:
    await client.disconnect(1006)


async def errs(client: Browser) -> None:
    await client.receive()
    await client.frame('"x"')
    await client.closed()


async def sends(client: Browser) -> None:
    await client.receive()
    await client.frame("1")
    await client.closed()


async def is_done(client: Browser) -> None:
    await client.frame("1")
    await client.frame(END)
    await client.receive()
    await client.closed()


LIVES: dict[str, tuple[Stream, End]] = {
    "the client leaves a server stream": (endless, leaves),
    "the client breaks off a server stream": (endless, breaks_off),
    "the client leaves while a batch is made": (in_batches, leaves),
    "the client leaves both": (both_ways, breaks_off_unheard),
    "the client is done, both ways": (both_ways, is_done),
    "the client is done": (to_the_end, is_done),
    "the client is lost": (to_the_end, breaks_off_unheard),
    "the client errs": (picky, errs),
    "the function fails": (failing_fast, sends),
}


@pytest.mark.parametrize("subprotocols", [[], [SUBPROTOCOL]], ids=["", "with priorities"])
@pytest.mark.parametrize(("each", "end"), LIVES.values(), ids=LIVES)
async def test_an_ended_stream_needs_no_garbage_collector(
    browser: Connect, each: Stream, end: End, subprotocols: list[str]
) -> None:
    application = each.as_asgi()

    def left() -> int:
        return sum(type(found) is application.consumer_class for found in gc.get_objects())

    await browser(endless.as_asgi()).open()  # whoever stays keeps the lease
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            client = browser(application, "/ws/?view=short", subprotocols=subprotocols)
            await client.open()
            await end(client)
        del client
        await aeventually(lambda: not left())
    finally:
        gc.enable()


@pytest.mark.usefixtures("at_once")
@every_end
async def test_a_clean_up_that_awaits_is_not_cut_short_where_sending_was_held_up(
    browser: Connect, watched: Watched, end: End
) -> None:
    @stream(lane_size=1)
    async def held_up(connection: Connection) -> AsyncIterator[int]:
        connection.scope["ids"].append(connection.client_id)
        try:
            watched.begun.set()
            for number in range(1000):
                yield number
        finally:
            for _ in range(20):
                await asyncio.sleep(0)
            watched.notes.append("over")

    client = await opened(browser(held_up.as_asgi(), takes=1))
    await watched.begun.wait()
    await settle()
    await end(client)
    await client.leave()
    assert watched.notes == ["over"]


@pytest.mark.parametrize("error", [GeneratorExit(), Fatal("half \ud800")], ids=["exit", "failure"])
async def test_whatever_leaves_a_function_closes_its_connection(
    browser: Connect, error: BaseException
) -> None:
    @stream
    async def broken() -> AsyncIterator[int]:
        raise error
        yield 1

    client = browser(broken.as_asgi())
    await client.open()
    while (event := await client.event())["type"] != "websocket.close":
        pass
    assert event["code"] in (1011, 3501)
