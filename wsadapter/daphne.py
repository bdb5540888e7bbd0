"""permessage-deflate on daphne, which by itself negotiates none.

Autobahn, on which daphne stands, can do it, but has one level for everybody, and keeps the state
of zlib for each connection between its messages. Here a connection has a level, each message is
compressed by itself, so that a push is compressed once for all, and nothing stays in memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

from autobahn.websocket.compress import (
    PERMESSAGE_COMPRESSION_EXTENSION,
    PerMessageDeflate,
    PerMessageDeflateOffer,
    PerMessageDeflateOfferAccept,
)

from wsadapter.wire.frames import WINDOW_BITS


def answer(level: int, offers: Sequence[Any]) -> Acceptance | None:
    """What Autobahn asks for when it accepts a client that offers compression.

    Args:
        level: zlib's, from 1 to 9, or 0 for none.
        offers: the client's, of several extensions perhaps, its preferred one first.
    """
    for offer in offers:
        if level and isinstance(offer, PerMessageDeflateOffer):
            return Acceptance(offer, level)
    return None


class Acceptance(PerMessageDeflateOfferAccept):
    """An offer is accepted, without context takeover in both directions."""

    #: Autobahn finds `Deflate` by it. No client can offer it: a name has no semicolon.
    EXTENSION_NAME = "permessage-deflate; wsadapter"

    def __init__(self, offer: PerMessageDeflateOffer, level: int) -> None:
        super().__init__(offer, request_no_context_takeover=True, no_context_takeover=True)
        self.level = level

    def get_extension_string(self) -> str:
        """The server's header; Autobahn's own would not tell that the server forgets."""
        terms = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        bits = self.offer.request_max_window_bits
        return f"{terms}; server_max_window_bits={bits}" if bits else terms


class Deflate(PerMessageDeflate):
    """Compresses the messages of one connection, and keeps nothing between them."""

    level: int
    _compressor: Any
    _decompressor: Any

    @classmethod
    def create_from_offer_accept(cls, is_server: bool, accept: Acceptance) -> Deflate:
        deflate: Deflate = super().create_from_offer_accept(is_server, accept)
        deflate.level = accept.level
        return deflate

    @property
    def ready_level(self) -> int:
        """The level of frames that are made for all clients; 0 if its window is too small."""
        return self.level if self.server_max_window_bits == WINDOW_BITS else 0

    def start_compress_message(self) -> None:
        self._compressor = zlib.compressobj(self.level, wbits=-self.server_max_window_bits)

    def end_compress_message(self) -> bytes:
        end: bytes = super().end_compress_message()
        self._compressor = None
        return end

    def end_decompress_message(self) -> None:
        super().end_decompress_message()
        self._decompressor = None


PERMESSAGE_COMPRESSION_EXTENSION[Acceptance.EXTENSION_NAME] = {
    **PERMESSAGE_COMPRESSION_EXTENSION["permessage-deflate"],
    "PMCE": Deflate,
}
