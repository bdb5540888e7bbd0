"""A handler for a signal of the operating system, in front of the one that a server has installed.

Servers install theirs in one of two ways, and there is no asking which: by `signal.signal`, or by
``add_signal_handler`` of their event loop, asyncio's or uvloop's, which learns of signals by the
numbers that Python writes to its wake-up descriptor. So both are taken over here: the handler, and
the descriptor with all that is written to it. What others wait for is handed on. To let the
server have its signal, both are put back and the signal is raised once more.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

#: A signal that comes again so soon is the same one: systemd sends it to every process of a
#: service, and a supervisor then sends it to its workers as well.
SAME_SECONDS = 1.0
#: The same for a process that nobody but the operator tells: a second signal is meant.
ALONE_SAME_SECONDS = 0.1


class SignalChain:
    """Takes a signal, once; from the second time on the handler that was there has it.

    Args:
        number: of the signal.
        first: called on the event loop when the signal arrives for the first time.
        again: the same for the second time; the handler that was there is called as well.
        same_seconds: what comes so soon after the first one is no second one.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        number: int,
        *,
        first: Callable[[], object],
        again: Callable[[], object],
        same_seconds: float = SAME_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._number = number
        self._first = first
        self._again = again
        self._same_seconds = same_seconds
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._taken_at: float | None = None
        self._is_installed = False
        self._original: Any = None
        self._wakeup: _Wakeup | None = None

    @property
    def has_taken(self) -> bool:
        """Whether the signal has arrived, and nobody else has had it yet."""
        return self._taken_at is not None and self._is_installed

    def install(self) -> bool:
        """Stand before whatever handler there is.

        Returns:
            Whether that was possible: in the main thread, where the signal is not ignored.
        """
        original = signal.getsignal(self._number)
        if (
            threading.current_thread() is not threading.main_thread()
            or original is signal.SIG_IGN
            or original is None  # it is not Python's
        ):
            return False
        try:
            self._wakeup = _Wakeup(self._loop, self._number)
        except NotImplementedError:  # an event loop of Windows, which has no such signals either
            return False
        self._original = original
        signal.signal(self._number, self._handle)
        self._is_installed = True
        return True

    def remove(self) -> None:
        """Put back what was there, unless somebody else has taken the place meanwhile."""
        if not self._is_installed:
            return
        self._is_installed = False
        if signal.getsignal(self._number) == self._handle:
            signal.signal(self._number, self._original)
        if self._wakeup is not None:
            self._wakeup.put_back()

    def hand_on(self) -> None:
        """Let the handler that was there have the signal, in the way that it is used to."""
        self.remove()
        signal.raise_signal(self._number)

    def _handle(self, number: int, frame: Any) -> None:
        """Python calls it in the main thread, wherever that is just now."""
        if self._loop.is_closed():
            self.hand_on()
        elif self._taken_at is None:
            self._taken_at = self._clock()
            self._loop.call_soon_threadsafe(self._first)
        elif self._clock() - self._taken_at >= self._same_seconds:
            self._loop.call_soon_threadsafe(self._again)
            self.hand_on()


class _Wakeup:
    """The descriptor that Python writes the numbers of signals to, taken over.

    All but one are handed on to whoever had it before.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, withheld: int) -> None:
        self._loop = loop
        self._withheld = withheld
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        try:
            loop.add_reader(self._reader, self._hand_on)
        except BaseException:
            self._close_sockets()
            raise
        #: -1 where nobody had one: then no event loop learns of signals by it.
        self._original = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)

    def put_back(self) -> None:
        current = signal.set_wakeup_fd(-1)
        original = self._original if current == self._writer.fileno() else current
        signal.set_wakeup_fd(original, warn_on_full_buffer=False)
        if self._loop.is_closed():
            self._close_sockets()
        else:  # later: a signal may have come in the middle of the loop's own bookkeeping
            self._loop.call_soon_threadsafe(self._close)

    def _hand_on(self) -> None:
        with contextlib.suppress(OSError):
            for number in self._reader.recv(4096):
                if number != self._withheld and self._original != -1:
                    os.write(self._original, bytes([number]))

    def _close(self) -> None:
        self._hand_on()
        self._loop.remove_reader(self._reader)
        self._close_sockets()

    def _close_sockets(self) -> None:
        self._reader.close()
        self._writer.close()
