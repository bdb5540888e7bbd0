"""Which fields of an object a client gets: the view that it has chosen, from those it may have."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import msgspec
import pydantic
import pytest

from tests.consumers.browser import Browser, Closed
from tests.consumers.conftest import Log
from tests.waiting import aeventually
from wsadapter import (
    Batch,
    abroadcast,
    asend_to_client,
    asend_to_group,
    asend_to_user,
    handler,
    with_views,
)
from wsadapter.consumers import AdapterConsumer
from wsadapter.wire import payload

Connect = Callable[..., Browser]


@with_views(summary=("id", "title"), title=("title",))
class Article(msgspec.Struct):
    id: int
    text: str
    title: str


@with_views(summary=("id",))
@dataclass
class Note:
    text: str
    id: int


@with_views(default=("title", "id"), summary=("title",))
class Page(pydantic.BaseModel):
    id: int
    title: str
    text: str


@with_views(summary=("id",))
class Posted(msgspec.Struct, tag="article.posted"):
    id: int
    text: str


ARTICLE = Article(7, "long", "Short")
WHOLE = {"id": 7, "text": "long", "title": "Short"}
SUMMARY = {"id": 7, "title": "Short"}
TITLE = {"title": "Short"}


class News(AdapterConsumer):
    groups = ["news"]
    views: Sequence[str] = ("default", "summary", "title")

    @handler("read")
    async def read(self) -> Article:
        return ARTICLE

    @handler("list")
    async def list(self) -> list[Article]:
        return [ARTICLE, ARTICLE]

    @handler("send")
    async def send_all(self) -> None:
        await self.connection.send(ARTICLE)
        await self.connection.send_json([ARTICLE])

    @handler("plain")
    async def plain(self) -> dict[str, Any]:
        return {"id": 1}


async def reading(browser: Connect, query: str = "", **options: Any) -> Browser:
    client = browser(News, f"/ws/{query}", **options)
    await client.open()
    return client


async def choose(client: Browser, view: Any) -> None:
    await client.send_json_to({"type": "ws:view", "view": view})


# Choosing


@pytest.mark.parametrize(
    ("query", "result"),
    [
        ("", WHOLE),
        ("?view=default", WHOLE),
        ("?view=summary", SUMMARY),
        ("?view=title", TITLE),
        ("?other=1&view=title", TITLE),
        ("?view=title&view=summary", TITLE),
    ],
)
async def test_the_query_chooses_the_view(
    browser: Connect, query: str, result: dict[str, Any]
) -> None:
    client = await reading(browser, query)
    assert (await client.request(type="read", id=1))["result"] == result


async def test_a_message_changes_it(browser: Connect) -> None:
    client = await reading(browser)
    for view, result in [("title", TITLE), ("summary", SUMMARY), ("default", WHOLE)]:
        await choose(client, view)
        assert (await client.request(type="read", id=1))["result"] == result
        await abroadcast(ARTICLE)
        assert await client.receive() == result


async def test_to_choose_is_neither_answered_nor_handled(browser: Connect) -> None:
    received: list[str] = []

    class Reading(News):
        async def receive(self, text_data: str | None = None, bytes_data: Any = None) -> None:
            received.append(str(text_data))

    client = browser(Reading)
    await client.open()
    await choose(client, "title")
    await client.frame("another frame")
    await aeventually(lambda: received)
    assert received == ["another frame"]
    assert client.output_queue.empty()


@pytest.mark.parametrize("query", ["?view=nonsense", "?view=", "?view=Summary", "?view=%00"])
async def test_an_unknown_view_is_refused_and_names_those_that_there_are(
    browser: Connect, log: Log, query: str
) -> None:
    client = browser(News, f"/ws/{query}")
    reason = "There is no such view; there are default, summary, title."
    assert await client.refused() == Closed(3501, reason)
    assert reason in log.lines("handshake")[0]


@pytest.mark.parametrize("view", ["nonsense", "", None, 7, ["title"], {}], ids=repr)
async def test_a_message_that_asks_for_an_unknown_one_ends_the_connection(
    browser: Connect, view: Any
) -> None:
    client = await reading(browser)
    await choose(client, view)
    reason = "There is no such view; there are default, summary, title."
    assert await client.closed() == Closed(3501, reason)


async def test_the_class_may_offer_less_than_there_is(browser: Connect) -> None:
    class Short(News):
        views = ["summary"]

    client = browser(Short)
    await client.open()
    assert (await client.request(type="read", id=1))["result"] == SUMMARY
    await choose(client, "default")
    assert (await client.closed()).code == 3501
    refused = await browser(Short, "/ws/?view=title").refused()
    assert refused == Closed(3501, "There is no such view; there are summary.")


async def test_without_views_everything_arrives_and_nothing_can_be_chosen(browser: Connect) -> None:
    class Plain(News):
        views = ()

    client = browser(Plain, "/ws/?view=title")
    await client.open()
    assert (await client.request(type="read", id=1))["result"] == WHOLE
    answer = await client.request(type="ws:view", id=7, view="title")
    assert (answer["code"], answer["id"]) == ("unknown_type", 7)


async def test_who_may_not_connect_does_not_learn_of_views(browser: Connect) -> None:
    class Members(News):
        allow_anonymous = False

    assert (await browser(Members, "/ws/?view=nonsense").refused()).code == 3500


# What a connection sends itself


async def test_replies_are_in_the_view(browser: Connect) -> None:
    client = await reading(browser, "?view=title")
    assert (await client.request(type="read", id=1))["result"] == TITLE
    assert (await client.request(type="list", id=2))["result"] == [TITLE, TITLE]
    assert (await client.request(type="plain", id=3))["result"] == {"id": 1}


async def test_what_is_sent_by_hand_is_too(browser: Connect) -> None:
    client = await reading(browser, "?view=title")
    await client.send_json_to({"type": "send"})
    assert [await client.receive(), await client.receive()] == [TITLE, [TITLE]]


async def test_fields_arrive_in_the_order_of_the_view(browser: Connect) -> None:
    class Reversed(News):
        @handler("page")
        async def page(self) -> Page:
            return Page(id=7, title="Short", text="long")

    client = browser(Reversed)
    await client.open()
    await client.send_json_to({"type": "page", "id": 1})
    assert json.loads(await client.receive_from(), object_pairs_hook=list)[2] == (
        "result",
        [("title", "Short"), ("id", 7)],
    )


# Pushes


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that is encoded as JSON."""
    texts: list[str] = []
    to_json = payload.to_json

    def note(data: object) -> str:
        texts.append(to_json(data))
        return texts[-1]

    monkeypatch.setattr(payload, "to_json", note)
    return texts


async def test_a_push_arrives_in_the_view_of_each_and_each_is_encoded_once(
    browser: Connect, encoded: list[str]
) -> None:
    queries = {"": WHOLE, "?view=summary": SUMMARY, "?view=title": TITLE}
    clients = [(await reading(browser, query), it) for query, it in queries.items() for _ in "123"]
    encoded.clear()
    await abroadcast(ARTICLE)
    for client, expected in clients:
        assert await client.receive() == expected
    assert sorted(map(len, encoded)) == sorted(
        len(json.dumps(each, separators=(",", ":"))) for each in (WHOLE, SUMMARY, TITLE)
    )


async def test_so_it_does_however_it_is_sent(browser: Connect) -> None:
    client = browser(News, "/ws/?view=title", user=SimpleNamespace(pk=7, is_anonymous=False))
    client_id = await client.open()
    await abroadcast(ARTICLE, authenticated_only=True)
    await asend_to_user(7, ARTICLE)
    await asend_to_client(client_id, ARTICLE)
    await asend_to_group("news", ARTICLE)
    assert [await client.receive() for _ in range(4)] == [TITLE] * 4


async def test_who_is_excluded_gets_no_view_of_it(browser: Connect) -> None:
    one, other = await reading(browser, "?view=title"), browser(News, "/ws/?view=title")
    other_id = await other.open()
    await abroadcast(ARTICLE, exclude=[other_id])
    await abroadcast("for all")
    assert [await one.receive(), await one.receive()] == [TITLE, "for all"]
    assert await other.receive() == "for all"


@pytest.mark.parametrize(
    ("data", "default", "summary"),
    [
        (Note("long", 7), {"text": "long", "id": 7}, {"id": 7}),
        (
            Page(id=7, title="Short", text="long"),
            {"title": "Short", "id": 7},
            {"title": "Short"},
        ),
        (
            Posted(7, "long"),
            {"type": "article.posted", "id": 7, "text": "long"},
            {"type": "article.posted", "id": 7},
        ),
        ([ARTICLE, ARTICLE], [WHOLE, WHOLE], [SUMMARY, SUMMARY]),
        ({"id": 7}, {"id": 7}, {"id": 7}),
        ("text", "text", "text"),
    ],
    ids=["dataclass", "pydantic", "tagged", "list", "dict", "text"],
)
async def test_every_kind_of_object_has_its_views(
    browser: Connect, data: Any, default: Any, summary: Any
) -> None:
    plain, brief = await reading(browser), await reading(browser, "?view=summary")
    await abroadcast(data)
    assert await plain.receive() == default
    assert await brief.receive() == summary


async def test_a_view_that_the_object_lacks_is_its_default_one(browser: Connect) -> None:
    client = await reading(browser, "?view=title")
    await abroadcast(Note("long", 7))
    assert await client.receive() == {"text": "long", "id": 7}


async def test_a_push_in_a_sequence_has_its_place_in_every_view(browser: Connect) -> None:
    clients = [await reading(browser), await reading(browser, "?view=title")]
    await asend_to_group("news", ARTICLE, sequence=True)
    whole, title = [await client.receive() for client in clients]
    assert whole.keys() == {*WHOLE, "sequence", "timestamp"}
    assert title == {**TITLE, "sequence": whole["sequence"], "timestamp": whole["timestamp"]}


async def test_a_push_leaves_in_batches_in_the_view_as_well(browser: Connect) -> None:
    class Batching(News):
        batch = Batch(max_items=2, max_delay=60)

    client = browser(Batching, "/ws/?view=title")
    await client.open()
    await abroadcast(ARTICLE)
    await abroadcast(ARTICLE)
    assert (await client.receive())["messages"] == [TITLE, TITLE]


async def test_who_does_not_read_has_each_push_in_the_view_of_its_time(browser: Connect) -> None:
    """What waits was encoded before the client chose another one."""
    client = browser(News, takes=1)
    await client.connect()
    await aeventually(client.output_queue.full)  # of the welcome
    await abroadcast(ARTICLE)
    await choose(client, "title")
    await aeventually(client.input_queue.empty)
    await abroadcast(ARTICLE)
    assert (await client.receive())["type"] == "ws:welcome"
    assert [await client.receive(), await client.receive()] == [WHOLE, TITLE]
