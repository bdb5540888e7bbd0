"""Clients are told to go one after the other, evenly, and nobody is waited for without end."""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import wsadapter
from tests.client.virtual_time import now, passes, virtual_time
from tests.waiting import aeventually
from wsadapter import draining, serving
from wsadapter.draining import ENDING_SECONDS, Farewell, Termination, due
from wsadapter.errors import AsyncContextError
from wsadapter.node import current_node
from wsadapter.servers import Notice
from wsadapter.signal_chain import ALONE_SAME_SECONDS, SAME_SECONDS


@pytest.fixture(autouse=True)
def process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that does not drain yet; there is no way back for it."""
    monkeypatch.setattr(draining, "_drain", None)


class Client:
    """What a drain sees of a connection.

    Args:
        answers: whether it leaves when it is told to, at once.
    """

    def __init__(self, *, answers: bool = True) -> None:
        self.answers = answers
        self.told: dict[str, Any] | None = None
        self.told_at = 0.0
        self._gone = asyncio.Event()
        assert serving.take_seat(self, None)  # type: ignore[arg-type]
        self._life = asyncio.get_running_loop().create_task(
            serving.cleaned_up(self, self._live())  # type: ignore[arg-type]
        )

    def close_soon(self, code: int, reason: str, **options: Any) -> None:
        assert self.told is None, "told twice"
        self.told = {"code": code, "reason": reason, **options}
        self.told_at = now()
        if self.answers:
            self._gone.set()

    async def leave(self) -> None:
        self._gone.set()
        await self._life

    async def _live(self) -> None:
        await self._gone.wait()


@pytest.mark.parametrize(
    ("elapsed_seconds", "expected"),
    [(0, 1), (0.5, 1), (1, 2), (1.99, 2), (2, 3), (7.9, 8), (8, 8), (100, 8)],
)
def test_eight_clients_over_eight_seconds(elapsed_seconds: float, expected: int) -> None:
    assert due(8, elapsed_seconds, 8) == expected


def test_many_are_due_in_batches_of_the_same_size() -> None:
    told = [due(10_000, tick * 0.05, 8) for tick in range(160)]
    sizes = [after - before for before, after in itertools.pairwise(told)]
    assert set(sizes) <= {62, 63} and due(10_000, 8, 8) == 10_000


@pytest.mark.parametrize("count", [0, 1, 5])
def test_over_no_time_all_are_due_at_once(count: int) -> None:
    assert due(count, 0, 0) == count


@virtual_time
async def test_clients_are_told_evenly_to_come_back() -> None:
    clients = [Client() for _ in range(40)]
    began = now()
    await Farewell(8).run()
    times = sorted(client.told_at - began for client in clients)
    assert times == pytest.approx([number / 5 for number in range(40)], abs=0.06)
    for client in clients:
        assert client.told is not None
        patience_seconds = client.told.pop("timeout")
        assert client.told == {"code": 3001, "reason": draining.REASON, "drain": True}
        assert patience_seconds == pytest.approx(began + 9 - client.told_at)
    assert now() - began < 8, "nobody is waited for who has left"


@virtual_time
async def test_a_few_clients_are_not_kept_waiting() -> None:
    clients = [Client() for _ in range(3)]
    began = now()
    await Farewell(8).run()
    times = sorted(client.told_at - began for client in clients)
    assert times == pytest.approx([0, 1, 2], abs=0.06)


@virtual_time
async def test_their_order_is_left_to_chance() -> None:
    clients = [Client() for _ in range(20)]
    mixed = random.Random(7).sample(clients, 20)

    def shuffle(waiting: list[Any]) -> None:
        assert set(waiting) == set(clients)
        waiting[:] = reversed(mixed)  # the last one is taken first

    await Farewell(2, shuffle).run()
    assert sorted(clients, key=lambda client: client.told_at) == mixed
    assert Farewell(2)._shuffle == random.shuffle


@virtual_time
async def test_without_time_all_are_told_at_once() -> None:
    clients = [Client() for _ in range(40)]
    began = now()
    await Farewell(0).run()
    assert {client.told_at for client in clients} == {began}


@virtual_time
async def test_without_clients_it_is_over_at_once() -> None:
    began = now()
    await Farewell(8).run()
    assert now() == began


@virtual_time
async def test_it_ends_as_soon_as_all_have_left_by_themselves() -> None:
    clients = [Client() for _ in range(10)]
    farewell = asyncio.create_task(Farewell(8).run())
    await passes(1)
    await asyncio.gather(*(client.leave() for client in clients))
    began = now()
    await farewell
    assert now() - began < 0.1


@virtual_time
async def test_in_a_hurry_the_rest_is_told_at_once() -> None:
    clients = [Client() for _ in range(40)]
    farewell = Farewell(8)
    running = asyncio.create_task(farewell.run())
    await passes(1)
    assert 0 < sum(client.told is not None for client in clients) < 10
    farewell.hurry()
    assert all(client.told for client in clients)
    began = now()
    await running
    assert now() - began < 0.1


@virtual_time
async def test_whoever_does_not_answer_holds_nobody_up_and_the_lease_is_given_up() -> None:
    node = current_node()
    client = Client(answers=False)
    began = now()
    await Farewell(1).run()
    assert now() - began == pytest.approx(1 + ENDING_SECONDS * 0.75, abs=0.06)
    assert client.told is not None
    assert current_node() is not node, "it was stopped"
    await current_node().stop()
    await client.leave()


@virtual_time
async def test_a_store_that_does_not_answer_is_not_waited_for_either() -> None:
    class Hanging:
        async def stop(self) -> None:
            await asyncio.Event().wait()

    client = Client(answers=False)
    began = now()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draining, "current_node", Hanging)
        await Farewell(1).run()
    assert now() - began == pytest.approx(1 + ENDING_SECONDS, abs=0.06)
    await client.leave()


@virtual_time
async def test_there_is_one_drain_and_the_first_call_says_how_long() -> None:
    client = Client(answers=False)
    assert not wsadapter.is_draining()
    first, second = (asyncio.create_task(wsadapter.adrain(each)) for each in (3, 0))
    await passes(0.5)
    assert wsadapter.is_draining()
    other = Client(answers=False)
    await passes(1)
    assert other.told is None, "newcomers are not of this drain"
    await other.leave()
    await client.leave()
    await asyncio.gather(first, second)
    assert wsadapter.is_draining(), "there is no way back"


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
async def test_seconds_that_cannot_be(seconds: float) -> None:
    with pytest.raises(ValueError, match="a number of seconds from 0"):
        await wsadapter.adrain(seconds)
    assert not wsadapter.is_draining()


async def test_on_an_event_loop_the_twin_is_named() -> None:
    with pytest.raises(AsyncContextError, match="adrain"):
        wsadapter.drain()
    assert not wsadapter.is_draining()


def test_without_an_event_loop_it_is_over_at_once() -> None:
    wsadapter.drain()
    assert wsadapter.is_draining()


@pytest.fixture
def loop_in_a_thread() -> Iterator[Callable[..., Any]]:
    """Run coroutines on an event loop that has a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def test_all_event_loops_drain_side_by_side(loop_in_a_thread: Callable[..., Any]) -> None:
    async def client() -> Client:
        return Client()

    here, there = Client(), await asyncio.to_thread(loop_in_a_thread, client())
    await asyncio.to_thread(wsadapter.drain, 0)
    for each in (here, there):
        assert each.told is not None and each.told["code"] == 3001
    assert not serving.seating_loops()


# The server's end

GRACEFUL_SECONDS = 3.0


@pytest.fixture
def eight_seconds(settings: Any) -> None:
    settings.WSADAPTER = {"DRAIN_SECONDS": 8}


@pytest.fixture
def terminated() -> Iterator[list[int]]:
    """The signals that the server's own handler has had, for which this one stands in."""
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    yield heard
    signal.signal(signal.SIGTERM, before)


def supervise(monkeypatch: pytest.MonkeyPatch, supervised: bool) -> None:
    monkeypatch.setattr(draining, "is_supervised", lambda: supervised)


@pytest.mark.usefixtures("eight_seconds", "terminated")
@virtual_time
async def test_a_server_that_gives_notice_is_drained_before_it_cuts_its_clients_off() -> None:
    stops = asyncio.Event()
    clients = [Client() for _ in range(40)]
    Termination(Notice(stops.wait, GRACEFUL_SECONDS)).watch()
    await passes(1)
    assert not wsadapter.is_draining()
    began = now()
    stops.set()
    await all_have_left()
    times = sorted(client.told_at - began for client in clients)
    assert times == pytest.approx([number / 20 for number in range(40)], abs=0.06)
    for client in clients:
        assert client.told is not None
        assert client.told["timeout"] == pytest.approx(began + GRACEFUL_SECONDS - client.told_at)


async def all_have_left() -> None:
    while not serving.is_empty():
        await passes(0.05)
    await passes(0.1)  # and the drain sees it


@pytest.mark.parametrize(
    ("graceful_seconds", "takes"), [(60.0, 8.0), (0.5, 0.0)], ids=["patient", "in a hurry"]
)
@pytest.mark.usefixtures("eight_seconds")
def test_the_window_is_never_longer_than_the_setting_and_never_below_zero(
    graceful_seconds: float, takes: float
) -> None:
    assert draining._in_time(Notice(asyncio.Event().wait, graceful_seconds)) == takes


@pytest.mark.usefixtures("terminated")
@virtual_time
async def test_nobody_waits_for_a_notice_without_connections() -> None:
    """Virtual time fails a test that leaves a task."""
    client = Client()
    before = asyncio.all_tasks()
    Termination(Notice(asyncio.Event().wait, GRACEFUL_SECONDS)).watch()
    assert len(asyncio.all_tasks() - before) == 1
    await client.leave()
    await passes(0)


@pytest.mark.parametrize(
    ("supervised", "takes"), [(True, 2.0), (False, 8.0)], ids=["a worker", "alone"]
)
@pytest.mark.usefixtures("eight_seconds")
def test_sigterm_leaves_a_worker_the_time_that_its_supervisor_does(
    terminated: list[int], monkeypatch: pytest.MonkeyPatch, supervised: bool, takes: float
) -> None:
    @virtual_time
    async def drained() -> None:
        clients = [Client() for _ in range(40)]
        Termination(Notice(asyncio.Event().wait, GRACEFUL_SECONDS)).watch()
        began = now()
        signal.raise_signal(signal.SIGTERM)
        await all_have_left()
        last = max(client.told_at for client in clients) - began
        assert last == pytest.approx(takes, abs=takes / 10)

    supervise(monkeypatch, supervised)
    drained()
    assert terminated == [signal.SIGTERM], "once the drain is over"


@pytest.mark.parametrize(
    ("supervised", "same_seconds"),
    [(True, SAME_SECONDS), (False, ALONE_SAME_SECONDS)],
    ids=["a worker", "alone"],
)
async def test_who_has_no_supervisor_is_told_once_by_whoever_tells(
    monkeypatch: pytest.MonkeyPatch, supervised: bool, same_seconds: float
) -> None:
    supervise(monkeypatch, supervised)
    assert Termination()._chain._same_seconds == same_seconds


@pytest.mark.usefixtures("eight_seconds")
def test_a_server_that_ends_by_itself_meanwhile_has_its_signal_back(terminated: list[int]) -> None:
    own = signal.getsignal(signal.SIGTERM)

    async def serve() -> None:
        Client(answers=False)
        Termination().watch()
        assert signal.getsignal(signal.SIGTERM) != own
        signal.raise_signal(signal.SIGTERM)
        await aeventually(wsadapter.is_draining)

    asyncio.run(serve())
    assert signal.getsignal(signal.SIGTERM) == own and not terminated


def test_a_drain_that_fails_does_not_keep_the_server_from_stopping(
    terminated: list[int],
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.WSADAPTER = {"DRAIN_SECONDS": None}

    async def serve() -> None:
        Client(answers=False)
        Termination().watch()
        signal.raise_signal(signal.SIGTERM)
        await aeventually(lambda: terminated)

    asyncio.run(serve())
    assert terminated == [signal.SIGTERM]
    assert "The drain failed" in caplog.text
