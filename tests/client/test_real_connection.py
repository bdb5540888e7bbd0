"""The client against a real WebSocket server."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidURI

from tests.client.server import Site, site
from tests.processes import ROOT
from tests.system.test_prepared_frames import self_signed
from wsadapter.client import Client, ConnectTimeout, Refused, State, connect
from wsadapter.close_codes import ClosedBy
from wsadapter.errors import ConnectionClosed

#: Real time passes here: comes back at once, or not while a test runs.
SOON = {"backoff_floor_seconds": 0.0, "backoff_base_seconds": 0.001}


@pytest.fixture
async def server() -> AsyncIterator[Site]:
    async with site() as running:
        yield running


async def test_a_whole_conversation(server: Site) -> None:
    async with connect(f"{server.url}?page=1") as socket:
        peer = await server.accepted()
        assert peer.request.path == "/ws/?page=1"
        assert "Sec-WebSocket-Extensions" not in peer.request.headers
        assert "Origin" not in peer.request.headers
        await peer.welcome("c1")
        assert (socket.state, socket.client_id) == (State.OPEN, "c1")

        await peer.say({"type": "ws:ping"})
        assert await peer.heard() == {"type": "ws:pong"}

        asking = asyncio.create_task(socket.request("chat.say", {"text": "hi 🙂"}))
        assert await peer.heard() == {"text": "hi 🙂", "type": "chat.say", "id": 1}
        await peer.say({"type": "ws:reply", "id": 1, "result": {"at": 5}})
        assert await asking == {"at": 5}

        for data in (b"\x01\x02", "", "text", {"type": "a"}):
            await socket.send(data)
        assert [await peer.heard_raw() for _ in range(4)] == [
            b"\x01\x02",
            "",
            "text",
            '{"type":"a"}',
        ]

        await peer.say({"type": "ws:batch", "messages": [{"type": "a"}, {"type": "b"}]})
        await peer.connection.send(b"\x00\x01")
        await peer.connection.send("{junk")
        received = [await socket.receive(10) for _ in range(4)]
        assert received == [{"type": "a"}, {"type": "b"}, b"\x00\x01", "{junk"]

        await socket.close(4500, "enough")
        assert await peer.close_code() == 4500


async def test_comes_back_after_a_restart_and_a_cut_and_stays_away_when_forced_out(
    server: Site,
) -> None:
    gaps: list[str | None] = []
    async with connect(server.url, on_gap=gaps.append, **SOON) as socket:
        peer = await server.accepted()
        await peer.welcome()
        await peer.close(3001, "shutdown")
        peer = await server.accepted()
        await peer.welcome()
        peer.cut()
        peer = await server.accepted()
        await peer.welcome()
        await peer.close(3503, "replaced")
        with pytest.raises(ConnectionClosed) as end:
            await socket.receive(10)
    assert (end.value.code, end.value.reason) == (3503, "replaced")
    assert end.value.closed_by is ClosedBy.SERVER
    assert gaps == ["reconnected"] * 2


async def test_iteration_until_the_server_has_said_all(server: Site) -> None:
    async with connect(server.url) as socket:
        peer = await server.accepted()
        for number in range(50):
            await peer.say(number)
        await peer.close(1000)
        assert [message async for message in socket] == list(range(50))


async def test_what_many_tasks_send_arrives_once_and_in_each_ones_order(server: Site) -> None:
    async def send_all(socket: Client, name: str) -> None:
        for number in range(100):
            await socket.send([name, number])

    async with connect(server.url, max_queued=10) as socket:
        peer = await server.accepted()
        sending = asyncio.gather(*(send_all(socket, name) for name in "abc"))
        heard = [await peer.heard() for _ in range(300)]
        await sending
    for name in "abc":
        assert [number for who, number in heard if who == name] == list(range(100))


async def test_each_attempt_has_a_fresh_ticket(server: Site) -> None:
    tickets = iter(range(10))

    async def headers() -> dict[str, str]:
        return {"Authorization": f"Bearer {next(tickets)}"}

    def url() -> str:
        return f"{server.url}?ticket={next(tickets)}".replace("ws://", "http://")

    async with connect(url, headers=headers, origin="https://shop.example", **SOON):
        first = await server.accepted()
        first.cut()
        second = await server.accepted()
    assert [peer.request.path for peer in (first, second)] == ["/ws/?ticket=0", "/ws/?ticket=2"]
    assert [peer.request.headers["Authorization"] for peer in (first, second)] == [
        "Bearer 1",
        "Bearer 3",
    ]
    assert first.request.headers["Origin"] == "https://shop.example"


async def test_a_token_among_the_subprotocols(server: Site) -> None:
    async with connect(server.url, subprotocols=("token", "secret")):
        peer = await server.accepted()
        assert peer.request.headers["Sec-WebSocket-Protocol"] == "token, secret"
        assert peer.connection.subprotocol == "token"


async def test_a_message_that_is_too_large_ends_it(server: Site) -> None:
    async with connect(server.url, max_size=1_000) as socket:
        peer = await server.accepted()
        await peer.say("x" * 2_000)
        with pytest.raises(ConnectionClosed) as end:
            await socket.receive(10)
        assert (end.value.code, end.value.closed_by) == (1009, ClosedBy.CLIENT)
        assert await peer.close_code() == 1009


async def test_a_refusal_is_final_and_an_outage_is_not(server: Site) -> None:
    server.statuses.extend([503, 502])
    async with connect(server.url, **SOON) as socket:
        assert socket.state is State.OPEN
    server.statuses.append(403)
    with pytest.raises(Refused) as refusal:
        await connect(server.url).__aenter__()
    assert refusal.value.status == 403


async def test_nobody_listens(server: Site) -> None:
    with pytest.raises(ConnectTimeout, match=r"The last attempt: .*Connect call failed"):
        await connect("ws://127.0.0.1:9", connect_within_seconds=0.5, **SOON).__aenter__()


async def test_a_server_that_does_not_speak_websocket() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 smtp.example ESMTP\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as smtp:
        port = smtp.sockets[0].getsockname()[1]
        with pytest.raises(ConnectTimeout):
            await connect(f"ws://127.0.0.1:{port}", connect_within_seconds=0.2).__aenter__()


async def test_a_server_that_never_answers_leaves_nothing_behind() -> None:
    connected = asyncio.Event()
    gone = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read()
        writer.close()
        gone.set()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as mute:
        port = mute.sockets[0].getsockname()[1]
        entering = asyncio.create_task(connect(f"ws://127.0.0.1:{port}").__aenter__())
        await connected.wait()
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        async with asyncio.timeout(10):
            await gone.wait()


async def test_a_silent_server_is_left(server: Site) -> None:
    short = {"ping_after_seconds": 0.01, "pong_within_seconds": 0.01}
    async with connect(server.url, **short, **SOON):
        peer = await server.accepted()
        assert await peer.heard() == {"type": "ws:ping"}
        assert await peer.close_code() == 3012
        await server.accepted()


async def test_a_server_that_does_not_read_is_left_in_time(server: Site) -> None:
    async with connect(server.url, close_within_seconds=0.05, **SOON) as socket:
        peer = await server.accepted()
        peer.connection.transport.pause_reading()
        for _ in range(10):
            await socket.send(b"x" * 1_000_000)
    assert socket.state is State.CLOSED
    peer.cut()


async def test_a_url_that_is_none() -> None:
    with pytest.raises(InvalidURI):
        await connect("gopher://shop.example").__aenter__()


async def test_tls(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(certificate.path, certificate.key_path)
    async with site(ssl=theirs) as server:
        async with connect(server.url, ssl=certificate.client_context()):
            await (await server.accepted()).welcome()
        with pytest.raises(ConnectTimeout, match="certificate"):
            await connect(server.url, connect_within_seconds=0.5).__aenter__()


def test_options_that_do_not_exist() -> None:
    with pytest.raises(TypeError, match="ping_after"):
        connect("ws://127.0.0.1:9", ping_after=5)
    with pytest.raises(ValueError, match="ping_after_seconds is a number of seconds from 0"):
        connect("ws://127.0.0.1:9", ping_after_seconds=-1)


def test_it_imports_neither_django_nor_channels_nor_redis() -> None:
    code = (
        "import sys, wsadapter.client\n"
        "print({name.partition('.')[0] for name in sys.modules} & {'django', 'channels', 'redis'})"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout == "set()\n", done.stderr
