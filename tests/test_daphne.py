"""permessage-deflate on a real protocol of daphne, as a client that is not ours reads it.

When a test here fails after an upgrade of Autobahn, read ``autobahn/websocket/compress_deflate.py``
and ``WebSocketServerProtocol.succeedHandshake`` beside wsadapter/daphne.py.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from autobahn.websocket.compress import PERMESSAGE_COMPRESSION_EXTENSION, PerMessageDeflate
from daphne.server import Server
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import PerMessageDeflate as Inflate
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from tests.test_servers import DaphnePeer
from wsadapter import servers
from wsadapter.daphne import Acceptance, Deflate, answer
from wsadapter.wire.frames import frame_bytes

LOOK = "Autobahn has changed: wsadapter/daphne.py relies on this"

#: As browsers offer it.
BROWSER = "permessage-deflate; client_max_window_bits"

BOTH = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

TEXT = " ".join(str(number * number) for number in range(300))


class Client:
    """A daphne protocol, and what a client of it reads and says.

    Args:
        offer: the client's extensions.
        level: what the application asks for.
    """

    def __init__(self, offer: str, level: int) -> None:
        self.peer = DaphnePeer()
        self.peer.ask(offer)
        self.send = partial(Server.handle_reply, self.peer.protocol)
        servers.set_compression(self.send, level)
        self.peer.protocol.serverAccept()
        self.peer.drain()
        self.answer, self.peer.read = self.peer.read, b""
        self.protocol = self.peer.protocol
        self.reader = ClientProtocol(
            parse_uri("ws://shop.example/"), state=State.OPEN, max_size=None
        )
        self.reader.extensions = [Inflate(True, True, 15, 15)] if self.extensions else []

    @property
    def extensions(self) -> str:
        """What the server has agreed to."""
        for line in self.answer.decode().split("\r\n"):
            name, _, value = line.partition(": ")
            if name == "Sec-WebSocket-Extensions":
                return value
        return ""

    def raw(self) -> bytes:
        self.peer.drain()
        raw, self.peer.read = self.peer.read, b""
        return raw

    def frames(self) -> list[Any]:
        self.reader.receive_data(self.raw())
        assert self.reader.parser_exc is None
        return self.reader.events_received()

    def texts(self) -> list[str]:
        return [bytes(frame.data).decode() for frame in self.frames()]

    def says(self, frame: Frame) -> None:
        data = frame.serialize(mask=True, extensions=self.reader.extensions)
        self.protocol.dataReceived(data)

    def heard(self) -> list[Any]:
        """What daphne has for the application."""
        queue = self.protocol.application_queue
        return [queue.get_nowait() for _ in range(queue.qsize())]


@pytest.fixture
def client() -> Iterator[Callable[..., Client]]:
    made: list[Client] = []

    def make(offer: str = BROWSER, level: int = 9) -> Client:
        made.append(Client(offer, level))
        return made[-1]

    yield make
    for each in made:
        each.peer.close()


def test_autobahn_is_as_it_is_relied_upon(client: Callable[..., Client]) -> None:
    plain = client("")
    assert callable(plain.protocol.perMessageCompressionAccept), LOOK
    assert isinstance(plain.protocol.factory.perMessageCompressionAccept([]), type(None)), LOOK
    names = {"start_compress_message", "end_compress_message", "end_decompress_message"}
    assert names <= set(vars(PerMessageDeflate)), LOOK
    for name in ("_compressor", "_decompressor"):
        assert hasattr(client().protocol._perMessageCompress, name), LOOK


@pytest.mark.parametrize(
    ("offer", "agreed", "ready"),
    [
        ("", "", 0),
        ("x-webkit-deflate-frame", "", 0),
        ("permessage-deflate", BOTH, 9),
        (BROWSER, BOTH, 9),
        (f"{BOTH}; client_max_window_bits=12", BOTH, 9),
        ("permessage-deflate; server_max_window_bits=15", f"{BOTH}; server_max_window_bits=15", 9),
        ("permessage-deflate; server_max_window_bits=9", f"{BOTH}; server_max_window_bits=9", 0),
        (
            "permessage-deflate; server_max_window_bits=10, permessage-deflate",
            f"{BOTH}; server_max_window_bits=10",
            0,
        ),
        ("permessage-bzip2, permessage-deflate", BOTH, 9),
    ],
    ids=[
        *("none", "another", "bare", "browser", "without takeover", "window 15", "window 9"),
        *("two offers", "two extensions"),
    ],
)
def test_what_is_negotiated_decides_the_level(
    client: Callable[..., Client], offer: str, agreed: str, ready: int
) -> None:
    negotiating = client(offer)
    assert negotiating.answer.startswith(b"HTTP/1.1 101")
    assert negotiating.extensions == agreed
    assert negotiating.peer.writer.compression_level == ready


def test_nothing_is_negotiated_that_nobody_asked_for(client: Callable[..., Client]) -> None:
    assert client(level=0).extensions == ""
    assert answer(0, []) is None


def test_others_in_the_process_have_what_autobahn_has() -> None:
    assert PERMESSAGE_COMPRESSION_EXTENSION["permessage-deflate"]["PMCE"] is PerMessageDeflate
    assert PERMESSAGE_COMPRESSION_EXTENSION[Acceptance.EXTENSION_NAME]["PMCE"] is Deflate


@pytest.mark.parametrize("level", [1, 6, 9])
def test_daphnes_own_frames_have_the_level_and_stand_alone(
    client: Callable[..., Client], level: int
) -> None:
    sending = client(level=level)
    for _ in range(2):
        sending.protocol.serverSend(TEXT)
        assert sending.raw() == frame_bytes(TEXT, level), "what was before leaves no trace"


@pytest.mark.parametrize("bits", [9, 10, 14])
def test_a_smaller_window_is_kept_to(client: Callable[..., Client], bits: int) -> None:
    sending = client(f"permessage-deflate; server_max_window_bits={bits}")
    sending.protocol.serverSend(TEXT * 20)
    raw = sending.raw()
    assert raw[0] & 0x40
    payload = raw[4:] if raw[1] == 126 else raw[10:]
    inflated = zlib.decompressobj(wbits=-bits).decompress(payload + b"\x00\x00\xff\xff")
    assert inflated == (TEXT * 20).encode()


@pytest.mark.parametrize("offer", ["", BROWSER, "permessage-deflate; server_max_window_bits=10"])
def test_ready_frames_and_daphnes_own_are_read_in_their_order(
    client: Callable[..., Client], offer: str
) -> None:
    mixing = client(offer)
    writer = mixing.peer.writer
    expected = []
    for number in range(3):
        for text in (f"ready {number} {TEXT}", f"{number}"):
            assert writer.ready
            writer.write(frame_bytes(text, writer.compression_level))
        mixing.protocol.serverSend(f"own {number} {TEXT}")
        expected += [f"ready {number} {TEXT}", f"{number}", f"own {number} {TEXT}"]
    assert mixing.texts() == expected


def test_nothing_of_a_message_stays_in_memory(client: Callable[..., Client]) -> None:
    """Autobahn's own would keep zlib's state, a quarter of a megabyte for each connection."""
    talking = client()
    deflate = talking.protocol._perMessageCompress
    assert isinstance(deflate, Deflate)
    talking.protocol.serverSend(TEXT)
    talking.says(Frame(Opcode.TEXT, TEXT.encode()))
    assert deflate._compressor is None and deflate._decompressor is None


def test_what_the_client_compresses_is_read(client: Callable[..., Client]) -> None:
    talking = client()
    talking.heard()
    for text in (TEXT, "", TEXT):
        talking.says(Frame(Opcode.TEXT, text.encode()))
    talking.says(Frame(Opcode.BINARY, b"\x00" * 1000))
    received = [event.get("text", event.get("bytes")) for event in talking.heard()]
    assert received == [TEXT, "", TEXT, b"\x00" * 1000]


def test_a_message_that_swells_beyond_the_limit_ends_the_connection(
    client: Callable[..., Client],
) -> None:
    talking = client()
    talking.heard()
    talking.protocol.maxMessagePayloadSize = 10_000
    talking.says(Frame(Opcode.BINARY, b"\x00" * 10_000))
    (event,) = talking.heard()
    assert event["bytes"] == b"\x00" * 10_000
    talking.says(Frame(Opcode.BINARY, b"\x00" * 10_001))
    assert talking.heard() == [] and servers.is_closing(talking.send)


def test_what_does_not_inflate_ends_the_connection(client: Callable[..., Client]) -> None:
    talking = client()
    talking.heard()
    compressed_junk = b"\xc2\x84\x00\x00\x00\x00" + b"\xff" * 4
    talking.protocol.dataReceived(compressed_junk)
    assert talking.heard() == [] and servers.is_closing(talking.send)
