"""When a client comes back, how soon, and when it stays away; time is virtual."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from websockets.exceptions import InvalidURI

from tests.client.virtual_time import now, passes, settled, virtual_time
from tests.client.world import Hang, World, status
from wsadapter.client import ConnectTimeout, Refused, RequestError, State
from wsadapter.close_codes import ClosedBy
from wsadapter.errors import ConnectionClosed


@pytest.mark.parametrize("code", [1001, 1006, 1012, 3001, 3012, 4499])
@virtual_time
async def test_a_code_that_says_come_back(code: int) -> None:
    world = World()
    async with world.client() as socket:
        world.wire.cut() if code == 1006 else world.wire.end(code)
        await settled()
        assert socket.state is State.WAITING
        await passes(0.26)
        assert socket.state is State.OPEN
        assert len(world.wires) == 2


@pytest.mark.parametrize("code", [1009, 3500, 3503, 4999])
@virtual_time
async def test_a_code_that_says_stay_away(code: int) -> None:
    world = World()
    async with world.client() as socket:
        world.wire.end(code, "why")
        with pytest.raises(ConnectionClosed) as end:
            await socket.receive()
        await passes(60)
    assert (end.value.code, end.value.reason, end.value.closed_by) == (
        code,
        "why",
        ClosedBy.SERVER,
    )
    assert len(world.wires) == 1
    with pytest.raises(ConnectionClosed, match="why"):
        await socket.send("too late")


@virtual_time
async def test_a_life_in_states() -> None:
    world = World()
    client_ids = []
    async with world.client() as socket:
        for client_id in ("c1", "c2"):
            client_ids.append(socket.client_id)
            world.wire.welcome(client_id)
            await settled()
            client_ids.append(socket.client_id)
            if client_id == "c1":
                world.wire.end(3001)
                await passes(0.26)
    assert [str(state) for state in world.states] == [
        "connecting",
        "open",
        "waiting",
        "connecting",
        "open",
        "closed",
    ]
    assert client_ids == [None, "c1", None, "c2"]
    assert socket.client_id is None
    assert world.gaps == ["reconnected"]


@virtual_time
async def test_back_off_grows_until_a_connection_proves_stable() -> None:
    world = World()
    delays = []

    async def live(*, seconds: float, is_welcome: bool = True) -> None:
        """One connection: what the client waits after it."""
        if is_welcome:
            world.wire.welcome()
        await passes(seconds)
        ended_at = now()
        world.wire.cut()
        await passes(15)  # the longest delay is 10
        delays.append(round(world.dialled_at[-1] - ended_at, 2))

    async with world.client(stable_after_seconds=30):
        await live(seconds=14.9)  # and the 15 above: not yet stable when the next one ends
        for _ in range(2):
            await live(seconds=5)
        await live(seconds=12, is_welcome=False)
        await live(seconds=30)
        await live(seconds=1)
    assert delays == [0.25, 0.5, 1, 2, 0.25, 0.5]


@virtual_time
async def test_refused_attempts_are_repeated_ever_more_slowly() -> None:
    world = World()
    world.failures.extend([ConnectionRefusedError(), status(503), EOFError(), OSError("no route")])
    async with world.client() as socket:
        assert socket.state is State.OPEN
    assert world.delays() == pytest.approx([0.25, 0.5, 1, 2])


@virtual_time
async def test_an_attempt_that_hangs_is_given_up() -> None:
    world = World()
    async with world.client(connect_within_seconds=3):
        world.failures.append(Hang())
        world.wire.cut()
        await passes(0.25 + 3 + 0.5 + 0.01)
        assert len(world.wires) == 2


@virtual_time
async def test_no_connection_in_time() -> None:
    world = World()
    world.failures.extend([OSError("no route to host")] * 100)
    began = now()
    with pytest.raises(ConnectTimeout, match=r"within 20 seconds\. The last attempt: no route"):
        async with world.client():
            pytest.fail("there is no connection")
    assert now() - began == pytest.approx(20)
    assert world.states[-1] is State.CLOSED


@virtual_time
async def test_no_answer_at_all() -> None:
    world = World()
    world.failures.append(Hang())
    with pytest.raises(ConnectTimeout, match="within 20 seconds") as error:
        await world.client().__aenter__()
    assert isinstance(error.value, TimeoutError)


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410])
@virtual_time
async def test_a_status_that_says_stay_away(code: int) -> None:
    world = World()
    world.failures.append(status(code))
    with pytest.raises(Refused, match=f"HTTP status {code}") as refusal:
        await world.client().__aenter__()
    assert (refusal.value.status, refusal.value.code) == (code, 1006)
    assert isinstance(refusal.value, ConnectionClosed)
    assert len(world.dialled_at) == 1


@pytest.mark.parametrize("code", [200, 408, 425, 429, 500, 502, 503])
@virtual_time
async def test_a_status_that_says_come_back(code: int) -> None:
    world = World()
    world.failures.append(status(code))
    async with world.client():
        assert len(world.dialled_at) == 2


@virtual_time
async def test_a_refusal_later_ends_it_too() -> None:
    world = World()
    async with world.client() as socket:
        world.failures.append(status(403))
        world.wire.cut()
        with pytest.raises(Refused):
            await _all(socket)


@virtual_time
async def test_what_no_attempt_can_mend_is_raised() -> None:
    world = World()
    world.failures.append(InvalidURI("gopher://", "no"))
    with pytest.raises(InvalidURI):
        await world.client().__aenter__()
    async with world.client() as socket:
        world.failures.append(KeyError("ticket"))
        world.wire.cut()
        with pytest.raises(KeyError):
            await socket.receive()
        with pytest.raises(KeyError):
            await socket.request("chat.who")


@virtual_time
async def test_entering_can_be_cancelled() -> None:
    world = World()
    world.failures.append(Hang())
    entering = asyncio.create_task(world.client().__aenter__())
    await settled()
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert world.states[-1] is State.CLOSED


@virtual_time
async def test_a_client_is_entered_once() -> None:
    async with World().client() as socket:
        with pytest.raises(RuntimeError, match=r"Call connect\(\) for another"):
            await socket.__aenter__()


@virtual_time
async def test_a_listeners_fault_is_logged_and_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    world.fault = LookupError("a listener's own fault")
    with caplog.at_level(logging.ERROR, "wsadapter.client"):
        async with world.client():
            world.wire.cut()
            await passes(1)
            assert len(world.wires) == 2
    assert "a listener's own fault" in caplog.text


# The end by the application


@virtual_time
async def test_leaving_closes_in_the_regular_way() -> None:
    world = World()
    async with world.client() as socket:
        pass
    assert socket.state is State.CLOSED
    assert world.wire.closed_with == (1000, "")
    assert [message async for message in socket] == []
    with pytest.raises(ConnectionClosed) as end:
        await socket.send("too late")
    assert end.value.closed_by is ClosedBy.CLIENT


@virtual_time
async def test_close_is_final_in_every_state() -> None:
    async def bring(state: State, world: World) -> None:
        if state is State.CLOSED:
            world.wire.end(3503)
        elif state is not State.OPEN:
            world.wire.cut()
            world.failures.append(Hang())
            await passes(0.25 if state is State.CONNECTING else 0.1)

    for state in State:
        world = World()
        async with world.client() as socket:
            await bring(state, world)
            await settled()
            assert socket.state is state
            began = now()
            await socket.close(4500, "bye")
            await socket.close()
            assert now() - began < 0.001
            assert str(socket.state) == "closed"
            assert world.wire.closed_with == ((4500, "bye") if state is State.OPEN else None)
            await passes(60)
        assert len(world.wires) == 1


@virtual_time
async def test_a_server_that_says_no_goodbye_is_left() -> None:
    world = World()
    began = now()
    async with world.client():
        world.wire.says_goodbye = False
    assert now() - began == pytest.approx(2)
    assert world.wire.transport.is_aborted


@virtual_time
async def test_a_server_that_does_not_read_is_left() -> None:
    world = World()
    async with world.client() as socket:
        world.wire.stop_reading()
        await socket.send("a")
        await socket.send("b")
        await settled()
        began = now()
    assert 2 <= now() - began <= 4
    assert world.wire.sent == ["a"]
    assert world.wire.transport.is_aborted


@virtual_time
async def test_a_closed_client_delivers_nothing_more() -> None:
    world = World()
    async with world.client() as socket:
        world.wire.say({"type": "a"})
        await settled()
        await socket.close()
        assert [message async for message in socket] == []


@virtual_time
async def test_while_the_farewell_is_under_way_nothing_goes_in_or_out() -> None:
    world = World()
    async with world.client() as socket:
        world.wire.says_goodbye = False
        closing = asyncio.create_task(socket.close(4500, "bye"))
        await settled()
        world.wire.say("too late")
        iterating = asyncio.create_task(_all(socket))
        await settled()
        with pytest.raises(ConnectionClosed, match="code 4500"):
            await socket.send("too late")
        assert not closing.done()
        await closing
        assert await iterating == []
        with pytest.raises(ConnectionClosed, match="code 4500"):
            await socket.send("later still")


@virtual_time
async def test_iteration_ends_when_another_task_closes() -> None:
    async with World().client() as socket:
        iterating = asyncio.create_task(_all(socket))
        await settled()
        await socket.close()
        assert await iterating == []


@pytest.mark.parametrize(("code", "reason"), [(999, ""), (1006, ""), (1000, "é" * 62)])
@virtual_time
async def test_what_cannot_be_said_at_a_close(code: int, reason: str) -> None:
    async with World().client() as socket:
        with pytest.raises(ValueError, match=r"Shorten|no close code"):
            await socket.close(code, reason)
        assert str(socket.state) == "open"


@virtual_time
async def test_a_cancelled_body_closes_as_well() -> None:
    world = World()

    async def body() -> None:
        async with world.client() as socket:
            await socket.receive()

    running = asyncio.create_task(body())
    await settled()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert world.wire.closed_with == (1000, "")


@virtual_time
async def test_a_task_that_is_cancelled_from_outside_leaves_nothing_waiting() -> None:
    """As asyncio.run() does it to all tasks at its end."""
    world = World()
    async with world.client() as socket:
        asking = asyncio.create_task(socket.request("slow", timeout=None))
        await settled()
        assert socket._task is not None
        socket._task.cancel()
        with pytest.raises(RequestError, match="ended before the reply"):
            await asking
        assert world.wire.closed_with == (1001, "")


async def _all(socket: Any) -> list[Any]:
    return [message async for message in socket]
