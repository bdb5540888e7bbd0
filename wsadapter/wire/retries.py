"""When a failed attempt is repeated, and how often."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

#: No wait between two attempts is longer.
LONGEST_DELAY_SECONDS = 3600.0


@dataclass(frozen=True)
class Retry:
    """What is attempted again when it failed for a while only.

    Args:
        attempts: how many times it is repeated after the first failure.
        first_delay_seconds: the wait before the first repetition.
        factor: by which each wait is longer than the one before it; none is above an hour.

    Raises:
        ValueError: nothing would be repeated, or a wait is no time.
    """

    attempts: int = 3
    first_delay_seconds: float = 1.0
    factor: float = 2.0

    def __post_init__(self) -> None:
        attempts: Any = self.attempts
        if not (isinstance(attempts, int) and attempts >= 1):
            raise ValueError(
                f"Retry(attempts={self.attempts!r}) repeats nothing; give a whole number from 1, "
                "or no Retry at all."
            )
        if not (self.first_delay_seconds >= 0 and math.isfinite(self.first_delay_seconds)):
            raise ValueError(
                f"Retry(first_delay_seconds={self.first_delay_seconds!r}) is no time to wait; "
                "give a number from 0."
            )
        if not (self.factor >= 1 and math.isfinite(self.factor)):
            raise ValueError(
                f"Retry(factor={self.factor!r}) would wait less and less; give a number from 1."
            )

    def delays_seconds(self) -> Iterator[float]:
        """The wait before each repetition, in order."""
        delay = min(self.first_delay_seconds, LONGEST_DELAY_SECONDS)
        for _ in range(self.attempts):
            yield delay
            delay = min(delay * self.factor, LONGEST_DELAY_SECONDS)
