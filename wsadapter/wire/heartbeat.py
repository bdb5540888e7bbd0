"""When to ping a client, and when to call it dead. Time is an argument, in seconds."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class HeartbeatMode(Enum):
    """Whom a missing pong kills."""

    AUTO = "auto"  # only those who have answered once; a bare `new WebSocket()` never does
    ALWAYS = "always"
    NEVER = "never"


class Action(Enum):
    PING = "ping"
    WAIT = "wait"
    DEAD = "dead"


class Verdict(NamedTuple):
    """What to do now, and at what time to ask again (in the caller's clock, seconds)."""

    action: Action
    ask_at: float


class Heartbeat:
    """One connection's heartbeat.

    ``interval`` seconds after the last inbound frame a ping goes out; ``timeout`` seconds
    after an unanswered ping the connection is dead. Interval 3 and timeout 2 declare a silent
    client dead 5 seconds after its last frame. Any inbound frame counts as life.

    Args:
        interval: seconds of silence before a ping.
        timeout: seconds to wait after a ping.
        mode: whom a missing pong kills.
        now: the time at which the connection began.
    """

    def __init__(self, interval: float, timeout: float, mode: HeartbeatMode, *, now: float) -> None:
        self.interval = interval
        self.timeout = timeout
        self.mode = mode
        self.round_trip: float | None = None
        self._last_heard = now
        self._pinged_at: float | None = None
        self._answers = mode is HeartbeatMode.ALWAYS
        self._ask_at = now + interval

    def heard(self, now: float) -> None:
        """Note an inbound frame of any kind."""
        self._last_heard = now
        self._pinged_at = None

    def ponged(self, now: float) -> None:
        """Note a pong: from now on, "auto" holds this client to answering."""
        if self._pinged_at is not None:
            self.round_trip = now - self._pinged_at
        if self.mode is not HeartbeatMode.NEVER:
            self._answers = True
        self.heard(now)

    def beat(self, now: float) -> Verdict:
        """Decide at time ``now``. Asking early or late is harmless."""
        verdict = self._decide(now)
        self._ask_at = verdict.ask_at
        return verdict

    def _decide(self, now: float) -> Verdict:
        if self._pinged_at is None:
            due = self._last_heard + self.interval
            return Verdict(Action.WAIT, due) if now < due else self._ping(now)
        deadline = self._pinged_at + self._patience
        if now < deadline:
            return Verdict(Action.WAIT, deadline)
        if not self._answers or self._overslept(now):
            return self._ping(now)
        return Verdict(Action.DEAD, now)

    @property
    def _patience(self) -> float:
        # A client that is not held to answering is merely pinged again an interval later.
        return self.timeout if self._answers else self.interval

    def _ping(self, now: float) -> Verdict:
        self._pinged_at = now
        return Verdict(Action.PING, now + self._patience)

    def _overslept(self, now: float) -> bool:
        # A loop that was blocked (or stopped by a signal) has not read the pongs that may be
        # waiting in its sockets; the client gets one more chance.
        return now - self._ask_at > min(self.timeout, self.interval) / 2
