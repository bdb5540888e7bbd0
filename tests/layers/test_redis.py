"""What only the layer on Redis does: its wire format, foreign messages, outages, few commands."""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import msgpack
import pytest
import redis
from asgiref.sync import async_to_sync
from channels.generic.websocket import AsyncWebsocketConsumer
from channels_redis.pubsub import RedisPubSubChannelLayer

from tests.consumers.browser import Browser
from tests.layers.conftest import (
    PATIENCE_SECONDS,
    die,
    nothing_arrives,
    nothing_is_left,
    receive,
    until_read,
)
from tests.processes import free_port
from tests.redis_server import RedisServer
from tests.waiting import aeventually
from wsadapter.close_codes import CloseCode
from wsadapter.consumers import AdapterConsumer
from wsadapter.errors import StoreUnavailable
from wsadapter.layers import RedisChannelLayer, client_ids
from wsadapter.layers import redis as module
from wsadapter.layers.fanout import QueueMember
from wsadapter.wire.orders import Push

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
    await nothing_is_left(redis_layer())


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


async def test_a_message_has_the_bytes_that_channels_redis_gives_it(
    a_layer: MakeLayer, language: dict[str, Any], stock: RedisPubSubChannelLayer
) -> None:
    ours, message = a_layer(**language), {"a": True, "b": None, "c": {"d": []}, "e": "ä"}
    assert ours.deserialize(stock.serialize(message)) == message
    if "symmetric_encryption_keys" not in language:  # which make them different each time
        assert ours.serialize(message) == stock.serialize(message)


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


# The same options


#: A value of each option that channels_redis documents.
OPTIONS: dict[str, Any] = {
    "hosts": [("localhost", 6379)],
    "prefix": "shop",
    "expiry": 30,
    "group_expiry": 3600,
    "capacity": 200,
    "channel_capacity": {"thumbnails*": 10, re.compile(r"^websocket\.send!.+"): 20},
    "symmetric_encryption_keys": ["a secret"],
    "on_disconnect": "redis.disconnect",
    "on_reconnect": "redis.reconnect",
    "serializer_format": "json",
}


async def test_the_options_of_channels_redis_are_taken(caplog: pytest.LogCaptureFixture) -> None:
    manual = importlib.metadata.metadata("channels_redis").get_payload()
    headings = re.findall(r"^``.*``(?=\n~~~)", str(manual), re.MULTILINE)
    assert {name for heading in headings for name in re.findall(r"\w+", heading)} == set(OPTIONS)
    stock, ours = RedisPubSubChannelLayer(**OPTIONS), RedisChannelLayer(**OPTIONS)
    assert stock.prefix == ours.prefix
    assert stock.on_disconnect == ours.on_disconnect
    assert stock.deserialize(ours.serialize(EVENT)) == EVENT
    assert [ours.get_capacity(n) for n in ("x", "thumbnails.a", "websocket.send!a")] == [
        200,
        10,
        20,
    ]
    assert not caplog.records


def test_options_of_other_layers_are_named_in_one_line(
    redis_layer: MakeLayer, caplog: pytest.LogCaptureFixture
) -> None:
    redis_layer(random_prefix_length=4, capactiy=7)
    (line,) = warnings_in(caplog)
    assert "capactiy, random_prefix_length" in line


@pytest.mark.parametrize("option", ["on_disconnect", "on_reconnect"])
def test_who_is_to_be_told_of_redis_has_a_name_or_can_be_called(
    redis_layer: MakeLayer, option: str
) -> None:
    with pytest.raises(TypeError, match=f"{option} takes a message type.* not 7"):
        redis_layer(**{option: 7})


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
    assert layer.undecodable == 10
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
    assert layer.undecodable == 2
    (line,) = warnings_in(caplog)
    assert "(InvalidToken: wrong key or too old)" in line


def test_what_cannot_be_decoded_is_counted_for_all_event_loops(
    redis_layer: MakeLayer,
    look_into: redis.Redis,
    prefix: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def hear_junk() -> None:
        channel = await layer.new_channel()
        await layer.group_add("news", channel)
        look_into.publish(f"{prefix}__group__news", b"")
        look_into.publish(f"{prefix}__group__news", layer.serialize(EVENT))
        assert await receive(layer, channel) == EVENT

    layer = redis_layer()
    for _ in range(3):
        asyncio.run(hear_junk())
    assert layer.undecodable == 3
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


async def test_a_message_is_good_for_a_minute_and_a_refusal_names_the_clocks(
    a_layer: MakeLayer,
    look_into: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    layer = a_layer(symmetric_encryption_keys=["ours"])
    channel = await layer.new_channel()

    def publish_as_of(seconds_ago: int) -> None:
        with monkeypatch.context() as then:
            long_ago = time.time() - seconds_ago
            then.setattr("cryptography.fernet.time.time", lambda: long_ago)
            payload = layer.serialize({"type": "sent", "ago": seconds_ago})
        look_into.publish(channel, payload)

    publish_as_of(55)
    assert (await receive(layer, channel))["ago"] == 55
    publish_as_of(62)
    assert await nothing_arrives(layer, channel)
    (line,) = warnings_in(caplog)
    assert "clocks" in line and "symmetric_encryption_keys" in line


async def test_a_huge_message_disconnects_nobody(a_layer: MakeLayer, prefix: str) -> None:
    layer = a_layer()
    channel = await layer.new_channel()
    await layer.group_add("news", channel)
    with layer.pools[0].sync_client() as client:
        client.publish(f"{prefix}__group__news", b"\xc1" * 8_000_000)
    huge = {"type": "order.paid", "text": "x" * 8_000_000}
    await layer.group_send("news", huge)
    assert await receive(layer, channel) == huge
    assert layer.undecodable == 1
    assert layer.reconnects == 0


async def test_a_message_is_decoded_once_for_all_who_get_the_same_frame(
    a_layer: MakeLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Holder(QueueMember):
        def deliver(self, push: Push) -> None:
            pushes.append(push)

    pushes: list[Push] = []
    layer = a_layer()
    for number in range(100):
        channel = await layer.open_channel(Holder(str(number), 100))
        await layer.join(["news"], channel)
    decoded: list[bytes] = []
    deserialize = layer.deserialize
    monkeypatch.setattr(
        layer, "deserialize", lambda payload: decoded.append(payload) or deserialize(payload)
    )
    await layer.group_send("news", Push("hello").to_message(carries_bytes=True))
    await aeventually(lambda: len(pushes) == 100)
    assert len(decoded) == len({id(push) for push in pushes}) == 1
    assert pushes[0].frame == "hello"


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


async def test_a_consumers_channel_and_groups_are_subscribed_in_one_go(
    a_layer: MakeLayer, look_into: redis.Redis, prefix: str
) -> None:
    layer = a_layer()
    before = [calls(look_into, command) for command in ("psubscribe", "subscribe")]
    channel = await layer.open_channel(QueueMember("mine", 10))
    await layer.join(["news", "of.anna"], channel)
    after = [calls(look_into, command) for command in ("psubscribe", "subscribe")]
    assert after == [count + 1 for count in before]
    for name in (channel, f"{prefix}__group__news", f"{prefix}__group__of.anna"):
        assert look_into.publish(name, layer.serialize(EVENT)) == 1
    assert await receive(layer, channel) == await receive(layer, channel) == EVENT


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


async def test_a_general_channel_is_unsubscribed_with_its_last_reader(
    a_layer: MakeLayer, look_into: redis.Redis
) -> None:
    layer = a_layer()
    await layer.new_channel()  # else the whole connection is closed
    readers = [asyncio.ensure_future(layer.receive("thumbnails")) for _ in range(2)]
    await until_read(layer, "thumbnails")
    for reader, left in zip(readers, ([b"thumbnails"], []), strict=True):
        reader.cancel()
        await asyncio.wait([reader])
        await layer.group_send("nobody", EVENT)
        await aeventually(lambda left=left: look_into.pubsub_channels() == left)
    assert look_into.pubsub_numpat() == 1


async def test_a_reader_that_is_gone_before_redis_answers_stays_subscribed_to_nothing(
    a_layer: MakeLayer, look_into: redis.Redis
) -> None:
    layer = a_layer()
    channel = await layer.new_channel()
    look_into.client_pause(100)  # no answer for so many milliseconds
    reader = asyncio.ensure_future(layer.receive("thumbnails"))
    for _ in range(5):
        await asyncio.sleep(0)
    reader.cancel()
    await asyncio.wait([reader])
    assert list(layer.local().fanout.members) == [channel]
    await layer.group_add("news", channel)  # when Redis has this, it has had what was before
    await aeventually(lambda: not look_into.pubsub_numsub("thumbnails")[0][1])


async def test_a_second_reader_goes_on_when_the_first_gives_up_subscribing(
    a_layer: MakeLayer, look_into: redis.Redis
) -> None:
    layer = a_layer()
    await layer.new_channel()
    look_into.client_pause(100)
    first, second = [asyncio.ensure_future(receive(layer, "thumbnails")) for _ in range(2)]
    await asyncio.sleep(0)
    first.cancel()
    await until_read(layer, "thumbnails")
    await layer.send("thumbnails", EVENT)
    assert await second == EVENT


async def test_a_pattern_is_unsubscribed_with_the_last_channel_that_begins_so(
    a_layer: MakeLayer, look_into: redis.Redis
) -> None:
    layer = a_layer()
    one, two = [await layer.new_channel("http.response.") for _ in range(2)]
    await layer.group_add("news", two)
    assert look_into.pubsub_numpat() == 1, "no other pattern than theirs"
    staying = await layer.new_channel()
    assert look_into.pubsub_numpat() == 2
    await die(layer, one)
    await layer.send(two, EVENT)
    assert await receive(layer, two) == EVENT
    await die(layer, two)
    await aeventually(lambda: look_into.pubsub_numpat() == 1)
    await layer.send(staying, EVENT)
    assert await receive(layer, staying) == EVENT


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("others_stay", [True, False])
async def test_a_channel_that_is_opened_as_the_last_of_its_kind_leaves_is_reached(
    a_layer: MakeLayer, turns: int, others_stay: bool
) -> None:
    layer = a_layer()
    if others_stay:
        await layer.new_channel()

    async def come() -> str:
        for _ in range(turns):
            await asyncio.sleep(0)
        return await layer.new_channel("http.response.")

    last = await layer.new_channel("http.response.")
    for _ in range(5):
        _, new = await asyncio.gather(die(layer, last), come())
        await layer.send(new, EVENT)
        assert await receive(layer, new) == EVENT
        last = new


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
        assert layer.reconnects == 1
        await layer.group_send("news", EVENT)
        assert await receive(layer, plain) == EVENT
        for browser in browsers:
            assert await browser.receive_nothing(0.01)
            await browser.leave()


class Told:
    """Whom a project names to be told: notes what it was told, and fails if asked to."""

    def __init__(self) -> None:
        self.of: list[str] = []

    def away(self) -> None:
        self.of.append("away")

    async def back(self) -> None:
        await asyncio.sleep(0)
        self.of.append("back")

    def fails(self) -> None:
        raise LookupError("a bug of the project")


async def test_functions_hear_that_redis_went_away_and_is_back(
    a_layer: MakeLayer, look_into: redis.Redis
) -> None:
    told = Told()
    layer = a_layer(on_disconnect=told.away, on_reconnect=told.back)
    channel = await layer.new_channel()
    await layer.group_add("news", channel)
    assert told.of == []
    for times in (1, 2):
        look_into.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await aeventually(lambda times=times: told.of == ["away", "back"] * times)
        # Who asks for what is current, on being told, misses nothing that comes after.
        assert look_into.publish(layer.group_channel("news"), layer.serialize(EVENT)) == 1
        assert await receive(layer, channel) == EVENT
        assert layer.reconnects == times


async def test_consumers_hear_it_by_a_message_where_a_type_is_named(
    a_layer: MakeLayer, look_into: redis.Redis
) -> None:
    layer = a_layer(on_disconnect="redis.disconnect", on_reconnect="redis.reconnect")
    channels = [await layer.new_channel() for _ in range(2)]
    look_into.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    for channel in channels:
        assert await receive(layer, channel) == {"type": "redis.disconnect"}
        assert await receive(layer, channel) == {"type": "redis.reconnect"}


async def test_a_function_that_fails_is_logged_and_harms_nothing(
    a_layer: MakeLayer, look_into: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told()
    layer = a_layer(on_disconnect=told.fails, on_reconnect=told.back)
    channel = await layer.new_channel()
    look_into.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await aeventually(lambda: told.of == ["back"])
    await layer.send(channel, EVENT)
    assert await receive(layer, channel) == EVENT
    (error,) = (record for record in caplog.records if record.levelname == "ERROR")
    assert error.name == "wsadapter.layers" and "on_disconnect" in error.getMessage()
    assert error.exc_info is not None and error.exc_info[0] is LookupError


# Those who die


class Plain(AsyncWebsocketConsumer):
    groups = ["news"]

    async def receive(self, text_data: Any = None, bytes_data: Any = None) -> None:
        raise LookupError("a bug")


class Adapted(AdapterConsumer):
    async def connect(self) -> None:
        await self.accept()
        await self.join("news")
        await self.join(f"of.{self.connection.client_id}")
        raise LookupError("a bug")


async def test_a_thousand_plain_consumers_that_raise_leave_nothing_subscribed(
    a_layer: MakeLayer, look_into: redis.Redis, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = a_layer()
    monkeypatch.setattr("channels.consumer.get_channel_layer", lambda alias: layer)
    browsers = [Browser(Plain) for _ in range(1000)]
    await asyncio.gather(*(browser.connect(PATIENCE_SECONDS) for browser in browsers))
    assert look_into.pubsub_channels(f"{prefix}*") == [f"{prefix}__group__news".encode()]
    assert look_into.pubsub_numpat() == 1
    for browser in browsers:
        await browser.frame("anything")
    deaths = await asyncio.gather(*(browser.future for browser in browsers), return_exceptions=True)
    assert {type(death) for death in deaths} == {LookupError}
    await nothing_is_left(layer)


async def test_plain_consumers_that_a_layer_message_ends_leave_nothing_subscribed(
    a_layer: MakeLayer, look_into: redis.Redis, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Channels does not cancel receive() then, so nobody tells the layer."""
    monkeypatch.setattr("wsadapter.layers.redis.ORPHAN_SECONDS", 0)
    layer = a_layer()
    monkeypatch.setattr("channels.consumer.get_channel_layer", lambda alias: layer)
    browsers = [Browser(Plain) for _ in range(10)]
    await asyncio.gather(*(browser.connect(PATIENCE_SECONDS) for browser in browsers))
    await layer.group_send("news", {"type": "nobody.knows.this"})
    deaths = await asyncio.gather(*(browser.future for browser in browsers), return_exceptions=True)
    assert {type(death) for death in deaths} == {ValueError}
    await aeventually(lambda: not layer.local().fanout.members)
    await aeventually(lambda: not look_into.pubsub_channels(f"{prefix}*"))


async def test_a_channel_that_somebody_reads_outlives_its_creator(
    a_layer: MakeLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsadapter.layers.redis.ORPHAN_SECONDS", 0)
    layer = a_layer()
    channel = await asyncio.create_task(layer.new_channel())
    reading = asyncio.create_task(layer.receive(channel))
    for _ in range(10):
        await asyncio.sleep(0)
    await layer.send(channel, {"type": "still.there"})
    assert await reading == {"type": "still.there"}


@pytest.mark.usefixtures("_quiet_log")
async def test_a_thousand_adapter_consumers_that_raise_leave_nothing_subscribed(
    a_layer: MakeLayer,
    look_into: redis.Redis,
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    redis_server: RedisServer,
) -> None:
    layer = a_layer()
    settings.WSADAPTER = {"REDIS_URL": redis_server.url, "KEY_PREFIX": f"{{{prefix}}}"}
    monkeypatch.setattr("wsadapter.consumers.get_channel_layer", lambda alias: layer)
    browsers = [Browser(Adapted) for _ in range(1000)]
    for browser in browsers:
        await browser.send_input({"type": "websocket.connect"})
    closed = await asyncio.gather(*(browser.closed() for browser in browsers))
    assert {end.code for end in closed} == {CloseCode.SERVER_ERROR}
    await nothing_is_left(layer)
    assert not look_into.keys(f"*{prefix}*"), "somebody is still counted"


@pytest.fixture
def _quiet_log() -> Iterator[None]:
    """A thousand tracebacks tell no more than one."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


async def test_who_comes_and_goes_around_an_outage_is_in_the_right_groups(
    a_layer: MakeLayer, look_into: redis.Redis
) -> None:
    layer = a_layer()
    one, two, three = [await layer.new_channel() for _ in range(3)]
    for channel in (one, two):
        await layer.group_add("news", channel)
    look_into.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await layer.group_add("news", three)
    await layer.group_discard("news", two)
    await aeventually(lambda: layer.reconnects == 1)
    await layer.group_add("news", three)  # returns when Redis has all of them again
    await layer.group_send("news", EVENT)
    for channel in (one, three):
        assert await receive(layer, channel) == EVENT
    assert await nothing_arrives(layer, two)


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
        assert not layer._locals
    asyncio.run(one_loop_at_most(layer))


def test_what_is_sent_while_an_event_loop_rests_is_there_when_it_goes_on(
    redis_layer: MakeLayer, quiet_interpreter: None
) -> None:
    layer = redis_layer()
    with asyncio.Runner() as runner:
        channel = runner.run(layer.new_channel())
        for number in range(3):
            async_to_sync(layer.send)(channel, {"type": "n", "number": number})
        assert [runner.run(receive(layer, channel))["number"] for _ in range(3)] == [0, 1, 2]


async def one_loop_at_most(layer: RedisChannelLayer) -> None:
    layer.local()
    assert len(layer._locals) == 1
