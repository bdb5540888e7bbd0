"""Pooled connections to one Redis: few, safe to use again, and quiet about passwords."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from tests.processes import ROOT
from tests.redis_server import RedisServer
from wsadapter.errors import StoreUnavailable
from wsadapter.redis_pool import RedisPool, pool_for, printable_address


def restart(server: RedisServer) -> None:
    server.stop()
    server.start()


def test_the_first_call_after_a_restart_of_redis_works(own_redis: RedisServer) -> None:
    pool = RedisPool({"address": own_redis.url})
    assert pool.sync_client().ping()
    restart(own_redis)
    assert pool.sync_client().ping()
    pool.sync_client().close()


async def test_so_does_the_first_call_on_an_event_loop(own_redis: RedisServer) -> None:
    pool = RedisPool({"address": own_redis.url})
    assert await pool.async_client().ping()
    await asyncio.to_thread(restart, own_redis)  # the loop sees the connection end meanwhile
    assert await pool.async_client().ping()


def test_the_same_options_share_a_pool(redis_server: RedisServer) -> None:
    host = {"address": redis_server.url}
    assert pool_for(host) is pool_for(dict(host))
    assert pool_for(host) is not pool_for(host, timeout_seconds=1)
    assert pool_for(host).sync_client() is pool_for(host).sync_client()


def test_each_event_loop_has_a_client_that_ends_with_it(redis_server: RedisServer) -> None:
    pool = RedisPool({"address": redis_server.url})

    async def client() -> Any:
        assert await pool.async_client().ping()
        return pool.async_client()

    first, second = asyncio.run(client()), asyncio.run(client())
    assert first is not second
    assert not pool._async


@pytest.mark.parametrize(
    ("host", "printed"),
    [
        ({"address": "redis://ann:secret@db:6380/2?x=1"}, "redis://db:6380/2"),
        ({"address": "unix://:secret@/run/redis.sock"}, "unix:///run/redis.sock"),
        ({"host": "db", "port": 1, "password": "secret"}, "db:1"),
        ({"host": "db", "password": "secret"}, "db:6379"),
        ({"master_name": "main", "sentinels": [("db", 1)]}, "sentinel master main"),
        ({"path": "/run/redis.sock", "password": "secret"}, "unix:///run/redis.sock"),
    ],
)
def test_an_address_is_printed_without_its_secrets(host: dict[str, Any], printed: str) -> None:
    assert printable_address(host) == printed


def test_a_redis_behind_sentinels_has_clients_too() -> None:
    pool = RedisPool({"master_name": "main", "sentinels": [("127.0.0.1", 1)]}, timeout_seconds=0.2)
    with pytest.raises(StoreUnavailable, match="sentinel master main"), pool.reachable():
        pool.sync_client().ping()


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (redis.TimeoutError("a secret"), "no answer in time"),
        (redis.AuthenticationError("a secret"), "wrong password"),
        (redis.ConnectionError("a secret"), "ConnectionError"),
        (redis.exceptions.ReadOnlyError("READONLY replica"), "does not serve"),
        (redis.ResponseError("MISCONF snapshots fail"), "does not serve"),
        (redis.ResponseError("MASTERDOWN Link with MASTER is down"), "does not serve"),
        (redis.ResponseError("CLUSTERDOWN The cluster is down"), "does not serve"),
    ],
)
def test_a_redis_that_does_not_serve_is_unavailable(error: Exception, why: str) -> None:
    pool = RedisPool({"address": "redis://:password@127.0.0.1:1/0"})
    with pytest.raises(StoreUnavailable, match=why) as unavailable, pool.reachable():
        raise error
    assert "secret" not in str(unavailable.value)
    assert "password@" not in str(unavailable.value)
    assert unavailable.value.__cause__ is error


async def test_a_refused_connection_is_told_as_such_on_an_event_loop_as_well() -> None:
    pool = RedisPool({"address": "redis://127.0.0.1:1/0"})
    with pytest.raises(StoreUnavailable, match="connection refused"), pool.reachable():
        await pool.async_client().ping()


def test_a_mistake_in_a_command_is_no_outage() -> None:
    pool = RedisPool({"address": "redis://127.0.0.1:1/0"})
    with pytest.raises(redis.ResponseError), pool.reachable():
        raise redis.ResponseError("WRONGTYPE")


# Exchanges


@pytest.fixture
def pool(redis_server: RedisServer) -> Iterator[RedisPool]:
    made = RedisPool({"address": redis_server.url}, timeout_seconds=0.5)
    yield made
    made.sync_client().close()


@pytest.fixture(params=["thread", "coroutine"])
def exchange(request: pytest.FixtureRequest, pool: RedisPool) -> Iterator[Any]:
    """`RedisPool.exchange`, or its twin on an event loop that lasts as long as the test."""
    if request.param == "thread":
        yield pool.exchange
    else:
        with asyncio.Runner() as runner:
            yield lambda commands: runner.run(pool.aexchange(commands))


def test_an_exchange_answers_each_command_in_its_place(exchange: Any) -> None:
    first, second, third = exchange([("ECHO", "ä"), ("NOSUCH", 1), ("ECHO", b"\xff")])
    assert (first, third) == ("ä".encode(), b"\xff")
    assert isinstance(second, redis.ResponseError)
    assert exchange([("ECHO", 7)]) == [b"7"]


def test_a_reply_that_came_too_late_is_never_anothers(exchange: Any) -> None:
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="no answer in time"):
        exchange([("ECHO", "before"), ("BLPOP", "nothing is ever in here", 1)])
    assert time.monotonic() - began < 2
    assert exchange([("ECHO", "mine")]) == [b"mine"]


class Interrupted(BaseException):
    """As a KeyboardInterrupt, or what Celery raises at its soft time limit."""


@pytest.mark.parametrize("size", [1, 2])
def test_nor_is_one_that_was_not_read(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    pool = RedisPool({"address": redis_server.url}, timeout_seconds=0.5, max_connections=size)
    pool.exchange([("PING",)])

    def interrupted(self: Any, *args: Any, **options: Any) -> Any:
        raise Interrupted

    for _ in range(3):  # a place in the pool that is lost would be missed soon
        with monkeypatch.context() as patch:
            patch.setattr(redis.Connection, "read_response", interrupted)
            with pytest.raises(Interrupted):
                pool.exchange([("BLPOP", "nothing is ever in here", 0)])
        assert pool.exchange([("ECHO", "mine")]) == [b"mine"]
        assert pool.sync_client().ping()
    pool.sync_client().close()


def test_an_exchange_keeps_its_connection(redis_server: RedisServer, pool: RedisPool) -> None:
    pool.exchange([("PING",)])
    before = redis_server.connections_received()
    for _ in range(100):
        pool.exchange([("PING",)])
    assert redis_server.connections_received() - before == 1  # that of the second look


def test_the_connection_of_a_pool_of_one_is_there_for_everybody(redis_server: RedisServer) -> None:
    pool = RedisPool({"address": redis_server.url}, timeout_seconds=0.5, max_connections=1)
    for _ in range(2):
        assert pool.exchange([("ECHO", "x")]) == [b"x"]
        assert pool.sync_client().ping()
    pool.sync_client().close()


def test_the_first_exchange_after_a_restart_of_redis_works(own_redis: RedisServer) -> None:
    pool = RedisPool({"address": own_redis.url}, max_connections=2)
    for _ in range(4):  # a place in the pool that is lost would be missed soon
        assert pool.exchange([("ECHO", "x")]) == [b"x"]
        restart(own_redis)
    assert pool.exchange([("ECHO", "x")]) == [b"x"]
    pool.sync_client().close()


def test_without_redis_an_exchange_fails_in_time_and_works_later(own_redis: RedisServer) -> None:
    pool = RedisPool({"address": own_redis.url}, max_connections=2)
    pool.exchange([("PING",)])
    own_redis.stop()
    for _ in range(5):
        with pytest.raises(StoreUnavailable, match="connection refused"):
            pool.exchange([("PING",)])
    own_redis.start()
    assert pool.exchange([("ECHO", "x")]) == [b"x"]
    pool.sync_client().close()


def test_threads_get_their_own_replies_over_few_connections(redis_server: RedisServer) -> None:
    pool = RedisPool({"address": redis_server.url}, max_connections=4)
    wrong: list[Any] = []

    def ask(thread: int) -> None:
        for number in range(50):
            mine = f"{thread} {number}"
            replies = pool.exchange([("ECHO", mine), ("ECHO", "and more")])
            if replies != [mine.encode(), b"and more"]:
                wrong.append(replies)

    before = redis_server.connections_received()
    threads = [threading.Thread(target=ask, args=[number]) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert redis_server.connections_received() - before <= 4 + 1
    pool.sync_client().close()


FORKING = """
import os, sys
from wsadapter.redis_pool import RedisPool

pool = RedisPool({"address": sys.argv[1]}, max_connections=int(sys.argv[2]))

def ask(times):
    for number in range(times):
        mine = f"{os.getpid()} {number}".encode()
        assert pool.exchange([("ECHO", mine)]) == [mine]
        assert pool.sync_client().ping()

ask(3)                                      # the parent has connections when it forks
children = [os.fork()]
if children[0]:
    children.append(os.fork())
ask(300)                                    # all at once
if not all(children):
    os._exit(0)
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
ask(3)                                      # no child has closed what is the parent's
"""


@pytest.mark.parametrize("size", [1, 20])
def test_processes_that_forked_get_their_own_replies(redis_server: RedisServer, size: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKING, redis_server.url, str(size)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr


def test_a_pool_that_is_used_up_says_so(redis_server: RedisServer) -> None:
    pool = RedisPool({"address": redis_server.url}, timeout_seconds=0.1, max_connections=1)
    taken = pool.sync_client().connection_pool.get_connection()
    try:
        with pytest.raises(StoreUnavailable, match="in use for too long"):
            pool.exchange([("PING",)])
    finally:
        pool.sync_client().connection_pool.release(taken)
    assert pool.exchange([("PING",)]) in ([b"PONG"], [True])
    pool.sync_client().close()
