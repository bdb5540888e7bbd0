"""What runs beside a connection: ended with it, readers last, and nothing is left unsaid."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import pytest

from tests.test_outlet import settle
from wsadapter import tasks
from wsadapter.tasks import Tasks

#: Patience that is over at once, and patience that no test outlives.
NONE, ENDLESS = 0.001, 60.0


class Group:
    """Tasks, and what was said about those that failed."""

    def __init__(self) -> None:
        self.failures: list[tuple[str, BaseException]] = []
        self.tasks = Tasks(lambda task, error: self.failures.append((task.get_name(), error)))

    def create(self, coroutine: Any, name: str = "task") -> asyncio.Task[Any]:
        return self.tasks.create(coroutine, name)

    async def end(self) -> None:
        async with asyncio.timeout(10):
            await self.tasks.end("tab")


@pytest.fixture
def group() -> Group:
    return Group()


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda seconds: monkeypatch.setattr(tasks, "PATIENCE_SECONDS", seconds)


async def reads_to(end: asyncio.Event, group: Group) -> str:
    """What a task does that reads a connection until its end."""
    group.tasks.note_informed()
    await end.wait()
    return "read to the end"


async def test_it_counts_those_that_run(group: Group) -> None:
    go_on = asyncio.Event()
    running = [group.create(go_on.wait()) for _ in range(2)]
    assert len(group.tasks) == 2
    go_on.set()
    await asyncio.gather(*running)
    await settle()
    assert len(group.tasks) == 0 and not group.failures


async def test_a_task_has_its_name_and_its_result(group: Group) -> None:
    async def work() -> int:
        return 7

    task = group.create(work(), "seven")
    assert task.get_name() == "seven" and await task == 7


async def test_a_failure_is_told_once(group: Group) -> None:
    async def work() -> None:
        raise error

    error = LookupError("no such thing")
    group.create(work(), "looking")
    await settle()
    await group.end()
    assert group.failures == [("looking", error)]


async def test_a_cancelled_task_has_not_failed(group: Group) -> None:
    task = group.create(asyncio.Event().wait())
    await settle()
    task.cancel()
    await settle()
    assert not group.failures and len(group.tasks) == 0


async def test_what_fails_while_it_is_ended_is_told(group: Group) -> None:
    error = OSError("cannot clean up")

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise error

    group.create(work(), "careless")
    await settle()
    await group.end()
    assert group.failures == [("careless", error)]


async def test_the_end_of_nothing_is_no_trouble(group: Group) -> None:
    await group.end()


async def test_those_that_do_not_read_are_cancelled_at_once(group: Group, patience: Any) -> None:
    patience(ENDLESS)
    task = group.create(asyncio.Event().wait())
    await settle()
    await group.end()
    assert task.cancelled()


async def test_one_that_reads_may_read_to_the_end(group: Group, patience: Any) -> None:
    patience(ENDLESS)
    end = asyncio.Event()
    reader = group.create(reads_to(end, group))
    other = group.create(asyncio.Event().wait())
    await settle()
    ending = asyncio.create_task(group.end())
    await settle()
    assert other.cancelled() and not reader.done() and not ending.done()
    end.set()
    await ending
    assert await reader == "read to the end"


async def test_one_that_reads_on_is_cancelled_after_a_while(group: Group, patience: Any) -> None:
    patience(NONE)
    reader = group.create(reads_to(asyncio.Event(), group))
    await settle()
    await group.end()
    assert reader.cancelled()


async def test_one_whose_child_reads_may_wait_for_it(group: Group, patience: Any) -> None:
    """As `asyncio.wait_for` and a task group have it: the child is none of these."""
    patience(ENDLESS)
    end = asyncio.Event()

    async def work() -> str:
        return await asyncio.create_task(reads_to(end, group))

    parent = group.create(work())
    await settle()
    ending = asyncio.create_task(group.end())
    await settle()
    assert not parent.done()
    end.set()
    await ending
    assert await parent == "read to the end"


async def test_a_child_that_has_read_and_is_gone_makes_nobody_wait(
    group: Group, patience: Any
) -> None:
    patience(ENDLESS)
    end = asyncio.Event()
    end.set()
    await asyncio.create_task(reads_to(end, group))
    gc.collect()
    task = group.create(asyncio.Event().wait())
    await settle()
    await group.end()
    assert task.cancelled()


async def test_one_that_has_read_and_is_kept_makes_nobody_wait(group: Group, patience: Any) -> None:
    patience(ENDLESS)
    end = asyncio.Event()
    end.set()
    kept = group.create(reads_to(end, group))
    await kept
    task = group.create(asyncio.Event().wait())
    await settle()
    await group.end()
    assert task.cancelled() and kept.done()


async def test_reading_outside_of_any_task_concerns_nobody(group: Group) -> None:
    asyncio.get_running_loop().call_soon(group.tasks.note_informed)
    task = group.create(asyncio.Event().wait())
    await settle()
    await group.end()
    assert task.cancelled()


async def test_one_that_is_cancelled_may_clean_up(group: Group, patience: Any) -> None:
    patience(ENDLESS)
    cleaned_up: list[bool] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await settle()
            cleaned_up.append(True)

    group.create(work())
    await settle()
    await group.end()
    assert cleaned_up == [True] and len(group.tasks) == 0


async def test_one_that_does_not_end_is_named_and_left(
    group: Group, patience: Any, caplog: pytest.LogCaptureFixture
) -> None:
    patience(NONE)
    go_on = asyncio.Event()

    async def work() -> None:
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue

    stubborn = group.create(work(), "stubborn")
    await settle()
    await group.end()
    go_on.set()
    await stubborn
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("wsadapter.connection", logging.WARNING)
    assert record.getMessage().startswith("The task stubborn of client tab did not end within")
