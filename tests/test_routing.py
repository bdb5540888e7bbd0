"""What stands between a server and a consumer: origins, the user, and the path."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from channels.testing import ApplicationCommunicator
from django.urls import path, re_path
from pytest_django import Settings

from tests.consumers.browser import Browser
from wsadapter import Connection, aonline_count, periodic, websocket
from wsadapter.consumers import AdapterConsumer
from wsadapter.routing import websocket_application

PARTNER = "https://partner.example"
ANOTHER = "https://another.example"
OWN = "http://testserver"

Connect = Callable[..., Browser]


def allows_partners(origin: str, scope: Any) -> bool:
    return origin == PARTNER and scope["type"] == "websocket"


class Partners(AdapterConsumer):
    origins = [PARTNER]


async def tell(connection: Connection, **route: Any) -> None:
    """The first message is what the route has."""
    await connection.send({**route, "user": str(connection.user)})
    await connection.receive()


def status() -> str:
    return "well"


PATTERNS = [
    path("own/", AdapterConsumer.as_asgi()),
    path("partners/", Partners.as_asgi()),
    path("partners/closed/", websocket(origins=[])(tell).as_asgi()),
    path("rooms/<int:room>/", websocket(tell).as_asgi(), {"floor": 3}),
    re_path(r"^partners/(?P<room>\w+)/$", websocket(origins=[PARTNER])(tell).as_asgi()),
    path("rule/", websocket(origins=f"{__name__}.allows_partners")(tell).as_asgi()),
    path("anybody/", periodic(status, interval=3600, origins="*").as_asgi()),
    # Never reached: the first pattern that matches serves a path.
    path("own/", websocket(origins="*")(tell).as_asgi()),
]


@pytest.fixture
async def browser() -> AsyncIterator[Connect]:
    """Make a `Browser` of the application; they leave at the end."""
    browsers: list[Browser] = []
    application = websocket_application(PATTERNS)

    def make(at: str, origin: str | None = None, **scope: Any) -> Browser:
        headers = {"host": "testserver", **({} if origin is None else {"origin": origin})}
        browsers.append(Browser(application, at, headers=headers, **scope))
        return browsers[-1]

    yield make
    for each in browsers:
        await each.leave()
    assert await aonline_count() == 0


async def is_let_in(client: Browser) -> bool:
    return bool((await client.connect())[0])


# Origins


@pytest.mark.parametrize(
    ("at", "origins"),
    [
        ("/own/", {OWN}),
        ("/partners/", {OWN, PARTNER}),
        ("/partners/closed/", {OWN}),
        ("/partners/red/", {OWN, PARTNER}),
        ("/rule/", {OWN, PARTNER}),
        ("/anybody/", {OWN, PARTNER, ANOTHER}),
        ("/rooms/7/", {OWN}),
    ],
)
async def test_each_route_has_its_own_origins(browser: Connect, at: str, origins: set[str]) -> None:
    let_in = {one for one in (OWN, PARTNER, ANOTHER) if await is_let_in(browser(at, one))}
    assert let_in == origins
    assert await is_let_in(browser(at)), "no browser, which would name its origin"


async def test_a_rule_of_a_route_may_be_the_function_itself() -> None:
    endpoint = websocket(origins=allows_partners)(tell)
    application = websocket_application([path("rule/", endpoint.as_asgi())])
    for origin, allowed in ((PARTNER, True), (OWN, True), (ANOTHER, False)):
        headers = {"host": "testserver", "origin": origin}
        client = Browser(application, "/rule/", headers=headers)
        assert await is_let_in(client) is allowed
        await client.leave()


async def test_the_setting_is_for_routes_that_name_none(
    browser: Connect, settings: Settings
) -> None:
    settings.WSADAPTER = {"ALLOWED_ORIGINS": [ANOTHER]}
    assert await is_let_in(browser("/own/", ANOTHER))
    assert not await is_let_in(browser("/own/", PARTNER))
    assert not await is_let_in(browser("/partners/", ANOTHER))


@pytest.mark.parametrize(
    ("at", "where"),
    [("/own/", 'WSADAPTER["ALLOWED_ORIGINS"]'), ("/partners/", "the origins of this path")],
)
async def test_a_foreign_page_is_refused_and_told_of_in_the_log(
    browser: Connect, caplog: pytest.LogCaptureFixture, at: str, where: str
) -> None:
    client = browser(at, ANOTHER)
    await client.send_input({"type": "websocket.connect"})
    assert await client.event() == {"type": "websocket.close"}
    [line] = [one.getMessage() for one in caplog.records if one.name == "wsadapter.handshake"]
    assert repr(at) in line and repr(ANOTHER) in line and line.endswith(f"{where}.")


async def test_a_foreign_page_costs_no_session(
    browser: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unexpected(*arguments: Any) -> None:
        raise AssertionError("the session was asked for")

    monkeypatch.setattr("channels.sessions.CookieMiddleware.__call__", unexpected)
    assert not await is_let_in(browser("/own/", ANOTHER))


# Under a path of the server's own


@pytest.mark.parametrize("root_path", ["/app", "/app/"])
async def test_below_a_root_path_the_rest_is_routed(browser: Connect, root_path: str) -> None:
    below = {"root_path": root_path}
    assert await is_let_in(browser("/app/partners/", PARTNER, **below))
    assert not await is_let_in(browser("/app/own/", PARTNER, **below))
    client = browser("/app/rooms/7/", **below)
    await client.open()
    assert (await client.receive())["room"] == 7


async def test_a_root_path_is_taken_away_once(browser: Connect) -> None:
    """What stands for the root path of one is a route of the other."""
    below = {"root_path": "/partners"}
    assert await is_let_in(browser("/partners/partners/", PARTNER, **below))
    assert not await is_let_in(browser("/partners/own/", PARTNER, **below))


# Paths


async def test_the_endpoint_has_what_the_route_has(browser: Connect) -> None:
    client = browser("/rooms/7/")
    await client.open()
    assert await client.receive() == {"room": 7, "floor": 3, "user": "AnonymousUser"}


async def test_the_first_pattern_that_matches_serves_a_path(browser: Connect) -> None:
    client = browser("/partners/red/")
    await client.open()
    assert (await client.receive())["room"] == "red"


@pytest.mark.parametrize("at", ["/", "/nowhere/", "/own", "/own/more/", "/rooms/x/", "/%0A"])
@pytest.mark.parametrize("origin", [None, OWN])
async def test_a_path_without_a_route_is_refused(
    browser: Connect, caplog: pytest.LogCaptureFixture, at: str, origin: str | None
) -> None:
    client = browser(at, origin)
    await client.send_input({"type": "websocket.connect"})
    assert await client.event() == {"type": "websocket.close"}
    assert "no WebSocket route has this path" in caplog.text


async def test_a_path_without_a_route_has_the_origins_of_the_setting(
    browser: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    assert not await is_let_in(browser("/nowhere/", ANOTHER))
    assert "ALLOWED_ORIGINS" in caplog.text and "no WebSocket route" not in caplog.text


async def test_an_application_without_routes_refuses_everything() -> None:
    handshake = {"type": "websocket", "path": "/", "headers": []}
    communicator = ApplicationCommunicator(websocket_application([]), handshake)
    await communicator.send_input({"type": "websocket.connect"})
    assert await communicator.receive_output() == {"type": "websocket.close"}
