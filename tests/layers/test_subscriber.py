"""One connection that stays subscribed, against a Redis that is killed, silent, slow or gone."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis

from tests.layers.conftest import PATIENCE_SECONDS
from tests.redis_server import RedisServer
from tests.waiting import aeventually
from wsadapter.errors import StoreUnavailable
from wsadapter.layers import subscriber as module
from wsadapter.layers.subscriber import Subscriber
from wsadapter.redis_pool import RedisPool


class Listener:
    """A subscriber and what it has heard."""

    def __init__(self, host: Any, *, timeout_seconds: float = 2.0) -> None:
        self.gaps = 0
        self.losses = 0
        self._heard: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self.subscriber = Subscriber(
            RedisPool(host, timeout_seconds=timeout_seconds),
            self._message,
            on_lost=self._lost,
            on_gap=self._gap,
        )

    def _message(self, name: str, payload: bytes) -> None:
        self._heard.put_nowait((name, payload))

    def _lost(self) -> None:
        self.losses += 1

    def _gap(self) -> None:
        self.gaps += 1

    async def hears(self) -> tuple[str, bytes]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._heard.get()


Listen = Callable[..., Listener]


@pytest.fixture
async def listen(redis_server: RedisServer) -> AsyncIterator[Listen]:
    """Make a `Listener`; nothing of it may be left at the end of the test."""
    listeners: list[Listener] = []

    def make(host: Any = None, **options: Any) -> Listener:
        listeners.append(Listener(host or {"address": redis_server.url}, **options))
        return listeners[-1]

    yield make
    for listener in listeners:
        await listener.subscriber.stop()
    assert asyncio.all_tasks() == {asyncio.current_task()}


def calls(client: redis.Redis, command: str) -> int:
    """How often Redis was given a command since it started."""
    return int(client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])


def kill_subscribers(client: redis.Redis) -> int:
    return int(client.execute_command("CLIENT", "KILL", "TYPE", "pubsub"))


@pytest.mark.parametrize("protocol", [2, 3])
async def test_what_is_published_after_subscribing_is_heard(
    listen: Listen, redis_server: RedisServer, look_into: redis.Redis, protocol: int
) -> None:
    listener = listen({"address": redis_server.url, "protocol": protocol})
    await listener.subscriber.subscribe("news")
    await listener.subscriber.subscribe_pattern("to.me.*")
    assert look_into.publish("news", b"one") == 1
    assert look_into.publish("to.me.1", b"\xfftwo") == 1
    assert await listener.hears() == ("news", b"one")
    assert await listener.hears() == ("to.me.1", b"\xfftwo")


async def test_the_names_of_one_turn_leave_in_one_command(
    listen: Listen, look_into: redis.Redis
) -> None:
    listener = listen()
    await listener.subscriber.subscribe("the connection is there")
    before = calls(look_into, "subscribe")
    names = [f"room.{n}" for n in range(200)]
    await asyncio.gather(*(listener.subscriber.subscribe(name) for name in names))
    assert dict(look_into.pubsub_numsub(*names)) == {name.encode(): 1 for name in names}
    assert calls(look_into, "subscribe") - before == 1


async def test_names_and_patterns_of_one_turn_leave_in_one_write(
    listen: Listen, look_into: redis.Redis
) -> None:
    def reads() -> int:
        return int(look_into.info("stats")["total_reads_processed"])

    subscriber = listen().subscriber
    await subscriber.subscribe("the connection is there")
    of_looking = -reads() + reads()
    before = reads()
    await subscriber.until_confirmed(subscriber.ask(["one", "two"], ["to.me.*"]))
    assert reads() - before - of_looking == 1


async def test_who_gives_up_waiting_takes_nobody_along(
    listen: Listen, look_into: redis.Redis
) -> None:
    subscriber = listen().subscriber
    await subscriber.subscribe("the connection is there")
    look_into.client_pause(100)
    giving_up, waiting = (asyncio.create_task(subscriber.subscribe("news")) for _ in range(2))
    await turns_of_the_loop(3)
    giving_up.cancel()
    await waiting
    assert giving_up.cancelled()
    assert look_into.publish("news", b"one") == 1


async def test_what_is_subscribed_already_costs_no_round_trip(
    listen: Listen, look_into: redis.Redis
) -> None:
    listener = listen()
    await listener.subscriber.subscribe("news")
    before = calls(look_into, "subscribe")
    await asyncio.gather(*(listener.subscriber.subscribe("news") for _ in range(100)))
    assert calls(look_into, "subscribe") == before


async def test_what_is_unsubscribed_is_heard_no_more(
    listen: Listen, look_into: redis.Redis
) -> None:
    listener = listen()
    await listener.subscriber.subscribe("left", "kept")
    listener.subscriber.unsubscribe(["left", "never subscribed"])
    await aeventually(lambda: look_into.pubsub_numsub("left") == [(b"left", 0)])
    look_into.publish("left", b"lost")
    look_into.publish("kept", b"heard")
    assert await listener.hears() == ("kept", b"heard")


async def test_a_pattern_that_is_unsubscribed_is_heard_no_more(
    listen: Listen, look_into: redis.Redis
) -> None:
    subscriber = listen().subscriber
    await subscriber.until_confirmed(subscriber.ask(["kept"], ["left.*", "kept.*"]))
    assert look_into.pubsub_numpat() == 2
    subscriber.unsubscribe(patterns=["left.*", "never subscribed.*"])
    await aeventually(lambda: look_into.pubsub_numpat() == 1)
    assert look_into.publish("left.1", b"lost") == 0
    assert look_into.publish("kept.1", b"heard") == look_into.publish("kept", b"heard") == 1


@pytest.mark.parametrize("turns", [0, 1, 3])
async def test_who_leaves_and_comes_back_is_subscribed(
    listen: Listen, look_into: redis.Redis, turns: int
) -> None:
    listener = listen()
    subscriber = listener.subscriber
    for _ in range(2):
        await subscriber.until_confirmed(subscriber.ask(["news"], ["to.me.*"]))
        subscriber.unsubscribe(["news"], ["to.me.*"])
        await turns_of_the_loop(turns)
    await subscriber.until_confirmed(subscriber.ask(["news"], ["to.me.*"]))
    for name in ("news", "to.me.1"):
        assert look_into.publish(name, b"one") == 1
        assert await listener.hears() == (name, b"one")


async def test_who_comes_and_leaves_in_one_turn_is_not_subscribed(
    listen: Listen, look_into: redis.Redis
) -> None:
    subscriber = listen().subscriber
    await subscriber.until_confirmed(subscriber.ask(["kept", "left"], ["left.*"]))
    subscriber.unsubscribe(["left"], ["left.*"])
    subscriber.ask(["news"], ["to.me.*"])
    subscriber.unsubscribe(["news"], ["to.me.*"])
    await subscriber.subscribe("later")
    assert sorted(look_into.pubsub_channels()) == [b"kept", b"later"]
    assert look_into.pubsub_numpat() == 0


async def test_who_comes_and_leaves_and_comes_in_one_turn_is_subscribed(
    listen: Listen, look_into: redis.Redis
) -> None:
    subscriber = listen().subscriber
    await subscriber.subscribe("the connection is there")
    subscriber.ask(["news"], ["to.me.*"])
    subscriber.unsubscribe(["news"], ["to.me.*"])
    await subscriber.until_confirmed(subscriber.ask(["news"], ["to.me.*"]))
    await subscriber.subscribe("later")
    assert look_into.publish("news", b"one") == look_into.publish("to.me.1", b"one") == 1


async def test_who_is_gone_before_the_confirmation_spoils_nothing_for_the_next(
    listen: Listen, look_into: redis.Redis
) -> None:
    listener = listen()
    await listener.subscriber.subscribe("the connection is there")
    look_into.client_pause(200)  # no answer for so many milliseconds
    first = asyncio.ensure_future(listener.subscriber.subscribe("news"))
    await turns_of_the_loop(5)
    first.cancel()
    listener.subscriber.unsubscribe(["news"])
    await turns_of_the_loop(5)
    await listener.subscriber.subscribe("news")
    assert look_into.publish("news", b"one") == 1
    assert await listener.hears() == ("news", b"one")


async def test_who_is_gone_before_asking_spoils_nothing_for_the_next(
    listen: Listen, look_into: redis.Redis
) -> None:
    listener = listen()
    await listener.subscriber.subscribe("the connection is there")
    asking = listener.subscriber.subscribe("news")
    asking.send(None)  # up to its first wait
    asking.close()
    listener.subscriber.unsubscribe(["news"])
    await turns_of_the_loop(5)
    await listener.subscriber.subscribe("news")
    assert look_into.publish("news", b"one") == 1


async def turns_of_the_loop(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_killed_connection_is_resubscribed_in_one_command_and_told_as_a_gap(
    listen: Listen, look_into: redis.Redis
) -> None:
    listener = listen()
    names = [f"room.{n}" for n in range(50)]
    await listener.subscriber.subscribe(*names)
    assert listener.losses == listener.gaps == 0
    await listener.subscriber.subscribe_pattern("to.me.*")
    subscribes, psubscribes = calls(look_into, "subscribe"), calls(look_into, "psubscribe")
    assert kill_subscribers(look_into) == 1
    await aeventually(lambda: listener.gaps)
    # Who hears of the gap and asks for what is current misses nothing that comes after.
    assert dict(look_into.pubsub_numsub(*names)) == {name.encode(): 1 for name in names}
    assert look_into.publish("to.me.1", b"after") == 1
    assert await listener.hears() == ("to.me.1", b"after")
    assert listener.losses == listener.gaps == 1
    assert calls(look_into, "subscribe") - subscribes == 1
    assert calls(look_into, "psubscribe") - psubscribes == 1


async def test_who_begins_anew_is_not_told_of_a_gap_of_the_past(
    listen: Listen, look_into: redis.Redis
) -> None:
    listener = listen()
    await listener.subscriber.subscribe("news")
    kill_subscribers(look_into)
    await aeventually(lambda: listener.gaps == 1)
    await listener.subscriber.stop()
    await listener.subscriber.subscribe("news")
    await listener.subscriber.subscribe_pattern("to.me.*")
    assert listener.gaps == 1


async def test_a_name_whose_subscriber_gave_up_can_be_subscribed_once_redis_is_back(
    listen: Listen, own_redis: RedisServer
) -> None:
    listener = listen({"address": own_redis.url}, timeout_seconds=0.3)
    await listener.subscriber.subscribe("kept")
    own_redis.stop()
    with pytest.raises(StoreUnavailable):
        await listener.subscriber.subscribe("news")
    listener.subscriber.unsubscribe(["news"])
    own_redis.start()
    await aeventually(lambda: listener.gaps)
    await listener.subscriber.subscribe("news")
    with own_redis.client() as client:
        assert client.publish("news", b"one") == client.publish("kept", b"two") == 1
    assert await listener.hears() == ("news", b"one")
    assert await listener.hears() == ("kept", b"two")


async def test_an_outage_is_logged_once_and_so_is_its_end(
    listen: Listen, own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listen({"address": own_redis.url}, timeout_seconds=0.2)
    await listener.subscriber.subscribe("news")
    own_redis.stop()
    for attempt in range(3):  # while it is being tried again
        with pytest.raises(StoreUnavailable):
            await listener.subscriber.subscribe(f"attempt.{attempt}")
    own_redis.start()
    await aeventually(lambda: listener.gaps)
    assert listener.losses == listener.gaps == 1
    lines = [r.getMessage() for r in caplog.records if r.name == "wsadapter.outages"]
    assert [line.partition(" (")[0] for line in lines] == [
        f"Redis at {own_redis.url} is away",
        f"Redis at {own_redis.url} is back.",
    ]


async def test_a_redis_that_takes_connections_and_says_nothing_is_given_up_in_time(
    listen: Listen,
) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        listener = listen({"host": "127.0.0.1", "port": port}, timeout_seconds=0.2)
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{port}"):
            await listener.subscriber.subscribe("news")
        assert time.monotonic() - began < 2
        await listener.subscriber.stop()


async def test_a_redis_that_falls_silent_is_left_and_found_again(
    listen: Listen, look_into: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PING_AFTER_SECONDS", 0.05)
    listener = listen()
    await listener.subscriber.subscribe("news")
    look_into.client_pause(300)
    await aeventually(lambda: listener.gaps)
    look_into.publish("news", b"one")
    assert await listener.hears() == ("news", b"one")


async def test_silence_of_those_who_publish_is_no_outage(
    listen: Listen, look_into: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PING_AFTER_SECONDS", 0.02)
    listener = listen()
    await listener.subscriber.subscribe("news")
    pings = calls(look_into, "ping")
    await aeventually(lambda: calls(look_into, "ping") >= pings + 5)
    assert listener.gaps == 0


async def test_all_that_has_been_read_is_handled_before_the_loop_turns(
    listen: Listen, look_into: redis.Redis
) -> None:
    """No task, no thread and no other callback comes between two messages."""
    order: list[str] = []
    threads, tasks = set(), set()

    def heard(name: str, payload: bytes) -> None:
        if not order:
            asyncio.get_running_loop().call_soon(order.append, "another callback")
        order.append(payload.decode())
        threads.add(threading.get_ident())
        tasks.add(asyncio.current_task())

    listener = listen()
    listener.subscriber._on_message = heard
    await listener.subscriber.subscribe("news")
    running = asyncio.all_tasks()
    with look_into.pipeline(transaction=False) as pipeline:
        for number in range(100):
            pipeline.publish("news", str(number))
        pipeline.execute()  # and the loop is blocked until all are published
    await aeventually(lambda: "another callback" in order)
    assert order == [*map(str, range(100)), "another callback"]
    assert threads == {threading.get_ident()}
    assert len(tasks) == 1 and tasks < running


async def test_a_name_that_is_no_text_harms_nobody(listen: Listen, look_into: redis.Redis) -> None:
    listener = listen()
    await listener.subscriber.subscribe_pattern("to.me.*")
    look_into.publish(b"to.me.\xff", b"foreign")
    look_into.publish("to.me.1", b"mine")
    await listener.hears()
    assert await listener.hears() == ("to.me.1", b"mine")
    assert listener.gaps == 0


async def test_health_checks_of_the_host_do_not_disturb_the_reader(
    listen: Listen, redis_server: RedisServer, look_into: redis.Redis
) -> None:
    listener = listen({"address": redis_server.url, "health_check_interval": 60})
    await listener.subscriber.subscribe("the connection is there")
    connection = listener.subscriber._connection
    assert connection is not None
    for name in ("one", "two", "three"):
        connection.next_health_check = 0  # long due
        await listener.subscriber.subscribe(name)
        look_into.publish(name, b"heard")
        assert await listener.hears() == (name, b"heard")
    assert listener.gaps == 0


async def test_stopping_leaves_no_connection_and_can_be_followed_by_a_new_start(
    listen: Listen, look_into: redis.Redis
) -> None:
    def connections() -> int:
        return len(look_into.client_list(_type="pubsub"))

    listener = listen()
    await listener.subscriber.subscribe("news")
    assert connections() == 1
    await listener.subscriber.stop()
    await aeventually(lambda: connections() == 0)
    await listener.subscriber.subscribe("news")
    assert look_into.publish("news", b"one") == 1


async def test_who_subscribes_while_the_last_one_stops_is_served(
    listen: Listen, look_into: redis.Redis
) -> None:
    listener = listen()
    await listener.subscriber.subscribe("old")
    stopping = asyncio.ensure_future(listener.subscriber.stop())
    await asyncio.sleep(0)
    await listener.subscriber.subscribe("new")
    await stopping
    assert look_into.publish("new", b"one") == 1
    assert look_into.publish("old", b"lost") == 0


async def test_a_redis_that_refuses_to_subscribe_is_asked_less_and_less_often(
    listen: Listen, own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    with own_redis.client() as client:
        everything = {"keys": ["*"], "channels": ["*"], "commands": ["+@all", "-subscribe"]}
        client.acl_setuser("reader", enabled=True, nopass=True, **everything)
    address = f"redis://reader:any@127.0.0.1:{own_redis.port}/0"
    listener = listen({"address": address}, timeout_seconds=0.5)
    with pytest.raises(StoreUnavailable):
        await listener.subscriber.subscribe("news")
    with own_redis.client() as client:
        # 0.05 s, 0.1 s, 0.2 s … apart, where it was every 0.05 s.
        assert calls(client, "client|setinfo") <= 2 * 6
    about = [record.message for record in caplog.records if record.name == "wsadapter.outages"]
    assert [" is away " in message for message in about] == [True]
