"""Plain Django Channels: a stock consumer, with each of the layers that people use."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import redis

from benchmarks.system import Family, Place, Publisher, System
from benchmarks.systems.channels_site.site import SiteSystem, post

#: The group that the consumer of the site is in.
GROUP = "everyone"


class StockSystem(SiteSystem):
    """The plain consumer on a layer."""

    family: Family = "channels"
    path = "/stock/"

    def publisher(self, place: Place) -> Publisher:
        publishers: dict[str, type[Publisher]] = {
            "pubsub": PubSubPublisher,
            "core": CorePublisher,
            "memory": InsidePublisher,
        }
        return publishers[self.layer](place)  # type: ignore[call-arg]


class StormedSystem(StockSystem):
    """Also measured with everybody at the door at once."""

    measures = StockSystem.measures | {"storm"}


class LayerPublisher(Publisher):
    """What users do: ``async_to_sync(layer.group_send)``, an event loop for each call."""

    def __init__(self, place: Place) -> None:
        import django

        django.setup()
        from asgiref.sync import async_to_sync
        from channels.layers import get_channel_layer

        self._layer: Any = get_channel_layer()
        self._group_send = async_to_sync(self._layer.group_send)

    def send_to_user(self, user: str, payload: str) -> None:
        self._group_send(GROUP, message(payload))


class PubSubPublisher(LayerPublisher):
    """Bursts leave as one pipeline, so that it is not the publisher that is measured."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._redis = redis.Redis.from_url(place.redis_url)

    def broadcast(self, payloads: Sequence[str]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for payload in payloads:
            serialised = self._layer.serialize(message(payload))
            pipeline.publish(f"asgi__group__{GROUP}", serialised)
        pipeline.execute()


class CorePublisher(LayerPublisher):
    """Sends a burst from one event loop; the layer itself is what takes the time."""

    def broadcast(self, payloads: Sequence[str]) -> None:
        asyncio.run(self._send_all(payloads))

    async def _send_all(self, payloads: Sequence[str]) -> None:
        for payload in payloads:
            await self._layer.group_send(GROUP, message(payload))


class InsidePublisher(Publisher):
    """Asks the server to send, as an in-memory layer reaches nobody from outside."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def broadcast(self, payloads: Sequence[str]) -> None:
        post(self._place, "/broadcast/", json.dumps(list(payloads)).encode())

    def send_to_user(self, user: str, payload: str) -> None:
        self.broadcast([payload])


def message(payload: str) -> dict[str, Any]:
    return {"type": "push", "text": payload}


class MemorySystem(StockSystem):
    """The in-memory layer, whose time for one broadcast grows with the square of the crowd."""

    measures = frozenset({"closed", "burst", "connect", "idle"})
    most_connections = 1000


SYSTEMS: list[System] = [
    StormedSystem("Channels, pub/sub layer, uvicorn", layer="pubsub"),
    StockSystem("Channels, pub/sub layer, daphne", layer="pubsub", server="daphne"),
    StockSystem("Channels, core layer, uvicorn", layer="core"),
    MemorySystem("Channels, in-memory layer, uvicorn", layer="memory"),
]
