"""Who is in a group, and who is told of who joins it and who leaves."""

from __future__ import annotations

import msgspec
import pytest

from tests.store.subjects import (
    GRACE_SECONDS,
    LEASE_SECONDS,
    ODD_TEXTS,
    A,
    B,
    C,
    Subject,
    all_members,
    due,
    join,
    let_die,
    open_leases,
)
from wsadapter.store.operations import (
    BATCH_SIZE,
    Beat,
    JoinGroups,
    Lapse,
    LeaseState,
    LeaveAll,
    LeaveGroups,
    LeaveOutcome,
    Member,
    MemberCount,
    Members,
    Membership,
    OnlineCount,
    OpenLease,
    Reap,
    Transition,
)


def a_membership(
    client_id: str = "c1",
    user_id: str | None = "anna",
    group: str = "news",
    *,
    serial: str = "first",
    info: bytes = b"null",
    announced: bool = True,
) -> Membership:
    return Membership(client_id, user_id, serial, group, info, announced)


def enter(store: Subject, lease: str, *memberships: Membership) -> list[bool]:
    """Join groups. Returns which of the memberships their groups are told of."""
    told = store(JoinGroups(lease, memberships))
    assert told is not None
    return list(told)


def quit_groups(store: Subject, lease: str, *memberships: Membership) -> None:
    assert store(LeaveGroups(lease, memberships)) is LeaveOutcome.LEFT


def left(user_id: str | None, group: str = "news", client_id: str | None = None) -> Transition:
    return Transition(False, user_id, client_id, group)


def is_empty(store: Subject, group: str = "news") -> bool:
    return store(MemberCount(group)) == 0 and all_members(store, group) == []


class TestJoining:
    def test_the_member_is_known_everywhere(self, store: Subject) -> None:
        open_leases(store, A)
        assert is_empty(store)
        enter(store, A, a_membership("c1", "anna"), a_membership("c2", None))
        assert store(MemberCount("news")) == 2
        assert all_members(store, "news") == [Member("c1", "anna", None), Member("c2", None, None)]
        assert is_empty(store, "chat")

    def test_a_group_is_told_once_of_a_user_however_many_connections(self, store: Subject) -> None:
        open_leases(store, A, B)
        assert enter(store, A, a_membership("c1")) == [True]
        assert enter(store, A, a_membership("c2")) == [False]
        assert enter(store, B, a_membership("c3")) == [False]
        assert enter(store, A, a_membership("c1", group="chat")) == [True]
        assert store(MemberCount("news")) == 3

    def test_of_those_who_join_together_as_of_one_after_another(self, store: Subject) -> None:
        open_leases(store, A)
        users = ["anna", "anna", "boris", None, None]
        memberships = [a_membership(f"c{n}", user) for n, user in enumerate(users)]
        assert enter(store, A, *memberships) == [True, False, True, True, True]
        assert enter(store, A, *memberships) == [False] * 5

    def test_without_a_user_each_connection_is_told_of(self, store: Subject) -> None:
        open_leases(store, A)
        assert enter(store, A, a_membership("c1", None)) == [True]
        assert enter(store, A, a_membership("c2", None)) == [True]
        assert enter(store, A, a_membership("c1", None)) == [False]

    def test_what_is_not_announced_is_told_to_nobody(self, store: Subject) -> None:
        open_leases(store, A)
        silent = a_membership(announced=False)
        assert enter(store, A, silent) == [False]
        assert store(MemberCount("news")) == 1
        quit_groups(store, A, silent)
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == set()

    def test_twice_is_once(self, store: Subject) -> None:
        open_leases(store, A)
        assert enter(store, A, a_membership(), a_membership()) == [True, False]
        assert enter(store, A, a_membership()) == [False]
        assert store(MemberCount("news")) == len(all_members(store, "news")) == 1
        quit_groups(store, A, a_membership())
        assert is_empty(store)

    @pytest.mark.parametrize(
        "info",
        [None, 0, "", {"name": "Анна", "roles": [1, None]}, "x" * 5000],
        ids=["none", "zero", "no text", "an object", "a long text"],
    )
    def test_its_info_is_known(self, store: Subject, info: object) -> None:
        open_leases(store, A)
        enter(store, A, a_membership(info=msgspec.json.encode(info)))
        assert all_members(store, "news") == [Member("c1", "anna", info)]

    def test_new_info_is_no_new_member(self, store: Subject) -> None:
        open_leases(store, A)
        enter(store, A, a_membership(info=b'"writing"'))
        assert enter(store, A, a_membership(info=b'"idle"')) == [False]
        assert all_members(store, "news") == [Member("c1", "anna", "idle")]
        assert store(MemberCount("news")) == 1
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == set()

    def test_without_a_lease_nothing_is_written(self, store: Subject) -> None:
        assert store(JoinGroups(A, (a_membership(),))) is None
        assert store(JoinGroups(A, ())) is None
        assert store(LeaveGroups(A, (a_membership(),))) is LeaveOutcome.LAPSED
        open_leases(store, A, B)
        enter(store, A, a_membership("c1"))
        let_die(store, B)
        assert store(JoinGroups(A, (a_membership("c2"),))) is None
        assert store(LeaveGroups(A, (a_membership("c1"),))) is LeaveOutcome.LAPSED
        assert is_empty(store)

    def test_to_join_none_is_nothing(self, store: Subject) -> None:
        open_leases(store, A)
        assert enter(store, A) == []

    def test_it_is_no_connection(self, store: Subject) -> None:
        open_leases(store, A)
        enter(store, A, a_membership())
        assert store(OnlineCount()) == 0
        join(store, A, "boris")
        assert store(MemberCount("news")) == 1


class TestLeaving:
    def test_a_group_is_told_once_when_the_grace_is_over(self, store: Subject) -> None:
        open_leases(store, A)
        enter(store, A, a_membership())
        quit_groups(store, A, a_membership())
        assert is_empty(store)
        store.pass_time(GRACE_SECONDS * 0.9)
        assert due(store) == set()
        store.pass_time(GRACE_SECONDS * 0.2)
        assert due(store) == {left("anna")}
        assert due(store) == set()
        assert enter(store, A, a_membership()) == [True]

    def test_who_is_back_before_has_neither_left_nor_joined(self, store: Subject) -> None:
        open_leases(store, A, B)
        enter(store, A, a_membership("old"))
        quit_groups(store, A, a_membership("old"))
        store.pass_time(GRACE_SECONDS * 0.9)
        assert enter(store, B, a_membership("new")) == [False]
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == set()

    def test_a_user_has_left_with_the_last_connection(self, store: Subject) -> None:
        open_leases(store, A, B)
        tabs = [a_membership("c1"), a_membership("c2")]
        enter(store, A, *tabs)
        enter(store, B, a_membership("c3"))
        quit_groups(store, A, *tabs)
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == set()
        assert store(MemberCount("news")) == 1
        quit_groups(store, B, a_membership("c3"))
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == {left("anna")}

    def test_without_a_user_each_connection_leaves_for_itself(self, store: Subject) -> None:
        open_leases(store, A)
        enter(store, A, a_membership("c1", None), a_membership("c2", None))
        quit_groups(store, A, a_membership("c1", None))
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == {left(None, client_id="c1")}

    @pytest.mark.parametrize("announced", [[True, False], [False, True]], ids=str)
    def test_of_two_who_leave_together_one_announced_is_enough(
        self, store: Subject, announced: list[bool]
    ) -> None:
        open_leases(store, A)
        both = [a_membership(f"c{n}", announced=each) for n, each in enumerate(announced)]
        enter(store, A, *both)
        quit_groups(store, A, *both)
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == {left("anna")}

    def test_one_group_is_not_another(self, store: Subject) -> None:
        open_leases(store, A)
        news, chat = a_membership(group="news"), a_membership(group="chat")
        enter(store, A, news, chat)
        quit_groups(store, A, news)
        assert store(MemberCount("chat")) == 1
        assert is_empty(store, "news")
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == {left("anna", "news")}

    def test_to_leave_a_group_is_not_to_go_offline(self, store: Subject) -> None:
        open_leases(store, A)
        join(store, A, "anna", "boris")
        in_groups = [a_membership(f"{A}-0", "anna"), a_membership(f"{A}-1", "boris")]
        enter(store, A, *in_groups)
        quit_groups(store, A, *in_groups)
        store(LeaveAll(A, ((f"{A}-0", "first"),)))
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == {left("anna"), left("boris"), Transition(False, "anna")}

    def test_what_is_not_there_changes_nothing(self, store: Subject) -> None:
        open_leases(store, A, B)
        enter(store, A, a_membership())
        quit_groups(store, A, a_membership("c2"), a_membership(group="chat"))
        quit_groups(store, B, a_membership())
        assert store(MemberCount("news")) == 1
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == set()

    def test_twice_is_once(self, store: Subject) -> None:
        open_leases(store, A)
        enter(store, A, a_membership("c1"), a_membership("c2", "boris"))
        quit_groups(store, A, a_membership("c1"), a_membership("c1"))
        quit_groups(store, A, a_membership("c1"))
        assert store(MemberCount("news")) == 1


class TestIdsThatChangeHands:
    def test_the_late_clean_up_of_the_old_leaves_the_newcomer_in(self, store: Subject) -> None:
        open_leases(store, A)
        enter(store, A, a_membership(serial="old"))
        assert enter(store, A, a_membership(serial="new")) == [False]
        quit_groups(store, A, a_membership(serial="old"))
        assert store(MemberCount("news")) == 1
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == set()
        quit_groups(store, A, a_membership(serial="new"))
        assert is_empty(store)

    @pytest.mark.parametrize(("old", "new"), [("anna", "boris"), ("anna", None), (None, "boris")])
    def test_to_another_user(self, store: Subject, old: str | None, new: str | None) -> None:
        open_leases(store, A)
        enter(store, A, a_membership(user_id=old, serial="old"))
        assert enter(store, A, a_membership(user_id=new, serial="new")) == [True]
        assert all_members(store, "news") == [Member("c1", new, None)]
        assert store(MemberCount("news")) == 1
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == {left(old, client_id="c1" if old is None else None)}

    def test_to_another_process(self, store: Subject) -> None:
        open_leases(store, A, B)
        enter(store, A, a_membership(serial="old", info=b"1"))
        assert enter(store, B, a_membership(serial="new", info=b"2")) == [False]
        quit_groups(store, A, a_membership(serial="old"))
        assert all_members(store, "news") == [Member("c1", "anna", 2)]
        assert store(MemberCount("news")) == 1
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == set()


class TestDeath:
    def test_counts_are_right_before_anybody_has_reaped(self, store: Subject) -> None:
        open_leases(store, A, B)
        enter(store, A, a_membership("c1", "anna"), a_membership("c2", "boris"))
        enter(store, B, a_membership("c3", "boris"))
        let_die(store, B)
        assert store(MemberCount("news")) == 1
        assert all_members(store, "news") == [Member("c3", "boris", None)]
        assert store(MemberCount("news")) == 1

    def test_the_groups_are_told_of_those_who_were_only_there(self, store: Subject) -> None:
        open_leases(store, A, B)
        join(store, A, "anna")
        enter(
            store,
            A,
            a_membership(f"{A}-0", "anna"),
            a_membership(f"{A}-0", "anna", "chat"),
            a_membership("c2", "boris"),
            a_membership("c3", None),
            a_membership("c4", "clara", announced=False),
        )
        enter(store, B, a_membership("c5", "boris"))
        let_die(store, B)
        assert due(store) == set()
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == {
            Transition(False, "anna"),
            left("anna", "news"),
            left("anna", "chat"),
            left(None, client_id="c3"),
        }

    def test_who_is_back_in_time_has_neither_left_nor_joined(self, store: Subject) -> None:
        open_leases(store, A, B)
        enter(store, A, a_membership("c1", "anna"), a_membership("c2", "boris"))
        let_die(store, B)
        assert enter(store, B, a_membership("c1", "anna")) == [False]
        store(Reap())
        assert enter(store, B, a_membership("c2", "boris")) == [False]
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == set()
        assert store(MemberCount("news")) == 2

    def test_who_comes_back_later_joins_again(self, store: Subject) -> None:
        open_leases(store, A, B)
        memberships = [a_membership("c1", "anna"), a_membership("c2", "boris")]
        enter(store, A, *memberships)
        enter(store, B, a_membership("c3", "boris"))
        let_die(store, B)
        due(store)
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == {left("anna")}
        store(OpenLease(C, LEASE_SECONDS, replaces=A))
        assert enter(store, C, *memberships) == [True, False]

    def test_a_lease_that_is_given_up_takes_its_memberships_along(self, store: Subject) -> None:
        open_leases(store, A, B)
        enter(store, A, a_membership("c1", "anna"), a_membership("c2", "boris"))
        enter(store, B, a_membership("c3", "boris"))
        store(Lapse(A))
        assert all_members(store, "news") == [Member("c3", "boris", None)]
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == {left("anna")}

    def test_a_lease_that_is_opened_anew_inherits_none(self, store: Subject) -> None:
        open_leases(store, A)
        enter(store, A, a_membership())
        let_die(store)
        open_leases(store, A)
        assert is_empty(store)

    def test_after_a_loss_of_memory_nobody_has_left_before_all_are_back(
        self, store: Subject
    ) -> None:
        store(OpenLease(A, LEASE_SECONDS, replaces="a:1:before"))
        members = [a_membership("c1", "anna"), a_membership("c2", "boris")]
        enter(store, A, *members)
        quit_groups(store, A, *members)
        store.pass_time(LEASE_SECONDS * 0.9)
        assert due(store) == set()
        store(OpenLease(B, LEASE_SECONDS, replaces="b:2:before"))
        enter(store, B, a_membership("c3", "anna"))
        let_die(store, B)
        assert due(store) == {left("boris")}


class TestPages:
    @pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 8])
    def test_members_in_order_and_once(self, store: Subject, limit: int) -> None:
        open_leases(store, A, B)
        of_a = [("c2", "clara"), ("c1", "anna"), ("c9", None), ("c5", "anna")]
        of_b = [("c3", "anna"), ("c8", None), ("c4", "boris")]
        for lease, some in ((A, of_a), (B, of_b)):
            enter(store, lease, *(a_membership(client_id, user) for client_id, user in some))
        enter(store, A, a_membership("c6", "elsewhere", "new"), a_membership("c7", "x", "news2"))
        assert [(each.user_id, each.client_id) for each in all_members(store, "news", limit)] == [
            *(("anna", "c1"), ("anna", "c3"), ("anna", "c5")),
            *(("boris", "c4"), ("clara", "c2")),
            *((None, "c8"), (None, "c9")),
        ]

    def test_members_who_come_and_go_meanwhile(self, store: Subject) -> None:
        open_leases(store, A, B)
        memberships = [a_membership(f"c{n}", user) for n, user in enumerate("abcdef")]
        enter(store, A, *memberships[::2])
        enter(store, B, *memberships[1::2])
        page = store(Members("news", limit=3))
        assert [each.user_id for each in page.items] == ["a", "b", "c"]
        quit_groups(store, A, *memberships[2:5:2])
        enter(store, A, a_membership("c8", "bb"), a_membership("c9", "e2"))
        rest = store(Members("news", page.next))
        assert [each.user_id for each in rest.items] == ["d", "e2", "f"]
        let_die(store, A)
        assert [each.user_id for each in store(Members("news", page.next)).items] == ["e2"]

    def test_the_last_page_says_so(self, store: Subject) -> None:
        open_leases(store, A)
        enter(store, A, a_membership("c1"), a_membership("c2"))
        assert store(Members("news", limit=3)).next is None
        assert store(Members("news", limit=2)).next is not None


class TestMany:
    def test_a_connection_in_a_thousand_groups(self, store: Subject) -> None:
        open_leases(store, A)
        memberships = [a_membership(group=f"group {n}") for n in range(1000)]
        assert enter(store, A, *memberships[:500]) == [True] * 500
        assert enter(store, A, *memberships[500:]) == [True] * 500
        assert [store(MemberCount(f"group {n}")) for n in (0, 499, 500, 999, 1000)] == [1] * 4 + [0]
        for start in range(0, 1000, BATCH_SIZE):
            quit_groups(store, A, *memberships[start : start + BATCH_SIZE])
        assert all(is_empty(store, f"group {n}") for n in range(0, 1000, 99))
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == {left("anna", f"group {n}") for n in range(1000)}

    def test_a_group_of_a_thousand_connections(self, store: Subject) -> None:
        open_leases(store, A, B)
        members = [a_membership(f"c{n:04}", f"user{n % 300:03}") for n in range(1000)]
        told = enter(store, A, *members[:500]) + enter(store, B, *members[500:])
        assert told == [True] * 300 + [False] * 700
        assert store(MemberCount("news")) == len(all_members(store, "news", 300)) == 1000
        let_die(store, B)
        due(store)
        assert store(MemberCount("news")) == len(all_members(store, "news", 300)) == 500
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == set()  # every user has a connection on either


class TestOddTexts:
    @pytest.mark.parametrize("text", ODD_TEXTS, ids=ascii)
    def test_any_text_names_a_group_and_a_user(self, store: Subject, text: str) -> None:
        open_leases(store, A, B)
        memberships = [a_membership("c1", text, text), a_membership("c2", text + "2", text)]
        assert enter(store, A, *memberships) == [True, True]
        assert enter(store, B, a_membership("c3", text, text)) == [False]
        assert enter(store, B, a_membership("c1", text, text + "2")) == [True]
        assert store(MemberCount(text)) == 3
        assert {each.user_id for each in all_members(store, text, 1)} == {text, text + "2"}
        let_die(store, B)
        due(store)
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == {left(text + "2", text)}

    def test_all_of_them_together(self, store: Subject) -> None:
        open_leases(store, A)
        memberships = [a_membership("c1", "anna", group) for group in ODD_TEXTS]
        assert enter(store, A, *memberships) == [True] * len(ODD_TEXTS)
        assert all(store(MemberCount(group)) == 1 for group in ODD_TEXTS)
        store(Lapse(A))
        assert all(is_empty(store, group) for group in ODD_TEXTS)
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == {left("anna", group) for group in ODD_TEXTS}

    def test_a_user_and_a_connection_of_none_are_told_apart(self, store: Subject) -> None:
        open_leases(store, A)
        odd = [a_membership("c1", None), a_membership("c2", ""), a_membership("c3", "c1")]
        assert enter(store, A, *odd) == [True, True, True]
        quit_groups(store, A, *odd)
        store.pass_time(GRACE_SECONDS * 1.1)
        assert due(store) == {left(None, client_id="c1"), left(""), left("c1")}


def test_a_beat_does_not_look_at_groups(store: Subject) -> None:
    open_leases(store, A)
    enter(store, A, a_membership())
    assert store(Beat(A, LEASE_SECONDS, GRACE_SECONDS)) is LeaseState.HELD
