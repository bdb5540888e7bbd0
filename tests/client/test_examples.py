"""The examples that `socket.js` is held to as well."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import pytest

from tests.client.virtual_time import passes, settled, virtual_time
from tests.client.world import World
from tests.examples import CLIENT
from wsadapter.client import RequestError, State
from wsadapter.close_codes import CloseCode
from wsadapter.wire.reconnecting import Timings, Watch, backoff_delay_seconds, watch_silence

SILENCE = CLIENT["silence"]


def server_frame(example: dict[str, Any]) -> str:
    return str(example["server"])


def test_the_table_has_every_close_code() -> None:
    assert {code for code, _ in CLIENT["close_codes"]} >= set(CloseCode)


@pytest.mark.parametrize(("code", "comes_back"), CLIENT["close_codes"])
@virtual_time
async def test_close_codes(code: int, comes_back: bool) -> None:
    world = World()
    async with world.client() as socket:
        world.wire.end(code)
        await settled()
        assert socket.state is (State.WAITING if comes_back else State.CLOSED)
        await passes(1)
        assert len(world.wires) == (2 if comes_back else 1)


@pytest.mark.parametrize("example", CLIENT["delays"], ids=str)
def test_delays(example: dict[str, float]) -> None:
    delay = backoff_delay_seconds(int(example["attempt"]), example["random"], Timings())
    assert delay == pytest.approx(example["seconds"])


@virtual_time
async def test_a_server_that_refuses_every_attempt() -> None:
    world = World()
    world.chance = CLIENT["refusals"]["random"]
    expected = CLIENT["refusals"]["seconds"]
    world.failures.extend([OSError()] * len(expected))
    async with world.client(connect_within_seconds=math.inf):
        assert world.delays() == pytest.approx(expected)


@pytest.mark.parametrize("check", SILENCE["checks"], ids=lambda check: check["name"])
def test_silence(check: dict[str, Any]) -> None:
    timings = Timings(
        ping_after_seconds=SILENCE["ping_after_seconds"],
        pong_within_seconds=SILENCE["pong_within_seconds"],
    )
    action, watch, again_in_seconds = watch_silence(
        Watch(check["since"], check["pings"]), check["now"], timings
    )
    assert (action.value, [*watch]) == (check["verdict"], check["then"])
    assert again_in_seconds == (math.inf if check["again_in"] is None else check["again_in"])


@pytest.mark.parametrize("example", CLIENT["frames"], ids=server_frame)
@virtual_time
async def test_frames(example: dict[str, Any]) -> None:
    world = World()
    async with world.client() as socket:
        world.wire.say_raw(example["server"])
        world.wire.say("the end of the example")
        delivered = []
        while (message := await socket.receive()) != "the end of the example":
            delivered.append(message)
        assert delivered == example["delivers"]
        await settled()
        assert world.wire.messages == [json.loads(answer) for answer in example["answers"]]


@pytest.mark.parametrize("example", CLIENT["requests"], ids=str)
@virtual_time
async def test_requests(example: dict[str, Any]) -> None:
    world = World()
    async with world.client() as socket:
        with pytest.raises(RequestError, match="ended before the reply"):
            await asyncio.gather(
                socket.request(example["type"], example["fields"]), closed_later(world)
            )
        assert world.wire.messages == [example["frame"]]


async def closed_later(world: World) -> None:
    await settled()
    world.wire.end(3503)


@pytest.mark.parametrize("example", CLIENT["outcomes"], ids=server_frame)
@virtual_time
async def test_outcomes(example: dict[str, Any]) -> None:
    world = World()
    async with world.client() as socket:
        asking = asyncio.create_task(socket.request("chat.say"))
        await settled()
        world.wire.say_raw(example["server"])
        if "error" not in example:
            assert await asking == example["result"]
            return
        with pytest.raises(RequestError) as error:
            await asking
        assert [error.value.code, error.value.message, error.value.path] == example["error"]
