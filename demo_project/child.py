"""One process of the demo, started, watched and stopped by the supervisor."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

READY_SECONDS = 60.0
STOP_SECONDS = 5.0
POLL_SECONDS = 0.05
LOG_LINES = 30


class ChildFailed(Exception):
    """A process ended, or did not say that it was ready. The message has the end of its log."""


class Child:
    """A process whose output goes to a log file, and which says in it when it is ready.

    It leads a process group of its own: Ctrl-C in the terminal reaches the supervisor alone,
    which then stops the processes in order, those that they forked included.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        ready: str,
        log: Path,
        environment: Mapping[str, str],
        inherit: Sequence[int] = (),
    ) -> None:
        self.name = name
        self.log = log
        self.process: asyncio.subprocess.Process | None = None
        self._command = command
        self._ready = ready
        self._environment = environment
        self._inherit = inherit

    async def start(self) -> None:
        """Starts it and waits until it is ready.

        Raises:
            ChildFailed: it ended before, or took longer than `READY_SECONDS`.
        """
        with self.log.open("wb") as output:
            self.process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
                pass_fds=self._inherit,
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(READY_SECONDS):
                await self._until_ready()
        except TimeoutError:
            raise self._failure(f"was not ready within {READY_SECONDS:.0f} seconds") from None

    async def _until_ready(self) -> None:
        while self._ready not in self._output():
            if self.process is not None and self.process.returncode is not None:
                raise self._failure(f"ended with exit code {self.process.returncode}")
            await asyncio.sleep(POLL_SECONDS)

    async def ended(self) -> int:
        """Its exit code, as soon as it has one; negative: the signal that ended it."""
        assert self.process is not None
        return await self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the process and to those that it forked."""
        if self.process is not None:
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                pass

    async def stop(self) -> None:
        """Ends it: politely, and after `STOP_SECONDS` for certain."""
        if self.process is None:
            return
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.process.wait()
        except TimeoutError:
            pass
        self.signal(signal.SIGKILL)  # what it forked may have outlived it
        await self.process.wait()

    def _output(self) -> str:
        return self.log.read_text(errors="replace")

    def _failure(self, what: str) -> ChildFailed:
        tail = "\n".join(f"    {line}" for line in self._output().splitlines()[-LOG_LINES:])
        return ChildFailed(f"{self.name} {what}. The end of its log:\n\n{tail or '    (empty)'}\n")
