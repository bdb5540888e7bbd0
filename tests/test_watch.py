"""Who is watched over; time is the test's own."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from tests.consumers.browser import Browser
from tests.consumers.conftest import browser, log
from tests.waiting import aeventually
from wsadapter import Connection, HealthPolicy, websocket
from wsadapter.wire.health import Ailment, HealthCheck, Vitals
from wsadapter.wire.lanes import LANE_SIZE as MAX_FRAMES

__all__ = ["browser", "log"]

Connect = Callable[..., Browser]


class Clock:
    """The clock of a watch, which can be put forward."""

    def __init__(self) -> None:
        self.ahead_seconds = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("wsadapter.watch.time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


@pytest.fixture
def verdicts(monkeypatch: pytest.MonkeyPatch) -> list[Ailment | None]:
    """What each examination has found."""
    found: list[Ailment | None] = []
    examine = HealthCheck.examine

    def noted(check: HealthCheck, vitals: Vitals) -> Ailment | None:
        found.append(examine(check, vitals))
        return found[-1]

    monkeypatch.setattr(HealthCheck, "examine", noted)
    return found


async def test_who_is_held_back_is_not_silent(
    browser: Connect, clock: Clock, verdicts: list[Ailment | None]
) -> None:
    """Nobody reads what it sends: that is not its fault. Afterwards its silence counts anew."""
    go_on = asyncio.Event()

    @websocket(health=HealthPolicy(max_silence_seconds=500, check_interval_seconds=0.001))
    async def reluctant(connection: Connection) -> None:
        await go_on.wait()
        async for frame in connection:
            await connection.send(frame)

    client = browser(reluctant.as_asgi())
    await client.open()
    for number in range(MAX_FRAMES):
        await client.frame(str(number))
    await aeventually(client.input_queue.empty)
    clock.ahead_seconds = 1000
    verdicts.clear()
    await aeventually(lambda: len(verdicts) > 3)
    go_on.set()
    for number in range(MAX_FRAMES):
        while (frame := await client.receive()) == {"type": "ws:ping"}:
            pass
        assert frame == number
    verdicts.clear()
    await aeventually(lambda: len(verdicts) > 3)
    assert set(verdicts) == {None}
    clock.ahead_seconds = 2000
    closed = await client.closed()
    assert closed.code == 3012
    assert re.fullmatch(r"silent for 1\d\d\d s, 500 are allowed", closed.reason)
