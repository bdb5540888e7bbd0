"""Chains of pushes: whoever has the same ones shares one, and its bytes."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsadapter.wire.frames import frame_bytes
from wsadapter.wire.joined import MAX_SUCCESSORS, Joined
from wsadapter.wire.orders import Push

ONE, TWO, THREE = Push("one"), Push(b"two!"), Push("drei: äöü")


def chain(*pushes: Push, after: Joined | None = None) -> Joined:
    end = after or Joined.nothing()
    for push in pushes:
        end = end.then(push)
    return end


def test_the_same_pushes_after_the_same_beginning_are_one_chain() -> None:
    nothing = Joined.nothing()
    ends = {id(chain(ONE, TWO, THREE, after=nothing)) for _ in range(3)}
    assert len(ends) == 1


def test_a_push_is_known_by_its_identity() -> None:
    nothing = Joined.nothing()
    assert nothing.then(Push("one")) is not nothing.then(Push("one"))


def test_connections_of_different_views_share_with_those_of_their_own() -> None:
    """Each push is handed to all connections in turn, to each in its view."""
    views = ("full", "summary", "ids")
    pushes = [Push(f"full {n}", views={"summary": f"part {n}", "ids": str(n)}) for n in range(4)]
    nothing = Joined.nothing()
    ends = [nothing for _ in range(9)]
    for push in pushes:
        for index, end in enumerate(ends):
            ends[index] = end.then(push.in_view(views[index % 3]))
    assert len({id(end) for end in ends}) == 3
    assert {id(end.to_bytes(0)) for end in ends} == {id(end.to_bytes(0)) for end in ends[:3]}
    assert ends[4].to_bytes(0) == b"".join(frame_bytes(f"part {n}") for n in range(4))


def test_as_many_successors_as_may_be_are_remembered() -> None:
    nothing = Joined.nothing()
    pushes = [Push(str(n)) for n in range(MAX_SUCCESSORS)]
    successors = [nothing.then(push) for push in pushes]
    assert [nothing.then(push) for push in pushes] == successors


@pytest.mark.usefixtures("without_collector")
def test_and_no_more() -> None:
    nothing = Joined.nothing()
    before = links()
    for n in range(MAX_SUCCESSORS * 10):
        nothing.then(Push(str(n)))
    assert 0 < links() - before <= MAX_SUCCESSORS


def test_the_bytes_are_joined_once() -> None:
    nothing = Joined.nothing()
    first, second = chain(ONE, TWO, after=nothing), chain(ONE, TWO, after=nothing)
    joined = first.to_bytes(0)
    assert second.to_bytes(0) is joined
    assert joined == frame_bytes("one") + frame_bytes(b"two!")


def test_one_push_is_not_copied() -> None:
    assert chain(ONE).to_bytes(0) is ONE.to_bytes(0)


def test_nothing_is_nothing() -> None:
    nothing = Joined.nothing()
    assert (nothing.count, nothing.size, nothing.pushes()) == (0, 0, [])
    assert nothing.to_bytes(0) == b""


def test_it_counts_messages_and_payload() -> None:
    joined = chain(ONE, TWO, THREE)
    assert joined.count == 3
    assert joined.size == ONE.size + TWO.size + THREE.size
    assert joined.pushes() == [ONE, TWO, THREE]


def test_chains_that_part_do_not_mix() -> None:
    """One connection is excluded from the first push, and the next one is not."""
    nothing = Joined.nothing()
    both, second = chain(ONE, TWO, after=nothing), chain(TWO, after=nothing)
    again = chain(ONE, TWO, after=nothing)
    assert both.to_bytes(0) == again.to_bytes(0) == ONE.to_bytes(0) + TWO.to_bytes(0)
    assert second.to_bytes(0) == TWO.to_bytes(0)
    assert chain(THREE, after=both).pushes() == [ONE, TWO, THREE]
    assert chain(THREE, after=second).pushes() == [TWO, THREE]


def test_what_is_added_later_is_not_in_what_was_joined_before() -> None:
    before = chain(ONE)
    before.to_bytes(0)
    assert before.then(TWO).to_bytes(0) == ONE.to_bytes(0) + TWO.to_bytes(0)
    assert before.to_bytes(0) == ONE.to_bytes(0)


def test_each_level_has_its_bytes() -> None:
    push = Push("shop " * 100)
    joined = chain(push, ONE)
    assert joined.to_bytes(0) == frame_bytes(push.frame) + frame_bytes("one")
    assert joined.to_bytes(1) == frame_bytes(push.frame, 1) + frame_bytes("one", 1)
    assert joined.to_bytes(1) is joined.to_bytes(1) and joined.to_bytes(0) != joined.to_bytes(1)


def test_a_long_chain_is_no_deep_one() -> None:
    empty = Push("")
    joined = chain(*[empty] * 50_000)
    assert joined.to_bytes(0) == empty.to_bytes(0) * 50_000
    del joined  # link by link: not by recursion


@given(st.lists(st.lists(st.integers(0, 4), max_size=8), max_size=8), st.sampled_from([0, 1, 9]))
def test_it_is_the_concatenation_whatever_others_append(
    connections: list[list[int]], level: int
) -> None:
    """All of them append in turns, as pushes are handed to all connections one by one."""
    pushes = [Push("text " * 20), Push(b"\x00\x01"), Push("ä"), Push(""), Push(b"binary" * 30)]
    nothing = Joined.nothing()
    ends = [nothing for _ in connections]
    for turn in range(max(map(len, connections), default=0)):
        for index, wanted in enumerate(connections):
            if turn < len(wanted):
                ends[index] = ends[index].then(pushes[wanted[turn]])
    for end, wanted in zip(ends, connections, strict=True):
        mine = [pushes[number] for number in wanted]
        assert end.pushes() == mine
        assert end.to_bytes(level) == b"".join(frame_bytes(push.frame, level) for push in mine)
        assert (end.count, end.size) == (len(mine), sum(push.size for push in mine))


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_collector")
def test_a_chain_that_nobody_has_is_gone_without_the_garbage_collector() -> None:
    """Links that know each other in both directions would keep up to 64 KiB each until it runs."""
    before = links()
    chain(ONE, TWO, THREE).to_bytes(0)
    assert links() == before
    nothing = Joined.nothing()
    for end in [chain(ONE, TWO, after=nothing), chain(TWO, ONE, after=nothing)] * 2:
        end.to_bytes(0)
    del nothing, end
    assert links() == before


def links() -> int:
    return sum(type(found) is Joined for found in gc.get_objects())
