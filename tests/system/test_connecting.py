"""What it costs to connect: round trips of one browser, and what a storm of them leaves alive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis
from channels.layers import channel_layers

from tests.consumers.browser import Browser
from tests.redis_server import RedisServer
from wsadapter import aonline_count
from wsadapter.consumers import AdapterConsumer
from wsadapter.store.operations import BATCH_SIZE

#: What redis-py says on every connection that it makes.
GREETINGS = {"client", "client|setinfo", "hello", "select"}

Connect = Callable[..., Browser]


@pytest.fixture
async def look_into(own_redis: RedisServer, settings: Any) -> AsyncIterator[redis.Redis]:
    """A Redis of one's own, for the layer and for presence, whose every command counts."""
    settings.WSADAPTER = {"REDIS_URL": own_redis.url}
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "wsadapter.layers.RedisChannelLayer",
            "CONFIG": {"hosts": [own_redis.url]},
        }
    }
    channel_layers.backends.clear()
    with own_redis.client() as client:
        yield client
    channel_layers.backends.clear()


@pytest.fixture
async def browser(look_into: redis.Redis) -> AsyncIterator[Connect]:
    """Make a browser of a user; all have left at the end."""
    made: list[Browser] = []

    def make(user: int | None = None) -> Browser:
        made.append(Browser(AdapterConsumer, user=user))
        return made[-1]

    yield make
    await asyncio.gather(*(each.leave() for each in made))
    assert await aonline_count() == 0
    assert look_into.pubsub_channels() == [] and look_into.pubsub_numpat() == 0


def commands(client: redis.Redis) -> dict[str, int]:
    """What Redis was told since the last `config_resetstat`, scripts' own calls left out."""
    stats = client.info("commandstats")
    names = ("subscribe", "psubscribe", "unsubscribe", "publish", "eval", "evalsha")
    return {name: calls for name in names if (calls := calls_of(stats, name))}


def calls_of(stats: dict[str, Any], name: str) -> int:
    return int(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"])


async def round_trips(client: redis.Redis, connecting: Callable[[], Any]) -> int:
    """How often Redis has read something from a client while that was done."""

    def reads() -> int:
        return int(client.info("stats")["total_reads_processed"])

    of_looking = -reads() + reads()
    before = reads()
    await connecting()
    return reads() - before - of_looking


async def test_the_first_connection_of_a_process_subscribes_and_counts_in_one_go_each(
    look_into: redis.Redis, browser: Connect
) -> None:
    await (earlier := browser(7)).open()  # so that Redis knows the scripts
    await earlier.leave()
    look_into.config_resetstat()
    await browser(8).open()
    # Both subscriptions leave in one write, and the lease is opened by whom it first counts.
    assert commands(look_into) == {"subscribe": 1, "psubscribe": 1, "evalsha": 1}


async def test_a_connection_takes_two_round_trips_or_one(
    look_into: redis.Redis, browser: Connect
) -> None:
    await browser(7).open()
    assert await round_trips(look_into, browser(8).open) == 2  # subscribe, count
    assert await round_trips(look_into, browser(8).open) == 1  # that user's group is there
    assert await round_trips(look_into, browser(None).open) == 1


async def test_leaving_takes_two_round_trips_or_one(
    look_into: redis.Redis, browser: Connect
) -> None:
    await browser(7).open()
    await (earlier := browser(8)).open()  # so that Redis knows the scripts
    await earlier.leave()
    one, other = browser(8), browser(8)
    await one.open()
    await other.open()
    assert await round_trips(look_into, one.leave) == 1  # count
    assert await round_trips(look_into, other.leave) <= 2  # count, unsubscribe


async def test_those_of_a_storm_share_their_round_trips(
    look_into: redis.Redis, browser: Connect
) -> None:
    await browser(0).open()
    look_into.config_resetstat()
    storm = [browser(number) for number in range(500)]
    await asyncio.gather(*(each.open() for each in storm))
    told = commands(look_into)
    assert await aonline_count() == 501
    assert set(told) == {"subscribe", "evalsha"}
    assert sum(told.values()) < len(storm) / 5


async def test_a_storm_lets_everybody_else_have_their_turn(browser: Connect) -> None:
    """Heartbeats are tasks like any other: no turn of the loop accepts more than a batch."""
    await browser(0).open()
    storm = [browser(number) for number in range(1000)]
    for each in storm:
        await each.send_input({"type": "websocket.connect"})
    accepted_at_once = []

    async def beat() -> None:
        before = 0
        while before < len(storm):
            await asyncio.sleep(0)
            now = sum(not each.output_queue.empty() for each in storm)
            accepted_at_once.append(now - before)
            before = now

    async with asyncio.timeout(60):
        await beat()
    assert max(accepted_at_once) <= BATCH_SIZE
    assert len(accepted_at_once) > len(storm) / BATCH_SIZE
