"""What failed for a while only, called again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from wsadapter.errors import Failure, RetriesExhausted
from wsadapter.wire.failures import FailureKind
from wsadapter.wire.retries import Retry


async def retried(
    call: Callable[[], Awaitable[Any]],
    retry: Retry,
    *,
    failure_of: Callable[[Exception], Failure | None],
    wait: Callable[[float], Awaitable[None]],
) -> Any:
    """Call, and call again after each transient failure.

    Args:
        call: what is called; its result is returned.
        retry: how often, and after which waits.
        failure_of: what an error means; only one that is transient is tried again.
        wait: waits for so many seconds.

    Raises:
        RetriesExhausted: the last call failed like those before it.
        Exception: what was no transient failure.
    """
    delays = retry.delays_seconds()
    while True:
        try:
            return await call()
        except Exception as error:
            failure = failure_of(error)
            if failure is None or failure.kind is not FailureKind.TRANSIENT:
                raise
            delay = next(delays, None)
            if delay is None:
                raise _exhausted(retry, failure) from error
        await wait(delay)


def _exhausted(retry: Retry, last: Failure) -> RetriesExhausted:
    times = "1 retry" if retry.attempts == 1 else f"{retry.attempts} retries"
    return RetriesExhausted(f"failed after {times}: {last.message}", retry_after=last.retry_after)
