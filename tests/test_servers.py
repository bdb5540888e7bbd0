"""Servers are known by name, and only those that are known are treated specially."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from channels.sessions import InstanceSessionWrapper
from daphne.server import Server
from daphne.ws_protocol import WebSocketFactory
from twisted.internet import tcp
from twisted.internet.address import IPv4Address
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOProtocol
from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.asyncio.client import connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from tests.test_uvicorn import Peer
from wsadapter import servers
from wsadapter.uvicorn import WebSocketProtocol
from wsadapter.wire.frames import frame_bytes


class Transport:
    aborted = False

    def abort(self) -> None:
        self.aborted = True

    def abortConnection(self) -> None:  # noqa: N802
        self.aborted = True


class DaphneProtocol:
    aborted = False
    transport: Any = None

    def dropConnection(self, *, abort: bool) -> None:  # noqa: N802
        self.aborted = abort


def uvicorn_send(kind: type = WebSocketsSansIOProtocol) -> tuple[Any, Transport]:
    """The bound ``send`` of a uvicorn protocol that has nothing but a transport."""
    protocol: Any = object.__new__(kind)
    protocol.transport = Transport()
    return protocol.send, protocol.transport


def daphne_send() -> tuple[Any, DaphneProtocol]:
    """What daphne gives an application: its ``handle_reply`` with the protocol filled in."""
    protocol = DaphneProtocol()
    return partial(Server.handle_reply, protocol), protocol


def wrapped(send: Any) -> Any:
    """The ``send`` that Channels' session middleware hands on."""
    wrapper = InstanceSessionWrapper.__new__(InstanceSessionWrapper)
    wrapper.real_send = send
    return wrapper.send


class Subclass(WebSocketsSansIOProtocol):
    """uvicorn's own protocol, configured differently."""


async def unknown_send(event: Any) -> None: ...


class Server2:
    async def send(self, event: Any) -> None: ...


@pytest.mark.parametrize(
    ("send", "known"),
    [
        (uvicorn_send()[0], True),
        (uvicorn_send(Subclass)[0], True),
        (daphne_send()[0], True),
        (unknown_send, False),
        (Server2().send, False),
        (partial(unknown_send, DaphneProtocol()), False),
        (partial(Server2.send, Server2()), False),
        (wrapped(daphne_send()[0]), False),
    ],
)
def test_only_a_known_servers_own_send_is_stepped_by_hand(send: Any, known: bool) -> None:
    assert servers.can_be_stepped(send) is known


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_under_channels_session_middleware_is_the_servers_own_send(depth: int) -> None:
    own, _ = daphne_send()
    send = own
    for _ in range(depth):
        send = wrapped(send)
    assert servers.unwrap(send) is own


def test_other_middleware_is_left_in_its_place() -> None:
    class Subclassed(InstanceSessionWrapper):
        """It may do more than its base."""

    wrapper = Subclassed.__new__(Subclassed)
    wrapper.real_send = unknown_send
    assert servers.unwrap(wrapper.send) == wrapper.send
    assert servers.unwrap(unknown_send) is unknown_send


def test_uvicorn_is_cut_at_the_transport() -> None:
    send, transport = uvicorn_send()
    servers.cut(send)
    assert transport.aborted


def test_daphne_is_cut_without_waiting_for_its_buffer() -> None:
    """Whatever Autobahn thinks of it: it may have dropped the connection, for Twisted to wait."""
    send, protocol = daphne_send()
    protocol.transport = Transport()
    servers.cut(send)
    assert protocol.aborted and protocol.transport.aborted


def test_an_unknown_server_is_not_cut() -> None:
    servers.cut(unknown_send)


@pytest.mark.parametrize(
    ("scope", "tells"),
    [
        ({"asgi": {"spec_version": "2.3"}}, True),
        ({"asgi": {"spec_version": "2.4"}}, True),
        ({"asgi": {"spec_version": "2.10"}}, True),
        ({"asgi": {"spec_version": "3.0"}}, True),
        ({"asgi": {"spec_version": "2.2"}}, False),
        ({"asgi": {"spec_version": "2"}}, False),
        ({"asgi": {"version": "3.0"}}, False),
        ({"asgi": {"spec_version": "junk"}}, False),
        ({"asgi": {}}, False),
        ({}, False),
    ],
    ids=repr,
)
def test_reasons_are_told_since_version_2_3_of_the_specification(scope: Any, tells: bool) -> None:
    assert servers.tells_reasons(scope) is tells


# The writer that a server offers


class Offering:
    """A server of whatever make that takes ready frames."""

    def __init__(self) -> None:
        self.frame_writer = Writer()

    async def send(self, event: Any) -> None: ...


class Writer:
    compression_level = 0
    ready = True

    def write(self, frames: bytes) -> None: ...


def offering(writer: Any) -> dict[str, Any]:
    return {"type": "websocket", "extensions": {servers.EXTENSION: {"writer": writer}}}


def test_any_server_may_offer_a_writer() -> None:
    server = Offering()
    writer = server.frame_writer
    assert servers.frame_writer(offering(writer), server.send, 1000) is writer


def test_a_server_may_be_its_own_writer() -> None:
    server: Any = Offering()
    server.frame_writer = server
    assert servers.frame_writer(offering(server), server.send, 1000) is server


def test_an_offer_counts_only_with_the_send_of_the_server_that_made_it() -> None:
    """Else what a middleware's ``send`` counts or changes would be passed by."""
    server, other = Offering(), Offering()
    scope = offering(server.frame_writer)
    assert servers.frame_writer(scope, other.send, 1000) is None
    assert servers.frame_writer(scope, Server2().send, 1000) is None
    assert servers.frame_writer(scope, partial(server.send), 1000) is None
    assert servers.frame_writer(offering(server), server.send, 1000) is None


@pytest.mark.parametrize(
    "scope",
    [
        {},
        {"extensions": {}},
        {"extensions": {servers.EXTENSION: {}}},
        {"extensions": {"websocket.http.response": {}}},
        offering(None),
        offering(Offering().frame_writer),
    ],
    ids=["none", "no extensions", "empty", "others", "nothing", "of somebody else"],
)
def test_without_an_offer_that_fits_there_is_no_writer(scope: Any) -> None:
    assert servers.frame_writer(scope, Offering().send, 1000) is None
    assert servers.frame_writer(scope, unknown_send, 1000) is None


def test_extensions_may_be_none() -> None:
    """As asgiref types them."""
    assert servers.frame_writer({"extensions": None}, unknown_send, 1000) is None


def test_daphne_needs_no_offer() -> None:
    own, _ = daphne_send()
    assert isinstance(servers.frame_writer({}, own, 1000), servers.DaphneWriter)
    assert servers.frame_writer({}, wrapped(own), 1000) is None, "unwrap() comes first"


# Daphne's: its protocol on a real socket of Twisted

LOOK = (
    "Daphne, Autobahn or Twisted has changed: DaphneWriter in wsadapter/servers.py relies on this"
)

ADDRESS = IPv4Address("TCP", "127.0.0.1", 1)

HANDSHAKE = (
    b"GET /ws/ HTTP/1.1\r\nHost: shop.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


class Reactor:
    """Nothing is written but by hand."""

    def __init__(self) -> None:
        self.writers: list[Any] = []

    def addReader(self, reader: Any) -> None: ...  # noqa: N802
    def removeReader(self, reader: Any) -> None: ...  # noqa: N802

    def addWriter(self, writer: Any) -> None:  # noqa: N802
        self.writers.append(writer)

    def callLater(self, seconds: float, *call: Any) -> None: ...  # noqa: N802

    def removeWriter(self, writer: Any) -> None:  # noqa: N802
        self.writers = [other for other in self.writers if other is not writer]


class DaphneServer:
    """What a daphne protocol asks of its server."""

    root_path = ""
    proxy_forwarded_address_header = None

    def protocol_connected(self, protocol: Any) -> None: ...
    def protocol_disconnected(self, protocol: Any) -> None: ...

    def create_application(self, protocol: Any, scope: Any) -> Any:
        return asyncio.Queue()

    def log_action(self, protocol: str, action: str, details: Any) -> None: ...


class DaphnePeer:
    """A daphne protocol on one end of a socket, the client on the other."""

    def __init__(self, max_held_bytes: int = 10**9) -> None:
        self.socket, own = socket.socketpair()
        self.socket.setblocking(False)
        own.setblocking(False)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        factory = WebSocketFactory(DaphneServer(), server="daphne")
        # Its timeouts would outlive the test.
        factory.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0)
        self.protocol = factory.buildProtocol(ADDRESS)
        self.protocol._raw_query_string = b""  # as daphne's HTTP protocol leaves it there
        self.reactor = Reactor()
        self.transport = Connected(own, self.protocol, self.reactor)
        self.protocol.makeConnection(self.transport)
        self.writer = servers.DaphneWriter(self.protocol, max_held_bytes)
        self.read = b""

    def open(self) -> DaphnePeer:
        """Have the handshake accepted, and its answer read."""
        self.ask()
        self.protocol.serverAccept()
        self.drain()
        assert self.read.startswith(b"HTTP/1.1 101"), self.read
        self.read = b""
        return self

    def ask(self, offer: str = "") -> None:
        """Send the handshake; with the extensions that the client offers, as the header has it."""
        header = f"Sec-WebSocket-Extensions: {offer}\r\n" if offer else ""
        self.protocol.dataReceived(HANDSHAKE + header.encode() + b"\r\n")

    def receive(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := self.socket.recv(1 << 16):
                self.read += data

    def drain(self) -> None:
        """Read, and let Twisted write, until it has nothing more or is done."""
        self.receive()
        while self.reactor.writers and self.transport.doWrite() is None:
            self.receive()
        self.receive()

    def close(self) -> None:
        self.transport.socket.close()
        self.socket.close()


class Connected(tcp.Server):
    """Twisted's, on a socket that has no TCP below it."""

    def __init__(self, own: socket.socket, protocol: Any, reactor: Any) -> None:
        tcp.Connection.__init__(self, own, protocol, reactor)
        self.connected = True

    def getPeer(self) -> Any:  # noqa: N802
        return ADDRESS

    def getHost(self) -> Any:  # noqa: N802
        return ADDRESS

    def setTcpNoDelay(self, enabled: bool) -> None: ...  # noqa: N802


@pytest.fixture
def daphne() -> Iterator[Callable[..., DaphnePeer]]:
    peers: list[DaphnePeer] = []

    def make(*arguments: Any) -> DaphnePeer:
        peers.append(DaphnePeer(*arguments))
        return peers[-1]

    yield make
    for peer in peers:
        peer.close()


def wrote(peer: DaphnePeer, frame: str) -> bool:
    """Write a frame if the writer is ready, as a connection does. Returns whether it was."""
    ready = peer.writer.ready
    assert isinstance(ready, bool)
    if ready:
        peer.writer.write(frame_bytes(frame))
    return ready


def test_twisted_and_autobahn_are_as_they_are_relied_upon(
    daphne: Callable[..., DaphnePeer],
) -> None:
    peer = daphne().open()
    protocol, transport = peer.protocol, peer.transport
    assert protocol.state == protocol.STATE_OPEN, LOOK
    assert not protocol.send_queue and hasattr(protocol.send_queue, "append"), LOOK
    assert protocol.transport is transport, LOOK
    assert transport.connected and transport.TLS is False, LOOK
    assert callable(transport.writeSomeData), LOOK
    for buffer in ("dataBuffer", "offset", "_tempDataLen"):
        assert hasattr(transport, buffer), f"{LOOK}: what it holds is measured by {buffer}"
    assert protocol._perMessageCompress is None, f"{LOOK}: what is negotiated is there"
    assert "sendPreparedMessage" in dir(protocol), LOOK


def test_what_twisted_holds_is_measured(daphne: Callable[..., DaphnePeer]) -> None:
    peer = daphne().open()
    transport = peer.transport
    transport.write(b"x" * 100_000)
    transport.write(b"x" * 50_000)
    measure = servers.held_bytes(partial(Server.handle_reply, peer.protocol))
    assert measure is not None and measure() == 150_000, LOOK
    transport.doWrite()
    peer.receive()
    assert measure() == 150_000 - len(peer.read) > 0, LOOK
    peer.drain()
    assert measure() == 0, LOOK


def test_frames_go_to_the_socket_at_once(daphne: Callable[..., DaphnePeer]) -> None:
    peer = daphne().open()
    assert wrote(peer, "at once")
    assert not peer.reactor.writers, "Twisted has nothing to do"
    peer.receive()
    assert peer.read == frame_bytes("at once")


def test_what_the_socket_does_not_take_is_twisteds_to_write(
    daphne: Callable[..., DaphnePeer],
) -> None:
    peer = daphne().open()
    frames = [str(number) * 150_000 for number in range(3)]
    assert wrote(peer, frames[0])
    peer.receive()
    assert 0 < len(peer.read) < 150_000 and peer.reactor.writers, "it was written in part"
    assert wrote(peer, frames[1]), "after what waits, not before it"
    peer.protocol.serverSend("between")
    assert wrote(peer, frames[2])
    peer.drain()
    assert wrote(peer, "last")
    peer.drain()
    expected = [frames[0], frames[1], "between", frames[2], "last"]
    assert peer.read == b"".join(map(frame_bytes, expected))


def test_frames_and_daphnes_own_are_written_in_their_order(
    daphne: Callable[..., DaphnePeer],
) -> None:
    peer = daphne().open()
    for number in range(3):
        assert wrote(peer, f"ready {number}")
        peer.protocol.serverSend(f"own {number}")
    peer.drain()
    expected = [f"{kind} {number}" for number in range(3) for kind in ("ready", "own")]
    assert peer.read == b"".join(map(frame_bytes, expected))


def refuses(peer: DaphnePeer) -> bool:
    """Whether it says so, and has written nothing."""
    peer.drain()
    before = peer.read
    taken = wrote(peer, "refused")
    peer.drain()
    return not taken and peer.read == before


def test_daphne_takes_no_frames_before_the_handshake(daphne: Callable[..., DaphnePeer]) -> None:
    peer = daphne()
    assert refuses(peer)
    peer.ask()
    assert refuses(peer)


def test_daphne_takes_no_frames_after_its_close(daphne: Callable[..., DaphnePeer]) -> None:
    peer = daphne().open()
    peer.protocol.serverClose(4000)
    assert refuses(peer)
    assert peer.read == b"\x88\x02" + (4000).to_bytes(2)


def test_daphne_takes_no_frames_after_the_clients_close(daphne: Callable[..., DaphnePeer]) -> None:
    peer = daphne().open()
    peer.protocol.dataReceived(b"\x88\x80\x00\x00\x00\x00")
    assert refuses(peer)


def test_daphne_takes_no_frames_past_what_autobahn_has_queued(
    daphne: Callable[..., DaphnePeer],
) -> None:
    peer = daphne().open()
    peer.protocol.send_queue.append((b"first", True))
    assert refuses(peer)


def test_daphne_takes_no_frames_while_it_holds_too_much(daphne: Callable[..., DaphnePeer]) -> None:
    peer = daphne(50_000).open()
    assert wrote(peer, "x" * 150_000), "one may pass an empty buffer"
    assert not wrote(peer, "y")
    peer.drain()
    assert peer.read == frame_bytes("x" * 150_000)
    assert wrote(peer, "y")


def test_a_socket_that_is_gone_is_twisteds_to_find(daphne: Callable[..., DaphnePeer]) -> None:
    peer = daphne().open()
    peer.socket.close()
    assert wrote(peer, "for nobody"), "Twisted does not know yet"
    assert peer.reactor.writers == [peer.transport]
    assert isinstance(peer.transport.doWrite(), Exception)


@pytest.mark.parametrize("wrapper", [ProtocolWrapper, TLSMemoryBIOProtocol])
def test_what_stands_between_daphne_and_its_socket_is_not_passed_by(wrapper: type) -> None:
    """A TLS transport answers for the socket below it, to which nothing may go in the clear."""
    below = Below()
    transport = wrapper.__new__(wrapper)
    transport.transport, transport.connected, transport.written = below, True, []
    transport.write = transport.written.append
    protocol = SimpleNamespace(state=3, STATE_OPEN=3, send_queue=[], transport=transport)
    writer = servers.DaphneWriter(protocol, 1000)
    assert writer.ready
    writer.write(b"a secret")
    assert transport.written == [b"a secret"] and not below.written


class Below:
    """The socket below a wrapper, as `tcp.Server` is."""

    TLS = False
    connected = True
    dataBuffer = b""  # noqa: N815
    offset = 0
    _tempDataLen = 0  # noqa: N815

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def writeSomeData(self, data: bytes) -> int:  # noqa: N802
        self.written.append(data)
        return len(data)


def test_daphne_knows_that_the_peer_has_left_before_it_says_so() -> None:
    own, _ = daphne_send()
    protocol = own.args[0]
    protocol.STATE_OPEN = 3
    protocol.state = 3
    assert not servers.is_closing(own)
    protocol.state = 0
    assert servers.is_closing(own)


# Whether a server takes bytes


def test_uvicorn_says_when_it_takes_bytes_and_others_do_not() -> None:
    send, _ = uvicorn_send()
    send.__self__.writable = takes = asyncio.Event()
    assert servers.writable(send) is takes
    assert servers.writable(daphne_send()[0]) is None
    assert servers.writable(unknown_send) is None


# How long the client may take to answer a close frame


@pytest.fixture(params=[WebSocketsSansIOProtocol, WebSocketProtocol])
async def uvicorn(request: pytest.FixtureRequest) -> AsyncIterator[Callable[..., Peer]]:
    """Make a peer of a real protocol of uvicorn: its own, and ours."""
    peers: list[Peer] = []

    def make(**options: Any) -> Peer:
        peers.append(Peer(request.param, **options))
        return peers[-1]

    yield make
    for each in peers:
        await each.end()


class Calls:
    """An event loop's ``call_later``, which only notes what it was asked for."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def call_later(self, seconds: float, callback: Any, *rest: Any) -> SimpleNamespace:
        self.seconds.append(seconds)
        return SimpleNamespace(cancel=lambda: None)


async def test_uvicorn_waits_as_long_as_it_is_told_for_the_clients_close(
    uvicorn: Callable[..., Peer],
) -> None:
    peer = uvicorn(ws_ping_interval=None)
    protocol = await peer.open()
    assert protocol.close_timeout == 10, "uvicorn has changed: limit_closing() relies on this"
    servers.limit_closing(peer.send, 1.5)
    protocol.loop = calls = Calls()
    await peer.send({"type": "websocket.close", "code": 4000})
    assert calls.seconds == [1.5]


async def test_uvicorn_listens_only_so_long_to_a_client_that_goes_on_after_our_close(
    uvicorn: Callable[..., Peer],
) -> None:
    peer = uvicorn(ws_ping_interval=None)
    protocol = await peer.open()
    servers.limit_closing(peer.send, 1.5)
    protocol.loop = calls = Calls()
    await peer.send({"type": "websocket.close", "code": 4000})
    for _ in range(servers.FAREWELL_FRAMES):
        protocol.frames, protocol.curr_msg_data_type = [b"more"], "text"
        protocol.send_receive_event_to_app()
    assert calls.seconds == [1.5]
    protocol.frames = [b"more"]
    protocol.send_receive_event_to_app()
    assert calls.seconds == [1.5, servers.FAREWELL_SECONDS]


def test_daphne_waits_as_long_as_it_is_told_for_the_clients_close(
    daphne: Callable[..., DaphnePeer],
) -> None:
    peer = daphne().open()
    peer.protocol.factory._batched_timer = calls = Calls()
    servers.limit_closing(partial(Server.handle_reply, peer.protocol), 1.5)
    peer.protocol.serverClose(4000)
    assert calls.seconds == [1.5], LOOK


def test_an_unknown_server_waits_as_long_as_it_likes() -> None:
    servers.limit_closing(unknown_send, 1.5)


# Clients that have to wait


class Readers(Reactor):
    """Knows who is read from."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:  # noqa: N802
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:  # noqa: N802
        self.readers = [other for other in self.readers if other is not reader]


@pytest.fixture
def read(daphne: Callable[..., DaphnePeer]) -> DaphnePeer:
    """A daphne that reads from its client."""
    peer = daphne().open()
    peer.transport.reactor = peer.reactor = Readers()
    peer.transport.startReading()
    return peer


def test_daphne_reads_nothing_while_its_client_is_held_back(read: DaphnePeer) -> None:
    readers: Any = read.reactor
    assert readers.readers == [read.transport]
    with servers.held_back(partial(Server.handle_reply, read.protocol)):
        assert readers.readers == []
    assert readers.readers == [read.transport]


def test_daphne_reads_on_whatever_ended_the_wait(read: DaphnePeer) -> None:
    readers: Any = read.reactor
    with (
        pytest.raises(asyncio.CancelledError),
        servers.held_back(partial(Server.handle_reply, read.protocol)),
    ):
        raise asyncio.CancelledError
    assert readers.readers == [read.transport]


def test_a_client_that_has_gone_meanwhile_is_not_read_from(read: DaphnePeer) -> None:
    readers: Any = read.reactor
    with servers.held_back(partial(Server.handle_reply, read.protocol)):
        read.transport.connected = read.transport.disconnecting = False
        read.transport.disconnected = True
    assert readers.readers == []


@pytest.mark.parametrize("send", [unknown_send, uvicorn_send()[0]], ids=["unknown", "uvicorn"])
def test_other_servers_are_held_back_by_not_being_asked(send: Any) -> None:
    """Uvicorn's protocol here has no transport that could be told anything."""
    entered = False
    with servers.held_back(send):
        entered = True
    assert entered


# Compression of one connection

OFFER = [ClientPerMessageDeflateFactory()]

TEXT = " ".join(str(number * number) for number in range(300))

LEVELS = [1, 6, 9]


async def test_compression_can_be_declined_before_the_accept(
    uvicorn: Callable[..., Peer],
) -> None:
    peer = uvicorn(offer=OFFER)
    await peer.ask()
    assert "permessage-deflate" in peer.extensions, "else nothing is declined"
    servers.set_compression(peer.send, 0)
    await peer.send({"type": "websocket.accept"})
    (answer,) = peer.events()
    assert answer.status_code == 101 and "Sec-WebSocket-Extensions" not in answer.headers
    assert peer.client.extensions == [] == peer.protocol.conn.extensions
    assert peer.writer is None or peer.writer.compression_level == 0
    await peer.send({"type": "websocket.send", "text": TEXT})
    assert peer.transport.written == [frame_bytes(TEXT)]
    assert peer.texts() == [TEXT]


@pytest.mark.parametrize("level", LEVELS)
async def test_a_level_can_be_chosen_before_the_accept(
    uvicorn: Callable[..., Peer], level: int
) -> None:
    peer = uvicorn(offer=OFFER)
    await peer.ask()
    terms = peer.extensions
    servers.set_compression(peer.send, level)
    await peer.send({"type": "websocket.accept"})
    (answer,) = peer.events()
    assert answer.headers["Sec-WebSocket-Extensions"] == terms, "it changes nothing else"
    assert peer.writer is None or peer.writer.compression_level == level
    for text in (TEXT, "short", TEXT):
        await peer.send({"type": "websocket.send", "text": text})
    first = peer.transport.written[0]
    assert first == uvicorns_own(TEXT, level, peer)
    assert peer.texts() == [TEXT, "short", TEXT]


def uvicorns_own(text: str, level: int, peer: Peer) -> bytes:
    """The first frame of a connection, as uvicorn's protocol sets zlib up for it."""
    (extension,) = peer.protocol.conn.extensions
    less = {} if extension.local_no_context_takeover else {"memLevel": 5}
    bits = extension.local_max_window_bits
    compressor = zlib.compressobj(**{"level": level, "wbits": -bits, **less})
    data = compressor.compress(text.encode()) + compressor.flush(zlib.Z_SYNC_FLUSH)
    payload = data.removesuffix(b"\x00\x00\xff\xff")
    return b"\xc1\x7e" + len(payload).to_bytes(2) + payload


async def test_the_level_is_that_of_one_connection_alone(uvicorn: Callable[..., Peer]) -> None:
    fast, small = uvicorn(offer=OFFER), uvicorn(offer=OFFER)
    for peer, level in ((fast, 1), (small, 9)):
        await peer.ask()
        servers.set_compression(peer.send, level)
        await peer.send({"type": "websocket.accept"})
        peer.events()
    for peer in (fast, small):
        await peer.send({"type": "websocket.send", "text": TEXT})
    assert len(small.transport.written[0]) < len(fast.transport.written[0])


@pytest.mark.parametrize("level", [0, 9])
async def test_after_the_accept_it_is_too_late(uvicorn: Callable[..., Peer], level: int) -> None:
    peer = uvicorn(offer=OFFER)
    protocol = await peer.open()
    agreed = list(protocol.conn.extensions)
    servers.set_compression(peer.send, level)
    assert protocol.conn.extensions == agreed
    await peer.send({"type": "websocket.send", "text": "still understood"})
    assert peer.texts() == ["still understood"]


@pytest.mark.parametrize("level", [0, 9])
async def test_a_client_that_offers_none_is_accepted_all_the_same(
    uvicorn: Callable[..., Peer], level: int
) -> None:
    peer = uvicorn()
    await peer.ask()
    servers.set_compression(peer.send, level)
    await peer.send({"type": "websocket.accept"})
    (answer,) = peer.events()
    assert answer.status_code == 101 and "Sec-WebSocket-Extensions" not in answer.headers
    assert peer.writer is None or peer.writer.compression_level == 0


async def test_what_uvicorn_has_been_told_not_to_do_is_not_done(
    uvicorn: Callable[..., Peer],
) -> None:
    peer = uvicorn(offer=OFFER, ws_per_message_deflate=False)
    await peer.ask()
    servers.set_compression(peer.send, 9)
    await peer.send({"type": "websocket.accept"})
    (answer,) = peer.events()
    assert "Sec-WebSocket-Extensions" not in answer.headers
    assert peer.writer is None or peer.writer.compression_level == 0


@pytest.mark.filterwarnings("ignore")  # it is deprecated, and so is what it stands on
@pytest.mark.parametrize("level", [0, *LEVELS])
async def test_uvicorns_older_protocol_takes_a_level_as_well(level: int) -> None:
    """On a socket, as it negotiates in a task of its own."""
    seen: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(send.__self__)
        servers.set_compression(send, level)
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": TEXT})
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async with (
        older_uvicorn(application) as port,
        connect(f"ws://127.0.0.1:{port}/", compression="deflate") as client,
    ):
        assert await client.recv() == TEXT
        assert client.response is not None
        extensions = client.response.headers.get("Sec-WebSocket-Extensions", "")
        assert bool(extensions) is bool(level)
        levels = [extension.compress_settings["level"] for extension in seen[0].extensions]
        assert levels == ([level] if level else [])


@asynccontextmanager
async def older_uvicorn(application: Any) -> AsyncIterator[int]:
    """Its port."""
    from uvicorn.protocols.websockets.websockets_impl import WebSocketProtocol as Older

    config = Config(application, interface="asgi3", log_config=None)
    config.load()
    state = ServerState()
    listening = await asyncio.get_running_loop().create_server(
        lambda: Older(config, state, {}), "127.0.0.1", 0
    )
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        await asyncio.gather(*state.tasks)


@pytest.mark.parametrize(
    ("level", "offered"), [(0, None), (9, ["permessage-deflate"])], ids=["declined", "as it is"]
)
def test_hypercorn_can_only_be_told_to_decline(level: int, offered: Any) -> None:
    """It is not installed here: an object by the name of its stream."""
    kind = type("WSStream", (), {"app_send": unknown_method, "__module__": HYPERCORN})
    stream: Any = kind()
    stream.handshake = SimpleNamespace(extensions=["permessage-deflate"])
    servers.set_compression(stream.app_send, level)
    assert stream.handshake.extensions == offered


HYPERCORN = "hypercorn.protocol.ws_stream"


async def unknown_method(self: Any, event: Any) -> None: ...


@pytest.mark.parametrize("level", [0, 9])
def test_an_unknown_server_compresses_as_it_likes(level: int) -> None:
    servers.set_compression(unknown_send, level)
    servers.set_compression(Server2().send, level)


@pytest.mark.parametrize(("level", "compresses"), [(0, False), (9, True)])
def test_daphne_compresses_when_it_is_told_to(
    daphne: Callable[..., DaphnePeer], level: int, compresses: bool
) -> None:
    peer = daphne()
    peer.ask("permessage-deflate; client_max_window_bits")
    send = partial(Server.handle_reply, peer.protocol)
    servers.set_compression(send, level)
    assert peer.writer.compression_level == 0, "it is not negotiated yet"
    peer.protocol.serverAccept()
    peer.drain()
    assert (b"permessage-deflate" in peer.read) is compresses
    assert peer.writer.compression_level == level


@pytest.mark.parametrize("text", [TEXT, "", "x" * 100_000], ids=["text", "empty", "large"])
@pytest.mark.parametrize("level", [0, 9])
async def test_what_daphne_would_not_send_whole_is_compressed_as_well(
    daphne: Callable[..., DaphnePeer], level: int, text: str
) -> None:
    peer = daphne()
    peer.ask("permessage-deflate")
    send = partial(Server.handle_reply, peer.protocol)
    servers.set_compression(send, level)
    peer.protocol.serverAccept()
    peer.drain()
    peer.read = b""
    await servers.send_whole(send, {"type": "websocket.send", "text": text})
    peer.drain()
    assert peer.read == frame_bytes(text, level)


# Clients that are not listened to any more


async def test_uvicorn_stops_reading_from_who_floods(uvicorn: Callable[..., Peer]) -> None:
    """Otherwise it parses all that comes, to drop it."""
    peer = uvicorn()
    protocol = await peer.open()
    paused: list[bool] = []
    protocol.transport.pause_reading = lambda: paused.append(True)
    servers.hear_no_more(peer.send)
    assert paused == [True]


def test_from_an_unknown_server_nothing_is_asked() -> None:
    servers.hear_no_more(unknown_send)
    servers.cut_unread(unknown_send, 1)


@pytest.mark.parametrize("waits", [0, 1], ids=["nothing", "something"])
async def test_uvicorn_drops_later_what_nobody_reads(
    uvicorn: Callable[..., Peer], monkeypatch: pytest.MonkeyPatch, waits: int
) -> None:
    peer = uvicorn()
    protocol = await peer.open()
    monkeypatch.setattr(protocol.transport, "get_write_buffer_size", lambda: waits, raising=False)
    monkeypatch.setattr(protocol.transport, "abort", "abort", raising=False)
    later: list[Any] = []
    loop = SimpleNamespace(call_later=lambda *arguments: later.append(arguments))
    monkeypatch.setattr("wsadapter.servers.asyncio.get_running_loop", lambda: loop)
    servers.cut_unread(peer.send, 1.5)
    assert later == ([(1.5, "abort")] if waits else [])


# What servers say of their end


def hypercorn_stream(stops: asyncio.Event, graceful_seconds: float) -> Any:
    """By its name alone: an object with what its stream has."""
    kind = type("WSStream", (), {"app_send": unknown_method, "__module__": HYPERCORN})
    stream: Any = kind()
    stream.context = SimpleNamespace(terminated=stops)
    stream.config = SimpleNamespace(graceful_timeout=graceful_seconds)
    return stream


async def test_hypercorn_gives_notice_of_its_end() -> None:
    stops = asyncio.Event()
    notice = servers.notice_of_end(hypercorn_stream(stops, 3.0).app_send)
    assert notice is not None and notice.graceful_seconds == 3
    waiting = asyncio.ensure_future(notice.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    stops.set()
    await waiting


def test_hypercorn_itself_has_what_is_asked_of_it() -> None:
    from hypercorn.asyncio.worker_context import WorkerContext
    from hypercorn.config import Config as HypercornConfig
    from hypercorn.protocol.ws_stream import WSStream

    context, config = WorkerContext(None), HypercornConfig()
    some: Any = None
    stream = WSStream(some, config, context, some, False, None, None, some, 1)
    notice = servers.notice_of_end(stream.app_send)
    assert notice == (context.terminated.wait, config.graceful_timeout)


def test_other_servers_give_none() -> None:
    for send in (uvicorn_send()[0], daphne_send()[0], unknown_send):
        assert servers.notice_of_end(send) is None


def test_here_nobody_supervises() -> None:
    assert not servers.is_supervised()


def test_a_process_of_multiprocessing_is_supervised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers.multiprocessing, "parent_process", lambda: "its supervisor")
    assert servers.is_supervised()


def test_a_worker_of_gunicorns_is_supervised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(servers.sys.modules, "gunicorn.arbiter", SimpleNamespace())
    assert servers.is_supervised()


def granian_send() -> Any:
    kind = type(
        "ASGIWebsocketProtocol", (), {"send": unknown_method, "__module__": "granian._granian"}
    )
    return kind().send


def test_granian_alone_holds_our_close_back() -> None:
    assert servers.closes_once_unheard(granian_send())
    for send in (uvicorn_send()[0], daphne_send()[0], unknown_send):
        assert not servers.closes_once_unheard(send)
