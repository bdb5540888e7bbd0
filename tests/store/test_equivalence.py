"""Both stores give the same answers to any sequence of operations."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.store.subjects import (
    Subject,
    a_client,
    all_clients,
    all_members,
    all_users,
    memory_store,
    redis_time,
)
from wsadapter.redis_pool import RedisPool
from wsadapter.store import RedisStore
from wsadapter.store.operations import (
    Beat,
    ClientOnline,
    FindClient,
    Join,
    JoinAll,
    JoinGroups,
    Lapse,
    Leave,
    LeaveAll,
    LeaveGroups,
    MemberCount,
    Membership,
    NextStamps,
    NoteGone,
    OnlineCount,
    OnlineUserCount,
    OpenLease,
    Operation,
    Reap,
    Restore,
    TakeDue,
    UserConnections,
)

# Few of each, so that they meet; leases long enough that the time the test takes is nothing.
LEASES = st.sampled_from(["a:1:x", "b:2:y", "c:3:z"])
CLIENT_IDS = st.sampled_from(["c1", "c2", "c3", "c4"])
USERS = st.sampled_from(["anna", "ann", "", None])
SERIALS = st.sampled_from(["s1", "s2", "s3"])
LEASE_SECONDS = st.sampled_from([1000.0, 3000.0])
CLIENTS = st.builds(
    lambda client_id, user, serial: a_client(client_id, user, serial=f"{serial}-{user}"),
    CLIENT_IDS,
    USERS,
    SERIALS,
)
GROUPS = st.lists(st.sampled_from(["news", "chat", "анна"]), max_size=6)
MEMBERSHIPS = st.lists(
    st.builds(
        lambda client, group, info, announced: Membership(
            client.client_id, client.user_id, client.serial, group, info, announced
        ),
        CLIENTS,
        st.sampled_from(["news", "chat"]),
        st.sampled_from([b"null", b'{"name":"Anna"}']),
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
)
NEWCOMERS = st.lists(st.tuples(CLIENTS, st.booleans()), min_size=1, max_size=6)


@pytest.fixture
def pairs(
    redis_pool: RedisPool, look_into: redis.Redis
) -> Iterator[Iterator[tuple[Subject, Subject]]]:
    """Two empty stores, one of each kind, as often as one asks."""

    def new_pair() -> tuple[Subject, Subject]:
        store = RedisStore(redis_pool, prefix=f"{{{uuid4().hex}}}")
        memory, pass_time = memory_store()
        by_redis = Subject(store.run, redis_time(store, look_into))
        return Subject(memory.run, pass_time), by_redis

    return (new_pair() for _ in count())


def test_both_stores_agree(pairs: Iterator[tuple[Subject, Subject]]) -> None:
    class Both(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.memory, self.redis = next(pairs)
            self.beginnings: dict[tuple[str, str], int] = {}

        def ask(self, op: Operation[Any]) -> None:
            assert self.memory(op) == self.redis(op)

        @rule(lease=LEASES, seconds=LEASE_SECONDS, replaces=LEASES | st.just(""))
        def open_lease(self, lease: str, seconds: float, replaces: str) -> None:
            self.ask(OpenLease(lease, seconds, replaces))

        @rule(lease=LEASES, seconds=LEASE_SECONDS)
        def beat(self, lease: str, seconds: float) -> None:
            self.ask(Beat(lease, seconds, overdue_seconds=500.0))

        @rule(lease=LEASES)
        def lapse(self, lease: str) -> None:
            self.ask(Lapse(lease))

        @rule()
        def reap(self) -> None:
            self.ask(Reap())

        @rule(lease=LEASES, client=CLIENTS, claim=st.booleans())
        def join(self, lease: str, client: Any, claim: bool) -> None:
            self.ask(Join(lease, client, claim))

        @rule(lease=LEASES, client=CLIENTS)
        def leave(self, lease: str, client: Any) -> None:
            self.ask(Leave(lease, client.client_id, client.serial))

        @rule(lease=LEASES, newcomers=NEWCOMERS, opens_for=st.none() | LEASE_SECONDS)
        def join_all(self, lease: str, newcomers: list[Any], opens_for: float | None) -> None:
            self.ask(JoinAll(lease, tuple(newcomers), opens_for))

        @rule(lease=LEASES, clients=st.lists(CLIENTS, min_size=1, max_size=6))
        def leave_all(self, lease: str, clients: list[Any]) -> None:
            self.ask(LeaveAll(lease, tuple((each.client_id, each.serial) for each in clients)))

        @rule(lease=LEASES, clients=st.lists(CLIENTS, max_size=6))
        def restore(self, lease: str, clients: list[Any]) -> None:
            self.ask(Restore(lease, tuple(clients)))

        @rule(lease=LEASES, memberships=MEMBERSHIPS)
        def join_groups(self, lease: str, memberships: list[Membership]) -> None:
            self.ask(JoinGroups(lease, tuple(memberships)))

        @rule(lease=LEASES, memberships=MEMBERSHIPS)
        def leave_groups(self, lease: str, memberships: list[Membership]) -> None:
            self.ask(LeaveGroups(lease, tuple(memberships)))

        @rule(users=st.lists(st.sampled_from(["anna", "ann", ""]), max_size=3))
        def note_gone(self, users: list[str]) -> None:
            self.ask(NoteGone(tuple(users)))

        @rule(grace_seconds=st.sampled_from([0.0, 500.0]))
        def take_due(self, grace_seconds: float) -> None:
            take = TakeDue(grace_seconds, 2000.0)
            assert set(self.memory(take)) == set(self.redis(take))

        @rule(groups=GROUPS)
        def next_stamps(self, groups: list[str]) -> None:
            assert self.counted("memory", groups) == self.counted("redis", groups)

        def counted(self, kind: str, groups: list[str]) -> list[int]:
            """The numbers that a store gives, counted from where it began."""
            stamps = getattr(self, kind)(NextStamps(tuple(groups)))
            return [
                stamp.sequence - self.beginnings.setdefault((kind, group), stamp.sequence)
                for group, stamp in zip(groups, stamps, strict=True)
            ]

        @rule(seconds=st.sampled_from([400.0, 1200.0]))
        def pass_time(self, seconds: float) -> None:
            self.memory.pass_time(seconds)
            self.redis.pass_time(seconds)
            self.ask(Reap())  # only now does an absence begin

        @rule(limit=st.integers(1, 3))
        def list_all(self, limit: int) -> None:
            assert all_users(self.memory, limit) == all_users(self.redis, limit)
            assert all_clients(self.memory, None, limit) == all_clients(self.redis, None, limit)
            assert all_clients(self.memory, "ann", limit) == all_clients(self.redis, "ann", limit)
            assert all_members(self.memory, "news", limit) == all_members(self.redis, "news", limit)

        @invariant()
        def the_same_are_online(self) -> None:
            for op in (
                OnlineCount(),
                UserConnections("anna"),
                ClientOnline("c1"),
                FindClient("c2"),
                MemberCount("news"),
            ):
                self.ask(op)

        def teardown(self) -> None:
            self.ask(OnlineUserCount())
            self.list_all(limit=2)

    run_state_machine_as_test(
        Both,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],  # shrinking a failure takes minutes
        ),
    )
