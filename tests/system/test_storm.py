"""A storm: hundreds at the door at once. Whoever is inside already is not forgotten meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager

import pytest

from benchmarks.load import Manners
from benchmarks.storm import Storm
from tests.deployment import Deployment, DjangoServer, ServerKind
from tests.redis_server import RedisServer
from wsadapter.client import State, connect
from wsadapter.close_codes import CloseCode
from wsadapter.redis_pool import RedisPool
from wsadapter.store import RedisStore
from wsadapter.store.operations import OnlineCount

#: The benchmark has 5 000.
NEWCOMERS = 1500
#: So many have a seat, the two who are inside already among them.
SEATS = 1000

#: A client that is not asked for life, or not heard, for so long is taken for dead.
HEARTBEAT = {"HEARTBEAT_INTERVAL": 1, "HEARTBEAT_TIMEOUT": 2}


@pytest.fixture
def store(redis_server: RedisServer) -> Iterator[RedisStore]:
    pool = RedisPool({"address": redis_server.url})
    with closing(pool.sync_client()):
        yield RedisStore(pool)


@pytest.fixture
def serve(deploy: Callable[..., Deployment], redis_server: RedisServer) -> Serve:
    def start(kind: ServerKind = "uvicorn-frames", **adapter: int) -> DjangoServer:
        redis_server.flush()
        settings = HEARTBEAT | adapter
        return deploy(redis_url=redis_server.url, adapter=settings).server(kind)

    return start


Serve = Callable[..., DjangoServer]


@contextmanager
def storm_at(server: DjangoServer) -> Iterator[Storm]:
    """One that has a client inside, who sends pings and waits for each to be answered."""
    with closing(Storm(server.port, Manners("/ws/", greetings=1))) as storm:
        storm.enter()
        yield storm


@asynccontextmanager
async def held_client(server: DjangoServer) -> AsyncIterator[list[State]]:
    """A client that answers heartbeats, and so is held to it; gives the states that it enters."""
    states: list[State] = []
    async with connect(f"{server.ws_url}/ws/", on_state=states.append):
        yield states


async def test_all_get_in_and_nobody_inside_is_taken_for_dead(
    serve: Serve, store: RedisStore
) -> None:
    server = serve()
    with storm_at(server) as storm:
        async with held_client(server) as states:
            await asyncio.to_thread(storm.rage, NEWCOMERS)
            assert storm.accepted == NEWCOMERS, storm.refusals[:3]
            assert storm.heart.trips()
            assert states == [State.CONNECTING, State.OPEN]
            assert store.run(OnlineCount()) == NEWCOMERS + 2
    assert "no pong" not in server.log()


def test_daphne_lets_all_in_when_it_is_started_for_it(serve: Serve, store: RedisStore) -> None:
    """As in docs/deployment.md: by itself it refuses whom it cannot take within five seconds."""
    server = serve("daphne", HEARTBEAT_INTERVAL=60)  # slow as it is, it would ask newcomers
    with storm_at(server) as storm:
        storm.rage(NEWCOMERS)
        assert storm.accepted == NEWCOMERS, storm.refusals[:3]
        assert storm.heart.trips()
        assert store.run(OnlineCount()) == NEWCOMERS + 1


async def test_those_for_whom_there_is_no_seat_are_told_so(serve: Serve, store: RedisStore) -> None:
    server = serve(MAX_CONNECTIONS=SEATS)
    with storm_at(server) as storm:
        async with held_client(server) as states:
            await asyncio.to_thread(storm.rage, NEWCOMERS)
            assert storm.accepted == SEATS - 2
            code = int(CloseCode.TOO_MANY).to_bytes(2)
            told = f"the server closed a new connection: {code + b'this server is full'!r}"
            assert storm.refusals == [told] * (NEWCOMERS - storm.accepted)
            assert storm.heart.trips()
            assert states == [State.CONNECTING, State.OPEN]
            assert store.run(OnlineCount()) == SEATS
