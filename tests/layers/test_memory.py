"""What only the layer in memory does; what all layers do is in test_contract.py."""

from __future__ import annotations

import asyncio
from copy import deepcopy

import pytest
from channels.exceptions import ChannelFull

from tests.layers.conftest import die, receive
from wsadapter.layers import InMemoryChannelLayer

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
