"""The layers under test. Each test has a Redis prefix of its own, so none hears another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias
from uuid import uuid4

import pytest
import redis

from tests.redis_server import RedisServer
from tests.waiting import aeventually
from wsadapter.layers import InMemoryChannelLayer, RedisChannelLayer
from wsadapter.layers.fanout import Fanout

#: Seconds that anything may take here before a test gives up on it.
PATIENCE_SECONDS = 10.0

OurLayer: TypeAlias = InMemoryChannelLayer | RedisChannelLayer


@pytest.fixture
def look_into(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """A client to look into Redis with, and to publish past every layer."""
    with redis_server.client() as client:
        yield client


@pytest.fixture(scope="session")
def second_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Another real Redis, for layers on two hosts."""
    with RedisServer(tmp_path_factory.mktemp("second-redis")) as server:
        yield server


@pytest.fixture
def prefix() -> str:
    return f"test-{uuid4().hex[:8]}"


@pytest.fixture
def redis_layer(redis_server: RedisServer, prefix: str) -> Callable[..., RedisChannelLayer]:
    """Make a `RedisChannelLayer`; all of one test share a prefix."""

    def make(**options: Any) -> RedisChannelLayer:
        return RedisChannelLayer(**{"hosts": [redis_server.url], "prefix": prefix, **options})

    return make


@pytest.fixture(params=["memory", "redis", "redis, two hosts", "redis, json", "redis, encrypted"])
def layer(
    request: pytest.FixtureRequest, redis_layer: Callable[..., RedisChannelLayer]
) -> OurLayer:
    """Each of wsadapter's layers."""
    if request.param == "memory":
        return InMemoryChannelLayer()
    options = {
        "redis": dict[str, Any],
        "redis, two hosts": lambda: {
            "hosts": [request.getfixturevalue(f"{name}_redis_url") for name in ("first", "second")]
        },
        "redis, json": lambda: {"serializer_format": "json"},
        "redis, encrypted": lambda: {"symmetric_encryption_keys": ["a secret"]},
    }
    return redis_layer(**options[request.param]())


@pytest.fixture
def first_redis_url(redis_server: RedisServer) -> str:
    return redis_server.url


@pytest.fixture
def second_redis_url(second_redis: RedisServer) -> str:
    return second_redis.url


def fanout_of(layer: OurLayer) -> Fanout:
    """What the running loop has of a layer."""
    return layer.fanout() if isinstance(layer, InMemoryChannelLayer) else layer.local().fanout


async def receive(layer: Any, channel: str) -> Any:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await layer.receive(channel)


async def until_read(layer: OurLayer, channel: str) -> None:
    """Until somebody reads a general channel, so that what is sent to it arrives."""
    if isinstance(layer, RedisChannelLayer):
        client = layer.pools[layer.shard(channel)].sync_client()
        await aeventually(lambda: client.pubsub_numsub(channel)[0][1])
    else:
        await aeventually(lambda: channel in fanout_of(layer).members)


async def nothing_arrives(layer: Any, channel: str) -> bool:
    """Whether what is sent now is the next message, so that nothing came before it."""
    await layer.send(channel, {"type": "the.end"})
    return bool(await receive(layer, channel) == {"type": "the.end"})


async def die(layer: Any, *channels: str) -> None:
    """End as Channels ends a consumer: its `receive` is cancelled."""
    readers = [asyncio.ensure_future(layer.receive(channel)) for channel in channels]
    await asyncio.sleep(0)
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    assert all(reader.cancelled() for reader in readers)


async def nothing_is_left(layer: OurLayer) -> None:
    fanout = fanout_of(layer)
    assert not fanout.members
    assert not fanout.groups
    assert asyncio.all_tasks() == {asyncio.current_task()}
    if isinstance(layer, RedisChannelLayer):
        for pool in layer.pools:
            await aeventually(lambda pool=pool: nothing_is_subscribed(pool.sync_client()))


def nothing_is_subscribed(client: redis.Redis) -> bool:
    return not client.pubsub_channels() and not client.pubsub_numpat()
