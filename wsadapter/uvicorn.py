"""A WebSocket protocol for uvicorn that takes ready frames.

    uvicorn --ws wsadapter.uvicorn:WebSocketProtocol shop.asgi:application

uvicorn's own protocol makes a frame anew for every connection. This one is the same, and also
lets wsadapter write bytes that were made once for all of them. It says so in the ASGI scope, by
the extension `EXTENSION`; a middleware that wraps ``send`` switches it off for what is wrapped.

Where uvicorn negotiates permessage-deflate (``--ws-per-message-deflate``, its default), this
protocol does so without context takeover in both directions: a push is compressed once for all
connections, and no connection keeps a window in memory.
"""

from __future__ import annotations

from typing import Any

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


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's sans-I/O protocol, and the interface `wsadapter.servers.FrameWriter`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.compression_level = 0
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
            self.compression_level = self._negotiated_level()
            # The task of the application has been made, and has not run yet.
            self.scope["extensions"][EXTENSION] = {"writer": self}

    def _negotiated_level(self) -> int:
        """The zlib level of prepared frames; 0 when the client does not take them compressed."""
        for extension in self.conn.extensions:
            if (
                isinstance(extension, PerMessageDeflate)
                and extension.local_no_context_takeover
                and extension.local_max_window_bits == WINDOW_BITS
            ):
                return settings.compression_level
        return 0

    def write_frames(self, frames: bytes) -> bool:
        """Write whole frames, as the protocol itself does after each ``send``, unless it waits.

        Returns:
            False, with nothing written, when the transport is full or the connection closes: a
            close frame, whoever sent it, ends the state OPEN.
        """
        if self.writable.is_set() and self.conn.state is State.OPEN and not self.disconnected:
            self.transport.write(frames)
            return True
        return False
