"""What a channel layer carries for wsadapter's own consumers: pushes, kicks, inspections.

All travel as Channels messages, so that any channel layer can carry them. The browser never
sees these types, and cannot send them.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, TypeVar

from wsadapter.close_codes import check_code
from wsadapter.wire.frames import frame_bytes
from wsadapter.wire.lanes import Priority
from wsadapter.wire.payload import Frame, size_of
from wsadapter.wire.stamps import Stamp, stamped

Message: TypeAlias = dict[str, Any]

T = TypeVar("T")

PUSH = "wsadapter.push"
KICK = "wsadapter.kick"
#: In what looks like a push to nobody: see `Inspect`.
REPORT_TO = "report_to"


@dataclass(slots=True)
class Push:
    """One frame for many connections: encoded by the publisher, the same object for all.

    Nothing changes it once it has left its publisher.

    Attributes:
        frame: what is sent; of data that has views, the default one.
        views: the frames of the other views, by their names.
        sent_at: when it left its publisher, where somebody observes that; set as it leaves.
    """

    frame: Frame
    exclude: frozenset[str] = frozenset()
    priority: Priority = Priority.NORMAL
    authenticated_only: bool = False
    views: Mapping[str, Frame] = field(default_factory=dict)
    #: Seconds since the epoch, by the publisher's clock.
    sent_at: float | None = field(default=None, compare=False)
    #: In bytes, of the payload.
    size: int = field(init=False)
    #: The ASGI event that sends the frame, made once and handed to every server as it is.
    event: Message = field(init=False)
    #: Whether it is not one frame for all that are in the group: `concerns` knows whether a
    #: connection is meant, and `in_view` has its frame.
    selective: bool = field(init=False)
    _prepared: dict[int, bytes] = field(init=False, compare=False, repr=False)
    _in_views: dict[str, Push] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        self.size = size_of(self.frame)
        self.event = send_event(self.frame)
        self.selective = bool(self.exclude) or self.authenticated_only or bool(self.views)
        self._prepared = {}
        self._in_views = {}

    def concerns(self, client_id: str, user_id: str | None) -> bool:
        """Whether a connection that is in the group is meant, too."""
        if self.authenticated_only and user_id is None:
            return False
        return client_id not in self.exclude

    def in_view(self, view: str) -> Push:
        """The push for connections with a view, made once; where there is no such view, this."""
        found = self._in_views.get(view)
        if found is None:
            if view not in self.views:
                return self
            found = self._in_views[view] = replace(self, frame=self.views[view], views={})
        return found

    def stamped(self, stamp: Stamp) -> Push:
        """The same with a place in a sequence, in each view.

        Every frame is a JSON object without one: see `wsadapter.wire.stamps.check_stampable`.
        """
        views = {view: _stamped(frame, stamp) for view, frame in self.views.items()}
        return replace(self, frame=_stamped(self.frame, stamp), views=views)

    @property
    def total_size(self) -> int:
        """In bytes, of the payloads of all views: what a channel layer carries."""
        return self.size + sum(map(size_of, self.views.values()))

    def to_bytes(self, level: int) -> bytes:
        """The frame as it stands on the wire, made once whoever gets it: see `frame_bytes`."""
        prepared = self._prepared.get(level)
        if prepared is None:
            prepared = self._prepared[level] = frame_bytes(self.frame, level)
        return prepared

    def to_message(self, *, carries_bytes: bool) -> Message:
        """The layer message. Where a serialiser cannot carry bytes they travel as base64."""
        message: Message = {"type": PUSH, **_payload(self.frame, carries_bytes)}
        if self.views:
            message["views"] = {
                view: _payload(frame, carries_bytes) for view, frame in self.views.items()
            }
        if self.exclude:
            message["exclude"] = sorted(self.exclude)
        if self.priority is not Priority.NORMAL:
            message["priority"] = int(self.priority)
        if self.authenticated_only:
            message["authenticated_only"] = True
        if self.sent_at is not None:
            message["at"] = int(self.sent_at * 1000)
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
            views=_views(message["views"]) if "views" in message else {},
            sent_at=message["at"] / 1000 if "at" in message else None,
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


@dataclass(frozen=True, slots=True)
class Inspect:
    """Ask a connection how it is doing: see `wsadapter.wire.reports.Report`.

    It travels as a push that excludes the one client that it is for. A process of an older
    release, which does not know this order, does with it what it does with such a push: nothing.

    Args:
        client_id: who is asked.
        report_to: the channel of the layer that the report goes to.
    """

    client_id: str
    report_to: str

    def to_message(self) -> Message:
        return {"type": PUSH, "text": "", "exclude": [self.client_id], REPORT_TO: self.report_to}

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Inspect:
        """Read a layer message; raises as `Push.from_message` does."""
        (client_id,) = message["exclude"]
        return cls(_typed(client_id, str), _typed(message[REPORT_TO], str))


#: What a helper may have done to connections.
Order: TypeAlias = Push | Kick | Inspect


def send_event(frame: Frame) -> Message:
    """The ASGI event that sends a frame."""
    kind = "text" if isinstance(frame, str) else "bytes"
    return {"type": "websocket.send", kind: frame}


def frame_of(event: Mapping[str, Any]) -> Frame:
    """The frame of an ASGI event that sends or receives one."""
    text: str | None = event.get("text")
    return text if text is not None else event.get("bytes") or b""


def push(
    frame: Frame,
    exclude: Collection[str],
    priority: Priority,
    authenticated_only: bool,
    views: Mapping[str, Frame],
) -> Push:
    """A push from a helper's arguments."""
    if isinstance(exclude, str):
        exclude = (exclude,)
    excluded = frozenset(exclude or ())
    if not all(isinstance(client_id, str) for client_id in excluded):
        raise TypeError(f"exclude takes client ids, which are str, not {exclude!r}.")
    return Push(frame, excluded, Priority(priority), authenticated_only, views)


def _stamped(frame: Frame, stamp: Stamp) -> Frame:
    return stamped(_typed(frame, str), stamp)


def _payload(frame: Frame, carries_bytes: bool) -> Message:
    if isinstance(frame, str):
        return {"text": frame}
    if carries_bytes:
        return {"bytes": frame}
    return {"base64": b64encode(frame).decode()}


def _views(payloads: Any) -> dict[str, Frame]:
    return {_typed(view, str): _frame(payload) for view, payload in _typed(payloads, dict).items()}


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
