"""Event loops come and go in threads of their own, while others look."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from wsadapter.event_loops import end_task, forget_closed_loops, patient_timeout


class Loop:
    """Looks like an event loop; what other threads do meanwhile happens when it is asked."""

    def __init__(self, closed: bool, meanwhile: Any = lambda: None) -> None:
        self._closed = closed
        self._meanwhile = meanwhile

    def is_closed(self) -> bool:
        self._meanwhile()
        return self._closed


def test_only_what_belonged_to_closed_loops_is_dropped() -> None:
    closed, living = Loop(True), Loop(False)
    by_loop: dict[Any, str] = {closed: "gone", living: "kept"}
    forget_closed_loops(by_loop)
    assert by_loop == {living: "kept"}


def test_another_thread_may_add_and_drop_its_own_at_the_same_time() -> None:
    newcomer = Loop(False)
    by_loop: dict[Any, str] = {}
    overtaken = Loop(True, meanwhile=lambda: by_loop.pop(overtaken, None))
    first = Loop(True, meanwhile=lambda: by_loop.setdefault(newcomer, "new"))
    by_loop |= {first: "gone", overtaken: "gone"}
    forget_closed_loops(by_loop)
    assert by_loop == {newcomer: "new"}


async def test_a_task_that_swallows_a_cancellation_is_ended_all_the_same() -> None:
    swallowed = 0

    async def swallowing() -> None:
        nonlocal swallowed
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            swallowed += 1
        await asyncio.Event().wait()

    task = asyncio.create_task(swallowing())
    await asyncio.sleep(0)  # it runs up to its first wait
    await end_task(task)
    assert task.cancelled()
    assert swallowed == 1


async def test_what_an_ended_task_raised_is_not_reported_as_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def failing() -> None:
        raise ValueError("unheard")

    task = asyncio.create_task(failing())
    await asyncio.wait([task])
    await end_task(task)
    del task
    assert not caplog.records


async def test_a_patient_time_limit_gives_a_late_loop_a_few_turns() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await blocked_and_answered(turns=5)
    async with patient_timeout(0.02):
        await blocked_and_answered(turns=5)


async def blocked_and_answered(turns: int) -> None:
    """An answer that takes a few turns to be read, on a loop that is late."""
    time.sleep(0.05)  # noqa: ASYNC251 (the loop is meant to be blocked)
    for _ in range(turns):
        await asyncio.sleep(0)


async def test_a_patient_time_limit_expires_all_the_same() -> None:
    with pytest.raises(TimeoutError):
        async with patient_timeout(0.02):
            await asyncio.Event().wait()
