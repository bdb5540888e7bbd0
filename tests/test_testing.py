"""`capture_sent`: what a block of a user's test sent, with no Redis and no connection."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import transaction
from django.test import TestCase, TransactionTestCase, override_settings

import wsadapter
from tests.test_conf import MEMORY, STOCK_MEMORY, redis_layer
from wsadapter import (
    AsyncContextError,
    EncodeError,
    Priority,
    abroadcast,
    abulk,
    asend_to_client,
    asend_to_group,
    asend_to_user,
    asend_to_users,
    broadcast,
    broadcasting,
    bulk,
    disconnect_client,
    disconnect_user,
    send_to_client,
    send_to_group,
    send_to_user,
    send_to_users,
)
from wsadapter.errors import ReservedType
from wsadapter.testing import Disconnected, SentList, capture_sent
from wsadapter.wire.views import with_views

NOWHERE = "redis://127.0.0.1:1/0"  # nothing listens there


@pytest.fixture(autouse=True)
def no_recorder_is_left_behind() -> Iterator[None]:
    yield
    assert broadcasting.recorders == []


def texts(sent: SentList) -> list[Any]:
    return [item.data for item in sent]


@contextmanager
def rolled_back() -> Iterator[None]:
    """A transaction, or a savepoint in one, that fails at its end."""
    with suppress(LookupError), transaction.atomic():
        yield
        raise LookupError


class OddLayer:
    """A layer of somebody else; nothing may reach it."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the layer was used: {name}")


# What is recorded


def test_each_helper_is_recorded_with_what_it_was_given() -> None:
    with capture_sent() as sent:
        broadcast({"n": 1}, authenticated_only=True)
        send_to_user(User(pk=7), {"n": 2}, exclude=["tab-1"])
        send_to_users([User(pk=7), 8, "7"], b"three", priority=Priority.HIGH)
        send_to_client("tab-1", "four")
        send_to_group("Комната", {"n": 5})
    assert [(s.helper, s.target, s.data, s.frame) for s in sent] == [
        ("broadcast", None, {"n": 1}, '{"n":1}'),
        ("send_to_user", ("7",), {"n": 2}, '{"n":2}'),
        ("send_to_users", ("7", "8"), b"three", b"three"),
        ("send_to_client", "tab-1", "four", "four"),
        ("send_to_group", "Комната", {"n": 5}, '{"n":5}'),
    ]
    assert [s.authenticated_only for s in sent] == [True, False, False, False, False]
    assert [s.exclude for s in sent] == [
        frozenset(),
        {"tab-1"},
        frozenset(),
        frozenset(),
        frozenset(),
    ]
    assert [s.priority for s in sent].index(Priority.HIGH) == 2


async def test_the_twins_are_recorded_under_the_names_of_the_helpers() -> None:
    with capture_sent() as sent:
        await abroadcast("1")
        await asend_to_user(7, "2")
        await asend_to_users([7], "3")
        await asend_to_client("tab-1", "4")
        await asend_to_group("news", "5")
    assert [s.helper for s in sent] == [
        "broadcast",
        "send_to_user",
        "send_to_users",
        "send_to_client",
        "send_to_group",
    ]
    assert texts(sent) == ["1", "2", "3", "4", "5"]


def test_a_sequence_is_recorded_and_no_number_taken() -> None:
    with override_settings(WSADAPTER={"REDIS_URL": NOWHERE}), capture_sent() as sent:
        send_to_group("news", {"n": 1}, sequence=True)
        send_to_group("news", {"n": 2})
        with bulk():
            send_to_group("news", {"n": 3}, sequence=True)
        broadcast({"n": 4})
        with pytest.raises(EncodeError):
            send_to_group("news", "a text", sequence=True)
    assert [s.sequence for s in sent] == [True, False, True, False]
    assert [s.json for s in sent] == [{"n": 1}, {"n": 2}, {"n": 3}, {"n": 4}]


async def test_so_is_one_of_a_twin() -> None:
    with override_settings(WSADAPTER={"REDIS_URL": NOWHERE}), capture_sent() as sent:
        await asend_to_group("news", {"n": 1}, sequence=True)
    assert [s.sequence for s in sent] == [True]


def test_of_data_with_views_the_default_one_is_recorded() -> None:
    @with_views(default=("title",), ids=("id",))
    @dataclass
    class Article:
        id: int
        title: str

    with capture_sent() as sent:
        broadcast(Article(7, "Rain"))
    assert sent[0].data == Article(7, "Rain")
    assert sent[0].json == {"title": "Rain"}


def test_the_priority_is_that_of_the_lane() -> None:
    lanes = {"PRIORITIES": {"chat.typing": Priority.LOW}}
    with override_settings(WSADAPTER=lanes), capture_sent() as sent:
        send_to_group("room", {"type": "chat.typing"})
    assert sent[0].priority is Priority.LOW


def test_there_are_views_by_target() -> None:
    with capture_sent() as sent:
        broadcast("all")
        send_to_user(7, "user")
        send_to_users([User(pk=7), 8], "users")
        send_to_user(8, "other")
        send_to_client("7", "client")
        send_to_group("7", "group")
    assert [s.data for s in sent.to_user(User(pk=7))] == ["user", "users"]
    assert [s.data for s in sent.to_group("7")] == ["group"]
    assert [s.data for s in sent.to_client("7")] == ["client"]
    assert [s.data for s in sent.broadcasts()] == ["all"]


def test_the_frame_is_what_a_browser_would_parse() -> None:
    with capture_sent() as sent:
        broadcast({"price": wsadapter.CloseCode.NORMAL, "tags": {"a"}})
    assert sent[0].json == {"price": 1000, "tags": ["a"]}


def test_receipts_are_those_of_a_delivery() -> None:
    with capture_sent():
        assert broadcast("hi") == wsadapter.Receipt(processes=1)
        assert send_to_client("tab-1", "hi") == wsadapter.Receipt(processes=1, online=True)


def test_to_nobody_nothing_is_sent() -> None:
    with capture_sent() as sent:
        send_to_users([], "hi")
    assert sent == []


def test_wrong_arguments_are_refused_as_always() -> None:
    with capture_sent() as sent:
        with pytest.raises(EncodeError):
            broadcast(object())
        with pytest.raises(ReservedType):
            broadcast({"type": "ws:ping"})
        with pytest.raises(ValueError, match="primary key"):
            send_to_user(User(), "hi")
    assert sent == []


async def test_a_sync_helper_on_an_event_loop_is_refused_as_always() -> None:
    with capture_sent() as sent, pytest.raises(AsyncContextError):
        broadcast("hi")
    assert sent == []


# Its extent


def test_what_is_sent_outside_of_the_block_is_not_recorded() -> None:
    broadcast("before")
    with capture_sent() as sent:
        broadcast("inside")
    broadcast("after")
    assert texts(sent) == ["inside"]


def test_the_innermost_block_takes_it() -> None:
    with capture_sent() as outer:
        broadcast("outer")
        with capture_sent() as inner:
            broadcast("inner")
        broadcast("outer again")
    assert texts(inner) == ["inner"]
    assert texts(outer) == ["outer", "outer again"]


def test_an_exception_ends_the_block_and_passes() -> None:
    sents = []

    def fail() -> None:
        with capture_sent() as sent:
            sents.append(sent)
            broadcast("before")
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        fail()
    broadcast("after")
    assert [texts(sent) for sent in sents] == [["before"]]


def test_what_another_thread_sends_is_recorded() -> None:
    with capture_sent() as sent:
        thread = threading.Thread(target=broadcast, args=["from a thread"])
        thread.start()
        thread.join()
    assert texts(sent) == ["from a thread"]


def test_a_bulk_is_recorded_in_order_at_its_end() -> None:
    with capture_sent() as sent:
        broadcast("1")
        with bulk():
            send_to_users([7, 8], "2")
            send_to_client("tab-1", "3")
            assert texts(sent) == ["1"]
        assert [s.helper for s in sent] == ["broadcast", "send_to_users", "send_to_client"]
        assert texts(sent) == ["1", "2", "3"]


async def test_so_is_one_of_a_coroutine() -> None:
    with capture_sent() as sent:
        async with abulk():
            await abroadcast("1")
            await asend_to_user(7, "2")
            assert sent == []
        assert texts(sent) == ["1", "2"]


def test_a_bulk_that_raises_is_not_recorded() -> None:
    with capture_sent() as sent, suppress(LookupError), bulk():
        broadcast("never")
        raise LookupError
    assert sent == []


@override_settings(CHANNEL_LAYERS=redis_layer([NOWHERE]))
def test_nothing_leaves_with_a_bulk_around_the_block() -> None:
    with bulk(), capture_sent() as sent:
        broadcast("captured")
        assert texts(sent) == ["captured"]
    assert texts(sent) == ["captured"]


@pytest.mark.parametrize(
    "layers",
    [
        {},
        MEMORY,
        STOCK_MEMORY,
        redis_layer([NOWHERE]),
        redis_layer([NOWHERE], "channels_redis.core.RedisChannelLayer"),
        redis_layer([NOWHERE], "channels_redis.pubsub.RedisPubSubChannelLayer"),
        {"default": {"BACKEND": f"{__name__}.OddLayer"}},
    ],
    ids=lambda layers: layers.get("default", {}).get("BACKEND", "none"),
)
async def test_nothing_leaves_whatever_the_layer(layers: Any) -> None:
    with override_settings(CHANNEL_LAYERS=layers), capture_sent() as sent:
        await asend_to_client("tab-1", "hi")
        await abroadcast("hi")
    assert len(sent) == 2


# Transactions


class InATestCase(TestCase):
    """Where Django wraps the whole test into a transaction that never commits."""

    def test_what_waits_for_the_commit_counts(self) -> None:
        with capture_sent() as sent:
            receipt = send_to_user(7, "at commit", on_commit=True)
            assert receipt.pending
            assert sent == [], "it has not been committed yet"
        assert texts(sent) == ["at commit"]

    def test_a_block_inside_of_atomic_counts_what_waits_for_it(self) -> None:
        with transaction.atomic(), capture_sent() as sent:
            broadcast("at commit", on_commit="default")
        assert texts(sent) == ["at commit"]

    def test_what_was_rolled_back_does_not_count(self) -> None:
        with capture_sent() as sent:
            broadcast("kept", on_commit=True)
            with rolled_back():
                broadcast("rolled back", on_commit=True)
                broadcast("at once")
            with transaction.atomic():
                broadcast("kept, too", on_commit=True)
        assert texts(sent) == ["at once", "kept", "kept, too"]

    def test_a_rolled_back_savepoint_takes_the_ones_inside_with_it(self) -> None:
        with capture_sent() as sent, rolled_back():
            with transaction.atomic():
                broadcast("released, then rolled back", on_commit=True)
            broadcast("rolled back", on_commit=True)
        assert sent == []

    def test_what_waited_before_the_block_does_not_count(self) -> None:
        broadcast("before", on_commit=True)
        with capture_sent() as sent:
            broadcast("inside", on_commit=True)
        broadcast("after", on_commit=True)
        assert texts(sent) == ["inside"]

    def test_what_waits_in_place_of_something_older_counts(self) -> None:
        """The old send is gone, and the new ones may stand where it stood in memory."""
        block = ExitStack()
        with rolled_back():
            for number in range(50):
                broadcast(f"before {number}", on_commit=True)
            sent = block.enter_context(capture_sent())
        for number in range(50):
            broadcast(f"inside {number}", on_commit=True)
        block.close()
        assert len(sent) == 50

    def test_it_counts_once_where_django_runs_the_hooks_as_well(self) -> None:
        with capture_sent() as sent, self.captureOnCommitCallbacks(execute=True):
            broadcast("once", on_commit=True)
        assert texts(sent) == ["once"]

    def test_it_counts_once_where_django_runs_the_hooks_around_it(self) -> None:
        with self.captureOnCommitCallbacks(execute=True), capture_sent() as sent:
            broadcast("once", on_commit=True)
        assert texts(sent) == ["once"]

    def test_it_counts_once_in_nested_blocks(self) -> None:
        with capture_sent() as outer:
            broadcast("outer", on_commit=True)
            with capture_sent() as inner:
                broadcast("inner", on_commit=True)
        assert texts(inner) == ["inner"]
        assert texts(outer) == ["outer"]

    def test_an_exception_counts_nothing_that_still_waits(self) -> None:
        with suppress(LookupError), capture_sent() as sent:
            broadcast("at once")
            broadcast("waits", on_commit=True)
            raise LookupError
        assert texts(sent) == ["at once"]

    def test_other_hooks_are_none_of_its_business(self) -> None:
        with capture_sent() as sent:
            transaction.on_commit(lambda: None)
        assert sent == []

    def test_the_data_is_encoded_at_the_call(self) -> None:
        data = {"version": 1}
        with capture_sent() as sent:
            broadcast(data, on_commit=True)
            data["version"] = 2
            with pytest.raises(EncodeError):
                broadcast(object(), on_commit=True)
        assert [item.frame for item in sent] == ['{"version":1}']

    async def test_the_twins_wait_as_well(self) -> None:
        with capture_sent() as sent:
            receipt = await asend_to_user(7, "at commit", on_commit=True)
            assert receipt.pending
        assert texts(sent) == ["at commit"]

    def test_twins_called_from_sync_code_wait_as_well(self) -> None:
        with capture_sent() as sent:
            async_to_sync(abroadcast)("at commit", on_commit=True)
        assert texts(sent) == ["at commit"]


class InATransactionTestCase(TransactionTestCase):
    """Where transactions commit for real."""

    def test_it_counts_at_the_commit(self) -> None:
        with capture_sent() as sent:
            with transaction.atomic():
                broadcast("at commit", on_commit=True)
                broadcast("at once")
                assert texts(sent) == ["at once"]
            assert texts(sent) == ["at once", "at commit"]
        assert texts(sent) == ["at once", "at commit"]

    def test_outside_of_a_transaction_it_counts_at_once(self) -> None:
        with capture_sent() as sent:
            receipt = broadcast("at once", on_commit=True)
            assert receipt == wsadapter.Receipt(processes=1)
            assert texts(sent) == ["at once"]

    def test_what_was_rolled_back_does_not_count(self) -> None:
        with capture_sent() as sent, rolled_back():
            broadcast("rolled back", on_commit=True)
        assert sent == []

    @override_settings(CHANNEL_LAYERS=redis_layer([NOWHERE]))
    def test_nothing_leaves_at_a_commit_after_the_block(self) -> None:
        block = ExitStack()
        with self.assertNoLogs("wsadapter.publishing"), transaction.atomic():
            sent = block.enter_context(capture_sent())
            broadcast("captured", on_commit=True)
            block.close()
        assert texts(sent) == ["captured"]

    async def test_a_twin_outside_of_a_transaction_counts_at_once(self) -> None:
        with capture_sent() as sent:
            await abroadcast("at once", on_commit=True)
        assert texts(sent) == ["at once"]


def test_what_was_to_be_closed_is_recorded_with_no_redis() -> None:
    with override_settings(CHANNEL_LAYERS=redis_layer([NOWHERE])), capture_sent() as sent:
        assert disconnect_user(7, reason="moved") == 1
        assert disconnect_client("tab-1", code=4500) == 1
    assert not sent
    assert sent.disconnected == [
        Disconnected("disconnect_user", "7", 3503, "moved"),
        Disconnected("disconnect_client", "tab-1", 4500, "disconnected by the server"),
    ]
