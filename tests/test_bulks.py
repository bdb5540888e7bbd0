"""`bulk` and `abulk`: what a block sends leaves together at its end, or not at all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from asgiref.sync import async_to_sync
from django.db import transaction

from tests.processes import free_port
from tests.redis_server import RedisServer
from tests.sites import REDIS, site
from wsadapter import (
    EncodeError,
    Receipt,
    StoreUnavailable,
    abroadcast,
    abulk,
    adisconnect_client,
    adisconnect_user,
    asend_to_group,
    asend_to_user,
    broadcast,
    broadcasting,
    bulk,
    bulks,
    conf,
    disconnect_client,
    disconnect_user,
    send_to_client,
    send_to_group,
    send_to_user,
    send_to_users,
)
from wsadapter.layers import publishing
from wsadapter.redis_pool import RedisPool
from wsadapter.wire.views import with_views

#: Helpers with their arguments, in the order in which a block calls them.
Calls = list[tuple[Any, ...]]
Together = Callable[[Calls], list[Receipt]]


@pytest.fixture
def project(own_redis: RedisServer, settings: Any) -> RedisServer:
    """A project on a Redis that nobody else talks to."""
    for setting, value in site(REDIS, [own_redis.url]).items():
        setattr(settings, setting, value)
    return own_redis


class Published:
    """What is published on a Redis, in order."""

    def __init__(self, server: RedisServer) -> None:
        self._client = server.client()
        self._listener = self._client.pubsub()
        self._listener.psubscribe("*")
        assert self._listener.get_message(timeout=5)

    def texts(self) -> list[str]:
        """The texts of the messages since the last look; a kick is its reason."""
        messages = [conf.layer().deserialize(payload) for payload in self._payloads()]
        return [message["text"] if "text" in message else message["reason"] for message in messages]

    def _payloads(self) -> Iterator[bytes]:
        self._client.publish("the look", "ends")
        while True:
            message = self._listener.get_message(timeout=5)
            if message["channel"] == b"the look":
                return
            yield message["data"]

    def close(self) -> None:
        self._listener.close()
        self._client.close()


@pytest.fixture
def published(project: RedisServer) -> Iterator[Published]:
    found = Published(project)
    yield found
    found.close()


class Traffic:
    """What a Redis was asked for since this was made, by all but this."""

    def __init__(self, server: RedisServer) -> None:
        self._client = server.client()
        self._look()  # its connection is open now, and counts no more
        self._before = self._look()

    def _look(self) -> dict[str, int]:
        publish = self._client.info("commandstats").get("cmdstat_publish", {"calls": 0})
        stats = self._client.info("stats")
        return {
            "publishes": publish["calls"],
            "reads": stats["total_reads_processed"],
            "connections": stats["total_connections_received"],
        }

    def since(self) -> dict[str, int]:
        after = self._look()
        self._client.close()
        difference = {key: after[key] - self._before[key] for key in after}
        return {**difference, "reads": difference["reads"] - 2}  # a look reads twice


def in_a_thread(calls: Calls) -> list[Receipt]:
    with bulk():
        return [helper(*arguments) for helper, *arguments in calls]


def in_a_coroutine(calls: Calls) -> list[Receipt]:
    async def run() -> list[Receipt]:
        async with abulk():
            return [
                await getattr(broadcasting, f"a{helper.__name__}")(*arguments)
                for helper, *arguments in calls
            ]

    return asyncio.run(run())


@pytest.fixture(params=[in_a_thread, in_a_coroutine], ids=["thread", "coroutine"])
def together(request: pytest.FixtureRequest) -> Together:
    """Call helpers in one block: `bulk` and the helpers, or `abulk` and their twins."""
    return request.param  # type: ignore[no-any-return]


EVERY_KIND: Calls = [
    (broadcast, "all"),
    (send_to_user, 7, "user"),
    (send_to_users, [7, 8], "users"),
    (send_to_client, f"{'0' * 16}.{'0' * 16}", "client"),
    (send_to_group, "news", "group"),
]


# One round trip


def test_a_block_is_one_round_trip(project: RedisServer) -> None:
    broadcast("a connection is open")
    traffic = Traffic(project)
    with bulk():
        for number in range(50):
            send_to_user(number, str(number))
    assert traffic.since() == {"publishes": 50, "reads": 1, "connections": 0}


async def test_so_is_one_of_a_coroutine(project: RedisServer) -> None:
    await abroadcast("a connection is open")
    traffic = await asyncio.to_thread(Traffic, project)
    async with abulk():
        for number in range(50):
            await asend_to_user(number, str(number))
    since = await asyncio.to_thread(traffic.since)
    assert since == {"publishes": 50, "reads": 1, "connections": 0}


def test_a_thousand_sends_open_no_connection(project: RedisServer) -> None:
    broadcast("a connection is open")
    traffic = Traffic(project)
    for number in range(1_000):
        broadcast(str(number))
    assert traffic.since() == {"publishes": 1_000, "reads": 1_000, "connections": 0}


def test_a_block_that_sends_nothing_asks_redis_for_nothing(
    project: RedisServer, together: Together
) -> None:
    traffic = Traffic(project)
    together([(send_to_users, [], "nobody")])
    assert traffic.since() == {"publishes": 0, "reads": 0, "connections": 0}


def test_everything_leaves_in_order_at_the_end(published: Published) -> None:
    with bulk():
        for helper, *arguments in EVERY_KIND:
            helper(*arguments)
        assert published.texts() == []
    assert published.texts() == ["all", "user", "users", "users", "client", "group"]


def test_a_coroutines_leave_in_order_as_well(published: Published) -> None:
    in_a_coroutine(EVERY_KIND)
    assert published.texts() == ["all", "user", "users", "users", "client", "group"]


def test_receipts_inside_are_pending(project: RedisServer, together: Together) -> None:
    receipts = together(EVERY_KIND)
    assert receipts == [Receipt(pending=True)] * len(EVERY_KIND)
    assert all(receipts)


def test_after_the_block_everything_is_as_before(published: Published, together: Together) -> None:
    together([(broadcast, "inside")])
    assert bulks.current() is None
    assert broadcast("after") == Receipt(processes=1)
    assert published.texts() == ["inside", "after"]


# What is not sent


def test_what_cannot_be_encoded_is_known_at_the_call(published: Published) -> None:
    with bulk():
        broadcast("before")
        with pytest.raises(EncodeError):
            broadcast(object())
        broadcast("after")
    assert published.texts() == ["before", "after"]


def test_a_block_that_raises_sends_nothing(published: Published, together: Together) -> None:
    with pytest.raises(EncodeError):
        together([(broadcast, "never"), (broadcast, object())])
    broadcast("after")
    assert published.texts() == ["after"]


def test_a_cancelled_block_sends_nothing(published: Published) -> None:
    async def run() -> None:
        async with abulk():
            await abroadcast("never")
            await asyncio.Event().wait()

    async def cancelled() -> None:
        task = asyncio.create_task(run())
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert published.texts() == []


# Blocks in blocks


def test_the_outermost_block_sends(published: Published) -> None:
    with bulk():
        broadcast("1")
        with bulk():
            broadcast("2")
        broadcast("3")
        assert published.texts() == []
    assert published.texts() == ["1", "2", "3"]


def test_an_inner_block_that_raises_takes_back_its_own(published: Published) -> None:
    with bulk():
        broadcast("1")
        with suppress(LookupError), bulk():
            broadcast("never")
            raise LookupError
        broadcast("2")
    assert published.texts() == ["1", "2"]


def test_a_coroutine_called_from_a_block_belongs_to_it(published: Published) -> None:
    async def more() -> None:
        async with abulk():
            await abroadcast("2")

    with bulk():
        broadcast("1")
        async_to_sync(more)()
        broadcast("3")
        assert published.texts() == []
    assert published.texts() == ["1", "2", "3"]


# Tasks and threads


async def test_tasks_and_threads_that_begin_inside_belong_to_the_block(
    published: Published,
) -> None:
    async with abulk():
        receipts = await asyncio.gather(
            asend_to_user(1, "1"), asend_to_user(2, "2"), asyncio.to_thread(broadcast, "3")
        )
        assert receipts == [Receipt(pending=True)] * 3
        assert published.texts() == []
    assert sorted(published.texts()) == ["1", "2", "3"]


async def test_a_task_that_outlives_the_block_sends_by_itself(published: Published) -> None:
    ended = asyncio.Event()

    async def later() -> Receipt:
        await ended.wait()
        return await abroadcast("later")

    async with abulk():
        task = asyncio.create_task(later())
        await abroadcast("inside")
    ended.set()
    assert (await task).processes == 1
    assert published.texts() == ["inside", "later"]


async def test_so_does_one_that_outlives_a_block_that_raised(published: Published) -> None:
    ended = asyncio.Event()

    async def later() -> None:
        await ended.wait()
        await abroadcast("later")

    with suppress(LookupError):
        async with abulk():
            task = asyncio.create_task(later())
            raise LookupError
    ended.set()
    await task
    assert published.texts() == ["later"]


async def test_a_task_that_outlives_an_inner_block_belongs_to_the_outer(
    published: Published,
) -> None:
    ended = asyncio.Event()

    async def later() -> Receipt:
        await ended.wait()
        return await abroadcast("later")

    async with abulk():
        async with abulk():
            task = asyncio.create_task(later())
        ended.set()
        assert (await task).pending
        assert published.texts() == []
    assert published.texts() == ["later"]


async def test_a_block_of_a_task_may_outlive_the_one_around_it(published: Published) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def inner() -> None:
        async with abulk():
            await abroadcast("inner")
            begun.set()
            await ended.wait()

    async with abulk():
        task = asyncio.create_task(inner())
        await begun.wait()
        await abroadcast("outer")
    assert published.texts() == ["outer"]
    ended.set()
    await task
    assert published.texts() == ["inner"]


def test_a_thread_of_ones_own_does_not_belong_to_the_block(published: Published) -> None:
    with bulk():
        broadcast("inside")
        thread = threading.Thread(target=broadcast, args=["from a thread"])
        thread.start()
        thread.join()
        assert published.texts() == ["from a thread"]
    assert published.texts() == ["inside"]


def test_what_many_threads_collect_at_once_is_all_there(published: Published) -> None:
    async def send_from_threads() -> None:
        async with abulk():
            await asyncio.gather(
                *(asyncio.to_thread(broadcast, str(number)) for number in range(200))
            )

    asyncio.run(send_from_threads())
    assert sorted(map(int, published.texts())) == list(range(200))


# Closing connections


def test_to_disconnect_somebody_sends_first_what_came_before(published: Published) -> None:
    """A user's kick goes to two groups: of connections that take pushes, and that do not."""
    with suppress(LookupError), bulk():
        broadcast("1")
        with bulk():
            broadcast("2")
            disconnect_user(7, reason="user")
            broadcast("3")
            disconnect_client("tab-1", reason="client")
            assert published.texts() == ["1", "2", "user", "user", "3", "client"]
        broadcast("never")
        raise LookupError
    assert published.texts() == []


async def test_so_does_the_twin(published: Published) -> None:
    async with abulk():
        await abroadcast("1")
        await adisconnect_user(7, reason="user")
        await abroadcast("2")
        await adisconnect_client("tab-1", reason="client")
        assert published.texts() == ["1", "user", "user", "2", "client"]
        await abroadcast("3")
    assert published.texts() == ["3"]


# Transactions


@pytest.mark.django_db(transaction=True)
def test_a_commit_inside_joins_the_block(published: Published) -> None:
    with bulk():
        broadcast("1")
        with transaction.atomic():
            assert broadcast("at commit", on_commit=True).pending
            broadcast("2")
        broadcast("3")
        assert published.texts() == []
    assert published.texts() == ["1", "2", "at commit", "3"]


@pytest.mark.django_db(transaction=True)
def test_a_commit_after_the_block_is_waited_for(published: Published) -> None:
    with transaction.atomic():
        with bulk():
            broadcast("at commit", on_commit=True)
            broadcast("inside")
        assert published.texts() == ["inside"]
    assert published.texts() == ["at commit"]


@pytest.mark.django_db(transaction=True)
def test_a_rollback_inside_takes_back_what_waited_for_the_commit(published: Published) -> None:
    with bulk():
        with suppress(LookupError), transaction.atomic():
            broadcast("never", on_commit=True)
            broadcast("at once")
            raise LookupError
        broadcast("after")
    assert published.texts() == ["at once", "after"]


@pytest.mark.django_db(transaction=True)
def test_without_a_transaction_the_block_is_waited_for(published: Published) -> None:
    with bulk():
        assert broadcast("inside", on_commit=True) == Receipt(pending=True)
        assert published.texts() == []
    assert published.texts() == ["inside"]


# Very many


def many(number: int, text: str = "") -> Calls:
    return [(send_to_user, n, f"{n}{text}") for n in range(number)]


def test_very_many_leave_in_several_round_trips(
    project: RedisServer, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips = counted_trips(monkeypatch)
    monkeypatch.setattr(publishing, "MOST_POSTS_AT_ONCE", 10)
    in_a_thread(many(25))
    assert published.texts() == [str(n) for n in range(25)]
    assert trips == [10, 10, 5]


def test_so_do_very_large_ones(
    project: RedisServer, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips = counted_trips(monkeypatch)
    monkeypatch.setattr(publishing, "MOST_BYTES_AT_ONCE", 1_000)
    in_a_thread([*many(5, "x" * 400), (broadcast, "y" * 3_000), (broadcast, "z")])
    assert [text[:2] for text in published.texts()] == ["0x", "1x", "2x", "3x", "4x", "yy", "z"]
    assert trips == [2, 2, 1, 1, 1]


def test_so_do_very_many_users(project: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    trips = counted_trips(monkeypatch)
    send_to_users(range(1_200), "hello")
    assert trips == [500, 500, 200]


def counted_trips(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many commands each round trip has; grows as they are made."""
    trips: list[int] = []
    original = RedisPool.exchange

    def counted(pool: RedisPool, commands: Any) -> list[Any]:
        trips.append(len(commands))
        return original(pool, commands)

    monkeypatch.setattr(RedisPool, "exchange", counted)
    return trips


class Part(msgspec.Struct):
    text: str


@with_views(again=("text",))
class PartInViews(msgspec.Struct):
    text: str


def test_all_views_count(project: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    trips = counted_trips(monkeypatch)
    monkeypatch.setattr(publishing, "MOST_BYTES_AT_ONCE", 1_000)
    in_a_thread([(broadcast, Part("x" * 400))] * 2)
    in_a_thread([(broadcast, PartInViews("x" * 400))] * 2)
    assert trips == [2, 1, 1]


# Sequences


def test_numbers_are_taken_in_the_order_of_the_sends(published: Published) -> None:
    calls = [("a", 1), ("b", 2), ("a", 3), (None, 4), ("a", 5), ("b", 6)]
    with bulk():
        for group, n in calls:
            if group is None:
                broadcast({"n": n})
            else:
                assert send_to_group(group, {"n": n}, sequence=True).pending
        assert published.texts() == []
    messages = [msgspec.json.decode(text) for text in published.texts()]
    assert [message["n"] for message in messages] == [1, 2, 3, 4, 5, 6]
    a, b = messages[0]["sequence"], messages[1]["sequence"]
    assert [message.get("sequence") for message in messages] == [a, b, a + 1, None, a + 2, b + 1]


async def test_so_are_those_of_a_coroutine(published: Published) -> None:
    async with abulk():
        for n in range(3):
            await asend_to_group("a", {"n": n}, sequence=True)
    messages = [msgspec.json.decode(text) for text in published.texts()]
    first = messages[0]["sequence"]
    assert [(m["n"], m["sequence"]) for m in messages] == [(n, first + n) for n in range(3)]


def test_all_numbers_of_a_block_are_one_round_trip_more(project: RedisServer) -> None:
    for _ in range(2):
        send_to_group("a", {}, sequence=True)  # both connections are open, the script is loaded
    traffic = Traffic(project)
    with bulk():
        for group in "abc" * 20:
            send_to_group(group, {}, sequence=True)
    assert traffic.since() == {"publishes": 60, "reads": 2, "connections": 0}


def test_a_block_that_raises_takes_no_number(published: Published) -> None:
    send_to_group("a", {}, sequence=True)
    with suppress(LookupError), bulk():
        send_to_group("a", {}, sequence=True)
        raise LookupError
    send_to_group("a", {}, sequence=True)
    first, second = (msgspec.json.decode(text)["sequence"] for text in published.texts())
    assert second == first + 1


def test_a_number_is_of_the_time_of_leaving(published: Published) -> None:
    with bulk():
        send_to_group("a", {"n": 2}, sequence=True)
        in_another_thread(send_to_group, "a", {"n": 1}, sequence=True)
        send_to_group("a", {"n": 3}, sequence=True)
        disconnect_client("tab-1", reason="what came before leaves first")
        in_another_thread(send_to_group, "a", {"n": 4}, sequence=True)
    texts = [text for text in published.texts() if text.startswith("{")]
    messages = [msgspec.json.decode(text) for text in texts]
    first = messages[0]["sequence"]
    assert [(m["n"], m["sequence"] - first) for m in messages] == [(1, 0), (2, 1), (3, 2), (4, 3)]


def in_another_thread(helper: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    """Outside of every block."""
    thread = threading.Thread(target=helper, args=arguments, kwargs=options)
    thread.start()
    thread.join()


def a_block_with_a_number() -> None:
    with bulk():
        broadcast("never")
        send_to_group("a", {}, sequence=True)


def a_coroutines_block_with_a_number() -> None:
    async def run() -> None:
        async with abulk():
            await abroadcast("never")
            await asend_to_group("a", {}, sequence=True)

    asyncio.run(run())


@pytest.mark.parametrize("block", [a_block_with_a_number, a_coroutines_block_with_a_number])
def test_without_numbers_nothing_of_a_block_is_sent(
    published: Published, settings: Any, block: Callable[[], None]
) -> None:
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    settings.WSADAPTER = {**settings.WSADAPTER, "REDIS_URL": nowhere}
    with pytest.raises(StoreUnavailable):
        block()
    broadcast("after")
    assert published.texts() == ["after"]


# Redis away


def test_when_redis_goes_away_it_is_told_how_many_had_left(
    project: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "MOST_POSTS_AT_ONCE", 10)
    original = RedisPool.exchange

    def and_then_the_power_fails(pool: RedisPool, commands: Any) -> list[Any]:
        replies = original(pool, commands)
        project.stop()
        return replies

    monkeypatch.setattr(RedisPool, "exchange", and_then_the_power_fails)
    with pytest.raises(StoreUnavailable, match=r"10 of 25 messages had been handed over"):
        in_a_thread(many(25))


def test_what_failed_is_not_sent_again(project: RedisServer, together: Together) -> None:
    broadcast("a connection is open")
    project.stop()
    with pytest.raises(StoreUnavailable, match="0 of 2 messages"):
        together([(broadcast, "lost"), (broadcast, "lost")])
    project.start()
    listener = Published(project)
    together([(broadcast, "after")])
    assert listener.texts() == ["after"]
    listener.close()


def test_a_failure_before_a_disconnect_leaves_nothing_to_send_twice(project: RedisServer) -> None:
    with bulk():
        broadcast("lost")
        project.stop()
        with pytest.raises(StoreUnavailable):
            disconnect_user(7)
        project.start()
        listener = Published(project)
    assert listener.texts() == []
    listener.close()
