"""What only the store in Redis promises: no key left, short scripts, a Redis that goes away."""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from typing import Any

import pytest
import redis
from redis.exceptions import NoScriptError

from tests.processes import free_port
from tests.redis_server import RedisServer
from tests.store.subjects import (
    A,
    B,
    a_client,
    all_clients,
    all_members,
    all_users,
    performing,
    take_all,
)
from wsadapter.errors import StoreUnavailable
from wsadapter.redis_pool import RedisPool
from wsadapter.store import RedisStore
from wsadapter.store.operations import (
    TAKE_SIZE,
    Beat,
    ClientOnline,
    FindClient,
    IsOnline,
    Join,
    JoinGroups,
    JoinOutcome,
    Lapse,
    LeaseState,
    Leave,
    LeaveGroups,
    LeaveOutcome,
    LiveNodes,
    MemberCount,
    Members,
    Membership,
    NextStamps,
    NoteGone,
    OldLease,
    OnlineClients,
    OnlineCount,
    OnlineUserCount,
    OnlineUsers,
    OpenLease,
    Operation,
    Reap,
    Restore,
    Restored,
    SingleCall,
    TakeDue,
    Transition,
    UserConnections,
)
from wsadapter.store.redis import (
    RECORDS_CHUNK,
    Decision,
    Script,
    decide,
    script,
)

HOUR_MS = 60 * 60 * 1000


def keys_of(store: RedisStore, client: redis.Redis) -> set[bytes]:
    prefix = store.keys.nodes.partition(":")[0]
    return set(client.scan_iter(f"{prefix}*"))


def keys_left(store: RedisStore, client: redis.Redis) -> set[bytes]:
    """All keys but those that go by themselves within the hour."""
    keys = store.keys
    memory = {keys.leaving, keys.arriving, keys.reaped, keys.forgotten}
    remembered = {key.encode() for key in memory} & keys_of(store, client)
    assert all(0 < client.pttl(key) <= HOUR_MS for key in remembered)
    return keys_of(store, client) - remembered


def fill(store: RedisStore, lease: str, connections: int, users: int) -> None:
    """Connections of so many users in turn, every seventh of none."""
    clients = tuple(
        a_client(f"{lease}-{n:05}", f"user{n % users}" if n % 7 else None, lease=lease)
        for n in range(connections)
    )
    store.run(OpenLease(lease, 1000))
    for start in range(0, connections, 500):
        assert store.run(Restore(lease, clients[start : start + 500])).state is LeaseState.HELD


def join_groups(store: RedisStore, lease: str, *groups: str, connections: int, users: int) -> None:
    """So many connections of so many users in turn in each of the groups."""
    memberships = tuple(
        Membership(f"{lease}-{n:05}", f"user{n % users}", "first", group, announced=True)
        for n in range(connections)
        for group in groups
    )
    for start in range(0, len(memberships), 500):
        assert store.run(JoinGroups(lease, memberships[start : start + 500])) is not None


def let_die(store: RedisStore, client: redis.Redis, lease: str) -> None:
    client.zadd(store.keys.nodes, {lease: 1})


class TestNothingIsLeft:
    def test_when_all_have_left(self, redis_store: RedisStore, look_into: redis.Redis) -> None:
        redis_store.run(OpenLease(A, 1000))
        redis_store.run(OpenLease(B, 1000))
        redis_store.run(Join(A, a_client("c1", serial="old"), claim=True))
        redis_store.run(Join(B, a_client("c1", serial="new"), claim=True))
        redis_store.run(Join(A, a_client("c2", None), claim=False))
        redis_store.run(Leave(A, "c1", "old"))
        redis_store.run(Leave(B, "c1", "new"))
        redis_store.run(Leave(A, "c2", "first"))
        assert keys_left(redis_store, look_into) == {redis_store.keys.nodes.encode()}
        redis_store.run(Lapse(A))
        redis_store.run(Lapse(B))
        assert keys_left(redis_store, look_into) == set()

    def test_when_leases_are_given_up(
        self, redis_store: RedisStore, look_into: redis.Redis
    ) -> None:
        fill(redis_store, A, 700, users=30)
        fill(redis_store, B, 20, users=30)
        redis_store.run(Lapse(A))
        assert redis_store.run(OnlineCount()) == 20
        assert look_into.exists(redis_store.keys.node(A)) == 0
        redis_store.run(Lapse(B))
        assert keys_left(redis_store, look_into) == set()

    @pytest.mark.parametrize(
        "question", [Reap(), OnlineUserCount(), OnlineUsers(), OnlineClients(), OpenLease(A, 0)]
    )
    def test_when_a_process_was_killed_and_somebody_notices(
        self, redis_store: RedisStore, look_into: redis.Redis, question: Operation[Any]
    ) -> None:
        fill(redis_store, A, 700, users=30)
        let_die(redis_store, look_into, A)
        redis_store.run(question)
        redis_store.run(Lapse(A))
        assert keys_left(redis_store, look_into) == set()

    def test_when_an_id_changed_hands_after_its_process_was_killed(
        self, redis_store: RedisStore, look_into: redis.Redis
    ) -> None:
        redis_store.run(OpenLease(A, 1000))
        redis_store.run(OpenLease(B, 1000))
        redis_store.run(Join(A, a_client("c1", "anna"), claim=True))
        let_die(redis_store, look_into, A)
        redis_store.run(Join(B, a_client("c1", "boris", serial="new"), claim=True))
        redis_store.run(Reap())
        assert redis_store.run(ClientOnline("c1"))
        assert look_into.exists(redis_store.keys.user("anna")) == 0
        redis_store.run(Leave(B, "c1", "new"))
        redis_store.run(Lapse(B))
        assert keys_left(redis_store, look_into) == set()

    def test_when_all_have_left_their_groups(
        self, redis_store: RedisStore, look_into: redis.Redis
    ) -> None:
        memberships = tuple(
            Membership("c1", user, "first", group, announced=True)
            for user in ("anna", None)
            for group in ("news", "chat")
        )
        for lease in (A, B):
            redis_store.run(OpenLease(lease, 1000))
            redis_store.run(JoinGroups(lease, memberships))
            redis_store.run(LeaveGroups(lease, memberships))
        assert keys_left(redis_store, look_into) == {redis_store.keys.nodes.encode()}

    @pytest.mark.parametrize("killed", [False, True], ids=["given up", "killed"])
    def test_of_groups_when_their_processes_are_gone(
        self, redis_store: RedisStore, look_into: redis.Redis, killed: bool
    ) -> None:
        for lease in (A, B):
            fill(redis_store, lease, 150, users=30)
            join_groups(redis_store, lease, "news", "chat", connections=150, users=30)
            if killed:
                let_die(redis_store, look_into, lease)
            else:
                redis_store.run(Lapse(lease))
        redis_store.run(Reap())
        assert keys_left(redis_store, look_into) == set()

    @pytest.mark.parametrize("killed", [False, True], ids=["given up", "killed"])
    def test_when_it_has_been_told(
        self, redis_store: RedisStore, look_into: redis.Redis, killed: bool
    ) -> None:
        fill(redis_store, A, 300, users=250)
        join_groups(redis_store, A, "news", connections=300, users=250)
        gone = {Transition(False, user) for user in all_users(redis_store.run)}
        left = {Transition(False, f"user{n}", group="news") for n in range(250)}
        if killed:
            let_die(redis_store, look_into, A)
        else:
            redis_store.run(Lapse(A))
        taken = take_all(redis_store.run, TakeDue(0, 1000))
        assert set(taken) == gone | left
        assert len(taken) == len(gone) + len(left)
        expected = {redis_store.keys.reaped.encode()} if killed else set()
        assert keys_of(redis_store, look_into) == expected

    def test_of_an_old_death_when_another_one_is_found(
        self, redis_store: RedisStore, look_into: redis.Redis
    ) -> None:
        reaped = redis_store.keys.reaped
        for lease in (A, B):
            redis_store.run(OpenLease(lease, 1000))
            let_die(redis_store, look_into, lease)
            redis_store.run(Reap())
            look_into.zincrby(reaped, -HOUR_MS - 1, lease)
        redis_store.run(OpenLease("c:3:z", 1000))
        let_die(redis_store, look_into, "c:3:z")
        redis_store.run(Reap())
        assert look_into.zrange(reaped, 0, -1) == [b"c:3:z"]

    def test_of_those_who_arrived_and_were_never_announced(
        self, redis_store: RedisStore, look_into: redis.Redis
    ) -> None:
        redis_store.run(OpenLease(A, 1000, replaces="a:1:before"))
        redis_store.run(Join(A, a_client(), claim=False))
        remembered = {redis_store.keys.arriving.encode(), redis_store.keys.forgotten.encode()}
        assert remembered <= keys_of(redis_store, look_into)
        assert not remembered & keys_left(redis_store, look_into)
        redis_store.run(Lapse(A))
        assert keys_of(redis_store, look_into) == {redis_store.keys.forgotten.encode()}
        assert 0 < look_into.pttl(redis_store.keys.forgotten) <= 1_000_000

    def test_after_a_reap_that_broke_off(
        self, redis_store: RedisStore, look_into: redis.Redis
    ) -> None:
        fill(redis_store, A, 1000, users=30)
        let_die(redis_store, look_into, A)
        chunks = decided_by_hand(redis_store, look_into, Reap())
        for _ in range(5):
            next(chunks)
        assert 0 < look_into.hlen(redis_store.keys.node(A)) < 1000
        redis_store.run(Reap())
        assert keys_left(redis_store, look_into) == set()

    def test_a_process_that_lives_is_never_reaped(
        self, redis_store: RedisStore, look_into: redis.Redis
    ) -> None:
        fill(redis_store, A, 10, users=3)
        keys = redis_store.keys.for_scripts()
        look_into.eval(script("reap").source, len(keys), *keys, A, "0", 500)
        assert redis_store.run(OnlineCount()) == look_into.hlen(redis_store.keys.node(A)) == 10


def decided_by_hand(store: RedisStore, client: redis.Redis, op: Operation[Any]) -> Iterator[str]:
    """Carry an operation out script by script, to look in between."""
    decision = Decision[Any](decide(op))
    keys = store.keys.for_scripts()
    while decision.call is not None:
        call = decision.call
        decision.answer(client.eval(script(call.script).source, len(keys), *keys, *call.args))
        yield call.script


class TestChunks:
    def test_a_large_node_is_reaped_bit_by_bit(
        self, redis_store: RedisStore, look_into: redis.Redis
    ) -> None:
        fill(redis_store, A, 5000, users=900)
        fill(redis_store, B, 100, users=100)
        let_die(redis_store, look_into, A)
        left, chunks = 5000, 0
        for _ in decided_by_hand(redis_store, look_into, Reap()):
            before, left = left, look_into.hlen(redis_store.keys.node(A))
            chunks += before != left
            assert before - left <= RECORDS_CHUNK
            assert look_into.zcard(redis_store.keys.clients) == left + 100
            assert redis_store.run(OnlineCount()) == 100
        assert chunks >= 10
        assert left == 0
        assert all_users(redis_store.run) == sorted({f"user{n}" for n in range(100) if n % 7})
        assert len(all_clients(redis_store.run)) == 100

    def test_memberships_are_reaped_bit_by_bit(
        self, redis_store: RedisStore, look_into: redis.Redis
    ) -> None:
        fill(redis_store, A, 700, users=200)
        join_groups(redis_store, A, "news", "chat", connections=700, users=200)
        fill(redis_store, B, 1, users=1)
        join_groups(redis_store, B, "news", connections=1, users=1)
        let_die(redis_store, look_into, A)
        keys = redis_store.keys
        left, chunks = 1400, 0
        for _ in decided_by_hand(redis_store, look_into, Reap()):
            before, left = left, look_into.hlen(keys.members(A))
            chunks += before != left
            assert before - left <= RECORDS_CHUNK
            in_groups = look_into.zcard(keys.group("news")) + look_into.zcard(keys.group("chat"))
            assert in_groups == left + 1
            assert redis_store.run(MemberCount("news")) == 1
            assert redis_store.run(MemberCount("chat")) == 0
        assert left == 0
        assert chunks >= 1400 / RECORDS_CHUNK
        assert len(all_members(redis_store.run, "news")) == 1
        assert look_into.hgetall(keys.group_counts("news")) == {B.encode(): b"1"}

    def test_a_small_node_is_reaped_bit_by_bit_as_well(
        self, redis_store: RedisStore, look_into: redis.Redis
    ) -> None:
        """Redis keeps small hashes in one piece, and HSCAN then gives all of it."""
        fill(redis_store, A, 300, users=300)
        join_groups(redis_store, A, "news", connections=300, users=300)
        encoding = look_into.object("encoding", redis_store.keys.members(A))
        assert encoding in (b"listpack", b"ziplist")  # Redis 7, Redis 6
        let_die(redis_store, look_into, A)
        keys = redis_store.keys
        left = 600
        for _ in decided_by_hand(redis_store, look_into, Reap()):
            before = left
            left = look_into.hlen(keys.members(A)) + look_into.hlen(keys.node(A))
            assert before - left <= RECORDS_CHUNK
        assert keys_left(redis_store, look_into) == set()

    def test_groups_are_joined_by_many_in_several_short_scripts(
        self, redis_store: RedisStore, look_into: redis.Redis
    ) -> None:
        redis_store.run(OpenLease(A, 1000))
        memberships = tuple(Membership(f"c{n}", None, "first", "news") for n in range(500))
        counts = [0]
        for _ in decided_by_hand(redis_store, look_into, JoinGroups(A, memberships)):
            counts.append(redis_store.run(MemberCount("news")))
        assert max(after - before for before, after in pairwise(counts)) <= RECORDS_CHUNK
        assert counts[-1] == 500

    @pytest.mark.parametrize("limit", [1, 249, 250, 251, 499, 500])
    def test_a_page_is_read_bit_by_bit(
        self, redis_store: RedisStore, look_into: redis.Redis, limit: int
    ) -> None:
        fill(redis_store, A, 520, users=100)
        join_groups(redis_store, A, "news", connections=520, users=100)
        for page in (OnlineClients(limit=limit), Members("news", limit=limit)):
            calls = len(list(decided_by_hand(redis_store, look_into, page)))
            assert calls == (1 if limit <= 250 else 2)
        clients = all_clients(redis_store.run, None, limit)
        assert len(set(clients)) == len(clients) == 520
        assert len(all_members(redis_store.run, "news", limit)) == 520

    def test_what_is_due_is_taken_bit_by_bit(
        self, redis_store: RedisStore, look_into: redis.Redis
    ) -> None:
        redis_store.run(NoteGone(tuple(f"user{n}" for n in range(1000))))
        for left in range(1000 - TAKE_SIZE, -1, -TAKE_SIZE):
            assert len(redis_store.run(TakeDue(0, 1000))) == TAKE_SIZE
            assert look_into.zcard(redis_store.keys.leaving) == left

    def test_two_can_reap_at_once(self, redis_store: RedisStore, look_into: redis.Redis) -> None:
        fill(redis_store, A, 1500, users=40)
        join_groups(redis_store, A, "news", connections=500, users=40)
        let_die(redis_store, look_into, A)
        one = decided_by_hand(redis_store, look_into, Reap())
        other = decided_by_hand(redis_store, look_into, OnlineUserCount())
        for _ in zip(one, other, strict=False):
            assert redis_store.run(OnlineCount()) == redis_store.run(MemberCount("news")) == 0
        redis_store.run(Reap())
        assert keys_left(redis_store, look_into) == set()

    def test_a_restore_of_many_is_several_short_scripts(
        self, redis_store: RedisStore, look_into: redis.Redis
    ) -> None:
        redis_store.run(OpenLease(A, 1000))
        restore = Restore(A, tuple(a_client(f"c{n}") for n in range(500)))
        counts = [0]
        for _ in decided_by_hand(redis_store, look_into, restore):
            counts.append(redis_store.run(OnlineCount()))
        assert max(after - before for before, after in pairwise(counts)) <= RECORDS_CHUNK
        assert counts[-1] == 500


def take_numbers(url: str, prefix: str, threads: int, each: int) -> list[list[int]]:
    """What a process takes whose threads do so at once, some by themselves and some together."""
    store = RedisStore(RedisPool({"address": url}), prefix=prefix)

    def of_one_thread(_: int) -> list[int]:
        taken = []
        while len(taken) < each:
            wanted = min(1 + len(taken) % 3, each - len(taken))
            taken += [stamp.sequence for stamp in store.run(NextStamps(("news",) * wanted))]
        return taken

    with ThreadPoolExecutor(threads) as pool:
        taken = list(pool.map(of_one_thread, range(threads)))
    store.pool.sync_client().close()
    return taken


class TestSequences:
    def test_processes_and_threads_never_take_the_same_number(
        self, redis_store: RedisStore, redis_server: RedisServer
    ) -> None:
        prefix = redis_store.keys.nodes.partition(":")[0]
        # A process of its own kind: one that is forked has the threads of this one on its mind.
        with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as processes:
            tasks = [
                processes.submit(take_numbers, redis_server.url, prefix, 4, 100) for _ in range(3)
            ]
            per_thread = [taken for task in tasks for taken in task.result()]
        assert all(taken == sorted(taken) for taken in per_thread)
        taken = sorted(number for numbers in per_thread for number in numbers)
        assert taken == list(range(taken[0], taken[0] + 3 * 4 * 100))

    def test_they_are_higher_after_redis_has_lost_its_memory(self, own_redis: RedisServer) -> None:
        pool = RedisPool({"address": own_redis.url})
        store = RedisStore(pool)
        last = 0
        for _ in range(20):
            taken = [stamp.sequence for stamp in store.run(NextStamps(("news",) * 1000))]
            assert taken == list(range(taken[0], taken[0] + 1000))
            assert taken[0] > last + 1
            last = taken[-1]
            own_redis.flush()
        pool.sync_client().close()

    def test_the_first_is_the_time_in_microseconds(
        self, redis_store: RedisStore, look_into: redis.Redis
    ) -> None:
        def microseconds() -> int:
            seconds, fraction = look_into.time()
            return seconds * 1_000_000 + fraction

        before = microseconds()
        [stamp] = redis_store.run(NextStamps(("news",)))
        after = microseconds()
        assert before <= stamp.sequence <= after
        assert before // 1000 <= stamp.timestamp <= after // 1000

    def test_the_key_expires_a_week_after_its_last_number(
        self, redis_store: RedisStore, look_into: redis.Redis
    ) -> None:
        week_ms = 7 * 24 * 60 * 60 * 1000
        key = redis_store.keys.sequence("news")
        for _ in range(2):  # the first one makes the key, the second finds it
            redis_store.run(NextStamps(("news",)))
            assert week_ms - 60_000 < look_into.pttl(key) <= week_ms
            look_into.pexpire(key, 100_000)
        assert keys_left(redis_store, look_into) == {key.encode()}

    def test_as_many_as_a_script_gives_are_one_round_trip(self) -> None:
        def calls(numbers: int) -> list[int]:
            decision = Decision[Any](decide(NextStamps(("news",) * numbers)))
            sizes = []
            while decision.call is not None:
                sizes.append(len(decision.call.args) - 1)
                decision.answer([0] * len(decision.call.args))
            return sizes

        assert calls(1) == [1]
        assert calls(200) == [200]
        assert calls(450) == [200, 200, 50]


class TestTransitions:
    def test_those_who_look_at_once_get_each_one_once(self, redis_store: RedisStore) -> None:
        users = [f"user{n}" for n in range(3000)]
        redis_store.run(NoteGone(tuple(users)))
        together = threading.Barrier(4)

        def take(_: int) -> list[Transition]:
            together.wait()
            return take_all(redis_store.run, TakeDue(0, 1000))

        with ThreadPoolExecutor(4) as threads:
            taken = [each for some in threads.map(take, range(4)) for each in some]
        assert sorted(taken, key=repr) == sorted((Transition(False, u) for u in users), key=repr)

    def test_a_lease_that_is_over_but_not_reaped_can_come_back(
        self, redis_store: RedisStore, look_into: redis.Redis
    ) -> None:
        redis_store.run(OpenLease(A, 1000))
        redis_store.run(Join(A, a_client("c1", "anna"), claim=False))
        redis_store.run(JoinGroups(A, (Membership("c1", "anna", "first", "news", announced=True),)))
        let_die(redis_store, look_into, A)
        assert redis_store.run(OpenLease(B, 1000, replaces=A)) is OldLease.HELD
        restored = redis_store.run(Restore(B, (a_client("c1", "anna"),)))
        assert restored == Restored(LeaseState.HELD)
        membership = Membership("c1", "anna", "first", "news", announced=True)
        assert redis_store.run(JoinGroups(B, (membership,))) == (False,)
        redis_store.run(Lapse(A))
        assert redis_store.run(MemberCount("news")) == redis_store.run(OnlineCount()) == 1
        assert redis_store.run(TakeDue(0, 1000)) == ()

    def test_it_has_come_back_in_the_middle_of_being_reaped(
        self, redis_store: RedisStore, look_into: redis.Redis
    ) -> None:
        fill(redis_store, A, 300, users=300)
        clients = tuple(all_clients(redis_store.run))
        let_die(redis_store, look_into, A)
        chunks = decided_by_hand(redis_store, look_into, Reap())
        for _ in range(3):
            next(chunks)
        assert redis_store.run(OpenLease(B, 1000, replaces=A)) is OldLease.REAPED
        assert redis_store.run(Restore(B, clients)).strangers == ()
        assert redis_store.run(TakeDue(0, 1000)) == ()
        assert redis_store.run(OnlineCount()) == 300

    def test_redis_itself_was_emptied(self, own_redis: RedisServer) -> None:
        pool = RedisPool({"address": own_redis.url})
        store = RedisStore(pool)
        fill(store, A, 10, users=5)
        clients = tuple(all_clients(store.run))
        own_redis.flush()
        assert store.run(OpenLease(B, 1000, replaces=A)) is OldLease.FORGOTTEN
        restored = store.run(Restore(B, clients))
        assert restored.strangers == tuple(f"user{n}" for n in range(5))
        newcomer = Join(B, a_client("new", "anna"), claim=False)
        assert not store.run(newcomer).came_online
        assert store.run(TakeDue(0, 1000)) == ()
        assert store.run(OnlineCount()) == 11
        pool.sync_client().close()


class TestRedisItself:
    def test_a_beat_is_one_command_however_many_are_connected(
        self, redis_store: RedisStore, look_into: redis.Redis
    ) -> None:
        def commands_of_a_beat() -> dict[str, int]:
            look_into.config_resetstat()
            redis_store.run(Beat(A, 1000))
            stats = look_into.info("commandstats")
            return {name: stat["calls"] for name, stat in stats.items() if "config" not in name}

        fill(redis_store, A, 1, users=1)
        redis_store.run(Beat(A, 1000))
        few = commands_of_a_beat()
        fill(redis_store, A, 2000, users=100)
        assert commands_of_a_beat() == few
        assert few["cmdstat_evalsha"] == 1
        assert sum(few.values()) <= 7

    def test_time_is_that_of_redis(
        self, redis_store: RedisStore, look_into: redis.Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("time.time", lambda: 0.0)

        def redis_ms() -> float:
            seconds, microseconds = look_into.time()
            return seconds * 1000 + microseconds // 1000

        before = redis_ms()
        redis_store.run(OpenLease(A, 2.5))
        ends = look_into.zscore(redis_store.keys.nodes, A)
        assert ends is not None and before <= ends - 2500 <= redis_ms()

    def test_a_script_that_redis_has_forgotten_is_loaded_again(
        self, redis_store: RedisStore, look_into: redis.Redis
    ) -> None:
        redis_store.run(OpenLease(A, 1000))
        look_into.script_flush()
        assert redis_store.run(Beat(A, 1000)) is LeaseState.HELD
        assert look_into.script_exists(script("beat").sha) == [True]
        look_into.script_flush()
        assert asyncio.run(redis_store.arun(Beat(A, 1000))) is LeaseState.HELD
        assert look_into.script_exists(script("beat").sha) == [True]

    def test_a_script_is_sent_once(self, redis_store: RedisStore, look_into: redis.Redis) -> None:
        redis_store.run(OnlineCount())
        look_into.config_resetstat()
        redis_store.run(OnlineCount())
        asyncio.run(redis_store.arun(OnlineCount()))
        assert "cmdstat_eval" not in look_into.info("commandstats")

    def test_another_prefix_is_another_store(
        self, redis_store: RedisStore, redis_pool: RedisPool
    ) -> None:
        other = RedisStore(redis_pool, prefix="{other}")
        fill(redis_store, A, 3, users=2)
        assert other.run(OnlineCount()) == 0
        assert other.run(Beat(A, 1000)) is LeaseState.LAPSED
        assert other.keys.nodes == "{other}:nodes"

    def test_the_default_prefix(self, redis_pool: RedisPool) -> None:
        assert RedisStore(redis_pool).keys.nodes == "{wsadapter}:nodes"

    def test_it_has_lost_its_memory(self, redis_store: RedisStore, look_into: redis.Redis) -> None:
        fill(redis_store, A, 40, users=5)
        clients = tuple(all_clients(redis_store.run))
        look_into.delete(*keys_of(redis_store, look_into))
        assert redis_store.run(OnlineCount()) == 0
        assert redis_store.run(Beat(A, 1000)) is LeaseState.LAPSED
        redis_store.run(OpenLease(B, 1000))
        assert redis_store.run(Restore(B, clients)).state is LeaseState.HELD
        assert redis_store.run(OnlineCount()) == 40


class TestStep:
    SINGLE: list[tuple[SingleCall[Any], Any]] = [
        (Beat(A, 1000), LeaseState.HELD),
        (OnlineCount(), 1),
        (IsOnline("anna"), True),
        (IsOnline("boris"), False),
        (UserConnections("anna"), 1),
        (ClientOnline("c1"), True),
        (ClientOnline("c2"), False),
        (FindClient("c1"), a_client(lease=A)),
        (FindClient("c2"), None),
        (MemberCount("news"), 1),
        (Leave(A, "c1", "first"), LeaveOutcome.LEFT),
    ]

    @pytest.mark.parametrize(("op", "answer"), SINGLE)
    def test_an_operation_rides_in_a_pipeline(
        self, redis_store: RedisStore, look_into: redis.Redis, op: SingleCall[Any], answer: Any
    ) -> None:
        redis_store.run(OpenLease(A, 1000))
        redis_store.run(Join(A, a_client(lease=A), claim=False))
        redis_store.run(JoinGroups(A, (Membership("c1", "anna", "first", "news"),)))
        redis_store.run(op if not isinstance(op, Leave) else Leave(A, "unknown", ""))
        step = redis_store.step(op)
        with look_into.pipeline(transaction=False) as pipeline:
            pipeline.publish("nobody", b"frame")
            pipeline.execute_command(*step.command)
            receivers, reply = pipeline.execute(raise_on_error=False)
        assert receivers == 0
        assert step.parse(reply) == answer

    def test_a_join_rides_too(self, redis_store: RedisStore, look_into: redis.Redis) -> None:
        redis_store.run(OpenLease(A, 1000))
        redis_store.run(Join(A, a_client(serial="old"), claim=True))
        step = redis_store.step(Join(A, a_client(serial="new"), claim=True))
        joined = step.parse(look_into.execute_command(*step.command))
        assert joined.outcome is JoinOutcome.REPLACED

    def test_live_nodes_ride_too(self, redis_store: RedisStore, look_into: redis.Redis) -> None:
        fill(redis_store, A, 3, users=2)
        redis_store.run(LiveNodes())
        step = redis_store.step(LiveNodes())
        [node] = step.parse(look_into.execute_command(*step.command))
        assert (node.lease, node.connections) == (A, 3)

    def test_a_script_that_redis_has_forgotten_is_told_in_the_reply(
        self, redis_store: RedisStore, look_into: redis.Redis
    ) -> None:
        step = redis_store.step(ClientOnline("c1"))
        look_into.script_flush()
        with look_into.pipeline(transaction=False) as pipeline:
            pipeline.publish("nobody", b"frame")
            pipeline.execute_command(*step.command)
            receivers, reply = pipeline.execute(raise_on_error=False)
        assert receivers == 0
        with pytest.raises(NoScriptError):
            step.parse(reply)
        assert redis_store.run(ClientOnline("c1")) is False
        assert step.parse(look_into.execute_command(*step.command)) is False

    def test_every_single_call_is_one_call(self) -> None:
        tried = {type(op) for op, _ in self.SINGLE} | {Join, LiveNodes}
        assert tried == set(SingleCall.__subclasses__())


class TestUnreachable:
    @pytest.fixture
    def nowhere(self) -> RedisStore:
        address = f"redis://somebody:hunter2@127.0.0.1:{free_port()}/0"
        return RedisStore(RedisPool({"address": address}, timeout_seconds=1))

    @pytest.mark.parametrize("verb", ["run", "arun"])
    def test_it_is_said_without_the_password(self, nowhere: RedisStore, verb: str) -> None:
        expected = pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1")
        with performing(nowhere, verb) as perform, expected as caught:
            perform(OnlineCount())
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))

    @pytest.mark.parametrize("verb", ["run", "arun"])
    def test_it_works_again_when_redis_is_back(self, own_redis: RedisServer, verb: str) -> None:
        pool = RedisPool({"address": own_redis.url}, timeout_seconds=1)
        store = RedisStore(pool)
        with performing(store, verb) as perform:
            perform(OpenLease(A, 1000))
            own_redis.stop()
            with pytest.raises(StoreUnavailable):
                perform(Beat(A, 1000))
            own_redis.start()
            assert perform(Beat(A, 1000)) is LeaseState.LAPSED
            perform(OpenLease(A, 1000))
            assert perform(Beat(A, 1000)) is LeaseState.HELD
        pool.sync_client().close()


def test_a_script_is_the_prelude_and_its_own_file() -> None:
    beat = script("beat")
    assert isinstance(beat, Script)
    assert beat.source.index("unpack(KEYS)") < beat.source.index("return 1")
    assert len(beat.sha) == 40
