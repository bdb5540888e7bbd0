"""The demo as a whole: `sh scripts/demo` and everything that it starts."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.processes import Process, free_port

START_SECONDS = 120.0


class Demo(Process):
    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        command = ["sh", "scripts/demo", "--port", str(self.port)]
        super().__init__(command, log_path=directory / "demo.log")

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def directory(self) -> Path:
        """Where it keeps its database and logs while it runs."""
        found = re.search(r"Logs +(.+)", self.log())
        assert found, self.log()
        return Path(found[1])

    def until_started(self) -> None:
        self.until_ready(lambda: "Ctrl-C" in self.log(), within_seconds=START_SECONDS)

    def until_said(self, text: str) -> None:
        self.until_ready(lambda: text in self.log(), within_seconds=START_SECONDS)


def descendants(pid: int) -> set[int]:
    """All processes that the process started, and that those started."""
    listing = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    )
    parents = dict(map(int, line.split()) for line in listing.stdout.splitlines())
    found: set[int] = set()
    while True:
        more = {child for child, parent in parents.items() if parent in {pid, *found}} - found
        if not more:
            return found
        found |= more


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
