"""What `wsadapter_doctor --url` says of servers that do not do what ours do."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import pytest
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from tests.processes import free_port
from wsadapter import Receipt
from wsadapter.doctor import Finding, Verdict, examine, server
from wsadapter.doctor.server import connect_to_server, lost, origin_of, printable_url

FINE, WARNING, ERROR = Verdict


@contextmanager
def serving(handle: Callable[[ServerConnection], Any], **options: Any) -> Iterator[str]:
    """A WebSocket server of any kind; gives its address."""
    port = free_port()
    with serve(handle, "127.0.0.1", port, **options) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{port}/ws/"
        finally:
            running.shutdown()
            thread.join()


def find(url: str, origin: str | None = None) -> list[Finding]:
    return asyncio.run(connect_to_server(url, origin))


def answering(status: HTTPStatus) -> Callable[[ServerConnection, Request], Response]:
    return lambda connection, request: connection.respond(status, "")


def accept(socket: ServerConnection) -> None:
    """Say nothing, until the client goes."""
    for _ in socket:
        pass


def welcome(socket: ServerConnection) -> None:
    socket.send('"hello"')
    socket.send("no JSON")
    socket.send(json.dumps({"type": "ws:welcome", "client": "c1"}))
    accept(socket)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PATIENCE_SECONDS", 0.3)


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (HTTPStatus.UNAUTHORIZED, "login"),
        (HTTPStatus.FORBIDDEN, "ALLOWED_ORIGINS"),
        (HTTPStatus.NOT_FOUND, "Upgrade"),
        (HTTPStatus.OK, "Upgrade"),
        (HTTPStatus.BAD_GATEWAY, "proxy does not reach"),
        (HTTPStatus.SERVICE_UNAVAILABLE, "Start the server"),
        (HTTPStatus.GATEWAY_TIMEOUT, "server's log"),
    ],
    ids=lambda value: str(int(value)) if isinstance(value, HTTPStatus) else "",
)
def test_an_http_answer(status: HTTPStatus, says: str) -> None:
    with serving(accept, process_request=answering(status)) as url:
        (finding,) = find(url)
    assert finding.verdict is ERROR
    assert f"HTTP status {int(status)}" in finding.found
    assert says in finding.advice


@pytest.mark.parametrize(("code", "verdict"), [(3500, WARNING), (3013, ERROR)])
def test_one_that_closes(code: int, verdict: Verdict) -> None:
    with serving(lambda socket: socket.close(code, "not you")) as url:
        (finding,) = find(url)
    assert finding.verdict is verdict
    assert f"{code} (not you)" in finding.found


def test_one_without_a_welcome(impatient: None) -> None:
    with serving(accept) as url:
        (finding,) = find(url)
    assert finding.verdict is WARNING and "no welcome" in finding.found


def test_one_that_does_not_hear_this_process(impatient: None, on_redis: None) -> None:
    with serving(welcome) as url:
        welcomed, back = find(url)
    assert (welcomed.verdict, back.verdict) == (FINE, ERROR)
    assert "another Redis" in back.advice


def test_one_that_shares_only_presence() -> None:
    assert "Presence is shared" in lost(Receipt(processes=0, online=True)).advice


def test_nobody_there() -> None:
    url = f"ws://127.0.0.1:{free_port()}/ws/"
    (finding,) = find(url)
    assert finding.verdict is ERROR
    assert f"{url} cannot be reached" in finding.found


def test_one_that_does_not_answer(impatient: None) -> None:
    held = threading.Event()
    with serving(accept, process_request=lambda *_: held.wait(10) and None) as url:
        (finding,) = find(url)
        held.set()
    assert "did not answer" in finding.found


def test_no_address_of_a_websocket() -> None:
    (finding,) = find("https://shop.example/ws/")
    assert "ws://" in finding.advice


def test_the_origin_is_that_of_a_page_on_the_same_host() -> None:
    seen: list[str | None] = []

    def note(socket: ServerConnection, request: Request) -> None:
        seen.append(request.headers.get("Origin"))

    with serving(lambda socket: socket.close(3500), process_request=note) as url:
        find(url)
        find(url, "https://app.example")
    assert seen == [origin_of(url), "https://app.example"]
    assert origin_of(url) == url.replace("ws:", "http:").removesuffix("/ws/")
    assert origin_of("wss://me:pw@shop.example/ws/") == "https://shop.example"


def test_no_secret_of_the_address_is_shown() -> None:
    url = "wss://me:pw@shop.example/ws/?room=7&token=abc"
    assert printable_url(url) == "wss://shop.example/ws/?room=7&token=***"


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, on_redis: None) -> None:
    monkeypatch.setitem(sys.modules, "websockets.asyncio.client", None)
    monkeypatch.delitem(sys.modules, "wsadapter.doctor.server")
    found = list(examine("ws://127.0.0.1:1/ws/"))[-1]
    assert found.verdict is ERROR and "wsadapter[client]" in found.advice
