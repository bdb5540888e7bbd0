"""A WebSocket client that reads only when it is told to, and answers nothing."""

from __future__ import annotations

import json
import select
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from tests.deployment import DjangoServer
from tests.system.client import PATIENCE_SECONDS, Closed

#: What the kernel keeps for this side: little, so that the server notices soon.
RECEIVE_BUFFER_BYTES = 16 * 1024


class StubbornClient:
    """One connection.

    Args:
        socket: connected to the server.
        url: where the WebSocket is.

    Attributes:
        id: the client id of the welcome.
    """

    def __init__(self, socket: socket.socket, url: str) -> None:
        self.socket = socket
        #: The server's, and this one's.
        self._ports = socket.getpeername()[1], socket.getsockname()[1]
        self._protocol = ClientProtocol(parse_uri(url), max_size=None)
        self._protocol.send_request(self._protocol.connect())
        self.socket.sendall(b"".join(self._protocol.data_to_send()))
        self._events: list[Any] = []
        answer = self._event()
        assert isinstance(answer, Response) and answer.status_code == 101
        self.id: str = self.receive()["client"]

    def send(self, message: str | bytes) -> None:
        self.socket.sendall(serialised(message))

    def send_close(self, code: int) -> None:
        self.socket.sendall(Frame(Opcode.CLOSE, Close(code, "").serialize()).serialize(mask=True))

    def is_let_go(self) -> bool:
        """Whether the server's process has closed its socket; the kernel may still send from it."""
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, remote, *fields = line.split()
            if tuple(int(end.rpartition(":")[2], 16) for end in (local, remote)) == self._ports:
                return fields[6] == "0"  # the inode: it belongs to no process any more
        return True

    def offer(self, data: bytes, *, patience_seconds: float) -> int:
        """Push bytes until nobody takes them for so long. Returns how many were taken."""
        view, taken = memoryview(data), 0
        while taken < len(data) and self._is_writable(patience_seconds):
            taken += self.socket.send(view[taken:], socket.MSG_DONTWAIT)
        return taken

    def _is_writable(self, within_seconds: float) -> bool:
        return bool(select.select([], [self.socket], [], within_seconds)[1])

    def receive(self) -> Any:
        """The next frame, decoded if it is JSON; heartbeats are left out."""
        while True:
            frame = self._event()
            assert isinstance(frame, Frame)
            if frame.opcode is Opcode.CLOSE:
                raise ConnectionError(f"closed by the server: {Close.parse(bytes(frame.data))}")
            if frame.opcode is not Opcode.PING and b'"ws:ping"' not in frame.data:
                return decoded(frame)

    def closed(self) -> Closed:
        """Read until the close frame, or the end of the stream."""
        while (frame := self._event()) is not None:
            if frame.opcode is Opcode.CLOSE:
                close = Close.parse(bytes(frame.data))
                return Closed(close.code, close.reason)
        return Closed(1006, "")

    def until_cut(self) -> None:
        """Read until the server has dropped the connection."""
        while self._event() is not None:
            pass

    def drink(self, size: int) -> None:
        """Read so many bytes as fast as they come, and forget them."""
        while size > 0:
            data = self.socket.recv(1 << 20)
            assert data, "the server has closed"
            size -= len(data)

    def reset(self) -> None:
        """As if the process had been killed: a TCP reset in place of a close frame."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _event(self) -> Any:
        """What came next; None at the end of the stream."""
        while not self._events:
            try:
                data = self.socket.recv(1 << 16)
            except ConnectionResetError:
                data = b""
            if not data:
                return None
            self._protocol.receive_data(data)
            assert self._protocol.parser_exc is None
            self._events += self._protocol.events_received()
            self._protocol.data_to_send()  # answers, which nobody sends
        return self._events.pop(0)


def serialised(message: str | bytes) -> bytes:
    """A message as the frame that a client sends."""
    if isinstance(message, str):
        return Frame(Opcode.TEXT, message.encode()).serialize(mask=True)
    return Frame(Opcode.BINARY, message).serialize(mask=True)


def decoded(frame: Frame) -> Any:
    data = bytes(frame.data)
    if frame.opcode is Opcode.BINARY:
        return data
    try:
        return json.loads(data)
    except ValueError:
        return data.decode()


@contextmanager
def stubborn(server: DjangoServer, path: str) -> Iterator[StubbornClient]:
    """A connection that has had its welcome."""
    with socket.socket() as own:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        own.settimeout(PATIENCE_SECONDS)
        own.connect(("127.0.0.1", server.port))
        yield StubbornClient(own, f"{server.ws_url}{path}")
