"""Ends what the tests started when pytest itself is killed and can end nothing any more.

    python tests/reaper.py    reads "started <pid>" and "ended <pid>", one a line, until its
                              standard input closes; then kills the process groups left over

It runs in a session of its own, so that what ends pytest does not end it too.
"""

from __future__ import annotations

import atexit
import functools
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Literal

Event = Literal["started", "ended"]


def tell_reaper(event: Event, pid: int) -> None:
    """To be called by pytest: that process group began, or is known to be gone."""
    pipe = reaper().stdin
    assert pipe is not None
    pipe.write(f"{event} {pid}\n")
    pipe.flush()


@functools.cache
def reaper() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-P", __file__],
        stdin=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    atexit.register(process.communicate)  # closes the pipe and waits
    return process


def left_over(events: Iterable[str]) -> set[int]:
    groups: set[int] = set()
    for event, pid in map(str.split, events):
        (groups.add if event == "started" else groups.discard)(int(pid))
    return groups


if __name__ == "__main__":
    for group in left_over(sys.stdin):
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
