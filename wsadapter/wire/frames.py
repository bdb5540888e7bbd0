"""The bytes of WebSocket frames from a server, which are the same for every client.

A server masks nothing (RFC 6455, section 5.1), so that the bytes of a push can be made once and
written to every connection.
"""

from __future__ import annotations

import zlib

from wsadapter.wire.payload import Frame

#: In bytes; what is shorter hardly gets smaller.
MIN_DEFLATED_SIZE = 64

#: RFC 7692, section 7.1.2: as a power of two, the largest window, which all browsers take.
WINDOW_BITS = 15

_FINAL = 0x80
_COMPRESSED = 0x40
_TEXT = 0x1
_BINARY = 0x2

#: RFC 7692, section 7.2.1: how a flushed block ends, which the sender leaves out.
_EMPTY_BLOCK = b"\x00\x00\xff\xff"


def frame_bytes(frame: Frame, level: int = 0) -> bytes:
    """A whole message in one unmasked frame (RFC 6455, section 5.2).

    Args:
        level: zlib's, from 1 (fast) to 9 (small), for connections that negotiated
            permessage-deflate without context takeover. 0, for all others, does not compress;
            nor does any level where it would not pay, which the extension allows for.
    """
    opcode, payload = (_TEXT, frame.encode()) if isinstance(frame, str) else (_BINARY, frame)
    if level and len(payload) >= MIN_DEFLATED_SIZE:
        deflated = deflate(payload, level)
        if len(deflated) < len(payload):
            return _header(_FINAL | _COMPRESSED | opcode, len(deflated)) + deflated
    return _header(_FINAL | opcode, len(payload)) + payload


def deflate(payload: bytes, level: int) -> bytes:
    """A message compressed by itself (RFC 7692, section 7.2.1)."""
    compressor = zlib.compressobj(level, wbits=-WINDOW_BITS)
    deflated = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return deflated.removesuffix(_EMPTY_BLOCK)


def _header(first: int, length: int) -> bytes:
    if length < 126:
        return bytes((first, length))
    if length < 1 << 16:
        return bytes((first, 126)) + length.to_bytes(2)
    return bytes((first, 127)) + length.to_bytes(8)
