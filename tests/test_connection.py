"""`Connection`: what its client sends, what runs beside it, and how it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from django.test import override_settings

from tests.test_outlet import ACCEPT, Server, settle
from wsadapter import servers, tasks
from wsadapter.close_codes import FINISHED_CODES, CloseCode, ClosedBy
from wsadapter.connection import MAX_INFO_SIZE, Connection
from wsadapter.errors import (
    ConnectionClosed,
    ConnectionTimeout,
    EncodeError,
    InvalidMessage,
    ReadTimeout,
    ReceiveConflict,
    StoreUnavailable,
    UnexpectedFrame,
    WriteTimeout,
)
from wsadapter.groups import layer_name
from wsadapter.layers import InMemoryChannelLayer
from wsadapter.membership import DirectMembership
from wsadapter.outlet import State
from wsadapter.store.operations import Membership
from wsadapter.wire.lanes import LANE_SIZE, Priority
from wsadapter.wire.orders import Message

#: Seconds for what is never expected to happen; and for what is bound to.
SOON, NEVER = 0.001, 60.0

Make = Callable[..., Connection]
Read = Callable[[Connection], Awaitable[Any]]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture(params=["stepped", "written by a task"])
async def make(
    request: pytest.FixtureRequest, server: Server, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Make]:
    """Make a connection that has not been accepted, for both ways of calling a server's send."""
    stepped = request.param == "stepped"
    monkeypatch.setattr(servers, "can_be_stepped", lambda send: stepped)
    monkeypatch.setattr(tasks, "PATIENCE_SECONDS", SOON)
    made: list[Connection] = []

    def connection(**options: Any) -> Connection:
        options = {
            "max_outbox_size": 1000,
            "item_bytes": 0,
            "on_closing": lambda seconds: None,
            **options,
        }
        made.append(Connection({"type": "websocket"}, server.send, **options))
        made[-1].client_id = "tab"
        return made[-1]

    yield connection
    for each in made:
        each.end(CloseCode.ABNORMAL)
        await each.end_tasks()
        await each.stop_writing(cut=False)


@pytest.fixture
async def connection(make: Make) -> Connection:
    """An open one."""
    made = make()
    await made.accept(ACCEPT)
    return made


def arrive(connection: Connection, *frames: str | bytes) -> None:
    for frame in frames:
        connection.take_in(frame)


async def ended(task: asyncio.Task[Any]) -> BaseException | None:
    """What a task has raised by its end, which comes now."""
    async with asyncio.timeout(10):
        await asyncio.wait([task])
    return None if task.cancelled() else task.exception()


# Reading


async def test_frames_are_read_in_the_order_of_arrival(connection: Connection) -> None:
    arrive(connection, "one", b"two", "", b"")
    assert [await connection.receive() for _ in range(4)] == ["one", b"two", "", b""]


async def test_a_reader_waits_for_what_has_not_arrived(connection: Connection) -> None:
    reading = asyncio.create_task(connection.receive())
    await settle()
    assert not reading.done()
    arrive(connection, "at last")
    assert await reading == "at last"


async def test_several_readers_get_each_frame_once_in_the_order_in_which_they_asked(
    connection: Connection,
) -> None:
    reading = [asyncio.create_task(connection.receive()) for _ in range(3)]
    await settle()
    arrive(connection, "one", "two", "three", "four")
    assert await asyncio.gather(*reading) == ["one", "two", "three"]
    assert await connection.receive() == "four"


async def test_what_several_readers_get_is_all_there_was_and_in_order_for_each(
    connection: Connection,
) -> None:
    async def read_all() -> list[int]:
        return [int(frame) async for frame in connection]

    reading = [asyncio.create_task(read_all()) for _ in range(3)]
    for number in range(50):
        arrive(connection, str(number))
        await asyncio.sleep(0)
    connection.end(CloseCode.NORMAL)
    read = await asyncio.gather(*reading)
    assert sorted(number for numbers in read for number in numbers) == list(range(50))
    assert all(numbers == sorted(numbers) for numbers in read)


async def test_nothing_in_time_is_a_read_timeout_and_nothing_is_lost(
    connection: Connection,
) -> None:
    with pytest.raises(ReadTimeout, match=r"Client tab sent nothing within 0\.001 s") as caught:
        await connection.receive(timeout=SOON)
    assert isinstance(caught.value, ConnectionTimeout) and isinstance(caught.value, TimeoutError)
    arrive(connection, "late")
    assert await connection.receive(timeout=NEVER) == "late"


async def test_no_time_at_all_is_enough_for_what_has_arrived(connection: Connection) -> None:
    arrive(connection, "there")
    assert await connection.receive(timeout=0) == "there"
    with pytest.raises(ReadTimeout):
        await connection.receive(timeout=0)


async def test_the_callers_own_timeout_is_not_the_connections(connection: Connection) -> None:
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(SOON):
            await connection.receive(timeout=NEVER)
    assert type(caught.value) is TimeoutError


@pytest.mark.parametrize("frames", [["one"], ["one", "two"]], ids=len)
async def test_a_cancelled_reader_takes_nothing_with_it(
    connection: Connection, frames: list[str]
) -> None:
    reading = asyncio.create_task(connection.receive())
    await settle()
    arrive(connection, *frames)
    reading.cancel()  # when it has been woken for the frame, and has not run yet
    await ended(reading)
    assert reading.cancelled()
    assert [await connection.receive(timeout=0) for _ in frames] == frames


async def test_a_cancelled_reader_leaves_the_frame_to_the_next_in_line(
    connection: Connection,
) -> None:
    first, second = (asyncio.create_task(connection.receive()) for _ in range(2))
    await settle()
    arrive(connection, "one")
    first.cancel()
    assert await second == "one"


# Reading what has to be of a kind


class Say(msgspec.Struct):
    text: str
    times: int = 1


@dataclass
class Point:
    x: float
    y: float


@pytest.mark.parametrize(
    ("type", "text", "value"),
    [
        (None, '{"a": [1, null]}', {"a": [1, None]}),
        (None, "null", None),
        (Say, '{"text": "hi"}', Say("hi")),
        (Point, '{"x": 1, "y": 2.5}', Point(1, 2.5)),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (int | None, "null", None),
        (list[Say], '[{"text": "hi", "times": 2}]', [Say("hi", 2)]),
    ],
    ids=str,
)
async def test_json_is_read_as_the_type_that_is_asked_for(
    connection: Connection, type: Any, text: str, value: Any
) -> None:
    arrive(connection, text)
    assert await connection.receive_json(type) == value
    assert connection.stats.errors == 0


@pytest.mark.parametrize(
    ("text", "code", "path"),
    [
        ("{", "invalid_json", None),
        ('{"times": 2}', "invalid", "$"),
        ('{"text": 7}', "invalid", "$.text"),
        ('{"text": "hi", "times": "x"}', "invalid", "$.times"),
    ],
)
async def test_json_that_does_not_fit_says_where_and_the_next_one_is_read(
    connection: Connection, text: str, code: str, path: str | None
) -> None:
    arrive(connection, text, '{"text": "hi"}')
    with pytest.raises(InvalidMessage) as caught:
        await connection.receive_json(Say)
    assert (caught.value.code, caught.value.path) == (code, path)
    assert connection.stats.errors == 1
    assert await connection.receive_json(Say) == Say("hi")


async def test_a_type_that_nothing_can_be_read_as_takes_no_frame(connection: Connection) -> None:
    arrive(connection, "{}")
    with pytest.raises(TypeError):
        await connection.receive_json(object())
    assert await connection.receive_json() == {}
    assert connection.stats.errors == 0


@pytest.mark.parametrize(
    ("read", "frame", "complaint"),
    [
        (Connection.receive_text, b"abc", "Expected text, got a binary frame of 3 bytes."),
        (Connection.receive_json, b"{}", "Expected text, got a binary frame of 2 bytes."),
        (Connection.receive_bytes, "абв", "Expected a binary frame, got text of 3 characters."),
    ],
    ids=["text", "json", "bytes"],
)
async def test_a_frame_of_the_other_kind_is_unexpected_and_taken(
    connection: Connection, read: Read, frame: str | bytes, complaint: str
) -> None:
    arrive(connection, frame, "next")
    with pytest.raises(UnexpectedFrame) as caught:
        await read(connection)
    assert caught.value.frame == frame and str(caught.value) == complaint
    assert connection.stats.errors == 1
    assert await connection.receive() == "next"


async def test_a_frame_of_the_right_kind_is_given_as_it_is(connection: Connection) -> None:
    arrive(connection, "абв", b"\x00\xff")
    assert await connection.receive_text() == "абв"
    assert await connection.receive_bytes() == b"\x00\xff"
    assert connection.stats.errors == 0


@pytest.mark.parametrize(
    "read",
    [Connection.receive, Connection.receive_text, Connection.receive_bytes],
    ids=["any", "text", "bytes"],
)
async def test_every_way_to_read_has_its_timeout(connection: Connection, read: Any) -> None:
    with pytest.raises(ReadTimeout):
        await read(connection, timeout=SOON)
    with pytest.raises(ReadTimeout):
        await connection.receive_json(timeout=SOON)
    with pytest.raises(ReadTimeout):
        await connection.reader(timeout=SOON).read(1)
    assert connection.stats.errors == 0, "a silent client has done nothing wrong"


# The end, for who reads

ENDS = [
    (CloseCode.NORMAL, "", ClosedBy.CLIENT),
    (4000, "enough", ClosedBy.SERVER),
    (CloseCode.ABNORMAL, "", ClosedBy.NETWORK),
]


@pytest.mark.parametrize(("code", "reason", "by"), ENDS)
async def test_what_had_arrived_is_read_before_the_end_which_says_how_it_came(
    connection: Connection, code: int, reason: str, by: ClosedBy
) -> None:
    arrive(connection, "one", "two")
    connection.end(code, reason, by)
    assert [await connection.receive() for _ in range(2)] == ["one", "two"]
    for _ in range(2):
        with pytest.raises(ConnectionClosed) as caught:
            await connection.receive()
        error = caught.value
        assert (error.code, error.reason, error.closed_by) == (code, reason, by)
        assert isinstance(error, ConnectionError)
    assert str(error).startswith(f"The connection was closed by the {by.value} with code {code}")
    assert reason in str(error)


async def test_all_who_wait_learn_of_the_end(connection: Connection) -> None:
    reading = [asyncio.create_task(connection.receive()) for _ in range(3)]
    await settle()
    connection.end(4000)
    ends = await asyncio.gather(*reading, return_exceptions=True)
    assert [end.code for end in ends if isinstance(end, ConnectionClosed)] == [4000] * 3


@pytest.mark.parametrize("code", sorted(FINISHED_CODES))
async def test_a_loop_over_the_frames_ends_quietly_with_a_normal_close(
    connection: Connection, code: int
) -> None:
    arrive(connection, "one", b"two")
    connection.end(code)
    assert [frame async for frame in connection] == ["one", b"two"]
    assert [frame async for frame in connection] == []


@pytest.mark.parametrize("code", [CloseCode.ABNORMAL, CloseCode.NO_PONG, 4000])
async def test_a_loop_over_the_frames_raises_at_any_other_close(
    connection: Connection, code: int
) -> None:
    arrive(connection, "one")
    connection.end(code)
    assert await anext(connection) == "one"
    with pytest.raises(ConnectionClosed) as caught:
        await anext(connection)
    assert caught.value.code == code


@pytest.mark.parametrize("has_been_read", [False, True])
async def test_a_close_of_this_side_ends_reading_at_once(
    connection: Connection, has_been_read: bool
) -> None:
    if has_been_read:
        arrive(connection, "read", "unread")
        assert await connection.receive() == "read"
    connection.close_soon(4000, "enough")
    arrive(connection, "too late")
    with pytest.raises(ConnectionClosed) as caught:
        await connection.receive()
    assert (caught.value.code, caught.value.closed_by) == (4000, ClosedBy.SERVER)


async def test_a_connection_that_was_never_read_ends_all_the_same(connection: Connection) -> None:
    connection.end(4000)
    with pytest.raises(ConnectionClosed):
        await connection.receive()


# Who may read, and when

WAYS_TO_READ: list[Read] = [
    Connection.receive,
    Connection.receive_text,
    Connection.receive_bytes,
    Connection.receive_json,
    lambda connection: anext(connection),
    lambda connection: connection.reader().read(1),
]
WAYS = pytest.mark.parametrize(
    "read", WAYS_TO_READ, ids=["receive", "text", "bytes", "json", "async for", "reader"]
)


@WAYS
async def test_what_a_consumer_reads_nobody_else_may_read(
    connection: Connection, read: Read
) -> None:
    connection.handled_by = "Chat declares handlers."
    arrive(connection, "{}")
    with pytest.raises(ReceiveConflict, match="read already: Chat declares handlers"):
        await read(connection)
    assert not connection.is_read
    assert connection.take_unread() == ["{}"]


@WAYS
async def test_before_it_is_accepted_there_is_nothing_to_read(make: Make, read: Read) -> None:
    connection = make()
    with pytest.raises(RuntimeError, match=r"Nothing arrives before accept\(\)"):
        await read(connection)
    assert not connection.is_read


async def test_it_knows_whether_somebody_has_begun_to_read(connection: Connection) -> None:
    arrive(connection, "unread")
    assert not connection.is_read
    await connection.receive()
    assert connection.is_read


async def test_what_waits_to_be_read_is_bounded(connection: Connection) -> None:
    assert connection.has_room
    arrive(connection, *["frame"] * (LANE_SIZE - 1))
    assert connection.has_room
    arrive(connection, "last")
    assert not connection.has_room
    waiting = asyncio.create_task(connection.room())
    await settle()
    assert not waiting.done()
    await connection.receive()
    await waiting
    assert connection.has_room


async def test_whoever_waits_for_room_goes_on_at_the_end(connection: Connection) -> None:
    arrive(connection, *["frame"] * LANE_SIZE)
    waiting = asyncio.create_task(connection.room())
    await settle()
    connection.end(4000)
    assert await ended(waiting) is None


async def test_what_nobody_reads_can_be_taken_away(connection: Connection) -> None:
    assert list(connection.take_unread()) == []
    arrive(connection, "one", b"two")
    assert list(connection.take_unread()) == ["one", b"two"]
    with pytest.raises(ReadTimeout):
        await connection.receive(timeout=0)


# Sending


@pytest.mark.parametrize(
    ("send", "data", "event"),
    [
        (Connection.send, "text", {"text": "text"}),
        (Connection.send, b"bytes", {"bytes": b"bytes"}),
        (Connection.send, {"a": 1}, {"text": '{"a":1}'}),
        (Connection.send, None, {"text": "null"}),
        (Connection.send_text, "text", {"text": "text"}),
        (Connection.send_text, "", {"text": ""}),
        (Connection.send_bytes, b"", {"bytes": b""}),
        (Connection.send_bytes, bytearray(b"ab"), {"bytes": b"ab"}),
        pytest.param(
            Connection.send_bytes, memoryview(b"abc")[1:], {"bytes": b"bc"}, id="a memoryview"
        ),
        (Connection.send_json, "text", {"text": '"text"'}),
        (Connection.send_json, None, {"text": "null"}),
        (Connection.send_json, Say("hi"), {"text": '{"text":"hi","times":1}'}),
    ],
    ids=lambda value: value.__name__ if callable(value) else repr(value)[:20],
)
async def test_each_way_to_send_makes_its_kind_of_frame(
    connection: Connection, server: Server, send: Any, data: object, event: Message
) -> None:
    await send(connection, data)
    assert server.took[1:] == [{"type": "websocket.send"} | event]


@pytest.mark.parametrize(
    ("send", "data"),
    [
        (Connection.send, object()),
        (Connection.send_text, b"bytes"),
        (Connection.send_text, "\ud800"),
        (Connection.send_bytes, "text"),
        (Connection.send_json, {1, object()}),
    ],
    ids=["an object", "bytes as text", "a surrogate", "text as bytes", "a set"],
)
async def test_what_cannot_be_sent_is_told_before_anything_is(
    connection: Connection, server: Server, send: Any, data: object
) -> None:
    with pytest.raises(EncodeError):
        await send(connection, data)
    assert not server.frames


async def test_what_several_send_leaves_in_order_within_a_lane(
    connection: Connection, server: Server
) -> None:
    server.running.clear()
    first = asyncio.create_task(connection.send("first"))  # it is with the server
    await settle()
    sends = [
        asyncio.create_task(connection.send_text(f"{priority.name} {number}", priority=priority))
        for number in range(3)
        for priority in (Priority.LOW, Priority.NORMAL, Priority.URGENT)
    ]
    await settle()
    server.running.set()
    await asyncio.gather(first, *sends)
    lanes = ["URGENT", "NORMAL", "LOW"]
    expected = [f"{lane} {number}" for lane in lanes for number in range(3)]
    assert server.frames == ["first", *expected]


async def test_sending_and_reading_at_once_are_no_trouble_for_each_other(
    connection: Connection, server: Server
) -> None:
    numbers = [str(number) for number in range(30)]

    async def echo() -> None:
        async for frame in connection:
            await connection.send(frame)
            if len(server.frames) == len(numbers):
                connection.end(CloseCode.NORMAL)

    echoing = [asyncio.create_task(echo()) for _ in range(3)]
    for number in numbers:
        arrive(connection, number)
        await asyncio.sleep(0)
    await asyncio.wait_for(asyncio.gather(*echoing), 10)
    assert sorted(map(str, server.frames), key=int) == numbers


@pytest.mark.parametrize(("code", "reason", "by"), ENDS)
async def test_after_the_end_nothing_is_sent_and_the_error_says_how_it_came(
    connection: Connection, server: Server, code: int, reason: str, by: ClosedBy
) -> None:
    connection.end(code, reason, by)
    with pytest.raises(ConnectionClosed) as caught:
        await connection.send("too late")
    error = caught.value
    assert (error.code, error.reason, error.closed_by) == (code, reason, by)
    assert not server.frames


async def test_while_it_closes_nothing_more_is_sent(connection: Connection, server: Server) -> None:
    connection.close_soon(4000, "enough")
    with pytest.raises(ConnectionClosed, match=r"by the server with code 4000 \(enough\)"):
        await connection.send("too late")
    await settle()
    assert server.kinds == ["accept", "close"]


# Sending in time


@pytest.mark.parametrize("priority", list(Priority))
async def test_a_frame_that_did_not_leave_in_time_is_taken_back(
    connection: Connection, server: Server, priority: Priority
) -> None:
    server.running.clear()
    first = asyncio.create_task(connection.send("first"))  # it is with the server
    await settle()
    with pytest.raises(WriteTimeout, match=r"6 bytes within 0\.001 s; it was taken back") as caught:
        await connection.send("second", timeout=SOON, priority=priority)
    assert caught.value.withdrawn
    assert isinstance(caught.value, ConnectionTimeout) and isinstance(caught.value, TimeoutError)
    assert connection.stats.queued_bytes == 0
    server.running.set()
    await connection.send("third", timeout=NEVER)
    await first
    assert server.frames == ["first", "third"]


async def test_a_frame_that_the_server_has_already_may_still_be_sent(
    connection: Connection, server: Server
) -> None:
    server.running.clear()
    with pytest.raises(WriteTimeout, match="it is on its way, and may still be sent") as caught:
        await connection.send("first", timeout=SOON)
    assert not caught.value.withdrawn
    server.running.set()
    await connection.send("second")
    assert server.frames == ["first", "second"]


async def test_where_the_server_says_when_it_takes_bytes_every_frame_can_be_taken_back(
    make: Make, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "writable", lambda send: server.running)
    connection = make()
    await connection.accept(ACCEPT)
    server.running.clear()
    with pytest.raises(WriteTimeout) as caught:
        await connection.send("first", timeout=SOON)
    assert caught.value.withdrawn and server.calls == 1, "the accept"
    server.running.set()
    await connection.send("second")
    assert server.frames == ["second"]


async def test_an_end_before_the_time_is_over_is_no_timeout(
    connection: Connection, server: Server
) -> None:
    server.running.clear()
    sends = [asyncio.create_task(connection.send(text, timeout=NEVER)) for text in ("one", "two")]
    await settle()
    connection.end(4000)
    await connection.stop_writing(cut=False)
    assert [type(await ended(sending)) for sending in sends] == [ConnectionClosed] * 2


async def test_who_sends_has_the_callers_own_timeout_as_well(
    connection: Connection, server: Server
) -> None:
    server.running.clear()
    first = asyncio.create_task(connection.send("first"))
    await settle()
    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(SOON):
            await connection.send("second", timeout=NEVER)
    assert type(caught.value) is TimeoutError
    server.running.set()
    await first
    await settle()
    assert server.frames == ["first"], "it was taken back"


async def test_periodic_sends_begin_at_once_and_end_with_the_connection(
    connection: Connection, server: Server
) -> None:
    async def value() -> list[int]:
        return [1]

    sending = asyncio.create_task(connection.send_periodically(value, interval=NEVER))
    await settle()
    assert server.frames == ["[1]"] and not sending.done()
    connection.end(4000)
    assert await ended(sending) is None


async def test_periodic_sends_have_their_timeout_and_priority(
    connection: Connection, server: Server
) -> None:
    server.running.clear()
    first = asyncio.create_task(connection.send("first"))
    await settle()

    async def value() -> str:
        return "value"

    with pytest.raises(WriteTimeout) as caught:
        await connection.send_periodically(value, interval=NEVER, timeout=SOON)
    assert caught.value.withdrawn
    low = asyncio.create_task(connection.send("low", priority=Priority.LOW))
    urgent = asyncio.create_task(
        connection.send_periodically(value, interval=NEVER, priority=Priority.URGENT)
    )
    await settle()
    server.running.set()
    await asyncio.gather(first, low)
    assert server.frames == ["first", "value", "low"]
    urgent.cancel()
    await ended(urgent)


# Closing


async def test_what_was_sent_before_the_close_leaves_before_it(make: Make, server: Server) -> None:
    allowed_seconds: list[float] = []
    connection = make(on_closing=allowed_seconds.append)
    await connection.accept(ACCEPT)
    server.running.clear()
    for priority in Priority:
        connection.post(priority.name, priority)
    sending = asyncio.create_task(connection.send("awaited", priority=Priority.LOW))
    await settle()
    closing = asyncio.create_task(connection.close(4000, "enough", timeout=7))
    await settle()
    assert allowed_seconds == [7] and connection.state is State.CLOSING
    connection.post("too late", Priority.URGENT)
    server.running.set()
    await sending
    await settle()
    assert server.kinds == ["accept", *["send"] * 5, "close"]
    assert server.took[-1] == {"type": "websocket.close", "code": 4000, "reason": "enough"}
    assert set(server.frames) == {*(priority.name for priority in Priority), "awaited"}
    assert not closing.done(), "the client has not agreed yet"
    connection.end(1000, "the answer")
    assert await ended(closing) is None
    assert (connection.close_code, connection.close_reason) == (4000, "enough")


async def test_it_goes_through_its_states_in_order(make: Make, server: Server) -> None:
    connection = make()
    states = [connection.state]
    await connection.accept(ACCEPT)
    states.append(connection.state)
    closing = asyncio.create_task(connection.close())
    await settle()
    states.append(connection.state)
    connection.end(1000)
    states.append(connection.state)
    await closing
    assert states == list(State)


async def test_it_is_accepted_once(connection: Connection, server: Server) -> None:
    with pytest.raises(RuntimeError, match=r"accept\(\) may be called once"):
        await connection.accept(ACCEPT)
    assert server.kinds == ["accept"]


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000])
@pytest.mark.parametrize("is_open", [True, False])
async def test_a_code_that_may_not_be_sent_closes_nothing(
    make: Make, server: Server, code: int, is_open: bool
) -> None:
    connection = make()
    if is_open:
        await connection.accept(ACCEPT)
    with pytest.raises(ValueError, match=f"{code} is no close code"):
        await connection.close(code)
    assert connection.state is (State.OPEN if is_open else State.CONNECTING)


async def test_who_closes_what_is_closing_waits_for_the_same_end(
    connection: Connection, server: Server
) -> None:
    closing = [asyncio.create_task(connection.close(code)) for code in (4000, 4001)]
    await settle()
    assert not any(task.done() for task in closing)
    connection.end(1000)
    await asyncio.gather(*closing)
    await connection.close(4002)
    assert connection.close_code == 4000 and server.kinds == ["accept", "close"]


async def test_a_denial_needs_no_answer(make: Make) -> None:
    connection = make()
    await connection.close(4000)
    assert connection.closed and connection.closed_error().closed_by is ClosedBy.SERVER


async def test_a_refused_frame_ends_it(connection: Connection, server: Server) -> None:
    waiting = asyncio.ensure_future(connection.closed)
    server.refuses = OSError("gone")
    with pytest.raises(ConnectionClosed) as caught:
        await connection.send("frame")
    assert (caught.value.code, caught.value.closed_by) == (CloseCode.ABNORMAL, ClosedBy.NETWORK)
    await asyncio.wait_for(waiting, 10)


# Its end, to be awaited


async def test_the_end_can_be_awaited_by_several_of_which_one_gives_up(
    connection: Connection,
) -> None:
    async def wait() -> None:
        await connection.closed

    waiting = [asyncio.create_task(wait()) for _ in range(3)]
    await settle()
    waiting[1].cancel()
    await settle()
    assert [task.done() for task in waiting] == [False, True, False]
    connection.end(4000)
    await asyncio.gather(waiting[0], waiting[2])
    assert waiting[1].cancelled()
    await connection.closed


async def test_the_end_is_a_condition(connection: Connection) -> None:
    assert not connection.closed
    connection.close_soon(4000)
    assert not connection.closed, "it has only begun to close"
    connection.end(4000)
    assert connection.closed


async def test_the_end_can_be_asked_for_after_it_has_come(connection: Connection) -> None:
    connection.end(4000)
    assert connection.closed
    await connection.closed
    assert await asyncio.wait_for(connection.closed, 10) is None


async def test_without_a_code_the_end_was_abnormal(connection: Connection) -> None:
    error = connection.closed_error()
    assert (error.code, error.reason, error.closed_by) == (1006, "", ClosedBy.NETWORK)


# Tasks that belong to it


async def test_a_task_runs_beside_it(connection: Connection) -> None:
    async def work() -> int:
        return 7

    task = connection.create_task(work(), name="counting")
    assert task.get_name() == "counting" and await task == 7


async def test_tasks_are_cancelled_with_it_and_clean_up(connection: Connection) -> None:
    cleaned_up: list[int] = []

    async def work(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned_up.append(number)

    running = [connection.create_task(work(number)) for number in range(3)]
    await settle()
    connection.end(4000)
    await connection.end_tasks()
    assert sorted(cleaned_up) == [0, 1, 2] and all(task.cancelled() for task in running)


async def test_a_task_that_reads_reads_to_the_end(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "PATIENCE_SECONDS", NEVER)
    read: list[Any] = []

    async def work() -> str:
        async for frame in connection:
            await asyncio.sleep(0)
            read.append(frame)
        return "the end"

    reading = connection.create_task(work())
    await settle()
    arrive(connection, "one", "two", "three")
    connection.end(CloseCode.NORMAL)
    await connection.end_tasks()
    assert read == ["one", "two", "three"] and await reading == "the end"


async def test_after_the_end_no_task_begins(connection: Connection) -> None:
    begun: list[bool] = []

    async def work() -> None:
        begun.append(True)

    connection.end(4000, "enough")
    with pytest.raises(ConnectionClosed, match="4000"):
        connection.create_task(work())
    await settle()
    assert not begun


async def test_a_task_that_fails_is_logged_once_and_the_connection_lives(
    connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        raise LookupError("no such thing")

    task = connection.create_task(work(), name="looking")
    assert isinstance(await ended(task), LookupError)
    await settle()
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("wsadapter.connection", logging.ERROR)
    assert record.getMessage() == "The task looking of client tab failed."
    assert record.exc_info is not None and record.exc_info[1] is task.exception()
    assert connection.stats.errors == 1 and connection.state is State.OPEN


@pytest.mark.parametrize("closes", [False, True])
async def test_a_task_that_the_end_ends_has_not_failed(
    connection: Connection, caplog: pytest.LogCaptureFixture, closes: bool
) -> None:
    """Nor while this side closes; but a connection that is over while this one is open has."""

    async def work() -> None:
        raise ConnectionClosed(1006, "", ClosedBy.NETWORK)

    task = connection.create_task(work())
    if closes:
        connection.close_soon(4000)
    await ended(task)
    await settle()
    assert len(caplog.records) == connection.stats.errors == (0 if closes else 1)


async def test_what_a_task_was_sent_in_error_counts_once(connection: Connection) -> None:
    task = connection.create_task(connection.receive_json())
    arrive(connection, "{")
    assert isinstance(await ended(task), InvalidMessage)
    await settle()
    assert connection.stats.errors == 1


async def test_its_vital_signs(connection: Connection, server: Server) -> None:
    connection.stats.last_seen = 100.0
    connection.stats.messages_in, connection.stats.errors = 7, 2
    assert connection.vitals(103.5)._asdict() == {
        "silence_seconds": 3.5,
        "messages": 7,
        "errors": 2,
        "queued_bytes": 0,
        "tasks": 0,
    }
    task = connection.create_task(asyncio.Event().wait())
    server.running.clear()
    for _ in range(2):
        connection.post("ten bytes.")
        await settle()
    vitals = connection.vitals(103.5)
    assert (vitals.queued_bytes, vitals.tasks) == (10, 1), "the other one is with the server"
    task.cancel()
    await settle()
    assert connection.vitals(103.5).tasks == 0
    server.running.set()


# Groups


@pytest.fixture
async def layer(connection: Connection) -> AsyncIterator[InMemoryChannelLayer]:
    """A layer that the connection is on."""
    layer = InMemoryChannelLayer()
    connection.membership = membership = DirectMembership(layer)
    await membership.open(connection)
    yield layer
    await membership.close()


@pytest.fixture
def events(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    """What plain Channels code sends to it."""
    taken: list[Message] = []
    monkeypatch.setattr(connection, "_on_event", taken.append)
    return taken


@pytest.mark.parametrize("group", ["news", "Kaffee & Kuchen", "", "г" * 500], ids=ascii)
async def test_it_has_what_is_sent_to_a_group_from_joining_to_leaving(
    connection: Connection, layer: InMemoryChannelLayer, events: list[Message], group: str
) -> None:
    async def say(number: int) -> None:
        await layer.group_send(layer_name(group), {"type": "said", "number": number})

    await say(1)
    await connection.join(group)
    await say(2)
    await connection.join(group)
    await say(3)
    await connection.leave(group)
    await say(4)
    await connection.leave(group)
    assert [event["number"] for event in events] == [2, 3]


async def test_before_it_connects_there_are_no_groups(connection: Connection) -> None:
    for call in (connection.join, connection.leave):
        with pytest.raises(RuntimeError, match=r"join\(\) and leave\(\) work from connect\(\) on"):
            await call("news")


class Silent:
    """A layer that does not answer."""

    async def join(self, groups: list[str]) -> None:
        await asyncio.Event().wait()

    leave: Any = join


@override_settings(WSADAPTER={"REDIS_TIMEOUT": SOON})
async def test_a_layer_that_does_not_answer_in_time_is_unavailable(connection: Connection) -> None:
    membership: Any = Silent()
    connection.membership = membership
    for call in (connection.join, connection.leave):
        with pytest.raises(StoreUnavailable):
            await call("news")


async def test_after_the_end_it_joins_nothing_and_may_still_leave(
    connection: Connection, layer: InMemoryChannelLayer
) -> None:
    await connection.join("news")
    connection.end(4000)
    await connection.join("weather")
    assert list(layer.fanout().groups) == [layer_name("news")]
    await connection.leave("news")
    assert not layer.fanout().groups


async def test_once_it_has_been_let_go_there_is_nothing_to_join_or_leave(
    connection: Connection, layer: InMemoryChannelLayer
) -> None:
    connection.end(4000)
    connection.let_go()
    await connection.join("news")
    await connection.leave("news")


class Register:
    """Where it is recorded who is in which group; it remembers what it was told."""

    def __init__(self) -> None:
        self.away = False
        self.told: list[tuple[str, list[Membership]]] = []

    async def join_groups(self, connection: Connection, memberships: Sequence[Membership]) -> None:
        self._note("joins", memberships)

    async def leave_groups(self, connection: Connection, memberships: Sequence[Membership]) -> None:
        self._note("leaves", memberships)

    def _note(self, change: str, memberships: Sequence[Membership]) -> None:
        if self.away:
            raise StoreUnavailable("Redis at 127.0.0.1:1 cannot be reached.")
        self.told.append((change, list(memberships)))

    @property
    def changes(self) -> list[tuple[str, list[str]]]:
        return [(change, [each.group for each in memberships]) for change, memberships in self.told]


@pytest.fixture
def register(connection: Connection, layer: InMemoryChannelLayer) -> Register:
    """The connection is counted in there."""
    connection.user_id = "7"
    connection.register = register = Register()
    return register


async def test_its_groups_are_recorded_from_joining_to_leaving(
    connection: Connection, register: Register
) -> None:
    await connection.join("news")
    await connection.join("chat")
    assert set(connection.memberships) == {"news", "chat"}
    await connection.leave("news")
    await connection.leave("news")
    await connection.leave("weather")
    assert set(connection.memberships) == {"chat"}
    assert register.changes == [("joins", ["news"]), ("joins", ["chat"]), ("leaves", ["news"])]
    (_, (joined,)), _, (_, (left,)) = register.told
    assert joined == left
    assert (joined.client_id, joined.user_id, joined.serial) == ("tab", "7", connection.serial)


async def test_before_it_is_counted_they_are_noted(
    connection: Connection, layer: InMemoryChannelLayer
) -> None:
    await connection.join("news", {"name": "Ada"})
    await connection.join("chat")
    await connection.leave("chat")
    connection.note_groups(["news", "lobby"])
    assert {group: each.info for group, each in connection.memberships.items()} == {
        "news": b'{"name":"Ada"}',
        "lobby": b"null",
    }


@pytest.mark.parametrize(
    ("info", "said"),
    [
        (None, "null"),
        ({"name": "Ada"}, '{"name":"Ada"}'),
        ("Ada", '"Ada"'),
        ([1, None], "[1,null]"),
        ("x" * (MAX_INFO_SIZE - 2), f'"{"x" * (MAX_INFO_SIZE - 2)}"'),
    ],
    ids=["nothing", "an object", "text", "a list", "the most that is taken"],
)
async def test_what_is_said_of_it_is_json(
    connection: Connection, register: Register, info: object, said: str
) -> None:
    await connection.join("news", info)
    ((_, (membership,)),) = register.told
    assert membership.info.decode() == said


async def test_joining_again_changes_what_is_said_of_it(
    connection: Connection, register: Register
) -> None:
    for mood in ("calm", "cross"):
        await connection.join("news", mood)
    assert [membership.info for _, (membership,) in register.told] == [b'"calm"', b'"cross"']
    assert [each.info for each in connection.memberships.values()] == [b'"cross"']


@pytest.mark.parametrize(
    ("info", "error", "match"),
    [
        ("x" * (MAX_INFO_SIZE - 1), ValueError, "4097 bytes as JSON; 4096 are taken"),
        ("é" * (MAX_INFO_SIZE // 2), ValueError, "4098 bytes"),
        (object(), EncodeError, "object"),
    ],
    ids=["too long", "too long in bytes", "no JSON"],
)
async def test_what_cannot_be_said_of_it_is_told_before_anything_is_joined(
    connection: Connection,
    layer: InMemoryChannelLayer,
    register: Register,
    info: object,
    error: type[Exception],
    match: str,
) -> None:
    with pytest.raises(error, match=match):
        await connection.join("news", info)
    assert not connection.memberships and not register.told and not layer.fanout().groups


@pytest.mark.parametrize("by_default", [False, True])
async def test_whether_a_group_is_told_of_it(
    connection: Connection, register: Register, by_default: bool
) -> None:
    connection.announce_members = by_default
    for number, announce in enumerate([None, True, False]):
        await connection.join(f"group {number}", announce=announce)
    announced = [membership.announced for _, (membership,) in register.told]
    assert announced == [by_default, True, False]


async def test_a_store_that_is_away_is_told_and_the_groups_are_known_all_the_same(
    connection: Connection, layer: InMemoryChannelLayer, register: Register
) -> None:
    """So that the next beat can record them."""
    await connection.join("news")
    register.away = True
    with pytest.raises(StoreUnavailable):
        await connection.join("chat")
    with pytest.raises(StoreUnavailable):
        await connection.leave("news")
    assert set(connection.memberships) == {"chat"}
    assert list(layer.fanout().groups) == [layer_name("chat")]


async def test_an_end_while_the_layer_joins_records_nothing(
    connection: Connection, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined = asyncio.Event()

    async def join(groups: list[str]) -> None:
        await joined.wait()

    monkeypatch.setattr(connection.membership, "join", join)
    joining = asyncio.create_task(connection.join("news"))
    await settle()
    connection.end(CloseCode.NORMAL)
    connection.let_go()
    joined.set()
    await joining
    assert register.told == []


# What it says of itself


async def test_it_names_itself(make: Make) -> None:
    connection = make()
    assert repr(connection) == "<Connection tab of anonymous: connecting>"
    connection.user_id = "7"
    await connection.accept({"type": "websocket.accept", "subprotocol": "chat"})
    assert repr(connection) == "<Connection tab of 7: open>"
    assert connection.subprotocol == "chat"


@pytest.mark.parametrize(
    ("scope", "path", "address"),
    [
        ({"path": "/ws/", "client": ["192.0.2.1", 4711]}, "/ws/", "192.0.2.1"),
        ({"path": "/ws/", "client": None}, "/ws/", None),
        ({}, "", None),
    ],
    ids=["all", "a socket of UNIX", "nothing"],
)
async def test_what_the_store_records_of_it(
    make: Make, scope: dict[str, Any], path: str, address: str | None
) -> None:
    connection = make()
    connection.scope |= scope
    connection.user_id = "7"
    info = connection.info("lease")
    assert (info.client_id, info.user_id, info.lease) == ("tab", "7", "lease")
    assert (info.serial, info.connected_at) == (connection.serial, connection.connected_at)
    assert (info.path, info.address) == (path, address)


async def test_an_ended_connection_can_be_let_go_and_still_says_how_it_ended(
    connection: Connection,
) -> None:
    arrive(connection, "unread")
    connection.end(4000, "enough")
    connection.let_go()
    uses: list[Callable[[], Awaitable[Any]]] = [
        connection.receive,
        lambda: connection.send("late"),
        lambda: connection.create_task(asyncio.sleep(0)),
    ]
    for use in uses:
        with pytest.raises(ConnectionClosed, match="enough"):
            await use()
    await connection.closed
    await connection.end_tasks()
    assert list(connection.take_unread()) == [] and connection.vitals(0).tasks == 0
