"""Waiting for another process; what happens in this one is awaited or passed in instead."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.05


def eventually(predicate: Callable[[], T], *, within_seconds: float = 10.0) -> T:
    """Call the predicate until what it returns is true, and return that.

    Raises:
        AssertionError: it was still false after ``within_seconds``; names the last value.
    """
    deadline = time.monotonic() + within_seconds
    while not (value := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(too_late(predicate, value, within_seconds))
        time.sleep(POLL_SECONDS)
    return value


async def aeventually(
    predicate: Callable[[], Awaitable[T]] | Callable[[], T], *, within_seconds: float = 10.0
) -> T:
    """The twin of `eventually`; the predicate may be a coroutine function."""
    deadline = time.monotonic() + within_seconds
    while not (value := await called(predicate)):
        if time.monotonic() > deadline:
            raise AssertionError(too_late(predicate, value, within_seconds))
        await asyncio.sleep(POLL_SECONDS)
    return value


async def called(predicate: Callable[[], Awaitable[T]] | Callable[[], T]) -> T:
    value = predicate()
    return await value if inspect.isawaitable(value) else value


def too_late(predicate: Callable[..., object], value: object, within_seconds: float) -> str:
    return f"{predicate!r} gave {value!r} for {within_seconds:g} s"
