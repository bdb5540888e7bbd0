"""How a helper's message gets onto a layer: the way is chosen by the layer's exact class."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer as StockMemory
from channels_redis.core import RedisChannelLayer as StockCore
from channels_redis.pubsub import RedisPubSubChannelLayer as StockPubSub

from tests.processes import ROOT
from tests.redis_server import RedisServer
from tests.sites import OwnCore, OwnMemory, OwnPubSub, OwnRedis, OwnStockMemory
from wsadapter.errors import StoreUnavailable
from wsadapter.layers import InMemoryChannelLayer, RedisChannelLayer, publishing
from wsadapter.layers.publishing import (
    LayerPublisher,
    MemoryPublisher,
    Post,
    Publisher,
    RedisPublisher,
    StockMemoryPublisher,
    apublish_all,
    publish_all,
    publisher_for,
)
from wsadapter.wire.orders import Push


def no_loops() -> Sequence[asyncio.AbstractEventLoop]:
    return []


def publisher(layer: Any, timeout_seconds: float = 2.0) -> Publisher:
    return publisher_for(layer, no_loops, timeout_seconds=timeout_seconds, max_connections=20)


POSTS = [Post("news", Push("hello"))]


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (RedisChannelLayer, RedisPublisher),
        (StockPubSub, RedisPublisher),
        (InMemoryChannelLayer, MemoryPublisher),
        (StockMemory, StockMemoryPublisher),
        (StockCore, LayerPublisher),
        (OwnRedis, LayerPublisher),
        (OwnPubSub, LayerPublisher),
        (OwnMemory, LayerPublisher),
        (OwnStockMemory, StockMemoryPublisher),
        (OwnCore, LayerPublisher),
    ],
)
def test_only_layers_known_exactly_are_published_on_past_their_methods(
    layer: type, kind: type
) -> None:
    assert type(publisher(layer())) is kind


def test_native_publishing_goes_where_the_layer_listens(
    redis_server: RedisServer, second_redis: RedisServer, prefix: str
) -> None:
    hosts = [redis_server.url, second_redis.url]
    for layer in (StockPubSub(hosts, prefix=prefix), RedisChannelLayer(hosts, prefix)):
        made = publisher(layer)
        assert isinstance(made, RedisPublisher)
        with redis_server.client() as one, second_redis.client() as two:
            listeners = [one.pubsub(), two.pubsub()]
            for listener in listeners:
                listener.psubscribe(f"{prefix}*")
                assert listener.get_message(timeout=5)
            groups = [f"room.{number}" for number in range(20)]
            reached = made.publish([Post(group, Push("x")) for group in groups])
            assert reached.processes == 1
            heard = [channels_heard(listener) for listener in listeners]
            assert set().union(*heard) == {f"{prefix}__group__{group}" for group in groups}
            assert all(heard), "one of the hosts was told nothing"
            for listener in listeners:
                listener.close()


def channels_heard(listener: Any) -> set[str]:
    heard = set()
    while (message := listener.get_message(timeout=0.2)) is not None:
        heard.add(message["channel"].decode())
    return heard


class Stuck:
    """A layer whose server takes everything and says nothing."""

    async def group_send(self, group: str, message: Any) -> None:
        await asyncio.Event().wait()


class Broken:
    async def group_send(self, group: str, message: Any) -> None:
        raise ConnectionRefusedError("no server")


class Buggy:
    async def group_send(self, group: str, message: Any) -> None:
        raise ZeroDivisionError


@pytest.mark.parametrize("layer", [Stuck, Broken])
def test_a_layer_without_its_server_is_an_error_in_time(layer: type) -> None:
    made = publisher(layer(), timeout_seconds=0.2)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match=layer.__name__):
        made.publish(POSTS)
    with pytest.raises(StoreUnavailable, match=layer.__name__):
        asyncio.run(made.apublish(POSTS))
    assert time.monotonic() - began < 2


class Counting:
    """Knows how many messages it was given in each call of the publisher, which is a task."""

    def __init__(self) -> None:
        self.calls: dict[asyncio.Task[Any], int] = {}

    async def group_send(self, group: str, message: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.calls[task] = self.calls.get(task, 0) + 1


def test_very_many_have_a_timeout_for_each_part_of_them() -> None:
    layer = Counting()
    made = publisher(layer)
    assert publish_all(made, POSTS * 1_200).processes is None
    assert list(layer.calls.values()) == [500, 500, 200]
    asyncio.run(apublish_all(made, POSTS * 1_200))
    assert sum(layer.calls.values()) == 2_400


@pytest.mark.parametrize("layer", [Stuck, Broken])
def test_of_very_many_the_error_says_how_many_had_been_handed_over(layer: type) -> None:
    made = publisher(layer(), timeout_seconds=0.2)
    with pytest.raises(StoreUnavailable, match="0 of 3 messages") as told:
        publish_all(made, POSTS * 3)
    cause = told.value.__cause__
    assert isinstance(cause, OSError) and not isinstance(cause, StoreUnavailable)
    with pytest.raises(StoreUnavailable, match="0 of 3 messages"):
        asyncio.run(apublish_all(made, POSTS * 3))


def test_a_bug_of_a_layer_is_the_callers_to_see() -> None:
    made = publisher(Buggy())
    with pytest.raises(ZeroDivisionError):
        made.publish(POSTS)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(made.apublish(POSTS))


class Noticing:
    """Knows in which thread and on which event loop its `group_send` ran."""

    def __init__(self) -> None:
        self.threads: set[str] = set()
        self.loops: set[asyncio.AbstractEventLoop] = set()

    async def group_send(self, group: str, message: Any) -> None:
        self.threads.add(threading.current_thread().name)
        self.loops.add(asyncio.get_running_loop())


def test_all_threads_share_one_event_loop_in_the_background() -> None:
    layer = Noticing()
    made = publisher(layer)
    threads = [threading.Thread(target=made.publish, args=(POSTS,)) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert layer.threads == {"wsadapter-publisher"}
    assert layer.loops == {publishing.background.loop()}


FORKING = """
import os, sys
import django
from django.conf import settings
from tests.sites import site

name, url = sys.argv[1:]
settings.configure(INSTALLED_APPS=["wsadapter"], **site(name, [url]))
django.setup()
import redis, wsadapter

def send(times):
    for number in range(times):
        wsadapter.broadcast(number)
        wsadapter.send_to_client("nobody", number)

def received():
    with redis.Redis.from_url(url) as client:
        return client.info("stats")["total_connections_received"]

send(3)                                     # the parent has connections when it forks
before = received()
child = os.fork()
send(100)                                   # both at once
if not child:
    sys.stdout.flush()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
send(3)
assert received() - before <= 5, received() - before
"""


@pytest.mark.parametrize(
    "name",
    [
        "wsadapter.layers.RedisChannelLayer",
        "channels_redis.pubsub.RedisPubSubChannelLayer",
        "channels_redis.core.RedisChannelLayer",
        "subclass of redis",
    ],
)
def test_a_fork_shares_no_socket_and_no_event_loop(redis_server: RedisServer, name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKING, name, redis_server.url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr


def test_a_refusal_of_redis_is_the_callers_to_see(redis_server: RedisServer) -> None:
    """Not an outage: a user of Redis without the right to publish, say."""
    with redis_server.client() as client:
        client.acl_setuser(
            "reader", enabled=True, passwords=["+secret"], commands=["+@all", "-publish"]
        )
        url = redis_server.url.replace("redis://", "redis://reader:secret@")
        try:
            with pytest.raises(Exception, match="permission"):
                publisher(RedisChannelLayer([url])).publish(POSTS)
        finally:
            client.acl_deluser("reader")
