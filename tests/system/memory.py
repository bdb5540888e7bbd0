"""The memory of a server process, as the kernel counts it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.deployment import DjangoServer


def resident_bytes(server: DjangoServer) -> int:
    return counted(server, "VmRSS")


def forget_peak(server: DjangoServer) -> int:
    """Have the peak begin anew (proc(5), clear_refs). Returns what is resident now."""
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")
    return resident_bytes(server)


def growth(server: DjangoServer, before: int) -> int:
    """How far the peak has been above that."""
    return counted(server, "VmHWM") - before


def counted(server: DjangoServer, line: str) -> int:
    """A line of the process' status, in bytes."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    found = re.search(rf"{line}:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024
