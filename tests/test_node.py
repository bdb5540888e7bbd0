"""`Node`: a process's lease, kept, lost and taken anew."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import pytest

from tests.waiting import aeventually
from wsadapter.connection import Connection
from wsadapter.errors import StoreUnavailable
from wsadapter.node import Node, current_node
from wsadapter.store import MemoryStore
from wsadapter.store.operations import (
    BATCH_SIZE,
    RESTORE_SIZE,
    Beat,
    JoinAll,
    JoinGroups,
    JoinOutcome,
    Lapse,
    LeaveAll,
    LeaveGroups,
    MemberCount,
    Members,
    Membership,
    OnlineClients,
    OnlineCount,
    OpenLease,
    Operation,
    Restore,
)
from wsadapter.wire.outbox import Overflow

R = TypeVar("R")

LEASE_SECONDS = 15.0


class Store(MemoryStore):
    """A memory store whose clock stands still, and that can be away or slow."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.away: tuple[type, ...] = ()
        self.held_up: tuple[type, ...] = ()
        self.go_on = asyncio.Event()
        self.asked: list[type] = []
        super().__init__(clock=lambda: self.now)

    async def arun(self, op: Operation[R]) -> R:
        self.asked.append(type(op))
        if isinstance(op, self.held_up):
            await self.go_on.wait()
        if isinstance(op, self.away):
            raise StoreUnavailable("Redis at 127.0.0.1:1 cannot be reached.")
        return await super().arun(op)

    @property
    def count(self) -> int:
        return self.run(OnlineCount())

    @property
    def leases(self) -> set[str]:
        return {client.lease for client in self.run(OnlineClients()).items}

    @property
    def ids(self) -> set[str]:
        return {client.client_id for client in self.run(OnlineClients()).items}

    def members(self, group: str) -> set[str]:
        return {member.client_id for member in self.run(Members(group)).items}


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
async def node(store: Store) -> AsyncIterator[Node]:
    made = Node(store, lease_seconds=LEASE_SECONDS, beat_seconds=0.01)
    yield made
    store.away = store.held_up = ()
    await made.stop()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsadapter.node.RETRY_SECONDS", 0.01)


def connection(client_id: str, user_id: str | None = None) -> Connection:
    async def send(event: Any) -> None: ...

    made = Connection(
        {"type": "websocket", "path": "/ws/"},
        send,
        max_outbox_size=1000,
        overflow=Overflow.CLOSE,
        on_closing=lambda seconds: None,
    )
    made.client_id, made.user_id = client_id, user_id
    return made


async def joined(node: Node, *client_ids: str) -> list[Connection]:
    connections = [connection(client_id) for client_id in client_ids]
    for each in connections:
        assert (await node.join(each)).outcome is JoinOutcome.JOINED
    return connections


async def beats(store: Store, count: int = 2) -> None:
    """Wait until the lease has been renewed that often from now."""
    before = store.asked.count(Beat)
    await aeventually(lambda: store.asked.count(Beat) >= before + count)


async def test_one_lease_for_all_connections(node: Node, store: Store) -> None:
    await joined(node, "a", "b", "c")
    assert store.count == 3
    assert len(store.leases) == 1


async def test_connections_that_come_at_once_open_one_lease(node: Node, store: Store) -> None:
    await asyncio.gather(*(node.join(connection(str(number))) for number in range(20)))
    assert store.count == 20
    assert len(store.leases) == 1


async def test_a_storm_is_counted_in_and_out_by_few_calls(node: Node, store: Store) -> None:
    storm = [connection(str(number)) for number in range(1000)]
    await asyncio.gather(*(node.join(each) for each in storm))
    assert store.count == 1000
    assert store.asked.count(JoinAll) == math.ceil(1000 / BATCH_SIZE)
    await asyncio.gather(*(node.leave(each) for each in storm))
    assert store.count == 0
    assert store.asked.count(LeaveAll) <= math.ceil(1000 / BATCH_SIZE)
    assert store.asked.count(Lapse) == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_lease_is_renewed_while_thousands_wait_to_be_counted(
    node: Node, store: Store
) -> None:
    await joined(node, "here before")
    store.held_up = (JoinAll,)
    storm = [asyncio.create_task(node.join(connection(str(number)))) for number in range(5000)]
    await aeventually(lambda: store.asked.count(JoinAll) == 2)
    await beats(store, 5)
    assert not any(coming.done() for coming in storm)
    store.go_on.set()
    await asyncio.gather(*storm)
    assert store.count == 5001


async def test_two_that_leave_last_give_the_lease_up_once(node: Node, store: Store) -> None:
    a, b, c = await joined(node, "a", "b", "c")
    store.held_up = (LeaveAll,)
    leaving = [asyncio.create_task(node.leave(each)) for each in (a, b)]
    await aeventually(lambda: LeaveAll in store.asked)
    await node.leave(c)
    assert Lapse not in store.asked, "the others are still on their way"
    store.go_on.set()
    await asyncio.gather(*leaving)
    assert store.count == 0 and store.asked.count(Lapse) == 1


async def test_the_lease_goes_with_the_last_connection(node: Node, store: Store) -> None:
    a, b = await joined(node, "a", "b")
    await node.leave(a)
    assert store.count == 1 and Lapse not in store.asked
    await node.leave(b)
    assert store.count == 0 and store.asked.count(Lapse) == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_leaving_twice_is_leaving_once(node: Node, store: Store) -> None:
    a, _ = await joined(node, "a", "b")
    await node.leave(a)
    await node.leave(a)
    assert store.count == 1 and store.asked.count(LeaveAll) == 1


async def test_beats_keep_the_lease(node: Node, store: Store) -> None:
    await joined(node, "a")
    lease = node.lease
    for _ in range(3):
        store.now += LEASE_SECONDS - 1
        await beats(store)
    assert store.count == 1 and node.lease == lease


async def test_a_lease_that_lapsed_is_taken_anew_with_all_connections(
    node: Node, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    await joined(node, "a", "b", "c")
    lease = node.lease
    store.now += LEASE_SECONDS + 1
    assert store.count == 0
    await aeventually(lambda: store.count == 3)
    assert node.lease != lease, "others may have announced the old one's users as gone"
    assert store.ids == {"a", "b", "c"}
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "counted anew: 3" in caplog.text


async def test_more_connections_than_one_chunk_are_restored(node: Node, store: Store) -> None:
    await asyncio.gather(*(node.join(connection(str(number))) for number in range(1001)))
    store.now += LEASE_SECONDS + 1
    await aeventually(lambda: store.count == 1001)
    assert store.asked.count(Restore) == 3


async def test_a_newcomer_that_finds_the_lease_lapsed_brings_all_back(
    store: Store,
) -> None:
    node = Node(store, lease_seconds=LEASE_SECONDS, beat_seconds=3600)
    await joined(node, "a", "b")
    store.now += LEASE_SECONDS + 1
    await joined(node, "c")
    assert store.ids == {"a", "b", "c"}
    await node.stop()


async def test_who_leaves_during_a_restore_stays_away(node: Node, store: Store) -> None:
    a, b = await joined(node, "a", "b")
    store.held_up = (Restore,)
    store.now += LEASE_SECONDS + 1
    await aeventually(lambda: Restore in store.asked)
    await node.leave(a)
    store.go_on.set()
    await aeventually(lambda: store.ids == {"b"})
    await beats(store)
    assert store.ids == {"b"}
    await node.leave(b)
    assert store.count == 0


async def test_who_comes_during_a_restore_is_counted_once(node: Node, store: Store) -> None:
    await joined(node, "a")
    store.held_up = (Restore,)
    store.now += LEASE_SECONDS + 1
    await aeventually(lambda: Restore in store.asked)
    coming = asyncio.create_task(joined(node, "b"))
    await asyncio.sleep(0)
    store.go_on.set()
    await coming
    await aeventually(lambda: store.ids == {"a", "b"})
    await beats(store)
    assert store.count == 2


async def test_the_last_one_leaves_during_a_restore(node: Node, store: Store) -> None:
    (a,) = await joined(node, "a")
    store.held_up = (Restore,)
    store.now += LEASE_SECONDS + 1
    await aeventually(lambda: Restore in store.asked)
    await node.leave(a)
    assert store.count == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_join_that_fails_is_not_counted_and_leaves_no_task(
    node: Node, store: Store
) -> None:
    store.away = (JoinAll,)
    with pytest.raises(StoreUnavailable):
        await node.join(connection("a"))
    assert store.count == 0 and not node.connections
    assert Lapse not in store.asked, "there is nothing to give up yet"
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_join_that_fails_among_others_is_not_counted(node: Node, store: Store) -> None:
    await joined(node, "a")
    store.away = (JoinAll,)
    with pytest.raises(StoreUnavailable):
        await node.join(connection("b"))
    store.away = ()
    await beats(store)
    assert store.ids == {"a"}


async def test_a_join_that_was_written_but_timed_out_is_taken_back(
    node: Node, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await joined(node, "a")
    run = store.arun

    async def written_but_silent(op: Any) -> Any:
        answer = await run(op)
        if isinstance(op, JoinAll):
            raise StoreUnavailable("the answer was lost")
        return answer

    monkeypatch.setattr(store, "arun", written_but_silent)
    with pytest.raises(StoreUnavailable):
        await node.join(connection("b"))
    assert store.count == 2
    await aeventually(lambda: store.ids == {"a"})


async def test_a_join_that_is_cancelled_is_not_counted(node: Node, store: Store) -> None:
    await joined(node, "a")
    store.held_up = (JoinAll,)
    coming = asyncio.create_task(node.join(connection("b")))
    await aeventually(lambda: store.asked.count(JoinAll) == 2)
    coming.cancel()
    await asyncio.wait([coming])
    store.held_up = ()
    await beats(store)
    assert store.ids == {"a"}


async def test_a_leave_that_fails_is_made_good_by_the_next_beat(node: Node, store: Store) -> None:
    a, _ = await joined(node, "a", "b")
    store.away = (LeaveAll,)
    with pytest.raises(StoreUnavailable):
        await node.leave(a)
    assert store.count == 2
    store.away = ()
    await aeventually(lambda: store.ids == {"b"})


async def test_an_outage_is_logged_once_and_so_is_its_end(
    node: Node, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "wsadapter")
    await joined(node, "a")
    store.away = (Beat,)
    await beats(store, 5)
    store.away = ()
    await aeventually(lambda: "is back" in caplog.text)
    await beats(store)
    assert len(caplog.records) == 2
    assert "StoreUnavailable" in caplog.records[0].getMessage()
    assert store.ids == {"a"}


async def test_after_redis_lost_its_memory_all_are_counted_again(node: Node, store: Store) -> None:
    await joined(node, "a", "b")
    store.run(Lapse(node.lease))
    assert store.count == 0
    await aeventually(lambda: store.ids == {"a", "b"})


async def test_a_restore_that_fails_is_tried_until_it_works(node: Node, store: Store) -> None:
    await joined(node, "a")
    store.away = (Restore,)
    store.now += LEASE_SECONDS + 1
    await aeventually(lambda: store.asked.count(Restore) >= 3)
    assert store.count == 0
    store.away = ()
    await aeventually(lambda: store.ids == {"a"})
    await beats(store)
    assert store.count == 1


async def test_a_bug_in_the_store_does_not_end_the_beating(
    node: Node, store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await joined(node, "a")
    run, failed = store.arun, []

    async def buggy(op: Any) -> Any:
        if isinstance(op, Beat) and not failed:
            failed.append(op)
            raise LookupError("a bug")
        return await run(op)

    monkeypatch.setattr(store, "arun", buggy)
    await aeventually(lambda: failed)
    await beats(store)
    assert len([record for record in caplog.records if record.exc_info]) == 1


async def test_stopping_while_the_store_is_away_says_that_the_lease_will_expire(
    node: Node, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "wsadapter.node")
    (a,) = await joined(node, "a")
    store.away = (Lapse,)
    await node.leave(a)
    assert "will expire" in caplog.text
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_newcomer_while_the_last_one_leaves_has_a_node_of_its_own(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsadapter.node.store", lambda: store)
    (a,) = await joined(old := current_node(), "a")
    store.held_up = (Lapse,)
    leaving = asyncio.create_task(old.leave(a))
    await aeventually(lambda: Lapse in store.asked)
    new = current_node()
    assert new is not old
    (b,) = await joined(new, "b")
    store.go_on.set()
    await leaving
    assert current_node() is new and store.ids == {"b"}
    await new.leave(b)
    assert store.count == 0


async def test_a_join_that_is_cancelled_while_the_lease_opens_leaves_no_task(
    node: Node, store: Store
) -> None:
    store.held_up = (JoinAll,)
    joining = asyncio.create_task(node.join(connection("a")))
    await aeventually(lambda: JoinAll in store.asked)
    joining.cancel()
    await asyncio.wait([joining])
    store.go_on.set()
    assert joining.cancelled()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert store.count == 0


async def test_a_late_end_of_one_node_leaves_its_successor_in_place(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsadapter.node.store", lambda: store)
    first = current_node()
    await first.stop()
    second = current_node()
    await first.stop()
    assert current_node() is second is not first
    await second.stop()


# Groups


def membership(connection: Connection, group: str, info: bytes = b"null") -> Membership:
    return Membership(
        connection.client_id, connection.user_id, connection.serial, group, info, announced=False
    )


async def enters(node: Node, connection: Connection, *groups: str) -> None:
    """What `Connection.join` does once the layer has joined."""
    new = {group: membership(connection, group) for group in groups}
    connection.memberships = {**connection.memberships, **new}
    if connection.register is not None:
        assert connection.register is node
        await node.join_groups(connection, list(new.values()))


async def test_groups_are_recorded_from_joining_to_leaving(node: Node, store: Store) -> None:
    a, b = await joined(node, "a", "b")
    await enters(node, a, "news", "chat")
    await enters(node, b, "news")
    assert store.members("news") == {"a", "b"} and store.members("chat") == {"a"}
    await node.leave_groups(a, [membership(a, "news")])
    assert store.members("news") == {"b"} and store.members("chat") == {"a"}


async def test_groups_that_were_joined_before_it_was_counted_are_recorded_with_it(
    node: Node, store: Store
) -> None:
    a = connection("a")
    await enters(node, a, "news")
    assert JoinGroups not in store.asked, "nobody is counted yet"
    await node.join(a)
    assert store.members("news") == {"a"}


async def test_a_group_that_is_joined_while_it_is_counted_is_recorded(
    node: Node, store: Store
) -> None:
    a = connection("a")
    store.held_up = (JoinAll,)
    coming = asyncio.create_task(node.join(a))
    await aeventually(lambda: JoinAll in store.asked)
    await enters(node, a, "news")
    store.go_on.set()
    await coming
    assert store.members("news") == {"a"}


async def test_a_thousand_groups_are_joined_and_left_by_few_calls(node: Node, store: Store) -> None:
    a, _ = await joined(node, "a", "b")
    groups = [f"group {number}" for number in range(1000)]
    await enters(node, a, *groups)
    assert store.asked.count(JoinGroups) == math.ceil(1000 / BATCH_SIZE)
    assert all(store.members(group) == {"a"} for group in groups)
    await node.leave(a)
    assert store.asked.count(LeaveGroups) == math.ceil(1000 / BATCH_SIZE)
    assert not any(store.members(group) for group in groups)


async def test_those_who_join_at_once_share_a_call(node: Node, store: Store) -> None:
    connections = await joined(node, *map(str, range(BATCH_SIZE)))
    await asyncio.gather(*(enters(node, each, "news") for each in connections))
    assert len(store.members("news")) == BATCH_SIZE
    assert store.asked.count(JoinGroups) == 1
    await asyncio.gather(*(node.leave(each) for each in connections[1:]))
    assert store.members("news") == {"0"}
    assert store.asked.count(LeaveGroups) == 1


async def test_the_last_one_takes_its_groups_along_with_the_lease(node: Node, store: Store) -> None:
    (a,) = await joined(node, "a")
    await enters(node, a, "news")
    await node.leave(a)
    assert store.members("news") == set()
    assert LeaveGroups not in store.asked


async def test_a_join_that_meets_the_end_of_its_connection_leaves_nothing(
    node: Node, store: Store
) -> None:
    a, _ = await joined(node, "a", "b")
    store.held_up = (JoinGroups,)
    entering = asyncio.create_task(enters(node, a, "news"))
    await aeventually(lambda: JoinGroups in store.asked)
    await node.leave(a)
    store.go_on.set()
    await entering
    assert store.members("news") == set()


async def test_a_join_that_meets_the_end_of_the_last_connection_leaves_nothing(
    node: Node, store: Store
) -> None:
    (a,) = await joined(node, "a")
    store.held_up = (JoinGroups,)
    entering = asyncio.create_task(enters(node, a, "news"))
    await aeventually(lambda: JoinGroups in store.asked)
    await node.leave(a)
    store.go_on.set()
    await entering
    assert store.count == 0 and store.members("news") == set()
    assert OpenLease not in store.asked, "nobody is left to take a new lease for"


async def test_who_is_gone_joins_nothing(node: Node, store: Store) -> None:
    a, _ = await joined(node, "a", "b")
    await node.leave(a)
    await enters(node, a, "news")
    assert JoinGroups not in store.asked


async def test_who_may_not_have_an_id_is_in_no_group(node: Node, store: Store) -> None:
    (holder,) = await joined(node, "a")
    await enters(node, holder, "news")
    stranger = connection("a")
    await enters(node, stranger, "news", "spies")
    store.held_up = (JoinAll,)
    coming = asyncio.create_task(node.join(stranger))
    await aeventually(lambda: store.asked.count(JoinAll) == 2)
    await enters(node, stranger, "more spies")
    store.go_on.set()
    assert (await coming).outcome is JoinOutcome.TAKEN
    await enters(node, stranger, "late spies")
    assert [store.members(each) for each in ("spies", "more spies", "late spies")] == [set()] * 3
    await node.leave(stranger)
    assert store.members("news") == {"a"}


async def test_a_group_that_the_store_was_away_for_is_recorded_by_the_next_beat(
    node: Node, store: Store
) -> None:
    a, _ = await joined(node, "a", "b")
    store.away = (JoinGroups,)
    with pytest.raises(StoreUnavailable):
        await enters(node, a, "news")
    store.away = ()
    await aeventually(lambda: store.members("news") == {"a"})
    await beats(store)
    assert store.ids == {"a", "b"}


async def test_a_group_whose_leaving_failed_is_forgotten_by_the_next_beat(
    node: Node, store: Store
) -> None:
    a, _ = await joined(node, "a", "b")
    await enters(node, a, "news", "chat")
    store.away = (LeaveGroups,)
    a.memberships = {"chat": a.memberships["chat"]}
    with pytest.raises(StoreUnavailable):
        await node.leave_groups(a, [membership(a, "news")])
    store.away = ()
    await aeventually(lambda: not store.members("news"))
    assert store.members("chat") == {"a"} and store.ids == {"a", "b"}


async def test_a_leave_of_which_the_groups_fail_is_made_good_by_the_next_beat(
    node: Node, store: Store
) -> None:
    a, _ = await joined(node, "a", "b")
    await enters(node, a, "news")
    store.away = (LeaveGroups,)
    with pytest.raises(StoreUnavailable):
        await node.leave(a)
    store.away = ()
    await aeventually(lambda: store.ids == {"b"} and not store.members("news"))


async def test_a_lease_that_lapsed_is_taken_anew_with_all_groups(node: Node, store: Store) -> None:
    a, b = await joined(node, "a", "b")
    groups = [f"group {number}" for number in range(2 * RESTORE_SIZE + 1)]
    await enters(node, a, *groups)
    await enters(node, b, "group 0")
    before = store.asked.count(JoinGroups)
    store.now += LEASE_SECONDS + 1
    assert store.members("group 0") == set()
    await aeventually(lambda: store.members("group 0") == {"a", "b"})
    assert all("a" in store.members(group) for group in groups)
    assert store.asked.count(JoinGroups) - before == 3
    (info,) = {member.info for member in store.run(Members("group 1")).items}
    assert info is None


async def test_a_join_that_finds_the_lease_lapsed_brings_all_back(store: Store) -> None:
    node = Node(store, lease_seconds=LEASE_SECONDS, beat_seconds=3600)
    a, b = await joined(node, "a", "b")
    await enters(node, a, "chat")
    store.now += LEASE_SECONDS + 1
    await enters(node, b, "news")
    assert store.ids == {"a", "b"}
    assert store.members("chat") == {"a"} and store.members("news") == {"b"}
    await node.stop()


async def test_who_leaves_during_a_restore_is_in_no_group(node: Node, store: Store) -> None:
    a, b = await joined(node, "a", "b")
    await enters(node, a, "news")
    await enters(node, b, "news")
    store.asked.clear()
    store.held_up = (JoinGroups,)
    store.now += LEASE_SECONDS + 1
    await aeventually(lambda: JoinGroups in store.asked)
    await node.leave(a)
    store.go_on.set()
    await aeventually(lambda: store.members("news") == {"b"})
    await beats(store)
    assert store.members("news") == {"b"} and store.ids == {"b"}


async def test_an_id_that_another_process_took_over_is_not_put_out_of_its_groups(
    node: Node, store: Store
) -> None:
    """The old connection ends late: its groups are those of the newcomer by now."""
    a, _ = await joined(node, "a", "b")
    await enters(node, a, "news")
    newcomer = connection("a")
    newcomer.chose_id = True
    newcomer.memberships = {"news": membership(newcomer, "news", b'"new"')}
    assert (await node.join(newcomer)).outcome is JoinOutcome.REPLACED
    await node.leave(a)
    assert store.run(MemberCount("news")) == 1
    (member,) = store.run(Members("news")).items
    assert member.info == "new"
