"""Seats are limited for the whole process, and given up when all is cleaned up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from wsadapter import serving


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert not serving._seats and not serving._when_empty


def a_connection() -> Any:
    """Nothing is asked of it."""
    return object()


async def leave(connection: Any) -> None:
    await serving.cleaned_up(connection, asyncio.sleep(0))


async def test_a_seat_is_taken_until_the_clean_up_is_over() -> None:
    connection, clean = a_connection(), asyncio.Event()
    assert serving.is_empty()
    assert serving.take_seat(connection, 1)
    assert serving.seated() == [connection] and not serving.is_empty()
    cleaning_up = asyncio.create_task(serving.cleaned_up(connection, wait_for(clean)))
    await asyncio.sleep(0)
    assert not serving.take_seat(a_connection(), 1)
    clean.set()
    await cleaning_up
    assert serving.is_empty()


async def wait_for(event: asyncio.Event) -> None:
    await event.wait()


async def test_a_seat_is_given_up_even_if_the_clean_up_fails() -> None:
    async def fail() -> None:
        raise LookupError

    connection = a_connection()
    serving.take_seat(connection, None)
    with pytest.raises(LookupError):
        await serving.cleaned_up(connection, fail())
    assert serving.is_empty()


async def test_who_was_turned_away_gives_nothing_up() -> None:
    seated, standing = a_connection(), a_connection()
    serving.take_seat(seated, None)
    await leave(standing)
    assert serving.seated() == [seated]
    await leave(seated)


async def test_when_the_last_has_left_it_is_told_once() -> None:
    told: list[str] = []
    connections = [a_connection() for _ in range(2)]
    for connection in connections:
        serving.take_seat(connection, None)
    serving.when_empty(lambda: told.append("empty"))
    await leave(connections[0])
    assert not told
    await leave(connections[1])
    assert told == ["empty"]
    serving.take_seat(connections[0], None)
    await leave(connections[0])
    assert told == ["empty"]


async def test_the_limit_is_one_for_all_threads() -> None:
    async def crowd() -> list[Any]:
        """Those who had a seat; they keep it for as long as the others try."""
        connections = [a_connection() for _ in range(200)]
        seated = [each for each in connections if serving.take_seat(each, 100)]
        await asyncio.to_thread(barrier.wait)
        for each in seated:
            await leave(each)
        return seated

    barrier = threading.Barrier(4)
    crowds = await asyncio.gather(
        *(asyncio.to_thread(lambda: asyncio.run(crowd())) for _ in range(4))
    )
    assert sum(map(len, crowds)) == 100


async def test_loops_that_were_closed_take_no_seats() -> None:
    async def vanish() -> None:
        serving.take_seat(a_connection(), 1)
        serving.when_empty(lambda: None)

    await asyncio.to_thread(lambda: asyncio.run(vanish()))
    connection = a_connection()
    assert serving.take_seat(connection, 1)
    assert serving.seating_loops() == [asyncio.get_running_loop()]
    await leave(connection)
