"""What is transient is called again, after each of the waits; nothing else is."""

from __future__ import annotations

import asyncio

import pytest
from django.db import OperationalError

from wsadapter.errors import Exhausted, Failure, Fatal, InvalidMessage, RetriesExhausted, Transient
from wsadapter.failing import failure_of
from wsadapter.retrying import retried
from wsadapter.wire.retries import Retry


class Work:
    """Fails with one error after the other, and then succeeds; notes the waits between."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0
        self.waits: list[float] = []

    async def call(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    async def wait(self, seconds: float) -> None:
        self.waits.append(seconds)

    async def run(self, retry: Retry) -> object:
        return await retried(self.call, retry, failure_of=meaning, wait=self.wait)


def meaning(error: Exception) -> Failure | None:
    return failure_of(error, {})


async def test_what_succeeds_is_called_once() -> None:
    work = Work()
    assert await work.run(Retry()) == "done"
    assert (work.calls, work.waits) == (1, [])


@pytest.mark.parametrize("failures", [1, 2, 3])
async def test_what_fails_for_a_while_is_called_until_it_succeeds(failures: int) -> None:
    work = Work(*(Transient() for _ in range(failures)))
    assert await work.run(Retry(attempts=3, first_delay_seconds=1, factor=2)) == "done"
    assert work.calls == failures + 1
    assert work.waits == [1.0, 2.0, 4.0][:failures]


async def test_in_the_end_the_client_is_asked_to_come_back_later() -> None:
    errors = [Transient(f"attempt {number}") for number in range(4)]
    work = Work(*errors)
    with pytest.raises(RetriesExhausted) as caught:
        await work.run(Retry(attempts=3, first_delay_seconds=1, factor=2))
    assert (work.calls, work.waits) == (4, [1.0, 2.0, 4.0])
    assert str(caught.value) == "failed after 3 retries: attempt 3"
    assert caught.value.__cause__ is errors[-1]
    assert isinstance(caught.value, Exhausted)


async def test_one_retry_is_one_retry() -> None:
    with pytest.raises(RetriesExhausted, match=r"^failed after 1 retry: no luck$"):
        await Work(Transient(), Transient("no luck")).run(Retry(attempts=1))


async def test_what_the_last_failure_says_about_time_is_told() -> None:
    work = Work(Transient(retry_after=1), Transient(retry_after=2.5))
    with pytest.raises(RetriesExhausted) as caught:
        await work.run(Retry(attempts=1))
    assert caught.value.retry_after == 2.5


async def test_an_error_that_means_something_transient_is_tried_again_and_not_quoted() -> None:
    error = OperationalError("password=hunter2")
    work = Work(OperationalError(), error)
    with pytest.raises(RetriesExhausted) as caught:
        await work.run(Retry(attempts=1))
    assert work.calls == 2
    assert str(caught.value) == f"failed after 1 retry: {Transient.sentence}"
    assert caught.value.__cause__ is error


OTHERS = [
    Fatal(),
    Exhausted(retry_after=3),
    RetriesExhausted(),
    InvalidMessage("invalid", "Not that."),
    LookupError("a bug"),
    asyncio.CancelledError(),
    ExceptionGroup("", [Transient(), Fatal()]),
]


@pytest.mark.parametrize("error", OTHERS, ids=lambda error: type(error).__name__)
async def test_anything_else_is_raised_at_once(error: BaseException) -> None:
    work = Work(error)
    with pytest.raises(type(error)) as caught:
        await work.run(Retry())
    assert caught.value is error
    assert (work.calls, work.waits) == (1, [])


async def test_anything_else_is_raised_after_a_retry_too() -> None:
    work = Work(Transient(), Fatal("for good"))
    with pytest.raises(Fatal, match="for good"):
        await work.run(Retry())
    assert (work.calls, work.waits) == (2, [1.0])


async def test_who_gives_up_waiting_calls_no_more() -> None:
    work = Work(Transient(), Transient())

    async def leave(seconds: float) -> None:
        raise ConnectionError("nobody waits for it")

    with pytest.raises(ConnectionError, match="nobody waits"):
        await retried(work.call, Retry(), failure_of=meaning, wait=leave)
    assert work.calls == 1


async def test_the_waits_begin_anew_with_each_call() -> None:
    retry = Retry(attempts=2)
    for _ in range(2):
        work = Work(Transient(), Transient())
        assert await work.run(retry) == "done"
        assert work.waits == [1.0, 2.0]
