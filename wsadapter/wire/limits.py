"""Limits on what a client may send: the size of a message, and how many in which time."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: In tokens: who waited as long as was asked is not refused for what a float cannot hold.
_ROUNDING = 1e-6

#: So many refusals in a row are no flood yet, however small the burst.
_MIN_FLOOD = 10


def exceeds(frame: str | bytes, max_bytes: int) -> bool:
    """Whether a frame is larger than ``max_bytes`` on the wire (text counts as UTF-8)."""
    if len(frame) > max_bytes:
        return True
    if isinstance(frame, bytes) or len(frame) * 4 <= max_bytes or frame.isascii():
        return False
    return len(frame.encode("utf-8", "surrogatepass")) > max_bytes


@dataclass(frozen=True, init=False)
class RateLimit:
    """How many messages a client may send.

    Args:
        per_second: messages a second in the long run.
        burst: messages at once, after a pause; by default those of one second, at least one.

    Raises:
        ValueError: no message would ever pass, or the rate is no number.
    """

    per_second: float
    burst: int

    def __init__(self, per_second: float, burst: int | None = None) -> None:
        if not (per_second > 0 and math.isfinite(per_second)):
            raise ValueError(
                f"A rate limit of {per_second} messages a second cannot be kept; give a number "
                "above 0, such as 0.5, or no limit at all."
            )
        if burst is None:
            burst = max(1, math.ceil(per_second))
        if burst < 1:
            raise ValueError(
                f"A rate limit with a burst of {burst} lets nothing pass; give 1 or more."
            )
        object.__setattr__(self, "per_second", per_second)
        object.__setattr__(self, "burst", burst)


class TokenBucket:
    """One client's allowance: ``burst`` tokens, refilled ``per_second``; a message takes one.

    Args:
        limit: what is allowed.
        now: the time at which the connection began, seconds.
    """

    def __init__(self, limit: RateLimit, *, now: float) -> None:
        self.limit = limit
        self.refused_in_a_row = 0
        self._tokens = float(limit.burst)
        self._filled_at = now

    def take(self, now: float) -> float:
        """Let a message pass, which is 0.0, or refuse it: the seconds until one may pass."""
        self._fill(now)
        missing = 1 - self._tokens
        if missing > _ROUNDING:
            self.refused_in_a_row += 1
            return missing / self.limit.per_second
        self.refused_in_a_row = 0
        self._tokens -= 1
        return 0.0

    @property
    def flooding(self) -> bool:
        """Whether the client goes on and on although it is refused."""
        return self.refused_in_a_row > max(self.limit.burst, _MIN_FLOOD)

    def _fill(self, now: float) -> None:
        # A clock that was set back gives nothing and takes nothing; it counts on from there.
        elapsed = max(0.0, now - self._filled_at)
        self._tokens = min(self.limit.burst, self._tokens + elapsed * self.limit.per_second)
        self._filled_at = now
