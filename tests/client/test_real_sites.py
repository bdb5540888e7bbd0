"""The client against this package's own server side, on real servers."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.deployment import Deployment, DjangoServer, ServerKind, one_server
from tests.redis_server import RedisServer
from tests.waiting import aeventually
from wsadapter.client import Client, Refused, RequestError, State, connect
from wsadapter.errors import ConnectionClosed, ReadTimeout

WITHIN_SECONDS = 15.0


@dataclass
class Said:
    text: str
    length: int


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def server(
    request: pytest.FixtureRequest,
    redis_server: RedisServer,
    project_database: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DjangoServer]:
    directory = tmp_path_factory.mktemp("client")
    yield from one_server(request.param, directory, project_database, redis_server)


@asynccontextmanager
async def welcomed(server: DjangoServer, path: str, **options: Any) -> AsyncIterator[Client]:
    async with connect(f"{server.base_url}{path}", **options) as socket:
        await aeventually(lambda: socket.client_id, within_seconds=WITHIN_SECONDS)
        yield socket


async def test_typed_requests(server: DjangoServer) -> None:
    async with welcomed(server, "/ws/chat/") as socket:
        said = await socket.request("chat.say", {"text": "hi 🙂"}, result=Said)
        assert said == Said("hi 🙂", 4)
        many = [socket.request("chat.say", {"text": "x" * n}, result=Said) for n in range(50)]
        assert [each.length for each in await asyncio.gather(*many)] == list(range(50))


@pytest.mark.parametrize(
    ("type", "fields", "code", "path"),
    [
        ("chat.say", {"text": 5}, "invalid", "$.text"),
        ("chat.sing", {}, "unknown_type", None),
        ("chat.fail", {"text": "hi"}, "internal_error", None),
    ],
)
async def test_the_servers_errors(
    server: DjangoServer, type: str, fields: dict[str, object], code: str, path: str | None
) -> None:
    async with welcomed(server, "/ws/chat/") as socket:
        with pytest.raises(RequestError) as error:
            await socket.request(type, fields)
        assert error.value.code == code
        assert path is None or error.value.path == path
        assert await socket.request("chat.say", {"text": "goes on"})


async def test_frames_as_they_are(server: DjangoServer) -> None:
    async with welcomed(server, "/ws/echo/") as socket:
        for data in ("text", b"\x00\x01", {"n": 1}):
            await socket.send(data)
            assert await socket.receive(WITHIN_SECONDS) == data


async def test_pushes_to_a_user_by_a_view(server: DjangoServer) -> None:
    login = await asyncio.to_thread(server.login, "anna")
    async with welcomed(server, "/ws/", headers=login.headers) as socket:
        push = {"data": {"type": "order.paid"}, "to": login.user_id, "times": 20}
        await asyncio.to_thread(server.post, "/send/user/", push)
        for number in range(20):
            message = await socket.receive(WITHIN_SECONDS)
            assert message == {"type": "order.paid", "number": number}


async def test_one_who_is_put_out_stays_out(server: DjangoServer) -> None:
    async with welcomed(server, "/ws/") as socket:
        await asyncio.to_thread(server.post, f"/disconnect/client/{socket.client_id}/")
        with pytest.raises(ConnectionClosed) as end:
            await socket.receive(WITHIN_SECONDS)
        assert end.value.code == 3503
        assert socket.state is State.CLOSED


@pytest.mark.parametrize(
    ("path", "options"),
    [("/ws/", {"origin": "https://elsewhere.example"}), ("/ws/nowhere/", {})],
    ids=["a foreign origin", "no such path"],
)
async def test_a_refused_handshake(
    server: DjangoServer, path: str, options: dict[str, str]
) -> None:
    client = connect(f"{server.ws_url}{path}", origin=options.get("origin"))
    with pytest.raises(Refused) as refusal:
        await client.__aenter__()
    assert refusal.value.status == 403


async def test_the_servers_heartbeat_is_content(server: DjangoServer) -> None:
    """Whoever does not answer there is closed one second after the last word."""
    async with welcomed(server, "/ws/held/") as socket:
        client_id = socket.client_id
        with pytest.raises(ReadTimeout):
            await socket.receive(timeout=2.5)
        assert socket.client_id == client_id


@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
async def test_a_server_that_is_killed_and_started_again(
    deploy: Callable[..., Deployment], redis_server: RedisServer, kind: ServerKind
) -> None:
    redis_server.flush()
    deployment = deploy(redis_url=redis_server.url)
    server = await asyncio.to_thread(deployment.server, kind)
    gaps: list[str | None] = []
    options: dict[str, Any] = {"on_gap": gaps.append, "backoff_cap_seconds": 0.2}
    async with welcomed(server, "/ws/echo/", **options) as socket:
        server.kill()
        await aeventually(lambda: socket.state is not State.OPEN)
        for text in "abc":
            await socket.send(text)
        await asyncio.to_thread(deployment.server, kind, port=server.port)
        assert [await socket.receive(WITHIN_SECONDS) for _ in range(3)] == ["a", "b", "c"]
        assert gaps == ["reconnected"]


@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
async def test_a_server_that_hangs_is_left_until_it_is_back(
    deploy: Callable[..., Deployment], redis_server: RedisServer, kind: ServerKind
) -> None:
    redis_server.flush()
    server = await asyncio.to_thread(deploy(redis_url=redis_server.url).server, kind)
    states: list[State] = []
    impatient: dict[str, Any] = {"ping_after_seconds": 0.3, "pong_within_seconds": 2.0}
    async with welcomed(server, "/ws/", on_state=states.append, **impatient) as socket:
        assert states == [State.CONNECTING, State.OPEN]
        server.signal(signal.SIGSTOP)
        await aeventually(lambda: State.WAITING in states, within_seconds=WITHIN_SECONDS)
        server.signal(signal.SIGCONT)
        await aeventually(lambda: socket.client_id, within_seconds=WITHIN_SECONDS)
        assert socket.state is State.OPEN
