"""What a Channels layer promises, on each of wsadapter's layers."""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from channels.exceptions import ChannelFull
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.testing import WebsocketCommunicator

from tests.layers.conftest import (
    PATIENCE_SECONDS,
    OurLayer,
    die,
    fanout_of,
    nothing_arrives,
    nothing_is_left,
    receive,
    until_read,
)
from tests.waiting import aeventually
from wsadapter.layers import InMemoryChannelLayer, RedisChannelLayer
from wsadapter.layers.fanout import QueueMember

EVENT = {"type": "order.paid", "id": 7, "lines": [{"sku": "a", "count": 2}]}


@pytest.fixture(autouse=True)
async def leaves_nothing(layer: OurLayer, prefix: str) -> AsyncIterator[None]:
    yield
    await layer.flush()
    await nothing_is_left(layer)


def test_the_extensions_are_those_of_channels(layer: OurLayer) -> None:
    assert set(layer.extensions) == {"groups", "flush"}


# One channel


async def test_a_message_arrives_as_it_was_sent(layer: OurLayer) -> None:
    channel = await layer.new_channel()
    await layer.send(channel, EVENT)
    assert await receive(layer, channel) == EVENT


async def test_messages_arrive_in_order(layer: OurLayer) -> None:
    channel = await layer.new_channel()
    for number in range(50):
        await layer.send(channel, {"type": "n", "number": number})
    numbers = [(await receive(layer, channel))["number"] for _ in range(50)]
    assert numbers == list(range(50))


async def test_each_channel_gets_its_own_messages(layer: OurLayer) -> None:
    one, two = await layer.new_channel(), await layer.new_channel()
    assert one != two
    await layer.send(two, {"type": "for.two"})
    await layer.send(one, {"type": "for.one"})
    assert await receive(layer, one) == {"type": "for.one"}
    assert await receive(layer, two) == {"type": "for.two"}
    assert await nothing_arrives(layer, one)


async def test_the_prefix_of_a_channel_is_the_callers_choice(layer: OurLayer) -> None:
    channel = await layer.new_channel("http.response.")
    assert "http.response." in channel and "!" in channel
    await layer.send(channel, EVENT)
    assert await receive(layer, channel) == EVENT


async def test_a_general_channel_is_read_by_whoever_asks(layer: OurLayer) -> None:
    readers = [asyncio.ensure_future(receive(layer, "thumbnails")) for _ in range(2)]
    await until_read(layer, "thumbnails")
    await layer.send("thumbnails", {"type": "make", "id": 1})
    await layer.send("thumbnails", {"type": "make", "id": 2})
    assert sorted(message["id"] for message in await asyncio.gather(*readers)) == [1, 2]


async def test_a_general_channel_keeps_its_messages_for_the_next_read(layer: OurLayer) -> None:
    await read_once(layer, "thumbnails")
    await layer.send("thumbnails", EVENT)
    assert await receive(layer, "thumbnails") == EVENT


async def read_once(layer: OurLayer, channel: str) -> None:
    """A general channel has been read, and its reader is about to read on."""
    reader = asyncio.ensure_future(receive(layer, channel))
    await until_read(layer, channel)
    await layer.send(channel, {"type": "first"})
    assert await reader == {"type": "first"}


async def test_a_general_channel_is_forgotten_with_its_last_reader(layer: OurLayer) -> None:
    staying = await layer.new_channel()  # else all is forgotten, as nobody is left
    first, last = [asyncio.ensure_future(receive(layer, "thumbnails")) for _ in range(2)]
    await until_read(layer, "thumbnails")
    first.cancel()
    await asyncio.wait([first])
    await layer.send("thumbnails", EVENT)
    assert await last == EVENT
    await die(layer, "thumbnails")
    assert list(fanout_of(layer).members) == [staying]
    await die(layer, staying)
    await nothing_is_left(layer)


async def test_who_has_given_up_can_read_again(layer: OurLayer) -> None:
    for channel in (await layer.new_channel(), "thumbnails"):
        await die(layer, channel)
        reader = asyncio.ensure_future(receive(layer, channel))
        if "!" in channel and isinstance(layer, RedisChannelLayer):
            for pool in layer.pools:
                await aeventually(pool.sync_client().pubsub_numpat)
        else:
            await until_read(layer, channel)
        await layer.send(channel, EVENT)
        assert await reader == EVENT
        await die(layer, channel)


async def test_what_the_sender_changes_later_does_not_change_the_message(layer: OurLayer) -> None:
    channel = await layer.new_channel()
    await layer.group_add("news", channel)
    message: dict[str, Any] = {"type": "order.paid", "lines": [1]}
    await layer.send(channel, message)
    await layer.group_send("news", message)
    message["lines"].append(2)
    assert (await receive(layer, channel))["lines"] == [1]
    assert (await receive(layer, channel))["lines"] == [1]


async def test_sending_to_a_consumer_that_is_gone_is_harmless(layer: OurLayer) -> None:
    channel = await layer.new_channel()
    await die(layer, channel)
    for _ in range(200):  # more than a channel may hold
        await layer.send(channel, EVENT)
    assert not fanout_of(layer).members


async def test_a_general_channel_carries_whatever_its_readers_understand(layer: OurLayer) -> None:
    reader = asyncio.ensure_future(receive(layer, "thumbnails"))
    await until_read(layer, "thumbnails")
    await layer.send("thumbnails", "make one")
    assert await reader == "make one"


async def test_channel_names_do_not_depend_on_the_seed_of_random(layer: OurLayer) -> None:
    names = set()
    for _ in range(3):
        random.seed(1)
        names.add(await layer.new_channel())
    assert len(names) == 3


async def test_who_waits_in_vain_can_give_up(layer: OurLayer) -> None:
    channel = await layer.new_channel()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(layer.receive(channel), timeout=0.01)


def test_its_methods_are_seen_to_be_coroutine_functions(layer: OurLayer) -> None:
    for name in ("send", "receive", "new_channel", "group_add", "group_discard", "group_send"):
        assert inspect.iscoroutinefunction(getattr(layer, name))


# Groups


async def test_members_may_have_prefixes_of_their_own(layer: OurLayer) -> None:
    same = [await layer.new_channel(prefix="http.response.") for _ in range(3)]
    other = await layer.new_channel(prefix="websocket.send.")
    for channel in (*same, other):
        await layer.group_add("news", channel)
    await layer.group_discard("news", same[1])
    await layer.group_send("news", EVENT)
    for channel in (same[0], same[2], other):
        assert await receive(layer, channel) == EVENT
    assert await nothing_arrives(layer, same[1])


async def test_a_group_send_reaches_every_member_once(layer: OurLayer) -> None:
    channels = [await layer.new_channel() for _ in range(3)]
    for channel in channels:
        await layer.group_add("news", channel)
        await layer.group_add("news", channel)
    await layer.group_send("news", EVENT)
    assert [await receive(layer, channel) for channel in channels] == [EVENT] * 3
    for channel in channels:
        assert await nothing_arrives(layer, channel)


async def test_each_member_may_change_its_message(layer: OurLayer) -> None:
    channels = [await layer.new_channel() for _ in range(3)]
    for channel in channels:
        await layer.group_add("news", channel)
    await layer.group_send("news", EVENT)
    for channel in channels:
        message = await receive(layer, channel)
        assert message == EVENT
        message["lines"][0]["count"] = "changed"


async def test_a_channel_may_be_in_several_groups(layer: OurLayer) -> None:
    channel = await layer.new_channel()
    groups = [f"room.{number}" for number in range(20)]
    for group in groups:
        await layer.group_add(group, channel)
    for group in groups:
        await layer.group_send(group, {"type": group})
    # Rooms may live on different hosts: only within one of them is there an order.
    assert {(await receive(layer, channel))["type"] for _ in groups} == set(groups)


async def test_who_left_a_group_hears_no_more_of_it(layer: OurLayer) -> None:
    left, kept = await layer.new_channel(), await layer.new_channel()
    for channel in (left, kept):
        await layer.group_add("news", channel)
    await layer.group_discard("news", left)
    await layer.group_send("news", EVENT)
    assert await receive(layer, kept) == EVENT
    assert await nothing_arrives(layer, left)


async def test_who_leaves_and_comes_back_at_once_is_there(layer: OurLayer) -> None:
    channel = await layer.new_channel()
    await layer.group_add("news", channel)
    await layer.group_discard("news", channel)
    await layer.group_add("news", channel)
    await layer.group_send("news", EVENT)
    assert await receive(layer, channel) == EVENT


async def test_a_group_without_members_is_no_error(layer: OurLayer) -> None:
    channel = await layer.new_channel()
    await layer.group_send("nobody", EVENT)
    await layer.group_discard("nobody", channel)
    await layer.group_discard("nobody", "specific.unknown!channel")
    assert await nothing_arrives(layer, channel)


async def test_groups_that_begin_alike_are_different(layer: OurLayer) -> None:
    channel = await layer.new_channel()
    await layer.group_add("room.1", channel)
    await layer.group_send("room.10", EVENT)
    await layer.group_send("room", EVENT)
    assert await nothing_arrives(layer, channel)


# Those who die


async def test_a_thousand_members_that_die_leave_nothing(layer: OurLayer, prefix: str) -> None:
    channels = await asyncio.gather(*(layer.new_channel() for _ in range(1000)))
    await asyncio.gather(*(layer.group_add("all", channel) for channel in channels))
    await asyncio.gather(*(layer.group_add(f"of.{channel[-16:]}", channel) for channel in channels))
    await die(layer, *channels)
    await nothing_is_left(layer)


async def test_one_that_dies_takes_nobody_along(layer: OurLayer) -> None:
    dying, living = await layer.new_channel(), await layer.new_channel()
    for channel in (dying, living):
        await layer.group_add("news", channel)
    await die(layer, dying)
    await layer.group_send("news", EVENT)
    assert await receive(layer, living) == EVENT


async def test_one_that_comes_as_the_last_one_goes_is_reached(layer: OurLayer) -> None:
    """A page that is loaded anew by the only visitor."""
    for _ in range(20):
        old = await layer.new_channel()
        await layer.group_add("news", old)
        _, new = await asyncio.gather(die(layer, old), layer.new_channel())
        await layer.group_add("news", new)
        await layer.send(new, EVENT)
        await layer.group_send("news", EVENT)
        assert await receive(layer, new) == await receive(layer, new) == EVENT
        await die(layer, new)


# Those who do not keep up


async def test_a_consumer_that_does_not_keep_up_loses_the_newest_and_the_log_says_so(
    layer: OurLayer, caplog: pytest.LogCaptureFixture
) -> None:
    layer.capacity = 5
    slow = await layer.new_channel()
    layer.capacity = 100
    quick = await layer.new_channel()
    for channel in (slow, quick):
        await layer.group_add("news", channel)
    for number in range(20):
        await layer.group_send("news", {"type": "n", "number": number})
    assert [(await receive(layer, quick))["number"] for _ in range(20)] == list(range(20))
    assert [(await receive(layer, slow))["number"] for _ in range(5)] == list(range(5))
    lines = [record.getMessage() for record in caplog.records if record.name == "wsadapter.layers"]
    assert len(lines) == 1 and slow in lines[0]


async def test_what_has_waited_for_longer_than_the_expiry_is_dropped_and_the_log_says_so(
    layer: OurLayer, caplog: pytest.LogCaptureFixture
) -> None:
    layer.expiry = 7
    channel = await layer.new_channel()
    queue = fanout_of(layer).members[channel]
    assert isinstance(queue, QueueMember)
    for waiting, moment in enumerate((100.0, 101.0, 106.0), 1):
        queue.clock = lambda moment=moment: moment
        await layer.send(channel, {"type": "n", "number": moment})
        await aeventually(lambda waiting=waiting: queue.waiting == waiting)
    queue.clock = lambda: 108.5
    assert (await receive(layer, channel))["number"] == 106
    assert (queue.expired, queue.dropped) == (2, 0)
    (line,) = (
        record.getMessage() for record in caplog.records if record.name == "wsadapter.layers"
    )
    assert channel in line and "more than 7 seconds" in line


# Several event loops and threads


class Elsewhere:
    """A consumer on an event loop of its own, in a thread of its own."""

    def __init__(self, layer: OurLayer, group: str) -> None:
        self._layer = layer
        self._group = group
        self._ready = asyncio.Event()
        self._here = asyncio.get_running_loop()
        self.channel = ""

    async def __aenter__(self) -> Elsewhere:
        self._message = asyncio.ensure_future(asyncio.to_thread(asyncio.run, self._consume()))
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._ready.wait()
        return self

    async def _consume(self) -> Any:
        self.channel = await self._layer.new_channel()
        await self._layer.group_add(self._group, self.channel)
        self._here.call_soon_threadsafe(self._ready.set)
        return await receive(self._layer, self.channel)

    async def received(self) -> Any:
        return await self._message

    async def __aexit__(self, *error: object) -> None:
        await self._message


async def test_members_on_several_event_loops_are_reached(layer: OurLayer) -> None:
    here = await layer.new_channel()
    await layer.group_add("news", here)
    async with Elsewhere(layer, "news") as one, Elsewhere(layer, "news") as two:
        await layer.group_send("news", EVENT)
        assert await receive(layer, here) == EVENT
        assert await one.received() == await two.received() == EVENT


async def test_one_channel_on_another_event_loop_is_reached(layer: OurLayer) -> None:
    async with Elsewhere(layer, "news") as elsewhere:
        await layer.send(elsewhere.channel, EVENT)
        assert await elsewhere.received() == EVENT


async def test_plain_synchronous_code_reaches_members(layer: OurLayer) -> None:
    channel = await layer.new_channel()
    await layer.group_add("news", channel)
    await in_a_thread_of_its_own(lambda: async_to_sync(layer.group_send)("news", EVENT))
    await in_a_thread_of_its_own(lambda: async_to_sync(layer.send)(channel, EVENT))
    assert await receive(layer, channel) == EVENT
    assert await receive(layer, channel) == EVENT


async def in_a_thread_of_its_own(call: Callable[[], object]) -> None:
    await asyncio.get_running_loop().run_in_executor(None, call)


def test_an_event_loop_that_ends_takes_what_it_had_along(layer: OurLayer, prefix: str) -> None:
    async def begin() -> None:
        channel = await layer.new_channel()
        await layer.group_add("news", channel)

    async def look() -> None:
        await layer.group_send("news", EVENT)
        await nothing_is_left(layer)

    for _ in range(3):
        asyncio.run(begin())
    asyncio.run(look())


# Starting afresh


async def test_a_flushed_layer_has_forgotten_everything_and_goes_on(
    layer: OurLayer, prefix: str
) -> None:
    channel = await layer.new_channel()
    await layer.group_add("news", channel)
    await layer.flush()
    await nothing_is_left(layer)
    channel = await layer.new_channel()
    await layer.group_send("news", EVENT)
    await layer.group_add("news", channel)
    assert await nothing_arrives(layer, channel)


# A plain consumer of Channels


class Plain(AsyncWebsocketConsumer):
    groups = ["news"]

    async def order_paid(self, event: dict[str, Any]) -> None:
        await self.send(f"paid {event['id']}")


async def test_a_plain_consumer_works_and_leaves_nothing(
    layer: OurLayer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("channels.consumer.get_channel_layer", lambda alias: layer)
    communicators = [WebsocketCommunicator(Plain.as_asgi(), "/ws/") for _ in range(3)]
    for communicator in communicators:
        await communicator.connect(PATIENCE_SECONDS)
    await layer.group_send("news", EVENT)
    for communicator in communicators:
        assert await communicator.receive_from(PATIENCE_SECONDS) == "paid 7"
        await communicator.disconnect(timeout=PATIENCE_SECONDS)
    await nothing_is_left(layer)


async def test_a_full_channel_refuses_who_sends_to_it_where_the_layer_can_know(
    layer: OurLayer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    layer.capacity = 2
    await read_once(layer, "thumbnails")
    if isinstance(layer, InMemoryChannelLayer):
        await layer.send("thumbnails", EVENT)
        await layer.send("thumbnails", EVENT)
        with pytest.raises(ChannelFull):
            await layer.send("thumbnails", EVENT)
    else:
        for _ in range(3):
            await layer.send("thumbnails", EVENT)
    assert await receive(layer, "thumbnails") == await receive(layer, "thumbnails") == EVENT
