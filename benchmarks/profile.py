"""Where a server's time goes: py-spy beside a measure, and what it saw in a few lines."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Samples a second; more of them would slow down what they look at.
RATE = 250


@contextmanager
def recorded(pid: int, file: Path) -> Iterator[None]:
    """Sample a process and its children while the block runs; stacks go to the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    spy = subprocess.Popen(
        [
            *(executable(), "record", "--pid", str(pid), "--subprocesses"),
            *("--format", "raw", "--rate", str(RATE), "--output", str(file)),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        spy.send_signal(2)  # SIGINT has it write what it has seen
        spy.wait(30)


def executable() -> str:
    """py-spy of this environment, else the one on the PATH."""
    beside = str(Path(sys.executable).parent)
    return shutil.which("py-spy", path=beside) or shutil.which("py-spy") or "py-spy"


def hottest(stacks: str, most: int = 15) -> list[tuple[str, float]]:
    """The functions that the most samples ended in, and their shares.

    Args:
        stacks: lines of ``outermost;...;innermost count``.
        most: how many functions.
    """
    samples: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, number = line.rpartition(" ")
        samples[stack.rpartition(";")[2]] += int(number)
    every = samples.total() or 1
    return [(name, number / every) for name, number in samples.most_common(most)]


def described(file: Path) -> str:
    """The hottest functions of a recording as lines of text."""
    if not file.exists():
        return "py-spy has written nothing; it may not be allowed to look into processes."
    lines = [f"{100 * share:5.1f} %  {name}" for name, share in hottest(file.read_text())]
    return "\n".join(lines)
