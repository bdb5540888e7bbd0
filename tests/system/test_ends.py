"""However a connection ends on a real server, it is cleaned up once and the count is right."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.deployment import Deployment, DjangoServer, ServerKind, one_server
from tests.redis_server import RedisServer
from tests.system.client import Closed, connected
from tests.waiting import aeventually, eventually
from wsadapter.redis_pool import RedisPool
from wsadapter.store import RedisStore
from wsadapter.store.operations import OnlineCount, OnlineUserCount

LEASE_SECONDS = 3.0
SHORT_LEASE = {"LEASE_SECONDS": LEASE_SECONDS, "BEAT_SECONDS": 0.5}

PATH = "/ws/ends/"


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def server(
    request: pytest.FixtureRequest,
    redis_server: RedisServer,
    project_database: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DjangoServer]:
    directory = tmp_path_factory.mktemp("ends")
    yield from one_server(request.param, directory, project_database, redis_server)


@pytest.fixture
def store(redis_server: RedisServer) -> RedisStore:
    return RedisStore(RedisPool({"address": redis_server.url}))


@pytest.fixture
def site(deploy: Callable[..., Deployment], redis_server: RedisServer) -> Deployment:
    """A deployment of processes that may die."""
    redis_server.flush()
    return deploy(redis_url=redis_server.url, adapter=SHORT_LEASE)


def count(server: DjangoServer) -> int:
    return int(server.get("/counts/").json()["clients"])


def disconnects(server: DjangoServer, client_id: str) -> list[int]:
    """The codes that disconnect() of that client's consumer was called with."""
    return [int(code) for code in re.findall(rf"disconnect\((\d+)\) of {client_id}", server.log())]


def abnormal_ends(server: DjangoServer, client_id: str) -> list[int]:
    """The codes of the log lines about that client's end."""
    line = rf"WARNING wsadapter.connection: .*{client_id}.* ended with code (\d+)"
    return [int(code) for code in re.findall(line, server.log())]


def assert_ended(server: DjangoServer, client_id: str, code: int, *, logged: bool = True) -> None:
    eventually(lambda: disconnects(server, client_id))
    eventually(lambda: count(server) == 0)
    if logged:  # the line is written last
        eventually(lambda: abnormal_ends(server, client_id))
    assert disconnects(server, client_id) == [code]
    assert abnormal_ends(server, client_id) == ([code] if logged else [])


# The process lives


def test_the_client_closes(server: DjangoServer) -> None:
    with connected(server, PATH) as client:
        assert count(server) == 1
    assert_ended(server, client.id, 1000, logged=False)


def test_the_client_is_cut_off(server: DjangoServer) -> None:
    with connected(server, PATH) as client:
        client.reset()
        assert_ended(server, client.id, 1006)


def test_the_consumer_closes(server: DjangoServer) -> None:
    with connected(server, PATH) as client:
        client.send({"type": "end.close"})
        assert client.closed() == Closed(4000, "as you wish")
    assert_ended(server, client.id, 4000)


def test_a_handler_raises_and_the_connection_lives(server: DjangoServer) -> None:
    with connected(server, PATH) as client:
        assert client.request({"type": "end.raise", "id": 1})["code"] == "internal_error"
        assert client.request({"type": "end.raise", "id": 2})["id"] == 2
        assert count(server) == 1
    assert_ended(server, client.id, 1000, logged=False)
    assert server.log().count(f"'end.raise' of client {client.id}") == 2


def test_the_client_answers_no_ping(server: DjangoServer) -> None:
    with connected(server, "/ws/held/") as client:
        assert client.closed().code == 3012
    assert_ended(server, client.id, 3012)


def test_the_client_answers_pings(server: DjangoServer) -> None:
    with connected(server, "/ws/held/") as client:
        for _ in range(3):
            assert client.next_frame() == {"type": "ws:ping"}
            client.send({"type": "ws:pong"})
        assert count(server) == 1
    assert_ended(server, client.id, 1000, logged=False)


def test_the_client_neither_answers_nor_reads(server: DjangoServer) -> None:
    """A laptop that was shut: nobody answers the close frame either."""
    with Frozen(server, "/ws/held/") as client_id:
        assert_ended(server, client_id, 3012)


class Frozen:
    """A client that reads its welcome and nothing after it."""

    def __init__(self, server: DjangoServer, path: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=15)
        lines = [
            f"GET {path} HTTP/1.1",
            *("Host: 127.0.0.1", "Connection: Upgrade", "Upgrade: websocket"),
            *("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
        ]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())

    def __enter__(self) -> str:
        received = b""
        while not (welcome := re.search(rb'"client":"([^"]+)"', received)):
            received += self._socket.recv(4096)
        return welcome[1].decode()

    def __exit__(self, *error: object) -> None:
        self._socket.close()


def test_the_client_leaves_while_its_handler_hangs(server: DjangoServer) -> None:
    with connected(server, PATH) as client:
        client.send({"type": "end.hang"})
        eventually(lambda: f"hanging: {client.id}" in server.log())
    assert_ended(server, client.id, 1000, logged=False)
    assert f"A handler of client {client.id} did not end" in server.log()


def test_a_logout_closes_the_connections_of_its_session_only(server: DjangoServer) -> None:
    here, elsewhere = server.login("anna"), server.login("anna")
    with (
        connected(server, PATH, headers=here.headers) as client,
        connected(server, PATH, headers=elsewhere.headers) as other,
    ):
        assert server.post("/logout/", headers=here.headers).status == 200
        assert client.closed().code == 3500
        assert other.request({"type": "end.raise", "id": 1})["id"] == 1
        eventually(lambda: count(server) == 1)
    assert_ended(server, client.id, 3500)


def test_nothing_of_this_left_a_traceback_but_the_handlers_own(server: DjangoServer) -> None:
    log = server.log()
    assert log.count("Traceback") == log.count("RuntimeError: a secret of the server")


# The process ends


@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
def test_sigterm(site: Deployment, store: RedisStore, kind: ServerKind) -> None:
    server = site.server(kind)
    with connected(server, PATH) as one, connected(server, PATH) as other:
        other.send({"type": "end.hang"})
        eventually(lambda: f"hanging: {other.id}" in server.log())
        server.terminate(within_seconds=10)
        assert one.closed().code == other.closed().code == 3001
    assert store.run(OnlineCount()) == 0, "at once, not after a lease"
    for client in (one, other):
        assert disconnects(server, client.id) == [3001]
        assert abnormal_ends(server, client.id) == []
    assert "Traceback" not in server.log()


@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
async def test_after_kill_9_the_count_is_the_truth_within_one_lease(
    site: Deployment, store: RedisStore, kind: ServerKind
) -> None:
    killed, survivor = site.server(kind), site.server(kind)
    lost, kept = killed.login("lost"), killed.login("kept")
    async with (
        crowd(killed, 100, {0: lost.headers, 1: kept.headers}),
        crowd(survivor, 100, {0: kept.headers}),
    ):
        assert store.run(OnlineCount()) == 200
        assert store.run(OnlineUserCount()) == 2
        killed.signal(signal.SIGKILL)
        counts = []
        await aeventually(
            lambda: counts.append(store.run(OnlineCount())) or counts[-1] == 100,
            within_seconds=LEASE_SECONDS + 0.5,
        )
        assert set(counts) <= {100, 200}, "never anything but the old truth and the new one"
        assert store.run(OnlineUserCount()) == 1
        assert survivor.get("/online/").json()["users"] == [kept.user_id]
    await aeventually(lambda: store.run(OnlineCount()) == 0)
    assert "Traceback" not in killed.log() + survivor.log()


@asynccontextmanager
async def crowd(
    server: DjangoServer, size: int, headers: dict[int, dict[str, str]]
) -> AsyncIterator[None]:
    """Connections that have had their welcome; some of them are logged in."""

    async def enter(number: int) -> None:
        websocket = await stack.enter_async_context(
            connect(
                f"{server.ws_url}/ws/",
                additional_headers=headers.get(number),
                compression=None,
                open_timeout=20,
            )
        )
        await websocket.recv()

    async with AsyncExitStack() as stack:
        await asyncio.gather(*(enter(number) for number in range(size)))
        yield


@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
def test_a_process_that_was_stopped_for_longer_than_its_lease_comes_back(
    site: Deployment, store: RedisStore, kind: ServerKind
) -> None:
    server = site.server(kind)
    with connected(server, PATH) as client:
        server.signal(signal.SIGSTOP)
        eventually(lambda: store.run(OnlineCount()) == 0)
        server.signal(signal.SIGCONT)
        eventually(lambda: store.run(OnlineCount()) == 1)
        assert client.request({"type": "end.raise", "id": 1})["id"] == 1
    assert_ended(server, client.id, 1000, logged=False)
    assert "The lease lapsed; connections counted anew: 1." in server.log()


@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
def test_redis_away_at_connect(
    deploy: Callable[..., Deployment], own_redis: RedisServer, kind: ServerKind
) -> None:
    server = deploy(redis_url=own_redis.url, adapter=SHORT_LEASE).server(kind)
    own_redis.stop()
    with pytest.raises(AssertionError, match="3004"), connected(server, PATH):
        pass
    assert "Traceback" not in server.log()
    own_redis.start()
    eventually(lambda: accepted(server))


def accepted(server: DjangoServer) -> bool:
    try:
        with connected(server, PATH):
            return True
    except AssertionError:
        return False
