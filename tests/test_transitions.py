"""Who came and who went: told once in the whole cluster, whatever happens to processes."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, TypeVar, cast
from uuid import uuid4

import pytest

from tests.client.virtual_time import now, passes, settled, virtual_time
from tests.test_node import connection
from tests.waiting import aeventually
from wsadapter import transitions
from wsadapter.connection import Connection
from wsadapter.errors import StoreUnavailable
from wsadapter.node import OVERDUE_SECONDS, TELL_SECONDS, Node
from wsadapter.signals import user_came_online, user_went_offline
from wsadapter.store import MemoryStore
from wsadapter.store.operations import (
    TAKE_SIZE,
    JoinOutcome,
    Operation,
    TakeDue,
    Transition,
)
from wsadapter.transitions import MARGIN_SECONDS, RECEIVERS_SECONDS, TOGETHER_SECONDS, Announcer

R = TypeVar("R")

LEASE_SECONDS, BEAT_SECONDS, GRACE_SECONDS = 15.0, 4.0, 5.0
#: A little more than it takes the process that saw somebody go.
TOLD_SECONDS = GRACE_SECONDS + MARGIN_SECONDS + TOGETHER_SECONDS + 0.01
#: The most that it takes the others, once a process was killed.
KILLED_SECONDS = LEASE_SECONDS + BEAT_SECONDS + TOLD_SECONDS
#: The same for those who go while the store is losing its memory.
LOST_SECONDS = BEAT_SECONDS + LEASE_SECONDS + GRACE_SECONDS + OVERDUE_SECONDS + BEAT_SECONDS

Told = list[tuple[str, str]]


class Way(MemoryStore):
    """One process's way to what all processes share; it can be cut."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__()
        self.store = store
        self.cut = False
        self.broken: type | None = None
        self.asked: list[Operation[Any]] = []

    async def arun(self, op: Operation[R]) -> R:
        self.asked.append(op)
        await asyncio.sleep(0)  # as on the network, others have their turn
        if self.cut:
            raise StoreUnavailable("Redis at 127.0.0.1:1 cannot be reached.")
        if type(op) is self.broken:
            raise LookupError("a bug")
        return self.store.run(op)

    def asked_for(self, kind: type) -> int:
        return sum(type(op) is kind for op in self.asked)


class Process:
    """A process with its connections."""

    def __init__(self, store: MemoryStore, predecessor: Node | None = None) -> None:
        self.way = Way(store)
        self.node = Node(
            self.way,
            lease_seconds=LEASE_SECONDS,
            beat_seconds=BEAT_SECONDS,
            grace_seconds=GRACE_SECONDS,
            predecessor=predecessor,
        )

    async def connect(self, user_id: str | None) -> Connection:
        """Whoever connects has been told of on return."""
        made = connection(uuid4().hex, user_id)
        assert (await self.node.join(made)).outcome is JoinOutcome.JOINED
        await settled()
        return made


class Cluster:
    """Processes that share a store, in virtual time."""

    def __init__(self) -> None:
        self.store = MemoryStore(clock=now)
        self.processes: list[Process] = []

    def start(self, predecessor: Node | None = None) -> Process:
        self.processes.append(Process(self.store, predecessor))
        return self.processes[-1]

    def lose_memory(self) -> None:
        """All that the store knew is gone, as when Redis is started anew."""
        self.store = MemoryStore(clock=now)
        for process in self.processes:
            process.way.store = self.store


@asynccontextmanager
async def cluster() -> AsyncIterator[Cluster]:
    made = Cluster()
    yield made
    for process in made.processes:
        await process.node.stop()
    await settled()


@pytest.fixture(autouse=True)
def in_virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The node's clock is that of the loop, and nothing needs a thread."""

    async def nothing_to_close() -> None: ...

    monkeypatch.setattr("wsadapter.node.time", SimpleNamespace(monotonic=now))
    monkeypatch.setattr("wsadapter.outages._away", set())  # what is cut here is whole elsewhere
    monkeypatch.setattr("channels.db.aclose_old_connections", nothing_to_close)


@pytest.fixture
def told() -> Iterator[Told]:
    """What receivers of the two signals were told, in this order."""
    seen: Told = []

    async def came(user_id: str, **kwargs: Any) -> None:
        seen.append(("came", user_id))

    async def went(user_id: str, **kwargs: Any) -> None:
        seen.append(("went", user_id))

    user_came_online.connect(came)
    user_went_offline.connect(went)
    yield seen
    user_came_online.disconnect(came)
    user_went_offline.disconnect(went)


@pytest.fixture
def receiver() -> Iterator[Callable[[Any], None]]:
    """Connect a receiver of `user_came_online` until the test is over."""
    connected: list[Any] = []

    def connect(receive: Any) -> None:
        connected.append(receive)
        user_came_online.connect(receive)

    yield connect
    for receive in connected:
        user_came_online.disconnect(receive)


# Coming and going


@virtual_time
async def test_who_comes_is_told_once_however_many_tabs_they_have(told: Told) -> None:
    async with cluster() as site:
        one, other = site.start(), site.start()
        for process in (one, one, other):
            await process.connect("ada")
        await one.connect("grace")
        await settled()
        assert told == [("came", "ada"), ("came", "grace")]


@virtual_time
async def test_who_comes_is_told_at_once(told: Told) -> None:
    async with cluster() as site:
        before = now()
        await site.start().connect("ada")
        await settled()
        assert told and now() - before < 0.01


@virtual_time
async def test_two_tabs_that_open_at_once_are_one_arrival(told: Told) -> None:
    async with cluster() as site:
        one, other = site.start(), site.start()
        await asyncio.gather(*(process.connect("ada") for process in (one, one, other, other)))
        await settled()
        assert told == [("came", "ada")]


@virtual_time
async def test_who_goes_is_told_when_the_grace_is_over(told: Told) -> None:
    async with cluster() as site:
        process = site.start()
        ada, grace = await process.connect("ada"), await process.connect("grace")
        told.clear()
        await process.node.leave(ada)
        await passes(GRACE_SECONDS - 0.1)
        assert told == []
        await passes(TOLD_SECONDS - GRACE_SECONDS + 0.1)
        assert told == [("went", "ada")]
        await process.node.leave(grace)
        await passes(TOLD_SECONDS)
        assert told == [("went", "ada"), ("went", "grace")]


@virtual_time
async def test_whoever_still_has_a_tab_has_not_gone(told: Told) -> None:
    async with cluster() as site:
        one, other = site.start(), site.start()
        tabs = [await one.connect("ada"), await one.connect("ada")]
        last = await other.connect("ada")
        for tab in tabs:
            await one.node.leave(tab)
        await passes(2 * TOLD_SECONDS)
        assert told == [("came", "ada")]
        await other.node.leave(last)
        await passes(TOLD_SECONDS)
        assert told == [("came", "ada"), ("went", "ada")]


@pytest.mark.parametrize("elsewhere", [False, True], ids=["where they were", "elsewhere"])
@virtual_time
async def test_a_page_that_is_loaded_again_is_no_transition(told: Told, elsewhere: bool) -> None:
    async with cluster() as site:
        one, other = site.start(), site.start()
        await one.connect(None)
        ada = await one.connect("ada")
        for _ in range(3):
            await one.node.leave(ada)
            await passes(GRACE_SECONDS - 0.1)
            process = other if elsewhere else one
            ada = await process.connect("ada")
            one, other = process, one
        await passes(3 * TOLD_SECONDS)
        assert told == [("came", "ada")]


@virtual_time
async def test_who_comes_back_after_that_has_gone_and_come(told: Told) -> None:
    async with cluster() as site:
        process = site.start()
        for _ in range(3):
            await process.node.leave(await process.connect("ada"))
            await passes(TOLD_SECONDS)
        assert told == [("came", "ada"), ("went", "ada")] * 3


@virtual_time
async def test_visitors_without_a_user_come_and_go_untold(told: Told) -> None:
    async with cluster() as site:
        process = site.start()
        await process.node.leave(await process.connect(None))
        await passes(TOLD_SECONDS)
        assert told == []


@virtual_time
async def test_many_who_go_one_after_the_other_are_asked_for_together(told: Told) -> None:
    async with cluster() as site:
        process = site.start()
        await process.connect("stays")
        users = [f"user {number}" for number in range(100)]
        leaving = [await process.connect(user) for user in users]
        told.clear()
        for each in leaving:
            await process.node.leave(each)
            await passes(0.01)
        await passes(TOLD_SECONDS + 1)
        assert told == [("went", user) for user in users]
        assert process.way.asked_for(TakeDue) <= math.ceil(100 * 0.01 / TOGETHER_SECONDS) + 1


# What happens to processes


@virtual_time
async def test_those_of_a_killed_process_are_told_by_one_of_the_others(told: Told) -> None:
    async with cluster() as site:
        killed, *others = site.start(), site.start(), site.start()
        for process in others:
            await process.connect("stays")
        for user in ("ada", "grace", "stays"):
            await killed.connect(user)
        told.clear()
        killed.way.cut = True
        await passes(LEASE_SECONDS + GRACE_SECONDS - BEAT_SECONDS)
        assert told == []
        await passes(KILLED_SECONDS - LEASE_SECONDS - GRACE_SECONDS + BEAT_SECONDS)
        assert sorted(told) == [("went", "ada"), ("went", "grace")]
        await passes(KILLED_SECONDS)
        assert len(told) == 2


@virtual_time
async def test_what_nobody_lived_to_tell_the_next_process_tells(told: Told) -> None:
    async with cluster() as site:
        killed = site.start()
        await killed.connect("ada")
        told.clear()
        killed.way.cut = True
        await passes(60)
        assert told == []
        await site.start().connect("grace")
        await passes(BEAT_SECONDS + TOLD_SECONDS)
        assert told == [("came", "grace"), ("went", "ada")]


@virtual_time
async def test_whom_the_last_process_to_stop_still_had_the_next_process_tells(told: Told) -> None:
    async with cluster() as site:
        stopped = site.start()
        for user in ("ada", "grace"):
            await stopped.connect(user)
        told.clear()
        await stopped.node.stop()
        stopped.way.cut = True  # its event loop has ended: it looks for nobody any more
        await passes(60)
        assert told == []
        await site.start().connect("grace")
        await passes(BEAT_SECONDS + 0.1)
        assert told == [("went", "ada")]


@virtual_time
async def test_what_a_process_died_before_it_could_tell_another_one_tells(told: Told) -> None:
    async with cluster() as site:
        dies, lives = site.start(), site.start()
        await lives.connect("stays")
        await dies.connect(None)
        await dies.node.leave(await dies.connect("ada"))
        told.clear()
        dies.way.cut = True
        await passes(GRACE_SECONDS + OVERDUE_SECONDS + BEAT_SECONDS + 0.1)
        assert told == [("went", "ada")]


@virtual_time
async def test_those_of_the_killed_are_told_by_one_that_has_nobody_left_itself(told: Told) -> None:
    async with cluster() as site:
        killed, last = site.start(), site.start()
        await killed.connect("ada")
        grace = await last.connect("grace")
        told.clear()
        killed.way.cut = True
        await last.node.leave(grace)  # its lease ends, and with it its beats
        await passes(TOLD_SECONDS)
        assert told == [("went", "grace")]
        await passes(LEASE_SECONDS + 2 * TOLD_SECONDS)
        assert told == [("went", "grace"), ("went", "ada")]


@virtual_time
async def test_a_process_that_stood_still_for_long_tells_that_its_users_are_back(
    told: Told,
) -> None:
    async with cluster() as site:
        frozen, other = site.start(), site.start()
        await other.connect("stays")
        for user in ("ada", "ada", "grace", "stays", None):
            await frozen.connect(user)
        told.clear()
        frozen.way.cut = True
        await passes(KILLED_SECONDS)
        assert sorted(told) == [("went", "ada"), ("went", "grace")]
        told.clear()
        frozen.way.cut = False
        await passes(BEAT_SECONDS + 0.1)
        assert sorted(told) == [("came", "ada"), ("came", "grace")]
        await passes(KILLED_SECONDS)
        assert len(told) == 2


@virtual_time
async def test_a_lapse_that_nobody_was_told_of_is_none(told: Told) -> None:
    async with cluster() as site:
        frozen, other = site.start(), site.start()
        await other.connect("stays")
        await frozen.connect("ada")
        told.clear()
        frozen.way.cut = True
        await passes(LEASE_SECONDS + GRACE_SECONDS / 2)
        frozen.way.cut = False
        await passes(KILLED_SECONDS)
        assert told == []


# A store that has lost its memory


@virtual_time
async def test_that_the_store_lost_its_memory_is_nobodys_coming_or_going(told: Told) -> None:
    async with cluster() as site:
        one, other = site.start(), site.start()
        for process, user in ((one, "ada"), (one, "both"), (other, "both"), (other, "grace")):
            await process.connect(user)
        told.clear()
        for _ in range(3):
            site.lose_memory()
            await passes(KILLED_SECONDS)
        assert told == []


@virtual_time
async def test_who_seems_new_meanwhile_may_have_been_with_another_process(told: Told) -> None:
    async with cluster() as site:
        one, other = site.start(), site.start()
        await one.connect("stays")
        await passes(BEAT_SECONDS / 2)
        await other.connect("ada")
        told.clear()
        site.lose_memory()
        await passes(BEAT_SECONDS / 2 + 0.1)  # only the first one has put back what it has
        await one.connect("ada")
        await one.connect("new")
        await passes(LEASE_SECONDS - 0.5)
        assert told == []
        await passes(BEAT_SECONDS + 1)
        assert told == [("came", "new")]
        await passes(KILLED_SECONDS)
        assert told == [("came", "new")]


@virtual_time
async def test_the_newcomer_who_finds_it_out_is_new_all_the_same(told: Told) -> None:
    async with cluster() as site:
        process = site.start()
        await process.connect("stays")
        told.clear()
        site.lose_memory()
        new = [await process.connect("new"), await process.connect("new")]
        await passes(LEASE_SECONDS + BEAT_SECONDS + 0.1)
        assert told == [("came", "new")]
        for each in new:
            await process.node.leave(each)
        await passes(TOLD_SECONDS)
        assert told == [("came", "new"), ("went", "new")]


@virtual_time
async def test_newcomers_who_find_out_that_they_were_taken_for_gone(told: Told) -> None:
    async with cluster() as site:
        frozen, other = site.start(), site.start()
        await other.connect("stays")
        await frozen.connect("ada")
        told.clear()
        frozen.way.cut = True
        await passes(KILLED_SECONDS)
        frozen.way.cut = False
        await asyncio.gather(*(frozen.connect(user) for user in ("ada", "new", "new")))
        await settled()
        assert told[0] == ("went", "ada")
        assert sorted(told[1:]) == [("came", "ada"), ("came", "new")]


@pytest.mark.parametrize("away", [1.0, TOLD_SECONDS + 0.2], ids=["not told", "just told"])
@virtual_time
async def test_who_had_gone_just_before_is_told_once(told: Told, away: float) -> None:
    async with cluster() as site:
        process = site.start()
        await process.connect("stays")
        ada = await process.connect("ada")
        await passes(BEAT_SECONDS + 1.5)  # so that the lease is replaced soon after
        told.clear()
        await process.node.leave(ada)
        await passes(away)
        site.lose_memory()
        await passes(LOST_SECONDS)
        assert told == [("went", "ada")]


@virtual_time
async def test_who_was_asked_for_after_the_store_had_forgotten_them_is_told(told: Told) -> None:
    async with cluster() as site:
        process = site.start()
        await process.connect("stays")
        ada = await process.connect("ada")
        await passes(BEAT_SECONDS + 0.5)
        told.clear()
        await process.node.leave(ada)
        await passes(BEAT_SECONDS)  # a beat later, and before the next one, she is due
        site.lose_memory()
        await passes(LOST_SECONDS)
        assert told == [("went", "ada")]


@virtual_time
async def test_whom_another_process_has_just_told_is_told_once(told: Told) -> None:
    async with cluster() as site:
        one, other = site.start(), site.start()
        for process in (one, other):
            await process.connect("stays")
        ada, grace = await one.connect("ada"), await other.connect("grace")
        await passes(BEAT_SECONDS + 1.5)
        told.clear()
        await other.node.leave(grace)
        await passes(TOGETHER_SECONDS / 2)
        await one.node.leave(ada)  # she is due when the other one looks
        await passes(TOLD_SECONDS - TOGETHER_SECONDS / 2)
        assert told == [("went", "grace"), ("went", "ada")]
        await passes(TOGETHER_SECONDS)
        site.lose_memory()
        await passes(LOST_SECONDS)
        assert len(told) == 2


@virtual_time
async def test_who_had_gone_just_before_two_losses_is_told_once(told: Told) -> None:
    async with cluster() as site:
        process = site.start()
        await process.connect("stays")
        ada = await process.connect("ada")
        told.clear()
        await process.node.leave(ada)
        for _ in range(2):
            site.lose_memory()
            await passes(LEASE_SECONDS)
        await passes(LOST_SECONDS)
        assert told == [("went", "ada")]


@virtual_time
async def test_who_goes_here_may_still_be_with_a_process_that_is_late(told: Told) -> None:
    async with cluster() as site:
        one, late = site.start(), site.start()
        await one.connect("stays")
        tabs = [await process.connect("ada") for process in (one, late)]
        told.clear()
        late.way.cut = True
        site.lose_memory()
        await passes(BEAT_SECONDS)
        await one.node.leave(tabs[0])
        await passes(TOLD_SECONDS + 1)
        late.way.cut = False
        await passes(LOST_SECONDS)
        assert told == []
        await late.node.leave(tabs[1])
        await passes(TOLD_SECONDS)
        assert told == [("went", "ada")]


@virtual_time
async def test_who_goes_while_the_store_is_lost_is_told_once(told: Told) -> None:
    async with cluster() as site:
        process = site.start()
        await process.connect("stays")
        ada = await process.connect("ada")
        told.clear()
        process.way.cut = True
        with pytest.raises(StoreUnavailable):
            await process.node.leave(ada)
        await passes(20)
        site.lose_memory()
        process.way.cut = False
        await passes(LOST_SECONDS)
        assert told == [("went", "ada")]


@virtual_time
async def test_who_came_back_before_it_was_known_is_not_told(told: Told) -> None:
    async with cluster() as site:
        process = site.start()
        await process.connect("stays")
        await process.node.leave(await process.connect("ada"))
        site.lose_memory()
        await process.connect("ada")
        await passes(LOST_SECONDS)
        assert told == [("came", "stays"), ("came", "ada")]


# A store that is away


@virtual_time
async def test_whom_the_store_was_away_for_is_told_when_it_is_back(told: Told) -> None:
    async with cluster() as site:
        process = site.start()
        await process.connect("stays")
        ada = await process.connect("ada")
        await process.node.leave(ada)
        told.clear()
        await passes(1)
        process.way.cut = True
        await passes(GRACE_SECONDS)
        assert told == []
        process.way.cut = False
        await passes(transitions.RETRY_SECONDS - 0.5)  # no beat has found it overdue yet
        assert told == [("went", "ada")]


class Portions(MemoryStore):
    """Gives what is due as it is told to, and then nothing more."""

    def __init__(self, *answers: list[Transition] | Exception) -> None:
        super().__init__()
        self.answers = list(answers)

    async def arun(self, op: Operation[R]) -> R:
        answer = self.answers.pop(0) if self.answers else []
        if isinstance(answer, Exception):
            raise answer
        return cast(R, tuple(answer))


@virtual_time
async def test_what_is_taken_is_told_even_if_the_rest_cannot_be_taken_yet(told: Told) -> None:
    users = [f"user {number}" for number in range(2 * TAKE_SIZE + 1)]
    gone = [Transition(False, user) for user in users]
    settled_by: list[float] = []
    store = Portions(
        gone[:TAKE_SIZE],
        StoreUnavailable("Redis at 127.0.0.1:1 cannot be reached."),
        gone[TAKE_SIZE : 2 * TAKE_SIZE],
        gone[2 * TAKE_SIZE :],
    )
    announcer = Announcer(
        store,
        grace_seconds=GRACE_SECONDS,
        lease_seconds=LEASE_SECONDS,
        on_taken=settled_by.append,
    )
    began = now()
    announcer.expect()
    await passes(TOLD_SECONDS)
    assert [user for _, user in told] == users[:TAKE_SIZE]
    assert settled_by == []
    await passes(transitions.RETRY_SECONDS)
    assert [user for _, user in told] == users
    (until,) = settled_by
    assert until - began == pytest.approx(TOLD_SECONDS - GRACE_SECONDS + 1, abs=0.02)


@virtual_time
async def test_a_bug_in_the_store_is_logged_and_the_next_beat_asks_again(
    told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    async with cluster() as site:
        process = site.start()
        await process.connect("stays")
        ada = await process.connect("ada")
        await process.node.leave(ada)
        told.clear()
        process.way.broken = TakeDue
        await passes(TOLD_SECONDS)
        assert [record.exc_info is not None for record in caplog.records] == [True]
        assert "the next beat asks again" in caplog.text
        process.way.broken = None
        await passes(OVERDUE_SECONDS + BEAT_SECONDS)
        assert told == [("went", "ada")]


# Receivers


@virtual_time
async def test_receivers_are_called_one_after_the_other_and_nobody_waits_for_them(
    told: Told, receiver: Any
) -> None:
    busy = 0

    async def slow(user_id: str, **kwargs: Any) -> None:
        nonlocal busy
        assert busy == 0
        busy += 1
        await passes(3)
        busy -= 1

    receiver(slow)
    async with cluster() as site:
        process = site.start()
        began = now()
        for user in ("ada", "grace", "eva"):
            await process.connect(user)
        assert now() - began < 0.01
        await passes(10)
        assert told == [("came", "ada"), ("came", "grace"), ("came", "eva")]


@virtual_time
async def test_a_receiver_that_raises_harms_nobody(
    told: Told, receiver: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def raises(**kwargs: Any) -> None:
        raise LookupError("a bug")

    receiver(raises)
    async with cluster() as site:
        process = site.start()
        for user in ("ada", "grace"):
            await process.connect(user)
        await settled()
        assert told == [("came", "ada"), ("came", "grace")]
    assert [record.name for record in caplog.records] == ["django.dispatch"] * 2


@virtual_time
async def test_a_receiver_that_hangs_is_given_up(
    told: Told, receiver: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def hangs(user_id: str, **kwargs: Any) -> None:
        await asyncio.sleep(math.inf if user_id == "ada" else 0)

    receiver(hangs)
    async with cluster() as site:
        process = site.start()
        for user in ("ada", "grace"):
            await process.connect(user)
        await passes(RECEIVERS_SECONDS - 0.1)
        assert told == [("came", "ada")]
        await passes(0.2)
        assert told == [("came", "ada"), ("came", "grace")]
    assert caplog.messages == [
        "A receiver of user_came_online did not return within 10 s and is given up."
    ]


@virtual_time
async def test_a_receiver_that_awaits_what_was_cancelled_harms_nobody(
    told: Told, receiver: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def cancelled(user_id: str, **kwargs: Any) -> None:
        if user_id == "ada":
            never = asyncio.get_running_loop().create_future()
            never.cancel()
            await never

    receiver(cancelled)
    async with cluster() as site:
        process = site.start()
        for user in ("ada", "grace"):
            await process.connect(user)
        await settled()
        assert told == [("came", "ada"), ("came", "grace")]
    assert caplog.messages == ["A receiver of user_came_online was cancelled."]


@virtual_time
async def test_the_last_one_to_leave_waits_for_receivers_within_bounds(receiver: Any) -> None:
    heard: list[str] = []

    async def slow(user_id: str, **kwargs: Any) -> None:
        await passes(1 if user_id == "ada" else 5)
        heard.append(user_id)

    receiver(slow)
    async with cluster() as site:
        process = site.start()
        await process.node.leave(await process.connect("ada"))
        assert heard == ["ada"]
        began = now()
        await process.node.leave(await process.connect("grace"))
        assert now() - began == pytest.approx(TELL_SECONDS, abs=0.01)
        assert heard == ["ada"]
        await passes(5)
        assert heard == ["ada", "grace"]


@virtual_time
async def test_a_loop_that_ends_leaves_no_task_of_what_is_due_later(told: Told) -> None:
    process = Process(MemoryStore(clock=now))
    await process.node.leave(await process.connect("ada"))
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert told == [("came", "ada")]


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
async def test_receivers_may_be_of_either_kind(
    receiver: Any, monkeypatch: pytest.MonkeyPatch, is_async: bool
) -> None:
    """Sync ones run in the thread that Django keeps for such code, never on the loop."""
    monkeypatch.undo()  # real time, real threads
    heard: list[tuple[str, threading.Thread]] = []

    def receive(user_id: str, **kwargs: Any) -> None:
        heard.append((user_id, threading.current_thread()))

    async def areceive(user_id: str, **kwargs: Any) -> None:
        receive(user_id)

    receiver(areceive if is_async else receive)
    announcer = Announcer(
        MemoryStore(), grace_seconds=0.0, lease_seconds=LEASE_SECONDS, on_taken=lambda _: None
    )
    announcer.tell([Transition(True, "ada"), Transition(True, "grace")])
    await aeventually(lambda: len(heard) == 2)
    assert [user for user, _ in heard] == ["ada", "grace"]
    assert {thread is threading.current_thread() for _, thread in heard} == {is_async}


async def test_receivers_find_a_database_connection_that_works(
    receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    async def close_old() -> None:
        order.append("old ones closed")

    async def receive(user_id: str, **kwargs: Any) -> None:
        order.append(user_id)

    monkeypatch.setattr("channels.db.aclose_old_connections", close_old)
    announcer = Announcer(
        MemoryStore(), grace_seconds=0.0, lease_seconds=LEASE_SECONDS, on_taken=lambda _: None
    )
    announcer.tell([Transition(True, "ada")])
    await announcer.finish(10)
    assert order == [], "nobody listens"
    receiver(receive)
    announcer.tell([Transition(True, "grace")])
    await announcer.finish(10)
    assert order == ["old ones closed", "grace"]


@virtual_time
async def test_a_node_that_follows_another_one_tells_after_it(told: Told) -> None:
    async with cluster() as site:
        first = site.start()
        slow: list[str] = []

        async def take_long(user_id: str, **kwargs: Any) -> None:
            await asyncio.sleep(5)
            slow.append(user_id)

        user_came_online.connect(take_long)
        try:
            await first.connect("ada")
            second = site.start(predecessor=first.node)
            await second.connect("grace")
            await passes(11)
        finally:
            user_came_online.disconnect(take_long)
        assert slow == ["ada", "grace"]
        assert told == [("came", "ada"), ("came", "grace")]
