"""What the admin's page is told over its WebSocket, and who is not told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser, Permission
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from pytest_django import Settings

from tests.consumers.browser import PATIENCE_SECONDS, Browser
from tests.processes import free_port
from tests.redis_server import RedisServer
from tests.sites import MEMORY, SITES, site
from tests.waiting import aeventually
from wsadapter import CloseCode, abroadcast, live
from wsadapter.consumers import AdapterConsumer
from wsadapter.live import Feed, Live

pytestmark = pytest.mark.django_db(transaction=True)

Connect = Callable[..., Browser]


@sync_to_async
def make_user(name: str = "staff", *, may_view: bool = True, **fields: Any) -> Any:
    user = get_user_model().objects.create(username=name, **{"is_staff": True, **fields})
    if may_view:
        user.user_permissions.add(Permission.objects.get(codename="view_connection"))
    return user


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.setattr(live, "LOOK_SECONDS", 0.05)
    for setting, value in site(MEMORY, []).items():
        setattr(settings, setting, value)


@pytest.fixture(autouse=True)
async def _threads_close_their_connections(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Channels' communicators keep consumers from it, and Django never closes one in memory."""
    look = Feed.look

    def look_and_close(feed: Feed) -> Any:
        try:
            return look(feed)
        finally:
            BaseDatabaseWrapper.close(connection)

    monkeypatch.setattr(Feed, "look", look_and_close)
    yield
    await sync_to_async(lambda: BaseDatabaseWrapper.close(connection))()


@pytest.fixture
async def browser(_threads_close_their_connections: None) -> AsyncIterator[Connect]:
    browsers: list[Browser] = []

    def make(application: Any, **options: Any) -> Browser:
        browsers.append(Browser(application, **options))
        return browsers[-1]

    yield make
    for each in browsers:
        await each.leave()


@pytest.fixture
async def page(browser: Connect) -> Browser:
    """The admin's page of somebody who may see it, with its own client id in ``client_id``."""
    return browser(Live, user=await make_user())


async def send(page: Browser, **message: Any) -> None:
    await page.frame(json.dumps(message))


async def next_of(page: Browser, kind: str) -> Any:
    """Read on to a message of this type; others come for ever."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (message := await page.receive())["type"] != kind:
            pass
        return message


async def next_look(page: Browser, wanted: Callable[[Any], bool]) -> Any:
    """Read on to a look that is wanted; those before tell nothing new."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not wanted(look := await next_of(page, "look")):
            assert look["rows"] == []
        return look


# Who may


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"may_view": False}, CloseCode.NOT_PERMITTED),
        ({"is_staff": False}, CloseCode.NOT_PERMITTED),
        ({"is_active": False}, CloseCode.NOT_PERMITTED),
    ],
    ids=["no permission", "no staff", "not active"],
)
async def test_nobody_else_is_let_in(browser: Connect, fields: Any, code: int) -> None:
    client = browser(Live, user=await make_user(**fields))
    assert (await client.refused()).code == code


@pytest.mark.parametrize("user", [None, AnonymousUser()], ids=["nobody", "anonymous"])
async def test_a_visitor_is_not_let_in(browser: Connect, user: Any) -> None:
    assert (await browser(Live, user=user).refused()).code == CloseCode.UNAUTHENTICATED


async def test_a_superuser_is_let_in(browser: Connect) -> None:
    root = await make_user("root", may_view=False, is_superuser=True)
    await browser(Live, user=root).open()


async def test_a_trusted_gateway_names_nobody_here(browser: Connect, settings: Settings) -> None:
    staff = await make_user()
    settings.WSADAPTER = {**settings.WSADAPTER, "USER_ID_FROM": "query:user"}
    client = browser(Live, path=f"/wsadapter/admin/?user={staff.pk}")
    assert (await client.refused()).code == CloseCode.UNAUTHENTICATED


async def test_pages_of_other_origins_are_not_let_in(browser: Connect, settings: Settings) -> None:
    settings.WSADAPTER = {**settings.WSADAPTER, "ALLOWED_ORIGINS": "*"}
    headers = {"host": "testserver", "origin": "https://elsewhere.example"}
    client = browser(Live, user=await make_user(), headers=headers)
    assert (await client.connect())[0] is False


async def test_who_may_not_any_more_is_told_nothing_more(page: Browser) -> None:
    await page.open()
    await send(page, type="watch")
    await next_of(page, "look")
    await sync_to_async(get_user_model().objects.update)(is_staff=False)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert (await page.closed()).code == CloseCode.NOT_PERMITTED


# What is told


async def test_the_first_look_is_the_whole_page(page: Browser, browser: Connect) -> None:
    ada = await make_user("ada", is_staff=False)
    theirs = await browser(AdapterConsumer, user=ada).open()
    own = await page.open()
    await send(page, type="watch")
    look = await next_of(page, "look")
    assert set(look["clients"]) == {own, theirs}
    rows = {row["client_id"]: row for row in look["rows"]}
    assert rows[theirs]["user"] == "ada"
    assert rows[theirs]["user_id"] == str(ada.pk)
    assert (rows[theirs]["path"], rows[theirs]["address"]) == ("/ws/", "192.0.2.1")
    (node,) = look["nodes"]
    assert node["connections"] == 2


async def test_later_looks_tell_what_is_new(page: Browser, browser: Connect) -> None:
    own = await page.open()
    await send(page, type="watch")
    assert [row["client_id"] for row in (await next_of(page, "look"))["rows"]] == [own]
    newcomer = browser(AdapterConsumer)
    theirs = await newcomer.open()
    look = await next_look(page, lambda look: theirs in look["clients"])
    assert [row["client_id"] for row in look["rows"]] == [theirs]
    await newcomer.leave()
    look = await next_look(page, lambda look: look["clients"] == [own])
    assert look["rows"] == []


async def test_a_search_is_watched(page: Browser, browser: Connect) -> None:
    await page.open()
    await browser(AdapterConsumer).open()
    shop = await browser(AdapterConsumer, path="/ws/shop/").open()
    await send(page, type="watch", by="place", q="shop", cursor="")
    assert (await next_of(page, "look"))["clients"] == [shop]
    await send(page, type="watch", by="client", q="nobody")
    await next_look(page, lambda look: not look["clients"])


async def test_a_place_is_not_searched_again_and_again(page: Browser, browser: Connect) -> None:
    await page.open()
    await send(page, type="watch", by="place", q="shop")
    await next_of(page, "look")
    await browser(AdapterConsumer, path="/ws/shop/").open()
    for _ in range(3):
        assert (await next_of(page, "look"))["clients"] == []


async def test_who_comes_online_is_found_where_there_was_only_a_place(
    page: Browser, browser: Connect
) -> None:
    await page.open()
    there = await browser(AdapterConsumer, path="/ws/shop/").open()
    await send(page, type="watch", q="shop")
    look = await next_of(page, "look")
    assert look["clients"] == [there]
    assert "looked for in addresses and paths" in look["note"]
    keeper = await make_user("shopkeeper", is_staff=False)
    theirs = await browser(AdapterConsumer, user=keeper).open()
    look = await next_look(page, lambda look: look["clients"] == [theirs])
    assert "connections of users" in look["note"]


@pytest.mark.parametrize("name", SITES)
async def test_connections_report(
    browser: Connect, settings: Settings, redis_server: RedisServer, name: str
) -> None:
    for setting, value in site(name, [redis_server.url]).items():
        setattr(settings, setting, value)
    page = browser(Live, user=await make_user())
    ids = {await page.open(), await browser(AdapterConsumer).open()}
    await send(page, type="watch")
    reported: set[str] = set()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while reported != ids:
            message = await next_of(page, "reports")
            reported |= {report["client"] for report in message["reports"]}


async def test_a_page_that_nobody_sees_is_told_nothing(page: Browser) -> None:
    await page.open()
    await send(page, type="watch")
    await next_of(page, "look")
    await send(page, type="rest")
    # Messages are handled in their order, and this one is answered.
    await send(page, type="rest", id=1)
    await next_of(page, "ws:reply")
    await aeventually(lambda: not [t for t in asyncio.all_tasks() if "_send_looks" in str(t)])


async def test_it_is_told_what_the_trouble_is(page: Browser, settings: Settings) -> None:
    await page.open()
    await send(page, type="watch")
    await next_of(page, "look")
    away = f"redis://127.0.0.1:{free_port()}/0"
    settings.WSADAPTER = {**settings.WSADAPTER, "REDIS_URL": away}
    assert "cannot be reached" in (await next_of(page, "trouble"))["message"]


async def test_what_is_sent_to_everybody_is_not_for_the_page(page: Browser) -> None:
    await page.open()
    await abroadcast({"type": "look"})
    assert (await page.request(type="rest", id=1))["type"] == "ws:reply"
