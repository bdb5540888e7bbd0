"""Each client has the messages of a stream in the view that it has chosen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pydantic
import pytest

from tests.consumers.browser import PATIENCE_SECONDS, Browser, Closed
from tests.consumers.conftest import Log
from tests.streams.conftest import Watched
from wsadapter import (
    Batch,
    Connection,
    EndpointError,
    Stream,
    aonline_count,
    asend_to_client,
    asend_to_group,
    stream,
    with_views,
)

Connect = Callable[..., Browser]


@with_views(default=("id", "title", "text"), summary=("title", "id"))
class Article(msgspec.Struct):
    id: int
    title: str
    text: str
    draft: bool = False


@with_views(names=("name",))
@dataclass
class Author:
    name: str
    email: str


@with_views(short=("a",))
class Model(pydantic.BaseModel):
    a: int
    b: int


@with_views(summary=("id",))
class Posted(msgspec.Struct, tag="posted"):
    id: int
    text: str


class Removed(msgspec.Struct, tag="removed"):
    id: int
    why: str


ARTICLE = Article(7, "Ants", "Long.")
DEFAULT = '{"id":7,"title":"Ants","text":"Long."}'
SUMMARY = '{"title":"Ants","id":7}'


@stream
async def articles(incoming: AsyncIterator[str]) -> AsyncIterator[Article]:
    async for _ in incoming:
        yield ARTICLE


def sending(annotation: Any, *values: Any, **options: Any) -> Stream:
    """A stream that sends these values, one for each message that it gets."""

    async def send(incoming: Any) -> Any:
        for value in values:
            await anext(incoming)
            yield value

    send.__annotations__ = {
        "incoming": AsyncIterator[str],
        "return": AsyncIterator[annotation],
    }
    return stream(**options)(send)


async def opened(client: Browser) -> Browser:
    await client.open()
    return client


async def next_frame(client: Browser) -> str:
    """Have the stream send once more; returns the frame as it is."""
    await client.frame("next")
    return str(await client.receive_from(PATIENCE_SECONDS))


async def change_view(client: Browser, view: Any) -> None:
    await client.send_json_to({"type": "ws:view", "view": view})


# Choosing


@pytest.mark.parametrize(
    ("query", "frame"),
    [
        ("", DEFAULT),
        ("?view=default", DEFAULT),
        ("?view=summary", SUMMARY),
        ("?page=1&view=summary&view=default", SUMMARY),
    ],
)
async def test_the_query_names_the_view(browser: Connect, query: str, frame: str) -> None:
    """The fields are in the order of the view, and none beside them."""
    client = await opened(browser(articles.as_asgi(), f"/ws/{query}"))
    assert await next_frame(client) == frame


async def test_a_message_names_the_view_of_what_comes_after_it(browser: Connect) -> None:
    client = await opened(browser(articles.as_asgi()))
    assert await next_frame(client) == DEFAULT
    await change_view(client, "summary")
    assert await next_frame(client) == SUMMARY
    await change_view(client, "default")
    assert await next_frame(client) == DEFAULT


async def test_the_view_of_one_client_is_that_of_no_other(browser: Connect) -> None:
    application = articles.as_asgi()
    one = await opened(browser(application, "/ws/?view=summary"))
    other = await opened(browser(application))
    assert (await next_frame(one), await next_frame(other)) == (SUMMARY, DEFAULT)


async def test_a_stream_that_reads_nothing_takes_a_view_as_well(
    browser: Connect, watched: Watched
) -> None:
    @stream
    async def feed() -> AsyncIterator[Article]:
        yield ARTICLE
        await watched.go_on.wait()
        yield ARTICLE

    client = await opened(browser(feed.as_asgi()))
    assert (await client.receive()).keys() == {"id", "title", "text"}
    await change_view(client, "summary")
    assert await client.request(type="ws:ping") == {"type": "ws:pong"}
    watched.go_on.set()
    assert (await client.receive()).keys() == {"title", "id"}


@pytest.mark.parametrize("view", ["sumary", "", "SUMMARY", "__class__"])
async def test_an_unknown_view_in_the_query_closes_with_3501_and_names_those_there_are(
    browser: Connect, log: Log, view: str
) -> None:
    client = browser(articles.as_asgi(), f"/ws/?view={view}")
    reason = "There is no such view; there are default, summary."
    assert await client.refused() == Closed(3501, reason)
    assert await aonline_count() == 0
    assert not log.lines("handlers")


@pytest.mark.parametrize("view", ["sumary", "", None, 7, ["summary"]], ids=repr)
async def test_an_unknown_view_in_a_message_does_so_too(
    browser: Connect, log: Log, view: Any
) -> None:
    client = await opened(browser(articles.as_asgi()))
    await change_view(client, view)
    reason = "There is no such view; there are default, summary."
    assert await client.closed() == Closed(3501, reason)
    assert not log.lines("handlers")


async def test_a_stream_without_views_takes_ws_view_for_a_message_of_its_client(
    browser: Connect,
) -> None:
    @stream
    async def echo(incoming: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for message in incoming:
            yield message

    client = await opened(browser(echo.as_asgi(), "/ws/?view=any"))
    message = {"type": "ws:view", "view": "any"}
    assert await client.request(**message) == message


# What the server allows


@pytest.mark.parametrize(
    ("allowed", "query", "frame"),
    [
        (["default"], "", DEFAULT),
        (["summary"], "", SUMMARY),
        (["summary"], "?view=summary", SUMMARY),
        (["summary", "default"], "", DEFAULT),
        (None, "?view=summary", SUMMARY),
        ([], "?view=summary", DEFAULT),
    ],
)
async def test_the_server_may_limit_the_views(
    browser: Connect, allowed: list[str] | None, query: str, frame: str
) -> None:
    limited = stream(views=allowed)(articles.function)
    client = await opened(browser(limited.as_asgi(), f"/ws/{query}"))
    assert await next_frame(client) == frame


@pytest.mark.parametrize(("allowed", "wanted"), [("default", "summary"), ("summary", "default")])
async def test_what_the_server_does_not_allow_is_no_view(
    browser: Connect, allowed: str, wanted: str
) -> None:
    limited = stream(views=[allowed])(articles.function)
    refused = Closed(3501, f"There is no such view; there are {allowed}.")
    assert await browser(limited.as_asgi(), f"/ws/?view={wanted}").refused() == refused
    client = await opened(browser(limited.as_asgi()))
    await change_view(client, wanted)
    assert await client.closed() == refused


def test_a_view_that_no_type_declares_is_refused_as_it_is_declared() -> None:
    advice = (
        "offers the view short, which no type that it sends declares; there are default, summary."
    )
    with pytest.raises(EndpointError, match=advice):
        stream(views=["summary", "short"])(articles.function)
    plain = sending(Removed).function
    with pytest.raises(EndpointError, match=r"offers the view summary, .*; there are none\."):
        stream(views=["summary"])(plain)


def test_views_that_are_no_list_are_refused_as_such() -> None:
    """And not as the views of single letters."""
    wrong: Any = "summary"
    with pytest.raises(EndpointError, match=r"list|'summary'"):
        stream(views=wrong)(articles.function)


# What types there are


VALUES: dict[str, tuple[Any, Any, str, str]] = {
    "dataclass": (Author, Author("Ada", "a@example.com"), "names", '{"name":"Ada"}'),
    "pydantic": (Model, Model(a=1, b=2), "short", '{"a":1}'),
    "tagged Struct": (Posted, Posted(1, "x"), "summary", '{"type":"posted","id":1}'),
    "member of a union": (
        Posted | Removed,
        Posted(1, "x"),
        "summary",
        '{"type":"posted","id":1}',
    ),
    "member of a union that has none": (
        Posted | Removed,
        Removed(1, "x"),
        "summary",
        '{"type":"removed","id":1,"why":"x"}',
    ),
    "member of a union that has others": (
        Author | Article,
        ARTICLE,
        "names",
        DEFAULT,
    ),
    "optional": (Article | None, ARTICLE, "summary", SUMMARY),
    "none of an optional": (Article | None, None, "summary", "null"),
    "list": (list[Article], [ARTICLE, ARTICLE], "summary", f"[{SUMMARY},{SUMMARY}]"),
    "empty list": (list[Article], [], "summary", "[]"),
    "tuple": (tuple[Article, ...], (ARTICLE,), "summary", f"[{SUMMARY}]"),
    "list of a union": (
        list[Posted | Removed],
        [Posted(1, "x"), Removed(1, "x")],
        "summary",
        '[{"type":"posted","id":1},{"type":"removed","id":1,"why":"x"}]',
    ),
    "list of a union, that with views last": (
        list[Posted | Removed],
        [Removed(1, "x"), Posted(1, "x")],
        "summary",
        '[{"type":"removed","id":1,"why":"x"},{"type":"posted","id":1}]',
    ),
}


@pytest.mark.parametrize(("annotation", "value", "view", "frame"), VALUES.values(), ids=VALUES)
async def test_a_stream_knows_the_views_of_what_it_sends(
    browser: Connect, annotation: Any, value: Any, view: str, frame: str
) -> None:
    application = sending(annotation, value).as_asgi()
    client = await opened(browser(application, f"/ws/?view={view}"))
    assert await next_frame(client) == frame


async def test_a_result_has_views_as_well(browser: Connect) -> None:
    @stream
    async def last(incoming: AsyncIterator[str]) -> Article:
        return ARTICLE

    client = await opened(browser(last.as_asgi(), "/ws/?view=summary"))
    assert await client.receive_from(PATIENCE_SECONDS) == SUMMARY


async def test_what_the_connection_sends_is_in_the_view_as_well(browser: Connect) -> None:
    @stream
    async def beside(connection: Connection) -> AsyncIterator[Article]:
        await connection.send(ARTICLE)
        await connection.send_json([ARTICLE])
        yield ARTICLE

    client = await opened(browser(beside.as_asgi(), "/ws/?view=summary"))
    frames = [await client.receive_from(PATIENCE_SECONDS) for _ in range(3)]
    assert frames == [SUMMARY, f"[{SUMMARY}]", SUMMARY]


async def test_a_sequence_is_added_to_each_view(browser: Connect) -> None:
    application = stream(sequence=True)(articles.function).as_asgi()
    client = await opened(browser(application, "/ws/?view=summary"))
    await client.frame("next")
    assert list(await client.receive()) == ["title", "id", "sequence", "timestamp"]


async def test_a_batch_may_have_messages_of_several_views(
    browser: Connect, watched: Watched
) -> None:
    @stream(batch=Batch(max_items=2, max_delay=60))
    async def feed() -> AsyncIterator[Article]:
        yield ARTICLE
        await watched.go_on.wait()
        yield ARTICLE

    client = await opened(browser(feed.as_asgi()))
    await change_view(client, "summary")
    assert await client.request(type="ws:ping") == {"type": "ws:pong"}
    watched.go_on.set()
    assert [len(message) for message in (await client.receive())["messages"]] == [3, 2]


# What is pushed


async def test_a_push_arrives_in_the_view_of_each(browser: Connect) -> None:
    @stream
    async def room(name: str, connection: Connection) -> AsyncIterator[Article]:
        await connection.join(name)
        yield ARTICLE
        await connection.closed

    application = room.as_asgi()
    clients = [
        await opened(browser(application, f"/ws/?name=red{query}"))
        for query in ("", "&view=summary", "&view=default")
    ]
    frames = [DEFAULT, SUMMARY, DEFAULT]
    for client, frame in zip(clients, frames, strict=True):
        assert await client.receive_from(PATIENCE_SECONDS) == frame
    await asend_to_group("red", ARTICLE)
    for client, frame in zip(clients, frames, strict=True):
        assert await client.receive_from(PATIENCE_SECONDS) == frame


async def test_a_push_arrives_in_the_view_that_was_chosen_last(browser: Connect) -> None:
    client = browser(stream(groups=["red"])(articles.function).as_asgi())
    client_id = await client.open()
    await change_view(client, "summary")
    assert await next_frame(client) == SUMMARY
    await asend_to_client(client_id, ARTICLE)
    await asend_to_group("red", [ARTICLE])
    frames = [await client.receive_from(PATIENCE_SECONDS) for _ in range(2)]
    assert frames == [SUMMARY, f"[{SUMMARY}]"]
