"""The admin's page of connections over two server processes: each is asked through the other."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.deployment import Deployment, DjangoServer, Login, run_django
from wsadapter import CloseCode

PATIENCE_SECONDS = 30.0
DISCONNECT = "/admin/wsadapter/connection/disconnect/"

#: Any will do, as long as cookie and form agree.
CSRF_TOKEN = "a" * 32


def next_of(connection: ClientConnection, kind: str) -> Any:
    """Read on to a message of this type."""
    while (message := json.loads(connection.recv(PATIENCE_SECONDS)))["type"] != kind:
        pass
    return message


def open_page(server: DjangoServer, login: Login) -> Any:
    headers = {**login.headers, "Origin": server.base_url}
    return connect(f"{server.ws_url}/wsadapter/admin/", additional_headers=headers)


def disconnect(server: DjangoServer, login: Login, client_id: str) -> int:
    """Press the button of the page; returns the status."""
    headers = {
        "Cookie": f"{login.headers['Cookie']}; csrftoken={CSRF_TOKEN}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    body = urlencode({"csrfmiddlewaretoken": CSRF_TOKEN, "client": client_id})
    return server.request("POST", DISCONNECT, body=body, headers=headers).status


def test_connections_of_another_process_report_and_are_disconnected(
    deployment: Deployment,
) -> None:
    run_django(
        *("createsuperuser", "--noinput", "--username", "root", "--email", "root@example.com"),
        environment=deployment.environment,
    )
    here, there = deployment.server("uvicorn"), deployment.server("daphne")
    root = here.login("root")
    with connect(f"{there.ws_url}/ws/") as visitor, open_page(here, root) as page:
        client_id = next_of(visitor, "ws:welcome")["client"]
        next_of(page, "ws:welcome")
        page.send(json.dumps({"type": "watch"}))
        look = next_of(page, "look")
        assert {node["pid"] for node in look["nodes"]} == {here.pid, there.pid}
        assert client_id in look["clients"]
        reported: set[str] = set()
        while client_id not in reported:
            reported |= {each["client"] for each in next_of(page, "reports")["reports"]}
        assert disconnect(here, root, client_id) == 302
        with suppress(ConnectionClosed):
            while True:
                visitor.recv(PATIENCE_SECONDS)
        assert visitor.close_code == CloseCode.FORCED_OUT
        while client_id in next_of(page, "look")["clients"]:
            pass


def test_nobody_else_is_let_in(deployment: Deployment) -> None:
    server = deployment.server("uvicorn")
    with open_page(server, server.login("ada")) as page, suppress(ConnectionClosed):
        page.recv(PATIENCE_SECONDS)
    assert page.close_code == CloseCode.NOT_PERMITTED
