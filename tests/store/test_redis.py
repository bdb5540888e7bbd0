"""What only the store in Redis promises: no key left, short scripts, a Redis that goes away."""

from __future__ import annotations

import asyncio
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
from tests.store.subjects import a_client, all_clients, all_users, performing
from wsadapter.errors import StoreUnavailable
from wsadapter.redis_pool import RedisPool
from wsadapter.store import RedisStore
from wsadapter.store.operations import (
    Beat,
    ClientOnline,
    FindClient,
    IsOnline,
    Join,
    JoinOutcome,
    Lapse,
    LeaseState,
    Leave,
    LeaveOutcome,
    NextStamps,
    OnlineClients,
    OnlineCount,
    OnlineUserCount,
    OnlineUsers,
    OpenLease,
    Operation,
    Reap,
    Restore,
    SingleCall,
    UserConnections,
)
from wsadapter.store.redis import Decision, Script, decide, script

A, B = "a:1:x", "b:2:y"


def keys_left(store: RedisStore, client: redis.Redis) -> set[bytes]:
    prefix = store.keys.nodes.partition(":")[0]
    return set(client.scan_iter(f"{prefix}*"))


def fill(store: RedisStore, lease: str, connections: int, users: int) -> None:
    """Connections of so many users in turn, every seventh of none."""
    clients = tuple(
        a_client(f"{lease}-{n:05}", f"user{n % users}" if n % 7 else None, lease=lease)
        for n in range(connections)
    )
    store.run(OpenLease(lease, 1000))
    for start in range(0, connections, 500):
        assert store.run(Restore(lease, clients[start : start + 500])) is LeaseState.HELD


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

    def test_after_a_reap_that_broke_off(
        self, redis_store: RedisStore, look_into: redis.Redis
    ) -> None:
        fill(redis_store, A, 1000, users=30)
        let_die(redis_store, look_into, A)
        chunks = decided_by_hand(redis_store, look_into, Reap())
        for _ in range(3):
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
            assert before - left <= 500
            assert look_into.zcard(redis_store.keys.clients) == left + 100
            assert redis_store.run(OnlineCount()) == 100
        assert chunks >= 10
        assert left == 0
        assert all_users(redis_store.run) == sorted({f"user{n}" for n in range(100) if n % 7})
        assert len(all_clients(redis_store.run)) == 100

    def test_two_can_reap_at_once(self, redis_store: RedisStore, look_into: redis.Redis) -> None:
        fill(redis_store, A, 1500, users=40)
        let_die(redis_store, look_into, A)
        one = decided_by_hand(redis_store, look_into, Reap())
        other = decided_by_hand(redis_store, look_into, OnlineUserCount())
        for _ in zip(one, other, strict=False):
            assert redis_store.run(OnlineCount()) == 0
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
        assert max(after - before for before, after in pairwise(counts)) <= 250
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
        assert sum(few.values()) <= 5

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
        look_into.delete(*keys_left(redis_store, look_into))
        assert redis_store.run(OnlineCount()) == 0
        assert redis_store.run(Beat(A, 1000)) is LeaseState.LAPSED
        redis_store.run(OpenLease(B, 1000))
        assert redis_store.run(Restore(B, clients)) is LeaseState.HELD
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
        (Leave(A, "c1", "first"), LeaveOutcome.LEFT),
    ]

    @pytest.mark.parametrize(("op", "answer"), SINGLE)
    def test_an_operation_rides_in_a_pipeline(
        self, redis_store: RedisStore, look_into: redis.Redis, op: SingleCall[Any], answer: Any
    ) -> None:
        redis_store.run(OpenLease(A, 1000))
        redis_store.run(Join(A, a_client(lease=A), claim=False))
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
        tried = {type(op) for op, _ in self.SINGLE} | {Join}
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
