"""Whether a client has every message of a sequence. `socket.js` counts the same way."""

from __future__ import annotations

from typing import NamedTuple


class Taken(NamedTuple):
    """What the number of a message says.

    Attributes:
        missed: how many messages between it and the newest one before it have not come.
        stale: it is no newer than that one: a repeat, or late. One that is late was missed before.
    """

    missed: int
    stale: bool


class Sequence:
    """The numbers of one sequence, as its messages arrive.

    Those of a group go on after a reconnect, and one `Sequence` sees what was missed meanwhile.
    Those of a stream begin anew with each connection, and so should their `Sequence`.
    """

    def __init__(self) -> None:
        self._newest: int | None = None

    def take(self, message: object) -> Taken:
        """Judge the next message. The first one, and one without a number, leave nothing out."""
        number = message.get("sequence") if isinstance(message, dict) else None
        if not isinstance(number, int) or isinstance(number, bool):
            return Taken(0, stale=False)
        newest = number - 1 if self._newest is None else self._newest
        self._newest = max(number, newest)
        return Taken(max(0, number - newest - 1), stale=number <= newest)
