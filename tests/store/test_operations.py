from __future__ import annotations

import inspect

import pytest

from tests.store.subjects import a_client
from wsadapter.store import MemoryStore, operations
from wsadapter.store.operations import (
    JoinAll,
    LeaveAll,
    OnlineClients,
    OnlineUsers,
    Operation,
    Restore,
)
from wsadapter.store.redis import decide


def test_a_client_knows_its_process() -> None:
    assert a_client(lease="web-1:4711:f00").process == "web-1:4711"
    assert a_client(lease="[::1]:4711:f00").process == "[::1]:4711"


@pytest.mark.parametrize("limit", [0, -1, 501])
@pytest.mark.parametrize("kind", [OnlineUsers, OnlineClients])
def test_a_page_is_bounded(kind: type[OnlineUsers | OnlineClients], limit: int) -> None:
    with pytest.raises(ValueError, match=f"1 to 500, not {limit}"):
        kind(limit=limit)


def test_a_restore_is_bounded() -> None:
    with pytest.raises(ValueError, match="At most 500 are put back at a time, not 501"):
        Restore("a:1:x", (a_client(),) * 501)


@pytest.mark.parametrize("size", [0, 65])
def test_a_batch_is_bounded(size: int) -> None:
    with pytest.raises(ValueError, match=f"1 to 64 connections, not {size}"):
        JoinAll("a:1:x", ((a_client(), False),) * size)
    with pytest.raises(ValueError, match=f"1 to 64 connections, not {size}"):
        LeaveAll("a:1:x", (("c1", "first"),) * size)


def test_every_public_name_is_listed() -> None:
    defined = {
        name
        for name, value in inspect.getmembers(operations, inspect.isclass)
        if value.__module__ == operations.__name__
    }
    assert defined == {name for name in operations.__all__ if not name.isupper()}


def test_what_is_no_operation_is_refused_by_name() -> None:
    class Dance(Operation[None]):
        pass

    with pytest.raises(TypeError, match="no operation Dance"):
        MemoryStore().run(Dance())
    with pytest.raises(TypeError, match="no operation Dance"):
        decide(Dance())
