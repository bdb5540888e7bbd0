"""A WebSocket client of a server process, which may also send what no client should."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.client import ClientConnection, connect

from tests.deployment import DjangoServer

PATIENCE_SECONDS = 15.0


class Closed(NamedTuple):
    code: int
    reason: str


class Client:
    """One connection.

    Attributes:
        id: the client id of the welcome.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        try:
            self.id: str = self.receive()["client"]
        except ConnectionClosed as error:
            raise AssertionError(f"closed before a welcome: {error}") from error

    def receive(self) -> Any:
        """The next frame: decoded if it is JSON, else as it is; pings are answered."""
        while (frame := self.next_frame()) == {"type": "ws:ping"}:
            self.send({"type": "ws:pong"})
        return frame

    def next_frame(self) -> Any:
        """The next frame, a ping as well."""
        frame = self._connection.recv(PATIENCE_SECONDS)
        try:
            return json.loads(frame)
        except ValueError:
            return frame

    def send(self, message: Any) -> None:
        """Send ``str`` as text, ``bytes`` as binary, anything else as JSON."""
        self._connection.send(message if isinstance(message, str | bytes) else json.dumps(message))

    def flood(self, message: Any, times: int) -> None:
        """Send it again and again, for as long as the server takes it."""
        with suppress(ConnectionClosed):
            for _ in range(times):
                self.send(message)

    def request(self, message: Any) -> Any:
        self.send(message)
        return self.receive()

    def frame(self, opcode: int, payload: bytes, *, mask: bool = True) -> None:
        """Send a frame, whatever it is."""
        self.raw(Frame(Opcode(opcode), payload).serialize(mask=mask))

    def raw(self, data: bytes) -> None:
        self._connection.socket.sendall(data)

    def closed(self) -> Closed:
        """Read until the server closes."""
        try:
            while True:
                self._connection.recv(PATIENCE_SECONDS)
        except ConnectionClosed as error:
            end = error.rcvd
            return Closed(end.code, end.reason) if end else Closed(1006, "")

    def close(self, code: int = 1000) -> None:
        self._connection.close(code)

    def reset(self) -> None:
        """As if the process had been killed: a TCP reset in place of a close frame."""
        linger = struct.pack("ii", 1, 0)
        self._connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        # The client's reading thread holds the socket open as well: end it first.
        self._connection.socket.shutdown(socket.SHUT_RD)
        self._connection.socket.close()


@contextmanager
def connected(
    server: DjangoServer, path: str = "/ws/chat/", *, headers: Mapping[str, str] | None = None
) -> Iterator[Client]:
    """A connection that has had its welcome."""
    with connect(
        f"{server.ws_url}{path}",
        additional_headers=headers,
        compression=None,
        close_timeout=5,
        max_size=None,
    ) as connection:
        yield Client(connection)
