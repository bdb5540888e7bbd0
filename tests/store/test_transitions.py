"""Who comes online and who goes: each transition is told once in the whole cluster."""

from __future__ import annotations

import pytest
import redis

from tests.store.subjects import (
    GRACE_SECONDS,
    LEASE_SECONDS,
    A,
    B,
    C,
    Subject,
    a_client,
    due,
    join,
    let_die,
    open_leases,
    take_all,
)
from wsadapter.redis_pool import RedisPool
from wsadapter.store import RedisStore
from wsadapter.store.operations import (
    Beat,
    ClientInfo,
    IsOnline,
    Join,
    JoinAll,
    JoinOutcome,
    Lapse,
    LeaseState,
    Leave,
    LeaveAll,
    NoteGone,
    OldLease,
    OpenLease,
    Reap,
    Restore,
    Restored,
    TakeDue,
    Transition,
)


def came(user: str) -> Transition:
    return Transition(True, user)


def gone(user: str) -> Transition:
    return Transition(False, user)


def comes_online(store: Subject, lease: str, client: ClientInfo) -> bool:
    return store(Join(lease, client, claim=False)).came_online


def leave(store: Subject, lease: str, *client_ids: str) -> None:
    store(LeaveAll(lease, tuple((client_id, "first") for client_id in client_ids)))


def restore(store: Subject, lease: str, *clients: ClientInfo) -> tuple[str, ...]:
    """Put connections back. Returns the strangers among their users."""
    restored = store(Restore(lease, clients))
    assert restored.state is LeaseState.HELD
    return restored.strangers


class TestComing:
    def test_a_user_comes_once_however_many_connections(self, store: Subject) -> None:
        open_leases(store, A, B)
        assert comes_online(store, A, a_client("c1", "anna"))
        assert not comes_online(store, A, a_client("c2", "anna"))
        assert not comes_online(store, B, a_client("c3", "anna"))
        assert comes_online(store, B, a_client("c4", "boris"))

    def test_a_connection_without_a_user_is_nobody(self, store: Subject) -> None:
        open_leases(store, A)
        assert not comes_online(store, A, a_client("c1", None))
        leave(store, A, "c1")
        store.pass_time(GRACE_SECONDS * 2)
        assert due(store) == set()

    def test_those_who_come_together_come_once_each(self, store: Subject) -> None:
        users = ["anna", None, "boris", "anna", "boris", None]
        clients = [a_client(f"c{n}", user) for n, user in enumerate(users)]
        results = store(JoinAll(A, tuple((each, False) for each in clients), LEASE_SECONDS))
        assert [each.came_online for each in results] == [True, False, True, False, False, False]

    def test_joining_twice_is_coming_once(self, store: Subject) -> None:
        open_leases(store, A, B)
        assert comes_online(store, A, a_client())
        assert not comes_online(store, A, a_client())
        assert not comes_online(store, B, a_client())
        store.pass_time(GRACE_SECONDS * 2)
        assert due(store) == set()

    def test_whose_id_is_taken_has_not_come(self, store: Subject) -> None:
        open_leases(store, A)
        comes_online(store, A, a_client("c1", "anna"))
        refused = store(Join(A, a_client("c1", "boris", serial="new"), claim=True))
        assert (refused.outcome, refused.came_online) == (JoinOutcome.TAKEN, False)
        assert comes_online(store, A, a_client("c2", "boris"))

    @pytest.mark.parametrize("lease", [A, B], ids=["same node", "another node"])
    def test_to_take_an_id_over_is_neither_to_come_nor_to_go(
        self, store: Subject, lease: str
    ) -> None:
        open_leases(store, A, B)
        comes_online(store, A, a_client("c1", "anna", serial="old"))
        taken_over = store(Join(lease, a_client("c1", "anna", serial="new"), claim=True))
        assert taken_over.outcome is JoinOutcome.REPLACED
        assert not taken_over.came_online
        store(Leave(A, "c1", "old"))
        store.pass_time(GRACE_SECONDS * 2)
        assert due(store) == set()


class TestGoing:
    def test_it_is_due_when_the_grace_is_over_and_given_once(self, store: Subject) -> None:
        open_leases(store, A)
        join(store, A, "anna")
        leave(store, A, f"{A}-0")
        assert not store(IsOnline("anna"))
        assert due(store) == set()
        store.pass_time(GRACE_SECONDS * 0.9)
        assert due(store) == set()
        store.pass_time(GRACE_SECONDS * 0.2)
        assert due(store) == {gone("anna")}
        assert due(store) == set()

    def test_who_is_back_before_has_neither_gone_nor_come(self, store: Subject) -> None:
        open_leases(store, A, B)
        join(store, A, "anna")
        leave(store, A, f"{A}-0")
        store.pass_time(GRACE_SECONDS * 0.9)
        assert not comes_online(store, B, a_client("new", "anna"))
        store.pass_time(GRACE_SECONDS * 2)
        assert due(store) == set()

    def test_who_is_back_later_comes_again(self, store: Subject) -> None:
        open_leases(store, A)
        for _ in range(3):
            assert comes_online(store, A, a_client())
            leave(store, A, "c1")
            store.pass_time(GRACE_SECONDS * 1.1)
            assert due(store) == {gone("anna")}

    def test_the_last_absence_counts(self, store: Subject) -> None:
        open_leases(store, A)
        for _ in range(3):
            comes_online(store, A, a_client())
            leave(store, A, "c1")
            store.pass_time(GRACE_SECONDS * 0.6)
            assert due(store) == set()
        store.pass_time(GRACE_SECONDS * 0.6)
        assert due(store) == {gone("anna")}

    def test_nobody_goes_who_is_still_somewhere(self, store: Subject) -> None:
        open_leases(store, A, B)
        join(store, A, "anna", "anna")
        join(store, B, "anna")
        leave(store, A, f"{A}-0")
        leave(store, B, f"{B}-0")
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == set()
        leave(store, A, f"{A}-1")
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == {gone("anna")}

    def test_without_a_grace_it_is_due_at_once(self, store: Subject) -> None:
        open_leases(store, A)
        join(store, A, "anna")
        leave(store, A, f"{A}-0")
        assert store(TakeDue(0, LEASE_SECONDS)) == (gone("anna"),)

    def test_a_lease_that_is_given_up_takes_its_users_along(self, store: Subject) -> None:
        open_leases(store, A, B)
        join(store, A, "anna", "boris", None)
        join(store, B, "boris")
        store(Lapse(A))
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == {gone("anna")}

    def test_a_planned_restart_is_no_storm(self, store: Subject) -> None:
        open_leases(store, A)
        users = [f"user{n}" for n in range(20)]
        join(store, A, *users)
        store(Lapse(A))
        store.pass_time(GRACE_SECONDS * 0.9)
        open_leases(store, B)
        assert not any(comes_online(store, B, a_client(user, user)) for user in users)
        store.pass_time(GRACE_SECONDS * 2)
        assert due(store) == set()

    def test_more_than_a_script_takes_are_all_given(self, store: Subject) -> None:
        open_leases(store, A)
        users = [f"user{n}" for n in range(450)]
        restore(store, A, *(a_client(user, user, lease=A) for user in users))
        store(Lapse(A))
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == set(map(gone, users))

    def test_who_has_been_noted_as_gone_late_hides_nobody(self, store: Subject) -> None:
        open_leases(store, A)
        join(store, A, "anna", "boris")
        leave(store, A, f"{A}-0", f"{A}-1")
        store.pass_time(GRACE_SECONDS * 0.6)
        store(NoteGone(("anna",)))
        store.pass_time(GRACE_SECONDS * 0.6)
        assert store(Beat(A, LEASE_SECONDS, GRACE_SECONDS)) is LeaseState.BUSY
        assert gone("boris") in due(store)


class TestTheLastToStop:
    def test_who_was_there_is_all_that_is_left_and_the_next_one_takes_each_once(
        self, redis_store: RedisStore, redis_pool: RedisPool, look_into: redis.Redis
    ) -> None:
        keys = redis_store.keys
        prefix = keys.nodes.removesuffix(":nodes")
        redis_store.run(OpenLease(A, LEASE_SECONDS))
        for number, user in enumerate(("anna", "anna", "boris", None)):
            redis_store.run(Join(A, a_client(f"c{number}", user), claim=False))
        redis_store.run(Lapse(A))
        assert list(look_into.scan_iter(f"{prefix}*")) == [keys.leaving.encode()]
        assert 3_590_000 < look_into.pttl(keys.leaving) <= 3_600_000
        next_process = RedisStore(redis_pool, prefix=prefix)
        next_process.run(OpenLease(B, LEASE_SECONDS))
        next_process.run(Join(B, a_client("c4", "boris", lease=B), claim=False))
        assert take_all(next_process.run, TakeDue(0, LEASE_SECONDS)) == [gone("anna")]
        assert take_all(next_process.run, TakeDue(0, LEASE_SECONDS)) == []
        assert not look_into.exists(keys.leaving)


class TestDeath:
    def test_a_beat_of_another_tells_of_it(self, store: Subject) -> None:
        open_leases(store, A, B)
        join(store, A, "anna")
        let_die(store, B)
        assert store(Beat(B, LEASE_SECONDS, overdue_seconds=0)) is LeaseState.BUSY
        due(store)
        assert store(Beat(B, LEASE_SECONDS, GRACE_SECONDS)) is LeaseState.HELD
        store.pass_time(GRACE_SECONDS * 1.1)
        assert store(Beat(B, LEASE_SECONDS, GRACE_SECONDS)) is LeaseState.BUSY

    def test_its_users_are_gone_a_grace_after_it_was_found(self, store: Subject) -> None:
        open_leases(store, A, B)
        join(store, A, "anna", "boris", "anna", None)
        join(store, B, "boris")
        let_die(store, B)
        assert due(store) == set()
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == {gone("anna")}
        assert due(store) == set()

    def test_who_is_back_before_has_neither_gone_nor_come(self, store: Subject) -> None:
        open_leases(store, A, B)
        join(store, A, "anna", "boris")
        let_die(store, B)
        assert not comes_online(store, B, a_client("c1", "anna"))
        due(store)
        assert not comes_online(store, B, a_client("c2", "boris"))
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == set()

    def test_a_process_that_comes_back_knows_that_its_users_were_taken_for_gone(
        self, store: Subject
    ) -> None:
        open_leases(store, A, B)
        join(store, A, "anna", "boris", "clara", None)
        join(store, B, "boris")
        let_die(store, B)
        due(store)
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == {gone("anna"), gone("clara")}
        assert store(OpenLease(C, LEASE_SECONDS, replaces=A)) is OldLease.REAPED
        users = ("clara", "anna", "boris", None, "anna")
        clients = [a_client(f"{A}-{n}", user) for n, user in enumerate(users)]
        assert restore(store, C, *clients) == ("anna", "clara")
        assert restore(store, C, *clients) == ()
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == set()

    def test_who_comes_back_with_its_process_in_time_is_no_stranger(self, store: Subject) -> None:
        open_leases(store, A, B)
        join(store, A, "anna")
        let_die(store, B)
        assert due(store) == set()
        assert store(OpenLease(C, LEASE_SECONDS, replaces=A)) is OldLease.REAPED
        assert restore(store, C, a_client(f"{A}-0", "anna")) == ()
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == set()

    def test_a_new_lease_for_one_that_lives_is_no_transition(self, store: Subject) -> None:
        open_leases(store, A)
        join(store, A, "anna", "boris")
        assert store(OpenLease(B, LEASE_SECONDS, replaces=A)) is OldLease.HELD
        assert restore(store, B, a_client(f"{A}-0", "anna")) == ()
        store(Lapse(A))
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == {gone("boris")}

    def test_a_first_lease_takes_nobodys_place(self, store: Subject) -> None:
        assert store(OpenLease(A, LEASE_SECONDS)) is OldLease.HELD

    def test_what_was_given_up_was_not_reaped(self, store: Subject) -> None:
        open_leases(store, A)
        join(store, A, "anna")
        store(Lapse(A))
        assert store(OpenLease(B, LEASE_SECONDS, replaces=A)) is not OldLease.REAPED

    def test_it_is_remembered_for_an_hour(self, store: Subject) -> None:
        open_leases(store, A)
        let_die(store)
        store(Reap())
        store.pass_time(3700)
        open_leases(store, B)
        let_die(store)
        store(Reap())
        assert store(OpenLease(C, LEASE_SECONDS, replaces=B)) is OldLease.REAPED
        assert store(OpenLease(C, LEASE_SECONDS, replaces=A)) is OldLease.FORGOTTEN


def lose_memory(store: Subject, *leases: str) -> None:
    """Processes notice it, each by a lease that it had before."""
    for lease in leases:
        replaced = OpenLease(lease, LEASE_SECONDS, replaces=f"{lease}-before")
        assert store(replaced) is OldLease.FORGOTTEN


class TestMemoryLost:
    def test_who_is_put_back_was_not_known(self, store: Subject) -> None:
        lose_memory(store, A)
        clients = (a_client("c1", "clara"), a_client("c2", "anna"), a_client("c3", None))
        assert store(Restore(A, clients)) == Restored(LeaseState.HELD, ("anna", "clara"))
        let_die(store, A)
        assert due(store) == set()

    def test_who_joins_before_another_process_has_put_them_back_has_not_come(
        self, store: Subject
    ) -> None:
        lose_memory(store, A)
        assert not comes_online(store, A, a_client("new", "anna"))
        store.pass_time(LEASE_SECONDS * 0.9)
        store(Beat(A, LEASE_SECONDS))
        lose_memory(store, B)
        assert restore(store, B, a_client("old", "anna")) == ()
        let_die(store, A, B)
        assert due(store) == set()

    def test_who_is_really_new_has_come_when_all_have_put_back_theirs(self, store: Subject) -> None:
        lose_memory(store, A)
        assert not comes_online(store, A, a_client("new", "anna"))
        store.pass_time(LEASE_SECONDS * 0.9)
        assert due(store) == set()
        assert store(Beat(A, LEASE_SECONDS)) is LeaseState.HELD
        store.pass_time(LEASE_SECONDS * 0.2)
        assert store(Beat(A, LEASE_SECONDS)) is LeaseState.BUSY
        assert due(store) == {came("anna")}
        assert due(store) == set()
        assert store(Beat(A, LEASE_SECONDS)) is LeaseState.HELD

    def test_then_who_comes_is_told_at_once_again(self, store: Subject) -> None:
        lose_memory(store, A)
        store.pass_time(LEASE_SECONDS * 0.9)
        store(Beat(A, LEASE_SECONDS))
        assert not comes_online(store, A, a_client("c1", "anna"))
        store.pass_time(LEASE_SECONDS * 0.2)
        assert comes_online(store, A, a_client("c2", "boris"))

    def test_who_comes_and_goes_meanwhile_has_done_neither(self, store: Subject) -> None:
        lose_memory(store, A)
        comes_online(store, A, a_client("new", "anna"))
        leave(store, A, "new")
        let_die(store, A)
        assert due(store) == set()

    def test_a_newcomer_survives_the_next_lease_of_its_process(self, store: Subject) -> None:
        lose_memory(store, A)
        comes_online(store, A, a_client("new", "anna"))
        assert store(OpenLease(B, LEASE_SECONDS, replaces=A)) is OldLease.HELD
        assert restore(store, B, a_client("new", "anna")) == ()
        store(Lapse(A))
        let_die(store, B)
        assert due(store) == {came("anna")}

    def test_nobody_is_gone_before_all_have_put_back_theirs(self, store: Subject) -> None:
        lose_memory(store, A)
        restore(store, A, a_client("c1", "anna"), a_client("c2", "boris"))
        leave(store, A, "c1", "c2")
        store.pass_time(LEASE_SECONDS * 0.9)
        assert due(store) == set()
        lose_memory(store, B)
        assert restore(store, B, a_client("c3", "anna")) == ()
        let_die(store, B)
        assert due(store) == {gone("boris")}

    def test_who_went_while_it_was_away_is_noted_and_told_once(self, store: Subject) -> None:
        lose_memory(store, A)
        restore(store, A, a_client("c1", "clara"))
        store(NoteGone(("anna", "boris", "clara")))
        store.pass_time(LEASE_SECONDS * 0.6)
        store(Beat(A, LEASE_SECONDS))
        lose_memory(store, B)
        restore(store, B, a_client("c2", "boris"))
        store(NoteGone(("anna",)))
        assert due(store) == set()
        let_die(store, A, B)
        assert due(store) == {gone("anna")}
        assert due(store) == set()

    def test_who_is_noted_as_gone_and_arrives_has_not_gone(self, store: Subject) -> None:
        lose_memory(store, A)
        store(NoteGone(("anna",)))
        assert not comes_online(store, A, a_client("new", "anna"))
        let_die(store, A)
        assert due(store) == set()

    def test_to_note_nobody_is_nothing(self, store: Subject) -> None:
        store(NoteGone(()))
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == set()
