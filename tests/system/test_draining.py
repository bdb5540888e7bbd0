"""A server that is told to stop lets its clients go, a few at a time, and is gone in good time."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.deployment import Deployment, DjangoServer, ServerKind
from tests.redis_server import RedisServer
from tests.waiting import aeventually
from wsadapter.draining import REASON
from wsadapter.outlet import CLOSE_SECONDS
from wsadapter.redis_pool import RedisPool
from wsadapter.store import RedisStore
from wsadapter.store.operations import OnlineCount

DRAIN_SECONDS = 2.0
CROWD = 40

#: Between two signals of somebody who does not want to wait.
IMPATIENT_SECONDS = 0.3

#: What each server ends with after SIGTERM, by itself.
EXIT_CODES: dict[ServerKind, int] = {
    "uvicorn": -signal.SIGTERM,
    "uvicorn-frames": -signal.SIGTERM,
    "uvicorn-workers": 0,
    "daphne": 0,
    "hypercorn": 0,
    "hypercorn-workers": 0,
    "granian": 0,
    "gunicorn-asgi": 0,
}
KINDS = list(EXIT_CODES)

#: Those whose supervisor stops listening at once, and does not wait for its workers.
DEAF: set[ServerKind] = {"uvicorn-workers", "hypercorn-workers"}


class End(NamedTuple):
    code: int
    reason: str
    #: Monotonic seconds.
    at: float


@pytest.fixture
def store(redis_server: RedisServer) -> RedisStore:
    return RedisStore(RedisPool({"address": redis_server.url}))


@pytest.fixture
def serve(deploy: Callable[..., Deployment], redis_server: RedisServer) -> Any:
    """Start a server, whose lease outlives every test, with settings of wsadapter."""

    def start(kind: ServerKind, **adapter: Any) -> DjangoServer:
        redis_server.flush()
        settings = {"LEASE_SECONDS": 120, "DRAIN_SECONDS": DRAIN_SECONDS, **adapter}
        return deploy(redis_url=redis_server.url, adapter=settings).server(kind)

    return start


Serve = Callable[..., DjangoServer]


@asynccontextmanager
async def crowd(
    server: DjangoServer, size: int, path: str = "/ws/"
) -> AsyncIterator[list[ClientConnection]]:
    """Clients that have had their welcome."""
    async with AsyncExitStack() as stack:

        async def enter() -> ClientConnection:
            client = await stack.enter_async_context(connection(server, path))
            await client.recv()
            return client

        yield await asyncio.gather(*(enter() for _ in range(size)))


def connection(server: DjangoServer, path: str = "/ws/") -> connect:
    return connect(f"{server.ws_url}{path}", compression=None, open_timeout=30, close_timeout=5)


async def end_of(client: ClientConnection) -> End:
    """How the server closes it, and when."""
    try:
        while True:
            await client.recv()
    except ConnectionClosed as error:
        end = error.rcvd
        return End(end.code if end else 1006, end.reason if end else "", time.monotonic())


async def ends_of(clients: list[ClientConnection]) -> list[End]:
    async with asyncio.timeout(30):
        return await asyncio.gather(*(end_of(client) for client in clients))


async def readiness(server: DjangoServer) -> tuple[int, Any]:
    answer = await asyncio.to_thread(server.get, "/ready/")
    return answer.status, answer.json()


async def exit_code(server: DjangoServer, within_seconds: float) -> int:
    def wait() -> int:
        return server.wait(within_seconds=within_seconds)

    return await asyncio.to_thread(wait)


def assert_a_quiet_end(server: DjangoServer) -> None:
    log = server.log()
    assert "Traceback" not in log
    assert "took too long to shut down" not in log
    assert "Task was destroyed" not in log


@pytest.mark.parametrize("kind", KINDS)
async def test_sigterm_spreads_the_clients_over_the_window(
    serve: Serve, store: RedisStore, kind: ServerKind
) -> None:
    server = serve(kind)
    async with crowd(server, CROWD) as clients:
        assert store.run(OnlineCount()) == CROWD
        assert await readiness(server) == (200, {"ready": True})
        began = time.monotonic()
        # To the workers, too, as systemd does it: they are told twice, and drain all the same.
        os.killpg(server.pid, signal.SIGTERM)
        ends = asyncio.create_task(ends_of(clients))
        if kind not in DEAF:
            await aeventually(lambda: draining(server))
            async with connection(server) as newcomer:
                assert (await end_of(newcomer))[:2] == (3001, REASON)
        assert {end[:2] for end in await ends} == {(3001, REASON)}
        code = await exit_code(server, within_seconds=5)
        assert store.run(OnlineCount()) == 0, "at once, not after a lease"
        assert code == EXIT_CODES[kind]
        assert time.monotonic() - began < DRAIN_SECONDS + 6
    assert_spread([end.at - began for end in ends.result()])
    assert_a_quiet_end(server)


async def test_hypercorns_worker_drains_when_only_its_supervisor_is_told(
    serve: Serve, store: RedisStore
) -> None:
    """Within hypercorn's three seconds, however long the drain could take."""
    server = serve("hypercorn-workers", DRAIN_SECONDS=60)
    async with crowd(server, CROWD) as clients:
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        ends = await ends_of(clients)
        assert {end[:2] for end in ends} == {(3001, REASON)}
        assert await exit_code(server, within_seconds=10) == 0
    assert_spread([end.at - began for end in ends])
    assert store.run(OnlineCount()) == 0
    assert_a_quiet_end(server)


async def test_on_granian_an_ordinary_close_is_quick(serve: Serve) -> None:
    """It does not wait for the client's next message, nor for the time to answer to be over."""
    server = serve("granian")
    async with crowd(server, 10, "/ws/ends/") as clients:
        began = time.monotonic()
        for client in clients:
            await client.send('{"type": "end.close"}')
        ends = await ends_of(clients)
    assert {end.code for end in ends} == {4000}
    assert statistics.median(end.at - began for end in ends) < CLOSE_SECONDS / 2
    assert_a_quiet_end(server)


async def draining(server: DjangoServer) -> bool:
    return await readiness(server) == (503, {"ready": False, "reason": "draining"})


def assert_spread(times: list[float]) -> None:
    """A third of the clients in each third of the window, or not too far from it."""
    first = sum(seconds < DRAIN_SECONDS / 3 for seconds in times)
    last = sum(seconds > DRAIN_SECONDS * 2 / 3 for seconds in times)
    assert first < CROWD * 0.6 and CROWD * 0.15 < last < CROWD * 0.85, sorted(times)


@pytest.mark.parametrize("kind", ["uvicorn", "daphne", "hypercorn"])
async def test_a_second_sigterm_ends_it_at_once(
    serve: Serve, store: RedisStore, kind: ServerKind
) -> None:
    server = serve(kind, DRAIN_SECONDS=60)
    async with crowd(server, 10) as clients:
        ends = asyncio.create_task(ends_of(clients))
        told = time.monotonic()
        server.signal(signal.SIGTERM)
        await aeventually(lambda: draining(server))
        await aeventually(lambda: time.monotonic() - told > IMPATIENT_SECONDS)
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        assert await exit_code(server, within_seconds=10) == EXIT_CODES[kind]
        assert time.monotonic() - began < 5, "not after a minute"
        assert {end.code for end in await ends} == {3001}
    assert store.run(OnlineCount()) == 0
    assert_a_quiet_end(server)


@pytest.mark.parametrize("kind", ["uvicorn", "daphne", "hypercorn"])
async def test_without_clients_it_ends_at_once(serve: Serve, kind: ServerKind) -> None:
    server = serve(kind, DRAIN_SECONDS=60)
    async with crowd(server, 3):
        pass
    server.signal(signal.SIGTERM)
    assert await exit_code(server, within_seconds=10) == EXIT_CODES[kind]
    assert_a_quiet_end(server)


async def test_daphne_under_load_kills_nobody_and_is_gone(serve: Serve, store: RedisStore) -> None:
    """Handlers that hang, a disconnect() that takes ten seconds: each of 500 has two."""
    server = serve("daphne")
    async with crowd(server, 500, "/ws/stubborn/") as clients:
        for client in clients:
            await client.send('{"type": "end.hang"}')
        await aeventually(lambda: server.log().count("hanging: ") == 500)
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        assert {end.code for end in await ends_of(clients)} == {3001}
        assert await exit_code(server, within_seconds=15) == 0
        assert time.monotonic() - began < DRAIN_SECONDS + 8
    assert store.run(OnlineCount()) == 0
    assert_a_quiet_end(server)


@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
async def test_beyond_max_connections_all_are_turned_away(
    serve: Serve, store: RedisStore, kind: ServerKind
) -> None:
    server = serve(kind, MAX_CONNECTIONS=50)
    async with AsyncExitStack() as stack:

        async def enter() -> ClientConnection:
            return await stack.enter_async_context(connection(server))

        clients = await asyncio.gather(*(enter() for _ in range(300)))
        starts = await asyncio.gather(*(start_of(client) for client in clients))
        assert starts.count(3013) == 250
        assert starts.count(None) == store.run(OnlineCount()) == 50
        await clients[starts.index(None)].close()
        await aeventually(lambda: is_let_in(server))
    assert len(re.findall(r"wsadapter.handshake: Refused", server.log())) < 30
    assert_a_quiet_end(server)


async def start_of(client: ClientConnection) -> int | None:
    """The code that it was turned away with, or None for a welcome."""
    try:
        await client.recv()
    except ConnectionClosed as error:
        return error.rcvd.code if error.rcvd else 1006
    return None


async def is_let_in(server: DjangoServer) -> bool:
    async with connection(server) as client:
        return await start_of(client) is None
