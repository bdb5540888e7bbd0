"""One message is one frame, of the type that is declared; one that does not fit is refused."""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
import pydantic
import pytest

from tests.consumers.browser import PATIENCE_SECONDS, Browser, Closed
from tests.consumers.conftest import Log
from tests.streams.conftest import Watched
from tests.waiting import aeventually
from wsadapter import InvalidMessage, Stream, stream
from wsadapter.wire.priorities import SUBPROTOCOL

Connect = Callable[..., Browser]

END = '{"type":"ws:end"}'


class Reading(msgspec.Struct):
    celsius: float


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    celsius: float


@dataclass
class Place:
    name: str
    readings: list[Reading]


class Person(TypedDict):
    name: str
    age: NotRequired[int]


class Model(pydantic.BaseModel):
    celsius: float


class Circle(msgspec.Struct, tag="circle"):
    radius: float


class Square(msgspec.Struct, tag="square"):
    side: float


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    barks: bool


Pet = Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]


async def frame_from(client: Browser) -> str | bytes:
    """The next frame as it is."""
    return await client.receive_from(PATIENCE_SECONDS)


def echo_of(annotation: Any, watched: Watched, **options: Any) -> Stream:
    """A stream of messages of a type, which notes what it reads."""

    async def echo(incoming: Any) -> Any:
        async for message in incoming:
            watched.notes.append(message)
            yield message

    echo.__annotations__ = {
        "incoming": AsyncIterator[annotation],
        "return": AsyncIterator[annotation],
    }
    return stream(**options)(echo)


def result_of(annotation: Any, result: Any) -> Stream:
    """A stream that has one result of a type."""

    async def give(incoming: Any) -> Any:
        return result

    give.__annotations__ = {"incoming": AsyncIterator[Any], "return": annotation}
    return stream(give)


#: A type, a frame, and what the function reads; the same frame goes back.
TYPES: dict[str, tuple[Any, str | bytes, Any]] = {
    "Struct": (Reading, '{"celsius":20.5}', Reading(20.5)),
    "strict Struct": (Strict, '{"celsius":20.5}', Strict(20.5)),
    "dataclass": (
        Place,
        '{"name":"Graz","readings":[{"celsius":1.0}]}',
        Place("Graz", [Reading(1.0)]),
    ),
    "TypedDict": (Person, '{"name":"Ada"}', {"name": "Ada"}),
    "pydantic": (Model, '{"celsius":20.5}', Model(celsius=20.5)),
    "dict": (dict[str, int], '{"a":1}', {"a": 1}),
    "dict with other keys": (dict[int, str], '{"1":"a"}', {1: "a"}),
    "list": (list[int], "[1,2,3]", [1, 2, 3]),
    "int": (int, "7", 7),
    "bool": (bool, "true", True),
    "optional int, there": (int | None, "7", 7),
    "optional int, not there": (int | None, "null", None),
    "optional text": (str | None, '"text"', "text"),
    "literal": (Literal["on", "off"], '"on"', "on"),
    "date": (datetime.date, '"2026-03-01"', datetime.date(2026, 3, 1)),
    "UUID": (uuid.UUID, f'"{uuid.UUID(int=7)}"', uuid.UUID(int=7)),
    "tagged union": (Circle | Square, '{"type":"square","side":2.0}', Square(2.0)),
    "discriminated union": (Pet, '{"kind":"dog","barks":true}', Dog(kind="dog", barks=True)),
    "union of models": (Cat | Dog, '{"kind":"cat","lives":7}', Cat(kind="cat", lives=7)),
    "list of Structs": (list[Reading], '[{"celsius":1.0}]', [Reading(1.0)]),
    "list of models": (list[Model], '[{"celsius":1.0}]', [Model(celsius=1)]),
    "list of a discriminated union": (
        list[Pet],
        '[{"kind":"cat","lives":7}]',
        [Cat(kind="cat", lives=7)],
    ),
    "text": (str, "{ as it is", "{ as it is"),
    "empty text": (str, "", ""),
    "text that is JSON": (str, '{"celsius":1}', '{"celsius":1}'),
    "text within bounds": (Annotated[str, msgspec.Meta(max_length=9)], "as it is", "as it is"),
    "bytes": (bytes, b"\x00\xff", b"\x00\xff"),
    "no bytes": (bytes, b"", b""),
    "Struct or bytes: text": (Reading | bytes, '{"celsius":1.0}', Reading(1.0)),
    "Struct or bytes: binary": (Reading | bytes, b"\xff", b"\xff"),
    "model or bytes: text": (Model | bytes, '{"celsius":1.0}', Model(celsius=1)),
    "model or bytes: binary": (Model | bytes, b"\xff", b"\xff"),
    "tagged union or bytes": (
        Circle | Square | bytes,
        '{"type":"circle","radius":1.0}',
        Circle(1.0),
    ),
    "text or bytes: text": (str | bytes, "as it is", "as it is"),
    "text or bytes: binary": (str | bytes, b"\xff", b"\xff"),
    "any: JSON": (Any, '{"a":[1]}', {"a": [1]}),
    "any: binary": (Any, b"\xff", b"\xff"),
}


@pytest.mark.parametrize("subprotocols", [[], [SUBPROTOCOL]], ids=["", "with priorities"])
@pytest.mark.parametrize(("annotation", "frame", "value"), TYPES.values(), ids=TYPES)
async def test_a_message_is_what_is_declared_both_ways(
    browser: Connect,
    watched: Watched,
    annotation: Any,
    frame: str | bytes,
    value: Any,
    subprotocols: list[str],
) -> None:
    client = browser(echo_of(annotation, watched).as_asgi(), subprotocols=subprotocols)
    await client.open()
    await client.frame(frame)
    assert await frame_from(client) == frame
    assert watched.notes == [value]
    assert type(watched.notes[0]) is type(value)


@pytest.mark.parametrize(("annotation", "frame", "value"), TYPES.values(), ids=TYPES)
async def test_a_result_is_encoded_as_a_message_is(
    browser: Connect, annotation: Any, frame: str | bytes, value: Any
) -> None:
    client = browser(result_of(annotation, value).as_asgi())
    await client.open()
    if value is not None:
        assert await frame_from(client) == frame
    assert await client.closed() == Closed(1000, "")


async def test_a_text_may_say_what_ends_a_stream(browser: Connect, watched: Watched) -> None:
    """Only just that does."""
    client = browser(echo_of(str, watched).as_asgi())
    await client.open()
    for text in (f"{END}.", f"[{END}]", '"ws:end"', '{"type":"ws:ending"}'):
        await client.frame(text)
        assert await frame_from(client) == text
    await client.frame(' { "type" : "ws:end" } ')
    assert (await client.closed()).code == 1000


# What does not fit


MISFITS: dict[str, tuple[Any, str | bytes, dict[str, Any]]] = {
    "no JSON": (Reading, "{", {"code": "invalid_json"}),
    "NaN": (float, "NaN", {"code": "invalid_json"}),
    "another type": (
        Reading,
        '{"celsius":"x"}',
        {
            "code": "invalid",
            "path": "$.celsius",
            "message": "Expected `float`, got `str`.",
        },
    ),
    "a missing field": (Reading, "{}", {"code": "invalid", "path": "$"}),
    "a field too many": (Strict, '{"celsius":1,"x":2}', {"code": "invalid", "path": "$"}),
    "no object": (Reading, "[]", {"code": "invalid", "path": "$"}),
    "deep inside": (
        Place,
        '{"name":"Graz","readings":[{"celsius":1},{"celsius":null}]}',
        {"code": "invalid", "path": "$.readings[1].celsius"},
    ),
    "in a list": (list[Reading], '[{"celsius":1},{}]', {"code": "invalid", "path": "$[1]"}),
    "TypedDict": (Person, '{"name":7}', {"code": "invalid", "path": "$.name"}),
    "unknown tag": (
        Circle | Square,
        '{"type":"cube"}',
        {"code": "invalid", "path": "$.type"},
    ),
    "pydantic": (Model, '{"celsius":"x"}', {"code": "invalid", "path": "$.celsius"}),
    "list of models": (
        list[Model],
        '[{"celsius":1},{"celsius":"x"}]',
        {"code": "invalid", "path": "$[1].celsius"},
    ),
    "discriminated union": (
        Pet,
        '{"kind":"cat","lives":"x"}',
        {"code": "invalid", "path": "$.lives"},
    ),
    "binary for JSON": (
        Reading,
        b"{}",
        {"code": "unsupported", "message": "Expected text, got a binary frame."},
    ),
    "binary for text": (str, b"text", {"code": "unsupported"}),
    "text for binary": (
        bytes,
        "text",
        {"code": "unsupported", "message": "Expected a binary frame, got text."},
    ),
    "base64 for binary": (bytes, '"aGk="', {"code": "unsupported"}),
    "base64 for a Struct or bytes": (Reading | bytes, '"aGk="', {"code": "invalid", "path": "$"}),
    "text for a model or bytes": (Model | bytes, '"text"', {"code": "invalid", "path": "$"}),
    "too long a text": (
        Annotated[str, msgspec.Meta(max_length=9)],
        "longer than nine",
        {"code": "invalid", "path": "$"},
    ),
}


@pytest.mark.parametrize("subprotocols", [[], [SUBPROTOCOL]], ids=["", "with priorities"])
@pytest.mark.parametrize(("annotation", "frame", "expected"), MISFITS.values(), ids=MISFITS)
async def test_a_message_that_does_not_fit_is_answered_and_not_read(
    browser: Connect,
    watched: Watched,
    annotation: Any,
    frame: str | bytes,
    expected: dict[str, Any],
    subprotocols: list[str],
) -> None:
    client = browser(echo_of(annotation, watched).as_asgi(), subprotocols=subprotocols)
    await client.open()
    await client.frame(frame)
    error = await client.receive()
    assert (error["type"], error["id"], error["kind"]) == ("ws:error", None, "fatal")
    assert error.items() >= expected.items()
    assert ("path" in error) == ("path" in expected)
    assert watched.notes == []


@stream
async def tolerant(incoming: AsyncIterator[Reading]) -> AsyncIterator[Reading]:
    async for reading in incoming:
        yield reading


@stream(on_invalid="end")
async def strict(incoming: AsyncIterator[Reading]) -> AsyncIterator[Reading]:
    async for reading in incoming:
        yield reading


@pytest.mark.parametrize(
    ("id", "echoed"), [(7, 7), ("seven", "seven"), (True, None), ([7], None)], ids=repr
)
async def test_the_error_has_the_id_of_the_message(browser: Connect, id: Any, echoed: Any) -> None:
    client = browser(tolerant.as_asgi())
    await client.open()
    error = await client.request(type="reading", id=id, celsius="x")
    assert (error["path"], error["id"]) == ("$.celsius", echoed)


async def test_the_stream_goes_on_after_what_does_not_fit(browser: Connect, log: Log) -> None:
    client = browser(tolerant.as_asgi())
    await client.open()
    assert (await client.request_raw("{"))["code"] == "invalid_json"
    assert (await client.request(celsius="x"))["path"] == "$.celsius"
    assert await client.request(celsius=1) == {"celsius": 1}
    await client.frame(END)
    assert await client.closed() == Closed(1000, "")
    assert not log.lines("handlers")


@pytest.mark.parametrize("subprotocols", [[], [SUBPROTOCOL]], ids=["", "with priorities"])
async def test_the_stream_ends_at_what_does_not_fit_where_it_is_told_to(
    browser: Connect, log: Log, subprotocols: list[str]
) -> None:
    client = browser(strict.as_asgi(), subprotocols=subprotocols)
    await client.open()
    await client.send_json_to({"celsius": 1})
    await client.send_json_to({"celsius": "x"})
    await client.send_json_to({"celsius": 3})
    assert await client.receive() == {"celsius": 1}
    assert (await client.receive())["path"] == "$.celsius"
    event = await client.event()
    assert event == {
        "type": "websocket.close",
        "code": 3501,
        "reason": "Expected `float`, got `str`.",
    }
    await client.leave(3501)
    assert not log.lines("handlers") and not log.tracebacks


@pytest.mark.parametrize("subprotocols", [[], [SUBPROTOCOL]], ids=["", "with priorities"])
async def test_nothing_is_read_after_what_ends_the_stream(
    browser: Connect, watched: Watched, subprotocols: list[str]
) -> None:
    """Even if the client's own end was there before it was read."""

    @stream(on_invalid="end")
    async def slow(incoming: AsyncIterator[Reading]) -> None:
        await watched.go_on.wait()
        async for reading in incoming:
            watched.notes.append(reading.celsius)

    client = browser(slow.as_asgi(), subprotocols=subprotocols)
    await client.open()
    lane = {"priority": "low"} if subprotocols else {}
    for celsius in (1, "x", 3):
        await client.send_json_to({"celsius": celsius, **lane})
    await client.frame(END)
    await aeventually(client.input_queue.empty)
    watched.go_on.set()
    assert (await client.receive())["path"] == "$.celsius"
    assert (await client.closed()).code == 3501
    assert watched.notes == [1]


async def test_a_mistake_is_counted_with_the_connection(browser: Connect) -> None:
    @stream
    async def counting(incoming: AsyncIterator[Reading], connection: Any) -> AsyncIterator[int]:
        async for _ in incoming:
            yield connection.stats.errors

    client = browser(counting.as_asgi())
    await client.open()
    await client.request_raw("{")
    await client.request_raw(b"")
    assert await client.request(celsius=1) == 2


async def test_a_mistake_that_the_function_finds_closes_with_3501(
    browser: Connect, log: Log
) -> None:
    @stream
    async def picky(incoming: AsyncIterator[Reading]) -> AsyncIterator[Reading]:
        async for reading in incoming:
            if reading.celsius < -273:
                raise InvalidMessage("invalid", "It is never so cold.", path="$.celsius")
            yield reading

    client = browser(picky.as_asgi())
    client_id = await client.open()
    await client.send_json_to({"celsius": -300})
    assert await client.closed() == Closed(3501, "It is never so cold. ($.celsius)")
    assert log.lines("handlers") == [
        f"Client {client_id} of picky erred: It is never so cold. ($.celsius)"
    ]


# What is not taken at all


async def test_a_stream_that_reads_nothing_refuses_messages(
    browser: Connect, log: Log, watched: Watched
) -> None:
    @stream
    async def telling() -> AsyncIterator[str]:
        yield "one"
        await watched.go_on.wait()
        yield "two"

    client = browser(telling.as_asgi())
    await client.open()
    assert await client.receive() == "one"
    for frame in ('{"celsius":1}', "text", b"bytes", END):
        error = await client.request_raw(frame)
        assert (error["type"], error["code"]) == ("ws:error", "unsupported")
    watched.go_on.set()
    assert await client.receive() == "two"
    assert await client.closed() == Closed(1000, "")
    assert not log.lines("handlers")


@pytest.mark.parametrize("subprotocols", [[], [SUBPROTOCOL]], ids=["", "with priorities"])
async def test_what_comes_after_the_clients_end_is_refused(
    browser: Connect, watched: Watched, subprotocols: list[str]
) -> None:
    @stream
    async def first_all(incoming: AsyncIterator[Reading]) -> AsyncIterator[float]:
        watched.notes = [reading.celsius async for reading in incoming]
        watched.begun.set()
        await watched.go_on.wait()
        yield sum(watched.notes)

    client = browser(first_all.as_asgi(), subprotocols=subprotocols)
    await client.open()
    await client.send_json_to({"celsius": 1})
    await client.frame(END)
    await watched.begun.wait()
    for frame in ('{"celsius":2}', END, b"bytes"):
        error = await client.request_raw(frame)
        assert (error["type"], error["code"]) == ("ws:error", "unsupported")
    watched.go_on.set()
    assert await client.receive() == 1
    assert await client.closed() == Closed(1000, "")


async def test_what_waits_behind_the_clients_end_is_refused_as_well(
    browser: Connect, watched: Watched
) -> None:
    @stream
    async def late(incoming: AsyncIterator[Reading]) -> float:
        await watched.go_on.wait()
        return sum([reading.celsius async for reading in incoming])

    client = browser(late.as_asgi())
    await client.open()
    for frame in ('{"celsius":1}', END, '{"celsius":2}', END):
        await client.frame(frame)
    await aeventually(client.input_queue.empty)
    watched.go_on.set()
    errors = [await client.receive() for _ in range(2)]
    assert [error["code"] for error in errors] == ["unsupported"] * 2
    assert await client.receive() == 1


async def test_the_clients_end_is_the_end_however_often_it_says_so(
    browser: Connect, watched: Watched
) -> None:
    """With priorities, what waits is read though the end has overtaken it; not another end."""

    @stream
    async def late(incoming: AsyncIterator[dict[str, Any]]) -> list[Any]:
        await watched.go_on.wait()
        return [message async for message in incoming]

    client = browser(late.as_asgi(), subprotocols=[SUBPROTOCOL])
    await client.open()
    await client.frame('{"n":1,"priority":"low"}')
    await client.frame(END)
    await client.frame(END)
    await aeventually(client.input_queue.empty)
    watched.go_on.set()
    while (message := await client.receive()) != [{"n": 1}]:
        assert isinstance(message, dict) and message["code"] == "unsupported"


async def test_heartbeats_are_not_for_the_function(browser: Connect, watched: Watched) -> None:
    client = browser(echo_of(Any, watched).as_asgi())
    await client.open()
    await client.send_json_to({"type": "ws:pong"})
    assert await client.request(type="ws:ping") == {"type": "ws:pong"}
    assert await client.request(n=1) == {"n": 1}
    assert watched.notes == [{"n": 1}]


async def test_lone_surrogates_are_invalid_text(browser: Connect, watched: Watched) -> None:
    client = browser(echo_of(Any, watched).as_asgi())
    await client.open()
    error = await client.request_raw(json.dumps({"a": "\ud800"}))
    assert error["code"] == "invalid_json"
