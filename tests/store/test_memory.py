from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.store.subjects import a_client
from wsadapter.store import MemoryStore
from wsadapter.store.operations import (
    Join,
    JoinOutcome,
    Leave,
    OnlineCount,
    OpenLease,
    UserConnections,
)

LEASE = "a:1:x"


@pytest.fixture
def restless_threads() -> Iterator[None]:
    """The interpreter changes between threads as often as it can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-7)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("restless_threads")
def test_many_threads_at_once() -> None:
    store = MemoryStore()
    store.run(OpenLease(LEASE, 1000))

    def come_and_go(worker: int) -> int:
        won = 0
        for turn in range(200):
            serial = f"{worker}-{turn}"
            joined = store.run(Join(LEASE, a_client("wanted", serial=serial), claim=False))
            if joined.outcome is JoinOutcome.JOINED:
                won += 1
                store.run(Leave(LEASE, "wanted", serial))
            store.run(Join(LEASE, a_client(f"{worker}-{turn}"), claim=False))
        return won

    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(come_and_go, range(8)))
    assert sum(won) > 0
    assert store.run(OnlineCount()) == store.run(UserConnections("anna")) == 8 * 200


def test_by_default_a_lease_is_timed_by_the_clock_on_the_wall() -> None:
    store = MemoryStore()
    store.run(OpenLease(LEASE, 1000))
    store.run(Join(LEASE, a_client(), claim=False))
    assert store.run(OnlineCount()) == 1
    store.run(OpenLease(LEASE, -1))
    assert store.run(OnlineCount()) == 0
