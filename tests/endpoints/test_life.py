"""What becomes of a connection is what becomes of its function, and the reverse."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from channels.layers import get_channel_layer

from tests.consumers.browser import Browser, Closed
from tests.consumers.conftest import Log
from tests.endpoints.conftest import Watched
from tests.waiting import aeventually
from wsadapter import (
    Connection,
    ConnectionClosed,
    InvalidMessage,
    State,
    abroadcast,
    adisconnect_client,
    adisconnect_user,
    aonline_clients,
    aonline_count,
    asend_to_client,
    asend_to_user,
    periodic,
    websocket,
)
from wsadapter.consumers import FRAMES_PER_TURN
from wsadapter.layers import InMemoryChannelLayer
from wsadapter.signals import client_connected, client_disconnected

Connect = Callable[..., Browser]


# It accepts, runs and closes


async def test_the_function_runs_on_an_open_connection(browser: Connect) -> None:
    @websocket
    async def greet(connection: Connection) -> None:
        await connection.send(f"{connection.state.value} {connection.client_id}")
        await connection.receive()

    client = browser(greet.as_asgi())
    client_id = await client.open()
    assert await client.receive() == f"open {client_id}"


async def test_it_closes_with_1000_when_the_function_returns(browser: Connect, log: Log) -> None:
    @websocket
    async def brief(connection: Connection) -> str:
        await connection.send("one")
        await connection.send("two")
        return "is nobody's"

    client = browser(brief.as_asgi())
    await client.open()
    assert [await client.receive(), await client.receive()] == ["one", "two"]
    assert await client.closed() == Closed(1000, "")
    assert not log.lines("handlers") and not log.lines("connection")


async def test_what_was_sent_leaves_before_it_closes(browser: Connect) -> None:
    """Even while the server takes nothing."""

    @websocket
    async def hasty(connection: Connection) -> None:
        for number in range(5):
            connection.post(str(number))

    client = browser(hasty.as_asgi(), takes=1)
    await client.open()
    assert [await client.receive() for _ in range(5)] == [0, 1, 2, 3, 4]
    assert await client.closed() == Closed(1000, "")


@pytest.mark.parametrize(
    "error",
    [LookupError("a secret"), asyncio.CancelledError("a secret"), TimeoutError("a secret")],
    ids=lambda error: type(error).__name__,
)
async def test_it_closes_with_1011_when_the_function_raises(
    browser: Connect, log: Log, error: BaseException
) -> None:
    @websocket
    async def broken(connection: Connection) -> None:
        await connection.send("last words")
        raise error

    client = browser(broken.as_asgi())
    client_id = await client.open()
    assert await client.receive() == "last words"
    assert await client.closed() == Closed(1011, "internal error")
    assert log.lines("handlers") == [f"The endpoint broken failed with client {client_id}."]
    assert log.tracebacks == log.lines("handlers")


class Order(msgspec.Struct):
    number: int


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ("{", "The message is not valid JSON."),
        ('{"number": "x"}', "Expected `int`, got `str`. ($.number)"),
        (b"\x00", "Expected text, got a binary frame of 1 bytes."),
    ],
    ids=["no JSON", "a wrong field", "the other kind of frame"],
)
async def test_a_mistake_of_the_client_that_leaves_the_function_closes_with_3501(
    browser: Connect, log: Log, frame: str | bytes, reason: str
) -> None:
    @websocket
    async def ordering(connection: Connection) -> None:
        await connection.receive_json(Order)

    client = browser(ordering.as_asgi())
    client_id = await client.open()
    await client.frame(frame)
    assert await client.closed() == Closed(3501, reason)
    assert log.lines("handlers") == [f"Client {client_id} of ordering erred: {reason}"]
    assert not log.tracebacks


async def test_a_function_that_handles_mistakes_goes_on(browser: Connect) -> None:
    @websocket
    async def patient(connection: Connection) -> None:
        try:
            await connection.receive_json(Order)
        except Exception as error:
            await connection.send(type(error).__name__)
        order = await connection.receive_json(Order)
        await connection.send(order.number)

    client = browser(patient.as_asgi())
    await client.open()
    assert await client.request_raw("{") == "InvalidMessage"
    assert await client.request(number=7) == 7
    assert (await client.closed()).code == 1000


async def test_a_function_may_close_with_a_code_of_its_own(browser: Connect) -> None:
    @websocket
    async def closing(connection: Connection) -> None:
        await connection.send("bye")
        await connection.close(4001, "as I like")

    client = browser(closing.as_asgi())
    await client.open()
    assert await client.receive() == "bye"
    assert await client.closed() == Closed(4001, "as I like")


@pytest.mark.parametrize("code", [1000, 1001, 4321])
async def test_the_end_that_leaves_the_function_is_quiet(
    browser: Connect, log: Log, watched: Watched, code: int
) -> None:
    @websocket
    async def reading(connection: Connection) -> None:
        try:
            while True:
                await connection.receive()
        except ConnectionClosed as end:
            watched.notes.append((end.code, str(end.closed_by), connection.state))
            raise

    client = browser(reading.as_asgi())
    await client.open()
    await client.leave(code)
    assert watched.notes == [(code, "client", State.CLOSED)]
    assert not log.lines("handlers") and not log.tracebacks


async def test_the_end_of_another_connection_is_a_failure(browser: Connect, log: Log) -> None:
    others: list[Connection] = []

    @websocket
    async def relay(connection: Connection) -> None:
        others.append(connection)
        async for frame in connection:
            await others[0].send(frame)

    first, second = browser(relay.as_asgi()), browser(relay.as_asgi())
    await first.open()
    await second.open()
    await first.leave()
    await second.frame("for the first")
    assert await second.closed() == Closed(1011, "internal error")
    assert len(log.tracebacks) == 1


# When the client goes


async def test_who_does_not_read_is_cancelled_and_cleans_up(
    browser: Connect, log: Log, watched: Watched
) -> None:
    @websocket
    async def waiting(connection: Connection) -> None:
        try:
            watched.begun.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            watched.notes.append(connection.state)
            raise
        finally:
            await asyncio.sleep(0)  # a clean-up may await
            watched.notes.append("cleaned up")

    client = browser(waiting.as_asgi())
    await client.open()
    await watched.begun.wait()
    await client.leave()
    assert watched.notes == [State.CLOSED, "cleaned up"]
    assert not log.lines("handlers")


@pytest.mark.parametrize("end", ["left", "cut", "kicked"])
async def test_however_it_ends_the_function_has_ended_with_it(
    browser: Connect, watched: Watched, end: str
) -> None:
    @websocket
    async def waiting(connection: Connection) -> None:
        try:
            watched.begun.set()
            await asyncio.Event().wait()
        finally:
            watched.notes.append(await aonline_count())

    client = browser(waiting.as_asgi())
    client_id = await client.open()
    await watched.begun.wait()
    if end == "left":
        await client.leave()
    elif end == "cut":
        await client.cut()
    else:
        await adisconnect_client(client_id)
        await client.closed()
    assert len(watched.notes) == 1


# Task groups, whose errors come in groups, and which leave their mark on the task (Python 3.11)


async def fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "code"),
    [(LookupError("no such thing"), 1011), (InvalidMessage("invalid", "not that"), 3501)],
    ids=["an error", "a mistake of the client"],
)
async def test_what_a_task_group_raises_ends_the_connection_as_what_it_is_made_of(
    browser: Connect, log: Log, error: Exception, code: int
) -> None:
    @websocket
    async def grouped(connection: Connection) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail(error))
            group.create_task(asyncio.Event().wait())  # type: ignore[arg-type]

    client = browser(grouped.as_asgi())
    await client.open()
    assert (await client.closed()).code == code
    assert len(log.lines("handlers")) == 1
    assert len(log.tracebacks) == (code == 1011)


async def test_an_error_after_one_that_was_caught_is_an_error_as_well(
    browser: Connect, log: Log
) -> None:
    @websocket
    async def grouped(connection: Connection) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail(LookupError()))
                group.create_task(asyncio.Event().wait())  # type: ignore[arg-type]
        except* LookupError:
            pass
        raise ValueError("another one")

    client = browser(grouped.as_asgi())
    await client.open()
    assert await client.closed() == Closed(1011, "internal error")
    assert len(log.tracebacks) == 1


async def test_a_client_that_leaves_a_task_group_is_no_error(browser: Connect, log: Log) -> None:
    @websocket
    async def both_ways(connection: Connection) -> None:
        async def read() -> None:
            while True:
                await connection.receive()

        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            group.create_task(connection.send_periodically(lambda: "tick", interval=1000))

    client = browser(both_ways.as_asgi())
    await client.open()
    assert await client.receive() == "tick"
    await client.leave()
    assert not log.tracebacks and not log.lines("handlers")


async def test_a_function_that_cancels_itself_leaves_no_connection_open(
    browser: Connect, log: Log
) -> None:
    @websocket
    async def giving_up(connection: Connection) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    client = browser(giving_up.as_asgi())
    await client.open()
    assert (await client.closed()).code == 1011


async def test_a_client_that_leaves_while_it_is_identified_is_let_go(
    browser: Connect, watched: Watched
) -> None:
    async def authenticate(scope: Any) -> None:
        try:
            watched.begun.set()
            await asyncio.Event().wait()
        finally:
            watched.over.set()

    @websocket(authenticate=authenticate)
    async def waiting(connection: Connection) -> None:
        """Nobody comes as far as this."""

    client = browser(waiting.as_asgi())
    await client.send_input({"type": "websocket.connect"})
    await watched.begun.wait()
    await client.send_input({"type": "websocket.disconnect", "code": 1006})
    await client.wait(10)
    assert watched.over.is_set()


async def test_a_flood_that_nobody_reads_leaves_others_their_turn(browser: Connect) -> None:
    client = browser(periodic(lambda: "tick", interval=1000).as_asgi())
    await client.open()
    assert await client.receive() == "tick"
    for _ in range(20 * FRAMES_PER_TURN):
        client.input_queue.put_nowait({"type": "websocket.receive", "text": "x"})
    turns = 0
    while not client.input_queue.empty():
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 20


async def test_who_reads_gets_what_had_arrived_and_then_the_end(
    browser: Connect, log: Log, watched: Watched
) -> None:
    @websocket
    async def slow(connection: Connection) -> None:
        async for frame in connection:
            watched.begun.set()
            await watched.go_on.wait()
            watched.notes.append(frame)
        watched.notes.append(connection.close_code)

    client = browser(slow.as_asgi())
    await client.open()
    for word in ("one", "two", "three"):
        await client.frame(word)
    await watched.begun.wait()
    await client.send_input({"type": "websocket.disconnect", "code": 1000})
    await aeventually(client.input_queue.empty)
    watched.go_on.set()
    await client.wait(10)
    assert watched.notes == ["one", "two", "three", 1000]
    assert not log.lines("handlers")


async def test_a_task_that_reads_may_read_to_the_end_while_others_are_cancelled(
    browser: Connect, watched: Watched
) -> None:
    @websocket
    async def both(connection: Connection) -> None:
        async def read() -> None:
            async for frame in connection:
                watched.begun.set()
                await watched.go_on.wait()
                watched.notes.append(frame)

        async def idle() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                watched.notes.append("idle ended")
                watched.go_on.set()

        connection.create_task(read())
        connection.create_task(idle())
        await asyncio.Event().wait()

    client = browser(both.as_asgi())
    await client.open()
    await client.frame("one")
    await client.frame("two")
    await watched.begun.wait()
    await client.leave()
    assert watched.notes == ["idle ended", "one", "two"]


async def test_who_reads_and_never_ends_is_cancelled(
    browser: Connect, log: Log, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    @websocket
    async def endless(connection: Connection) -> None:
        await connection.receive()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            watched.notes.append("cancelled")
            raise

    monkeypatch.setattr("wsadapter.tasks.PATIENCE_SECONDS", 0.02)
    client = browser(endless.as_asgi())
    await client.open()
    await client.frame("one")
    await client.leave()
    assert watched.notes == ["cancelled"]
    assert not log.lines("handlers")


async def test_a_failure_of_the_clean_up_is_logged(
    browser: Connect, log: Log, watched: Watched
) -> None:
    @websocket
    async def broken(connection: Connection) -> None:
        try:
            watched.begun.set()
            await asyncio.Event().wait()
        finally:
            raise LookupError("a secret")

    client = browser(broken.as_asgi())
    await client.open()
    await watched.begun.wait()
    await client.leave()
    assert len(log.tracebacks) == 1


async def test_a_handshake_that_the_client_gives_up_runs_nothing(
    browser: Connect, watched: Watched
) -> None:
    async def leave_first(scope: Any) -> None:
        watched.begun.set()
        await watched.go_on.wait()

    @websocket(authenticate=leave_first)
    async def never(connection: Connection) -> None:
        watched.notes.append("run")

    client = browser(never.as_asgi())
    await client.send_input({"type": "websocket.connect"})
    await watched.begun.wait()
    await client.send_input({"type": "websocket.disconnect", "code": 1006})
    watched.go_on.set()
    await client.wait(10)
    assert watched.notes == []


# As with consumers: counted, reached, kicked, logged


@websocket
async def reading(connection: Connection) -> None:
    async for frame in connection:
        await connection.send(frame)


async def test_it_is_counted_and_known(browser: Connect) -> None:
    client = browser(reading.as_asgi(), "/ws/reading/", user=7)
    client_id = await client.open()
    assert await aonline_count() == 1
    [known] = [one async for one in aonline_clients()]
    assert (known.client_id, known.user_id, known.path) == (client_id, "7", "/ws/reading/")
    await client.leave()
    assert await aonline_count() == 0


async def test_what_is_pushed_reaches_it_while_it_reads(browser: Connect) -> None:
    client = browser(reading.as_asgi(), user=7)
    client_id = await client.open()
    await abroadcast("for all")
    await asend_to_user(7, "for the user")
    await asend_to_client(client_id, "for the client")
    pushed = [await client.receive() for _ in range(3)]
    assert pushed == ["for all", "for the user", "for the client"]
    assert await client.request_raw("echo") == "echo"


async def test_it_can_be_kicked(browser: Connect, log: Log) -> None:
    client = browser(reading.as_asgi(), user=7)
    client_id = await client.open()
    assert await adisconnect_user(7, 4501, "out you go") == 1
    assert await client.closed() == Closed(4501, "out you go")
    [line] = log.lines("connection")
    assert client_id in line and "user 7" in line and "code 4501 (out you go)" in line
    assert not log.lines("handlers")


async def test_its_coming_and_going_is_told(browser: Connect) -> None:
    told: list[tuple[str, str]] = []

    def connected(client: Any, **more: Any) -> None:
        told.append(("connected", client.client_id))

    def disconnected(client: Any, **more: Any) -> None:
        told.append(("disconnected", client.client_id))

    client_connected.connect(connected)
    client_disconnected.connect(disconnected)
    try:
        client = browser(reading.as_asgi())
        client_id = await client.open()
        await client.leave()
    finally:
        client_connected.disconnect(connected)
        client_disconnected.disconnect(disconnected)
    assert told == [("connected", client_id), ("disconnected", client_id)]


async def test_a_group_may_be_joined_and_left(browser: Connect) -> None:
    @websocket
    async def room(connection: Connection) -> None:
        await connection.join("red")
        await connection.send("in")
        await connection.receive()
        await connection.leave("red")
        await connection.send("out")
        await connection.receive()

    client = browser(room.as_asgi())
    await client.open()
    layer = get_channel_layer()
    assert isinstance(layer, InMemoryChannelLayer)
    assert await client.receive() == "in"
    assert "red" in layer.fanout().groups
    assert await client.request_raw("leave") == "out"
    assert "red" not in layer.fanout().groups


@pytest.mark.parametrize(
    ("frame", "size"), [("four", 4), ("grüße", 7), ("🌷", 4), (b"\xff\x00", 2)]
)
async def test_what_goes_over_it_is_counted(
    browser: Connect, watched: Watched, frame: str | bytes, size: int
) -> None:
    @websocket(welcome=False)
    async def echo_once(connection: Connection) -> None:
        watched.notes.append(connection.stats)
        await connection.send(await connection.receive())

    client = browser(echo_once.as_asgi())
    await client.connect()
    await client.request_raw(frame)
    await client.closed()
    [stats] = watched.notes
    assert (stats.messages_in, stats.bytes_in, stats.bytes_out) == (1, size, size)


@pytest.mark.parametrize("frame", ["{", '"fail"'], ids=["the client's", "its own"])
async def test_a_mistake_is_counted(browser: Connect, watched: Watched, frame: str) -> None:
    @websocket
    async def mistaken(connection: Connection) -> None:
        watched.notes.append(connection.stats)
        await connection.receive_json()
        raise LookupError("a secret")

    client = browser(mistaken.as_asgi())
    await client.open()
    await client.frame(frame)
    await client.closed()
    [stats] = watched.notes
    assert (stats.errors, stats.messages_in, stats.bytes_in) == (1, 1, len(frame))


# Arguments


@websocket
async def paging(connection: Connection, page: int, user: Any = None) -> None:
    await connection.send({"page": page, "user": user})


async def test_the_function_is_called_with_its_arguments(browser: Connect) -> None:
    client = browser(paging.as_asgi(), "/ws/?page=7", user=8)
    await client.open()
    assert await client.receive() == {"page": 7, "user": 8}


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("?page=x", 'The parameter page is wrong: Expected a whole number, got "x".'),
        ("", "The parameter page is missing."),
    ],
)
async def test_a_wrong_argument_closes_with_3501_and_is_named(
    browser: Connect, log: Log, query: str, reason: str
) -> None:
    client = browser(paging.as_asgi(), f"/ws/{query}")
    assert await client.refused() == Closed(3501, reason)
    [line] = log.lines("handshake")
    assert "close code 3501" in line and reason in line
    assert not log.lines("handlers") and await aonline_count() == 0


async def test_an_argument_that_no_client_can_give_is_the_sites_mistake(
    browser: Connect, log: Log
) -> None:
    @websocket
    async def of_a_site(connection: Connection, account: dict[str, int]) -> None: ...

    assert await browser(of_a_site.as_asgi()).refused() == Closed(3004, "internal error")
    assert len(log.tracebacks) == 1


async def test_a_function_that_does_not_take_what_the_route_has_fails_with_1011(
    browser: Connect, log: Log
) -> None:
    route = {"url_route": {"args": (), "kwargs": {"typo": 1}}}
    client = browser(paging.as_asgi(), "/ws/?page=7", **route)
    await client.open()
    assert (await client.closed()).code == 1011
    assert len(log.tracebacks) == 1


# Being mounted


async def test_each_mount_is_an_application_of_its_own(browser: Connect) -> None:
    for application in (reading.as_asgi(), reading.as_asgi()):
        client = browser(application)
        await client.open()
        assert await client.request_raw("echo") == "echo"


def test_it_keeps_the_name_and_the_words_of_its_function() -> None:
    @websocket
    async def documented(connection: Connection) -> None:
        """What it does."""

    assert documented.__name__ == "documented" and documented.__doc__ == "What it does."
    assert repr(documented) == "<Endpoint documented>"
    assert documented.as_asgi().consumer_class.__name__ == "documented"


async def test_what_is_no_websocket_is_told_where_to_go() -> None:
    with pytest.raises(ValueError, match="reading serves WebSocket connections, not 'http'"):
        await reading.as_asgi()({"type": "http"}, None, None)
