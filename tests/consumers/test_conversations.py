"""A consumer that holds a conversation: it reads its connection itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from channels.layers import get_channel_layer

from tests.consumers.browser import Browser, Closed
from tests.consumers.conftest import Log
from tests.waiting import aeventually
from wsadapter import (
    ClosedBy,
    Connection,
    ConnectionClosed,
    HealthPolicy,
    RateLimit,
    ReceiveConflict,
    State,
    abroadcast,
    adisconnect_client,
    asend_to_client,
    frame_log,
    handler,
)
from wsadapter.consumers import AdapterConsumer
from wsadapter.frame_log import Detail
from wsadapter.wire.envelope import PING

Connect = Callable[..., Browser]


async def unsupported(client: Browser, frame: str | bytes) -> bool:
    """Whether a frame is answered with the error that says that nobody takes it."""
    answer = await client.request_raw(frame)
    return bool(answer["type"] == "ws:error" and answer["code"] == "unsupported")


# Reading in connect() and beside it


async def test_connect_may_read(browser: Connect) -> None:
    class Asking(AdapterConsumer):
        async def connect(self) -> None:
            await self.accept()
            await self.connection.send("your name?")
            name = await self.connection.receive_text()
            await self.connection.send(f"hello {name}")
            async for frame in self.connection:
                await self.connection.send(frame)

    client = browser(Asking)
    await client.open()
    assert await client.receive() == "your name?"
    assert await client.request_raw("Ann") == "hello Ann"
    assert await client.request_raw("echo") == "echo"


async def test_while_connect_reads_pushes_and_heartbeats_go_on(browser: Connect) -> None:
    class Reading(AdapterConsumer):
        async def connect(self) -> None:
            await self.accept()
            await self.connection.receive()

    client = browser(Reading)
    client_id = await client.open()
    await abroadcast("for all")
    await asend_to_client(client_id, "for one")
    assert [await client.receive(), await client.receive()] == ["for all", "for one"]
    assert await client.request_raw(PING) == {"type": "ws:pong"}


async def test_what_arrives_after_connect_has_read_can_be_read_later(browser: Connect) -> None:
    """Once it has read, a consumer is one that reads."""

    class Later(AdapterConsumer):
        groups = ["later"]

        async def connect(self) -> None:
            await self.accept()
            await self.connection.receive()

        async def go_on(self, event: Any) -> None:
            await self.connection.send(await self.connection.receive())

    client = browser(Later)
    await client.open()
    for word in ("one", "two"):
        await client.frame(word)
    await aeventually(client.input_queue.empty)
    await get_channel_layer().group_send("later", {"type": "go.on"})
    assert await client.receive() == "two"


async def test_a_task_that_connect_made_may_read(browser: Connect) -> None:
    class Beside(AdapterConsumer):
        async def connect(self) -> None:
            await self.accept()
            self.connection.create_task(self.converse())

        async def converse(self) -> None:
            async for frame in self.connection:
                await self.connection.send(frame)

    client = browser(Beside)
    await client.open()
    for word in ("one", "two"):
        assert await client.request_raw(word) == word


async def test_a_task_reads_what_came_while_connect_was_busy(browser: Connect) -> None:
    go_on = asyncio.Event()

    class Beside(AdapterConsumer):
        async def connect(self) -> None:
            await self.accept()
            await go_on.wait()
            self.connection.create_task(self.converse())

        async def converse(self) -> None:
            async for frame in self.connection:
                await self.connection.send(frame)

    client = browser(Beside)
    await client.open()
    for word in ("one", "two"):
        await client.frame(word)
    await aeventually(client.input_queue.empty)
    go_on.set()
    assert [await client.receive(), await client.receive()] == ["one", "two"]


async def test_several_tasks_share_what_arrives(browser: Connect) -> None:
    class Shared(AdapterConsumer):
        async def connect(self) -> None:
            await self.accept()
            for name in ("a", "b"):
                self.connection.create_task(self.take_one(name))

        async def take_one(self, name: str) -> None:
            await self.connection.send(f"{name} took {await self.connection.receive()}")

    client = browser(Shared)
    await client.open()
    assert await client.request_raw("one") == "a took one"
    assert await client.request_raw("two") == "b took two"


async def test_reading_may_begin_later_and_what_came_before_is_refused(browser: Connect) -> None:
    class Later(AdapterConsumer):
        groups = ["later"]

        async def begin(self, event: Any) -> None:
            self.connection.create_task(self.converse())

        async def converse(self) -> None:
            await self.connection.send("go on")
            await self.connection.send(await self.connection.receive())

    client = browser(Later)
    await client.open()
    assert await unsupported(client, "too early")
    await get_channel_layer().group_send("later", {"type": "begin"})
    assert await client.receive() == "go on"
    assert await client.request_raw("just right") == "just right"


async def test_what_waits_when_the_client_goes_is_read_before_the_end(browser: Connect) -> None:
    notes: list[Any] = []
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Slow(AdapterConsumer):
        async def connect(self) -> None:
            await self.accept()
            async for frame in self.connection:
                begun.set()
                await go_on.wait()
                notes.append(frame)
            notes.append("the end")

        async def disconnect(self, code: int) -> None:
            notes.append(f"disconnect({code})")

    client = browser(Slow)
    await client.open()
    for word in ("one", "two"):
        await client.frame(word)
    await begun.wait()
    await client.send_input({"type": "websocket.disconnect", "code": 1000})
    await aeventually(client.input_queue.empty)
    go_on.set()
    await client.wait(10)
    assert notes == ["one", "two", "the end", "disconnect(1000)"]


async def test_a_task_is_cancelled_with_the_connection(browser: Connect, log: Log) -> None:
    begun, notes = asyncio.Event(), []

    class Idle(AdapterConsumer):
        async def connect(self) -> None:
            await self.accept()
            self.connection.create_task(self.idle())

        async def idle(self) -> None:
            try:
                begun.set()
                await asyncio.Event().wait()
            finally:
                notes.append("cleaned up")

    client = browser(Idle)
    await client.open()
    await begun.wait()
    await client.leave()
    assert notes == ["cleaned up"]
    assert not log.tracebacks


async def test_a_task_that_fails_is_logged_and_ends_nothing(browser: Connect, log: Log) -> None:
    class Broken(AdapterConsumer):
        async def connect(self) -> None:
            await self.accept()
            self.connection.create_task(self.fail(), name="broken")

        async def fail(self) -> None:
            raise LookupError("a secret")

    client = browser(Broken)
    client_id = await client.open()
    assert await unsupported(client, "anything")
    assert log.tracebacks == [f"The task broken of client {client_id} failed."]


async def test_before_accept_nothing_can_be_read(browser: Connect, log: Log) -> None:
    class Hasty(AdapterConsumer):
        async def connect(self) -> None:
            with pytest.raises(RuntimeError, match=r"Nothing arrives before accept\(\)"):
                await self.connection.receive()
            await self.accept()
            await self.connection.send("asserted")

    client = browser(Hasty)
    await client.open()
    assert await client.receive() == "asserted"
    assert not log.tracebacks


# Where the consumer reads already


class WithHandlers(AdapterConsumer):
    @handler("say")
    async def say(self) -> str:
        return "said"


class WithReceive(AdapterConsumer):
    async def receive(self, text_data: str | None = None, bytes_data: Any = None) -> None:
        await self.send("received")


class WithWebsocketReceive(AdapterConsumer):
    async def websocket_receive(self, message: Any) -> None:
        await self.send("received")


class WithDispatch(AdapterConsumer):
    async def dispatch(self, message: Any) -> None:
        await super().dispatch(message)
        if message["type"] == "websocket.receive":
            await self.send("dispatched")


READING_ALREADY: list[tuple[type[AdapterConsumer], str]] = [
    (WithHandlers, "declares handlers"),
    (WithReceive, r"overrides receive\(\)"),
    (WithWebsocketReceive, r"overrides websocket_receive\(\)"),
    (WithDispatch, r"overrides dispatch\(\)"),
]
READS: dict[str, Callable[[Any], Any]] = {
    "receive": lambda connection: connection.receive(),
    "receive_text": lambda connection: connection.receive_text(),
    "receive_bytes": lambda connection: connection.receive_bytes(timeout=0),
    "receive_json": lambda connection: connection.receive_json(),
    "async for": lambda connection: anext(connection),
    "reader": lambda connection: connection.reader().read(),
}


@pytest.mark.parametrize(("base", "why"), READING_ALREADY)
@pytest.mark.parametrize("read", READS.values(), ids=READS)
async def test_nobody_else_may_read(
    browser: Connect, log: Log, base: type[AdapterConsumer], why: str, read: Callable[[Any], Any]
) -> None:
    class Torn(base):  # type: ignore[valid-type, misc]
        async def connect(self) -> None:
            await self.accept()
            with pytest.raises(ReceiveConflict, match=rf"read already: Torn {why}\. .*@websocket"):
                await read(self.connection)
            await self.connection.send("asserted")

    client = browser(Torn)
    await client.open()
    assert await client.receive() == "asserted"
    assert not log.tracebacks


@pytest.mark.parametrize(("base", "why"), READING_ALREADY)
async def test_and_the_consumer_goes_on_reading(
    browser: Connect, base: type[AdapterConsumer], why: str
) -> None:
    client = browser(base)
    await client.open()
    if base is WithDispatch:
        assert await unsupported(client, "a frame")
        assert await client.receive() == "dispatched"
    elif base is WithHandlers:
        assert (await client.request(type="say", id=1))["result"] == "said"
    else:
        assert await client.request_raw("a frame") == "received"


async def test_sending_and_tasks_are_for_every_consumer(browser: Connect) -> None:
    class Clock(WithHandlers):
        async def connect(self) -> None:
            await self.accept()
            self.connection.create_task(
                self.connection.send_periodically(lambda: "tick", interval=3600)
            )

    client = browser(Clock)
    await client.open()
    assert await client.receive() == "tick"
    assert (await client.request(type="say", id=1))["result"] == "said"


# Frames that nobody reads


@pytest.mark.parametrize("frame", ["text", '{"type":"say","id":7}', b"binary", "", b""], ids=repr)
async def test_a_frame_that_nobody_reads_is_answered(
    browser: Connect, log: Log, frame: str | bytes
) -> None:
    client = browser(AdapterConsumer)
    await client.open()
    assert await unsupported(client, frame)
    assert await unsupported(client, frame)
    assert not log.lines("handlers")


async def test_each_frame_that_came_while_connect_was_busy_is_answered_too(
    browser: Connect,
) -> None:
    go_on = asyncio.Event()

    class Busy(AdapterConsumer):
        async def connect(self) -> None:
            await self.accept()
            await go_on.wait()

    client = browser(Busy)
    await client.open()
    for word in ("one", "two", "three"):
        await client.frame(word)
    await aeventually(client.input_queue.empty)
    assert client.output_queue.empty()
    go_on.set()
    codes = [(await client.receive())["code"] for _ in range(3)]
    assert codes == ["unsupported"] * 3
    assert client.output_queue.empty()


# What a client may do


async def test_beyond_the_rate_limit_messages_do_not_reach_the_handlers(browser: Connect) -> None:
    class Limited(WithHandlers):
        rate_limit = RateLimit(0.001, burst=2)

    client = browser(Limited)
    await client.open()
    answers = [await client.request(type="say", id=number) for number in range(4)]
    assert [one["type"] for one in answers] == ["ws:reply"] * 2 + ["ws:error"] * 2
    for number, refused in enumerate(answers[2:], 2):
        assert (refused["id"], refused["code"]) == (number, "rate_limited")
        assert refused["message"] == "More than 0.001 messages a second are not taken here."
        assert 0 < refused["retry_after"] <= 1000


async def test_pongs_do_not_count_and_everything_else_does(browser: Connect) -> None:
    class Limited(WithHandlers):
        rate_limit = RateLimit(0.001, burst=2)

    client = browser(Limited)
    await client.open()
    for _ in range(30):
        await client.send_json_to({"type": "ws:pong"})
    assert await client.request_raw(PING) == {"type": "ws:pong"}
    assert (await client.request_raw(b"\x00"))["code"] == "unsupported"
    assert (await client.request_raw(PING))["code"] == "rate_limited"


async def test_who_goes_on_and_on_is_closed(browser: Connect, log: Log) -> None:
    class Limited(WithHandlers):
        rate_limit = RateLimit(0.001, burst=1)

    flooding, other = browser(Limited), browser(Limited)
    client_id = await flooding.open()
    await other.open()
    for number in range(12):  # one passes, ten are refused
        await flooding.send_json_to({"type": "say", "id": number})
    assert await flooding.closed() == Closed(3013, "too many messages")
    assert (await other.request(type="say", id=1))["result"] == "said"
    assert [line for line in log.lines("connection") if client_id in line and "3013" in line]


async def test_the_limit_is_for_each_connection_alone(browser: Connect) -> None:
    class Limited(WithHandlers):
        rate_limit = RateLimit(0.001, burst=1)

    for client in (browser(Limited), browser(Limited)):
        await client.open()
        assert (await client.request(type="say", id=1))["type"] == "ws:reply"
        assert (await client.request(type="say", id=2))["type"] == "ws:error"


SOON = 0.005  # seconds from one check to the next


class Crowded(AdapterConsumer):
    health = HealthPolicy(max_tasks=1, check_interval_seconds=SOON)

    async def connect(self) -> None:
        await self.accept()
        for _ in range(2):
            self.connection.create_task(asyncio.Event().wait())


class Silent(AdapterConsumer):
    health = HealthPolicy(max_silence_seconds=SOON, check_interval_seconds=SOON)


class Failing(AdapterConsumer):
    health = HealthPolicy(max_error_rate=0.5, check_interval_seconds=SOON)

    async def receive(self, text_data: str | None = None, bytes_data: Any = None) -> None:
        raise LookupError("a secret")


class Clogged(AdapterConsumer):
    health = HealthPolicy(max_queued_bytes=1000, check_interval_seconds=SOON)

    async def connect(self) -> None:
        await self.accept()
        for _ in range(6):
            self.connection.post("x" * 1000)


UNHEALTHY: list[tuple[type[AdapterConsumer], int, str]] = [
    (Crowded, 3013, "2 tasks at once, 1 are allowed"),
    (Silent, 3012, "silent for "),
    (Failing, 3004, " messages failed, 50 % are allowed"),
    (Clogged, 3008, " bytes wait to be sent, 1000 are allowed"),
]


@pytest.mark.parametrize(("consumer", "code", "reason"), UNHEALTHY)
async def test_an_unhealthy_connection_is_closed_with_its_reason_and_logged(
    browser: Connect, log: Log, consumer: type[AdapterConsumer], code: int, reason: str
) -> None:
    client = browser(consumer, takes=2 if consumer is Clogged else 0)
    await client.connect()
    client_id = (await client.receive())["client"]
    if consumer is Failing:
        for _ in range(9):
            assert (await client.request_raw("a message"))["code"] == "internal_error"
        await client.frame("the tenth, from which on there is a rate")
    if consumer is Clogged:
        await aeventually(lambda: log.lines("health"))
    closed = await client.closed()
    assert closed.code == code and reason in closed.reason
    assert log.lines("health") == [
        f"Client {client_id} is unhealthy and is closed with code {code}: {closed.reason}."
    ]


async def test_a_healthy_connection_stays(
    browser: Connect, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    vitals = Connection.vitals

    def counted(connection: Connection, now: float) -> Any:
        looks.append(now)
        return vitals(connection, now)

    class Healthy(Crowded):
        health = HealthPolicy(
            max_silence_seconds=3600,
            max_error_rate=1,
            max_queued_bytes=1,
            max_tasks=2,
            check_interval_seconds=SOON,
        )

    monkeypatch.setattr(Connection, "vitals", counted)
    client = browser(Healthy)
    await client.open()
    await aeventually(lambda: len(looks) > 3)
    assert await unsupported(client, "still there")
    assert not log.lines("health")


# Its end


async def test_an_end_that_leaves_a_handler_is_quiet(browser: Connect, log: Log) -> None:
    notes: list[Any] = []
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Late(AdapterConsumer):
        @handler("late")
        async def late(self) -> None:
            begun.set()
            await go_on.wait()
            try:
                await self.connection.send("too late")
            except ConnectionClosed as end:
                notes.append((end.code, self.connection.state))
                raise

    client = browser(Late)
    await client.open()
    await client.send_json_to({"type": "late"})
    await begun.wait()
    await client.send_input({"type": "websocket.disconnect", "code": 4321})
    await aeventually(client.input_queue.empty)
    go_on.set()
    await client.wait(10)
    assert notes == [(4321, State.CLOSED)]
    assert not log.lines("handlers") and not log.tracebacks


async def test_an_end_that_leaves_connect_is_quiet(browser: Connect, log: Log) -> None:
    class Reading(AdapterConsumer):
        async def connect(self) -> None:
            await self.accept()
            while True:
                await self.connection.receive()

    client = browser(Reading)
    client_id = await client.open()
    await adisconnect_client(client_id)
    assert (await client.closed()).code == 3503
    assert not log.lines("handlers") and not log.tracebacks


async def test_the_end_of_another_connection_is_a_failure_of_the_handler(
    browser: Connect, log: Log
) -> None:
    class Relay(AdapterConsumer):
        @handler("relay")
        async def relay(self) -> None:
            raise ConnectionClosed(1000, "", ClosedBy.CLIENT)

    client = browser(Relay)
    await client.open()
    assert (await client.request(type="relay", id=7))["code"] == "internal_error"
    assert len(log.tracebacks) == len(log.lines("handlers")) == 1


@pytest.mark.parametrize("how", ["the consumer", "its connection"])
async def test_what_was_sent_leaves_before_the_consumer_closes(browser: Connect, how: str) -> None:
    class Parting(AdapterConsumer):
        async def receive(self, text_data: str | None = None, bytes_data: Any = None) -> None:
            for number in range(5):
                self.connection.post(str(number))
            closer = self if how == "the consumer" else self.connection
            await closer.close(4001, "bye")

    client = browser(Parting, takes=1)
    await client.open()
    await client.frame("close")
    assert [await client.receive() for _ in range(5)] == [0, 1, 2, 3, 4]
    assert await client.closed() == Closed(4001, "bye")


async def test_what_is_pushed_after_close_does_not_leave(browser: Connect) -> None:
    class Parting(AdapterConsumer):
        async def receive(self, text_data: str | None = None, bytes_data: Any = None) -> None:
            self.connection.post("before")
            await self.close(4001)
            self.connection.post("after")
            await abroadcast("after")

    client = browser(Parting)
    await client.open()
    await client.frame("close")
    assert await client.receive() == "before"
    assert (await client.event())["code"] == 4001
    await client.leave(4001)
    assert client.output_queue.empty()


# The log of frames


@pytest.fixture
def frame_lines(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, log: Log
) -> Callable[[], list[str]]:
    """Log as with WSADAPTER_DEBUG=1; gives the lines so far."""
    monkeypatch.setattr(frame_log, "detail", Detail.PAYLOADS)
    monkeypatch.setattr(frame_log, "on", True)
    caplog.set_level(logging.DEBUG, frame_log.logger.name)
    return lambda: log.lines("frames")


async def test_every_frame_of_a_connection_is_a_line(
    browser: Connect, frame_lines: Callable[[], list[str]]
) -> None:
    class Chat(AdapterConsumer):
        async def connect(self) -> None:
            await self.accept()
            async for frame in self.connection:
                await self.connection.send(frame)

    client = browser(Chat, "/ws/chat/?room=7&token=hunter2")
    client_id = await client.open()
    await client.request_raw('{"type":"log.in","password":"hunter2"}')
    await client.request_raw(b"\x01\xff")
    await abroadcast("for all")
    await asend_to_client(client_id, "for one")
    assert [await client.receive(), await client.receive()] == ["for all", "for one"]
    await client.request_raw(PING)
    await adisconnect_client(client_id, 4501, "out you go")
    await client.closed()
    lines = frame_lines()
    assert [line.replace(client_id, "ID") for line in lines] == [
        "open ID /ws/chat/?room=7&token=***",
        "out  ID accept",
        f'out  ID text {33 + len(client_id)} bytes {{"type":"ws:welcome","client":"ID"}}',
        'in   ID text 38 bytes {"type":"log.in","password":"***"}',
        'out  ID text 38 bytes {"type":"log.in","password":"***"}',
        "in   ID binary 2 bytes 01ff",
        "out  ID binary 2 bytes 01ff",
        "out  ID text 7 bytes for all",
        "out  ID text 7 bytes for one",
        'in   ID text 18 bytes {"type":"ws:ping"}',
        'out  ID text 18 bytes {"type":"ws:pong"}',
        "out  ID close 4501 (out you go)",
        "end  ID 4501 (out you go)",
    ]


async def test_a_refused_connection_is_logged_as_far_as_it_came(
    browser: Connect, frame_lines: Callable[[], list[str]]
) -> None:
    class Members(AdapterConsumer):
        allow_anonymous = False

    await browser(Members, "/ws/members/").refused()
    assert [line.split() for line in frame_lines()] == [
        ["open", "/ws/members/"],
        ["out", "accept"],
        ["out", "close", "3500", "(log", "in", "first)"],
        ["end", "3500", "(log", "in", "first)"],
    ]


@pytest.mark.parametrize("on", [True, False])
async def test_frames_that_are_logged_are_not_written_past_the_server(
    browser: Connect, monkeypatch: pytest.MonkeyPatch, on: bool
) -> None:
    writers: list[Any] = []
    monkeypatch.setattr("wsadapter.servers.frame_writer", lambda *given: writers.append(given))
    monkeypatch.setattr(frame_log, "on", on)
    await browser(AdapterConsumer).open()
    assert bool(writers) is not on


async def test_without_the_switch_no_frame_is_logged(
    browser: Connect, caplog: pytest.LogCaptureFixture, log: Log
) -> None:
    caplog.set_level(logging.DEBUG, frame_log.logger.name)
    client = browser(AdapterConsumer)
    await client.open()
    assert await unsupported(client, "anything")
    await client.leave()
    assert log.lines("frames") == []
