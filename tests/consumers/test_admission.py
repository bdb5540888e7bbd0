"""Who is let in: nobody while the process drains, and nobody beyond its limit."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import wsadapter
from tests.client.virtual_time import passes, virtual_time
from tests.consumers.browser import Browser, Closed
from tests.consumers.conftest import Log
from tests.consumers.recorder import Recorder
from tests.waiting import aeventually
from wsadapter import admission, draining, serving
from wsadapter.admission import DRAINING, FULL, RefusalLog
from wsadapter.consumers import AdapterConsumer
from wsadapter.draining import Drain

Connect = Callable[..., Browser]

TURNED_AWAY = Closed(3001, "the server restarts; come back")
FULL_UP = Closed(3013, "this server is full")


@pytest.fixture(autouse=True)
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that does not drain yet, and in which nobody has a seat; nor has at the end."""
    monkeypatch.setattr(draining, "_drain", None)
    before = signal.getsignal(signal.SIGTERM)
    yield
    assert not serving._seats and not serving._when_empty
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.fixture
def drains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "_drain", Drain(8))


class Asking(Recorder):
    """Notes whether it has asked who is there."""

    asked = 0

    async def authenticate(self) -> Any:
        type(self).asked += 1

    async def connect(self) -> None:
        await self.accept()


@pytest.fixture
def asking() -> type[Asking]:
    class Fresh(Asking):
        pass

    return Fresh


# Draining


@pytest.mark.usefixtures("drains")
async def test_while_it_drains_newcomers_are_sent_back_unseen(
    browser: Connect, log: Log, asking: type[Asking]
) -> None:
    assert await browser(asking).refused() == TURNED_AWAY
    assert not asking.asked and not asking.ends
    assert log.lines("handshake") == [
        "Refused a WebSocket connection to '/ws/' from 192.0.2.1 with close code 3001: "
        "the server restarts; come back."
    ]


async def test_a_drain_ends_all_connections_in_order(browser: Connect, log: Log) -> None:
    class Saying(Recorder):
        async def receive(self, text_data: str | None = None, bytes_data: Any = None) -> None:
            await self.send("heard")

    clients = [browser(Saying) for _ in range(3)]
    for client in clients:
        await client.open()
    await clients[0].send_to("hello")
    drained = asyncio.create_task(wsadapter.adrain(0))
    assert [await client.closed() for client in clients] == [TURNED_AWAY] * 3
    await drained
    assert Saying.ends == [3001, 3001, 3001]
    assert await wsadapter.aonline_count() == 0
    assert not log.lines("connection"), "an end that is meant needs no line"


async def test_what_was_sent_before_leaves_before(browser: Connect) -> None:
    client = browser(AdapterConsumer)
    await client.open()
    await wsadapter.abroadcast("the last news")
    drained = asyncio.create_task(wsadapter.adrain(0))
    assert await client.receive() == "the last news"
    assert await client.closed() == TURNED_AWAY
    await drained


async def test_one_that_is_being_admitted_is_told_once_it_is_open(browser: Connect) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    class Slow(AdapterConsumer):
        async def connect(self) -> None:
            arrived.set()
            await go_on.wait()
            await self.accept()

    client = browser(Slow)
    await client.send_input({"type": "websocket.connect"})
    await arrived.wait()
    drained = asyncio.create_task(wsadapter.adrain(0))
    await aeventually(wsadapter.is_draining)
    await aeventually(lambda: client_of_slow().state.value == "connecting")
    await asyncio.sleep(0)
    go_on.set()
    assert (await client.event())["type"] == "websocket.accept"
    assert await client.closed() == TURNED_AWAY
    await drained


def client_of_slow() -> Any:
    [connection] = serving.seated()
    return connection


# SIGTERM


@pytest.fixture
def terminated() -> Iterator[asyncio.Event]:
    """Set when the handler of the server is called, for which this one stands in."""
    event = asyncio.Event()
    before = signal.signal(signal.SIGTERM, lambda number, frame: event.set())
    yield event
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def at_once(settings: Any) -> None:
    settings.WSADAPTER = {"DRAIN_SECONDS": 0}


@pytest.mark.usefixtures("at_once")
async def test_sigterm_drains_before_the_server_learns_of_it(
    terminated: asyncio.Event, browser: Connect
) -> None:
    clients = [browser(AdapterConsumer) for _ in range(2)]
    for client in clients:
        await client.open()
    own = signal.getsignal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    assert await clients[0].closed() == TURNED_AWAY
    assert not terminated.is_set()
    assert await clients[1].closed() == TURNED_AWAY
    await asyncio.wait_for(terminated.wait(), 10)
    assert signal.getsignal(signal.SIGTERM) != own


async def test_a_second_sigterm_hurries(
    terminated: asyncio.Event, browser: Connect, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsadapter.draining.ALONE_SAME_SECONDS", 0.0)
    settings.WSADAPTER = {"DRAIN_SECONDS": 3600}
    clients = [browser(AdapterConsumer) for _ in range(3)]
    for client in clients:
        await client.open()
    signal.raise_signal(signal.SIGTERM)
    await aeventually(wsadapter.is_draining)
    signal.raise_signal(signal.SIGTERM)
    assert terminated.is_set(), "the server learns of it at once"
    terminated.clear()
    assert [await client.closed() for client in clients] == [TURNED_AWAY] * 3
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
    assert not terminated.is_set(), "and does so once"


async def test_without_connections_the_handler_is_as_it_was(
    terminated: asyncio.Event, browser: Connect
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    for _ in range(2):
        clients = [browser(AdapterConsumer) for _ in range(2)]
        for client in clients:
            await client.open()
            assert signal.getsignal(signal.SIGTERM) is not before
        for client in clients:
            await client.leave()
        assert signal.getsignal(signal.SIGTERM) is before
    signal.raise_signal(signal.SIGTERM)
    assert terminated.is_set()


# MAX_CONNECTIONS


@pytest.fixture
def two(settings: Any) -> None:
    settings.WSADAPTER = {"MAX_CONNECTIONS": 2}


@pytest.mark.usefixtures("two")
async def test_beyond_the_limit_clients_are_turned_away_unseen(
    browser: Connect, log: Log, asking: type[Asking]
) -> None:
    clients = [browser(asking) for _ in range(2)]
    for client in clients:
        await client.open()
    for _ in range(3):
        assert await browser(asking).refused() == FULL_UP
    assert asking.asked == 2
    assert await wsadapter.aonline_count() == 2
    [line] = log.lines("handshake")
    assert line.endswith("with close code 3013: this server is full.")
    await clients[0].leave()
    await browser(asking).open()
    assert await browser(asking).refused() == FULL_UP


@pytest.mark.usefixtures("two")
async def test_one_that_is_being_admitted_counts(browser: Connect) -> None:
    go_on = asyncio.Event()

    class Slow(AdapterConsumer):
        async def authenticate(self) -> Any:
            await go_on.wait()

    slow = [browser(Slow) for _ in range(2)]
    for client in slow:
        await client.send_input({"type": "websocket.connect"})
    await aeventually(lambda: len(serving.seated()) == 2)
    assert await browser(AdapterConsumer).refused() == FULL_UP
    go_on.set()


@pytest.mark.usefixtures("two")
async def test_one_that_is_cleaned_up_after_counts(browser: Connect) -> None:
    leaving, go_on = asyncio.Event(), asyncio.Event()

    class Lingering(AdapterConsumer):
        async def disconnect(self, code: int) -> None:
            leaving.set()
            await go_on.wait()

    lingering, other = browser(Lingering), browser(AdapterConsumer)
    await lingering.open()
    await other.open()
    gone = asyncio.create_task(lingering.leave())
    await leaving.wait()
    assert await browser(AdapterConsumer).refused() == FULL_UP
    go_on.set()
    await gone
    await browser(AdapterConsumer).open()


@pytest.mark.usefixtures("two")
async def test_whoever_is_refused_for_another_reason_leaves_its_seat(browser: Connect) -> None:
    class Closed(AdapterConsumer):
        allow_anonymous = False

    for _ in range(4):
        assert (await browser(Closed).refused()).code == 3500


# The log


@pytest.mark.parametrize("refusal", [FULL, DRAINING], ids=["full", "draining"])
def test_a_storm_of_refusals_is_a_line_a_second(
    refusal: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "wsadapter.handshake")

    @virtual_time
    async def storm() -> None:
        refusals = RefusalLog(refusal)
        for _ in range(25):  # within two and a half seconds
            for _ in range(1000):
                refusals.add({"path": "/ws/"})
            await passes(0.1)
        await passes(10)
        refusals.add({"path": "/later/"})

    storm()
    first, *counts, last = [record.getMessage() for record in caplog.records]
    told = f"Refused WebSocket connections with close code {refusal.code} ({refusal.reason}): "
    assert "to '/ws/' from" in first and "to '/later/' from" in last
    assert all(line.startswith(told) for line in counts)
    assert sum(int(line.removeprefix(told).split()[0]) for line in counts) == 24_999
    assert len(counts) == 3


async def test_each_event_loop_has_its_own_log() -> None:
    async def log_there() -> RefusalLog:
        return admission._log_of(FULL)

    here = admission._log_of(FULL)
    assert admission._log_of(FULL) is here is not admission._log_of(DRAINING)
    assert await asyncio.to_thread(asyncio.run, log_there()) is not here
