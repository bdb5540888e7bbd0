"""A connection on a layer that is not wsadapter's: what the pump hands over."""

from __future__ import annotations

import asyncio

import pytest
from channels.layers import InMemoryChannelLayer as StockInMemoryChannelLayer

from tests.test_outlet import FrameServer, wire
from wsadapter.connection import Connection
from wsadapter.membership import PumpedMembership
from wsadapter.wire.orders import Push


async def test_what_the_pump_finds_at_once_leaves_in_one_write_after_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("wsadapter.servers.can_be_stepped", lambda send: True)
    server, layer = FrameServer(), StockInMemoryChannelLayer()
    connection = Connection(
        server.scope, server.send, max_outbox_size=1000, on_closing=lambda seconds: None
    )
    await connection.accept({"type": "websocket.accept"})
    membership = PumpedMembership(layer)
    await membership.open(connection)
    frames = [f"push {number}" for number in range(10)]
    for frame in frames:
        await layer.send(membership.channel, Push(frame).to_message(carries_bytes=True))
    for _ in range(3):
        await asyncio.sleep(0)
    assert server.writes == [wire(frames[0]), wire(*frames[1:])]
    await membership.close()
    connection.end(1006)
    await connection.stop_writing(cut=False)
