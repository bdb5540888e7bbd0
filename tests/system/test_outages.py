"""Who comes, and who sends, while Redis is away or silent: an answer in time, and no scar left."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.deployment import Deployment, DjangoServer
from tests.redis_server import RedisServer
from tests.system.client import Client, connected
from tests.waiting import eventually

TIMEOUT_SECONDS = 1
ADAPTER = {"REDIS_TIMEOUT": TIMEOUT_SECONDS, "BEAT_SECONDS": 1, "LEASE_SECONDS": 4}
#: For what a request and a handshake take on a busy machine.
SLACK_SECONDS = 2.0

DATA = {"type": "order.paid"}


def arrive(server: DjangoServer, headers: Mapping[str, str]) -> int:
    """Connect; the close code, or 0 for a welcome."""
    with connect(f"{server.ws_url}/ws/", additional_headers=headers) as socket:
        try:
            socket.recv(timeout=10)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006
    return 0


def in_time(action: Callable[[], object]) -> object:
    began = time.monotonic()
    outcome = action()
    assert time.monotonic() - began < TIMEOUT_SECONDS + SLACK_SECONDS
    return outcome


def error_of_a_send(server: DjangoServer, view: str) -> str:
    return str(server.post(f"/{view}/all/", {"data": DATA}).json()["error"])


def check_that_everybody_is_answered_in_time(
    server: DjangoServer, headers: Mapping[str, str]
) -> None:
    assert in_time(lambda: arrive(server, headers)) == 3004
    for view in ("send", "asend"):
        assert in_time(lambda view=view: error_of_a_send(server, view)) == "StoreUnavailable"


def until(browser: Client, kind: str) -> None:
    while browser.receive()["type"] != kind:
        pass


def test_who_was_turned_away_during_an_outage_is_served_after_it(
    deploy: Callable[..., Deployment], own_redis: RedisServer
) -> None:
    server = deploy(redis_url=own_redis.url, adapter=ADAPTER).server("uvicorn")
    anna, ben = server.login("anna").headers, server.login("ben")
    with connected(server, "/ws/", headers=anna) as stays:
        for _ in range(2):
            own_redis.stop()
            check_that_everybody_is_answered_in_time(server, ben.headers)
            own_redis.start()
            until(stays, "ws:gap")
            # The name of this user was asked for in vain before.
            eventually(lambda: arrive(server, ben.headers) == 0, within_seconds=5)
            with connected(server, "/ws/", headers=ben.headers) as came_back:
                answer = server.post("/send/user/", {"to": ben.user_id, "data": DATA})
                assert answer.json()["processes"] == 1
                assert came_back.receive() == DATA
    assert server.log().count(f"Redis at {own_redis.url} is away") == 2
    assert server.log().count(f"Redis at {own_redis.url} is back.") == 2


@pytest.mark.parametrize("command", ["send", "asend"])
def test_a_redis_that_hangs_holds_nobody_up(
    deploy: Callable[..., Deployment], own_redis: RedisServer, command: str
) -> None:
    server = deploy(redis_url=own_redis.url, adapter=ADAPTER).server("uvicorn")
    with connected(server, "/ws/") as stays, own_redis.client() as client:
        client.client_pause(int((TIMEOUT_SECONDS + 1) * 1000))
        assert in_time(lambda: error_of_a_send(server, command)) == "StoreUnavailable"
        eventually(
            lambda: server.post(f"/{command}/all/", {"data": DATA}).status == 200,
            within_seconds=TIMEOUT_SECONDS + 5,
        )
        until(stays, "order.paid")
