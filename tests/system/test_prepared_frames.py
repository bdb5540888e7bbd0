"""Frames that are made once and joined arrive on real servers as if each was sent alone."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.test import override_settings
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.sync.client import ClientConnection, connect
from websockets.uri import parse_uri

import wsadapter
from tests.deployment import Certificate, Deployment, DjangoServer, ServerKind
from tests.redis_server import RedisServer
from tests.system.client import PATIENCE_SECONDS, Client
from tests.waiting import eventually
from wsadapter.wire.frames import frame_bytes

#: Without pings there is nothing on the wire but what a test has sent.
ADAPTER = {"HEARTBEAT": "never", "MAX_OUTBOX_SIZE": 16 * 1024 * 1024, "COMPRESSION": True}

ECHO = "/ws/echo/"

#: What a handshake may offer: nothing, what browsers offer, what limits the server's window.
OFFERS: dict[str, list[ClientPerMessageDeflateFactory]] = {
    "plain": [],
    "deflate": [ClientPerMessageDeflateFactory()],
    "small window": [ClientPerMessageDeflateFactory(server_max_window_bits=10)],
}

#: In characters: each length of a header, the bound of what is joined, and far beyond it.
SIZES = [0, 1, 20, 125, 126, 200, 5_000, 65_535, 65_536, 70_000, 300_000, 40, 1024 * 1024, 7]


@pytest.fixture(scope="module", params=["uvicorn-frames", "daphne"])
def server(
    request: pytest.FixtureRequest,
    redis_server: RedisServer,
    project_database: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DjangoServer]:
    yield from started(request.param, redis_server, project_database, tmp_path_factory)


@pytest.fixture(scope="module", params=["uvicorn-frames", "daphne"])
def tls_server(
    request: pytest.FixtureRequest,
    redis_server: RedisServer,
    project_database: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DjangoServer]:
    certificate = self_signed(tmp_path_factory.mktemp("certificate"))
    yield from started(
        request.param, redis_server, project_database, tmp_path_factory, certificate=certificate
    )


def started(
    kind: ServerKind,
    redis_server: RedisServer,
    database: Path,
    directories: pytest.TempPathFactory,
    **options: Any,
) -> Iterator[DjangoServer]:
    redis_server.flush()
    deployment = Deployment(
        directories.mktemp("prepared"),
        database=database,
        redis_url=redis_server.url,
        adapter=ADAPTER,
    )
    yield deployment.server(kind, **options)
    deployment.stop()


def self_signed(directory: Path) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests of wsadapter")])
    today = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=today - timedelta(days=1),
        not_valid_after=today + timedelta(days=1),
    ).add_extension(address, critical=False)
    certificate = Certificate(directory / "certificate.pem", directory / "key.pem")
    pem = serialization.Encoding.PEM
    certificate.path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(pem))
    certificate.key_path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate


@pytest.fixture(autouse=True)
def publisher(redis_server: RedisServer) -> Iterator[None]:
    """The helpers called in this process, as a worker calls them: all on one connection."""
    backend = "wsadapter.layers.RedisChannelLayer"
    layers = {"default": {"BACKEND": backend, "CONFIG": {"hosts": [redis_server.url]}}}
    with override_settings(CHANNEL_LAYERS=layers):
        yield


@contextmanager
def browser(server: DjangoServer, offer: str = "plain", path: str = ECHO) -> Iterator[Client]:
    with connection(server, offer, path) as connected:
        yield Client(connected)


def connection(server: DjangoServer, offer: str, path: str = ECHO) -> ClientConnection:
    return connect(
        f"{server.ws_url}{path}",
        compression=None,
        extensions=OFFERS[offer] or None,
        ssl=server.tls,
        close_timeout=5,
        max_size=None,
    )


def numbered(number: int, size: int) -> dict[str, Any]:
    return {"type": "push", "number": number, "pad": "text " * (size // 5) + "." * (size % 5)}


def received(client: Client, count: int) -> list[Any]:
    return [client.receive() for _ in range(count)]


def pushes_and_echoes(frames: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Each of the two kinds in the order in which it came."""
    pushes = [frame for frame in frames if isinstance(frame, dict)]
    return pushes, [frame for frame in frames if not isinstance(frame, dict)]


@pytest.mark.parametrize("offers", [["plain"], ["deflate"], ["small window"], list(OFFERS)])
def test_pushes_of_all_sizes_among_echoes_arrive_whole_and_in_order(
    server: DjangoServer, offers: list[str]
) -> None:
    check_pushes_among_echoes(server, [*offers, *offers])


@pytest.mark.parametrize("offers", [["plain", "plain"], ["deflate", "plain"]])
def test_over_tls_they_do_as_well(tls_server: DjangoServer, offers: list[str]) -> None:
    check_pushes_among_echoes(tls_server, offers)


def check_pushes_among_echoes(server: DjangoServer, offers: list[str]) -> None:
    """Bursts that leave in one command are read at once; echoes come in between."""
    messages = [numbered(number, size) for number, size in enumerate(SIZES * 3)]
    with ExitStack() as stack:
        clients = [stack.enter_context(browser(server, offer)) for offer in offers]
        for start in range(0, len(messages), 7):
            for client in clients:
                client.send(f"echo before {start}")
            with wsadapter.bulk():
                for message in messages[start : start + 7]:
                    wsadapter.broadcast(message)
            for client in clients:
                client.send(f"echo after {start}")
        echoes = [
            f"echo {when} {start}"
            for start in range(0, len(messages), 7)
            for when in ("before", "after")
        ]
        for client in clients:
            frames = received(client, len(messages) + len(echoes))
            assert pushes_and_echoes(frames) == (messages, echoes)


def test_many_small_pushes_at_once_arrive_whole_and_in_order(server: DjangoServer) -> None:
    """More than may leave in one piece."""
    with browser(server) as one, browser(server, "deflate") as other:
        with wsadapter.bulk():
            for number in range(3000):
                wsadapter.broadcast(f"push {number} {'.' * 30}")
        expected = [f"push {number} {'.' * 30}" for number in range(3000)]
        assert received(one, 3000) == received(other, 3000) == expected


def test_binary_and_text_arrive_as_they_were(server: DjangoServer) -> None:
    messages: list[str | bytes] = [
        *(b"\x00\xff" * 100, "ä", b"\x01", "text " * 40),
        *(bytes(range(256)) * 400, "🌷" * 20_000, b"last"),
    ]
    with browser(server) as one, browser(server, "deflate") as other:
        with wsadapter.bulk():
            for message in messages:
                wsadapter.broadcast(message)
        assert received(one, len(messages)) == received(other, len(messages)) == messages


def test_those_who_are_excluded_get_the_rest_in_order(server: DjangoServer) -> None:
    with browser(server) as one, browser(server) as other, browser(server) as third:
        with wsadapter.bulk():
            for number in range(30):
                wsadapter.broadcast(
                    f"push {number}", exclude=[[one.id], [other.id], []][number % 3]
                )
            wsadapter.send_to_client(third.id, "for the third alone")
            wsadapter.broadcast("last")
        all_of_them = [f"push {number}" for number in range(30)]
        assert received(one, 21) == [*(p for n, p in enumerate(all_of_them) if n % 3), "last"]
        assert received(other, 21) == [
            *(p for n, p in enumerate(all_of_them) if n % 3 != 1),
            "last",
        ]
        assert received(third, 32) == [*all_of_them, "for the third alone", "last"]


@pytest.mark.parametrize("offer", ["plain", "deflate"])
def test_a_close_after_a_burst_comes_after_it_or_instead(server: DjangoServer, offer: str) -> None:
    with connection(server, offer) as connected, browser(server) as other:
        client = Client(connected)
        with wsadapter.bulk():
            for number in range(50):
                wsadapter.broadcast(f"push {number} {'.' * 3000}")
        assert wsadapter.disconnect_client(client.id) == 1
        with wsadapter.bulk():
            for number in range(50, 60):
                wsadapter.broadcast(f"push {number} {'.' * 3000}")
        expected = [f"push {number} {'.' * 3000}" for number in range(60)]
        frames = until_closed(connected)
        assert frames == expected[: len(frames)] and len(frames) <= 50
        assert connected.close_code == 3503, f"after {len(frames)} frames"
        assert received(other, 60) == expected, "nobody else was closed"


def until_closed(connected: ClientConnection) -> list[Any]:
    frames: list[Any] = []
    try:
        while True:
            frames.append(connected.recv(PATIENCE_SECONDS))
    except ConnectionClosed:
        return frames


def test_clients_that_come_and_go_during_bursts_disturb_nobody(server: DjangoServer) -> None:
    with browser(server) as constant:
        for round_ in range(10):
            with connection(server, "deflate") as leaves, connection(server, "plain") as resets:
                assert Client(leaves).id
                client = Client(resets)
                with wsadapter.bulk():
                    for number in range(20):
                        wsadapter.broadcast({"round": round_, "number": number, "pad": "x" * 2000})
                leaves.socket.shutdown(socket.SHUT_RDWR)
                client.reset()
            expected = [(round_, number) for number in range(20)]
            frames = received(constant, 20)
            assert [(frame["round"], frame["number"]) for frame in frames] == expected
        eventually(lambda: server.get("/counts/").json()["clients"] == 1)
    assert "Traceback" not in server.log()


# What stands on the wire


class Wire:
    """One connection, and every byte that came over it since the last frame was read."""

    def __init__(self, server: DjangoServer, offer: str) -> None:
        url = f"{server.ws_url}{ECHO}"
        self._protocol = ClientProtocol(
            parse_uri(url), extensions=OFFERS[offer] or None, max_size=None
        )
        self.socket = socket.create_connection(("127.0.0.1", server.port), PATIENCE_SECONDS)
        self._protocol.send_request(self._protocol.connect())
        self.socket.sendall(b"".join(self._protocol.data_to_send()))
        self._events: list[Any] = []
        self.raw = b""
        answer = self._event()
        assert isinstance(answer, Response) and answer.status_code == 101
        self.extensions = answer.headers.get("Sec-WebSocket-Extensions", "")
        assert b"ws:welcome" in self.frame()[1]

    def frame(self) -> tuple[bytes, bytes]:
        """The next frame as it came, when nothing came after it; and its payload."""
        self.raw = b""
        frame = self._event()
        assert isinstance(frame, Frame) and not self._events
        return self.raw, bytes(frame.data)

    def _event(self) -> Any:
        while not self._events:
            data = self.socket.recv(1 << 16)
            assert data, "the server has closed"
            self.raw += data
            self._protocol.receive_data(data)
            assert self._protocol.parser_exc is None
            self._events += self._protocol.events_received()
        return self._events.pop(0)

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def wire() -> Iterator[Callable[..., Wire]]:
    with ExitStack() as stack:

        def make(server: DjangoServer, offer: str) -> Wire:
            made = Wire(server, offer)
            stack.callback(made.close)
            return made

        yield make


LONG = json.dumps({"type": "shop.stock", "items": [{"id": n, "left": n * n} for n in range(50)]})
SHORT = "too short to be compressed"


@pytest.mark.parametrize("text", [LONG, SHORT], ids=["long", "short"])
def test_a_push_is_compressed_for_those_who_negotiated_it_and_nobody_else(
    server: DjangoServer, wire: Callable[..., Wire], text: str
) -> None:
    clients = {offer: wire(server, offer) for offer in OFFERS}
    wsadapter.broadcast(text)
    on_wire = {offer: client.frame() for offer, client in clients.items()}
    assert {payload for _, payload in on_wire.values()} == {text.encode()}
    assert on_wire["plain"][0] == on_wire["small window"][0] == frame_bytes(text)
    assert on_wire["deflate"][0] == frame_bytes(text, 1)
    rsv1 = on_wire["deflate"][0][0] & 0x40
    assert bool(rsv1) is (text == LONG)


def test_compression_is_negotiated_without_context_takeover(
    server: DjangoServer, wire: Callable[..., Wire]
) -> None:
    extensions = {offer: wire(server, offer).extensions for offer in OFFERS}
    assert extensions["plain"] == ""
    both = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    assert extensions["deflate"] == both
    assert extensions["small window"] == f"{both}; server_max_window_bits=10"


def test_what_the_application_sends_itself_is_compressed_by_the_server(
    server: DjangoServer, wire: Callable[..., Wire]
) -> None:
    client = wire(server, "deflate")
    client.socket.sendall(Frame(Opcode.TEXT, LONG.encode()).serialize(mask=True))
    raw, payload = client.frame()
    assert payload == LONG.encode()
    assert raw[0] & 0x40
