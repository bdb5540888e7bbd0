from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from tests.store.subjects import a_client
from wsadapter.store import MemoryStore
from wsadapter.store.operations import Join, OnlineCount, OpenLease

LEASE = "a:1:x"


def test_threads_take_turns() -> None:
    both_inside = threading.Barrier(2)
    met: list[bool] = []

    def clock() -> float:
        """Every operation asks for the time: two that meet here were let in together."""
        try:
            both_inside.wait(timeout=0.1)
        except threading.BrokenBarrierError:
            met.append(False)
        else:
            met.append(True)
        return 0.0

    store = MemoryStore(clock)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(store.run, [OnlineCount(), OnlineCount()]))
    assert met == [False, False]


def test_by_default_a_lease_is_timed_by_the_clock_on_the_wall() -> None:
    store = MemoryStore()
    store.run(OpenLease(LEASE, 1000))
    store.run(Join(LEASE, a_client(), claim=False))
    assert store.run(OnlineCount()) == 1
    store.run(OpenLease(LEASE, -1))
    assert store.run(OnlineCount()) == 0
