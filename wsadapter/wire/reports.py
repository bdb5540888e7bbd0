"""What a connection says of how it is doing, and the frame in which several say it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Report(msgspec.Struct, frozen=True):
    """How one connection is doing.

    Attributes:
        client: its client id.
        silence_seconds: since its last frame.
        round_trip_seconds: between the last ping and its pong, or None where there was none.
        queued_bytes: what waits to be sent.
        dropped: pushes for which there was no room.
    """

    client: str
    silence_seconds: float
    round_trip_seconds: float | None
    queued_bytes: int
    dropped: int


class _Reports(msgspec.Struct, frozen=True, tag_field="type", tag="reports"):
    reports: Sequence[Report]


def reports_frame(reports: Sequence[Report]) -> str:
    """The reports as one text frame."""
    return msgspec.json.encode(_Reports(reports)).decode()
