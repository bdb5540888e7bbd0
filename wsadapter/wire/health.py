"""Whether a connection is still well, by its vital signs, and what to close it with if not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from wsadapter.close_codes import CloseCode

#: Fewer are too few to speak of a rate of errors.
MIN_MESSAGES = 10


@dataclass(frozen=True)
class HealthPolicy:
    """What a connection may do and still count as well. None does not look at it.

    Args:
        max_silence_seconds: since its last frame.
        max_error_rate: how many of its messages may fail, above 0 and up to 1.
        max_queued_bytes: what may wait to be sent to it.
        max_tasks: what may run for it at once.
        check_interval_seconds: how often to look.

    Raises:
        ValueError: a number that cannot be kept or makes no sense.
    """

    max_silence_seconds: float | None = None
    max_error_rate: float | None = None
    max_queued_bytes: int | None = None
    max_tasks: int | None = None
    check_interval_seconds: float = 5.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name} is {value}; give a number above 0, or leave it out.")
        if self.max_error_rate is not None and self.max_error_rate > 1:
            raise ValueError(
                f"max_error_rate is {self.max_error_rate}; give a part of all messages, such as "
                "0.5 for one half."
            )


class Vitals(NamedTuple):
    """One look at a connection; messages and errors count from when it began."""

    silence_seconds: float
    messages: int
    errors: int
    queued_bytes: int
    tasks: int


class Ailment(NamedTuple):
    """Why a connection should end, as its close frame says it (at most 123 bytes)."""

    code: CloseCode
    reason: str


class HealthCheck:
    """One connection's check-ups, in the order in which they are made."""

    def __init__(self, policy: HealthPolicy) -> None:
        self.policy = policy
        # Where the window of messages began that is judged next.
        self._messages = 0
        self._errors = 0

    def examine(self, vitals: Vitals) -> Ailment | None:
        """The first thing that is wrong, or None."""
        return (
            self._silence(vitals.silence_seconds)
            or self._failures(vitals.messages, vitals.errors)
            or self._queue(vitals.queued_bytes)
            or self._crowd(vitals.tasks)
        )

    def _silence(self, seconds: float) -> Ailment | None:
        allowed = self.policy.max_silence_seconds
        if allowed is None or seconds <= allowed:
            return None
        # Rounded up, so that it never reads as if it were allowed.
        reason = f"silent for {math.ceil(seconds)} s, {allowed:.10g} are allowed"
        return Ailment(CloseCode.NO_PONG, reason)

    def _failures(self, all_messages: int, all_errors: int) -> Ailment | None:
        allowed = self.policy.max_error_rate
        errors = all_errors - self._errors
        # What failed just now may have arrived before this window began.
        messages = max(all_messages - self._messages, errors)
        if allowed is None or messages < MIN_MESSAGES:
            return None
        self._messages, self._errors = all_messages, all_errors
        if errors / messages <= allowed:
            return None
        reason = f"{errors} of {messages} messages failed, {allowed * 100:.4g} % are allowed"
        return Ailment(CloseCode.SERVER_ERROR, reason)

    def _queue(self, size: int) -> Ailment | None:
        allowed = self.policy.max_queued_bytes
        if allowed is None or size <= allowed:
            return None
        return Ailment(CloseCode.SLOW, f"{size} bytes wait to be sent, {allowed} are allowed")

    def _crowd(self, tasks: int) -> Ailment | None:
        allowed = self.policy.max_tasks
        if allowed is None or tasks <= allowed:
            return None
        return Ailment(CloseCode.TOO_MANY, f"{tasks} tasks at once, {allowed} are allowed")
