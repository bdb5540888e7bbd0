from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from channels.layers import get_channel_layer

from tests.consumers.browser import Browser
from wsadapter import aonline_count
from wsadapter.layers import InMemoryChannelLayer


@pytest.fixture
async def browser() -> AsyncIterator[Callable[..., Browser]]:
    """Make a `Browser`. Those that are there at the end leave; then nothing may be left."""
    browsers: list[Browser] = []

    def make(*arguments: Any, **options: Any) -> Browser:
        browsers.append(Browser(*arguments, **options))
        return browsers[-1]

    yield make
    for each in browsers:
        await each.leave()
    assert await aonline_count() == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}, "a task outlived its connection"
    layer = get_channel_layer()
    if isinstance(layer, InMemoryChannelLayer):
        assert not layer.fanout().members
        assert not layer.fanout().groups


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> Log:
    caplog.set_level(logging.INFO, "wsadapter")
    return Log(caplog)


class Log:
    """What wsadapter logged in a test."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def lines(self, logger: str) -> list[str]:
        """The messages of one logger: ``connection`` is ``wsadapter.connection``."""
        name = f"wsadapter.{logger}"
        return [record.getMessage() for record in self._caplog.records if record.name == name]

    @property
    def tracebacks(self) -> list[str]:
        """The messages that came with a traceback, of whatever logger."""
        return [record.getMessage() for record in self._caplog.records if record.exc_info]
