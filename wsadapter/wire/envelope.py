"""Typed messages: ``{"type": "chat.say", "id": 7, ...fields}`` in, replies and errors out."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from wsadapter.errors import InvalidMessage
from wsadapter.wire.payload import Frame, to_json

#: Types that begin with this belong to wsadapter itself.
RESERVED_PREFIX = "ws:"

MessageId = int | str

PING = '{"type":"ws:ping"}'
PONG = '{"type":"ws:pong"}'
GAP = '{"type":"ws:gap"}'
#: The end of a stream of bytes, on a connection that lives on.
END = '{"type":"ws:end"}'


class ErrorCode(StrEnum):
    """The ``code`` of a ``ws:error`` message."""

    INVALID_JSON = "invalid_json"
    INVALID = "invalid"
    UNKNOWN_TYPE = "unknown_type"
    UNSUPPORTED = "unsupported"
    RATE_LIMITED = "rate_limited"
    INTERNAL_ERROR = "internal_error"


class Envelope(NamedTuple):
    """A message from the browser: its type, its id if it wants an answer, and its fields."""

    type: str
    id: MessageId | None
    fields: dict[str, Any]


def decode(text: str) -> Envelope:
    """Read a typed message.

    Raises:
        InvalidMessage: not JSON (`invalid_json`), or no object with a ``type`` (`invalid`).
    """
    try:
        value = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError) as error:
        raise InvalidMessage(ErrorCode.INVALID_JSON, "The message is not valid JSON.") from error
    if not isinstance(value, dict):
        raise InvalidMessage(ErrorCode.INVALID, 'Expected a JSON object with a "type".', path="$")
    return Envelope(id=_id(value), type=_type(value), fields=value)


def id_of(frame: Frame) -> MessageId | None:
    """The id that a message wants its answer to have, as far as it can be read."""
    try:
        return decode(frame).id if isinstance(frame, str) else None
    except InvalidMessage as error:
        return error.id


def heartbeat(text: str) -> str | None:
    """``"ws:ping"`` or ``"ws:pong"`` when the frame is one of these, else None."""
    kind = _own_type(text, '"ws:p')
    return kind if kind in ("ws:ping", "ws:pong") else None


def is_end(text: str) -> bool:
    """Whether a text frame ends a stream of bytes."""
    return _own_type(text, '"ws:end"') == "ws:end"


def _own_type(text: str, part: str) -> str | None:
    """The type of a short message that has the part in it."""
    # The length and the substring spare all other frames the decoding.
    if len(text) > 64 or part not in text:
        return None
    try:
        return decode(text).type
    except InvalidMessage:
        return None


def welcome(client_id: str) -> str:
    return to_json({"type": "ws:welcome", "client": client_id})


def reply(id: MessageId | None, result: object) -> str:
    """The answer to a message.

    Raises:
        EncodeError: the handler's result does not encode as JSON.
    """
    return to_json({"type": "ws:reply", "id": id, "result": result})


def failure(error: InvalidMessage, retry_after: float | None = None) -> str:
    """The ``ws:error`` message for a peer's mistake.

    Args:
        retry_after: seconds after which the same message would be taken.
    """
    body: dict[str, Any] = {
        "type": "ws:error",
        "id": error.id,
        "code": str(error.code),
        "message": error.message,
    }
    if error.path is not None:
        body["path"] = error.path
    if retry_after is not None:
        body["retry_after"] = round(retry_after, 3)
    return to_json(body)


def _id(value: dict[str, Any]) -> MessageId | None:
    id = value.get("id")
    if id is None or (isinstance(id, int | str) and not isinstance(id, bool)):
        return id
    raise InvalidMessage(
        ErrorCode.INVALID, "The id of a message is a number or a string.", path="$.id"
    )


def _type(value: dict[str, Any]) -> str:
    kind = value.get("type")
    if isinstance(kind, str):
        return kind
    raise InvalidMessage(
        ErrorCode.INVALID,
        'Expected a JSON object with a "type" that is a string.',
        path="$.type",
        id=_id(value),
    )
