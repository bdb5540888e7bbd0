"""A client's side of the conversation: frames in, frames out, and which reply is to which request.

It lasts from one connection to the next; what belongs to one of them is dropped by `lost`.
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from wsadapter.wire.envelope import JOINED, LEFT, PONG, RESERVED_PREFIX
from wsadapter.wire.failures import FailureKind
from wsadapter.wire.masking import one_line
from wsadapter.wire.payload import Frame, to_json

logger = logging.getLogger("wsadapter.client")


class Reply(NamedTuple):
    result: Any


class Fault(NamedTuple):
    """Why a request has no result.

    Attributes:
        code: the server's, or "closed".
        message: a sentence.
        path: the field to blame, as in ``$.text``.
        kind: what to do about it; fatal, if the server does not say.
        retry_after: seconds, if the server says so.
    """

    code: str
    message: str
    path: str | None
    kind: FailureKind
    retry_after: float | None


@dataclass(eq=False, slots=True)
class Request:
    """A question to the server; ``frame`` is None once it is sent."""

    id: int
    frame: Frame | None
    outcome: Reply | Fault | None = None
    #: Called once there is one.
    on_outcome: Callable[[], object] | None = None

    def take_frame(self) -> Frame:
        frame, self.frame = self.frame, None
        assert frame is not None  # it waited until now
        return frame


class View:
    """The choice of what objects look like; the server forgets it with the connection."""

    def __init__(self, name: str) -> None:
        self.frame = to_json({"type": "ws:view", "view": name})


class Dialogue:
    """What a client has to say, in order, and what it makes of what it hears.

    Args:
        on_gap: called with a reason, or None, when messages may have been missed.
        on_exhausted: called with the seconds for which the server asks to be spared.

    Attributes:
        client_id: this connection's, once welcomed.
        view: what the next connection begins with.
    """

    def __init__(
        self,
        on_gap: Callable[[str | None], object],
        on_exhausted: Callable[[float], object],
    ) -> None:
        self.client_id: str | None = None
        self.view: View | None = None
        self._on_gap = on_gap
        self._on_exhausted = on_exhausted
        self._answers: deque[str] = deque()  # to this connection, ahead of everything
        self._waiting: deque[Frame | Request | View] = deque()
        self._requests: dict[int, Request] = {}
        self._last_id = 0
        self._connections = 0

    def __len__(self) -> int:
        """How many messages of the application wait to be sent."""
        return len(self._waiting)

    # Out

    def say(self, item: Frame | Request | View) -> None:
        """Add to what waits to be sent."""
        self._waiting.append(item)

    def answer(self, frame: str) -> None:
        """Say it ahead of everything, to this connection only."""
        if frame not in self._answers:  # a server that only asks does not fill the memory
            self._answers.append(frame)

    def ask(self, type: str, fields: Mapping[str, object]) -> Request:
        """A request that is not yet said.

        Raises:
            EncodeError: there is no JSON for the fields.
        """
        self._last_id += 1
        frame = to_json({**fields, "type": type, "id": self._last_id})
        request = self._requests[self._last_id] = Request(self._last_id, frame)
        return request

    def forget(self, request: Request) -> None:
        """Take no reply to it any more, and do not send it if it waits."""
        self._requests.pop(request.id, None)
        if request in self._waiting:
            self._waiting.remove(request)

    def has_frames(self) -> bool:
        return bool(self._answers or self._waiting)

    def next_frame(self) -> Frame:
        """Take the frame that is due; there has to be one."""
        if self._answers:
            return self._answers.popleft()
        match self._waiting.popleft():
            case Request() as request:
                return request.take_frame()
            case View(frame=frame):
                return frame
            case frame:
                return frame

    # The connection

    def opened(self) -> None:
        """Begin with the view, so that all which waits is answered in it."""
        self._connections += 1
        self._waiting = deque(item for item in self._waiting if not isinstance(item, View))
        if self.view is not None:
            self._answers.append(self.view.frame)

    def lost(self) -> None:
        """Drop what was of that connection alone: requests are not repeated."""
        self.client_id = None
        self._answers.clear()
        self._fail(lambda request: request.frame is None)

    def end(self) -> None:
        """There will be no other connection."""
        self._waiting.clear()
        self._fail(lambda request: True)

    def _fail(self, which: Callable[[Request], bool]) -> None:
        sentence = "The connection ended before the reply."
        closed = Fault("closed", sentence, None, FailureKind.TRANSIENT, None)
        for request in filter(which, list(self._requests.values())):
            self._settle(request.id, closed)

    # In

    def hear(self, frame: Frame) -> Iterator[Any]:
        """The application's messages of a frame: parsed JSON, else text, else bytes."""
        for message in _unpack(_parse(frame)):
            kind = message.get("type") if isinstance(message, dict) else None
            if isinstance(kind, str) and is_answered(kind):
                self._obey(kind, message)
            else:
                yield message

    def _obey(self, kind: str, message: dict[str, Any]) -> None:
        """Follow a message of wsadapter's own. Unknown types are a newer server's: no error."""
        match kind:
            case "ws:ping":
                self.answer(PONG)
            case "ws:welcome":
                self._welcomed(message.get("client"))
            case "ws:reply":
                self._settle(message.get("id"), Reply(message.get("result")))
            case "ws:error":
                self._failed(message)
            case "ws:gap":
                self._on_gap(message.get("reason"))

    def _welcomed(self, client_id: object) -> None:
        self.client_id = client_id if isinstance(client_id, str) else None
        self.answer(PONG)  # tells the server's heartbeat that this client answers
        if self._connections > 1:
            self._on_gap("reconnected")

    def _failed(self, message: dict[str, Any]) -> None:
        fault = _fault_of(message)
        if self._settle(message.get("id"), fault):
            return
        logger.warning(
            "The server could not take a message: %s (%s)",
            one_line(fault.message),
            one_line(fault.code),
        )
        concerns_all = message.get("id") is None and fault.kind is FailureKind.EXHAUSTED
        if concerns_all and fault.retry_after is not None:
            self._on_exhausted(fault.retry_after)

    def _settle(self, id: object, outcome: Reply | Fault) -> bool:
        """Whether a request waited for that."""
        is_id = isinstance(id, int) and not isinstance(id, bool)
        request = self._requests.pop(id, None) if is_id else None  # type: ignore[call-overload]
        if request is None:
            return False
        request.outcome = outcome
        if request.on_outcome is not None:
            request.on_outcome()
        return True


def _parse(frame: Frame) -> Any:
    if isinstance(frame, bytes):
        return frame
    try:
        return msgspec.json.decode(frame)
    except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError):
        return frame


def _fault_of(message: dict[str, Any]) -> Fault:
    return Fault(
        str(message.get("code")),
        str(message.get("message")),
        message.get("path"),
        _kind(message.get("kind")),
        _seconds(message.get("retry_after")),
    )


def _kind(name: Any) -> FailureKind:
    """One who is not told to try again does not."""
    try:
        return FailureKind(name)
    except ValueError:
        return FailureKind.FATAL


def _seconds(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if 0 <= value <= sys.float_info.max else None


def is_answered(kind: str) -> bool:
    """Whether a message is between client and server, and no news for the application."""
    return kind.startswith(RESERVED_PREFIX) and kind not in (JOINED, LEFT)


def _unpack(message: Any) -> list[Any]:
    """A batch's messages as if each had come alone."""
    if not isinstance(message, dict) or message.get("type") != "ws:batch":
        return [message]
    messages = message.get("messages")
    return messages if isinstance(messages, list) else []
