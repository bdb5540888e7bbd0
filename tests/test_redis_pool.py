"""Pooled connections to one Redis: few, safe to use again, and quiet about passwords."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis

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
