"""The three patterns: what the signature says is what goes over the connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from django.core.exceptions import ImproperlyConfigured

from tests.consumers.browser import Browser, Closed
from tests.consumers.conftest import Log
from tests.streams.conftest import Watched
from tests.test_outlet import settle
from wsadapter import (
    Batch,
    Connection,
    EndpointError,
    RateLimit,
    abroadcast,
    aonline_count,
    asend_to_group,
    asend_to_user,
    stream,
)
from wsadapter.streams import StreamOptions

Connect = Callable[..., Browser]


class Reading(msgspec.Struct):
    celsius: float


class Summary(msgspec.Struct):
    count: int
    highest: float


async def received(client: Browser, count: int) -> list[Any]:
    return [await client.receive() for _ in range(count)]


END = '{"type":"ws:end"}'


# What a client sends


@stream
async def upload(incoming: AsyncIterator[Reading]) -> Summary:
    """Sum up."""
    readings = [reading.celsius async for reading in incoming]
    return Summary(len(readings), max(readings))


async def test_a_client_stream_ends_with_one_result(browser: Connect, log: Log) -> None:
    client = browser(upload.as_asgi())
    await client.open()
    for celsius in (20.5, 31, 7):
        await client.send_json_to({"celsius": celsius})
    await client.frame(END)
    assert await client.receive() == {"count": 3, "highest": 31}
    assert await client.closed() == Closed(1000, "")
    assert not log.lines("handlers") and not log.lines("connection")


async def test_a_client_stream_may_have_no_result(browser: Connect, watched: Watched) -> None:
    @stream
    async def collect(incoming: AsyncIterator[Reading]) -> None:
        watched.notes = [reading async for reading in incoming]

    client = browser(collect.as_asgi())
    await client.open()
    await client.send_json_to({"celsius": 1})
    await client.frame(END)
    assert await client.event() == {"type": "websocket.close", "code": 1000}
    assert watched.notes == [Reading(1)]


@pytest.mark.parametrize("result", [Summary(1, 2), None], ids=["there is one", "there is none"])
async def test_an_optional_result_is_sent_where_there_is_one(
    browser: Connect, result: Summary | None
) -> None:
    @stream
    async def optional(incoming: AsyncIterator[Reading]) -> Summary | None:
        return result

    client = browser(optional.as_asgi())
    await client.open()
    if result is not None:
        assert await client.receive() == {"count": 1, "highest": 2}
    assert (await client.event())["type"] == "websocket.close"


async def test_a_client_stream_may_answer_before_its_client_is_done(browser: Connect) -> None:
    @stream
    async def first(incoming: AsyncIterator[Reading]) -> Reading:
        async for reading in incoming:
            return reading
        raise LookupError("there is none")

    client = browser(first.as_asgi())
    await client.open()
    assert await client.request(celsius=3) == {"celsius": 3}
    assert await client.closed() == Closed(1000, "")


async def test_a_stream_that_ends_at_once_is_empty(browser: Connect) -> None:
    @stream
    async def count(incoming: AsyncIterator[Reading]) -> int:
        return len([reading async for reading in incoming])

    client = browser(count.as_asgi())
    await client.open()
    assert await client.request_raw(END) == 0


async def test_several_tasks_may_read_one_stream_and_each_learns_of_its_end(
    browser: Connect,
) -> None:
    @stream
    async def share(incoming: AsyncIterator[int]) -> int:
        async def add() -> int:
            return sum([number async for number in incoming])

        return sum(await asyncio.gather(add(), add()))

    client = browser(share.as_asgi())
    await client.open()
    for number in range(10):
        await client.frame(str(number))
    assert await client.request_raw(END) == 45
    assert (await client.closed()).code == 1000


async def test_with_priorities_nothing_is_lost_between_them(
    browser: Connect, watched: Watched
) -> None:
    """What the client's end has overtaken is for whoever reads on."""

    @stream
    async def share(incoming: AsyncIterator[dict[str, int]]) -> int:
        async def add() -> int:
            watched.begun.set()
            total = 0
            async for message in incoming:
                total += message["n"]
                await asyncio.sleep(0)
            return total

        return sum(await asyncio.gather(add(), add(), add()))

    client = browser(share.as_asgi(), subprotocols=["wsadapter.priority"])
    await client.open()
    await watched.begun.wait()
    await settle()
    frames = [f'{{"n":{number},"priority":"low"}}' for number in range(10)]
    for frame in [*frames, END]:  # in one turn, while all of them wait
        client.input_queue.put_nowait({"type": "websocket.receive", "text": frame})
    assert await client.receive() == 45


# What a server sends


@stream
async def countdown(start: int, connection: Connection) -> AsyncIterator[Reading]:
    for number in range(start, 0, -1):
        yield Reading(number)


async def test_a_server_stream_sends_one_message_in_one_frame(browser: Connect, log: Log) -> None:
    client = browser(countdown.as_asgi(), "/ws/?start=3")
    await client.open()
    assert await received(client, 3) == [{"celsius": 3}, {"celsius": 2}, {"celsius": 1}]
    assert await client.closed() == Closed(1000, "")
    assert not log.lines("handlers") and not log.lines("connection")


async def test_a_server_stream_may_send_nothing(browser: Connect) -> None:
    client = browser(countdown.as_asgi(), "/ws/?start=0")
    await client.open()
    assert await client.event() == {"type": "websocket.close", "code": 1000}


async def test_a_server_stream_sends_as_it_goes(browser: Connect, watched: Watched) -> None:
    @stream
    async def ticks(connection: Connection) -> AsyncIterator[int]:
        yield 1
        await watched.go_on.wait()
        yield 2

    client = browser(ticks.as_asgi())
    await client.open()
    assert await client.receive() == 1
    watched.go_on.set()
    assert await client.receive() == 2


async def test_a_generator_without_annotations_is_a_server_stream(browser: Connect) -> None:
    @stream
    async def plain():  # type: ignore[no-untyped-def]
        yield {"any": "thing"}
        yield "text"
        yield b"bytes"

    client = browser(plain.as_asgi())
    await client.open()
    assert await received(client, 3) == [{"any": "thing"}, "text", b"bytes"]


class Countdown:
    """An iterator that is no generator, and has nothing to close."""

    def __init__(self, start: int) -> None:
        self._left = start

    def __aiter__(self) -> Countdown:
        return self

    async def __anext__(self) -> int:
        self._left -= 1
        if self._left < 0:
            raise StopAsyncIteration
        return self._left


async def test_a_function_may_return_an_iterator(browser: Connect) -> None:
    @stream
    async def returning(start: int) -> AsyncIterator[int]:
        return Countdown(start)

    client = browser(returning.as_asgi(), "/ws/?start=3")
    await client.open()
    assert await received(client, 3) == [2, 1, 0]
    assert (await client.closed()).code == 1000


async def test_a_message_that_does_not_encode_fails_the_stream(browser: Connect, log: Log) -> None:
    @stream
    async def broken() -> AsyncIterator[Any]:
        yield 1
        yield object()

    client = browser(broken.as_asgi())
    await client.open()
    assert await client.receive() == 1
    assert await client.closed() == Closed(1011, "internal error")
    assert len(log.tracebacks) == 1


# Both ways


@stream
async def echo(incoming: AsyncIterator[Reading]) -> AsyncIterator[Reading]:
    async for reading in incoming:
        yield reading


async def test_a_bidirectional_stream_answers_as_it_reads(browser: Connect, log: Log) -> None:
    client = browser(echo.as_asgi())
    await client.open()
    for celsius in (1, 2, 3):
        assert await client.request(celsius=celsius) == {"celsius": celsius}
    await client.frame(END)
    assert await client.closed() == Closed(1000, "")
    assert not log.lines("handlers") and not log.lines("connection")


async def test_it_may_go_on_after_its_client_is_done(browser: Connect) -> None:
    @stream
    async def backwards(incoming: AsyncIterator[Reading]) -> AsyncIterator[Reading]:
        for reading in reversed([reading async for reading in incoming]):
            yield reading

    client = browser(backwards.as_asgi())
    await client.open()
    await client.send_json_to({"celsius": 1})
    await client.send_json_to({"celsius": 2})
    await client.frame(END)
    assert await received(client, 2) == [{"celsius": 2}, {"celsius": 1}]
    assert (await client.closed()).code == 1000


async def test_both_directions_run_at_the_same_time(browser: Connect) -> None:
    @stream
    async def doubled(incoming: AsyncIterator[int]) -> AsyncIterator[int]:
        numbers: asyncio.Queue[int | None] = asyncio.Queue()

        async def read() -> None:
            async for number in incoming:
                numbers.put_nowait(number)
            numbers.put_nowait(None)

        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            yield 0
            while (number := await numbers.get()) is not None:
                yield 2 * number

    client = browser(doubled.as_asgi())
    await client.open()
    assert await client.receive() == 0
    assert [await client.request_raw(str(number)) for number in (1, 2, 3)] == [2, 4, 6]
    await client.frame(END)
    assert (await client.closed()).code == 1000


async def test_one_stream_may_be_made_of_another(browser: Connect) -> None:
    async def doubled(readings: AsyncIterator[Reading]) -> AsyncGenerator[float, None]:
        async for reading in readings:
            yield 2 * reading.celsius

    @stream
    async def outer(incoming: AsyncIterator[Reading]) -> AsyncIterator[float]:
        async with aclosing(doubled(incoming)) as results:
            async for result in results:
                yield result

    client = browser(outer.as_asgi())
    await client.open()
    assert await client.request(celsius=4) == 8
    await client.leave()


# How a stream may be spelt


async def test_any_kind_of_async_iterable_is_a_stream(browser: Connect) -> None:
    @stream
    async def iterables(incoming: AsyncIterable[int]) -> AsyncIterable[int]:
        async for number in incoming:
            yield number

    @stream
    async def generators(readings: AsyncGenerator[int, None]) -> AsyncGenerator[int, None]:
        async for number in readings:
            yield number

    for each in (iterables, generators):
        client = browser(each.as_asgi())
        await client.open()
        assert await client.request_raw("7") == 7


async def test_the_connection_is_there_by_its_name_or_its_annotation(browser: Connect) -> None:
    @stream
    async def by_name(connection) -> AsyncIterator[str]:  # type: ignore[no-untyped-def]
        yield connection.client_id

    @stream
    async def by_annotation(me: Connection) -> AsyncIterator[str]:
        yield me.client_id

    for each in (by_name, by_annotation):
        client = browser(each.as_asgi())
        assert await client.open() == await client.receive()


async def test_a_function_may_be_bound_before_it_is_a_stream(browser: Connect) -> None:
    async def times(factor: int, incoming: AsyncIterator[int]) -> AsyncIterator[int]:
        async for number in incoming:
            yield factor * number

    client = browser(stream(partial(times, 3)).as_asgi())
    await client.open()
    assert await client.request_raw("5") == 15


class Site:
    async def echo(self, incoming: AsyncIterator[int]) -> AsyncIterator[int]:
        async for number in incoming:
            yield number


async def test_a_method_of_an_object_may_be_a_stream(browser: Connect) -> None:
    client = browser(stream(Site().echo).as_asgi())
    await client.open()
    assert await client.request_raw("5") == 5


def test_it_keeps_the_name_and_the_words_of_its_function() -> None:
    assert upload.__name__ == "upload" and upload.__doc__ == "Sum up."
    assert repr(upload) == "<Stream upload>"
    assert upload.as_asgi().consumer_class.__name__ == "upload"


async def test_each_mount_is_an_application_of_its_own(browser: Connect) -> None:
    for application in (echo.as_asgi(), echo.as_asgi()):
        client = browser(application)
        await client.open()
        assert await client.request(celsius=1) == {"celsius": 1}


# Parameters


@stream
async def asked(
    incoming: AsyncIterator[int], room: str, page: int, user: Any, path: str = "?"
) -> AsyncIterator[Any]:
    yield {"room": room, "page": page, "user": user, "path": path}


IN_ROOM = {"url_route": {"args": (), "kwargs": {"room": "red"}}}


async def test_parameters_come_from_the_route_the_query_and_the_scope(browser: Connect) -> None:
    client = browser(asked.as_asgi(), "/ws/?page=7&room=another&user=9", user=8, **IN_ROOM)
    await client.open()
    assert await client.receive() == {"room": "red", "page": 7, "user": 8, "path": "?"}


async def test_the_user_is_who_authenticate_has_found(browser: Connect) -> None:
    async def authenticate(scope: Any) -> int:
        return 5

    @stream(authenticate=authenticate)
    async def who(user: Any, scope: Any) -> AsyncIterator[Any]:
        yield {"user": user, "of the scope": scope["user"]}

    client = browser(who.as_asgi(), user=8)
    await client.open()
    assert await client.receive() == {"user": 5, "of the scope": 5}


async def test_the_query_overrides_neither_the_stream_nor_the_connection(
    browser: Connect,
) -> None:
    @stream
    async def safe(incoming: AsyncIterator[int], connection: Connection) -> AsyncIterator[str]:
        yield f"{type(incoming).__name__} {type(connection).__name__}"

    client = browser(safe.as_asgi(), "/ws/?incoming=1&connection=2")
    await client.open()
    assert await client.receive() == "Messages Connection"


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("?page=x", 'The parameter page is wrong: Expected a whole number, got "x".'),
        ("", "The parameter page is missing."),
    ],
)
async def test_a_wrong_parameter_closes_with_3501_and_is_named(
    browser: Connect, log: Log, query: str, reason: str
) -> None:
    client = browser(asked.as_asgi(), f"/ws/{query}", user=None, **IN_ROOM)
    assert await client.refused() == Closed(3501, reason)
    [line] = log.lines("handshake")
    assert "close code 3501" in line and reason in line
    assert await aonline_count() == 0


# Being declared


async def nothing_streams(connection: Connection, page: int) -> Summary:
    return Summary(0, 0)


async def two_streams(incoming: AsyncIterator[int], more: AsyncIterator[int]) -> None: ...


def not_async(incoming: AsyncIterator[int]) -> None: ...


async def unknown_type(incoming: AsyncIterator[NoSuchType]) -> None: ...  # type: ignore[name-defined] # noqa: F821


async def unreadable(incoming: AsyncIterator[Reading | Summary]) -> None: ...


async def by_position(incoming: AsyncIterator[int], /) -> None: ...


async def all_positions(*incoming: AsyncIterator[int]) -> None: ...


async def by_position_beside(page: int, /, incoming: AsyncIterator[int]) -> None: ...


DECLARATIONS: dict[Callable[..., Any], str] = {
    nothing_streams: (
        r"nothing_streams reads no stream and sends none\. Declare a parameter \(incoming: "
        r"AsyncIterator\[Message\]\), .* is an endpoint \(@websocket\)\.$"
    ),
    two_streams: r"has two streams to read, incoming and more; one connection is one stream",
    not_async: r"^The stream not_async must be declared with async def\.$",
    Site.echo: r"^The stream Site\.echo is a method; a stream is a function",
    unknown_type: (
        r"^The annotation of the parameter incoming of the stream unknown_type cannot be resolved: "
        r".*NoSuchType.*\. Define or import its type at module level\.$"
    ),
    unreadable: r"^The stream unreadable: A message cannot be read as .*Annotate with a msgspec",
    by_position: r"by_position.* by position",
    all_positions: r"all_positions.* by position",
    by_position_beside: r"by_position_beside takes page.* by position",
}


@pytest.mark.parametrize(
    ("function", "advice"),
    DECLARATIONS.items(),
    ids=[function.__qualname__ for function in DECLARATIONS],
)
def test_what_could_never_work_is_refused_as_it_is_declared(
    function: Callable[..., Any], advice: str
) -> None:
    with pytest.raises(EndpointError, match=advice):
        stream(function)


def test_options_are_optional() -> None:
    assert stream(echo.function).options == stream()(echo.function).options == {}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("lanesize", r"Did you mean lane_size\?"),
        ("on_error", r"There are|Did you mean"),
        ("sequences", r"Did you mean sequence\?"),
        ("origin", r"Did you mean origins\?"),
        ("xyzzy", r"There are origins, .*on_invalid, lane_size, sequence\."),
    ],
)
def test_an_option_that_does_not_exist_is_refused_with_a_hint(name: str, hint: str) -> None:
    options: Any = {name: 1}
    with pytest.raises(EndpointError, match=rf"has no option '{name}'\. ({hint})"):
        stream(**options)(echo.function)


@pytest.mark.parametrize(
    ("name", "value", "expects"),
    [
        ("lane_size", 0, "a whole number from 1"),
        ("lane_size", -5, "a whole number from 1"),
        ("lane_size", 1.5, "a whole number from 1"),
        ("lane_size", "100", "a whole number from 1"),
        ("on_invalid", "stop", '"skip" or "end"'),
        ("on_invalid", True, '"skip" or "end"'),
    ],
)
def test_an_option_with_a_wrong_value_is_refused_as_it_is_declared(
    name: str, value: Any, expects: str
) -> None:
    options: Any = {name: value}
    with pytest.raises(EndpointError, match=f"has {name}={value!r}; give {expects}"):
        stream(**options)(echo.function)


@pytest.mark.parametrize("annotation", [str, bytes, int, bool], ids=lambda each: each.__name__)
def test_a_sequence_of_what_is_no_object_is_refused(annotation: Any) -> None:
    async def sending() -> Any:
        yield annotation()

    sending.__annotations__ = {"return": AsyncIterator[annotation]}
    with pytest.raises(EndpointError, match="sequence=True; give False: only JSON objects"):
        stream(sequence=True)(sending)


def test_a_batch_that_a_lane_could_not_hold_is_refused() -> None:
    """Its generator would wait for the batch to leave, and the batch for more messages."""
    stream(batch=Batch(max_items=5), lane_size=5)(echo.function)
    with pytest.raises(EndpointError, match="has lane_size=4; give as many messages as a batch"):
        stream(batch=Batch(max_items=5), lane_size=4)(echo.function)


@pytest.mark.parametrize("batch", [5, "often", True], ids=repr)
def test_a_batch_that_is_none_is_refused_with_advice(batch: Any) -> None:
    with pytest.raises((EndpointError, ImproperlyConfigured), match=r"batch is .*Batch"):
        stream(batch=batch)(echo.function).as_asgi()


def test_an_option_of_endpoints_with_a_wrong_value_is_refused_as_routes_load() -> None:
    wrong: Any = {"rate_limit": 5}
    with pytest.raises(ImproperlyConfigured, match=r"echo\.rate_limit is 5"):
        stream(**wrong)(echo.function).as_asgi()


async def test_none_is_as_if_it_was_not_given(browser: Connect) -> None:
    own = {"lane_size": 5, "on_invalid": "end"}
    options: Any = dict.fromkeys(StreamOptions.__annotations__) | own
    client = browser(stream(**options)(echo.function).as_asgi())
    await client.open()
    assert await client.request(celsius=1) == {"celsius": 1}


# As other endpoints


async def test_options_of_endpoints_hold(browser: Connect) -> None:
    limited = stream(rate_limit=RateLimit(0.001, burst=1), max_message_size=20)(echo.function)
    client = browser(limited.as_asgi())
    await client.open()
    assert await client.request(celsius=1) == {"celsius": 1}
    assert (await client.request(celsius=2))["code"] == "rate_limited"
    await client.frame('{"celsius": 1.000000000}')
    assert await client.closed() == Closed(3501, "a message may have 20 bytes")


async def test_only_what_is_sent_to_its_groups_is_pushed_to_a_stream(browser: Connect) -> None:
    """The rest is not in the contract."""

    @stream(groups=["red"])
    async def joined(connection: Connection) -> AsyncIterator[str]:
        await connection.join("blue")
        yield "joined"
        await connection.closed

    user = SimpleNamespace(pk=7, is_anonymous=False)
    client = browser(joined.as_asgi(), user=user)
    await client.open()
    assert await client.receive() == "joined"
    await abroadcast("for all")
    await asend_to_user(7, "for the user")
    await asend_to_group("red", "for the red")
    await asend_to_group("blue", "for the blue")
    assert await received(client, 2) == ["for the red", "for the blue"]


async def test_a_stream_may_ask_for_pushes(browser: Connect) -> None:
    client = browser(stream(pushes=True)(echo.function).as_asgi())
    await client.open()
    await abroadcast("for all")
    assert await client.receive() == "for all"


async def test_subprotocols_of_a_stream_go_before_that_of_priorities(browser: Connect) -> None:
    speaking = stream(subprotocols=["v1"])(echo.function).as_asgi()
    for offered, chosen in (
        (["wsadapter.priority", "v1"], "v1"),
        (["v0", "wsadapter.priority"], "wsadapter.priority"),
    ):
        client = browser(speaking, subprotocols=offered)
        assert await client.connect() == (True, chosen)


async def test_who_speaks_none_of_them_is_told_which_there_are(browser: Connect) -> None:
    client = browser(stream(subprotocols=["v1"])(echo.function).as_asgi(), subprotocols=["v0"])
    await client.connect()
    event = await client.event()
    assert (event["code"], event["reason"]) == (3501, "subprotocols here: v1")
    await client.leave(3501)


@pytest.mark.parametrize("sent", [str, bytes, int, float, bool])
def test_what_can_carry_no_number_is_refused_as_it_is_declared(sent: type) -> None:
    async def numbered() -> AsyncIterator[Any]:
        yield 1

    numbered.__annotations__["return"] = AsyncIterator[sent]  # type: ignore[valid-type]
    with pytest.raises(EndpointError, match=r"numbered has sequence=True; .* JSON objects"):
        stream(sequence=True)(numbered)
