"""The stores under test. Each test has a key prefix of its own, so none sees another's keys."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
import redis

from tests.redis_server import RedisServer
from tests.store.subjects import Subject, memory_store, performing, redis_time
from wsadapter.redis_pool import RedisPool
from wsadapter.store import RedisStore, Store

FOUR_WAYS = [("redis", "run"), ("redis", "arun"), ("memory", "run"), ("memory", "arun")]


@pytest.fixture
def redis_pool(redis_server: RedisServer) -> Iterator[RedisPool]:
    pool = RedisPool({"address": redis_server.url})
    yield pool
    pool.sync_client().close()


@pytest.fixture
def redis_store(redis_pool: RedisPool) -> RedisStore:
    return RedisStore(redis_pool, prefix=f"{{{uuid4().hex}}}")


@pytest.fixture
def look_into(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """A client to look into Redis with, past the store."""
    with redis_server.client() as client:
        yield client


@pytest.fixture(params=FOUR_WAYS, ids="-".join)
def store(request: pytest.FixtureRequest) -> Iterator[Subject]:
    """Each store with each of its two verbs: call it with an operation."""
    kind, verb = request.param
    under_test: Store
    if kind == "memory":
        under_test, pass_time = memory_store()
    else:
        under_test = redis_store = request.getfixturevalue("redis_store")
        pass_time = redis_time(redis_store, request.getfixturevalue("look_into"))
    with performing(under_test, verb) as perform:
        yield Subject(perform, pass_time)
