"""The protocol for uvicorn, and what it relies on in the uvicorn that is installed.

When a test here fails after an upgrade of uvicorn or websockets, read the new
``uvicorn/protocols/websockets/websockets_sansio_impl.py`` beside wsadapter/uvicorn.py: the
message says which of the two assumptions no longer agree.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from django.test import override_settings
from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
)
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from wsadapter import servers
from wsadapter.servers import EXTENSION
from wsadapter.uvicorn import WebSocketProtocol
from wsadapter.wire.frames import frame_bytes

LOOK = "uvicorn has changed: wsadapter/uvicorn.py relies on this"

DEFLATE = ClientPerMessageDeflateFactory

TEXT = "a text that is long enough to be compressed " * 5


class Transport(asyncio.Transport):
    """A socket that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Peer:
    """A server protocol, the application behind it, and the client that talks to it."""

    def __init__(self, kind: type = WebSocketProtocol, offer: Any = None, **options: Any) -> None:
        self.scope: dict[str, Any] = {}
        self.receive: Any = None
        self.send: Any = None
        self._ended = asyncio.Event()
        # Its default would set up logging for the whole process.
        config = Config(self._application, interface="asgi3", log_config=None, **options)
        config.load()
        self.protocol: Any = kind(config, ServerState(), {})
        self.transport = Transport()
        self.protocol.connection_made(self.transport)
        self.client = ClientProtocol(
            parse_uri("ws://shop.example/ws/"), extensions=offer, max_size=None
        )

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope, self.receive, self.send = scope, receive, send
        await self._ended.wait()

    async def ask(self) -> None:
        """Send the handshake; return when the application runs."""
        self.client.send_request(self.client.connect())
        self.to_server()
        await asyncio.sleep(0)
        assert self.scope, self.transport.written

    async def open(self) -> Any:
        """Have the handshake accepted; return the protocol."""
        await self.ask()
        await self.send({"type": "websocket.accept"})
        (answer,) = self.events()
        assert isinstance(answer, Response) and answer.status_code == 101
        return self.protocol

    def to_server(self) -> None:
        self.protocol.data_received(b"".join(self.client.data_to_send()))

    def events(self) -> list[Any]:
        """What the client has read since it was last asked."""
        written, self.transport.written = self.transport.written, []
        self.client.receive_data(b"".join(written))
        assert self.client.parser_exc is None
        return self.client.events_received()

    def texts(self) -> list[str]:
        return [bytes(frame.data).decode() for frame in self.events()]

    @property
    def extensions(self) -> str:
        return str(self.protocol.response.headers.get("Sec-WebSocket-Extensions", ""))

    async def end(self) -> None:
        self._ended.set()
        await asyncio.gather(*self.protocol.tasks)
        self.protocol.stop_keepalive()
        if self.protocol.close_timer is not None:
            self.protocol.close_timer.cancel()


@pytest.fixture
async def peer() -> AsyncIterator[Callable[..., Peer]]:
    peers: list[Peer] = []

    def make(*arguments: Any, **options: Any) -> Peer:
        peers.append(Peer(*arguments, **options))
        return peers[-1]

    yield make
    for each in peers:
        await each.end()


# What uvicorn has to be


async def test_uvicorns_protocol_is_as_it_is_relied_upon(peer: Callable[..., Peer]) -> None:
    stock = peer(WebSocketsSansIOProtocol)
    protocol = stock.protocol
    assert isinstance(protocol.writable, asyncio.Event) and protocol.writable.is_set(), LOOK
    protocol.pause_writing()
    assert not protocol.writable.is_set(), f"{LOOK}: writable says whether the transport is full"
    protocol.resume_writing()
    assert protocol.writable.is_set(), LOOK
    assert protocol.disconnected is False, LOOK
    assert protocol.transport is stock.transport, LOOK
    assert protocol.conn.state is State.CONNECTING, f"{LOOK}: conn is a websockets.ServerProtocol"
    assert isinstance(protocol.conn.available_extensions, list), f"{LOOK} (websockets)"
    assert protocol.config.ws_per_message_deflate is True, LOOK
    await stock.open()
    assert protocol.conn.state is State.OPEN, LOOK
    assert protocol.response.status_code == 101, f"{LOOK}: response is the answer to the handshake"
    assert protocol.scope is stock.scope, f"{LOOK}: scope is what the application gets"
    assert isinstance(stock.scope["extensions"], dict), LOOK
    assert stock.send.__self__ is protocol, f"{LOOK}: send is a method of the protocol"
    assert stock.receive.__self__ is protocol, LOOK


async def test_the_application_runs_after_handle_connect(peer: Callable[..., Peer]) -> None:
    """Else it would not see the extension: what handle_connect makes is a task."""
    asked = peer(WebSocketsSansIOProtocol)
    asked.client.send_request(asked.client.connect())
    asked.to_server()
    assert not asked.scope, LOOK
    await asyncio.sleep(0)
    assert asked.scope, LOOK


async def test_each_send_leaves_nothing_behind_that_a_frame_could_come_between(
    peer: Callable[..., Peer],
) -> None:
    stock = peer(WebSocketsSansIOProtocol)
    await stock.open()
    for text in ("one", "x" * 100_000):
        sending = stock.send({"type": "websocket.send", "text": text})
        with pytest.raises(StopIteration):  # it does not suspend while the transport takes bytes
            sending.send(None)
        assert stock.transport.written == [frame_bytes(text)], f"{LOOK}: one frame, one write"
        assert stock.protocol.conn.data_to_send() == [], LOOK
        stock.events()


async def test_a_lost_connection_is_disconnected(peer: Callable[..., Peer]) -> None:
    stock = peer(WebSocketsSansIOProtocol)
    await stock.open()
    stock.protocol.pause_writing()
    stock.protocol.connection_lost(None)
    assert stock.protocol.disconnected is True, LOOK
    assert stock.protocol.writable.is_set(), f"{LOOK}: so writable alone does not say it"


@pytest.mark.parametrize("name", ["__init__", "handle_connect"])
def test_what_is_overridden_is_there_and_called_with_the_same_arguments(name: str) -> None:
    stock = inspect.signature(getattr(WebSocketsSansIOProtocol, name))
    assert (
        list(stock.parameters)[:2]
        == {
            "__init__": ["self", "config"],
            "handle_connect": ["self", "event"],
        }[name]
    ), LOOK


def test_nothing_of_uvicorns_is_overridden_by_accident() -> None:
    own = {name for name in vars(WebSocketProtocol) if not name.startswith("__")}
    assert own == {"handle_connect", "_negotiated_level", "write_frames"}
    assert not {"_negotiated_level", "write_frames"} & set(dir(WebSocketsSansIOProtocol)), LOOK
    assert not hasattr(WebSocketsSansIOProtocol, "compression_level"), LOOK


def test_an_extension_tells_what_was_negotiated() -> None:
    extension = PerMessageDeflate(True, True, 15, 15)
    names = ("local_no_context_takeover", "local_max_window_bits", "remote_no_context_takeover")
    for name in names:
        assert hasattr(extension, name), (
            "websockets has changed: see WebSocketProtocol._negotiated_level"
        )


def test_uvicorn_finds_it_by_its_name() -> None:
    config = Config(lambda: None, ws="wsadapter.uvicorn:WebSocketProtocol", log_config=None)
    config.load()
    assert config.ws_protocol_class is WebSocketProtocol


def test_uvicorn_may_import_it_before_there_are_settings() -> None:
    """As it does: the project's asgi.py, which names them, comes after."""
    environment = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    command = [sys.executable, "-W", "error", "-c", "import wsadapter.uvicorn"]
    subprocess.run(command, env=environment, check=True, timeout=60)


# What the application sees


async def test_the_application_is_offered_the_writer(peer: Callable[..., Peer]) -> None:
    offered = peer()
    await offered.ask()
    protocol = offered.protocol
    assert offered.scope["extensions"][EXTENSION] == {"writer": protocol}
    assert "websocket.http.response" in offered.scope["extensions"], "uvicorn's own stay"
    assert servers.frame_writer(offered.scope, offered.send, 1000) is protocol
    assert servers.can_be_stepped(offered.send)


async def test_a_middleware_in_between_switches_it_off(peer: Callable[..., Peer]) -> None:
    offered = peer()
    await offered.ask()

    async def wrapped(event: Any) -> None:
        await offered.send(event)

    assert servers.frame_writer(offered.scope, wrapped, 1000) is None


async def test_uvicorns_own_protocol_offers_nothing(peer: Callable[..., Peer]) -> None:
    stock = peer(WebSocketsSansIOProtocol)
    await stock.ask()
    assert servers.frame_writer(stock.scope, stock.send, 1000) is None


async def test_a_bad_handshake_is_answered_and_reaches_no_application(
    peer: Callable[..., Peer],
) -> None:
    bad = peer()
    bad.protocol.data_received(b"GET /ws/ HTTP/1.1\r\nHost: shop.example\r\n\r\n")
    assert bad.transport.written[0].startswith(b"HTTP/1.1 4")
    assert bad.transport.closed and not bad.protocol.tasks


# Compression


@pytest.mark.parametrize(
    ("offer", "answer", "level"),
    [
        (None, "", 0),
        ([DEFLATE()], "server_no_context_takeover; client_no_context_takeover", 1),
        ([DEFLATE(True, True)], "server_no_context_takeover; client_no_context_takeover", 1),
        (
            [DEFLATE(server_max_window_bits=15)],
            "server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15",
            1,
        ),
        (
            [DEFLATE(server_max_window_bits=10)],
            "server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10",
            0,
        ),
        (
            [DEFLATE(client_max_window_bits=9)],
            "server_no_context_takeover; client_no_context_takeover; client_max_window_bits=9",
            1,
        ),
        ([DEFLATE(server_max_window_bits=8)], "", 0),
    ],
    ids=["none", "browser", "without takeover", "window 15", "window 10", "client 9", "window 8"],
)
async def test_what_is_negotiated_decides_the_level(
    peer: Callable[..., Peer], offer: Any, answer: str, level: int
) -> None:
    negotiating = peer(offer=offer)
    protocol = await negotiating.open()
    assert negotiating.extensions == (f"permessage-deflate; {answer}" if answer else "")
    assert protocol.compression_level == level


async def test_the_level_is_that_of_the_settings(peer: Callable[..., Peer]) -> None:
    with override_settings(WSADAPTER={"COMPRESSION_LEVEL": 9}):
        protocol = await peer(offer=[DEFLATE()]).open()
    assert protocol.compression_level == 9


async def test_where_uvicorn_is_told_not_to_compress_nothing_is(peer: Callable[..., Peer]) -> None:
    silent = peer(offer=[DEFLATE()], ws_per_message_deflate=False)
    protocol = await silent.open()
    assert silent.extensions == "" and protocol.compression_level == 0


@pytest.mark.parametrize("offer", [None, [DEFLATE()], [DEFLATE(server_max_window_bits=10)]])
async def test_ready_frames_and_the_applications_own_are_read_in_their_order(
    peer: Callable[..., Peer], offer: Any
) -> None:
    mixing = peer(offer=offer)
    protocol = await mixing.open()
    level = protocol.compression_level
    for number in range(3):
        frames = frame_bytes(f"ready {number} {TEXT}", level) + frame_bytes("short", level)
        assert protocol.write_frames(frames) is True
        await mixing.send({"type": "websocket.send", "text": f"own {number} {TEXT}"})
    expected = [
        text
        for number in range(3)
        for text in (f"ready {number} {TEXT}", "short", f"own {number} {TEXT}")
    ]
    assert mixing.texts() == expected


async def test_a_ping_of_the_client_is_answered_between_frames(peer: Callable[..., Peer]) -> None:
    pinging = peer()
    protocol = await pinging.open()
    protocol.write_frames(frame_bytes("before"))
    pinging.client.send_ping(b"there?")
    pinging.to_server()
    protocol.write_frames(frame_bytes("after"))
    opcodes = [frame.opcode for frame in pinging.events()]
    assert opcodes == [Opcode.TEXT, Opcode.PONG, Opcode.TEXT]


# When it refuses


async def refuses(peer: Peer) -> bool:
    """Whether it says so, and has written nothing."""
    before = list(peer.transport.written)
    taken = peer.protocol.write_frames(frame_bytes("refused"))
    return taken is False and peer.transport.written == before


async def test_it_takes_no_frames_before_the_handshake(peer: Callable[..., Peer]) -> None:
    early = peer()
    assert await refuses(early)
    await early.ask()
    assert await refuses(early)
    await early.send({"type": "websocket.accept"})
    assert early.protocol.write_frames(frame_bytes("now")) is True


async def test_it_takes_no_frames_after_a_denial(peer: Callable[..., Peer]) -> None:
    denied = peer()
    await denied.ask()
    await denied.send({"type": "websocket.close"})
    assert await refuses(denied)


async def test_it_takes_no_frames_after_its_close(peer: Callable[..., Peer]) -> None:
    closing = peer()
    await closing.open()
    await closing.send({"type": "websocket.close", "code": 4000})
    assert await refuses(closing)
    (frame,) = closing.events()
    assert isinstance(frame, Frame) and Close.parse(bytes(frame.data)).code == 4000


async def test_it_takes_no_frames_after_the_clients_close(peer: Callable[..., Peer]) -> None:
    closing = peer()
    await closing.open()
    closing.client.send_close(1000)
    closing.to_server()
    assert await refuses(closing)


async def test_it_takes_no_frames_after_what_no_client_may_send(
    peer: Callable[..., Peer],
) -> None:
    failing = peer()
    await failing.open()
    failing.protocol.data_received(b"\xff\xff")
    assert await refuses(failing)


async def test_it_takes_no_frames_while_the_transport_is_full(peer: Callable[..., Peer]) -> None:
    full = peer()
    protocol = await full.open()
    protocol.pause_writing()
    assert await refuses(full)
    protocol.resume_writing()
    assert protocol.write_frames(frame_bytes("free")) is True


async def test_it_takes_no_frames_when_the_connection_is_lost(peer: Callable[..., Peer]) -> None:
    lost = peer()
    protocol = await lost.open()
    protocol.connection_lost(None)
    assert await refuses(lost)


async def test_it_takes_no_frames_when_uvicorn_stops(peer: Callable[..., Peer]) -> None:
    stopping = peer()
    protocol = await stopping.open()
    protocol.shutdown()
    assert await refuses(stopping)


async def test_it_takes_no_frames_when_the_client_answers_no_ping(
    peer: Callable[..., Peer],
) -> None:
    silent = peer()
    protocol = await silent.open()
    protocol.keepalive_timeout()
    assert await refuses(silent)
