"""What is sent and what is received, with and without a connection; time is virtual."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import msgspec
import pydantic
import pytest

from tests.client.virtual_time import now, passes, settled, virtual_time
from tests.client.world import Hang, World
from wsadapter.client import FailureKind, QueueFull, RequestError
from wsadapter.errors import ConnectionClosed, EncodeError, InvalidMessage, ReadTimeout

# Sending


@virtual_time
async def test_text_binary_and_json() -> None:
    world = World()
    async with world.client() as socket:
        for data in ("text", "", b"\x00", {"type": "a"}, [1], None):
            await socket.send(data)
    assert world.wire.sent == ["text", "", b"\x00", '{"type":"a"}', "[1]", "null"]


@virtual_time
async def test_what_does_not_encode_is_the_callers_error() -> None:
    world = World()
    async with world.client() as socket:
        with pytest.raises(EncodeError):
            await socket.send(object())
        await socket.send("goes on")
    assert world.wire.sent == ["goes on"]


@virtual_time
async def test_what_is_sent_while_away_arrives_in_order_on_return() -> None:
    world = World()
    async with world.client(max_queued=3) as socket:
        world.wire.cut()
        await settled()
        for text in "abc":
            await socket.send(text)
        with pytest.raises(QueueFull, match="3 messages wait"):
            await socket.send("d")
        await passes(0.26)
        await socket.send("e")
        await settled()
        assert [wire.sent for wire in world.wires] == [[], ["a", "b", "c", "e"]]


@virtual_time
async def test_nothing_is_lost_while_the_connection_is_seen_to_close() -> None:
    world = World()
    async with world.client() as socket:
        world.wire.is_closing()
        await socket.send("a")
        await settled()
        await socket.send("b")
        world.wire.cut()
        await passes(0.26)
        assert [wire.sent for wire in world.wires] == [[], ["a", "b"]]


@virtual_time
async def test_nothing_is_sent_twice() -> None:
    world = World()
    async with world.client() as socket:
        world.wire.stop_reading()
        await socket.send("a")  # written, and then the connection fails
        await settled()
        await socket.send("b")
        world.wire.cut()
        await passes(0.26)
        assert [wire.sent for wire in world.wires] == [["a"], ["b"]]


@virtual_time
async def test_a_slow_server_holds_up_those_who_send() -> None:
    world = World()
    async with world.client(max_queued=2) as socket:
        world.wire.stop_reading()
        senders = [asyncio.create_task(socket.send(text)) for text in "abcde"]
        await settled()
        assert [sender.done() for sender in senders] == [True, True, True, False, False]
        world.wire.read_again()
        await asyncio.gather(*senders)
        await settled()
        assert world.wire.sent == list("abcde")


@virtual_time
async def test_those_who_wait_for_room_learn_that_the_connection_is_gone() -> None:
    world = World()
    async with world.client(max_queued=1) as socket:
        world.wire.stop_reading()
        await socket.send("a")
        await settled()
        await socket.send("b")
        third = asyncio.create_task(socket.send("c"))
        await settled()
        world.failures.append(Hang())
        world.wire.cut()
        with pytest.raises(QueueFull):
            await third


@virtual_time
async def test_what_waits_goes_before_the_close() -> None:
    world = World()
    async with world.client() as socket:
        await asyncio.gather(*(socket.send(str(number)) for number in range(100)))
    assert world.wire.sent == [str(number) for number in range(100)]
    assert world.wire.closed_with == (1000, "")


@virtual_time
async def test_the_end_of_a_stream_waits_its_turn() -> None:
    world = World()
    async with world.client() as socket:
        world.wire.cut()
        await settled()
        await socket.send("a")
        await socket.end()
        await passes(0.26)
        world.wire.say("summary")
        world.wire.end(1000)
        assert [message async for message in socket] == ["summary"]
        assert world.wire.sent == ["a", '{"type":"ws:end"}']
        with pytest.raises(ConnectionClosed):
            await socket.end()


# Views


def view(name: str) -> str:
    return f'{{"type":"ws:view","view":"{name}"}}'


@virtual_time
async def test_the_view_is_what_each_connection_begins_with() -> None:
    world = World()
    client = world.client()
    await client.view("small")
    async with client as socket:
        await socket.send("a")
        await socket.view("summary")
        await settled()
        world.wire.cut()
        await settled()
        await socket.send("b")
        await socket.view("default")
        await passes(0.26)
        assert [wire.sent for wire in world.wires] == [
            [view("small"), "a", view("summary")],
            [view("default"), "b"],
        ]


@virtual_time
async def test_a_view_takes_no_room_while_there_is_no_connection() -> None:
    world = World()
    async with world.client(max_queued=1) as socket:
        world.wire.cut()
        await settled()
        await socket.view("small")
        await socket.send("a")
        await socket.view("summary")
        await passes(0.26)
        assert world.wire.sent == [view("summary"), "a"]


@virtual_time
async def test_a_view_that_waits_for_room_is_kept_when_the_connection_is_gone() -> None:
    world = World()
    async with world.client(max_queued=1) as socket:
        world.wire.stop_reading()
        await socket.send("a")
        await settled()
        await socket.send("b")
        choosing = asyncio.create_task(socket.view("summary"))
        await settled()
        assert not choosing.done()
        world.wire.cut()
        await choosing
        await passes(0.26)
        assert [wire.sent for wire in world.wires] == [["a"], [view("summary"), "b"]]


@virtual_time
async def test_no_view_is_chosen_once_it_is_over() -> None:
    world = World()
    async with world.client() as socket:
        world.wire.end(3501, "There is no such view.")
        await settled()
        with pytest.raises(ConnectionClosed, match="There is no such view") as end:
            await socket.view("summary")
        assert end.value.kind == "fatal"


@pytest.mark.parametrize("name", ["max_queued", "max_unread"])
def test_a_queue_without_room_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="from 1"):
        World().client(**{name: 0})


# Receiving


@virtual_time
async def test_messages_arrive_parsed_or_as_they_are() -> None:
    world = World()
    async with world.client() as socket:
        for frame in ('{"type":"a"}', "[1]", "null", "plain", "", b"\x00"):
            world.wire.say_raw(frame)
        world.wire.say({"type": "ws:batch", "messages": [{"type": "b"}, 2]})
        world.wire.end(1000)
        received = [message async for message in socket]
    assert received == [{"type": "a"}, [1], None, "plain", "", b"\x00", {"type": "b"}, 2]


@virtual_time
async def test_what_came_before_the_end_is_received_before_the_error() -> None:
    world = World()
    async with world.client() as socket:
        world.wire.say(1)
        world.wire.say(2)
        world.wire.end(3503)
        await settled()
        assert [await socket.receive(), await socket.receive()] == [1, 2]
        with pytest.raises(ConnectionClosed):
            await socket.receive()


@virtual_time
async def test_receive_has_a_timeout_and_loses_nothing() -> None:
    world = World()
    async with world.client() as socket:
        began = now()
        with pytest.raises(ReadTimeout, match=r"within 1\.5 seconds"):
            await socket.receive(timeout=1.5)
        assert now() - began == pytest.approx(1.5)
        world.wire.say("late")
        await settled()
        assert await socket.receive(timeout=0) == "late"


@virtual_time
async def test_each_message_goes_to_one_of_those_who_receive() -> None:
    world = World()
    async with world.client() as socket:
        receivers = [asyncio.create_task(socket.receive()) for _ in range(3)]
        await settled()
        for number in range(3):
            world.wire.say(number)
        assert sorted(await asyncio.gather(*receivers)) == [0, 1, 2]


@virtual_time
async def test_a_reader_who_does_not_read_stops_the_reading() -> None:
    world = World()
    async with world.client(max_unread=3) as socket:
        for number in range(6):
            world.wire.say(number)
        world.wire.say({"type": "ws:ping"})
        await passes(100)  # no silence of the server's
        assert len(world.wire._arrived) == 3
        assert world.wire.sent == []
        assert [await socket.receive() for _ in range(6)] == list(range(6))
        await settled()
        assert world.wire.messages == [{"type": "ws:pong"}]


@virtual_time
async def test_a_batch_larger_than_the_room_passes() -> None:
    world = World()
    async with world.client(max_unread=2) as socket:
        world.wire.say({"type": "ws:batch", "messages": list(range(7))})
        assert [await socket.receive() for _ in range(7)] == list(range(7))


@virtual_time
async def test_one_who_only_sends_comes_back_all_the_same() -> None:
    world = World()
    async with world.client(max_unread=1) as socket:
        for number in range(5):
            world.wire.say(number)
        await settled()
        world.wire.cut()
        await socket.send("a")
        await passes(0.26)
        assert [wire.sent for wire in world.wires] == [[], ["a"]]


@virtual_time
async def test_a_full_reader_can_be_closed() -> None:
    world = World()
    async with world.client(max_unread=1):
        for number in range(5):
            world.wire.say(number)
        await settled()
        began = now()
    assert now() - began < 0.001
    assert world.wire.closed_with == (1000, "")


# Heartbeat


@virtual_time
async def test_pings_and_the_welcome_are_answered() -> None:
    world = World()
    async with world.client() as socket:
        assert world.wire.sent == []
        world.wire.welcome("c1")
        await settled()
        world.wire.say({"type": "ws:ping"})
        await settled()
        assert world.wire.messages == [{"type": "ws:pong"}] * 2
        assert socket.client_id == "c1"


@virtual_time
async def test_a_silent_server_is_asked_then_left() -> None:
    world = World()
    async with world.client() as socket:
        await passes(24.99)
        assert world.wire.sent == []
        await passes(0.02)
        assert world.wire.messages == [{"type": "ws:ping"}]
        await passes(9.98)
        assert str(socket.state) == "open"
        await passes(0.02)
        assert str(socket.state) == "waiting"
        assert world.wire.closed_with == (3012, "no pong")


@virtual_time
async def test_a_silent_server_that_does_not_read_is_left_too() -> None:
    world = World()
    async with world.client() as socket:
        world.wire.stop_reading()
        world.wire.says_goodbye = False
        await socket.send("stuck")
        await passes(25 + 10 + 2 + 0.3)
        assert world.wires[0].transport.is_aborted
        assert len(world.wires) == 2


@virtual_time
async def test_any_frame_counts_as_life() -> None:
    world = World()
    async with world.client(ping_after_seconds=10, pong_within_seconds=5) as socket:
        for frame in ('{"type":"ws:pong"}', "junk", b"\x00", '{"type":"ws:unknown"}'):
            await passes(14.9)
            world.wire.say_raw(frame)
            await settled()
            assert str(socket.state) == "open"
        assert world.wire.messages == [{"type": "ws:ping"}] * 4


@virtual_time
async def test_answers_are_not_for_the_next_connection() -> None:
    world = World()
    async with world.client():
        world.wire.is_closing()
        world.wire.say({"type": "ws:ping"})
        await settled()
        world.wire.cut()
        await passes(0.26)
        assert [wire.sent for wire in world.wires] == [[], []]


# Requests


@dataclass
class Said:
    length: int


class Point(msgspec.Struct):
    x: int


class Model(pydantic.BaseModel):
    length: int


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (None, {"length": 2}),
        (Said, Said(2)),
        (Model, Model(length=2)),
        (dict[str, int], {"length": 2}),
    ],
    ids=["plain", "dataclass", "pydantic", "dict"],
)
@virtual_time
async def test_the_reply_is_made_what_was_asked_for(result: type, expected: object) -> None:
    world = World()
    async with world.client() as socket:
        asking = asyncio.create_task(socket.request("chat.say", {"text": "hi"}, result=result))
        await settled()
        assert world.wire.messages == [{"text": "hi", "type": "chat.say", "id": 1}]
        world.wire.say({"type": "ws:reply", "id": 1, "result": {"length": 2}})
        assert await asking == expected


@virtual_time
async def test_a_reply_that_does_not_fit() -> None:
    world = World()
    async with world.client() as socket:
        asking = asyncio.create_task(socket.request("where", result=Point))
        await settled()
        world.wire.say({"type": "ws:reply", "id": 1, "result": {"x": "left"}})
        with pytest.raises(InvalidMessage) as error:
            await asking
        assert error.value.path == "$.x"


@virtual_time
async def test_the_servers_error() -> None:
    world = World()
    async with world.client() as socket:
        asking = asyncio.create_task(socket.request("chat.say"))
        await settled()
        error = {"code": "invalid", "message": "Expected text.", "path": "$.text"}
        later = {"kind": "exhausted", "retry_after": 3}
        world.wire.say({"type": "ws:error", "id": 1, **error, **later})
        with pytest.raises(RequestError, match=r"Expected text\.") as failure:
            await asking
        assert (failure.value.code, failure.value.path) == ("invalid", "$.text")
        assert failure.value.kind is FailureKind.EXHAUSTED
        assert failure.value.retry_after == 3
        assert failure.value.message == "Expected text."


@virtual_time
async def test_no_reply_in_time() -> None:
    world = World()
    async with world.client() as socket:
        began = now()
        with pytest.raises(ReadTimeout, match='"slow" had no reply within 10 seconds'):
            await socket.request("slow")
        assert now() - began == pytest.approx(10)
        world.wire.say({"type": "ws:reply", "id": 1, "result": "too late"})
        await settled()
        assert str(socket.state) == "open"


@virtual_time
async def test_a_request_is_lost_with_the_connection_that_carried_it() -> None:
    async def closed(world: World, socket: object) -> None:
        await socket.close()  # type: ignore[attr-defined]

    async def cut(world: World, socket: object) -> None:
        world.wire.cut()

    async def ended(world: World, socket: object) -> None:
        world.wire.end(3503)

    async def silent(world: World, socket: object) -> None:
        await passes(35)

    for lose in (closed, cut, ended, silent):
        world = World()
        async with world.client() as socket:
            asking = asyncio.create_task(socket.request("slow", timeout=None))
            await settled()
            await lose(world, socket)
            with pytest.raises(RequestError, match="ended before the reply") as failure:
                await asking
            assert (failure.value.code, failure.value.kind) == ("closed", FailureKind.TRANSIENT)
            assert failure.value.retry_after is None


@virtual_time
async def test_a_request_waits_for_a_connection_and_is_sent_once() -> None:
    world = World()
    async with world.client() as socket:
        world.wire.cut()
        await settled()
        await socket.send({"type": "chat.join"})
        asking = asyncio.create_task(socket.request("chat.who"))
        impatient = asyncio.create_task(socket.request("chat.quiet", timeout=0.1))
        await passes(0.26)
        world.wire.say({"type": "ws:reply", "id": 1, "result": ["eva"]})
        assert await asking == ["eva"]
        with pytest.raises(ReadTimeout):
            await impatient
        assert world.wire.messages == [{"type": "chat.join"}, {"type": "chat.who", "id": 1}]


@virtual_time
async def test_a_cancelled_request_is_not_sent() -> None:
    world = World()
    async with world.client() as socket:
        world.wire.cut()
        await settled()
        asking = asyncio.create_task(socket.request("chat.who"))
        await settled()
        asking.cancel()
        await passes(0.26)
        assert world.wire.sent == []


@virtual_time
async def test_requests_find_no_room_or_no_connection() -> None:
    world = World()
    async with world.client(max_queued=1) as socket:
        world.wire.cut()
        await settled()
        await socket.send("a")
        with pytest.raises(QueueFull):
            await socket.request("chat.who")
    with pytest.raises(RequestError, match=r'"chat\.who" was not sent') as failure:
        await socket.request("chat.who")
    assert failure.value.code == "closed"


@virtual_time
async def test_many_requests_at_once_get_their_own_replies() -> None:
    world = World()
    async with world.client(max_queued=7) as socket:
        asking = [
            asyncio.create_task(socket.request("echo", {"n": number})) for number in range(100)
        ]
        await settled()
        for message in reversed(world.wire.messages):
            world.wire.say({"type": "ws:reply", "id": message["id"], "result": message["n"]})
        assert await asyncio.gather(*asking) == list(range(100))
