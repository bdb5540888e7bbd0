"""Typed messages: ``{"type": "chat.say", "id": 7, ...fields}`` in, replies and errors out."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from wsadapter.errors import Failure, InvalidMessage
from wsadapter.wire.failures import ErrorCode, FailureKind, kind_of
from wsadapter.wire.payload import Frame, to_json

#: Types that begin with this belong to wsadapter itself.
RESERVED_PREFIX = "ws:"

MessageId = int | str

PING = '{"type":"ws:ping"}'
PONG = '{"type":"ws:pong"}'
GAP = '{"type":"ws:gap"}'
#: The end of a stream of bytes, on a connection that lives on.
END = '{"type":"ws:end"}'

#: What a group is told of its members.
JOINED, LEFT = "ws:joined", "ws:left"


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


class Label(msgspec.Struct, frozen=True):
    """What can be told of a message without reading all of it."""

    #: As it stands there, whatever that is.
    given_type: Any = msgspec.field(default=None, name="type")
    #: See `wsadapter.wire.priorities.read_priority`.
    priority: Any = None

    @property
    def type(self) -> str | None:
        """The type, if it can be one."""
        return self.given_type if isinstance(self.given_type, str) else None


_labels = msgspec.json.Decoder(Label)


def label_of(text: str) -> Label:
    """The label of a message; an empty one where it is none, which is for its reader to say."""
    try:
        return _labels.decode(text)
    except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError):
        return Label()


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


def view_of(text: str) -> str | None:
    """The view that a message asks for, if that is what it does: ``{"type": "ws:view", …}``."""
    if '"ws:view"' not in text:
        return None
    try:
        message = decode(text)
    except InvalidMessage:
        return None
    return str(message.fields.get("view")) if message.type == "ws:view" else None


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


def joined(group: str, user_id: str | None, client_id: str, info: bytes) -> str:
    """What a group is told of somebody who has joined it.

    Args:
        info: JSON.
    """
    return _about_member(JOINED, group, user_id, client_id, {"info": msgspec.Raw(info)})


def left(group: str, user_id: str | None, client_id: str | None) -> str:
    """What a group is told of somebody who has left it: a user, or a client without one."""
    return _about_member(LEFT, group, user_id, client_id, {})


def _about_member(
    type: str, group: str, user_id: str | None, client_id: str | None, more: dict[str, Any]
) -> str:
    body = {"type": type, "group": _sendable(group), "user": user_id, "client": client_id}
    return to_json({**body, **more})


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
    return _error(
        error.id, str(error.code), error.message, path=error.path, retry_after=retry_after
    )


def failed(error: Failure, id: MessageId | None = None) -> str:
    """The ``ws:error`` message for a failure on this side.

    Args:
        id: of the message that failed, if it had one.
    """
    return _error(id, error.code, error.message, kind=error.kind, retry_after=error.retry_after)


def _error(
    id: MessageId | None,
    code: str,
    message: str,
    *,
    kind: FailureKind | None = None,
    path: str | None = None,
    retry_after: float | None = None,
) -> str:
    body: dict[str, Any] = {
        "type": "ws:error",
        "id": id,
        "code": _sendable(code),
        "kind": kind or kind_of(code),
        "message": _sendable(message),
    }
    if path is not None:
        body["path"] = _sendable(path)
    if retry_after is not None:
        body["retry_after"] = round(retry_after, 3)
    return to_json(body)


def _sendable(text: str) -> str:
    """Without halves of surrogate pairs, which a sentence about somebody's text may quote."""
    return text.encode("utf-8", "replace").decode()


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
