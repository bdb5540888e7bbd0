"""The place of a message in a sequence, written into the message."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import msgspec

from wsadapter.errors import EncodeError
from wsadapter.wire.payload import Frame

#: What a stamp adds to a message.
FIELDS = ("sequence", "timestamp")


class Stamp(NamedTuple):
    """Where a message stands, and when it was sent.

    Attributes:
        sequence: rises by one from message to message; a jump is a gap.
        timestamp: milliseconds since the epoch.
    """

    sequence: int
    timestamp: int


def check_stampable(data: object, frame: Frame) -> None:
    """Refuse what cannot carry a stamp.

    Args:
        data: what is sent.
        frame: the same, encoded.

    Raises:
        EncodeError: it is no JSON object, or has one of the fields already.
    """
    fields = None if isinstance(data, str | bytes) else _fields_of(frame)
    if fields is None:
        raise EncodeError(
            f"A sequence is written into JSON objects, and this is a {type(data).__qualname__}. "
            "Send a dict, a dataclass, a msgspec.Struct or a pydantic model."
        )
    for name in FIELDS:
        if name in fields:
            raise EncodeError(
                f'The message has a field "{name}" already, which its sequence would overwrite. '
                "Rename the field, or send without a sequence."
            )


def stamped(text: str, stamp: Stamp) -> str:
    """The text of a JSON object with a stamp as its last fields.

    Args:
        text: as `wsadapter.wire.payload.to_json` makes it.
    """
    separator = "" if text == "{}" else ","
    return f'{text[:-1]}{separator}"sequence":{stamp.sequence},"timestamp":{stamp.timestamp}}}'


_objects = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _fields_of(frame: Frame) -> Collection[str] | None:
    """The names of the fields of a JSON object; None where a frame is none."""
    if not (isinstance(frame, str) and frame.endswith("}")):
        return None
    try:
        return _objects.decode(frame)
    except msgspec.MsgspecError:
        return None
