"""Processes that a test starts: each has a log, and nothing of it is left when the test ends."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.reaper import tell_reaper
from tests.waiting import eventually

ROOT = Path(__file__).parent.parent

# Below the range from which the kernel takes the ports of outgoing connections, so that a port
# stays free while a stopped server is away.
FIRST_PORT, LAST_PORT = 15_000, 32_000


def free_port() -> int:
    while True:
        port = random.SystemRandom().randint(FIRST_PORT, LAST_PORT)
        if is_free(port):
            return port


def is_free(port: int) -> bool:
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Process:
    """A command in a process group of its own, with its output in a file.

    Args:
        command: the executable and its arguments.
        log_path: gets what the command prints, on both streams.
        environment: on top of the environment of the tests.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log_path: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = command
        self.log_path = log_path
        with log_path.open("ab") as log:
            self._popen = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        tell_reaper("started", self.pid)

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        return self._popen.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        return self._popen.poll()

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def signal(self, number: int) -> None:
        self._popen.send_signal(number)

    def wait(self, *, within_seconds: float = 15.0) -> int:
        """The exit code, once it has ended by itself."""
        return self._popen.wait(within_seconds)

    def terminate(self, *, within_seconds: float = 15.0) -> int:
        """SIGTERM, as a deployment sends it; returns the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(within_seconds=within_seconds)

    def kill(self) -> None:
        """SIGKILL to it and to all its children: no code of theirs runs any more."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._popen.wait()
        tell_reaper("ended", self.pid)

    def until_ready(self, is_ready: Callable[[], bool], *, within_seconds: float = 30.0) -> None:
        """Wait until ``is_ready()``; raise with the log if it ends, or takes longer than that."""

        def ready_or_ended() -> bool:
            return not self.is_running or is_ready()

        try:
            eventually(ready_or_ended, within_seconds=within_seconds)
            assert self.is_running, f"it ended with exit code {self.exit_code}"
        except AssertionError as error:
            self.kill()
            command = " ".join(self._command)
            raise AssertionError(f"{command}: {error}. Its log:\n{self.log()}") from error
