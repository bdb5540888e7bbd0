"""Sent again and again: at once, only when changed, never two at once, until the end."""

from __future__ import annotations

import asyncio
import operator
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from channels import db

from tests.test_outlet import settle
from wsadapter.connection import Closed
from wsadapter.errors import EncodeError
from wsadapter.repetition import Repetition
from wsadapter.wire.payload import Frame

#: Seconds that are over at once, and seconds that no test outlives.
TINY, ENDLESS = 0.0001, 3600.0


class Sink:
    """What takes frames until it is closed, by itself after as many as it has room for."""

    def __init__(self, room: int | None = None) -> None:
        self.frames: list[Frame] = []
        self.closed = Closed()
        self._room = room

    async def send(self, frame: Frame) -> bool:
        if self.closed:
            return False
        self.frames.append(frame)
        if len(self.frames) == self._room:
            self.closed.come()
        return True


class Getter:
    """Gives one value after the other, then the end to the sink."""

    def __init__(self, sink: Sink, values: list[Any]) -> None:
        self._sink = sink
        self._values = values
        self.calls = 0

    async def get(self) -> Any:
        self.calls += 1
        if self.calls == len(self._values):
            self._sink.closed.come()
        return self._values[self.calls - 1]


async def repeat(get: Any, sink: Sink, *, interval: float = TINY, deduplicate: Any = True) -> None:
    repetition = Repetition(get, interval_seconds=interval, deduplicate=deduplicate)
    async with asyncio.timeout(30):
        await repetition.run(sink.send, sink.closed)


async def sent(values: list[Any], deduplicate: Any) -> list[Frame]:
    """What is sent of the values that a function returns one after the other."""
    sink = Sink()
    await repeat(Getter(sink, [*values, values[-1]]).get, sink, deduplicate=deduplicate)
    return sink.frames


# What counts as a change


async def test_what_would_be_encoded_as_it_was_is_left_out() -> None:
    values = [{"a": 1}, {"a": 1}, {"a": 2}, {"a": 1}, '{"a":1}', b"x", bytearray(b"x"), "x", None]
    frames = ['{"a":1}', '{"a":2}', '{"a":1}', b"x", "x", "null"]
    assert await sent(values, True) == frames


async def test_everything_is_sent_where_duplicates_do_not_matter() -> None:
    assert await sent([1, 1, 1], False) == ["1", "1", "1"]


async def test_a_mutated_object_has_changed() -> None:
    sink, status = Sink(room=3), {"number": 0}
    calls = 0

    async def get() -> dict[str, int]:
        nonlocal calls
        calls += 1
        status["number"] = calls // 2
        return status

    await repeat(get, sink)
    assert sink.frames == ['{"number":0}', '{"number":1}', '{"number":2}']


async def test_a_function_says_what_a_duplicate_is() -> None:
    def is_close(last: float, current: float) -> bool:
        return abs(last - current) < 1

    assert await sent([1.0, 1.5, 1.9, 2.0, 1.1, 0.5], is_close) == ["1.0", "2.0", "0.5"]


async def test_the_function_is_asked_about_what_was_sent_last_and_the_current_value() -> None:
    asked: list[tuple[Any, Any]] = []

    def is_duplicate(last: Any, current: Any) -> bool:
        asked.append((last, current))
        return current in (2, 3)

    values = [None, 2, 3, 4, 5]
    assert await sent(values, is_duplicate) == ["null", "4", "5"]
    assert asked[:4] == [(None, 2), (None, 3), (None, 4), (4, 5)]


async def test_the_first_value_is_sent_without_asking() -> None:
    assert await sent([None, None], lambda last, current: True) == ["null"]
    assert await sent([None, None], True) == ["null"]


async def test_a_value_that_is_not_equal_to_itself_is_encoded_as_it_was() -> None:
    nan = float("nan")
    assert await sent([nan, nan], True) == ["null"]
    assert await sent([nan, nan], operator.eq) == ["null", "null"]


async def test_what_was_not_sent_is_not_what_was_sent_last() -> None:
    """A send that has failed leaves nothing behind that the next run would compare with."""
    sink, troubles = Sink(room=1), iter([TimeoutError("slow")])

    async def send(frame: Frame) -> bool:
        for trouble in troubles:
            raise trouble
        return await sink.send(frame)

    async def get() -> str:
        return "same"

    repetition = Repetition(get, interval_seconds=TINY, deduplicate=True)
    with pytest.raises(TimeoutError, match="slow"):
        await repetition.run(send, sink.closed)
    async with asyncio.timeout(10):
        await repetition.run(send, sink.closed)
    assert sink.frames == ["same"]


# What can be called


class Caller:
    """An object that is called like a coroutine function."""

    async def __call__(self) -> dict[str, Any]:
        return where()


class Method:
    async def get(self) -> dict[str, Any]:
        return where()

    def get_in_thread(self) -> dict[str, Any]:
        return where()

    def __call__(self) -> dict[str, Any]:
        return where()


def where() -> dict[str, Any]:
    return {"in_loop_thread": threading.current_thread() is threading.main_thread()}


async def get_async() -> dict[str, Any]:
    return where()


def get_sync() -> dict[str, Any]:
    return where()


@pytest.mark.parametrize(
    ("get", "in_loop_thread"),
    [
        (get_async, True),
        (partial(get_async), True),
        (Method().get, True),
        (Caller(), True),
        (Caller().__call__, True),
        (lambda: get_async(), True),
        (partial(Caller()), True),
        (get_sync, False),
        (partial(get_sync), False),
        (lambda: where(), False),
        (Method().get_in_thread, False),
        (Method(), False),
    ],
    ids=[
        "a coroutine function",
        "a partial of one",
        "an async method",
        "an object with an async call",
        "its call",
        "a sync function that returns an awaitable",
        "a partial of an object",
        "a function",
        "a partial",
        "a lambda",
        "a method",
        "an object with a call",
    ],
)
async def test_what_blocks_runs_in_a_thread_and_what_awaits_on_the_loop(
    get: Callable[[], Any], in_loop_thread: bool
) -> None:
    sink = Sink(room=1)
    await repeat(get, sink)
    assert sink.frames == [f'{{"in_loop_thread":{str(in_loop_thread).lower()}}}']


async def test_a_blocking_function_blocks_neither_the_loop_nor_another_one() -> None:
    """They do not share the one thread for all thread-sensitive code."""
    first, second = Sink(room=1), Sink(room=1)
    both = threading.Barrier(2, timeout=30)

    async def run(sink: Sink) -> None:
        await repeat(both.wait, sink)

    await asyncio.gather(run(first), run(second))
    assert sorted([*first.frames, *second.frames], key=str) == ["0", "1"]


async def test_a_sync_function_may_use_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is stale or left over of its thread's connections is closed before and after."""
    seen: list[tuple[str, int]] = []

    def note(what: str) -> None:
        seen.append((what, threading.get_ident()))

    monkeypatch.setattr(db, "close_old_connections", lambda: note("closed"))
    await repeat(lambda: note("called"), Sink(room=1))
    assert [what for what, _ in seen] == ["closed", "called", "closed"]
    assert len({thread for _, thread in seen}) == 1
    assert seen[0][1] != threading.get_ident()


# When


async def test_it_begins_at_once() -> None:
    sink = Sink(room=1)
    await repeat(get_async, sink, interval=ENDLESS)
    assert len(sink.frames) == 1


@pytest.mark.parametrize("interval", [0, -1, float("nan"), float("inf")])
async def test_an_interval_is_a_number_above_zero(interval: float) -> None:
    with pytest.raises(ValueError, match="give a number above 0"):
        Repetition(get_async, interval_seconds=interval, deduplicate=True)


class Clock:
    """A monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """In the place of the module's own."""
    made = Clock()
    monkeypatch.setattr("wsadapter.repetition.time", made)
    return made


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> list[float]:
    """The seconds that are waited between two runs, which are over at once."""
    waited: list[float] = []

    async def ends_within(closed: Any, seconds: float) -> bool:
        waited.append(seconds)
        clock.now += seconds
        return bool(closed)

    monkeypatch.setattr("wsadapter.repetition.ends_within", ends_within)
    return waited


async def test_the_times_do_not_drift_and_what_is_missed_is_left_out(
    clock: Clock, waits: list[float]
) -> None:
    began: list[float] = []
    takes = [0.0, 3.0, 25.0, 10.0, 0.0]
    sink = Sink(room=len(takes))

    async def get() -> int:
        began.append(clock.now - 1000)
        clock.now += takes[len(began) - 1]
        return len(began)

    await repeat(get, sink, interval=10)
    assert began == [0, 10, 20, 50, 60]
    assert waits[:4] == [10, 7, 5, 0]


@pytest.mark.parametrize("slow", ["get", "send"])
async def test_never_two_at_once_however_slow(waits: list[float], slow: str) -> None:
    """Though the interval is over again before the first one is done."""
    sink, calls, go_on = Sink(room=3), 0, asyncio.Event()

    async def get() -> int:
        nonlocal calls
        calls += 1
        if slow == "get":
            await go_on.wait()
        return calls

    async def send(frame: Frame) -> bool:
        if slow == "send":
            await go_on.wait()
        return await sink.send(frame)

    repetition = Repetition(get, interval_seconds=TINY, deduplicate=True)
    running = asyncio.create_task(repetition.run(send, sink.closed))
    await settle()
    assert calls == 1 and not sink.frames
    go_on.set()
    await running
    assert sink.frames == ["1", "2", "3"]


# The end


async def test_it_ends_while_it_waits_for_the_next_time() -> None:
    sink = Sink()
    running = asyncio.create_task(repeat(get_async, sink, interval=ENDLESS))
    await settle()
    assert not running.done()
    sink.closed.come()
    await running
    assert len(sink.frames) == 1


async def test_what_it_was_getting_at_the_end_is_not_sent_and_nothing_is_got_any_more() -> None:
    sink, go_on, calls = Sink(), asyncio.Event(), 0

    async def get() -> int:
        nonlocal calls
        calls += 1
        await go_on.wait()
        return calls

    running = asyncio.create_task(repeat(get, sink))
    await settle()
    sink.closed.come()
    go_on.set()
    await running
    assert calls == 1 and not sink.frames


async def test_a_duplicate_at_the_end_ends_it_as_well() -> None:
    sink = Sink()
    getter = Getter(sink, [1, 1, 1])
    await repeat(getter.get, sink)
    assert getter.calls == 3 and sink.frames == ["1"]


@pytest.mark.parametrize("kind", ["async", "in a thread"])
async def test_it_can_be_cancelled_while_it_gets(kind: str) -> None:
    entered, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def block() -> None:
        loop.call_soon_threadsafe(entered.set)
        go_on.wait(30)

    async def wait() -> None:
        entered.set()
        await asyncio.Event().wait()

    sink = Sink()
    running = asyncio.create_task(repeat(wait if kind == "async" else block, sink))
    await entered.wait()
    running.cancel()
    await asyncio.wait([running], timeout=10)
    assert running.cancelled(), "though the thread goes on"
    go_on.set()
    assert not sink.frames


# What goes wrong


def fail() -> None:
    raise LookupError("no such thing")


async def fail_async() -> None:
    raise LookupError("no such thing")


@pytest.mark.parametrize("get", [fail, fail_async], ids=["sync", "async"])
async def test_the_first_error_of_the_function_is_raised(get: Callable[[], Any]) -> None:
    sink = Sink()
    with pytest.raises(LookupError, match="no such thing"):
        await repeat(get, sink)
    assert not sink.frames


async def test_values_before_the_error_are_sent() -> None:
    sink, values = Sink(), iter([1, 2])

    def get() -> int:
        for value in values:
            return value
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        await repeat(get, sink)
    assert sink.frames == ["1", "2"]


async def test_an_iterator_that_is_exhausted_is_an_error_like_any_other() -> None:
    """No future takes a StopIteration: whoever waited for it would wait for ever."""
    sink = Sink()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: None)
    running = asyncio.create_task(repeat(partial(next, iter([1, 2])), sink))
    await asyncio.wait([running], timeout=2)
    assert running.done(), "it waits for ever"
    assert isinstance(running.exception(), Exception)
    assert sink.frames == ["1", "2"]


async def test_an_error_of_the_comparison_is_raised() -> None:
    with pytest.raises(TypeError):
        await sent([1, "x"], lambda last, current: bool(last < current))


async def test_what_cannot_be_encoded_is_an_error() -> None:
    sink = Sink()

    async def get() -> object:
        return {"value": object()}

    with pytest.raises(EncodeError, match=r"\$\.value"):
        await repeat(get, sink)
    assert not sink.frames


# What cannot work


async def says(last: int, current: int) -> bool:
    return last == current


@pytest.mark.parametrize("deduplicate", ["yes", None, says], ids=["text", "nothing", "async"])
def test_what_decides_is_a_function_that_decides_at_once(deduplicate: Any) -> None:
    with pytest.raises(TypeError, match=r"deduplicate is True, False, or a function"):
        Repetition(lambda: 1, interval_seconds=1, deduplicate=deduplicate)


def test_what_is_sent_comes_from_a_function() -> None:
    with pytest.raises(TypeError, match=r"A function gives what is sent, and 5 is none\."):
        Repetition(5, interval_seconds=1, deduplicate=True)  # type: ignore[arg-type]
