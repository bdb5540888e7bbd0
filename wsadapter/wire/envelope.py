"""Typed messages: ``{"type": "chat.say", "id": 7, ...fields}`` in, replies and errors out."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from wsadapter.errors import InvalidMessage
from wsadapter.wire.payload import to_json

#: Types that begin with this belong to wsadapter itself.
RESERVED_PREFIX = "ws:"

MessageId = int | str

PING = '{"type":"ws:ping"}'
PONG = '{"type":"ws:pong"}'
GAP = '{"type":"ws:gap"}'


class ErrorCode(StrEnum):
    """The ``code`` of a ``ws:error`` message."""

    INVALID_JSON = "invalid_json"
    INVALID = "invalid"
    UNKNOWN_TYPE = "unknown_type"
    UNSUPPORTED = "unsupported"
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


def heartbeat(text: str) -> str | None:
    """``"ws:ping"`` or ``"ws:pong"`` when the frame is one of these, else None."""
    # The length and the substring spare all other frames the decoding.
    if len(text) > 64 or '"ws:p' not in text:
        return None
    try:
        kind = decode(text).type
    except InvalidMessage:
        return None
    return kind if kind in ("ws:ping", "ws:pong") else None


def welcome(client_id: str) -> str:
    return to_json({"type": "ws:welcome", "client": client_id})


def reply(id: MessageId | None, result: object) -> str:
    """The answer to a message.

    Raises:
        EncodeError: the handler's result does not encode as JSON.
    """
    return to_json({"type": "ws:reply", "id": id, "result": result})


def failure(error: InvalidMessage) -> str:
    """The ``ws:error`` message for a peer's mistake."""
    body: dict[str, Any] = {
        "type": "ws:error",
        "id": error.id,
        "code": str(error.code),
        "message": error.message,
    }
    if error.path is not None:
        body["path"] = error.path
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
