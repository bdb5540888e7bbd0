"""Limits on what a client may send: the size of a message."""

from __future__ import annotations


def exceeds(frame: str | bytes, max_bytes: int) -> bool:
    """Whether a frame is larger than ``max_bytes`` on the wire (text counts as UTF-8)."""
    if len(frame) > max_bytes:
        return True
    if isinstance(frame, bytes) or len(frame) * 4 <= max_bytes or frame.isascii():
        return False
    return len(frame.encode("utf-8", "surrogatepass")) > max_bytes
