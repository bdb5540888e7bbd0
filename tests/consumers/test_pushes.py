"""Pushes never wait for handlers, and one slow browser harms nobody but itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from channels.layers import get_channel_layer

from tests.consumers.browser import Browser
from tests.consumers.conftest import Log
from tests.waiting import aeventually
from wsadapter import Priority, abroadcast, adisconnect_client, aonline_count, asend_to_client
from wsadapter.connection import Connection
from wsadapter.consumers import AdapterConsumer
from wsadapter.inbox import MAX_EVENTS
from wsadapter.outlet import ITEM_BYTES
from wsadapter.signals import message_dropped
from wsadapter.wire.lanes import LANE_SIZE
from wsadapter.wire.outbox import Overflow

Connect = Callable[..., Browser]


class Stuck(AdapterConsumer):
    """Its handlers never return; a client that answered a ping once is pinged on."""

    heartbeat_interval = 0.02
    heartbeat_timeout = 30

    async def receive(self, text_data: str | None = None, bytes_data: Any = None) -> None:
        await asyncio.Event().wait()

    async def too_much(self, event: dict[str, Any]) -> None:
        await asyncio.Event().wait()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Connection.close_soon.__kwdefaults__, "timeout", 0.02)
    monkeypatch.setattr("wsadapter.consumers.CLEANUP_SECONDS", 0.02)


@pytest.mark.usefixtures("impatient")
async def test_while_a_handler_never_returns_pushes_and_pings_go_on(
    browser: Connect, log: Log
) -> None:
    client = browser(Stuck)
    client_id = await client.open()
    await client.send_to("wait for ever")
    await abroadcast("a push")
    received = [await client.receive(), await client.receive()]
    assert "a push" in received and {"type": "ws:ping"} in received
    await client.send_json_to({"type": "ws:ping"})
    await aeventually(lambda: received_pong(client))
    await client.leave()
    assert await aonline_count() == 0
    assert [line for line in log.lines("handlers") if client_id in line and "cancelled" in line]


async def received_pong(client: Browser) -> bool:
    return await client.receive() == {"type": "ws:pong"}


@pytest.mark.usefixtures("impatient")
async def test_while_a_handler_never_returns_the_connection_can_be_closed(
    browser: Connect,
) -> None:
    client = browser(Stuck)
    client_id = await client.open()
    await client.send_to("wait for ever")
    assert await adisconnect_client(client_id) == 1
    assert (await client.closed()).code == 3503


@pytest.mark.usefixtures("impatient")
async def test_a_flood_that_no_handler_takes_stops_being_read_and_is_not_dead(
    browser: Connect,
) -> None:
    client = browser(Stuck)
    await client.open()
    for _ in range(LANE_SIZE + 10):
        await client.send_to("more")
    await aeventually(lambda: client.input_queue.qsize() <= 9)
    assert client.input_queue.qsize() > 0, "what the handlers do not take is left to the transport"
    # Busy is not dead. That a ping goes out all the same shows when the browser has left.
    assert await client.receive() == await client.receive() == {"type": "ws:ping"}
    await client.leave()


@pytest.mark.usefixtures("impatient")
async def test_channel_layer_messages_beyond_the_bound_are_dropped_and_logged_once(
    browser: Connect, log: Log
) -> None:
    class Grouped(Stuck):
        groups = ["grouped"]

    client = browser(Grouped)
    await client.open()
    for _ in range(MAX_EVENTS + 3):
        await get_channel_layer().group_send("grouped", {"type": "too.much"})
    assert len([line for line in log.lines("connection") if "do not keep up" in line]) == 1
    await abroadcast("a push")
    await aeventually(lambda: received(client, "a push"))


async def received(client: Browser, frame: str) -> bool:
    return await client.receive() == frame


async def test_a_burst_arrives_whole_and_in_order(browser: Connect) -> None:
    client = browser(AdapterConsumer)
    await client.open()
    for number in range(500):
        await abroadcast(f"push {number}")
    assert [await client.receive() for _ in range(500)] == [f"push {n}" for n in range(500)]


# A browser that does not read: the server's send does not return any more


@pytest.fixture
def dropped() -> Iterator[list[tuple[str, int]]]:
    """Clients and counts, as `message_dropped` names them."""
    told: list[tuple[str, int]] = []

    def note(client_id: str, count: int, **kwargs: Any) -> None:
        told.append((client_id, count))

    message_dropped.connect(note)
    yield told
    message_dropped.disconnect(note)


class Bounded(AdapterConsumer):
    max_outbox_size = 3 * (10 + ITEM_BYTES)  # three messages of ten bytes


async def full(client: Browser) -> str:
    """Connect, and leave the welcome unread, so that nothing can leave any more."""
    await client.connect()
    await aeventually(client.output_queue.full)
    return str(json.loads(client.output_queue._queue[0]["text"])["client"])  # type: ignore[attr-defined]


async def six_pushes() -> None:
    """Of ten bytes each: one is on its way, three wait, and there is no room for two."""
    for number in range(6):
        await abroadcast(f"push {number}...")
        await asyncio.sleep(0)


async def frames(client: Browser, count: int) -> list[Any]:
    assert (await client.receive())["type"] == "ws:welcome"
    return [await client.receive() for _ in range(count)]


async def test_a_full_outbox_closes_that_connection_only(browser: Connect, log: Log) -> None:
    slow, fast = browser(Bounded, takes=1), browser(Bounded)
    client_id = await full(slow)
    await fast.open()
    for number in range(6):
        await abroadcast(f"push {number} ...")
        assert await fast.receive() == f"push {number} ..."
    closed = await slow.closed()
    assert closed.code == 3008 and closed.reason.startswith("too slow")
    assert await aonline_count() == 1
    assert [line for line in log.lines("connection") if client_id in line and "3008" in line]


async def test_drop_oldest_keeps_the_newest(
    browser: Connect, dropped: list[tuple[str, int]]
) -> None:
    class Dropping(Bounded):
        overflow = Overflow.DROP_OLDEST

    client = browser(Dropping, takes=1)
    client_id = await full(client)
    await six_pushes()
    assert await frames(client, 4) == ["push 0...", "push 3...", "push 4...", "push 5..."]
    await client.leave()
    assert dropped == [(client_id, 1), (client_id, 1)], "at once, and at the end at the latest"


async def test_drop_newest_keeps_the_oldest(
    browser: Connect, dropped: list[tuple[str, int]]
) -> None:
    class Dropping(Bounded):
        overflow = Overflow.DROP_NEWEST

    client = browser(Dropping, takes=1)
    client_id = await full(client)
    await six_pushes()
    assert await frames(client, 4) == [f"push {number}..." for number in range(4)]
    await client.leave()
    assert dropped == [(client_id, 1), (client_id, 1)]


async def test_the_urgent_overtake_what_waits(browser: Connect) -> None:
    client = browser(AdapterConsumer, takes=1)
    client_id = await full(client)
    await abroadcast("already on its way")
    await asyncio.sleep(0)
    for priority in (Priority.LOW, Priority.NORMAL, Priority.HIGH, Priority.URGENT):
        await asend_to_client(client_id, priority.name, priority=priority)
    order = ["already on its way", "URGENT", "HIGH", "NORMAL", "LOW"]
    assert await frames(client, 5) == order


async def test_a_frame_beyond_the_bound_passes_through_an_empty_outbox(browser: Connect) -> None:
    client = browser(Bounded)
    await client.open()
    await abroadcast("a" * 1000)
    assert await client.receive() == "a" * 1000


@pytest.mark.usefixtures("impatient")
async def test_a_browser_that_never_takes_the_close_is_cut_off(browser: Connect, log: Log) -> None:
    client = browser(Bounded, takes=1)
    await full(client)
    for _ in range(6):
        await abroadcast("a push that fills")
    await client.wait(10)
    assert client.future.done() and await aonline_count() == 0
    assert not log.tracebacks


async def test_nothing_is_sent_to_those_who_are_excluded(browser: Connect) -> None:
    one, other = browser(AdapterConsumer), browser(AdapterConsumer)
    own_id = await one.open()
    await other.open()
    await abroadcast("for others", exclude=[own_id])
    await abroadcast("for all")
    assert await other.receive() == "for others"
    assert await one.receive() == await other.receive() == "for all"
