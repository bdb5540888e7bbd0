"""What a channel layer carries for wsadapter's own consumers: pushes and kicks.

Both travel as Channels messages, so that any channel layer can carry them. The browser never
sees these types, and cannot send them.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from wsadapter.close_codes import check_code
from wsadapter.wire.frames import frame_bytes
from wsadapter.wire.outbox import Priority
from wsadapter.wire.payload import Frame, size_of

Message: TypeAlias = dict[str, Any]

T = TypeVar("T")

PUSH = "wsadapter.push"
KICK = "wsadapter.kick"


@dataclass(slots=True)
class Push:
    """One frame for many connections: encoded by the publisher, the same object for all.

    Nothing changes it once it is made.
    """

    frame: Frame
    exclude: frozenset[str] = frozenset()
    priority: Priority = Priority.NORMAL
    authenticated_only: bool = False
    #: In bytes, of the payload.
    size: int = field(init=False)
    #: The ASGI event that sends the frame, made once and handed to every server as it is.
    event: Message = field(init=False)
    #: Whether connections that are in the group may not be meant: then `concerns` knows.
    selective: bool = field(init=False)
    _prepared: dict[int, bytes] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        self.size = size_of(self.frame)
        self.event = send_event(self.frame)
        self.selective = bool(self.exclude) or self.authenticated_only
        self._prepared = {}

    def concerns(self, client_id: str, user_id: str | None) -> bool:
        """Whether a connection that is in the group is meant, too."""
        if self.authenticated_only and user_id is None:
            return False
        return client_id not in self.exclude

    def to_bytes(self, level: int) -> bytes:
        """The frame as it stands on the wire, made once whoever gets it: see `frame_bytes`."""
        prepared = self._prepared.get(level)
        if prepared is None:
            prepared = self._prepared[level] = frame_bytes(self.frame, level)
        return prepared

    def to_message(self, *, carries_bytes: bool) -> Message:
        """The layer message. Where a serialiser cannot carry bytes they travel as base64."""
        message: Message = {"type": PUSH}
        if isinstance(self.frame, str):
            message["text"] = self.frame
        elif carries_bytes:
            message["bytes"] = self.frame
        else:
            message["base64"] = b64encode(self.frame).decode()
        if self.exclude:
            message["exclude"] = sorted(self.exclude)
        if self.priority is not Priority.NORMAL:
            message["priority"] = int(self.priority)
        if self.authenticated_only:
            message["authenticated_only"] = True
        return message

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Push:
        """Read a layer message.

        Raises:
            KeyError, TypeError, ValueError: the message was not made by `to_message`.
        """
        return cls(
            frame=_frame(message),
            exclude=frozenset(message.get("exclude", ())),
            priority=Priority(message.get("priority", Priority.NORMAL)),
            authenticated_only=bool(message.get("authenticated_only", False)),
        )


@dataclass(frozen=True, slots=True)
class Kick:
    """Close connections, wherever they are.

    Args:
        session: only connections of the login session with this digest.
        serial: only the connection with this serial (one whose id a newcomer has taken over).
    """

    code: int
    reason: str = ""
    session: str | None = None
    serial: str | None = None

    def __post_init__(self) -> None:
        check_code(self.code)

    def concerns(self, serial: str, sessions: Collection[str]) -> bool:
        """Whether a connection that is in the group is meant, too."""
        if self.serial is not None and self.serial != serial:
            return False
        return self.session is None or self.session in sessions

    def to_message(self) -> Message:
        message: Message = {"type": KICK, "code": int(self.code), "reason": self.reason}
        if self.session is not None:
            message["session"] = self.session
        if self.serial is not None:
            message["serial"] = self.serial
        return message

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Kick:
        """Read a layer message; raises as `Push.from_message` does."""
        return cls(
            code=int(message["code"]),
            reason=str(message.get("reason", "")),
            session=message.get("session"),
            serial=message.get("serial"),
        )


def send_event(frame: Frame) -> Message:
    """The ASGI event that sends a frame."""
    kind = "text" if isinstance(frame, str) else "bytes"
    return {"type": "websocket.send", kind: frame}


def push(
    frame: Frame, exclude: Collection[str], priority: Priority, authenticated_only: bool
) -> Push:
    """A push from a helper's arguments."""
    if isinstance(exclude, str):
        exclude = (exclude,)
    excluded = frozenset(exclude or ())
    if not all(isinstance(client_id, str) for client_id in excluded):
        raise TypeError(f"exclude takes client ids, which are str, not {exclude!r}.")
    return Push(frame, excluded, Priority(priority), authenticated_only)


def _frame(message: Mapping[str, Any]) -> Frame:
    if "text" in message:
        return _typed(message["text"], str)
    if "bytes" in message:
        return _typed(message["bytes"], bytes)
    return b64decode(message["base64"], validate=True)


def _typed(value: Any, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")
    return value
