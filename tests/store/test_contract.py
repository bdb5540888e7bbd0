"""What both stores promise, whichever way they are asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.store.subjects import (
    GRACE_SECONDS,
    LEASE_SECONDS,
    ODD_TEXTS,
    A,
    B,
    C,
    Subject,
    a_client,
    all_clients,
    all_users,
    join,
    let_die,
    open_leases,
)
from wsadapter.store.operations import (
    SEQUENCE_SECONDS,
    Beat,
    ClientOnline,
    FindClient,
    IsOnline,
    Join,
    JoinAll,
    JoinOutcome,
    JoinResult,
    Lapse,
    LeaseState,
    Leave,
    LeaveAll,
    LeaveOutcome,
    LiveNodes,
    NextStamps,
    OnlineClients,
    OnlineCount,
    OnlineUserCount,
    OnlineUsers,
    Reap,
    Restore,
    TakeDue,
    UserConnections,
)
from wsadapter.wire.stamps import Stamp

CAME_ONLINE = JoinResult(JoinOutcome.JOINED, came_online=True)
JOINED = JoinResult(JoinOutcome.JOINED)
TAKEN = JoinResult(JoinOutcome.TAKEN)


class TestLease:
    def test_a_beat_renews_it(self, store: Subject) -> None:
        open_leases(store, A)
        join(store, A, "anna")
        let_die(store, A)
        let_die(store, A)
        assert store(OnlineCount()) == 1

    def test_it_ends_without_a_beat(self, store: Subject) -> None:
        open_leases(store, A)
        store.pass_time(LEASE_SECONDS * 0.9)
        assert store(Beat(A, LEASE_SECONDS)) is LeaseState.HELD
        store.pass_time(LEASE_SECONDS + 1)
        assert store(Beat(A, LEASE_SECONDS)) is LeaseState.LAPSED

    def test_a_beat_lasts_as_long_as_it_says(self, store: Subject) -> None:
        open_leases(store, A)
        store(Beat(A, 100))
        store.pass_time(99)
        assert store(Beat(A, 0.5)) is LeaseState.HELD
        store.pass_time(1)
        assert store(Beat(A, 100)) is LeaseState.LAPSED

    def test_a_beat_does_not_revive_it(self, store: Subject) -> None:
        open_leases(store, A)
        let_die(store)
        assert store(Beat(A, LEASE_SECONDS)) is LeaseState.LAPSED
        assert store(Beat(A, LEASE_SECONDS)) is LeaseState.LAPSED
        assert store(Join(A, a_client(), claim=False)).outcome is JoinOutcome.LAPSED

    def test_an_unknown_one_is_lapsed(self, store: Subject) -> None:
        assert store(Beat(A, LEASE_SECONDS)) is LeaseState.LAPSED
        assert store(Join(A, a_client(), claim=True)).outcome is JoinOutcome.LAPSED
        assert store(Leave(A, "c1", "first")) is LeaveOutcome.LAPSED
        assert store(Restore(A, (a_client(),))).state is LeaseState.LAPSED
        assert store(Restore(A, ())).state is LeaseState.LAPSED
        assert store(OnlineCount()) == 0
        assert store(FindClient("c1")) is None

    def test_opening_a_live_one_again_renews_it(self, store: Subject) -> None:
        open_leases(store, A)
        join(store, A, "anna")
        store.pass_time(LEASE_SECONDS * 0.9)
        open_leases(store, A)
        store.pass_time(LEASE_SECONDS * 0.9)
        assert store(OnlineCount()) == 1

    def test_opening_a_dead_one_again_starts_empty(self, store: Subject) -> None:
        open_leases(store, A)
        join(store, A, "anna", "boris")
        let_die(store)
        open_leases(store, A)
        assert store(OnlineCount()) == 0
        assert store(OnlineUserCount()) == 0
        assert all_clients(store) == []
        assert not store(ClientOnline(f"{A}-0"))

    def test_given_up_its_connections_are_gone_and_others_are_not(self, store: Subject) -> None:
        open_leases(store, A, B)
        join(store, A, "anna", "boris")
        join(store, B, "boris", "clara")
        store(Lapse(A))
        assert store(Beat(A, LEASE_SECONDS)) is LeaseState.LAPSED
        assert store(OnlineCount()) == 2
        assert all_users(store) == ["boris", "clara"]
        assert store(UserConnections("boris")) == 1

    def test_a_beat_tells_that_there_is_something_to_look_after(self, store: Subject) -> None:
        overdue = Beat(A, LEASE_SECONDS, overdue_seconds=GRACE_SECONDS * 1.2)
        open_leases(store, A)
        join(store, A, "anna")
        store(Leave(A, f"{A}-0", "first"))
        store.pass_time(GRACE_SECONDS * 1.1)
        assert store(overdue) is LeaseState.HELD
        store.pass_time(GRACE_SECONDS * 0.2)
        assert store(overdue) is LeaseState.BUSY
        assert store(Beat(A, LEASE_SECONDS)) is LeaseState.HELD  # it looks for none
        store(TakeDue(GRACE_SECONDS, LEASE_SECONDS))
        assert store(overdue) is LeaseState.HELD

    def test_giving_up_an_unknown_one_changes_nothing(self, store: Subject) -> None:
        open_leases(store, A)
        join(store, A, "anna")
        store(Lapse(B))
        assert store(OnlineCount()) == 1
        assert store(Beat(B, LEASE_SECONDS)) is LeaseState.LAPSED


class TestLiveNodes:
    def test_none(self, store: Subject) -> None:
        assert store(LiveNodes()) == ()

    def test_each_with_its_connections_and_what_is_left_of_it(self, store: Subject) -> None:
        open_leases(store, B)
        store.pass_time(LEASE_SECONDS / 3)
        open_leases(store, C, A)
        join(store, A, "anna", "anna", None)
        join(store, B, "boris")
        nodes = store(LiveNodes())
        assert [(node.lease, node.connections) for node in nodes] == [(A, 3), (B, 1), (C, 0)]
        left = [node.ends_in_seconds for node in nodes]
        expected = [LEASE_SECONDS, LEASE_SECONDS * 2 / 3, LEASE_SECONDS]
        assert left == pytest.approx(expected, rel=0.1)
        store(Leave(A, f"{A}-0", "first"))
        assert store(LiveNodes())[0].connections == 2

    def test_one_that_has_ended_is_none(self, store: Subject) -> None:
        open_leases(store, A, B, C)
        join(store, A, "anna")
        let_die(store, B, C)
        assert [node.lease for node in store(LiveNodes())] == [B, C]
        store(Lapse(B))
        assert [node.lease for node in store(LiveNodes())] == [C]


class TestJoin:
    def test_the_connection_is_known_everywhere(self, store: Subject) -> None:
        open_leases(store, A)
        client = a_client("c1", "anna", lease=A)
        assert store(Join(A, client, claim=False)).outcome is JoinOutcome.JOINED
        assert store(OnlineCount()) == 1
        assert store(OnlineUserCount()) == 1
        assert store(IsOnline("anna"))
        assert store(UserConnections("anna")) == 1
        assert store(ClientOnline("c1"))
        assert store(FindClient("c1")) == client
        assert store(OnlineUsers()).items == ("anna",)
        assert store(OnlineClients()).items == (client,)
        assert store(OnlineClients("anna")).items == (client,)

    def test_an_anonymous_one_counts_as_a_connection_of_no_user(self, store: Subject) -> None:
        open_leases(store, A)
        client = replace(a_client("c1", None, lease=A), address=None)
        store(Join(A, client, claim=False))
        assert store(OnlineCount()) == 1
        assert store(OnlineUserCount()) == 0
        assert store(OnlineUsers()).items == ()
        assert store(FindClient("c1")) == client
        assert store(OnlineClients()).items == (client,)
        assert not store(IsOnline(""))
        assert store(OnlineClients("")).items == ()

    def test_under_a_dead_lease_nothing_is_written(self, store: Subject) -> None:
        open_leases(store, A, B)
        let_die(store, B)
        assert store(Join(A, a_client(), claim=True)).outcome is JoinOutcome.LAPSED
        assert store(OnlineCount()) == 0
        assert store(Join(B, a_client(user_id="boris"), claim=True)).outcome is JoinOutcome.JOINED

    def test_twice_with_one_serial_is_once(self, store: Subject) -> None:
        open_leases(store, A)
        for claim in (False, True, False):
            assert store(Join(A, a_client(), claim)).outcome is JoinOutcome.JOINED
        assert store(OnlineCount()) == 1
        assert store(UserConnections("anna")) == 1
        assert store(Leave(A, "c1", "first")) is LeaveOutcome.LEFT
        assert not store(IsOnline("anna"))

    @pytest.mark.parametrize("user", ["anna", None])
    @pytest.mark.parametrize("new_lease", [A, B], ids=["same node", "another node"])
    def test_a_newcomer_of_the_same_user_replaces_the_old(
        self, store: Subject, user: str | None, new_lease: str
    ) -> None:
        open_leases(store, A, B)
        old = a_client("c1", user, serial="old", lease=A)
        new = a_client("c1", user, serial="new", lease=new_lease)
        assert store(Join(A, old, claim=True)).outcome is JoinOutcome.JOINED
        assert store(Join(new_lease, new, claim=True)) == JoinResult(JoinOutcome.REPLACED, old)
        assert store(OnlineCount()) == 1
        assert all_clients(store) == [new]
        assert store(FindClient("c1")) == new
        assert store(UserConnections("anna")) == (1 if user else 0)

    @pytest.mark.parametrize("new_lease", [A, B], ids=["same node", "another node"])
    def test_the_late_clean_up_of_the_replaced_changes_nothing(
        self, store: Subject, new_lease: str
    ) -> None:
        open_leases(store, A, B)
        new = a_client(serial="new", lease=new_lease)
        store(Join(A, a_client(serial="old"), claim=True))
        store(Join(new_lease, new, claim=True))
        assert store(Leave(A, "c1", "old")) is LeaveOutcome.GONE
        assert all_clients(store) == [new]
        assert store(OnlineCount()) == store(UserConnections("anna")) == 1
        store(Lapse(A))
        assert store(ClientOnline("c1")) == (new_lease == B)

    @pytest.mark.parametrize(
        ("holder", "newcomer"), [("anna", "boris"), ("anna", None), (None, "anna"), (None, "")]
    )
    def test_another_users_id_is_taken(
        self, store: Subject, holder: str | None, newcomer: str | None
    ) -> None:
        open_leases(store, A, B)
        held = a_client("c1", holder, lease=A)
        store(Join(A, held, claim=True))
        for lease in (A, B):
            assert store(Join(lease, a_client("c1", newcomer, serial="new"), claim=True)) == TAKEN
        assert all_clients(store) == [held]
        assert store(OnlineCount()) == 1

    def test_an_id_that_was_made_can_be_claimed_by_nobody_else(self, store: Subject) -> None:
        open_leases(store, A, B)
        held = a_client("made", "anna", lease=A)
        store(Join(A, held, claim=False))
        assert store(Join(B, a_client("made", "boris", serial="new"), claim=True)) == TAKEN
        assert store(FindClient("made")) == held

    def test_without_a_claim_the_holder_keeps_its_id(self, store: Subject) -> None:
        open_leases(store, A, B)
        held = a_client("c1", "anna", lease=A)
        store(Join(A, held, claim=True))
        assert store(Join(B, a_client("c1", "anna", serial="new"), claim=False)) == TAKEN
        assert all_clients(store) == [held]

    def test_a_holder_on_a_dead_lease_is_gone(self, store: Subject) -> None:
        open_leases(store, A, B)
        store(Join(A, a_client("c1", "anna"), claim=True))
        let_die(store, B)
        new = a_client("c1", "boris", serial="new", lease=B)
        assert store(Join(B, new, claim=True)).outcome is JoinOutcome.JOINED
        assert all_clients(store) == [new]
        assert all_users(store) == ["boris"]
        store(Reap())
        assert store(FindClient("c1")) == new

    def test_an_id_is_free_when_its_holder_has_left(self, store: Subject) -> None:
        open_leases(store, A, B)
        store(Join(A, a_client("c1", "anna"), claim=True))
        store(Leave(A, "c1", "first"))
        assert store(Join(B, a_client("c1", "boris"), claim=True)).outcome is JoinOutcome.JOINED


class TestLeave:
    def test_the_connection_is_gone_everywhere(self, store: Subject) -> None:
        open_leases(store, A)
        store(Join(A, a_client(), claim=True))
        assert store(Leave(A, "c1", "first")) is LeaveOutcome.LEFT
        assert store(OnlineCount()) == 0
        assert store(OnlineUserCount()) == 0
        assert store(UserConnections("anna")) == 0
        assert not store(IsOnline("anna"))
        assert not store(ClientOnline("c1"))
        assert store(FindClient("c1")) is None
        assert all_users(store) == []
        assert all_clients(store) == []

    def test_a_user_is_online_until_the_last_connection_leaves(self, store: Subject) -> None:
        open_leases(store, A, B)
        join(store, A, "anna", "anna")
        join(store, B, "anna")
        for lease, client_id in ((A, f"{A}-0"), (B, f"{B}-0")):
            store(Leave(lease, client_id, "first"))
            assert store(IsOnline("anna"))
            assert all_users(store) == ["anna"]
        store(Leave(A, f"{A}-1", "first"))
        assert not store(IsOnline("anna"))
        assert all_users(store) == []

    def test_what_is_not_there_is_gone(self, store: Subject) -> None:
        open_leases(store, A, B)
        store(Join(A, a_client(), claim=False))
        assert store(Leave(A, "unknown", "first")) is LeaveOutcome.GONE
        assert store(Leave(A, "c1", "other")) is LeaveOutcome.GONE
        assert store(Leave(B, "c1", "first")) is LeaveOutcome.GONE
        assert store(OnlineCount()) == 1
        assert store(Leave(A, "c1", "first")) is LeaveOutcome.LEFT
        assert store(Leave(A, "c1", "first")) is LeaveOutcome.GONE


class TestTogether:
    def test_many_join_as_if_one_after_another(self, store: Subject) -> None:
        open_leases(store, A, B)
        old = a_client("chosen", "anna", serial="old", lease=A)
        store(Join(A, old, claim=True))
        results = store(
            JoinAll(
                B,
                (
                    (a_client("new", "boris"), False),
                    (a_client("chosen", "boris", serial="x"), True),
                    (a_client("chosen", "anna", serial="new"), True),
                    (a_client("chosen", "anna", serial="new"), True),
                    (a_client("anonymous", None), False),
                ),
            )
        )
        replaced = JoinResult(JoinOutcome.REPLACED, old)
        assert results == (CAME_ONLINE, TAKEN, replaced, JOINED, JOINED)
        assert store(OnlineCount()) == 3
        assert store(UserConnections("anna")) == store(UserConnections("boris")) == 1
        assert {client.lease for client in all_clients(store)} == {B}

    def test_two_of_a_batch_can_want_the_same_id(self, store: Subject) -> None:
        open_leases(store, A)
        first = a_client("chosen", "anna", serial="first", lease=A)
        second = a_client("chosen", "anna", serial="second", lease=A)
        other = a_client("chosen", "boris", serial="third", lease=A)
        results = store(JoinAll(A, ((first, True), (second, True), (other, True))))
        assert results == (CAME_ONLINE, JoinResult(JoinOutcome.REPLACED, first), TAKEN)
        assert all_clients(store) == [second]
        assert store(OnlineCount()) == store(UserConnections("anna")) == 1

    def test_the_first_ones_open_the_lease(self, store: Subject) -> None:
        newcomers = ((a_client("c1"), False), (a_client("c2"), False))
        assert store(JoinAll(A, newcomers, opens_for=LEASE_SECONDS)) == (CAME_ONLINE, JOINED)
        assert store(OnlineCount()) == 2
        store.pass_time(LEASE_SECONDS + 1)
        assert store(OnlineCount()) == 0

    def test_a_lease_that_is_open_is_not_renewed(self, store: Subject) -> None:
        open_leases(store, A)
        store(JoinAll(A, ((a_client(), False),), opens_for=LEASE_SECONDS * 3))
        store.pass_time(LEASE_SECONDS * 1.1)
        assert store(Beat(A, LEASE_SECONDS)) is LeaseState.LAPSED

    def test_a_lease_that_is_opened_inherits_nothing(self, store: Subject) -> None:
        open_leases(store, A)
        join(store, A, "anna", "boris")
        let_die(store)
        newcomers = ((a_client("c1", "clara"), False),)
        assert store(JoinAll(A, newcomers, LEASE_SECONDS)) == (CAME_ONLINE,)
        assert all_users(store) == ["clara"]

    def test_without_a_lease_nobody_joins_or_leaves(self, store: Subject) -> None:
        newcomers = ((a_client("c1"), False), (a_client("c2"), True))
        lapsed = JoinResult(JoinOutcome.LAPSED)
        assert store(JoinAll(A, newcomers)) == (lapsed, lapsed)
        gone = (LeaveOutcome.LAPSED, LeaveOutcome.LAPSED)
        assert store(LeaveAll(A, (("c1", "first"), ("c2", "first")))) == gone
        assert store(OnlineCount()) == 0

    def test_many_leave_as_if_one_after_another(self, store: Subject) -> None:
        open_leases(store, A)
        for number, user in enumerate(["anna", "anna", None, "boris"]):
            store(Join(A, a_client(f"c{number}", user), claim=False))
        leavers = (("c0", "first"), ("c0", "first"), ("c1", "another"), ("c2", "first"), ("x", ""))
        left, gone = LeaveOutcome.LEFT, LeaveOutcome.GONE
        assert store(LeaveAll(A, leavers)) == (left, gone, gone, left, gone)
        assert [client.client_id for client in all_clients(store)] == ["c1", "c3"]
        assert store(UserConnections("anna")) == 1


class TestRestore:
    def test_everything_is_back_under_the_new_lease(self, store: Subject) -> None:
        open_leases(store, A)
        join(store, A, "anna", "boris", "anna", None)
        clients = tuple(all_clients(store))
        let_die(store)
        open_leases(store, B)
        assert store(OnlineCount()) == 0
        assert store(Restore(B, clients)).state is LeaseState.HELD
        assert all_clients(store) == [replace(client, lease=B) for client in clients]
        assert store(OnlineCount()) == 4
        assert store(UserConnections("anna")) == 2
        assert all_users(store) == ["anna", "boris"]

    def test_twice_is_once(self, store: Subject) -> None:
        open_leases(store, A)
        clients = (a_client("c1"), a_client("c2"))
        for _ in range(3):
            assert store(Restore(A, clients)).state is LeaseState.HELD
        assert store(OnlineCount()) == store(UserConnections("anna")) == 2
        store(Leave(A, "c1", "first"))
        store(Leave(A, "c2", "first"))
        assert not store(IsOnline("anna"))

    def test_as_many_as_are_allowed(self, store: Subject) -> None:
        open_leases(store, A)
        clients = tuple(a_client(f"c{n:03}", f"user{n % 7}", lease=A) for n in range(500))
        store(Restore(A, clients))
        assert store(OnlineCount()) == 500
        assert store(OnlineUserCount()) == 7
        assert sorted(all_clients(store), key=lambda client: client.client_id) == list(clients)

    def test_an_id_that_another_connection_has_taken_stays_with_it(self, store: Subject) -> None:
        open_leases(store, A, B)
        store(Join(A, a_client("c1", "anna", serial="old"), claim=True))
        let_die(store, B)
        new = a_client("c1", "boris", serial="new", lease=B)
        store(Join(B, new, claim=True))
        open_leases(store, C)
        others = a_client("c2", "clara", lease=C)
        restored = Restore(C, (a_client("c1", "anna", serial="old"), others))
        assert store(restored).state is LeaseState.HELD
        assert all_clients(store) == [new, others]
        assert not store(IsOnline("anna"))

    def test_a_connection_moves_from_a_lease_that_still_lives(self, store: Subject) -> None:
        open_leases(store, A, B)
        store(Join(A, a_client(lease=A), claim=False))
        store(Restore(B, (a_client(lease=A),)))
        assert all_clients(store) == [a_client(lease=B)]
        assert store(OnlineCount()) == store(UserConnections("anna")) == 1
        store(Lapse(A))
        assert store(ClientOnline("c1"))


class TestCounting:
    def test_an_empty_store(self, store: Subject) -> None:
        assert store(OnlineCount()) == 0
        assert store(OnlineUserCount()) == 0
        assert store(UserConnections("anna")) == 0
        assert not store(IsOnline("anna"))
        assert not store(ClientOnline("c1"))
        assert store(FindClient("c1")) is None
        assert store(OnlineUsers()).next is None
        assert all_clients(store) == []

    def test_over_all_processes(self, store: Subject) -> None:
        open_leases(store, A, B, C)
        join(store, A, "anna", "anna", None)
        join(store, B, "anna", "boris")
        assert store(OnlineCount()) == 5
        assert store(OnlineUserCount()) == 2
        assert store(UserConnections("anna")) == 3

    @pytest.mark.parametrize("reaped", [False, True], ids=["not reaped", "reaped"])
    def test_right_again_when_a_process_has_died(self, store: Subject, reaped: bool) -> None:
        open_leases(store, A, B)
        join(store, A, "anna", "boris", None)
        join(store, B, "boris", "clara")
        let_die(store, B)
        if reaped:
            store(Reap())
        assert store(OnlineCount()) == 2
        assert store(UserConnections("boris")) == 1
        assert not store(IsOnline("anna"))
        assert store(IsOnline("boris"))
        assert not store(ClientOnline(f"{A}-1"))
        assert store(FindClient(f"{A}-1")) is None
        assert store(OnlineUserCount()) == 2
        assert all_users(store) == ["boris", "clara"]
        assert [client.user_id for client in all_clients(store)] == ["boris", "clara"]

    @pytest.mark.parametrize(
        "question", [OnlineUserCount(), OnlineUsers(), OnlineClients()], ids=repr
    )
    def test_lists_are_right_whichever_is_asked_first(
        self, store: Subject, question: OnlineUserCount | OnlineUsers | OnlineClients
    ) -> None:
        open_leases(store, A, B)
        join(store, A, "anna")
        join(store, B, "boris")
        let_die(store, B)
        answer = store(question)
        count = answer if isinstance(answer, int) else len(answer.items)
        assert count == 1


class TestOddTexts:
    @pytest.mark.parametrize("user", ODD_TEXTS, ids=ascii)
    def test_any_text_is_a_user(self, store: Subject, user: str) -> None:
        open_leases(store, A)
        client = a_client("c1", user, lease=A)
        store(Join(A, client, claim=True))
        store(Join(A, a_client("c2", user + "2"), claim=True))
        assert store(IsOnline(user))
        assert store(UserConnections(user)) == 1
        assert store(FindClient("c1")) == client
        assert user in all_users(store, limit=1)
        assert all_clients(store, user, limit=1) == [client]
        store(Leave(A, "c1", "first"))
        assert not store(IsOnline(user))

    def test_all_of_them_together(self, store: Subject) -> None:
        open_leases(store, A)
        join(store, A, *ODD_TEXTS)
        assert all_users(store, limit=3) == sorted(ODD_TEXTS)
        for user in ODD_TEXTS:
            assert [client.user_id for client in all_clients(store, user)] == [user]

    def test_any_text_is_in_a_record(self, store: Subject) -> None:
        open_leases(store, A)
        client = replace(a_client(lease=A), path='/ws/"Ä🎈\x00/', serial="Ä:1", address="::1")
        store(Join(A, client, claim=False))
        assert store(FindClient("c1")) == client
        assert store(Leave(A, "c1", "Ä:1")) is LeaveOutcome.LEFT


class TestPages:
    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
    def test_users_in_order_and_once(self, store: Subject, limit: int) -> None:
        open_leases(store, A, B)
        join(store, A, "g", "c", "a", "e", "a")
        join(store, B, "b", "d", "f", "a", None)
        assert all_users(store, limit) == list("abcdefg")

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
    def test_clients_once(self, store: Subject, limit: int) -> None:
        open_leases(store, A, B)
        join(store, A, "g", "c", "a", None)
        join(store, B, None, "g", "a")
        ids = [client.client_id for client in all_clients(store, limit=limit)]
        assert len(ids) == 7
        assert set(ids) == {f"{A}-{n}" for n in range(4)} | {f"{B}-{n}" for n in range(3)}

    @pytest.mark.parametrize("limit", [1, 2, 3, 4])
    def test_clients_of_one_user(self, store: Subject, limit: int) -> None:
        open_leases(store, A, B)
        join(store, A, "a", "anna", "anna", "anna2", None)
        join(store, B, "anna", "ann", "b")
        clients = all_clients(store, "anna", limit)
        assert [client.client_id for client in clients] == [f"{A}-1", f"{A}-2", f"{B}-0"]
        assert {client.user_id for client in clients} == {"anna"}

    def test_users_who_come_and_go_meanwhile(self, store: Subject) -> None:
        open_leases(store, A, B)
        join(store, A, "a", "b", "c", "d")
        join(store, B, "a", "x")
        page = store(OnlineUsers(limit=2))
        assert page.items == ("a", "b")
        store(Leave(A, f"{A}-1", "first"))
        store(Join(B, a_client("new", "aa"), claim=False))
        let_die(store, B)
        assert page.next is not None
        assert store(OnlineUsers(page.next)).items == ("x",)
        open_leases(store, C)
        join(store, C, "a", "b", "c", "d")
        assert store(OnlineUsers(page.next)).items == ("c", "d", "x")

    def test_a_client_that_is_replaced_meanwhile_is_not_repeated(self, store: Subject) -> None:
        open_leases(store, A, B)
        for name in ("c1", "c2", "c3"):
            store(Join(A, a_client(name, serial="old"), claim=True))
        page = store(OnlineClients(limit=2))
        assert [client.client_id for client in page.items] == ["c1", "c2"]
        for name in ("c1", "c2", "c3"):
            store(Join(B, a_client(name, serial="new"), claim=True))
        rest = store(OnlineClients(cursor=page.next))
        assert [(client.client_id, client.lease) for client in rest.items] == [("c3", B)]

    def test_clients_whose_process_died_meanwhile(self, store: Subject) -> None:
        open_leases(store, A, B)
        join(store, A, *["anna"] * 5)
        join(store, B, *["boris"] * 2)
        page = store(OnlineClients(limit=3))
        let_die(store, B)
        rest = store(OnlineClients(cursor=page.next))
        assert [client.client_id for client in rest.items] == [f"{B}-0", f"{B}-1"]
        open_leases(store, C)
        store(Restore(C, page.items))
        assert store(OnlineClients(cursor=page.next)).items == rest.items
        assert len(all_clients(store)) == 5

    def test_the_last_page_says_so(self, store: Subject) -> None:
        open_leases(store, A)
        join(store, A, "a", "b")
        assert store(OnlineUsers(limit=3)).next is None
        assert store(OnlineClients(limit=3)).next is None


def numbers(store: Subject, *groups: str) -> list[int]:
    return [stamp.sequence for stamp in store(NextStamps(groups))]


class TestSequence:
    def test_numbers_rise_by_one(self, store: Subject) -> None:
        [first] = numbers(store, "news")
        assert [numbers(store, "news") for _ in range(3)] == [[first + n] for n in (1, 2, 3)]

    def test_several_are_taken_at_once(self, store: Subject) -> None:
        [first] = numbers(store, "news")
        assert numbers(store, *["news"] * 3) == [first + 1, first + 2, first + 3]
        assert numbers(store, "news") == [first + 4]

    def test_each_group_has_its_own(self, store: Subject) -> None:
        news, chat = numbers(store, "news", "chat")
        assert numbers(store, "chat", "news", "chat", "chat", "news") == [
            *(chat + 1, news + 1),
            *(chat + 2, chat + 3, news + 2),
        ]

    def test_more_than_a_script_gives_are_one_row(self, store: Subject) -> None:
        taken = numbers(store, *["news"] * 1001)
        assert taken == list(range(taken[0], taken[0] + 1001))

    def test_none_are_none(self, store: Subject) -> None:
        assert store(NextStamps(())) == ()

    @pytest.mark.parametrize("group", ODD_TEXTS)
    def test_any_text_names_a_group(self, store: Subject, group: str) -> None:
        other, first = numbers(store, "other", group)
        assert numbers(store, group, "other") == [first + 1, other + 1]

    def test_numbers_are_whole_and_exact_in_every_language(self, store: Subject) -> None:
        [stamp] = store(NextStamps(("news",)))
        assert type(stamp) is Stamp
        assert (type(stamp.sequence), type(stamp.timestamp)) == (int, int)
        assert 0 < stamp.sequence < 2**53

    def test_what_is_taken_at_once_has_one_time(self, store: Subject) -> None:
        assert len({stamp.timestamp for stamp in store(NextStamps(("news", "chat")))}) == 1

    def test_a_sequence_is_kept_for_a_week_after_its_last_number(self, store: Subject) -> None:
        [first] = numbers(store, "news")
        for n in range(1, 4):
            store.pass_time(SEQUENCE_SECONDS - 100)
            assert numbers(store, "news") == [first + n]

    def test_then_it_begins_anew_and_higher(self, store: Subject) -> None:
        [chat] = numbers(store, "chat")
        first = numbers(store, *["news"] * 5)[0]
        store.pass_time(SEQUENCE_SECONDS - 100)
        assert numbers(store, "chat") == [chat + 1]
        store.pass_time(200)
        [anew] = numbers(store, "news")
        assert anew > first + 5
        assert numbers(store, "news", "chat") == [anew + 1, chat + 2]

    def test_it_is_nobodys_presence(self, store: Subject) -> None:
        open_leases(store, A)
        join(store, A, "anna")
        numbers(store, "news", "anna", A)
        assert store(OnlineCount()) == 1
        let_die(store)
        [first] = numbers(store, "news")
        store(Reap())
        assert store(OnlineCount()) == 0
        assert numbers(store, "news") == [first + 1]
