"""A WebSocket protocol for uvicorn that takes ready frames.

    uvicorn --ws wsadapter.uvicorn:WebSocketProtocol shop.asgi:application

uvicorn's own protocol makes a frame anew for every connection. This one is the same, and also
lets wsadapter write bytes that were made once for all of them. It says so in the ASGI scope, by
the extension `EXTENSION`; a middleware that wraps ``send`` switches it off for what is wrapped.

Where uvicorn negotiates permessage-deflate (``--ws-per-message-deflate``, its default), this
protocol does so without context takeover in both directions: a push is compressed once for all
connections, and no connection keeps a window in memory. Before the handshake is answered,
`wsadapter.servers.set_compression` tells whether a connection has it, and at which level.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.extensions.permessage_deflate import (
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)
from websockets.http11 import Request
from websockets.protocol import State

from wsadapter.conf import settings
from wsadapter.servers import EXTENSION
from wsadapter.wire.frames import WINDOW_BITS

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent

#: Looked up once: on an enumeration that is a search.
OPEN = State.OPEN


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's sans-I/O protocol, which offers a writer of frames to the application."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: By this name `wsadapter.servers.frame_writer` sees that no middleware stands between.
        self.frame_writer: Frames | None = None
        if self.config.ws_per_message_deflate:
            self.conn.available_extensions = [
                ServerPerMessageDeflateFactory(
                    server_no_context_takeover=True,
                    client_no_context_takeover=True,
                    compress_settings={"level": settings.compression_level},
                )
            ]

    def handle_connect(self, event: Request) -> None:
        """Answer the handshake, then tell the application what it may do beside ASGI."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            self.frame_writer = Frames(self, self._negotiated_level())
            # The task of the application has been made, and has not run yet.
            self.scope["extensions"][EXTENSION] = {"writer": self.frame_writer}

    def _negotiated_level(self) -> int:
        """The zlib level of ready frames; 0 when the client does not take them compressed."""
        for extension in self.conn.extensions:
            if (
                isinstance(extension, PerMessageDeflate)
                and extension.local_no_context_takeover
                and extension.local_max_window_bits == WINDOW_BITS
            ):
                return settings.compression_level
        return 0

    # Whatever may change whether frames can be written: asyncio's callbacks, and all that sends.

    def pause_writing(self) -> None:
        try:
            super().pause_writing()
        finally:
            self._note_readiness()

    def resume_writing(self) -> None:
        try:
            super().resume_writing()
        finally:
            self._note_readiness()

    def connection_lost(self, exc: Exception | None) -> None:
        try:
            super().connection_lost(exc)
        finally:
            self._note_readiness()

    def data_received(self, data: bytes) -> None:
        try:
            super().data_received(data)
        finally:
            self._note_readiness()

    def keepalive_timeout(self) -> None:
        try:
            super().keepalive_timeout()
        finally:
            self._note_readiness()

    def shutdown(self) -> None:
        try:
            super().shutdown()
        finally:
            self._note_readiness()

    async def send(self, message: ASGISendEvent) -> None:
        try:
            await super().send(message)
        finally:
            self._note_readiness()

    def _note_readiness(self) -> None:
        """A close frame, whoever sent it, ends the state OPEN."""
        if self.frame_writer is not None:
            self.frame_writer.ready = (
                self.conn.state is OPEN
                and self.writable.is_set()
                and not self.transport.is_closing()
            )


class Frames:
    """The interface `wsadapter.servers.FrameWriter` of one connection.

    An object of its own because it is small: a fan-out to thousands looks at each one's.
    """

    __slots__ = ("compression_level", "ready", "write")

    def __init__(self, protocol: WebSocketProtocol, compression_level: int) -> None:
        self.compression_level = compression_level
        #: Whether frames can be written: the connection is open, and its transport takes bytes.
        self.ready = False
        #: Writes whole frames, as the protocol itself does after each ``send``.
        self.write = protocol.transport.write
