"""The helpers that ask who is online, on every kind of channel layer."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

import wsadapter
from tests.consumers.browser import Browser
from tests.processes import free_port
from tests.redis_server import RedisServer
from tests.sites import REDIS, SITES, site
from wsadapter import ClientInfo
from wsadapter.consumers import AdapterConsumer
from wsadapter.errors import AsyncContextError, StoreUnavailable

NUMBERS = ("online_count", "online_user_count", "is_online")
LISTS = ("online_users", "online_clients")

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

    async def open_one(user: Any = None, path: str = "/ws/") -> Browser:
        browser = Browser(AdapterConsumer, path, user=user)
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


@pytest.mark.parametrize("helper", [*NUMBERS, *LISTS])
async def test_without_redis_the_error_names_the_address_and_no_password(
    helper: str, ask: Ask, settings: Any
) -> None:
    port = free_port()
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": REDIS, "CONFIG": {"hosts": [f"redis://me:secret@127.0.0.1:{port}"]}}
    }
    with pytest.raises(StoreUnavailable, match=f"redis://127.0.0.1:{port}") as caught:
        await ask(helper, *([1] if helper == "is_online" else []))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("helper", [*NUMBERS, *LISTS])
async def test_a_sync_helper_on_an_event_loop_names_its_twin(helper: str) -> None:
    with pytest.raises(AsyncContextError, match=rf"\ba{helper}\(\)"):
        getattr(wsadapter, helper)(*([1] if helper == "is_online" else []))


@pytest.mark.parametrize("helper", [*NUMBERS, *LISTS])
def test_twins_have_the_same_parameters(helper: str) -> None:
    sync, twin = (inspect.signature(getattr(wsadapter, f"{a}{helper}")) for a in ("", "a"))
    assert sync.parameters == twin.parameters
