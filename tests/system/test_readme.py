"""Every code block of README.md is run: files in a fresh project, pages in Chromium."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.markdown import README, Block
from tests.processes import ROOT
from tests.redis_server import RedisServer
from tests.shop import Shop
from tests.waiting import eventually

pytestmark = pytest.mark.xdist_group("readme")  # each project is made once

FIVE_MINUTES = "Five minutes into an existing project"


def blocks(language: str, *sections: str) -> list[Block]:
    return [b for b in README.blocks if b.language == language and b.section in sections]


def loose(language: str, section: str) -> str:
    """The one block of a section that names no file."""
    (found,) = (block for block in blocks(language, section) if block.path is None)
    return found.text


def test_every_block_is_run_by_one_of_the_tests_below() -> None:
    loose_blocks = [(b.language, b.section) for b in README.blocks if b.path is None]
    assert Counter(loose_blocks) == Counter(
        [
            ("sh", "Two commands"),
            ("sh", FIVE_MINUTES),
            ("sh", FIVE_MINUTES),
            ("python", "Helpers"),
            ("sh", "Faster on uvicorn"),
            ("js", "Not to the tab that asked"),
            ("js", "Consumers"),
        ]
    )
    assert {b.language for b in README.blocks if b.path} == {"python", "html"}


# The scripts


def test_the_two_commands_exist() -> None:
    (block,) = blocks("sh", "Two commands")
    for command in block.commands:
        shell, script = command.split()
        assert shell == "sh"
        assert (ROOT / script).read_text().startswith("#!/bin/sh")


def test_what_is_installed_is_an_extra_of_the_package() -> None:
    install, _ = blocks("sh", FIVE_MINUTES)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    offered = [
        f'pip install "{project["name"]}[{name}]"' for name in project["optional-dependencies"]
    ]
    assert install.commands[0] in offered


# Five minutes, one process, no Redis


@pytest.fixture(scope="module")
def first_shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    shop = Shop(tmp_path_factory.mktemp("first"))
    shop.type(block for block in README.blocks if block.section == FIVE_MINUTES)
    _, start = blocks("sh", FIVE_MINUTES)
    migrate, runserver = start.commands
    assert runserver == "python manage.py runserver"  # which first_page does
    assert migrate.startswith("python manage.py ")
    shop.manage(*migrate.split()[2:])
    return shop


def as_ada(browser: Browser, shop: Shop, port: int) -> BrowserContext:
    context = browser.new_context(base_url=f"http://127.0.0.1:{port}")
    context.set_default_timeout(15_000)
    site = f"http://127.0.0.1:{port}"
    context.add_cookies([{"name": "sessionid", "value": shop.login(), "url": site}])
    return context


def test_five_minutes_into_an_existing_project(first_shop: Shop, chromium: Browser) -> None:
    with first_shop.runserver() as port:
        context = as_ada(chromium, first_shop, port)
        tabs = [context.new_page(), context.new_page()]
        for tab in tabs:
            with tab.expect_websocket() as opened:
                tab.goto("/orders/")
            opened.value.wait_for_event("framereceived")  # the welcome
        tabs[0].click("button")
        for tab in tabs:
            expect(tab.get_by_role("status")).to_have_text("Order 7 is paid.", timeout=15_000)
        assert get(port, "/ws/") == 426


def get(port: int, path: str) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=15)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


# All of README, with Redis


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Shop:
    shop = Shop(
        tmp_path_factory.mktemp("shop"), redis_url=f"redis://127.0.0.1:{redis_server.port}/7"
    )
    shop.type(README.blocks)
    shop.manage("migrate")
    return shop


@pytest.fixture(scope="module")
def port(shop: Shop) -> Iterator[int]:
    with shop.runserver() as port:
        yield port


@pytest.fixture
def tab(chromium: Browser, shop: Shop, port: int) -> Page:
    page = as_ada(chromium, shop, port).new_page()
    page.goto("/orders/")
    return page


class Listener:
    """A WebSocket client that has had its welcome."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        assert self.next()["type"] == "ws:welcome"

    def next(self) -> Any:
        frame = self.connection.recv(15)
        try:
            return json.loads(frame)
        except ValueError:
            return frame


@pytest.fixture
def ada(shop: Shop, port: int) -> Iterator[Listener]:
    cookie = {"Cookie": f"sessionid={shop.login()}"}
    with connect(f"ws://127.0.0.1:{port}/ws/chat/", additional_headers=cookie) as connection:
        yield Listener(connection)


def test_the_system_checks_find_nothing(shop: Shop) -> None:
    assert "no issues" in shop.manage("check")


def test_the_readers_own_tests_pass(shop: Shop) -> None:
    shop.manage("test", "shop")


def test_the_helpers(shop: Shop, ada: Listener) -> None:
    printed = shop.shell(loose("python", "Helpers"))
    assert printed == "/ws/chat/ True\n"
    assert ada.next() == {"type": "deploy", "version": 7}
    assert ada.next() == "a text goes out as it is"
    hello = ada.next()
    assert hello["type"] == "hello" and ":" in hello["from"]


def test_a_task_sends_from_its_own_process(shop: Shop, ada: Listener) -> None:
    shop.shell(
        "from django.contrib.auth.models import User\n"
        "from shop.tasks import report\n"
        "report(User.objects.get(username='ada').pk)"
    )
    assert [ada.next()["percent"] for _ in range(3)] == [25, 50, 100]


def test_a_task_sends_many_at_once(shop: Shop, ada: Listener) -> None:
    shop.shell(
        "from django.contrib.auth.models import User\n"
        "from shop.tasks import ship\n"
        "pk = User.objects.get(username='ada').pk\n"
        "ship([(7, pk), (8, pk)])"
    )
    assert [ada.next() for _ in range(2)] == [
        {"type": "order.shipped", "id": 7},
        {"type": "order.shipped", "id": 8},
    ]


def test_a_binary_frame_reaches_receive(ada: Listener) -> None:
    ada.connection.send(b"\x00\x01")
    assert ada.connection.recv(15) == b"\x00\x01"


def test_a_typed_request_from_the_page(tab: Page, ada: Listener) -> None:
    said: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.add_script_tag(type="module", content=loose("js", "Consumers"))
    assert ada.next() == {"type": "chat.said", "text": "hi"}
    ada.connection.send(json.dumps({"type": "chat.say", "id": 1, "text": "hello, page"}))
    assert ada.next() == {"type": "ws:reply", "id": 1, "result": {"length": 11}}

    def heard_all() -> bool:
        tab.evaluate("0")  # Playwright dispatches its events while it is called
        return {"2 characters were said.", "hello, page"} <= set(said)

    eventually(heard_all)


def test_not_to_the_tab_that_asked(tab: Page, shop: Shop) -> None:
    record = """
        window.announce = announce;
        window.mine = socket;
        window.got = [];
        socket.on("ws:message", (message) => got.push(message.type));
    """
    tab.add_script_tag(type="module", content=loose("js", "Not to the tab that asked") + record)
    tab.wait_for_function("window.mine?.clientId")
    tab.evaluate("announce()")
    expect(tab.get_by_role("status")).to_have_text("Order 8 is paid.", timeout=15_000)
    shop.shell("from wsadapter import broadcast; broadcast({'type': 'after'})")
    tab.wait_for_function("got.includes('after')")
    assert tab.evaluate("got") == ["after"]


# Tokens


def test_a_token_says_who_connects(shop: Shop, port: int) -> None:
    token = shop.shell(
        "from django.contrib.auth.models import User\n"
        "from shop.tokens import issue\n"
        "print(issue(User.objects.create_user('grace')))"
    ).strip()
    url = f"ws://127.0.0.1:{port}/ws/api/"
    with connect(url, subprotocols=["token", token]) as connection:
        assert connection.subprotocol == "token"
        Listener(connection)
        assert "grace" in shop.shell(
            "from django.contrib.auth.models import User\n"
            "from wsadapter import online_users\n"
            "print([User.objects.get(pk=pk).username for pk in online_users()])"
        )


def test_a_forged_token_is_told_not_to_come_back(tab: Page, port: int) -> None:
    code = """protocols => new Promise((resolve) => {
        const socket = new WebSocket(`ws://${location.host}/ws/api/`, protocols);
        socket.onclose = ({ code }) => resolve(code);
    })"""
    assert tab.evaluate(code, ["token", "1.forged"]) == 3500
    assert tab.evaluate(code, []) == 3500
    with connect(f"ws://127.0.0.1:{port}/ws/api/") as connection:
        with pytest.raises(ConnectionClosed) as end:
            connection.recv(15)
        assert end.value.rcvd is not None and end.value.rcvd.code == 3500


# The count


def test_the_count_in_a_template(shop: Shop, ada: Listener) -> None:
    assert "<footer>Online now: 1</footer>" in shop.shell(
        "from django.shortcuts import render\n"
        "from django.test import RequestFactory\n"
        "print(render(RequestFactory().get('/'), 'footer.html').content.decode())"
    )


def test_503_while_the_site_is_full(shop: Shop, port: int, ada: Listener) -> None:
    assert get(port, "/full/") == 204
    assert "503" in shop.shell(
        "from django.test import RequestFactory\n"
        "from shop import views\n"
        "views.MOST_CONNECTIONS = 1\n"
        "print(views.full(RequestFactory().get('/full/')).status_code)"
    )


def test_faster_on_uvicorn(shop: Shop) -> None:
    program, *options, application = loose("sh", "Faster on uvicorn").split()
    assert (program, options[0], len(options)) == ("uvicorn", "--ws", 2)
    headers = {"Cookie": f"sessionid={shop.login()}"}
    with (
        shop.uvicorn(application, ws=options[1]) as port,
        connect(f"ws://127.0.0.1:{port}/ws/", additional_headers=headers) as client,
    ):
        assert "ws:welcome" in str(client.recv(10))
        assert client.response is not None
        assert "Sec-WebSocket-Extensions" not in client.response.headers, "compression is off"
        shop.shell('from wsadapter import broadcast; broadcast({"type": "deploy", "version": 7})')
        assert json.loads(client.recv(10)) == {"type": "deploy", "version": 7}
