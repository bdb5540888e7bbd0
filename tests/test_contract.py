"""What a signature promises, however it is spelt."""

from __future__ import annotations

import collections.abc
import typing
import typing as t
from collections import abc
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from functools import partial, wraps
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import pytest

from wsadapter.connection import Connection
from wsadapter.contract import Contract
from wsadapter.errors import EndpointError

if TYPE_CHECKING:
    from nowhere import Elsewhere  # type: ignore[import-not-found]


class Reading(msgspec.Struct):
    celsius: float


class Summary(msgspec.Struct):
    count: int


class Promise(typing.NamedTuple):
    """All that a contract says."""

    incoming: str | None = None
    reads: Any = None
    connection: str | None = None
    streams: bool = False
    sends: Any = None


def promise(function: Callable[..., Any]) -> Promise:
    contract = Contract(function)
    return Promise(*(getattr(contract, name) for name in Promise._fields))


# The three patterns


async def upload(incoming: AsyncIterator[Reading]) -> Summary:
    raise NotImplementedError


async def upload_only(incoming: AsyncIterator[Reading]) -> None: ...


async def upload_quietly(incoming: AsyncIterator[Reading]): ...  # type: ignore[no-untyped-def]


async def upload_perhaps(incoming: AsyncIterator[Reading]) -> Summary | None: ...


async def ticks(symbol: str, connection: Connection) -> AsyncIterator[Reading]:
    yield Reading(1)


async def ticks_returned(symbol: str) -> AsyncIterator[Reading]:
    return ticks(symbol, Connection)  # type: ignore[arg-type]


async def bare_generator():  # type: ignore[no-untyped-def]
    yield 1


async def odd_generator() -> int:  # type: ignore[misc]
    yield 1


async def echo(incoming: AsyncIterator[Reading]) -> AsyncIterator[Summary]:
    async for _ in incoming:
        yield Summary(1)


PATTERNS: dict[Callable[..., Any], Promise] = {
    upload: Promise("incoming", Reading, sends=Summary),
    upload_only: Promise("incoming", Reading),
    upload_quietly: Promise("incoming", Reading, sends=Any),
    upload_perhaps: Promise("incoming", Reading, sends=Summary | None),
    ticks: Promise(connection="connection", streams=True, sends=Reading),
    ticks_returned: Promise(streams=True, sends=Reading),
    bare_generator: Promise(streams=True, sends=Any),
    odd_generator: Promise(streams=True, sends=Any),
    echo: Promise("incoming", Reading, streams=True, sends=Summary),
}


@pytest.mark.parametrize(
    ("function", "expected"), PATTERNS.items(), ids=[each.__name__ for each in PATTERNS]
)
def test_the_signature_says_which_messages_go_which_way(
    function: Callable[..., Any], expected: Promise
) -> None:
    assert promise(function) == expected


# How a stream may be spelt


async def iterable(incoming: AsyncIterable[int]) -> None: ...


async def generator(incoming: AsyncGenerator[int, None]) -> None: ...


async def of_typing(incoming: typing.AsyncIterator[int]) -> None: ...


async def of_typing_generator(incoming: typing.AsyncGenerator[int, None]) -> None: ...


async def of_a_module(incoming: collections.abc.AsyncIterator[int]) -> None: ...


async def of_a_module_by_name(incoming: abc.AsyncIterable[int]) -> None: ...


Numbers = AsyncIterator[int]


async def by_another_name(incoming: Numbers) -> None: ...


async def in_quotes(incoming: "AsyncIterator[int]") -> None: ...  # noqa: UP037


@pytest.mark.parametrize(
    "function",
    [
        iterable,
        generator,
        of_typing,
        of_typing_generator,
        of_a_module,
        of_a_module_by_name,
        by_another_name,
        in_quotes,
    ],
    ids=lambda function: function.__name__,
)
def test_a_stream_is_any_async_iterable_however_it_is_spelt(function: Callable[..., Any]) -> None:
    assert promise(function) == Promise("incoming", int)


async def of_anything(incoming: AsyncIterator) -> AsyncIterator:  # type: ignore[type-arg]
    yield incoming


def test_a_stream_without_a_type_is_of_anything() -> None:
    assert promise(of_anything) == Promise("incoming", Any, streams=True, sends=Any)


async def annotated(
    incoming: AsyncIterator[Annotated[int, msgspec.Meta(ge=1)]],
) -> AsyncIterator[Annotated[int, msgspec.Meta(ge=2)]]:
    yield 2


def test_what_an_annotation_says_beside_the_type_is_kept() -> None:
    assert promise(annotated) == Promise(
        "incoming",
        Annotated[int, msgspec.Meta(ge=1)],
        streams=True,
        sends=Annotated[int, msgspec.Meta(ge=2)],
    )


async def annotated_as_a_whole(
    incoming: Annotated[AsyncIterator[int], "those of the client"],
) -> Annotated[AsyncIterator[str], "those of the server"]:
    yield "1"


def test_a_stream_may_be_annotated_as_a_whole() -> None:
    assert promise(annotated_as_a_whole) == Promise("incoming", int, streams=True, sends=str)


async def without_annotations(incoming, connection):  # type: ignore[no-untyped-def]
    """Known by their names."""


def test_without_annotations_names_say_what_is_what() -> None:
    assert promise(without_annotations) == Promise("incoming", Any, "connection", sends=Any)


def test_annotations_need_not_be_text() -> None:
    async def evaluated(readings: Any, me: Any) -> Any: ...

    evaluated.__annotations__ = {
        "readings": AsyncIterator[Reading],
        "me": Connection,
        "return": Summary,
    }
    assert promise(evaluated) == Promise("readings", Reading, "me", sends=Summary)


# Other parameters


async def named(connection, incoming: AsyncIterator[int]) -> None: ...  # type: ignore[no-untyped-def]


async def typed(me: Connection, incoming: AsyncIterator[int]) -> None: ...


async def keyword(*, me: Connection, incoming: AsyncIterator[int]) -> None: ...


@pytest.mark.parametrize(
    ("function", "name"), [(named, "connection"), (typed, "me"), (keyword, "me")]
)
def test_the_connection_is_known_by_its_name_or_its_type(
    function: Callable[..., Any], name: str
) -> None:
    assert promise(function) == Promise("incoming", int, name)


async def for_the_type_checker(
    incoming: AsyncIterator[int], user: Elsewhere, more: list[Elsewhere]
) -> None: ...


async def with_a_result_of_those(incoming: AsyncIterator[int]) -> Elsewhere: ...


def test_what_is_imported_for_the_type_checker_alone_is_anything() -> None:
    """Only what is read or sent has to be known."""
    assert promise(for_the_type_checker) == Promise("incoming", int)


async def a_stream_of_those(incoming: AsyncIterator[Elsewhere]) -> None: ...


async def sending_those() -> AsyncIterator[Elsewhere]:
    yield 1


async def with_such_a_result(incoming: AsyncIterator[int]) -> Elsewhere: ...


async def of_those_by_module(incoming: collections.abc.AsyncIterator[Elsewhere]) -> None: ...


async def of_those_by_a_short_name(incoming: abc.AsyncIterable[Elsewhere]) -> None: ...


async def of_those_by_typing(incoming: typing.AsyncIterator[Elsewhere]) -> None: ...


async def of_those_by_alias(incoming: t.AsyncIterator[Elsewhere]) -> AsyncIterator[int]:
    yield 1


async def no_attribute(incoming: AsyncIterator[msgspec.Nothing]) -> None: ...  # type: ignore[name-defined]


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (a_stream_of_those, "the parameter incoming"),
        (sending_those, "the result"),
        (with_such_a_result, "the result"),
        (with_a_result_of_those, "the result"),
        (of_those_by_module, "the parameter incoming"),
        (no_attribute, "the parameter incoming"),
        (of_those_by_a_short_name, "the parameter incoming"),
        (of_those_by_typing, "the parameter incoming"),
        (of_those_by_alias, "the parameter incoming"),
    ],
    ids=lambda given: getattr(given, "__name__", None),
)
def test_a_stream_of_an_unknown_type_is_refused_with_advice(
    function: Callable[..., Any], what: str
) -> None:
    advice = (
        rf"^The annotation of {what} of the stream {function.__name__} cannot be resolved: .*\. "
        r"Define or import its type at module level\.$"
    )
    with pytest.raises(EndpointError, match=advice):
        Contract(function)


# What is no stream


async def nothing() -> None: ...


async def neither(connection: Connection, page: int) -> Summary:
    raise NotImplementedError


async def optional(incoming: AsyncIterator[int] | None) -> None: ...


@pytest.mark.parametrize(
    "function", [nothing, neither, optional], ids=lambda function: function.__name__
)
def test_without_a_stream_it_is_told_what_to_declare(function: Callable[..., Any]) -> None:
    with pytest.raises(EndpointError, match=f"^The stream {function.__name__} reads no stream"):
        Contract(function)


async def two(one: AsyncIterator[int], connection: Connection, other: Numbers) -> None: ...


def test_two_streams_to_read_are_refused_by_their_names() -> None:
    with pytest.raises(EndpointError, match=r"two streams to read, one and other; one connection"):
        Contract(two)


def sync(incoming: AsyncIterator[int]) -> None: ...


def sync_generator() -> typing.Iterator[int]:
    yield 1


class Holder:
    async def method(self, incoming: AsyncIterator[int]) -> None: ...

    async def __call__(self, incoming: AsyncIterator[int]) -> None: ...


@pytest.mark.parametrize(
    "function",
    [sync, sync_generator, lambda incoming: None, Holder()],
    ids=["function", "generator", "lambda", "object"],
)
def test_what_is_not_async_is_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(EndpointError, match="must be declared with async def"):
        Contract(function)


def test_a_method_of_a_class_is_refused_and_one_of_an_object_is_not() -> None:
    with pytest.raises(EndpointError, match=r"^The stream Holder\.method is a method"):
        Contract(Holder.method)
    assert promise(Holder().method) == Promise("incoming", int)


# What is wrapped


async def scaled(factor: int, incoming: AsyncIterator[int]) -> AsyncIterator[int]:
    async for number in incoming:
        yield factor * number


def test_a_partial_is_what_is_left_of_its_function() -> None:
    assert promise(partial(scaled, 2)) == Promise("incoming", int, streams=True, sends=int)


def test_a_wrapper_is_what_it_wraps() -> None:
    @wraps(scaled)
    async def wrapper(*arguments: Any, **named: Any) -> AsyncIterator[int]:
        async for number in scaled(*arguments, **named):
            yield number

    assert promise(wrapper) == Promise("incoming", int, streams=True, sends=int)
