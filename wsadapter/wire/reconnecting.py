"""When a client comes back, and when it takes its server for dead. Time is an argument, in seconds.

`socket.js` decides the same; tests/examples/client.json holds the two together.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import NamedTuple

from wsadapter.wire.heartbeat import Action

#: A check this late means that the process was stopped, or its event loop blocked.
LATE_SECONDS = 2.0

#: Doublings that bring any base past any cap; with many more, a float would overflow.
_MAX_DOUBLINGS = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Timings:
    """Durations in seconds, from 0; ``math.inf`` means never.

    Args:
        backoff_floor_seconds: the least delay before an attempt.
        backoff_base_seconds: the first delay is at most this, each further one at most twice
            the most that the last could be.
        backoff_cap_seconds: the longest delay before an attempt.
        stable_after_seconds: back-off begins anew after a connection that lasted this long
            since its first message, and since the end of the time that an exhausted server
            asked for.
        connect_within_seconds: an attempt that takes longer is given up.
        close_within_seconds: a farewell that takes longer is cut short.
        ping_after_seconds: a server that was not heard for so long is sent a ping.
        pong_within_seconds: a server that is not heard within this of a ping is dead.

    Raises:
        ValueError: one of them is below 0, or no number.
    """

    backoff_floor_seconds: float = 0.1
    backoff_base_seconds: float = 0.5
    backoff_cap_seconds: float = 20.0
    stable_after_seconds: float = 5.0
    connect_within_seconds: float = 20.0
    close_within_seconds: float = 2.0
    ping_after_seconds: float = 25.0
    pong_within_seconds: float = 10.0

    def __post_init__(self) -> None:
        for name, seconds in asdict(self).items():
            if not seconds >= 0:
                raise ValueError(f"{name} is a number of seconds from 0, not {seconds}.")


class Watch(NamedTuple):
    """When the server was last heard or, with unanswered ``pings``, last asked."""

    since: float
    pings: int = 0


class Verdict(NamedTuple):
    """What to do now, the watch that goes on, and in how many seconds to ask again."""

    action: Action
    watch: Watch
    again_in_seconds: float


def backoff_delay_seconds(attempt: int, random: float, timings: Timings) -> float:
    """Full jitter, so that the clients of a server that went away do not come back as one.

    Args:
        attempt: from 0.
        random: from 0 to below 1.
    """
    doubled = timings.backoff_base_seconds * 2.0 ** min(attempt, _MAX_DOUBLINGS)
    ceiling = min(timings.backoff_cap_seconds, doubled)
    return max(min(timings.backoff_floor_seconds, ceiling), random * ceiling)


class Backoff:
    """How long a client stays away, from one connection to the next. Times are in seconds."""

    def __init__(self, timings: Timings) -> None:
        self._timings = timings
        self._attempt = 0
        self._hold_seconds = 0.0
        #: Since when the connection has been proving itself; None: it was not heard yet.
        self._well_since: float | None = None

    def dialled(self) -> None:
        """An attempt begins."""
        self._well_since = None

    def heard(self, now: float) -> None:
        if self._well_since is None:
            self._well_since = now

    def exhausted(self, now: float, retry_after_seconds: float) -> None:
        """The server has asked to be spared for so long; that holds for the attempts to come."""
        self._forgive(now)
        self._hold_seconds = retry_after_seconds
        self._well_since = now + retry_after_seconds

    def delay_seconds(self, now: float, random: float) -> float:
        """What to wait before the next attempt; the connection, or the last one, has failed.

        Args:
            random: from 0 to below 1.
        """
        self._forgive(now)
        jitter = backoff_delay_seconds(self._attempt, random, self._timings)
        self._attempt += 1
        return self._hold_seconds + jitter

    def _forgive(self, now: float) -> None:
        """Begin anew after a stable connection.

        A server that takes connections only to drop them is not hammered.
        """
        since = self._well_since
        if since is not None and now - since >= self._timings.stable_after_seconds:
            self._attempt = 0
            self._hold_seconds = 0.0


def watch_silence(watch: Watch, now: float, timings: Timings) -> Verdict:
    """Decide about a server that says nothing.

    A check that comes late asks once more before it may say ``DEAD``: the answer may be
    waiting in the socket.
    """
    since = min(watch.since, now)  # a clock that was set back must not stretch the silence
    patience = timings.pong_within_seconds if watch.pings else timings.ping_after_seconds
    late = now - since - patience
    if late < 0:
        return Verdict(Action.WAIT, Watch(since, watch.pings), -late)
    if watch.pings == 0 or (watch.pings == 1 and late > LATE_SECONDS):
        return Verdict(Action.PING, Watch(now, watch.pings + 1), timings.pong_within_seconds)
    return Verdict(Action.DEAD, watch, math.inf)
