"""What only the layer on Redis does: its wire format, foreign messages, outages, few commands."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import msgpack
import pytest
import redis
from channels_redis.pubsub import RedisPubSubChannelLayer

from tests.consumers.browser import Browser
from tests.layers.conftest import die, nothing_arrives, nothing_is_left, receive
from tests.processes import free_port
from tests.redis_server import RedisServer
from tests.waiting import aeventually
from wsadapter.consumers import AdapterConsumer
from wsadapter.errors import StoreUnavailable
from wsadapter.layers import RedisChannelLayer, client_ids
from wsadapter.layers import redis as module

MakeLayer = Callable[..., RedisChannelLayer]

EVENT = {"type": "order.paid", "id": 7, "text": "ä 🎉"}


@pytest.fixture
async def a_layer(redis_layer: MakeLayer, prefix: str) -> AsyncIterator[MakeLayer]:
    """Make a layer; nothing of it may be left at the end of the test."""
    made: list[RedisChannelLayer] = []

    def make(**options: Any) -> RedisChannelLayer:
        made.append(redis_layer(**options))
        return made[-1]

    yield make
    for layer in made:
        await layer.flush()
    await nothing_is_left(redis_layer(), prefix)


def calls(client: redis.Redis, command: str) -> int:
    return int(client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "wsadapter.layers"]


# The same language as channels_redis' pub/sub layer

LANGUAGES = {
    "msgpack": {},
    "json": {"serializer_format": "json"},
    "encrypted": {"symmetric_encryption_keys": ["new key", "old key"]},
    "two hosts": {},
}


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest, first_redis_url: str, prefix: str) -> dict[str, Any]:
    hosts = [first_redis_url]
    if request.param == "two hosts":
        hosts.append(request.getfixturevalue("second_redis_url"))
    return {"hosts": hosts, "prefix": prefix, **LANGUAGES[request.param]}


@pytest.fixture
async def stock(language: dict[str, Any]) -> AsyncIterator[RedisPubSubChannelLayer]:
    layer = RedisPubSubChannelLayer(**language)
    yield layer
    await layer.flush()


async def test_channels_redis_hears_us(
    a_layer: MakeLayer, stock: RedisPubSubChannelLayer, language: dict[str, Any]
) -> None:
    ours = a_layer(**language)
    channel = await stock.new_channel()
    groups = [f"room.{number}" for number in range(10)]
    for group in groups:
        await stock.group_add(group, channel)
    await ours.send(channel, EVENT)
    assert await receive(stock, channel) == EVENT
    for group in groups:
        await ours.group_send(group, {"type": group})
        assert await receive(stock, channel) == {"type": group}


async def test_we_hear_channels_redis(
    a_layer: MakeLayer, stock: RedisPubSubChannelLayer, language: dict[str, Any]
) -> None:
    ours = a_layer(**language)
    channel = await ours.new_channel()
    groups = [f"room.{number}" for number in range(10)]
    for group in groups:
        await ours.group_add(group, channel)
    await stock.send(channel, EVENT)
    assert await receive(ours, channel) == EVENT
    for group in groups:
        await stock.group_send(group, {"type": group})
        assert await receive(ours, channel) == {"type": group}


async def test_the_key_of_yesterday_still_decrypts(a_layer: MakeLayer) -> None:
    today = a_layer(symmetric_encryption_keys=["today", "yesterday"])
    channel = await today.new_channel()
    await a_layer(symmetric_encryption_keys=["yesterday"]).send(channel, EVENT)
    assert await receive(today, channel) == EVENT


# Foreign messages


def junk() -> dict[str, bytes]:
    return {
        "no serialiser": b"\xc1 junk",
        "empty": b"",
        "no dict": msgpack.packb([1, 2]),
        "no type": msgpack.packb({"id": 7}),
        "a type that is no text": msgpack.packb({"type": 7}),
        "another serialiser": json.dumps(EVENT).encode(),
        "a push without a frame": msgpack.packb({"type": "wsadapter.push"}),
        "a kick without a code": msgpack.packb({"type": "wsadapter.kick"}),
    }


@pytest.mark.parametrize("payload", junk().values(), ids=junk())
async def test_junk_is_counted_and_logged_once_and_reaches_nobody(
    a_layer: MakeLayer,
    look_into: redis.Redis,
    prefix: str,
    payload: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    layer = a_layer()
    channels = [await layer.new_channel() for _ in range(3)]
    for channel in channels:
        await layer.group_add("news", channel)
    for _ in range(5):
        assert look_into.publish(f"{prefix}__group__news", payload) == 1
        assert look_into.publish(channels[0], payload) == 1
    for channel in channels:
        assert await nothing_arrives(layer, channel)
    assert layer.local().undecodable == 10
    (line,) = warnings_in(caplog)
    assert f"{prefix}__group__news" in line


async def test_a_message_under_another_key_is_junk(
    a_layer: MakeLayer, caplog: pytest.LogCaptureFixture
) -> None:
    layer = a_layer(symmetric_encryption_keys=["ours"])
    channel = await layer.new_channel()
    await a_layer(symmetric_encryption_keys=["theirs"]).send(channel, EVENT)
    await a_layer().send(channel, EVENT)
    assert await nothing_arrives(layer, channel)
    assert layer.local().undecodable == 2
    assert len(warnings_in(caplog)) == 1


async def test_a_message_that_was_captured_does_not_replay_later(
    a_layer: MakeLayer, look_into: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = a_layer(symmetric_encryption_keys=["ours"])
    channel = await layer.new_channel()
    with monkeypatch.context() as then:
        long_ago = time.time() - module.MAX_MESSAGE_AGE_SECONDS - 5
        then.setattr("cryptography.fernet.time.time", lambda: long_ago)
        captured = layer.serialize(EVENT)
    look_into.publish(channel, captured)
    assert await nothing_arrives(layer, channel)


async def test_names_that_a_pattern_would_misread_are_taken_literally(
    a_layer: MakeLayer,
) -> None:
    for odd in (r"shop[eu]", "a*b", "what?", "back\\slash", "{tag}"):
        layer = a_layer(prefix=odd)
        channel = await layer.new_channel()
        await layer.send(channel, EVENT)
        assert await receive(layer, channel) == EVENT


# Few commands


async def test_a_channel_after_the_first_and_a_group_that_is_there_cost_no_command(
    a_layer: MakeLayer, look_into: redis.Redis
) -> None:
    layer = a_layer()
    await layer.group_add("news", await layer.new_channel())
    before = [calls(look_into, command) for command in ("psubscribe", "subscribe")]
    for channel in [await layer.new_channel() for _ in range(100)]:
        await layer.group_add("news", channel)
    assert [calls(look_into, command) for command in ("psubscribe", "subscribe")] == before


async def test_a_process_gets_a_message_once_whatever_its_members(
    a_layer: MakeLayer, look_into: redis.Redis, prefix: str
) -> None:
    layer = a_layer()
    for channel in [await layer.new_channel() for _ in range(10)]:
        await layer.group_add("news", channel)
    assert look_into.publish(f"{prefix}__group__news", layer.serialize(EVENT)) == 1


async def test_a_group_is_unsubscribed_with_its_last_member(
    a_layer: MakeLayer, look_into: redis.Redis, prefix: str
) -> None:
    layer = a_layer()
    one, two = await layer.new_channel(), await layer.new_channel()
    for channel in (one, two):
        await layer.group_add("news", channel)
    await layer.group_discard("news", one)
    await layer.send(two, EVENT)
    await receive(layer, two)
    assert look_into.pubsub_channels(f"{prefix}*") == [f"{prefix}__group__news".encode()]
    await die(layer, two)
    await aeventually(lambda: not look_into.pubsub_channels(f"{prefix}*"))


async def test_a_client_id_says_where_its_channel_is(a_layer: MakeLayer, prefix: str) -> None:
    layer = a_layer()
    channel = await layer.new_channel()
    client_id = client_ids.of_channel(channel)
    assert client_id is not None
    assert client_ids.channel_of(client_id, prefix) == channel


async def test_somebody_elses_channel_cannot_be_put_into_a_group(a_layer: MakeLayer) -> None:
    layer, other = a_layer(), a_layer()
    theirs = await other.new_channel()
    with pytest.raises(RuntimeError, match=r"self\.channel_layer\.group_add"):
        await layer.group_add("news", theirs)


# Redis away


async def test_without_redis_there_is_an_error_in_time_that_names_no_password(
    a_layer: MakeLayer,
) -> None:
    port = free_port()
    layer = a_layer(hosts=[f"redis://:secret@127.0.0.1:{port}/3"], timeout_seconds=0.3)
    for attempt in (
        layer.new_channel,
        lambda: layer.send("thumbnails", EVENT),
        lambda: layer.group_send("news", EVENT),
        lambda: layer.receive("thumbnails"),
    ):
        async with asyncio.timeout(1):
            with pytest.raises(StoreUnavailable, match=f"redis://127.0.0.1:{port}/3") as caught:
                await attempt()
        assert "secret" not in str(caught.value)
    assert not layer.local().fanout.members


async def test_a_killed_subscription_comes_back_for_all_and_they_hear_of_the_gap(
    a_layer: MakeLayer, look_into: redis.Redis, settings: Any, redis_server: RedisServer
) -> None:
    layer = a_layer()
    settings.WSADAPTER = {"REDIS_URL": redis_server.url, "KEY_PREFIX": f"{{{layer.prefix}}}"}

    plain = await layer.new_channel()
    await layer.group_add("news", plain)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wsadapter.consumers.get_channel_layer", lambda alias: layer)
        browsers = [Browser(AdapterConsumer) for _ in range(3)]
        for browser in browsers:
            await browser.open()
        look_into.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        for browser in browsers:
            assert await browser.receive() == {"type": "ws:gap"}
        await layer.group_send("news", EVENT)
        assert await receive(layer, plain) == EVENT
        for browser in browsers:
            assert await browser.receive_nothing(0.01)
            await browser.leave()


# The end of an event loop


@pytest.fixture
def quiet_interpreter() -> Iterator[None]:
    """What only a finaliser would complain of is complained of here."""
    yield
    gc.collect()


def test_an_event_loop_may_end_without_a_word(
    redis_layer: MakeLayer, quiet_interpreter: None
) -> None:
    async def use(layer: RedisChannelLayer) -> None:
        channel = await layer.new_channel()
        await layer.group_add("news", channel)
        await layer.group_send("news", EVENT)
        await receive(layer, channel)
        reader = asyncio.ensure_future(layer.receive(channel))
        await asyncio.sleep(0)
        assert not reader.done()

    layer = redis_layer()
    for _ in range(3):
        asyncio.run(use(layer))
    asyncio.run(one_loop_at_most(layer))


async def one_loop_at_most(layer: RedisChannelLayer) -> None:
    layer.local()
    assert len(layer._locals) == 1
