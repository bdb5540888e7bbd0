"""Generated client ids: they say where their connection lives, so no group is needed for one.

``<process>.<number>`` is the connection on the layer channel ``specific.<process>!<number>``.
"""

from __future__ import annotations

import re
import uuid

_GENERATED = re.compile(r"([0-9a-f]{16})\.([0-9a-f]{16})")
_CHANNEL = re.compile(r"specific\.([0-9a-f]{16})!([0-9a-f]{16})$")


def new() -> str:
    """A client id for a layer whose channel names are not ours."""
    return f"{uuid.uuid4().hex[:16]}.{uuid.uuid4().hex[:16]}"


def of_channel(channel: str) -> str | None:
    """The client id of one of our layers' channels, or None for other names."""
    found = _CHANNEL.search(channel)
    return f"{found[1]}.{found[2]}" if found else None


def channel_of(client_id: str, prefix: str = "") -> str | None:
    """The layer channel of a generated client id, or None when a browser chose the id."""
    found = _GENERATED.fullmatch(client_id)
    return f"{prefix}specific.{found[1]}!{found[2]}" if found else None


def is_generated(client_id: str) -> bool:
    """Whether the id has the form that wsadapter gives out."""
    return _GENERATED.fullmatch(client_id) is not None
