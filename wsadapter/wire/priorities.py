"""Which lane a message takes: by the call, by its type, or as its sender asks."""

from __future__ import annotations

from collections.abc import Mapping

from wsadapter.errors import InvalidMessage
from wsadapter.wire.envelope import label_of
from wsadapter.wire.failures import ErrorCode
from wsadapter.wire.lanes import Priority
from wsadapter.wire.payload import Frame

#: A client that connects with this subprotocol may give its messages a ``priority``.
SUBPROTOCOL = "wsadapter.priority"

Priorities = Mapping[str, Priority]

_NAMES = {priority.name.lower(): priority for priority in Priority}


def priority_of(frame: Frame, given: Priority, declared: Priorities) -> Priority:
    """The lane for a frame.

    Args:
        given: what the call says; anything but NORMAL stands.
        declared: the lanes of message types.
    """
    if not declared or given is not Priority.NORMAL or isinstance(frame, bytes):
        return given
    return declared.get(label_of(frame).type or "", given)


def read_priority(value: object) -> Priority:
    """The ``priority`` that a client gave its message: a name, or a number from 0 (urgent).

    Raises:
        InvalidMessage: it is neither.
    """
    if isinstance(value, str) and value in _NAMES:
        return _NAMES[value]
    if isinstance(value, int) and not isinstance(value, bool) and value in range(len(Priority)):
        return Priority(value)
    raise InvalidMessage(
        ErrorCode.INVALID, f"A priority is one of {', '.join(_NAMES)}.", path="$.priority"
    )
