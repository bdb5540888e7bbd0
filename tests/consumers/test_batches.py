"""What a consumer with a `Batch` sends leaves in frames of many; what is urgent does not wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from channels.layers import get_channel_layer

from tests.consumers.browser import Browser
from tests.consumers.conftest import Log
from tests.waiting import aeventually
from wsadapter import (
    Batch,
    Fatal,
    Overflow,
    Priority,
    RateLimit,
    abroadcast,
    adisconnect_client,
    asend_to_client,
    asend_to_group,
    asend_to_user,
    handler,
)
from wsadapter.consumers import AdapterConsumer
from wsadapter.outlet import ITEM_BYTES

Connect = Callable[..., Browser]

A_MINUTE = 60.0
SOON = 0.005  # seconds
PING = '{"type":"ws:ping"}'


class Pairs(AdapterConsumer):
    """Two messages leave together, and one alone does not."""

    groups = ["red"]
    batch = Batch(max_items=2, max_delay=A_MINUTE)

    @handler("say")
    async def say(self, message: dict[str, Any]) -> dict[str, Any]:
        return message

    @handler("fail")
    async def fail(self) -> None:
        raise Fatal("This cannot work.")

    async def red_event(self, event: dict[str, Any]) -> None:
        await self.send(event["text"])


async def batch_of(client: Browser) -> list[Any]:
    """The messages of the next frame, which has to be a batch."""
    frame = await client.receive()
    assert frame["type"] == "ws:batch" and frame["size"] == len(frame["messages"])
    return list(frame["messages"])


def now_ms() -> int:
    return time.time_ns() // 1_000_000


# What is in it


async def test_pushes_of_every_kind_leave_together(browser: Connect) -> None:
    class Four(Pairs):
        batch = Batch(max_items=4, max_delay=A_MINUTE)

    client = browser(Four, user=SimpleNamespace(pk=7, is_anonymous=False))
    before = now_ms()
    client_id = await client.open()
    await abroadcast({"n": 1})
    await asend_to_user(7, {"n": 2})
    await asend_to_group("red", {"n": 3})
    await asend_to_client(client_id, {"n": 4})
    frame = await client.receive()
    assert before <= frame.pop("sent_at") <= now_ms()
    assert frame == {
        "type": "ws:batch",
        "id": 1,
        "size": 4,
        "messages": [{"n": 1}, {"n": 2}, {"n": 3}, {"n": 4}],
    }


async def test_replies_and_errors_leave_together(browser: Connect) -> None:
    client = browser(Pairs)
    await client.open()
    for type in ("say", "fail", "sing", "say"):
        await client.send_json_to({"type": type, "id": type})
    reply = {"type": "ws:reply", "id": "say", "result": {}}
    said, failed = await batch_of(client)
    assert said == reply
    assert (failed["id"], failed["code"]) == ("fail", "fatal")
    unknown, said = await batch_of(client)
    assert (unknown["id"], unknown["code"]) == ("sing", "unknown_type")
    assert said == reply


async def test_so_do_the_errors_of_the_gate(browser: Connect) -> None:
    class Limited(Pairs):
        rate_limit = RateLimit(0.001, burst=1)

    client = browser(Limited)
    await client.open()
    for number in range(3):
        await client.send_json_to({"type": "fail", "id": number})
    codes = {error["id"]: error["code"] for error in await batch_of(client)}
    await abroadcast("a push")
    rest = [each for each in await batch_of(client) if each != "a push"]
    codes |= {error["id"]: error["code"] for error in rest}
    assert codes == {0: "fatal", 1: "rate_limited", 2: "rate_limited"}


async def test_a_reply_leaves_with_a_push(browser: Connect) -> None:
    client = browser(Pairs)
    await client.open()
    await abroadcast({"n": 1})
    assert (await client.request(type="say", id=7, text="hi"))["messages"] == [
        {"n": 1},
        {"type": "ws:reply", "id": 7, "result": {"text": "hi"}},
    ]


async def test_send_of_channels_is_collected_and_does_not_wait(browser: Connect) -> None:
    class Talkative(Pairs):
        async def connect(self) -> None:
            await self.send("before accept")
            await self.accept()
            await self.send("after accept")
            for number in range(4):
                await self.send(text_data=f'{{"n":{number}}}')

    client = browser(Talkative)
    await client.open()
    assert await batch_of(client) == ["before accept", "after accept"]
    assert await batch_of(client) == [{"n": 0}, {"n": 1}]
    assert await batch_of(client) == [{"n": 2}, {"n": 3}]


async def test_what_a_method_for_the_layer_sends_is_collected(browser: Connect) -> None:
    client = browser(Pairs)
    await client.open()
    for text in ("one", "two"):
        await get_channel_layer().group_send("red", {"type": "red.event", "text": text})
    assert await batch_of(client) == ["one", "two"]


TEXTS = ["no JSON", "", '"JSON"', "null", " [1, 2] ", "NaN", 'with "quotes"', "я", "[" * 5000]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text[:16]))
async def test_every_text_arrives(browser: Connect, text: str) -> None:
    """JSON as what it says, and anything else as it is."""
    client = browser(Pairs)
    await client.open()
    await abroadcast(text)
    await abroadcast("the end")
    parsed = {'"JSON"': "JSON", "null": None, " [1, 2] ": [1, 2]}
    assert await batch_of(client) == [parsed.get(text, text), "the end"]


# When it leaves


async def test_it_leaves_when_its_time_is_over(browser: Connect) -> None:
    class Soon(Pairs):
        batch = Batch(max_delay=SOON)

    client = browser(Soon)
    await client.open()
    await abroadcast({"n": 1})
    assert await batch_of(client) == [{"n": 1}]
    assert (await client.request(type="say", id=7))["messages"][0]["id"] == 7


async def test_it_leaves_before_it_is_too_large(browser: Connect) -> None:
    class Small(Pairs):
        batch = Batch(max_bytes=25, max_delay=A_MINUTE)

    client = browser(Small)
    await client.open()
    for _ in range(4):
        await abroadcast("x" * 10)  # as JSON, 12 bytes
    assert await batch_of(client) == ["x" * 10] * 2
    await abroadcast("y" * 100)
    assert await batch_of(client) == ["x" * 10] * 2
    assert await batch_of(client) == ["y" * 100]


async def test_each_connection_counts_its_own(browser: Connect) -> None:
    early, late = browser(Pairs), browser(Pairs)
    await early.open()
    await abroadcast(1)
    await abroadcast(2)
    await late.open()
    await abroadcast(3)
    await abroadcast(4)
    assert [(await early.receive())["id"] for _ in range(2)] == [1, 2]
    assert (await late.receive())["id"] == 1


# What does not wait


async def test_a_pong_and_what_is_urgent_leave_at_once_and_alone(browser: Connect) -> None:
    client = browser(Pairs)
    await client.open()
    await abroadcast("waits")
    assert await client.request_raw(PING) == {"type": "ws:pong"}
    await abroadcast({"is": "urgent"}, priority=Priority.URGENT)
    assert await client.receive() == {"is": "urgent"}
    await abroadcast("waited for")
    assert await batch_of(client) == ["waits", "waited for"]


async def test_a_ping_leaves_at_once(browser: Connect) -> None:
    class Pinging(Pairs):
        heartbeat_interval = SOON
        heartbeat_timeout = A_MINUTE

    client = browser(Pinging)
    await client.open()
    assert await client.receive() == {"type": "ws:ping"}


async def test_a_binary_frame_leaves_alone_after_what_waits(browser: Connect) -> None:
    client = browser(Pairs)
    await client.open()
    await abroadcast("one")
    await abroadcast(b"\x00\xff")
    await abroadcast("two")
    await abroadcast("three")
    assert await batch_of(client) == ["one"]
    assert await client.receive_from() == b"\x00\xff"
    assert await batch_of(client) == ["two", "three"]


async def test_lanes_are_collected_apart(browser: Connect) -> None:
    client = browser(Pairs)
    await client.open()
    for number in range(2):
        for priority in (Priority.LOW, Priority.NORMAL, Priority.HIGH):
            await abroadcast(f"{priority.name} {number}", priority=priority)
    frames = [await client.receive() for _ in range(3)]
    assert {frame["id"]: frame["messages"] for frame in frames} == {
        1: ["LOW 0", "LOW 1"],
        2: ["NORMAL 0", "NORMAL 1"],
        3: ["HIGH 0", "HIGH 1"],
    }


async def test_types_with_lanes_of_their_own_are_collected_in_those(browser: Connect) -> None:
    class Sorted(Pairs):
        priorities = {"alarm": Priority.URGENT, "typing": Priority.LOW}

        @handler("tell")
        async def tell(self) -> None:
            for kind in ("typing", "news", "alarm", "typing"):
                await self.connection.send({"type": kind})

    client = browser(Sorted)
    await client.open()
    assert await client.request(type="tell", id=7) == {"type": "alarm"}
    assert await batch_of(client) == [{"type": "typing"}] * 2
    news, reply = await batch_of(client)
    assert (news["type"], reply["type"]) == ("news", "ws:reply")


# Its end


@pytest.mark.parametrize("closing", ["close", "send"])
async def test_what_waits_leaves_before_the_consumer_closes(browser: Connect, closing: str) -> None:
    class Parting(AdapterConsumer):
        batch = Batch(max_items=5, max_delay=A_MINUTE)

        async def receive(self, text_data: str | None = None, bytes_data: Any = None) -> None:
            self.connection.post("low", Priority.LOW)
            self.connection.post("high", Priority.HIGH)
            if closing == "close":
                await self.send("bye")
                await self.close(4001, "that is all")
            else:
                await self.send("bye", close=4001)

    client = browser(Parting)
    await client.open()
    await client.frame("close")
    frames = [await client.receive() for _ in range(3)]
    assert [frame["messages"] for frame in frames] == [["high"], ["bye"], ["low"]]
    assert [frame["id"] for frame in frames] == [1, 2, 3]
    assert (await client.closed()).code == 4001


async def test_who_is_kicked_does_not_get_what_waits(browser: Connect) -> None:
    client = browser(Pairs)
    client_id = await client.open()
    await abroadcast("waits")
    await adisconnect_client(client_id)
    assert (await client.event())["type"] == "websocket.close"
    await client.leave(3503)
    assert client.output_queue.empty()


async def test_who_leaves_is_sent_nothing_more(browser: Connect, log: Log) -> None:
    class Soon(Pairs):
        batch = Batch(max_delay=SOON)

    leaving, staying = browser(Soon), browser(Soon)
    await leaving.open()
    await staying.open()
    await abroadcast("waits")
    await leaving.leave()
    assert await batch_of(staying) == ["waits"]
    assert leaving.output_queue.empty()
    assert not log.lines("connection")


# A client that does not read


async def unread(client: Browser) -> None:
    """Connect, and leave the welcome unread, so that nothing can leave any more."""
    await client.connect()
    await aeventually(client.output_queue.full)


async def pairs_of_pushes(count: int) -> None:
    for _ in range(2 * count):
        await abroadcast("a push of twenty one")
        await asyncio.sleep(0)


FRAME_BYTES = 130  # of a pair, roughly


class Bounded(Pairs):
    max_outbox_size = 3 * (FRAME_BYTES + ITEM_BYTES)


async def test_one_that_does_not_read_is_closed(browser: Connect, log: Log) -> None:
    slow, fast = browser(Bounded, takes=1), browser(Bounded)
    await unread(slow)
    await fast.open()
    await pairs_of_pushes(5)
    assert [len(await batch_of(fast)) for _ in range(5)] == [2] * 5
    closed = await slow.closed()
    assert closed.code == 3008 and closed.reason.startswith("too slow")
    assert not log.tracebacks


async def test_the_oldest_may_be_dropped_instead(browser: Connect) -> None:
    class Dropping(Bounded):
        overflow = Overflow.DROP_OLDEST

    client = browser(Dropping, takes=1)
    await unread(client)
    await pairs_of_pushes(6)
    assert (await client.receive())["type"] == "ws:welcome"
    assert [(await client.receive())["id"] for _ in range(4)] == [1, 4, 5, 6]


@pytest.mark.parametrize("overflow", Overflow)
async def test_what_is_sent_by_hand_waits_for_the_client_and_is_not_dropped(
    browser: Connect, overflow: Overflow
) -> None:
    class Talkative(Bounded):
        @handler("tell")
        async def tell(self) -> None:
            async with asyncio.TaskGroup() as group:
                for number in range(20):
                    group.create_task(self.connection.send(number))

    Talkative.overflow = overflow
    client = browser(Talkative, takes=1)
    await unread(client)
    await client.send_json_to({"type": "tell"})
    await aeventually(client.input_queue.empty)
    assert (await client.receive())["type"] == "ws:welcome"
    frames = [await batch_of(client) for _ in range(10)]
    assert [number for frame in frames for number in frame] == list(range(20))


@pytest.mark.parametrize("overflow", [Overflow.DROP_OLDEST, Overflow.DROP_NEWEST])
async def test_it_is_not_dropped_either_with_the_pushes_that_it_leaves_with(
    browser: Connect, overflow: Overflow
) -> None:
    class Telling(Bounded):
        @handler("tell")
        async def tell(self) -> None:
            await self.connection.send("by hand")

    Telling.overflow = overflow
    client = browser(Telling, takes=1)
    await unread(client)
    await pairs_of_pushes(5)
    await client.send_json_to({"type": "tell"})
    await aeventually(client.input_queue.empty)
    await abroadcast("a push of twenty one")
    await pairs_of_pushes(5)
    assert (await client.receive())["type"] == "ws:welcome"
    frames = [await batch_of(client) for _ in range(5)]
    assert sum("by hand" in frame for frame in frames) == 1


async def test_closing_one_that_does_not_read_closes_it_once(browser: Connect, log: Log) -> None:
    """What close() flushes may be what does not fit any more."""

    class Parting(AdapterConsumer):
        batch = Batch(max_bytes=700, max_delay=A_MINUTE)
        max_outbox_size = 2 * (600 + ITEM_BYTES)

        async def receive(self, text_data: str | None = None, bytes_data: Any = None) -> None:
            for _ in range(3):
                self.connection.post("x" * 500)
            await self.close(4001)

    client = browser(Parting, takes=1)
    await unread(client)
    await client.frame("close")
    assert (await client.closed()).code == 3008
    assert client.output_queue.empty()
    assert not log.tracebacks
