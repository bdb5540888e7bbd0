"""Connections that are inspected report, together, and to whoever asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.consumers.browser import Browser
from tests.redis_server import RedisServer
from tests.sites import SITES, site
from tests.waiting import aeventually
from wsadapter.broadcasting import inspect_clients
from wsadapter.consumers import AdapterConsumer
from wsadapter.layers import RedisChannelLayer

Connect = Callable[..., Browser]


class Inspector(AdapterConsumer):
    """Tells its channel, to which reports can go."""

    async def connect(self) -> None:
        await self.accept()
        await self.send(text_data=self.channel_name)


@pytest.fixture
async def browser() -> AsyncIterator[Connect]:
    browsers: list[Browser] = []

    def make(application: Any = AdapterConsumer) -> Browser:
        browsers.append(Browser(application))
        return browsers[-1]

    yield make
    for each in browsers:
        await each.leave()


@pytest.fixture(params=SITES)
def any_site(request: pytest.FixtureRequest, redis_server: RedisServer, settings: Any) -> None:
    for setting, value in site(request.param, [redis_server.url]).items():
        setattr(settings, setting, value)


async def reports_of(inspector: Browser, client_ids: set[str]) -> list[dict[str, Any]]:
    """Read until everybody has reported."""
    found: list[dict[str, Any]] = []
    while {report["client"] for report in found} != client_ids:
        message = await inspector.receive()
        assert message["type"] == "reports"
        found += message["reports"]
    return found


@pytest.mark.usefixtures("any_site")
async def test_those_who_are_asked_report(browser: Connect) -> None:
    inspector, asked, also_asked, unasked = browser(Inspector), browser(), browser(), browser()
    await inspector.open()
    channel = await inspector.receive()
    ids = {await each.open() for each in (asked, also_asked)}
    await unasked.open()
    await asyncio.to_thread(inspect_clients, ids, channel)
    reports = await reports_of(inspector, ids)
    assert len(reports) == 2
    for report in reports:
        assert report["silence_seconds"] >= 0
        assert report["round_trip_seconds"] is None
        assert (report["queued_bytes"], report["dropped"]) == (0, 0)
    for each in (asked, also_asked, unasked):
        assert each.output_queue.empty(), "the browser is told nothing of it"


async def test_those_of_one_process_report_in_one_message(browser: Connect) -> None:
    inspector = browser(Inspector)
    await inspector.open()
    channel = await inspector.receive()
    ids = {await browser().open() for _ in range(20)}
    await asyncio.to_thread(inspect_clients, ids, channel)
    assert {report["client"] for report in (await inspector.receive())["reports"]} == ids


async def test_nobody_is_worse_off_for_a_report_that_cannot_be_sent(
    browser: Connect, monkeypatch: pytest.MonkeyPatch, redis_server: RedisServer, settings: Any
) -> None:
    for setting, value in site("wsadapter.layers.RedisChannelLayer", [redis_server.url]).items():
        setattr(settings, setting, value)
    tried: list[str] = []

    async def fail(layer: RedisChannelLayer, channel: str, message: Any) -> None:
        tried.append(channel)
        raise ConnectionError("Redis is away")

    monkeypatch.setattr(RedisChannelLayer, "send", fail)
    asked = browser()
    client_id = await asked.open()
    await asyncio.to_thread(inspect_clients, [client_id], "specific.gone!channel")
    await aeventually(lambda: tried == ["specific.gone!channel"])
    assert await asked.request(type="ws:ping") == {"type": "ws:pong"}
