"""Every code block of docs/presence.md is run, and its numbers are held against the code."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute, expect
from websockets.sync.client import ClientConnection, connect

from tests.markdown import DOCS, README, Block
from tests.redis_server import RedisServer
from tests.shop import LOGIN, Shop
from tests.test_docs import codes_in
from tests.waiting import eventually
from wsadapter import signals
from wsadapter.conf import RULES
from wsadapter.connection import MAX_INFO_SIZE
from wsadapter.store.operations import PAGE_SIZE
from wsadapter.transitions import RECEIVERS_SECONDS
from wsadapter.wire import envelope

pytestmark = pytest.mark.xdist_group("presence page")  # its project is made once

PAGE = DOCS["presence"]
TEXT = " ".join(PAGE.text.split())

WITHIN_MS = 15_000
PATIENCE_SECONDS = 15.0

#: What the page leaves to its readers: somebody who hears what a receiver tells, and less patience.
SUPPORT = Block(
    "",
    "python",
    """# shop/routing.py, at its end
class Support(AdapterConsumer):
    groups = ["support"]


websocket_urlpatterns += [path("ws/support/", Support.as_asgi())]
""",
)
HASTE = Block("", "python", '# shop/settings.py, at its end\nWSADAPTER["GRACE_SECONDS"] = 0.5\n')


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Shop:
    """A reader's project, with all of README and all of the page typed into it."""
    shop = Shop(
        tmp_path_factory.mktemp("presence"),
        redis_url=f"redis://127.0.0.1:{redis_server.port}/9",
    )
    shop.type(README.blocks)
    for block in [*PAGE.blocks, SUPPORT, HASTE]:
        if block.language == "sh":
            for command in block.commands:
                shop.manage(*command.split()[2:])
        else:
            shop.type([block])
    return shop


@pytest.fixture(scope="module")
def port(shop: Shop) -> Iterator[int]:
    with shop.runserver() as port:  # which serves socket.js as well
        yield port


def login(shop: Shop, name: str) -> str:
    """The session key of a user."""
    return shop.shell(LOGIN.replace("ada", name)).strip()


class Client:
    """Somebody who has had the welcome."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        assert self.next()["type"] == "ws:welcome"

    def next(self) -> Any:
        return json.loads(self.connection.recv(PATIENCE_SECONDS))


@pytest.fixture
def tab(chromium: Browser, shop: Shop, port: int) -> Page:
    """A page of the site, of Ada's."""
    context = chromium.new_context()
    address = f"http://127.0.0.1:{port}"
    context.add_cookies([{"name": "sessionid", "value": login(shop, "ada"), "url": address}])
    page = context.new_page()
    page.goto(f"{address}/orders/")
    return page


def run(tab: Page, more: str = "") -> None:
    """Run the page's JavaScript, and what a test adds to it."""
    tab.evaluate("document.body.append(Object.assign(document.createElement('p'), {id: 'here'}))")
    (script,) = (block.text for block in PAGE.blocks if block.language == "js")
    tab.add_script_tag(type="module", content=script + more)


def test_every_block_is_run() -> None:
    assert Counter(block.language for block in PAGE.blocks if block.path is None) == {
        "json": 2,
        "sh": 2,
        "js": 1,
    }
    assert {block.language for block in PAGE.blocks if block.path} == {"python"}


def test_the_system_checks_find_nothing(shop: Shop) -> None:
    assert "no issues" in shop.manage("check")


def test_who_is_in_a_room_is_seen_in_the_page_and_by_a_view(
    tab: Page, shop: Shop, port: int
) -> None:
    here = tab.locator("#here")
    run(tab)
    expect(here).to_have_text("ada", timeout=WITHIN_MS)
    cookie = {"Cookie": f"sessionid={login(shop, 'grace')}"}
    url = f"ws://127.0.0.1:{port}/ws"
    with connect(f"{url}/support/") as support:
        desk = Client(support)
        with (
            connect(f"{url}/room/attic/", additional_headers=cookie),
            connect(f"{url}/room/attic/", additional_headers=cookie),
        ):
            expect(here).to_have_text("ada, grace", timeout=WITHIN_MS)
            news = desk.next()
            assert eventually(lambda: room(port)["tabs"] == 3)
            assert room(port)["people"] == ["ada", "grace"]
    expect(here).to_have_text("ada", timeout=WITHIN_MS)
    assert room(port) == {"people": ["ada"], "tabs": 1}
    assert news["type"] == "buyer.online"
    assert eventually(lambda: last_seen(shop), within_seconds=PATIENCE_SECONDS) == ["grace"]


def room(port: int) -> Any:
    with urlopen(f"http://127.0.0.1:{port}/room/attic/") as response:
        return json.load(response)


def last_seen(shop: Shop) -> list[str]:
    """The users of whom it is known when they were here last."""
    return shop.shell(
        "from people.models import LastSeen\n"
        "print(*LastSeen.objects.values_list('user__username', flat=True))"
    ).split()


def test_what_is_told_while_the_list_is_on_its_way_is_not_lost(
    tab: Page, shop: Shop, port: int
) -> None:
    held: list[tuple[WebSocketRoute, str | bytes]] = []

    def hold_the_first_list(browser_end: WebSocketRoute) -> None:
        def pass_on(frame: str | bytes) -> None:
            if '"ws:reply"' in str(frame) and not held:
                held.append((browser_end, frame))
                browser_end.send('{"type": "asked"}')
            else:
                browser_end.send(frame)

        browser_end.connect_to_server().on_message(pass_on)

    tab.route_web_socket(re.compile("/ws/room/attic/"), hold_the_first_list)
    tab.reload()
    run(tab, 'socket.on("asked", () => document.querySelector("#here").dataset.asked = "yes");')
    expect(tab.locator("#here")).to_have_attribute("data-asked", "yes", timeout=WITHIN_MS)
    cookie = {"Cookie": f"sessionid={login(shop, 'eve')}"}
    with connect(f"ws://127.0.0.1:{port}/ws/room/attic/", additional_headers=cookie):
        here = tab.locator("#here")
        expect(here).to_have_text("eve", timeout=WITHIN_MS)
        browser_end, frame = held[0]
        assert "eve" not in str(frame)
        browser_end.send(frame)
        expect(here).to_have_text("ada, eve", timeout=WITHIN_MS)


def test_the_messages_are_what_the_server_sends() -> None:
    joined, left = (json.loads(block.text) for block in PAGE.blocks if block.language == "json")
    info = json.dumps(joined["info"]).encode()
    assert json.loads(envelope.joined("room attic", "7", joined["client"], info)) == joined
    assert json.loads(envelope.left("room attic", "7", None)) == left


def test_the_signals_and_numbers_are_those_of_the_code() -> None:
    told = {code for row in PAGE.table("question") for code in codes_in(row[-1])}
    assert {name for name in told if not name.startswith("ws:")} == {
        "client_connected",
        "client_disconnected",
        "user_came_online",
        "user_went_offline",
    }
    assert all(hasattr(signals, name) for name in told if not name.startswith("ws:"))
    assert f"`GRACE_SECONDS` ({RULES['GRACE_SECONDS'].default})" in TEXT
    assert f"in {MAX_INFO_SIZE} bytes" in TEXT
    assert f"in pages of {PAGE_SIZE}" in TEXT
    assert f"given up after {RECEIVERS_SECONDS:g} seconds" in TEXT
    (again_ms,) = re.findall(r"setTimeout\(list, (\d+)\)", TEXT)
    assert int(again_ms) > RULES["BEAT_SECONDS"].default * 1000
