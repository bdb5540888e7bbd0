"""Hooks for what is too frequent for a Django signal: nothing is called while nobody observes.

The hot path asks first: ``if hooks.fanned_out: hooks.fanned_out(…)``. What happens rarely is in
`wsadapter.signals`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Generic, ParamSpec

logger = logging.getLogger("wsadapter.hooks")

P = ParamSpec("P")


class Hook(Generic[P]):
    """Something that happens, and who observes it; false while nobody does.

    Observers are called where it happens, mostly on an event loop: they must be quick.
    """

    __slots__ = ("_failed", "_name", "_observers")

    def __init__(self, name: str) -> None:
        self._name = name
        self._observers: tuple[Callable[P, object], ...] = ()
        self._failed: set[Callable[P, object]] = set()

    def __bool__(self) -> bool:
        return bool(self._observers)

    def observe(self, observer: Callable[P, object]) -> None:
        """Call it from now on, once each time, however often it is added."""
        if observer not in self._observers:
            # A new tuple: somebody may be walking through the old one.
            self._observers = (*self._observers, observer)

    def forget(self, observer: Callable[P, object]) -> None:
        """Call it no more."""
        self._observers = tuple(each for each in self._observers if each != observer)
        self._failed.discard(observer)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        for observer in self._observers:
            try:
                observer(*args, **kwargs)
            except Exception as error:
                self._note_failure(observer, error)

    def _note_failure(self, observer: Callable[P, object], error: Exception) -> None:
        if observer in self._failed:
            return  # the log has it
        self._failed.add(observer)
        logger.error(
            "%r failed to observe %s, which harms nobody else. It is called again; this is said "
            "once.",
            observer,
            self._name,
            exc_info=error,
        )


#: A push has been written to the connections of this event loop, or handed to those for which
#: others wait: how many there are, the seconds that it took, and the seconds since it left its
#: publisher, by the clocks of both; None where nobody observes `published` there.
fanned_out: Hook[[int, float, float | None]] = Hook("fanned_out")

#: A helper has published: its name, or "bulk"; how many posts; the seconds that it took; what
#: went wrong, or None.
published: Hook[[str, int, float, BaseException | None]] = Hook("published")

#: A handler is done: the type that it declares, or "unknown" where none declares the type; the
#: seconds that it took, attempts after the first one included; the kind of its failure, or None.
handled: Hook[[str, float, str | None]] = Hook("handled")

#: A message of the channel layer had no room: "inbox" of a consumer whose handlers do not keep
#: up, or "channel" of a plain consumer.
event_dropped: Hook[[str]] = Hook("event_dropped")

#: A ping was answered, after so many seconds.
ponged: Hook[[float]] = Hook("ponged")

#: A ping was not answered in time.
heartbeat_timed_out: Hook[[]] = Hook("heartbeat_timed_out")

#: What was away answers again: such as ``"Redis at redis://localhost:6379/0"``.
came_back: Hook[[str]] = Hook("came_back")

#: A `wsadapter.connection.Connection` begins, accepted or not; and it is over, cleaned up after.
connection_begins: Hook[[Any]] = Hook("connection_begins")
connection_ended: Hook[[Any]] = Hook("connection_ended")
