"""What is pushed in one turn of the event loop leaves at its end, once for each connection."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from wsadapter import corking
from wsadapter.corking import Cork, current_cork
from wsadapter.wire.joined import Joined
from wsadapter.wire.orders import Push


class Loop:
    """An event loop whose turns are ended by hand."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def end_turn(self) -> None:
        callbacks, self.soon = self.soon, []
        for callback in callbacks:
            callback()


class Held:
    """Somebody with frames; ``log`` is where all of them note that they were uncorked."""

    def __init__(self, name: str, log: list[str], error: Exception | None = None) -> None:
        self._name = name
        self._log = log
        self._error = error

    def uncork(self) -> None:
        self._log.append(self._name)
        if self._error is not None:
            raise self._error


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def cork(loop: Loop) -> Cork:
    return Cork(loop)  # type: ignore[arg-type]


def test_it_holds_until_the_end_of_the_turn(cork: Cork, loop: Loop) -> None:
    log: list[str] = []
    assert not cork.holding
    cork.hold()
    cork.add(Held("one", log))
    cork.add(Held("other", log))
    assert cork.holding and not log
    loop.end_turn()
    assert not cork.holding and log == ["one", "other"]


def test_a_turn_has_one_end_however_often_it_is_held(cork: Cork, loop: Loop) -> None:
    for _ in range(3):
        cork.hold()
    assert len(loop.soon) == 1
    loop.end_turn()
    cork.hold()
    assert len(loop.soon) == 1, "the next turn has its own"


def test_nobody_is_uncorked_twice(cork: Cork, loop: Loop) -> None:
    log: list[str] = []
    cork.hold()
    cork.add(Held("one", log))
    loop.end_turn()
    cork.hold()
    loop.end_turn()
    assert log == ["one"]


def test_one_that_fails_does_not_stop_the_others(
    cork: Cork, loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []
    cork.hold()
    for held in (Held("one", log), Held("broken", log, RuntimeError("broken")), Held("last", log)):
        cork.add(held)
    with caplog.at_level(logging.ERROR, "wsadapter.connection"):
        loop.end_turn()
    assert log == ["one", "broken", "last"]
    (record,) = caplog.records
    assert record.exc_info is not None and "others have written" in record.getMessage()
    cork.hold()
    assert len(loop.soon) == 1, "and the next turn is as any other"


def test_one_that_is_held_back_while_others_are_uncorked_waits_for_the_next_end(
    cork: Cork, loop: Loop
) -> None:
    """Uncorking may fail, and who hears of that may send."""
    log: list[str] = []

    class Sends(Held):
        def uncork(self) -> None:
            super().uncork()
            cork.hold()
            cork.add(Held("later", log))

    cork.hold()
    cork.add(Sends("first", log))
    cork.add(Held("second", log))
    loop.end_turn()
    assert log == ["first", "second"] and cork.holding
    loop.end_turn()
    assert log == ["first", "second", "later"] and not cork.holding


def test_all_chains_of_a_turn_begin_at_the_same_nothing(cork: Cork, loop: Loop) -> None:
    beginning = cork.nothing
    cork.hold()
    assert cork.nothing is beginning
    loop.end_turn()
    assert cork.nothing is not beginning and cork.nothing.count == 0


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_collector")
def test_nothing_of_a_turn_is_remembered_after_it(cork: Cork, loop: Loop) -> None:
    before = remembered()
    cork.hold()
    log: list[str] = []
    cork.add(Held("one", log))
    cork.nothing.then(Push("a push")).then(Push("another")).to_bytes(0)
    loop.end_turn()
    assert remembered() == before


def remembered() -> dict[type, int]:
    kinds = [type(found) for found in gc.get_objects()]
    return {kind: kinds.count(kind) for kind in (Joined, Push, Held)}


async def test_a_running_loop_has_one_cork_and_ends_its_turns() -> None:
    log: list[str] = []
    cork = current_cork()
    assert current_cork() is cork
    cork.hold()
    cork.add(Held("one", log))
    assert not log
    await asyncio.sleep(0)
    assert log == ["one"] and not cork.holding


def test_each_event_loop_has_its_own_and_closed_ones_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    corks: dict[Any, Cork] = {}
    monkeypatch.setattr(corking, "_corks", corks)

    async def ask() -> Cork:
        return current_cork()

    first, second = asyncio.run(ask()), asyncio.run(ask())
    assert first is not second and list(corks.values()) == [second]


def test_there_is_none_without_a_running_loop() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        current_cork()
