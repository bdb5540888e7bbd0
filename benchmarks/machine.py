"""The machine: its cores, what it is, and what processes take of it, from /proc."""

from __future__ import annotations

import os
import platform
import re
import resource
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from benchmarks.processes import redis_executable

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGESIZE")

VERSION = re.compile(r"\d+\.\d+(\.\d+)*")

PACKAGES = (
    "django",
    "channels",
    "channels-redis",
    "redis",
    "uvicorn",
    "websockets",
    "uvloop",
    "daphne",
    "hypercorn",
    "granian",
    "python-socketio",
    "picows",
    "chanx",
    "msgspec",
    "pydantic",
)


@dataclass(frozen=True)
class Cores:
    """The server has one core to itself; Redis, publisher and load client have the others."""

    server: frozenset[int]
    others: frozenset[int]

    @classmethod
    def split(cls) -> Cores:
        first, *rest = sorted(os.sched_getaffinity(0))
        return cls(frozenset({first}), frozenset(rest or [first]))


def allow_many_files() -> None:
    """As many open sockets as the system lets this process, and its children, have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def members(leader: int) -> Iterator[int]:
    """The processes of the session that a process leads: itself and its children."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and session_of(int(entry.name)) == leader:
            yield int(entry.name)


def session_of(pid: int) -> int | None:
    fields = stat_fields(pid)
    return int(fields[3]) if fields else None


def stat_fields(pid: int) -> list[str]:
    """What /proc/<pid>/stat has after the name, which may have blanks itself."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def cpu_seconds(leader: int) -> float:
    """User and system time of a process and its children."""
    ticks = 0
    for pid in members(leader):
        fields = stat_fields(pid)
        ticks += int(fields[11]) + int(fields[12]) if fields else 0
    return ticks / TICKS_PER_SECOND


def resident_bytes(leader: int) -> int:
    """The resident memory of a process and its children."""
    return sum(_resident(pid) for pid in members(leader))


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    except (FileNotFoundError, ProcessLookupError):
        return 0


def description() -> dict[str, str | int]:
    return {
        "processor": processor(),
        "cores": os.cpu_count() or 1,
        "memory_gib": round(PAGE_BYTES * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.release()}",
    }


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    found["redis-server"] = said_by([redis_executable() or "redis-server", "--version"])
    found["node"] = said_by(["node", "--version"])
    found["nginx"] = said_by(["/usr/sbin/nginx", "-v"]) or said_by(["nginx", "-v"])
    found["C compiler"] = said_by(["cc", "-dumpfullversion"])
    return {name: version for name, version in found.items() if version}


def said_by(command: Sequence[str]) -> str:
    """The version that a command names; empty where there is no such command."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = VERSION.search(done.stdout + done.stderr)
    return found[0] if found else ""
