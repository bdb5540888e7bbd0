"""When a periodic task is due: on a grid, however long its runs take. Time is an argument."""

from __future__ import annotations

import math


class Cadence:
    """The ticks of one periodic task: a whole number of intervals after it began.

    A tick that a run was too long for is skipped; the ones after it stay where they were.

    Args:
        interval_seconds: from tick to tick.
        now: when the grid begins, in seconds of a clock that is not set back.

    Raises:
        ValueError: the interval is not a number above 0.
    """

    def __init__(self, interval_seconds: float, *, now: float) -> None:
        if not (interval_seconds > 0 and math.isfinite(interval_seconds)):
            raise ValueError(
                f"A task cannot run every {interval_seconds} seconds; give a number above 0."
            )
        self.interval_seconds = interval_seconds
        self._start = now
        self._tick = 0

    def due(self, now: float) -> float:
        """The seconds to wait until the next tick; each call is for one run.

        Ask when a run is over: at the very time of its tick, or ever so slightly before (timers
        wake early), this is the tick after it.
        """
        reached = math.ceil((now - self._start) / self.interval_seconds)
        self._tick = max(self._tick + 1, reached)
        return max(0.0, self._start + self._tick * self.interval_seconds - now)
