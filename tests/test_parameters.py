"""An endpoint's arguments: from the route, the scope and the query string, in this order."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from functools import partial, wraps
from types import FunctionType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import pytest
from django.contrib.auth.models import User
from hypothesis import given
from hypothesis import strategies as st

from wsadapter.connection import Connection
from wsadapter.endpoints import Endpoint
from wsadapter.errors import EndpointError, InvalidMessage
from wsadapter.parameters import Parameters

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForTheTypeChecker

Function = Callable[..., Any]


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


def scope(query: str = "", *, route: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """What a handshake under ``URLRouter`` brings along."""
    kwargs = {} if route is None else {"url_route": {"args": (), "kwargs": route}}
    return {"type": "websocket", "query_string": query.encode("latin-1"), **kwargs, **more}


def parameters(function: Function) -> Parameters:
    return Endpoint(function, {}).parameters


def bound(function: Function, query: str = "", **more: Any) -> dict[str, Any]:
    """The arguments that a function is called with."""
    return parameters(function).bind(scope(query, **more))


# What a function may look like


async def nothing(connection: Connection) -> None: ...


async def by_position(connection: Connection, /) -> None: ...


async def unannotated(connection): ...  # type: ignore[no-untyped-def]


class Callables:
    async def method(self, connection: Connection) -> None: ...


@wraps(nothing)
async def wrapped(*arguments: Any) -> None: ...


@pytest.mark.parametrize(
    "function", [nothing, by_position, unannotated, Callables().method, wrapped]
)
def test_a_function_may_take_the_connection_alone(function: Function) -> None:
    assert bound(function, "page=2") == {}


def test_a_function_may_have_its_first_arguments_already() -> None:
    async def with_greeting(greeting: str, connection: Connection, page: int) -> None: ...

    assert bound(partial(with_greeting, "hello"), "page=2&greeting=bye") == {"page": 2}


def not_async(connection: Connection) -> None: ...


async def generator(connection: Connection) -> Any:
    yield


async def takes_nothing() -> None: ...


async def by_name_only(*, connection: Connection) -> None: ...


async def any_number(*arguments: Any) -> None: ...


async def by_position_only(connection: Connection, page: int, /) -> None: ...


async def many_by_position(connection: Connection, *pages: int) -> None: ...


@pytest.mark.parametrize(
    ("function", "advice"),
    [
        (not_async, "must be declared with async def"),
        (generator, "must be declared with async def"),
        (takes_nothing, r"takes no connection; .*async def takes_nothing\(connection\)"),
        (by_name_only, "takes no connection"),
        (any_number, "takes no connection"),
        (by_position_only, "takes page: 'int' by position; .*given by their names"),
        (many_by_position, r"takes \*pages: 'int' by position; .*given by their names"),
    ],
)
def test_what_cannot_be_called_is_refused_with_advice(function: Function, advice: str) -> None:
    with pytest.raises(EndpointError, match=rf"The endpoint {function.__name__} .*{advice}"):
        parameters(function)


# Where arguments come from


async def show(connection: Connection, name: str = "nobody") -> None: ...


def test_the_route_comes_before_the_scope_and_the_scope_before_the_query() -> None:
    assert bound(show, "name=asked") == {"name": "asked"}
    assert bound(show, "name=asked", name="known") == {"name": "known"}
    assert bound(show, "name=asked", name="known", route={"name": "routed"}) == {"name": "routed"}


def test_without_one_the_default_stands() -> None:
    assert bound(show) == {}
    assert bound(show, "other=1") == {}
    assert parameters(show).bind({}) == {}


async def of_a_site(connection: Connection, user: User, session: Any, scope: Any) -> None: ...


def test_the_scope_has_what_middleware_put_there_and_itself() -> None:
    user, session = User(pk=7), object()
    given = scope("user=8&session=x&scope=y", user=user, session=session)
    found = parameters(of_a_site).bind(given)
    assert found["user"] is user and found["session"] is session and found["scope"] is given


async def of_a_search(
    connection: Connection,
    type: str,
    asgi: str,
    http_version: str,
    raw_path: str,
    extensions: str,
    state: str,
    path_remaining: str,
) -> None: ...


def test_what_is_the_servers_own_business_is_free_for_the_query() -> None:
    names = list(of_a_search.__annotations__)[1:-1]
    query = "&".join(f"{name}=asked" for name in names)
    found = parameters(of_a_search).bind({**scope(query), **dict.fromkeys(names, object())})
    assert found == dict.fromkeys(names, "asked")


async def everything(connection: Connection, room: str, **others: Any) -> None: ...


def test_the_rest_of_the_route_is_for_who_takes_everything() -> None:
    """What a browser asks for is not: it could name anything."""
    route = {"room": "red", "floor": 3}
    assert bound(everything, "wing=west", route=route, user=7) == route


def test_what_the_route_has_is_given_even_if_nobody_takes_it() -> None:
    """Calling the function then says so, as it does with a view of Django's."""
    assert bound(show, route={"typo": 1}) == {"typo": 1}


async def count(connection: Connection, number: int) -> None: ...


@pytest.mark.parametrize("value", ["7", 7, None], ids=repr)
def test_a_text_of_the_route_is_read_as_annotated_and_what_is_none_stays(value: Any) -> None:
    assert bound(count, route={"number": value}) == {"number": 7 if value else None}


def test_a_text_of_the_scope_is_nobodys_to_read() -> None:
    assert bound(count, number="7") == {"number": "7"}


# What is read as what

READ: list[tuple[Any, str, Any]] = [
    (str, "value=a%20b+c", "a b c"),
    (str, "value=", ""),
    (str, "value=%D0%96", "Ж"),
    (str, "value=%FF", "\N{REPLACEMENT CHARACTER}"),
    (str, "value=first&value=second", "first"),
    (int, "value=-7", -7),
    (float, "value=0.5", 0.5),
    (bool, "value=true", True),
    (bool, "value=0", False),
    (int | None, "value=7", 7),
    (uuid.UUID, f"value={uuid.UUID(int=7)}", uuid.UUID(int=7)),
    (date, "value=2026-03-01", date(2026, 3, 1)),
    (Colour, "value=blue", Colour.BLUE),
    (Literal["up", "down"], "value=up", "up"),
    (list[int], "value=1&value=2", [1, 2]),
    (set[str], "value=a&value=a", {"a"}),
    (Annotated[int, msgspec.Meta(ge=1)], "value=1", 1),
]


def taking(annotation: Any) -> Function:
    """An endpoint's function with one parameter."""

    async def function(connection: Connection, value: Any) -> None: ...

    function.__annotations__["value"] = annotation
    return function


@pytest.mark.parametrize(("annotation", "query", "value"), READ, ids=str)
def test_the_query_is_read_as_annotated(annotation: Any, query: str, value: Any) -> None:
    assert bound(taking(annotation), query) == {"value": value}


def test_without_an_annotation_it_is_text() -> None:
    async def plain(connection, value): ...  # type: ignore[no-untyped-def]

    assert bound(plain, "value=7") == {"value": "7"}


WRONG: list[tuple[Any, str, str]] = [
    (int, "value=x", 'Expected a whole number, got "x".'),
    (int, "value=", 'Expected a whole number, got "".'),
    (int, "value=1.5", 'Expected a whole number, got "1.5".'),
    (int | None, "value=null", 'Expected a whole number, got "null".'),
    (bool, "value=maybe", 'Expected true or false, got "maybe".'),
    (Colour, "value=green", 'Expected one of red, blue, got "green".'),
    (list[int], "value=1&value=x", 'Expected a whole number, got "x".'),
    (Annotated[int, msgspec.Meta(ge=1)], "value=0", 'Expected a whole number >= 1, got "0".'),
]


@pytest.mark.parametrize(("annotation", "query", "sentence"), WRONG, ids=str)
def test_what_does_not_fit_is_named(annotation: Any, query: str, sentence: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        bound(taking(annotation), query)
    assert str(caught.value) == f"The parameter value is wrong: {sentence}"
    assert (caught.value.code, caught.value.path) == ("invalid", "$")


def test_a_text_of_the_route_that_does_not_fit_is_named_too() -> None:
    with pytest.raises(InvalidMessage, match="The parameter number is wrong: Expected a whole"):
        bound(count, route={"number": "x"})


@pytest.mark.parametrize("annotation", [int, str, int | None, list[int]], ids=str)
def test_what_is_missing_is_named(annotation: Any) -> None:
    with pytest.raises(InvalidMessage, match=r"^The parameter value is missing\.$"):
        bound(taking(annotation))


@given(st.binary())
def test_no_bytes_of_a_client_raise_anything_else(query: bytes) -> None:
    for annotation in (int, str, list[float]):
        with suppress(InvalidMessage):
            parameters(taking(annotation)).bind({"query_string": b"value=" + query})


# What no text is

UNREADABLE = [User, dict[str, int], msgspec.Raw, "User", "NoSuchName"]


@pytest.mark.parametrize("annotation", UNREADABLE, ids=str)
def test_an_annotation_that_no_text_fits_is_for_the_route_and_the_scope(annotation: Any) -> None:
    function = taking(annotation)
    known = object()
    assert bound(function, "value=x", value=known) == {"value": known}
    assert bound(function, "value=x", route={"value": "as it is"}) == {"value": "as it is"}


@pytest.mark.parametrize("annotation", UNREADABLE, ids=str)
def test_and_it_is_the_sites_mistake_where_neither_has_it(annotation: Any) -> None:
    with pytest.raises(EndpointError, match=r"value of the endpoint .* is neither in the route"):
        bound(taking(annotation), "value=x")


def test_a_name_for_the_type_checker_alone_spoils_no_other_parameter() -> None:
    async def function(
        connection: Connection, page: int, price: OnlyForTheTypeChecker | None = None
    ) -> None: ...

    assert bound(function, "page=2&price=1.5") == {"page": 2}


async def paint(connection: Connection, colour: Colour) -> None: ...


def test_the_names_of_what_was_wrapped_are_known() -> None:
    async def call(*arguments: Any, **named: Any) -> None: ...

    elsewhere: Function = wraps(paint)(FunctionType(call.__code__, {}))
    assert bound(elsewhere, "colour=red") == {"colour": Colour.RED}


def test_what_the_site_has_bound_no_browser_overrides() -> None:
    async def enter(connection: Connection, room: str, is_admin: bool = False) -> None: ...

    inner = partial(enter, is_admin=True)
    assert bound(partial(inner, room="public"), "room=private&is_admin=false") == {}
    assert bound(inner, "room=private&is_admin=false") == {"room": "private"}


def test_a_method_is_no_endpoint() -> None:
    class Chat:
        async def talk(self, connection: Connection) -> None: ...

    with pytest.raises(EndpointError, match=r"Chat\.talk is a method"):
        parameters(Chat.talk)


def test_a_secret_is_not_repeated() -> None:
    async def enter(connection: Connection, token: int) -> None: ...

    with pytest.raises(InvalidMessage) as refused:
        bound(enter, "token=hunter2")
    assert refused.value.message == "The parameter token is wrong."
