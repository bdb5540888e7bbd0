"""An endpoint is a consumer: its browser and its log are theirs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.consumers.conftest import browser, log

__all__ = ["Watched", "browser", "log", "watched"]


class Watched:
    """What a function noted, and events that it waits for or sets."""

    def __init__(self) -> None:
        self.notes: list[Any] = []
        self.begun, self.go_on, self.over = asyncio.Event(), asyncio.Event(), asyncio.Event()


@pytest.fixture
def watched() -> Watched:
    return Watched()
