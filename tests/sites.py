"""Channel layers as sites configure them, and the layers that sites write themselves.

SITES       the five that wsadapter promises to work on
VARIANTS    more of the same: serialisers, encryption, several hosts, subclasses
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from channels.layers import InMemoryChannelLayer as StockInMemory
from channels_redis.core import RedisChannelLayer as StockCore
from channels_redis.pubsub import RedisPubSubChannelLayer as StockPubSub

from wsadapter.layers import InMemoryChannelLayer, RedisChannelLayer

CORE = "channels_redis.core.RedisChannelLayer"
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"
STOCK_MEMORY = "channels.layers.InMemoryChannelLayer"
REDIS = "wsadapter.layers.RedisChannelLayer"
MEMORY = "wsadapter.layers.InMemoryChannelLayer"

SITES = (CORE, PUBSUB, STOCK_MEMORY, REDIS, MEMORY)

JSON = {"serializer_format": "json"}
ENCRYPTED = {"symmetric_encryption_keys": ["a secret of the site"]}

#: name -> backend, options, number of Redis servers
VARIANTS: dict[str, tuple[str, Mapping[str, Any], int]] = {
    "core, json": (CORE, JSON, 1),
    "core, encrypted": (CORE, ENCRYPTED, 1),
    "core, two hosts": (CORE, {}, 2),
    "pubsub, json": (PUBSUB, JSON, 1),
    "pubsub, encrypted": (PUBSUB, ENCRYPTED, 1),
    "pubsub, two hosts": (PUBSUB, {}, 2),
    "redis, json": (REDIS, JSON, 1),
    "redis, encrypted": (REDIS, ENCRYPTED, 1),
    "redis, two hosts": (REDIS, {}, 2),
    "subclass of core": ("tests.sites.OwnCore", {}, 1),
    "subclass of pubsub": ("tests.sites.OwnPubSub", {}, 1),
    "subclass of stock memory": ("tests.sites.OwnStockMemory", {}, 0),
    "subclass of redis": ("tests.sites.OwnRedis", {}, 1),
    "subclass of memory": ("tests.sites.OwnMemory", {}, 0),
}
RECORDED = "tests.sites.Recorded"


def site(name: str, redis_urls: Sequence[str]) -> dict[str, Any]:
    """The settings of a site, whose keys and channels no other site has."""
    backend, options, hosts = VARIANTS.get(name, (name, {}, 0 if "InMemory" in name else 1))
    own = uuid4().hex[:12]
    config = {**options}
    if hosts:
        # channels_redis' core layer waits 5 seconds in Redis; so does redis-py, by default.
        config["hosts"] = [
            {"address": url, "socket_timeout": 10} if "ore" in backend else url
            for url in redis_urls[:hosts]
        ]
        config["prefix"] = own
    return {
        "CHANNEL_LAYERS": {"default": {"BACKEND": backend, "CONFIG": config}},
        "WSADAPTER": {"KEY_PREFIX": f"{{{own}}}"},
    }


class Noting:
    """A layer with a ``group_send`` of its own, which must not be passed by."""

    noted: list[str]

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self.__dict__.setdefault("noted", []).append(group)
        # channels_redis' pub/sub layer finds its methods by __getattr__, which super() skips.
        send = getattr(super(), "group_send", None) or super().__getattr__("group_send")  # type: ignore[misc]
        await send(group, message)


class OwnCore(Noting, StockCore): ...


class OwnPubSub(Noting, StockPubSub): ...


class OwnStockMemory(Noting, StockInMemory): ...


class OwnRedis(Noting, RedisChannelLayer): ...


class OwnMemory(Noting, InMemoryChannelLayer): ...


class Recorded:
    """No layer of Channels' at all: keeps what is sent, or fails as it is told to."""

    messages: list[dict[str, Any]] = []
    failure: Exception | None = None

    def __init__(self, **config: Any) -> None:
        """Its options are those of a layer on Redis, where presence then lives."""

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if Recorded.failure is not None:
            raise Recorded.failure
        Recorded.messages.append(message)
