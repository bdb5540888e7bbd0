"""The helpers that ask who is online, on every kind of channel layer."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

import wsadapter
from tests.consumers.browser import Browser
from tests.processes import free_port
from tests.redis_server import RedisServer
from tests.sites import REDIS, SITES, site
from wsadapter import ClientInfo, Member, NodeInfo, conf, presence
from wsadapter.consumers import AdapterConsumer
from wsadapter.errors import AsyncContextError, StoreUnavailable
from wsadapter.store.operations import Members

NUMBERS = ("online_count", "online_user_count", "online_nodes", "is_online", "member_count")
LISTS = ("online_users", "online_clients", "members")
#: What those are asked that have to be asked something.
ARGUMENTS: dict[str, list[Any]] = {"is_online": [1], "member_count": ["news"], "members": ["news"]}

Ask = Callable[..., Awaitable[Any]]
Connect = Callable[..., Awaitable[Browser]]


@pytest.fixture(params=SITES)
def any_site(request: pytest.FixtureRequest, redis_server: RedisServer, settings: Any) -> str:
    for setting, value in site(request.param, [redis_server.url]).items():
        setattr(settings, setting, value)
    return str(request.param)


@pytest.fixture(params=["thread", "coroutine"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Ask a helper by its name, from a thread, or its twin; a list comes as a list."""

    async def in_a_thread(helper: str, *arguments: Any) -> Any:
        def call() -> Any:
            answer = getattr(wsadapter, helper)(*arguments)
            return list(answer) if helper in LISTS else answer

        return await asyncio.to_thread(call)

    async def as_twin(helper: str, *arguments: Any) -> Any:
        answer = getattr(wsadapter, f"a{helper}")(*arguments)
        return [item async for item in answer] if helper in LISTS else await answer

    return in_a_thread if request.param == "thread" else as_twin


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Connect a browser, of a user or of nobody."""
    browsers: list[Browser] = []

    async def open_one(
        user: Any = None, path: str = "/ws/", *, consumer: type = AdapterConsumer
    ) -> Browser:
        browser = Browser(consumer, path, user=user)
        browsers.append(browser)
        browser.client_id = await browser.open()
        return browser

    yield open_one
    for browser in browsers:
        await browser.leave()


async def test_nobody_is_online(any_site: str, ask: Ask) -> None:
    assert await ask("online_count") == 0
    assert await ask("online_user_count") == 0
    assert await ask("is_online", 1) is False
    assert await ask("online_users") == []
    assert await ask("online_clients") == []
    assert await ask("online_clients", 1) == []
    assert await ask("online_nodes") == ()
    assert await ask("members", "news") == []
    assert await ask("member_count", "news") == 0


async def test_who_comes_is_counted_until_they_go(
    any_site: str, ask: Ask, connect: Connect
) -> None:
    anna, annas_phone, ben = await connect(1), await connect(1), await connect("ben@example.org")
    nobody = await connect(None, "/ws/?of=nobody")
    assert await ask("online_count") == 4
    assert await ask("online_user_count") == 2
    assert await ask("is_online", 1) is True
    assert await ask("is_online", "ben@example.org") is True
    assert await ask("is_online", 2) is False
    assert sorted(await ask("online_users")) == ["1", "ben@example.org"]
    everybody = {browser.client_id for browser in (anna, annas_phone, ben, nobody)}
    assert {client.client_id for client in await ask("online_clients")} == everybody
    annas = {client.client_id for client in await ask("online_clients", 1)}
    assert annas == {anna.client_id, annas_phone.client_id}

    await anna.leave()
    assert await ask("online_count") == 3
    assert await ask("is_online", 1) is True
    await annas_phone.leave()
    await nobody.leave()
    assert await ask("is_online", 1) is False
    assert await ask("online_users") == ["ben@example.org"]
    assert [client.client_id for client in await ask("online_clients")] == [ben.client_id]


async def test_what_is_known_of_a_client(any_site: str, ask: Ask, connect: Connect) -> None:
    browser = await connect(7, "/ws/shop/?page=2")
    (client,) = await ask("online_clients", 7)
    assert isinstance(client, ClientInfo)
    assert client.client_id == browser.client_id
    assert (client.user_id, client.path, client.address) == ("7", "/ws/shop/", "192.0.2.1")
    assert client.connected_at > 1.7e9
    host, _, pid = client.process.rpartition(":")
    assert host and int(pid)


async def test_a_user_may_be_an_instance_or_a_key(
    any_site: str, ask: Ask, connect: Connect, django_user_model: Any
) -> None:
    user = django_user_model(pk=7, username="anna")
    await connect(user)
    assert await ask("is_online", user) is await ask("is_online", 7) is True
    assert len(await ask("online_clients", user)) == 1
    with pytest.raises(ValueError, match="primary key"):
        await ask("is_online", django_user_model(username="not saved"))


class Reader(AdapterConsumer):
    """In groups that any text may name."""

    groups = ["news", "Kaffee & Kuchen", "news\x00", "\ud800", ""]

    async def connect(self) -> None:
        await self.accept()
        await self.join("news", {"path": self.scope["path"]})
        await self.send(text_data="joined")


async def reader(connect: Connect, user: Any) -> Browser:
    browser = await connect(user, f"/ws/{user}/", consumer=Reader)
    assert await browser.receive() == "joined"
    return browser


async def test_who_joins_is_a_member_until_they_go(
    any_site: str, ask: Ask, connect: Connect
) -> None:
    await connect(1)
    browsers = [await reader(connect, user) for user in (None, 2, 1, 2)]
    assert await ask("member_count", "news") == 4
    members = await ask("members", "news")
    assert all(isinstance(member, Member) for member in members)
    assert [member.user_id for member in members] == ["1", "2", "2", None]
    assert members[0] == Member(browsers[2].client_id, "1", {"path": "/ws/1/"})
    for group in Reader.groups[1:]:
        assert [member.info for member in await ask("members", group)] == [None] * 4
    assert await ask("members", "News") == []

    await browsers[0].leave()
    await browsers[2].leave()
    assert await ask("member_count", "news") == 2
    left = {member.client_id for member in await ask("members", "news")}
    assert left == {browsers[1].client_id, browsers[3].client_id}


async def test_a_group_is_read_in_pages(
    any_site: str, ask: Ask, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    browsers = [await reader(connect, user) for user in (1, None, 2, 2, 3)]
    monkeypatch.setattr(presence, "Members", functools.partial(Members, limit=2))
    members = [member.client_id for member in await ask("members", "news")]
    assert sorted(members) == sorted(browser.client_id for browser in browsers)


async def test_a_process_is_a_node_with_its_connections(
    any_site: str, ask: Ask, connect: Connect
) -> None:
    for _ in range(3):
        await connect()
    (node,) = await ask("online_nodes")
    assert isinstance(node, NodeInfo)
    assert (node.connections, node.pid, node.host) == (3, os.getpid(), socket.gethostname())
    assert 0 < node.ends_in_seconds <= conf.settings.lease_seconds


@pytest.mark.parametrize("helper", [*NUMBERS, *LISTS])
async def test_without_redis_the_error_names_the_address_and_no_password(
    helper: str, ask: Ask, settings: Any
) -> None:
    port = free_port()
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": REDIS, "CONFIG": {"hosts": [f"redis://me:secret@127.0.0.1:{port}"]}}
    }
    with pytest.raises(StoreUnavailable, match=f"redis://127.0.0.1:{port}") as caught:
        await ask(helper, *ARGUMENTS.get(helper, []))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("helper", [*NUMBERS, *LISTS])
async def test_a_sync_helper_on_an_event_loop_names_its_twin(helper: str) -> None:
    with pytest.raises(AsyncContextError, match=rf"\ba{helper}\(\)"):
        getattr(wsadapter, helper)(*ARGUMENTS.get(helper, []))


@pytest.mark.parametrize("helper", [*NUMBERS, *LISTS])
def test_twins_have_the_same_parameters(helper: str) -> None:
    sync, twin = (inspect.signature(getattr(wsadapter, f"{a}{helper}")) for a in ("", "a"))
    assert sync.parameters == twin.parameters
