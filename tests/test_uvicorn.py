"""The protocol for uvicorn, and what it relies on in the uvicorn that is installed.

When a test here fails after an upgrade of uvicorn or websockets, read the new
``uvicorn/protocols/websockets/websockets_sansio_impl.py`` beside wsadapter/uvicorn.py: the
message says which of the two assumptions no longer agree.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import os
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import pytest
from django.test import override_settings
from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidState
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
)
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from wsadapter import servers
from wsadapter.servers import EXTENSION
from wsadapter.uvicorn import Frames, WebSocketProtocol
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
        #: Called by a write, as asyncio's own calls ``pause_writing`` when it holds too much.
        self.on_write: Callable[[], None] = lambda: None

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))
        self.on_write()

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

    @property
    def writer(self) -> Frames | None:
        """What the application has got, if it has got anything."""
        return self.scope.get("extensions", {}).get(EXTENSION, {}).get("writer")

    def write(self, frames: bytes) -> bool:
        """Write frames if the writer is ready, as a connection does. Returns whether it was."""
        ready = self.writer is not None and self.writer.ready
        assert isinstance(ready, bool)
        if ready:
            self.protocol.frame_writer.write(frames)
        return ready

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
    assert not hasattr(protocol, "frame_writer"), LOOK
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


#: The methods of uvicorn's protocol that are overridden, and their arguments.
OVERRIDDEN = {
    "handle_connect": ["self", "event"],
    "pause_writing": ["self"],
    "resume_writing": ["self"],
    "connection_lost": ["self", "exc"],
    "data_received": ["self", "data"],
    "keepalive_timeout": ["self"],
    "shutdown": ["self"],
    "send": ["self", "message"],
}
#: And those that are only ours.
ADDED = {"_negotiated_level", "_note_readiness"}


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_what_is_overridden_is_there_and_called_with_the_same_arguments(name: str) -> None:
    stock, own = getattr(WebSocketsSansIOProtocol, name), getattr(WebSocketProtocol, name)
    assert list(inspect.signature(stock).parameters) == OVERRIDDEN[name], LOOK
    assert list(inspect.signature(own).parameters) == OVERRIDDEN[name], LOOK
    assert inspect.iscoroutinefunction(stock) is inspect.iscoroutinefunction(own), LOOK


def test_the_protocol_is_made_with_its_configuration() -> None:
    stock = inspect.signature(WebSocketsSansIOProtocol)
    assert next(iter(stock.parameters)) == "config", LOOK


def test_nothing_of_uvicorns_is_overridden_by_accident() -> None:
    own = {name for name in vars(WebSocketProtocol) if not name.startswith("__")}
    assert own == {*OVERRIDDEN, *ADDED}
    assert not {*ADDED, "frame_writer"} & set(dir(WebSocketsSansIOProtocol)), LOOK


# All that changes whether frames can be written, as uvicorn's source has it

#: What readiness depends on, and which uses of it leave it as it is.
STATE = {
    "conn": {
        *("data_to_send", "events_received", "send_text", "send_binary", "send_ping"),
        *("parser_exc", "close_sent", "close_rcvd"),
    },
    "writable": {"wait"},
    "disconnected": {"Load"},
}

#: Where it changes while no frame can be written, before and after: there is no writer yet, or the
#: handshake has not been answered (see the test of applications that fail).
WHILE_NOT_READY = {"__init__", "send_500_response"}

Methods = dict[str, ast.FunctionDef | ast.AsyncFunctionDef]


def methods_of(kind: type) -> Methods:
    methods: Methods = {}
    for name, function in inspect.getmembers(kind, inspect.isfunction):
        (method,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
        assert isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef)
        methods[name] = method
    return methods


def uses(method: ast.AST) -> Iterator[tuple[ast.Attribute, ast.AST]]:
    """Every ``self.name``, and what it is part of."""
    for parent in ast.walk(method):
        for node in ast.iter_child_nodes(parent):
            match node:
                case ast.Attribute(value=ast.Name(id="self")):
                    yield node, parent


def changes(method: ast.AST) -> list[ast.Attribute]:
    """Where a method changes what readiness depends on, or may: a bare ``self.conn`` counts."""
    found = []
    for node, parent in uses(method):
        how = parent.attr if isinstance(parent, ast.Attribute) else type(node.ctx).__name__
        if node.attr in STATE and how not in STATE[node.attr]:
            found.append(node)
    return found


def callers(name: str, methods: Methods) -> dict[str, bool]:
    """Who names a method, and whether only to call it at once."""
    found: dict[str, bool] = {}
    for caller, method in methods.items():
        for node, parent in uses(method):
            if node.attr == name:
                is_call = isinstance(parent, ast.Call) and parent.func is node
                found[caller] = found.get(caller, True) and is_call
    return found


def unnoticed(methods: Methods, noting: Iterable[str]) -> set[str]:
    """Where uvicorn can be entered so that readiness changes and nobody looks at it after."""
    found = set()
    seen = {*noting, *WHILE_NOT_READY}
    waiting = [name for name, method in methods.items() if changes(method)]
    while waiting:
        if (name := waiting.pop()) in seen:
            continue
        seen.add(name)
        called_by = callers(name, methods)
        runs_later = isinstance(methods[name], ast.AsyncFunctionDef)
        is_callback = name in dir(asyncio.Protocol) or not all(called_by.values())
        if runs_later or is_callback or not called_by:
            found.add(name)
        waiting += [caller for caller, at_once in called_by.items() if at_once]
    return found


def noting_methods() -> set[str]:
    """The overrides that look at readiness at the end."""
    own = methods_of(WebSocketProtocol)
    return {
        name
        for name in OVERRIDDEN
        if any(node.attr == "_note_readiness" for node, _ in uses(own[name]))
    }


def test_whatever_changes_readiness_is_overridden_or_called_from_what_is() -> None:
    methods = methods_of(WebSocketsSansIOProtocol)
    assert not unnoticed(methods, noting_methods()), f"{LOOK}: override these as well"
    later = (ast.Lambda, ast.FunctionDef, ast.AsyncFunctionDef)
    nested = [
        name
        for name, tree in methods.items()
        if sum(isinstance(n, later) for n in ast.walk(tree)) > 1
    ]
    assert not nested, f"{LOOK}: what is defined in a method runs later, and has to be read"


def test_send_does_not_wait_after_it_has_changed_something() -> None:
    """Readiness is looked at when it returns."""
    method = methods_of(WebSocketsSansIOProtocol)["send"]
    waits = [node.lineno for node in ast.walk(method) if isinstance(node, ast.Await)]
    assert waits and max(waits) < min(node.lineno for node in changes(method)), LOOK


@pytest.mark.parametrize("name", sorted(STATE["conn"]))
def test_what_is_taken_for_harmless_does_not_change_the_connections_state(name: str) -> None:
    methods = methods_of(ServerProtocol)
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        if (called := waiting.pop()) in seen or called not in methods:
            continue
        seen.add(called)
        for node, _ in uses(methods[called]):
            stored = isinstance(node.ctx, ast.Store)
            assert not (stored and node.attr in ("state", "_state")), f"{LOOK} (websockets)"
            waiting.append(node.attr)
    assert seen or name in vars(ServerProtocol()), f"{LOOK} (websockets)"


class EndOfFile(WebSocketsSansIOProtocol):
    """Uvicorn after an upgrade."""

    def eof_received(self) -> None:
        self.conn.receive_eof()


class Farther(WebSocketsSansIOProtocol):
    """One that changes something two calls away from what the event loop calls."""

    def start_keepalive(self) -> None:
        self.loop.call_later(1, self.look_around)

    def look_around(self) -> None:
        self.give_up()

    def give_up(self) -> None:
        self.conn.fail(1011)


class Called(WebSocketsSansIOProtocol):
    """One in which something that is covered is now also called from the event loop."""

    def schedule_ping(self) -> None:
        self.loop.call_later(1, self.handle_parser_exception)

    def handle_parser_exception(self) -> None:
        self.disconnected = True


class Later(WebSocketsSansIOProtocol):
    async def run_asgi(self) -> None:
        self.conn.send_close(1011)


class Passing(WebSocketsSansIOProtocol):
    def eof_received(self) -> None:
        pass_on(self.conn)  # type: ignore[name-defined]  # noqa: F821 - it is only read


class Pausing(WebSocketsSansIOProtocol):
    def eof_received(self) -> None:
        self.writable.clear()


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (EndOfFile, "eof_received"),
        (Farther, "look_around"),
        (Called, "handle_parser_exception"),
        (Later, "run_asgi"),
        (Passing, "eof_received"),
        (Pausing, "eof_received"),
    ],
)
def test_an_upgrade_that_adds_a_way_would_be_seen(kind: type, found: str) -> None:
    assert unnoticed(methods_of(kind), noting_methods()) == {found}


@pytest.mark.parametrize("name", sorted(OVERRIDDEN.keys() - {"handle_connect"}))
def test_an_override_that_is_left_out_would_be_seen(name: str) -> None:
    methods = methods_of(WebSocketsSansIOProtocol)
    assert unnoticed(methods, noting_methods() - {name}) >= {name}


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
    writer = offered.protocol.frame_writer
    assert isinstance(writer, Frames)
    assert offered.scope["extensions"][EXTENSION] == {"writer": writer}
    assert "websocket.http.response" in offered.scope["extensions"], "uvicorn's own stay"
    assert servers.frame_writer(offered.scope, offered.send, 1000) is writer
    assert servers.can_be_stepped(offered.send)
    other = peer()
    await other.ask()
    assert servers.frame_writer(offered.scope, other.send, 1000) is None


async def test_the_writer_writes_to_what_uvicorn_writes_to(peer: Callable[..., Peer]) -> None:
    """Over TLS that is asyncio's TLS transport, not the socket below it."""
    offered = peer()
    protocol = await offered.open()
    assert protocol.frame_writer.write == protocol.transport.write == offered.transport.write


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
    assert bad.protocol.frame_writer is None


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
    assert protocol.frame_writer.compression_level == level


async def test_the_level_is_that_of_the_settings(peer: Callable[..., Peer]) -> None:
    with override_settings(WSADAPTER={"COMPRESSION_LEVEL": 9}):
        protocol = await peer(offer=[DEFLATE()]).open()
    assert protocol.frame_writer.compression_level == 9


async def test_where_uvicorn_is_told_not_to_compress_nothing_is(peer: Callable[..., Peer]) -> None:
    silent = peer(offer=[DEFLATE()], ws_per_message_deflate=False)
    protocol = await silent.open()
    assert silent.extensions == "" and protocol.frame_writer.compression_level == 0


@pytest.mark.parametrize("offer", [None, [DEFLATE()], [DEFLATE(server_max_window_bits=10)]])
async def test_ready_frames_and_the_applications_own_are_read_in_their_order(
    peer: Callable[..., Peer], offer: Any
) -> None:
    mixing = peer(offer=offer)
    protocol = await mixing.open()
    level = protocol.frame_writer.compression_level
    for number in range(3):
        frames = frame_bytes(f"ready {number} {TEXT}", level) + frame_bytes("short", level)
        assert mixing.write(frames)
        await mixing.send({"type": "websocket.send", "text": f"own {number} {TEXT}"})
    expected = [
        text
        for number in range(3)
        for text in (f"ready {number} {TEXT}", "short", f"own {number} {TEXT}")
    ]
    assert mixing.texts() == expected


async def test_a_ping_of_the_client_is_answered_between_frames(peer: Callable[..., Peer]) -> None:
    pinging = peer()
    await pinging.open()
    assert pinging.write(frame_bytes("before"))
    pinging.client.send_ping(b"there?")
    pinging.to_server()
    assert pinging.write(frame_bytes("after"))
    opcodes = [frame.opcode for frame in pinging.events()]
    assert opcodes == [Opcode.TEXT, Opcode.PONG, Opcode.TEXT]


# When it refuses


async def refuses(peer: Peer) -> bool:
    """Whether it says so, and has written nothing."""
    before = list(peer.transport.written)
    taken = peer.write(frame_bytes("refused"))
    return not taken and peer.transport.written == before


async def test_it_takes_no_frames_before_the_handshake(peer: Callable[..., Peer]) -> None:
    early = peer()
    assert await refuses(early)
    assert Frames(early.protocol, 0).ready is False
    await early.ask()
    assert await refuses(early)
    await early.send({"type": "websocket.accept"})
    assert early.write(frame_bytes("now"))


async def test_it_takes_no_frames_after_a_denial(peer: Callable[..., Peer]) -> None:
    denied = peer()
    await denied.ask()
    await denied.send({"type": "websocket.close"})
    assert await refuses(denied)


async def test_it_takes_no_frames_after_an_answer_that_is_not_a_websocket(
    peer: Callable[..., Peer],
) -> None:
    denied = peer()
    await denied.ask()
    await denied.send({"type": "websocket.http.response.start", "status": 401, "headers": []})
    assert await refuses(denied)
    await denied.send({"type": "websocket.http.response.body", "body": b"log in first"})
    assert await refuses(denied)


async def test_an_application_that_fails_before_the_handshake_leaves_nothing_ready(
    peer: Callable[..., Peer],
) -> None:
    """Uvicorn answers with status 500, from where no override sees it."""
    failing = peer()
    await failing.ask()
    await failing.end()
    assert failing.transport.written[0].startswith(b"HTTP/1.1 500")
    assert await refuses(failing)


async def test_an_application_that_fails_after_the_handshake_changes_no_state(
    peer: Callable[..., Peer],
) -> None:
    failing = peer()
    protocol = await failing.open()
    failing.transport.written.clear()
    protocol.send_500_response()
    assert protocol.conn.state is State.OPEN and not failing.transport.written, LOOK


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


async def test_it_takes_no_frames_after_a_text_that_is_none(peer: Callable[..., Peer]) -> None:
    failing = peer()
    await failing.open()
    failing.client.send_text(b"\xff")
    failing.to_server()
    assert await refuses(failing)


async def test_it_takes_no_frames_after_what_uvicorn_fails_at(peer: Callable[..., Peer]) -> None:
    """It tries to close because of the text, and cannot since it has read the close as well."""
    failing = peer()
    await failing.open()
    failing.client.send_text(b"\xff")
    failing.client.send_close(1000)
    with pytest.raises(InvalidState):
        failing.to_server()
    assert failing.protocol.conn.state is not State.OPEN
    assert await refuses(failing)


async def test_it_takes_no_frames_while_the_transport_is_full(peer: Callable[..., Peer]) -> None:
    full = peer()
    protocol = await full.open()
    protocol.pause_writing()
    assert await refuses(full)
    protocol.resume_writing()
    assert full.write(frame_bytes("free"))


async def test_it_takes_no_frames_after_the_one_that_fills_the_transport(
    peer: Callable[..., Peer],
) -> None:
    filling = peer()
    protocol = await filling.open()
    filling.transport.on_write = protocol.pause_writing
    assert filling.write(frame_bytes("the last one"))
    assert await refuses(filling)
    protocol.resume_writing()
    await filling.send({"type": "websocket.send", "text": "the last one"})
    assert await refuses(filling)


async def test_it_takes_no_frames_when_a_transport_that_has_room_again_is_closing(
    peer: Callable[..., Peer],
) -> None:
    full = peer()
    protocol = await full.open()
    await full.send({"type": "websocket.close", "code": 4000})
    protocol.pause_writing()
    protocol.resume_writing()
    assert await refuses(full)


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


# Whatever happens in whatever order


def step(sending: Any) -> None:
    """As a connection does; what waits for the transport is given up."""
    with contextlib.suppress(StopIteration):
        sending.send(None)
    sending.close()


def say(peer: Peer, what: Callable[[], None]) -> None:
    what()
    peer.to_server()


#: What may happen to an open connection.
HAPPENINGS: dict[str, Callable[[Peer], None]] = {
    "full": lambda peer: peer.protocol.pause_writing(),
    "free": lambda peer: peer.protocol.resume_writing(),
    "text": lambda peer: step(peer.send({"type": "websocket.send", "text": "a text"})),
    "close": lambda peer: step(peer.send({"type": "websocket.close", "code": 4000})),
    "a bad close": lambda peer: step(peer.send({"type": "websocket.close", "code": 1})),
    "nonsense": lambda peer: step(peer.send({"type": "websocket.nonsense"})),
    "client's text": lambda peer: say(peer, lambda: peer.client.send_text(b"a text")),
    "client's bad text": lambda peer: say(peer, lambda: peer.client.send_text(b"\xff")),
    "client's ping": lambda peer: say(peer, lambda: peer.client.send_ping(b"")),
    "client's close": lambda peer: say(peer, lambda: peer.client.send_close(1000)),
    "junk": lambda peer: peer.protocol.data_received(b"\xff\xff"),
    "ping": lambda peer: peer.protocol.send_keepalive_ping(),
    "no pong": lambda peer: peer.protocol.keepalive_timeout(),
    "stop": lambda peer: peer.protocol.shutdown(),
    "end of file": lambda peer: peer.protocol.eof_received(),
    "lost": lambda peer: peer.protocol.connection_lost(None),
    "failure": lambda peer: peer.protocol.send_500_response(),
}


@pytest.mark.parametrize("first", HAPPENINGS)
async def test_readiness_is_never_out_of_date(peer: Callable[..., Peer], first: str) -> None:
    for second in HAPPENINGS:
        happening = peer(ws_ping_interval=None)
        protocol = await happening.open()
        for name in (first, second):
            with contextlib.suppress(Exception):  # uvicorn forbids some of it
                HAPPENINGS[name](happening)
            ready = (
                protocol.conn.state is State.OPEN
                and protocol.writable.is_set()
                and not protocol.disconnected
            )
            assert happening.write(frame_bytes("a frame")) is ready, (first, second)
