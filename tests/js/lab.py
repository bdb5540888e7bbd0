"""A browser and a small server for the tests of socket.js.

Both live on an event loop in a thread of their own: Playwright would otherwise keep a loop running
in the tests' thread, where Django and pytest-asyncio then refuse to work.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

from playwright.async_api import Browser, Page, async_playwright
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from tests.conftest import CHROMIUM_ARGUMENTS

T = TypeVar("T")

WITHIN_SECONDS = 20
HERE = Path(__file__).parent
SOCKET_JS = HERE.parents[1] / "wsadapter/static/wsadapter/socket.js"
PAGE = """<!doctype html><meta charset="utf-8"><title>lab</title><link rel="icon" href="data:,">
<script type="importmap">{"imports": {"wsadapter": "/static/wsadapter/socket.js"}}</script>
<script type="module">
  import * as wsadapter from "wsadapter";
  import * as fakes from "/fakes.js";
  Object.assign(window, wsadapter, fakes);
</script>"""


class Lab:
    def __init__(self, loop: asyncio.AbstractEventLoop, browser: Browser, site: Site) -> None:
        self.loop = loop
        self.browser = browser
        self.site = site

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        timed = asyncio.wait_for(coroutine, WITHIN_SECONDS)
        return asyncio.run_coroutine_threadsafe(timed, self.loop).result()

    @contextlib.contextmanager
    def tab(self, path: str = "/") -> Iterator[Tab]:
        page = self.wait(self.browser.new_page())
        try:
            tab = Tab(self, page)
            tab.go(path)
            yield tab
        finally:
            self.wait(page.close())


class Tab:
    """A page that has everything of socket.js and fakes.js in its global scope."""

    def __init__(self, lab: Lab, page: Page) -> None:
        self.lab = lab
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(error.message))

    def go(self, path: str) -> None:
        self.lab.wait(self.page.goto(self.lab.site.url + path))

    def run(self, body: str, argument: Any = None) -> Any:
        """Run the body of an async function of `argument`; what it returns comes back."""
        return self.lab.wait(self.page.evaluate(f"async (argument) => {{ {body} }}", argument))

    def until(self, expression: str) -> None:
        self.lab.wait(self._until(expression))

    async def _until(self, expression: str) -> None:
        await self.page.wait_for_function(expression)

    def accepted(self) -> Peer:
        """The server's end of the next connection."""
        return Peer(self.lab, self.lab.wait(self.lab.site.connections.get()))


class Peer:
    def __init__(self, lab: Lab, connection: ServerConnection) -> None:
        self.lab = lab
        self.connection = connection

    @property
    def path(self) -> str:
        assert self.connection.request is not None
        return self.connection.request.path

    def welcome(self, client_id: str = "c1") -> None:
        self.say({"type": "ws:welcome", "client": client_id})
        assert self.heard() == {"type": "ws:pong"}

    def say(self, message: Any) -> None:
        self.say_raw(json.dumps(message))

    def say_raw(self, frame: str | bytes) -> None:
        self.lab.wait(self.connection.send(frame))

    def heard(self) -> Any:
        return json.loads(self.heard_raw())

    def heard_raw(self) -> str | bytes:
        return self.lab.wait(self.connection.recv())

    def close(self, code: int, reason: str = "") -> None:
        self.lab.wait(self.connection.close(code, reason))

    def cut(self) -> None:
        """End the TCP connection without a closing handshake: 1006 for the browser."""
        self.lab.loop.call_soon_threadsafe(self.connection.transport.abort)

    def close_code(self) -> int | None:
        self.lab.wait(self.connection.wait_closed())
        return self.connection.close_code


class Site:
    """Serves the page, socket.js and fakes.js; every other path is a WebSocket."""

    def __init__(self) -> None:
        self.connections: asyncio.Queue[ServerConnection] = asyncio.Queue()
        self.pages: dict[str, tuple[str, dict[str, str]]] = {"/": (PAGE, {})}
        self.url = ""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Site]:
        async with serve(self._connected, "127.0.0.1", 0, process_request=self._answer) as server:
            self.url = address(server)
            yield self

    async def _connected(self, connection: ServerConnection) -> None:
        self.connections.put_nowait(connection)
        await connection.wait_closed()

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path in self.pages:
            body, headers = self.pages[request.path]
            return response(body, "text/html; charset=utf-8", headers)
        if request.path == "/static/wsadapter/socket.js":
            return response(SOCKET_JS.read_text(), "text/javascript", {})
        if request.path == "/fakes.js":
            return response((HERE / "fakes.js").read_text(), "text/javascript", {})
        return None


def address(server: Server) -> str:
    host, port = next(iter(server.sockets)).getsockname()[:2]
    return f"http://{host}:{port}"


def response(body: str, content_type: str, headers: dict[str, str]) -> Response:
    content = body.encode()
    length = str(len(content))
    fields = {"Content-Type": content_type, "Content-Length": length, "Connection": "close"}
    return Response(HTTPStatus.OK, "OK", Headers({**fields, **headers}), content)


@contextlib.contextmanager
def open_lab(executable: str) -> Iterator[Lab]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="browser lab")
    thread.start()
    stack = contextlib.AsyncExitStack()
    try:
        yield asyncio.run_coroutine_threadsafe(_furnish(stack, executable), loop).result()
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _furnish(stack: contextlib.AsyncExitStack, executable: str) -> Lab:
    site = await stack.enter_async_context(Site().running())
    playwright = await stack.enter_async_context(async_playwright())
    browser = await playwright.chromium.launch(executable_path=executable, args=CHROMIUM_ARGUMENTS)
    stack.push_async_callback(browser.close)
    return Lab(asyncio.get_running_loop(), browser, site)
