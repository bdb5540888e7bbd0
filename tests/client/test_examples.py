"""The examples that `socket.js` is held to as well."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import pytest

from tests.client.virtual_time import now, passes, settled, virtual_time
from tests.client.world import World
from tests.examples import CLIENT
from wsadapter.client import RequestError, Sequence, State
from wsadapter.close_codes import CloseCode, ClosedBy
from wsadapter.errors import ConnectionClosed
from wsadapter.wire.reconnecting import Timings, Watch, backoff_delay_seconds, watch_silence

SILENCE = CLIENT["silence"]
EXHAUSTION = CLIENT["exhaustion"]


def server_frame(example: dict[str, Any]) -> str:
    return str(example["server"])


def named(example: dict[str, Any]) -> str:
    return str(example["name"])


def test_the_table_has_every_close_code() -> None:
    assert {code for code, _, _ in CLIENT["close_codes"]} >= set(CloseCode)


@pytest.mark.parametrize(("code", "comes_back", "kind"), CLIENT["close_codes"])
@virtual_time
async def test_close_codes(code: int, comes_back: bool, kind: str | None) -> None:
    assert ConnectionClosed(code, "", ClosedBy.SERVER).kind == kind
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


@pytest.mark.parametrize("life", EXHAUSTION["lives"], ids=named)
@virtual_time
async def test_a_server_that_is_exhausted(life: dict[str, Any]) -> None:
    world = World()
    world.chance = EXHAUSTION["random"]
    async with world.client():
        for connection in life["connections"]:
            world.wire.welcome()
            await passes(connection.get("lived", 0))
            for told in connection["told"]:
                world.wire.say({"type": "ws:error", "code": "x", "message": "Later.", **told})
            await passes(connection.get("lives", 0))
            ended_at = now()
            world.wire.end(connection["code"])
            await passes(connection["seconds"] + 0.01)
            delay_seconds = world.dialled_at[-1] - ended_at
            assert delay_seconds == pytest.approx(connection["seconds"], abs=0.005)


@pytest.mark.parametrize("example", CLIENT["sequences"], ids=named)
def test_sequences(example: dict[str, Any]) -> None:
    sequence = Sequence()
    taken = [sequence.take({"type": "a", "sequence": number}) for number in example["numbers"]]
    assert [[*each] for each in taken] == example["taken"]


@pytest.mark.parametrize("check", SILENCE["checks"], ids=named)
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


@pytest.mark.parametrize("example", CLIENT["members"], ids=server_frame)
@virtual_time
async def test_members(example: dict[str, Any]) -> None:
    """What a group is told of its members is news for whoever reads, and is not answered."""
    world = World()
    async with world.client() as socket:
        world.wire.say_raw(example["server"])
        world.wire.say("the end of the example")
        delivered = []
        while (message := await socket.receive()) != "the end of the example":
            delivered.append(message)
        assert delivered == example["news"]
        await settled()
        assert world.wire.messages == []


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


@pytest.mark.parametrize("example", CLIENT["controls"], ids=lambda example: example["call"])
@virtual_time
async def test_controls(example: dict[str, Any]) -> None:
    world = World()
    async with world.client() as socket:
        await getattr(socket, example["call"])(*example["arguments"])
        await settled()
        assert world.wire.messages == [example["frame"]]


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
        told = error.value
        assert [
            told.code,
            told.message,
            told.path,
            told.kind,
            told.retry_after,
        ] == example["error"]
