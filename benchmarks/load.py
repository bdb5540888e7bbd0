"""The load client: one process, one epoll, thousands of WebSockets, and every byte compared.

It knows what each connection has to receive, so it does not parse: it compares. Lost, doubled,
reordered and altered bytes are all the same to it: not what was expected.
"""

from __future__ import annotations

import base64
import select
import socket
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.expectations import Conversation, Expectation, Lost, Refused, WrongBytes

#: What one read takes at most; a burst of one connection is far smaller.
BUFFER_BYTES = 1 << 20
#: Handshakes that are under way at the same time.
WINDOW = 64
#: Seconds without a single byte after which what is missing counts as lost.
PATIENCE = 30.0

EVENTS = select.EPOLLIN | select.EPOLLET

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA


@dataclass(frozen=True)
class Manners:
    """How a client of a system behaves: its request, first messages and heartbeat."""

    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    hello: Sequence[str] = ()
    greetings: int = 0
    answers: Mapping[str, str] = field(default_factory=dict)
    compression: bool = False

    def request(self, port: int) -> bytes:
        lines = [
            f"GET {self.path} HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {base64.b64encode(b'wsadapter load client'[:16]).decode()}",
        ]
        if self.compression:
            offer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
            lines.append(f"Sec-WebSocket-Extensions: {offer}")
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode()


class Newcomer:
    """A connection on its way in: what it has received, and what it still waits for."""

    def __init__(self, client: socket.socket, manners: Manners) -> None:
        self.socket = client
        self._manners = manners
        self._greetings = manners.greetings
        self._received = b""
        self._accepted = False

    def welcomed(self, received: bytes) -> bool:
        """Whether it has, with this, all that a server sends before a client is served.

        Raises:
            DeliveryError: it was refused, or is not greeted as the system says.
        """
        self._received += received
        if not self._accepted and not self._is_accepted():
            return False
        frames, self._received = split_frames(self._received)
        if any(opcode == CLOSE for opcode, _ in frames):
            raise Refused(f"the server closed a new connection: {frames[-1][1]!r}")
        self._greetings -= len(frames)
        if self._greetings < 0 or (self._greetings == 0 and self._received):
            raise WrongBytes(f"a new connection was sent too much: {frames[-1:]!r}")
        return self._greetings == 0

    def _is_accepted(self) -> bool:
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end:
            return False
        if not head.startswith(b"HTTP/1.1 101 "):
            raise Refused(f"a handshake was answered with {head.splitlines()[0].decode()}")
        if self._manners.compression and b"server_no_context_takeover" not in head.lower():
            raise Refused("permessage-deflate was not negotiated")
        for text in self._manners.hello:
            self.socket.send(client_frame(TEXT, text.encode()))
        self._accepted, self._received = True, rest
        return True


class Crowd:
    """Connections to one server, or evenly to several.

    Args:
        ports: on 127.0.0.1.
        manners: what the system wants of its clients.
        patience_seconds: without a single byte, until what is missing counts as lost.
        receive_buffer: bytes that the kernel keeps for a client; None leaves it to the kernel.
    """

    def __init__(
        self,
        ports: Sequence[int],
        manners: Manners,
        *,
        patience_seconds: float = PATIENCE,
        receive_buffer: int | None = None,
    ) -> None:
        self._patience = patience_seconds
        self._receive_buffer = receive_buffer
        self._ports = ports
        self.manners = manners
        self._requests = {port: manners.request(port) for port in ports}
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._fragments: dict[int, bytes] = {}
        self._buffer = bytearray(BUFFER_BYTES)
        self._expectation: Expectation | Conversation = Expectation(b"", ())

    def __len__(self) -> int:
        return len(self._sockets)

    # Connecting

    def grow(self, size: int) -> float:
        """Connect until there are ``size`` connections; returns the seconds it took.

        Raises:
            DeliveryError: a connection was refused, or is not greeted as the system says.
        """
        began = time.monotonic()
        newcomers: dict[int, Newcomer] = {}
        try:
            while len(self._sockets) < size:
                while len(newcomers) < WINDOW and len(self._sockets) + len(newcomers) < size:
                    newcomer = self._knock(len(self._sockets) + len(newcomers))
                    newcomers[newcomer.socket.fileno()] = newcomer
                self._admit(newcomers)
        finally:
            for newcomer in newcomers.values():
                newcomer.socket.close()
        return time.monotonic() - began

    def _admit(self, newcomers: dict[int, Newcomer]) -> None:
        """Take those among the crowd who have been welcomed."""
        for connection in self._ready("a handshake"):
            if connection not in newcomers:
                self._attend_to(connection)
            elif newcomers[connection].welcomed(self._read(newcomers[connection].socket)):
                self._sockets[connection] = newcomers.pop(connection).socket

    def _knock(self, number: int) -> Newcomer:
        port = self._ports[number % len(self._ports)]
        client = self._connected(port)
        client.sendall(self._requests[port])
        client.setblocking(False)
        self._epoll.register(client.fileno(), EVENTS)
        return Newcomer(client, self.manners)

    def _connected(self, port: int) -> socket.socket:
        client = socket.socket()
        if self._receive_buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        client.settimeout(self._patience)
        client.connect(("127.0.0.1", port))
        return client

    def _read(self, client: socket.socket) -> bytes:
        try:
            count = client.recv_into(self._buffer)
        except BlockingIOError:
            return b""
        if count == 0:
            raise Refused(f"the server closed a connection; it has {len(self)} others")
        return bytes(self._buffer[:count])

    # Receiving, compared

    def expect(self, stream: bytes) -> None:
        """What every connection receives next."""
        self._expectation = Expectation(stream, self._sockets)

    def receive(self) -> float:
        """Wait for all of it; returns the time (of `time.monotonic`) of the last byte.

        Raises:
            DeliveryError: something else came, or not everything.
        """
        expectation, buffer = self._expectation, self._buffer
        sockets, take = self._sockets, self._expectation.take
        while expectation.waiting:
            for connection in self._ready(""):
                try:
                    count = sockets[connection].recv_into(buffer)
                except BlockingIOError:
                    continue
                if count == 0:
                    raise Refused(f"connection {connection} was closed")
                if answer := take(connection, buffer, count):
                    self._say(connection, answer)
                if count == BUFFER_BYTES:
                    self._epoll.modify(connection, EVENTS)  # tell again: there may be more
        return time.monotonic()

    def converse(self, conversation: Conversation) -> float:
        """Say all that is to be said, and receive all that is to be heard, as `receive` does."""
        self._expectation = conversation
        for connection, speaker in conversation.speakers.items():
            self._say(connection, speaker.opening)
        return self.receive()

    def _say(self, connection: int, frames: memoryview) -> None:
        sent = self._sockets[connection].send(frames)
        assert sent == len(frames), "more is under way than the kernel takes: choose less"

    @property
    def connections(self) -> list[int]:
        """The numbers of all who are here."""
        return list(self._sockets)

    def check_silence(self, seconds: float = 0.1) -> None:
        """Raise `WrongBytes` if anything comes within that time: what came twice, say."""
        for connection, _ in self._epoll.poll(seconds):
            received = self._read(self._sockets[connection])
            raise WrongBytes(f"connection {connection} received more: {received[:60]!r}")

    def learn(self, payloads: Sequence[str]) -> bytes:
        """The compressed stream in which the first connection receives the payloads.

        Compression may differ from one server to the next; what every connection receives has
        to be the same, and to inflate to the payloads. The others are left to `receive`.
        """
        first = next(iter(self._sockets.values()))
        first.settimeout(self._patience)
        stream = b""
        frames, rest = split_frames(stream)
        while len(frames) < len(payloads) or rest:
            stream += self._read(first)
            frames, rest = split_frames(stream)
        first.setblocking(False)
        if [inflate(frame) for _, frame in frames] != [payload.encode() for payload in payloads]:
            raise WrongBytes("what the first connection received does not inflate to the payloads")
        return stream

    def expect_after_learning(self, stream: bytes) -> None:
        """As `expect`, for all but the first connection, which has received it already."""
        self._expectation = Expectation(stream, list(self._sockets)[1:])

    def collect(self, frames: int) -> list[list[bytes]]:
        """Wait for so many frames at each connection; returns their payloads, by connection.

        Raises:
            DeliveryError: a connection received fewer, or more.
        """
        received = dict.fromkeys(self._sockets, b"")
        texts: dict[int, list[bytes]] = {connection: [] for connection in self._sockets}
        waiting = set(self._sockets)
        while waiting:
            for connection in self._ready("a frame"):
                whole, received[connection] = split_frames(
                    received[connection] + self._read_all(self._sockets[connection])
                )
                texts[connection] += [payload for _, payload in whole]
                if len(texts[connection]) >= frames:
                    waiting.discard(connection)
        self.check_silence()
        if any(len(each) > frames for each in texts.values()):
            raise WrongBytes("a connection received more frames than were sent")
        return list(texts.values())

    def _read_all(self, client: socket.socket) -> bytes:
        chunks: list[bytes] = []
        while chunk := self._read(client):
            chunks.append(chunk)
        return b"".join(chunks)

    # Sitting idle

    def attend(self, seconds: float) -> None:
        """Answer heartbeats for that long, as browsers and pages do."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for connection, _ in self._epoll.poll(left):
                self._attend_to(connection)

    def _attend_to(self, connection: int) -> None:
        client = self._sockets[connection]
        received = self._fragments.pop(connection, b"") + self._read(client)
        frames, rest = split_frames(received)
        if rest:
            self._fragments[connection] = rest
        for opcode, payload in frames:
            client.send(self._answer(opcode, payload))

    def _answer(self, opcode: int, payload: bytes) -> bytes:
        if opcode == PING:
            return client_frame(PONG, payload)
        answer = self.manners.answers.get(payload.decode("utf-8", "replace"))
        if opcode != TEXT or answer is None:
            raise WrongBytes(f"an idle connection received {payload[:60]!r}")
        return client_frame(TEXT, answer.encode())

    # Both

    def _ready(self, what: str) -> list[int]:
        events = self._epoll.poll(self._patience)
        if not events:
            missing = what or self._expectation.missing()
            raise Lost(f"nothing came for {self._patience:g} s: {missing}")
        return [connection for connection, _ in events]

    def close(self) -> None:
        for client in self._sockets.values():
            client.close()
        self._sockets.clear()
        self._epoll.close()


def client_frame(opcode: int, payload: bytes) -> bytes:
    """A frame from a client, masked with zeros, which leaves the payload as it is."""
    assert len(payload) < 65536, "the load client sends short messages only"
    no_mask = bytes(4)
    if len(payload) < 126:
        return bytes((0x80 | opcode, 0x80 | len(payload))) + no_mask + payload
    return bytes((0x80 | opcode, 0x80 | 126)) + len(payload).to_bytes(2) + no_mask + payload


def split_frames(received: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The whole frames (opcode, payload) that a server's bytes begin with, and the rest."""
    frames: list[tuple[int, bytes]] = []
    at = 0
    while len(received) >= at + 2:
        length, start = received[at + 1] & 0x7F, at + 2
        if length == 126:
            length, start = int.from_bytes(received[start : start + 2]), start + 2
        elif length == 127:
            length, start = int.from_bytes(received[start : start + 8]), start + 8
        if len(received) < start + length:
            break
        frames.append((received[at] & 0x0F, received[start : start + length]))
        at = start + length
    return frames, received[at:]


def inflate(payload: bytes) -> bytes:
    """What a compressed message says (RFC 7692, section 7.2.2)."""
    return zlib.decompressobj(wbits=-zlib.MAX_WBITS).decompress(payload + b"\x00\x00\xff\xff")
