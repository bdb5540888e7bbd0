"""The admin's page of connections in a real browser: it looks after itself, on any screen."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    BrowserContext,
    Locator,
    Page,
    WebSocketRoute,
    expect,
    sync_playwright,
)
from websockets.sync.client import ClientConnection, connect

from demo_project.accounts import PASSWORD
from tests.conftest import CHROMIUM_ARGUMENTS
from tests.dependencies import chromium_executable

pytestmark = pytest.mark.xdist_group("admin page")  # one server and one browser for all of it

LIST = "admin/wsadapter/connection/"
WITHIN_MS = 30_000

#: The background of the admin's own pages.
SCHEMES: dict[Any, str] = {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 18, 18)"}

HOSTILE = '"><img src=x onerror=alert(1)>'

Visit = Callable[..., ClientConnection]


class AdminPage:
    """The page as Ada sees it, who may do everything."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.problems: list[str] = []
        self.address = address
        self.tab: Page = context.new_page()
        self.tab.set_default_timeout(WITHIN_MS)
        self.tab.on("pageerror", lambda error: self.problems.append(str(error)))
        self.tab.on("dialog", lambda dialog: self.problems.append(dialog.message))

    def log_in(self) -> None:
        self.tab.goto(f"{self.address}admin/login/?next=/{LIST}")
        self.tab.fill("#id_username", "ada")
        self.tab.fill("#id_password", PASSWORD)
        self.tab.get_by_role("button", name="Log in").click()
        expect(self.tab).to_have_url(self.address + LIST)

    def open(self) -> AdminPage:
        self.tab.goto(self.address + LIST)
        return self

    def row(self, client_id: str) -> Locator:
        return self.tab.locator("[data-rows] tr").filter(has_text=client_id)

    def cell(self, client_id: str, field: str) -> Locator:
        return self.row(client_id).locator(f'[data-field="{field}"]')

    def is_live(self) -> None:
        self.shows("[data-state]", re.compile(r"^Live, as of "))

    def shows(self, selector: str, text: str | re.Pattern[str]) -> None:
        expect(self.tab.locator(selector)).to_have_text(text, timeout=WITHIN_MS)

    def says(self, text: str) -> None:
        expect(self.tab.locator(".messagelist")).to_contain_text(text, timeout=WITHIN_MS)


@pytest.fixture(scope="module")
def ada(runserver: str) -> Iterator[BrowserContext]:
    """A browser in which Ada is logged in; launching one takes longer than most tests."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_executable(), args=CHROMIUM_ARGUMENTS
        )
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = AdminPage(context, runserver)
        page.log_in()
        page.tab.close()
        yield context
        browser.close()


@pytest.fixture
def page(ada: BrowserContext, runserver: str) -> Iterator[AdminPage]:
    page = AdminPage(ada, runserver)
    yield page
    page.tab.close()
    assert page.problems == []


@pytest.fixture
def visit(runserver: str) -> Iterator[Visit]:
    """Connect to the demo as a bare WebSocket."""
    with ExitStack() as opened:
        yield lambda: opened.enter_context(connect(f"ws://{urlsplit(runserver).netloc}/ws/"))


def id_of(connection: ClientConnection) -> str:
    found = re.search(r'"client":\s*"([^"]+)"', str(connection.recv(30)))
    assert found
    return found[1]


def test_it_updates_itself(page: AdminPage, visit: Visit) -> None:
    page.open().is_live()
    visitor = visit()
    client_id = id_of(visitor)
    expect(page.row(client_id)).to_be_visible(timeout=WITHIN_MS)
    expect(page.cell(client_id, "queued")).to_have_text("0 B", timeout=WITHIN_MS)
    expect(page.cell(client_id, "seen")).to_have_text(re.compile(r"^\d+ s ago$"))
    expect(page.cell(client_id, "drops")).to_have_text("0")
    visitor.close()
    expect(page.row(client_id)).to_have_count(0, timeout=WITHIN_MS)
    # What is left is the page's own connection.
    expect(page.tab.locator("[data-rows] tr")).to_have_count(1, timeout=WITHIN_MS)
    expect(page.tab.locator("[data-total]")).to_have_text("1", timeout=WITHIN_MS)


def test_one_connection_is_disconnected(page: AdminPage, visit: Visit) -> None:
    visitor = visit()
    client_id = id_of(visitor)
    page.open().is_live()
    page.row(client_id).get_by_role("button", name="Disconnect").click()
    page.says(f"Disconnected the connection {client_id}: 1 connection.")
    expect(page.row(client_id)).to_have_count(0, timeout=WITHIN_MS)


def test_all_of_a_user_are_disconnected_once_that_is_confirmed(page: AdminPage) -> None:
    page.open().is_live()
    # Her own page is the one connection that Ada has here: it is a row that came by itself.
    own = page.tab.locator("[data-rows] tr").filter(has_text="/wsadapter/admin/")
    own.get_by_role("link", name="Disconnect all").click()
    page.tab.get_by_role("link", name="No, take me back").click()
    page.is_live()
    own.get_by_role("link", name="Disconnect all").click()
    page.tab.get_by_role("button", name="Yes, disconnect").click()
    expect(page.tab.locator(".messagelist")).to_contain_text("all connections of ada")


def test_a_message_is_sent_to_one(page: AdminPage, visit: Visit) -> None:
    visitor = visit()
    client_id = id_of(visitor)
    visitor.recv(30)  # what the demo says to everybody first
    page.open().is_live()
    page.row(client_id).get_by_role("link", name="Send", exact=True).click()
    message = page.tab.get_by_label("Message")
    message.fill("{no JSON")
    page.tab.get_by_role("button", name="Send").click()
    expect(page.tab.locator(".errorlist")).to_contain_text("This is no JSON")
    message.fill('{"type": "hello from the admin"}')
    page.tab.get_by_role("button", name="Send").click()
    page.says(f"Sent to the connection {client_id}.")
    assert visitor.recv(30) == '{"type":"hello from the admin"}'


def test_a_search_stays_live(page: AdminPage, visit: Visit) -> None:
    page.open().is_live()
    client_id = id_of(visit())
    page.tab.fill("#searchbar", client_id)
    page.tab.get_by_role("button", name="Search").click()
    page.is_live()
    page.shows("[data-note]", "This is a client id.")
    expect(page.tab.locator("[data-rows] tr")).to_have_count(1)
    expect(page.cell(client_id, "queued")).to_have_text("0 B", timeout=WITHIN_MS)


def test_without_a_socket_it_says_why_and_shows_what_there_was(
    page: AdminPage, visit: Visit
) -> None:
    client_id = id_of(visit())
    page.tab.route_web_socket("**/wsadapter/admin/", lambda route: route.close(code=1006))
    page.open()
    page.shows("[data-state]", re.compile("^Not live: no WebSocket answers at /wsadapter/admin/"))
    expect(page.row(client_id)).to_be_visible()
    page.tab.get_by_role("link", name="Reload").click()
    expect(page.row(client_id)).to_be_visible()


def test_a_page_that_nobody_sees_rests(page: AdminPage) -> None:
    sent: list[str] = []

    def listen(route: WebSocketRoute) -> None:
        server = route.connect_to_server()

        def pass_on(frame: str | bytes) -> None:
            sent.append(str(frame))
            server.send(frame)

        route.on_message(pass_on)

    page.tab.route_web_socket("**/wsadapter/admin/", listen)
    page.open().is_live()
    assert [frame for frame in sent if '"watch"' in frame]
    page.tab.evaluate(
        """() => {
            Object.defineProperty(document, "visibilityState", { value: "hidden" });
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    page.tab.wait_for_function("() => true")
    assert '"rest"' in sent[-1]


def test_what_clients_have_chosen_stays_text(page: AdminPage) -> None:
    """As the server would tell it of users, ids, paths and addresses that mean harm."""
    row = {
        "client_id": HOSTILE,
        "user_id": HOSTILE,
        "user": HOSTILE,
        "address": HOSTILE,
        "path": HOSTILE,
        "connected_at": 0,
        "process": HOSTILE,
    }
    node = {"lease": HOSTILE, "host": HOSTILE, "pid": 1, "connections": 1, "ends_in_seconds": 1}
    look = {
        "type": "look",
        "now": 1,
        "nodes": [node],
        "clients": [HOSTILE],
        "rows": [row],
        "next": HOSTILE,
        "note": HOSTILE,
    }

    def serve(route: WebSocketRoute) -> None:
        route.on_message(lambda frame: route.send(json.dumps(look)))
        route.send(json.dumps({"type": "ws:welcome", "client": HOSTILE}))
        route.send(json.dumps({"type": "trouble", "message": HOSTILE}))

    page.tab.route_web_socket("**/wsadapter/admin/", serve)
    page.open().is_live()
    expect(page.cell(HOSTILE, "client_id")).to_have_text(HOSTILE)
    expect(page.cell(HOSTILE, "path")).to_have_text(HOSTILE)
    button = page.row(HOSTILE).get_by_role("button", name="Disconnect")
    expect(button).to_have_attribute("value", HOSTILE)
    link = page.row(HOSTILE).get_by_role("link", name="Send", exact=True)
    assert str(link.get_attribute("href")).startswith(f"{page.address}{LIST}send/?client=%22")
    assert page.tab.locator("img[src=x]").count() == 0


def test_it_fits_a_screen(page: AdminPage, visit: Visit) -> None:
    visit()
    page.open().is_live()
    for width in (390, 1280):
        page.tab.set_viewport_size({"width": width, "height": 900})
        assert page.tab.evaluate("document.documentElement.scrollWidth") == width
    for scheme, colour in SCHEMES.items():
        page.tab.emulate_media(color_scheme=scheme)
        background = page.tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == colour
