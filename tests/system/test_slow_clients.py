"""A client that does not read costs its bound in memory, delays nobody, and goes alone."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.deployment import Deployment, DjangoServer, ServerKind
from tests.redis_server import RedisServer
from tests.system.client import connected
from tests.waiting import eventually

BOUND_BYTES = 256 * 1024
FRAME_BYTES = 64 * 1024
#: More than the bound and all that kernels keep for two sockets on one machine.
FRAMES = 200


@contextmanager
def client_that_never_reads(server: DjangoServer) -> Iterator[None]:
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", server.port))
        handshake = [
            "GET /ws/ HTTP/1.1",
            f"Host: 127.0.0.1:{server.port}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
        ]
        deaf.sendall("\r\n".join([*handshake, "", ""]).encode())
        yield


@pytest.mark.parametrize("kind", ["daphne", "uvicorn", "uvicorn-frames"])
def test_a_client_that_does_not_read_is_closed_alone(
    deploy: Callable[..., Deployment], redis_server: RedisServer, kind: ServerKind
) -> None:
    redis_server.flush()
    deployment = deploy(redis_url=redis_server.url, adapter={"MAX_OUTBOX_SIZE": BOUND_BYTES})
    server = deployment.server(kind)
    with connected(server, "/ws/") as browser, client_that_never_reads(server):
        eventually(lambda: server.get("/counts/").json()["clients"] == 2)
        for number in range(FRAMES):
            server.post("/send/all/", {"data": {"number": number, "pad": "x" * FRAME_BYTES}})
            assert browser.receive()["number"] == number
        eventually(lambda: server.get("/counts/").json()["clients"] == 1, within_seconds=20)
        eventually(lambda: server.log().count("ended with code 3008 (too slow") == 1)
