"""How far the benchmark is: one line that is drawn anew, or plain lines where that cannot be."""

from __future__ import annotations

import shutil
import time
from typing import TextIO

BAR = 24


class ProgressLine:
    """Progress in steps that are known in number.

    Args:
        steps: how many there will be.
        stream: where it is written.
    """

    def __init__(self, steps: int, stream: TextIO) -> None:
        self._steps = steps
        self._stream = stream
        self._begun = 0
        self._start = time.monotonic()

    def step(self, text: str) -> None:
        """Say what is done from now on."""
        line = progress(self._begun, self._steps, time.monotonic() - self._start, text)
        self._begun += 1
        if self._stream.isatty():
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r\x1b[K{line[:width]}")
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()

    def end(self) -> None:
        if self._stream.isatty():
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def progress(done: int, steps: int, seconds: float, text: str) -> str:
    filled = BAR * done // max(steps, 1)
    bar = "█" * filled + "░" * (BAR - filled)
    minutes, rest = divmod(int(seconds), 60)
    return f"{bar} {done}/{steps}  {minutes}:{rest:02d}  {text}"
