"""`Turns`: a storm is a queue. `Together`: those whose turn it is share one call."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from wsadapter.errors import StoreUnavailable
from wsadapter.store.operations import BATCH_SIZE
from wsadapter.turns import AT_ONCE, Together, Turns, turns


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


class TestTurns:
    async def test_so_many_have_theirs_at_once_and_no_more(self) -> None:
        queue, go_on, inside = Turns(), asyncio.Event(), 0

        async def take_one() -> None:
            nonlocal inside
            async with queue.turn(60):
                inside += 1
                await go_on.wait()

        tasks = [asyncio.create_task(take_one()) for _ in range(AT_ONCE * 3)]
        await settled()
        assert inside == AT_ONCE
        go_on.set()
        await asyncio.gather(*tasks)
        assert inside == AT_ONCE * 3

    async def test_the_timeout_begins_with_the_turn(self) -> None:
        queue, go_on = Turns(), asyncio.Event()

        async def hold() -> None:
            async with queue.turn(60):
                await go_on.wait()

        async def hurry() -> str:
            async with queue.turn(0):  # over before it could have waited for anybody
                return "served"

        holding = [asyncio.create_task(hold()) for _ in range(AT_ONCE)]
        await settled()
        hurrying = asyncio.create_task(hurry())
        await settled()
        assert not hurrying.done()
        go_on.set()
        assert await hurrying == "served"
        await asyncio.gather(*holding)

    async def test_who_waits_for_a_redis_that_is_away_is_told_at_once(self) -> None:
        queue = Turns()

        async def ask(timeout_seconds: float) -> None:
            async with queue.turn(timeout_seconds):
                await asyncio.Event().wait()

        first = [asyncio.create_task(ask(0.01)) for _ in range(AT_ONCE)]
        later = [asyncio.create_task(ask(60)) for _ in range(AT_ONCE)]
        outcomes = await asyncio.gather(*first, *later, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}

    async def test_each_event_loop_has_its_own(self) -> None:
        async def theirs() -> Turns:
            return turns()

        assert turns() is turns()
        assert await asyncio.to_thread(asyncio.run, theirs()) is not turns()


class Performed:
    """What a `Together` has been asked to perform; held up until it may go on."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.error: Exception | None = None

    async def __call__(self, calls: Sequence[int]) -> list[str]:
        self.batches.append(list(calls))
        await self.go_on.wait()
        if self.error is not None:
            raise self.error
        return [f"answer {call}" for call in calls]


class TestTogether:
    async def test_the_calls_of_one_turn_leave_together_and_get_their_own_answers(self) -> None:
        together = Together(performed := Performed(), timeout_seconds=60)
        answers = await asyncio.gather(*(together.ask(number) for number in range(5)))
        assert answers == [f"answer {number}" for number in range(5)]
        assert performed.batches == [[0, 1, 2, 3, 4]]

    async def test_what_is_asked_meanwhile_leaves_together_afterwards(self) -> None:
        together = Together(performed := Performed(), timeout_seconds=60)
        performed.go_on.clear()
        tasks = [asyncio.create_task(together.ask(0))]
        await settled()
        for number in range(1, 4):  # one after the other, in turns of their own
            tasks.append(asyncio.create_task(together.ask(number)))
            await settled()
        assert performed.batches == [[0]]
        performed.go_on.set()
        await asyncio.gather(*tasks)
        assert performed.batches == [[0], [1, 2, 3]]

    async def test_no_batch_is_longer_than_redis_should_be_held(self) -> None:
        together = Together(performed := Performed(), timeout_seconds=60)
        await asyncio.gather(*(together.ask(number) for number in range(BATCH_SIZE * 2 + 1)))
        assert [len(batch) for batch in performed.batches] == [BATCH_SIZE, BATCH_SIZE, 1]

    async def test_an_error_is_told_to_all_of_its_batch_and_to_nobody_else(self) -> None:
        together = Together(performed := Performed(), timeout_seconds=60)
        performed.error = StoreUnavailable("away")
        outcomes = await asyncio.gather(
            *(together.ask(number) for number in range(3)), return_exceptions=True
        )
        assert outcomes == [performed.error] * 3
        performed.error = None
        assert await together.ask(7) == "answer 7"

    async def test_who_waits_for_a_redis_that_is_away_is_told_with_those_ahead(self) -> None:
        together = Together(performed := Performed(), timeout_seconds=0.01)
        performed.go_on.clear()
        outcomes = await asyncio.gather(
            *(together.ask(number) for number in range(BATCH_SIZE * 3)), return_exceptions=True
        )
        assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
        assert len(performed.batches) == 1
        performed.go_on.set()
        assert await together.ask(7) == "answer 7"

    async def test_who_gives_up_before_it_leaves_is_left_out(self) -> None:
        together = Together(performed := Performed(), timeout_seconds=60)
        performed.go_on.clear()
        first, second, third = (asyncio.create_task(together.ask(number)) for number in range(3))
        await asyncio.sleep(0)
        second.cancel()
        performed.go_on.set()
        assert await asyncio.gather(first, third) == ["answer 0", "answer 2"]
        assert performed.batches == [[0, 2]]

    @pytest.mark.parametrize("error", [None, StoreUnavailable("away")])
    async def test_who_gives_up_on_the_way_disturbs_nobody(self, error: Exception | None) -> None:
        together = Together(performed := Performed(), timeout_seconds=60)
        performed.go_on.clear()
        first, second = (asyncio.create_task(together.ask(number)) for number in range(2))
        await settled()
        first.cancel()
        await settled()
        performed.error = error
        performed.go_on.set()
        (outcome,) = await asyncio.gather(second, return_exceptions=True)
        assert outcome == (error or "answer 1")
        assert first.cancelled()

    async def test_it_has_a_task_only_while_there_is_work(self) -> None:
        together = Together(performed := Performed(), timeout_seconds=60)
        await together.ask(0)
        await settled()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        performed.go_on.clear()
        asking = asyncio.create_task(together.ask(1))
        await settled()
        asking.cancel()
        await together.stop()
        await settled()
        assert asyncio.all_tasks() == {asyncio.current_task()}
