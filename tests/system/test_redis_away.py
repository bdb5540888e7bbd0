"""Redis does not start, goes away, comes back with empty memory: what users and callers see."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.deployment import Deployment, DjangoServer, ServerKind
from tests.processes import free_port
from tests.redis_server import RedisServer
from tests.system.client import Client, connected
from tests.waiting import eventually

ADAPTER = {"REDIS_TIMEOUT": 1, "BEAT_SECONDS": 1, "LEASE_SECONDS": 4}
DATA = {"type": "order.paid"}

#: What is promised: delivery is back this long after Redis is.
BACK_WITHIN_SECONDS = 5.0


@contextmanager
def browsers(server: DjangoServer, count: int) -> Iterator[list[Client]]:
    with ExitStack() as stack:
        yield [stack.enter_context(connected(server, "/ws/")) for _ in range(count)]


def until(browser: Client, kind: str) -> None:
    """Read until a message of that type; others may come before it."""
    while browser.receive()["type"] != kind:
        pass


def test_without_redis_at_the_start_nothing_hangs(deploy: Callable[..., Deployment]) -> None:
    url = f"redis://:secret@127.0.0.1:{free_port()}/0"
    server = deploy(redis_url=url, adapter=ADAPTER).server("uvicorn")
    with pytest.raises(ConnectionClosed) as closed, connect(f"{server.ws_url}/ws/") as socket:
        socket.recv(5)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 3004
    for answer in (server.post("/send/all/", {"data": DATA}), server.get("/counts/")):
        assert answer.json()["error"] == "StoreUnavailable"
        assert "127.0.0.1" in answer.json()["message"]
        assert "secret" not in answer.text
    assert "secret" not in server.log()
    assert "Traceback" not in server.log()


@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
def test_sockets_outlive_a_restart_of_redis(
    deploy: Callable[..., Deployment], own_redis: RedisServer, kind: ServerKind
) -> None:
    deployment = deploy(redis_url=own_redis.url, adapter=ADAPTER)
    server, other = deployment.server(kind), deployment.server(kind)
    with browsers(server, 3) as here, browsers(other, 2) as there:
        own_redis.stop()
        answer = server.post("/send/all/", {"data": DATA})
        assert answer.json()["error"] == "StoreUnavailable"
        own_redis.start()
        back = time.monotonic()
        for browser in (*here, *there):
            until(browser, "ws:gap")
        assert server.post("/send/all/", {"data": DATA}).json()["processes"] == 2
        for browser in (*here, *there):
            until(browser, "order.paid")
        assert time.monotonic() - back < BACK_WITHIN_SECONDS
        eventually(lambda: other.get("/counts/").json()["clients"] == 5)
        # The sockets are the same ones, both ways.
        here[0].send({"type": "ws:ping"})
        assert here[0].receive() == {"type": "ws:pong"}
    eventually(lambda: server.get("/counts/").json()["clients"] == 0)
    for process in (server, other):
        assert process.log().count(f"Redis at {own_redis.url} is away") == 1
        assert process.log().count(f"Redis at {own_redis.url} is back") == 1
        assert "Traceback" not in process.log()


@pytest.mark.parametrize("layer", ["channels-pubsub", "channels-core"])
def test_sockets_outlive_a_restart_of_redis_on_the_stock_layers(
    deploy: Callable[..., Deployment], own_redis: RedisServer, layer: str
) -> None:
    server = deploy(redis_url=own_redis.url, layer=layer, adapter=ADAPTER).server("uvicorn")

    def delivered() -> bool:
        sent = server.post("/send/all/", {"data": DATA})
        if sent.status != 200:
            return False
        browser.send({"type": "ws:ping"})
        kinds = iter(browser.receive, {"type": "ws:pong"})
        return any(message["type"] == "order.paid" for message in kinds)

    with connected(server, "/ws/") as browser:
        own_redis.stop()
        own_redis.start()
        eventually(delivered, within_seconds=15)
        eventually(lambda: server.get("/counts/").json()["clients"] == 1)


@pytest.mark.parametrize("layer", ["wsadapter-redis", "channels-pubsub"])
def test_junk_on_a_redis_channel_disconnects_nobody(
    deploy: Callable[..., Deployment], redis_server: RedisServer, layer: str
) -> None:
    redis_server.flush()
    server = deploy(redis_url=redis_server.url, layer=layer).server("uvicorn")
    with browsers(server, 20) as opened:
        with redis_server.client() as client:
            for name in client.pubsub_channels("*"):
                for junk in (b"\xc1junk", b"", json.dumps([1]).encode(), b"\x81\xa1a\x01"):
                    client.publish(name, junk)
        server.post("/send/all/", {"data": DATA})
        for browser in opened:
            until(browser, "order.paid")
    warnings = [line for line in server.log().splitlines() if "cannot be" in line]
    assert len(warnings) == 1
