"""What only the layer in memory does; what all layers do is in test_contract.py."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from copy import deepcopy

import pytest
from channels.exceptions import ChannelFull

from tests.layers.conftest import die, receive
from tests.test_outlet import FrameServer, wire
from wsadapter.connection import Connection
from wsadapter.layers import InMemoryChannelLayer
from wsadapter.wire.orders import Push

EVENT = {"type": "order.paid"}


@pytest.fixture
def layer() -> InMemoryChannelLayer:
    return InMemoryChannelLayer(capacity=3, channel_capacity={"thumbnails*": 1})


@pytest.mark.parametrize("name", ["", "with space", "ä", "x" * 100, 7], ids=repr)
async def test_names_that_no_other_layer_would_take_are_refused(
    layer: InMemoryChannelLayer, name: str
) -> None:
    channel = await layer.new_channel()
    with pytest.raises(TypeError):
        await layer.group_add(name, channel)
    with pytest.raises(TypeError):
        await layer.group_send(name, EVENT)
    with pytest.raises(TypeError):
        await layer.send(name, EVENT)


async def test_who_sends_to_a_full_channel_is_told(layer: InMemoryChannelLayer) -> None:
    channel = await layer.new_channel()
    for _ in range(3):
        await layer.send(channel, EVENT)
    with pytest.raises(ChannelFull):
        await layer.send(channel, EVENT)
    assert await receive(layer, channel) == EVENT
    await layer.send(channel, EVENT)


async def test_the_capacity_may_depend_on_the_name(layer: InMemoryChannelLayer) -> None:
    await layer.send("thumbnails.make", EVENT)
    with pytest.raises(ChannelFull):
        await layer.send("thumbnails.make", EVENT)


async def test_a_general_channel_can_be_put_into_a_group(layer: InMemoryChannelLayer) -> None:
    await layer.group_add("news", "thumbnails")
    await layer.group_send("news", EVENT)
    assert await receive(layer, "thumbnails") == EVENT


async def test_somebody_elses_channel_cannot_be_put_into_a_group(
    layer: InMemoryChannelLayer,
) -> None:
    gone = await layer.new_channel()
    await die(layer, gone)
    with pytest.raises(RuntimeError, match=r"self\.channel_layer\.group_add"):
        await layer.group_add("news", gone)
    elsewhere = await asyncio.to_thread(asyncio.run, layer.new_channel())
    with pytest.raises(RuntimeError, match=r"self\.channel_layer\.group_add"):
        await layer.group_add("news", elsewhere)


async def test_event_loops_that_have_ended_are_not_delivered_to(
    layer: InMemoryChannelLayer,
) -> None:
    async def join() -> None:
        await layer.group_add("news", await layer.new_channel())

    await asyncio.to_thread(asyncio.run, join())
    assert layer.deliver_to_group("news", EVENT) == 0


async def test_a_message_for_other_layers_stays_as_it_was(layer: InMemoryChannelLayer) -> None:
    message = {"type": "order.paid", "lines": [1]}
    before = deepcopy(message)
    channel = await layer.new_channel()
    await layer.group_add("news", channel)
    await layer.group_send("news", message)
    (await receive(layer, channel))["lines"].append(2)
    assert message == before


async def test_what_waits_in_a_general_channel_is_there_for_the_next_reader(
    layer: InMemoryChannelLayer,
) -> None:
    reader = asyncio.ensure_future(layer.receive("thumbnails"))
    await asyncio.sleep(0)
    await layer.send("thumbnails", EVENT)
    reader.cancel()
    await asyncio.wait([reader])
    assert await receive(layer, "thumbnails") == EVENT
    await die(layer, "thumbnails")
    assert not layer.fanout().members


@pytest.fixture
async def server(
    layer: InMemoryChannelLayer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[FrameServer]:
    """What a connection in the group "news" writes."""
    monkeypatch.setattr("wsadapter.servers.can_be_stepped", lambda send: True)
    server = FrameServer()
    connection = Connection(
        server.scope, server.send, max_outbox_size=1000, on_closing=lambda seconds: None
    )
    await connection.accept({"type": "websocket.accept"})
    await layer.join(["news"], await layer.open_channel(connection))
    yield server
    connection.end(1006)
    await connection.stop_writing(cut=False)


FRAMES = [f"push {number}" for number in range(10)]


async def test_what_is_published_in_one_turn_leaves_in_one_write_after_the_first(
    layer: InMemoryChannelLayer, server: FrameServer
) -> None:
    for frame in FRAMES:
        layer.deliver_to_group("news", Push(frame).to_message(carries_bytes=True))
    assert server.writes == [wire(FRAMES[0])], "the first is not held back"
    await asyncio.sleep(0)
    assert server.writes == [wire(FRAMES[0]), wire(*FRAMES[1:])]


async def test_what_a_thread_publishes_while_the_loop_is_busy_leaves_in_two_writes(
    layer: InMemoryChannelLayer, server: FrameServer
) -> None:
    def publish() -> None:
        for frame in FRAMES:
            layer.deliver_to_group("news", Push(frame).to_message(carries_bytes=True))

    thread = threading.Thread(target=publish)
    thread.start()
    thread.join()  # and the loop is blocked until all are published
    for _ in range(3):
        await asyncio.sleep(0)
    assert server.writes == [wire(FRAMES[0]), wire(*FRAMES[1:])]
