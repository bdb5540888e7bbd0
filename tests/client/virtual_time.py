"""Time that passes at once: a loop whose clock jumps to whatever is due next."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

#: What a turn of the loop takes at least: a timer of less than time can show would never be due.
TURN_SECONDS = 1e-9

Test = Callable[..., Coroutine[Any, Any, None]]


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._seconds = 1_000.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self._seconds

    def jump(self, seconds: float) -> None:
        """Let time pass while nothing runs, as if the process had been stopped."""
        self._seconds += seconds


class _Jumping(selectors.SelectSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "Everything waits for something that will never happen."
            self._loop.jump(max(timeout, TURN_SECONDS))
        return ready


def virtual_time(test: Test) -> Callable[..., None]:
    """Run an async test in virtual time; it has failed if it leaves a task behind."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(_alone(test(*arguments, **named)))

    return run


async def _alone(test: Coroutine[Any, Any, None]) -> None:
    await test
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"Tasks are left: {left}"


async def passes(seconds: float) -> None:
    """Let virtual time pass, and everything happen that is due until then."""
    await asyncio.sleep(seconds)


async def settled() -> None:
    """Let everything happen that is ready now."""
    await passes(0.0005)


def now() -> float:
    return asyncio.get_running_loop().time()


def sleep_through(seconds: float) -> None:
    """Time passes while the process stands still; what is due then comes late."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop.jump(seconds)
