"""However a connection ends, it is cleaned up once."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.consumers.browser import Browser, Closed
from tests.consumers.conftest import Log
from tests.consumers.recorder import Recorder
from tests.waiting import aeventually
from wsadapter import ClientInfo, adisconnect_user, aonline_count, conf
from wsadapter.connection import Connection
from wsadapter.consumers import AdapterConsumer
from wsadapter.signals import client_connected, client_disconnected
from wsadapter.store import MemoryStore
from wsadapter.store.operations import JoinAll

Connect = Callable[..., Browser]
End = Callable[[Browser], Awaitable[None]]


class Watched(Recorder):
    heartbeat_interval = 30

    async def receive(self, text_data: str | None = None, bytes_data: Any = None) -> None:
        match text_data:
            case "close":
                await self.close(4001, "as you wish")
            case "raise":
                raise LookupError("a secret")
            case "cancel":
                raise asyncio.CancelledError


class Mortal(Watched):
    heartbeat_interval = 0.02
    heartbeat_timeout = 0.02
    heartbeat_mode = "always"


async def closed_by_the_consumer(client: Browser) -> None:
    await client.send_to("close")
    await client.closed()


async def kicked(client: Browser) -> None:
    await adisconnect_user(7)
    await client.closed()


async def cancelled_twice(client: Browser) -> None:
    client.future.cancel()
    await asyncio.sleep(0)
    await client.cut()
    # The clean-up goes on without the server's task.
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})


async def left_after_a_handler_raised(client: Browser) -> None:
    await client.send_to("raise")
    await client.receive()
    await client.leave()


async def closed_after_a_handler_was_cancelled(client: Browser) -> None:
    await client.send_to("cancel")
    await client.send_to("close")
    assert (await client.receive())["code"] == "internal_error"
    await client.closed()


async def closed_twice(client: Browser) -> None:
    await client.send_to("close")
    assert (await client.event())["code"] == 4001
    await adisconnect_user(7)
    await client.leave()
    assert client.output_queue.empty()


ENDS: dict[str, tuple[type[Watched], End, int]] = {
    "the browser closes with 1000": (Watched, lambda client: client.leave(1000), 1000),
    "the browser goes away with 1001": (Watched, lambda client: client.leave(1001), 1001),
    "the browser closes with a code of its own": (Watched, lambda client: client.leave(4321), 4321),
    "the browser vanishes": (Watched, lambda client: client.leave(1006), 1006),
    "the consumer closes": (Watched, closed_by_the_consumer, 4001),
    "a helper closes": (Watched, kicked, 3503),
    "both sides close": (Watched, closed_twice, 4001),
    "the browser answers no ping": (Mortal, lambda client: client.closed(), 3012),
    "the server cancels it": (Watched, lambda client: client.cut(), 1006),
    "the server cancels it twice": (Watched, cancelled_twice, 1006),
    "after a handler raised": (Watched, left_after_a_handler_raised, 1000),
    "after a handler was cancelled": (Watched, closed_after_a_handler_was_cancelled, 4001),
}
QUIET = {1000, 1001}


@pytest.fixture
def signals() -> Iterator[list[tuple[Any, ...]]]:
    seen: list[tuple[Any, ...]] = []

    def connected(client: ClientInfo, **kwargs: Any) -> None:
        seen.append(("connected", client.client_id))

    def disconnected(client: ClientInfo, code: int, duration: float, **kwargs: Any) -> None:
        assert duration >= 0
        seen.append(("disconnected", client.client_id, code))

    client_connected.connect(connected)
    client_disconnected.connect(disconnected)
    yield seen
    client_connected.disconnect(connected)
    client_disconnected.disconnect(disconnected)


@pytest.mark.parametrize(("consumer", "end", "code"), ENDS.values(), ids=ENDS)
async def test_the_end_is_told_and_logged_once(
    browser: Connect,
    log: Log,
    signals: list[tuple[Any, ...]],
    consumer: type[Watched],
    end: End,
    code: int,
) -> None:
    consumer.ends.clear()
    client = browser(consumer, user=7)
    client_id = await client.open()
    await end(client)
    assert await aonline_count() == 0
    assert consumer.ends == [code]
    assert signals == [("connected", client_id), ("disconnected", client_id, code)]
    said = [line for line in log.lines("connection") if client_id in line]
    assert len(said) == (0 if code in QUIET else 1)
    assert all(f"code {code}" in line and "user 7" in line for line in said)


@pytest.mark.parametrize("error", [LookupError, asyncio.CancelledError])
async def test_a_disconnect_that_raises_is_logged_and_the_rest_is_cleaned_up(
    browser: Connect, log: Log, signals: list[tuple[Any, ...]], error: type[BaseException]
) -> None:
    class Broken(AdapterConsumer):
        async def disconnect(self, code: int) -> None:
            raise error  # awaiting a task that one has just cancelled raises CancelledError

    client = browser(Broken)
    await client.open()
    await client.leave()
    assert not client.future.cancelled()
    assert await aonline_count() == 0
    assert [what for what, *_ in signals] == ["connected", "disconnected"]
    assert len(log.tracebacks) == 1
    assert "disconnect()" in log.lines("handlers")[0]


async def test_a_disconnect_that_never_returns_is_given_up(
    browser: Connect, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Endless(AdapterConsumer):
        async def disconnect(self, code: int) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr("wsadapter.consumers.CLEANUP_SECONDS", 0.02)
    client = browser(Endless)
    await client.open()
    await client.leave()
    assert [line for line in log.lines("connection") if "disconnect()" in line]
    assert not log.tracebacks


async def test_all_that_does_not_end_shares_the_time_that_there_is(
    browser: Connect, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Endless(AdapterConsumer):
        async def receive(self, text_data: str | None = None, bytes_data: Any = None) -> None:
            self.connection.create_task(self.hang("the task"))
            await self.hang("the handler")

        async def disconnect(self, code: int) -> None:
            await self.hang("disconnect()")

        async def hang(self, what: str) -> None:
            asked.append(what)
            await asyncio.Event().wait()

    async def receiver(**kwargs: Any) -> None:
        asked.append("the receiver")
        await asyncio.Event().wait()

    monkeypatch.setattr("wsadapter.consumers.CLEANUP_SECONDS", 1.0)
    client = browser(Endless)
    await client.open()
    await client.send_to("go")
    await aeventually(lambda: len(asked) == 2)
    client_disconnected.connect(receiver)
    clock = asyncio.get_running_loop().time
    began = clock()
    try:
        await client.leave()
    finally:
        client_disconnected.disconnect(receiver)
    assert 0.9 < clock() - began < 1.9, "not each of them has a second"
    assert asked == ["the handler", "the task", "disconnect()", "the receiver"]
    assert len([line for line in log.lines("connection") if "was given up" in line]) == 2
    assert not log.tracebacks


async def test_what_the_browser_sent_before_it_left_is_handled(browser: Connect) -> None:
    handled: list[str | None] = []

    class Noting(AdapterConsumer):
        async def receive(self, text_data: str | None = None, bytes_data: Any = None) -> None:
            await asyncio.sleep(0)
            handled.append(text_data)

        async def disconnect(self, code: int) -> None:
            handled.append("disconnect")

    client = browser(Noting)
    await client.open()
    for word in ("one", "two", "three"):
        await client.send_to(word)
    await client.leave()
    assert handled == ["one", "two", "three", "disconnect"]


async def test_sending_and_closing_after_the_end_do_nothing(browser: Connect, log: Log) -> None:
    class Last(AdapterConsumer):
        async def disconnect(self, code: int) -> None:
            await self.send("last words")
            await self.close(4000)
            await self.join("red")
            await self.leave("red")

    client = browser(Last)
    await client.open()
    await client.leave()
    assert client.output_queue.empty()
    assert not log.tracebacks


async def test_a_server_that_never_says_disconnect_is_not_waited_for(
    browser: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(Connection.close_soon.__kwdefaults__, "timeout", 0.02)
    client = browser(Watched)
    Watched.ends.clear()
    await client.open()
    await client.send_to("close")
    await client.wait(10)
    assert Watched.ends == [4001]


async def test_a_timeout_error_of_the_server_is_not_swallowed(browser: Connect) -> None:
    """The deadline of closing is a TimeoutError too, and must not be taken for the server's."""

    async def receive() -> Any:
        raise TimeoutError("the server's own")

    with pytest.raises(TimeoutError, match="the server's own"):
        await AdapterConsumer()({"type": "websocket", "path": "/"}, receive, None)


class HeldUp(MemoryStore):
    """A store that takes its time to count anonymous visitors in."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()

    async def arun(self, op: Any) -> Any:
        if isinstance(op, JoinAll) and op.newcomers[0][0].user_id is None:
            self.asked.set()
            await self.go_on.wait()
        return await super().arun(op)


async def test_a_client_that_leaves_while_it_is_counted_in_is_counted_out(
    browser: Connect, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf.store()  # so that there is one to replace
    monkeypatch.setitem(conf._stores, "store", store := HeldUp())
    await browser(AdapterConsumer, user=7).open()  # whoever stays keeps the lease
    client = browser(AdapterConsumer)
    await client.send_input({"type": "websocket.connect"})
    await store.asked.wait()
    await client.send_input({"type": "websocket.disconnect", "code": 1006})
    await aeventually(client.input_queue.empty)
    store.go_on.set()
    await client.wait(10)
    assert await aonline_count() == 1
    assert not log.tracebacks


# The heartbeat


async def test_who_answers_every_ping_stays(browser: Connect) -> None:
    class Patient(AdapterConsumer):
        heartbeat_interval = 0.01
        heartbeat_timeout = 30
        heartbeat_mode = "always"

    client = browser(Patient)
    await client.open()
    for _ in range(5):
        assert await client.receive() == {"type": "ws:ping"}
        await client.send_json_to({"type": "ws:pong"})
    assert await aonline_count() == 1


@pytest.mark.parametrize("mode", ["auto", "never"])
async def test_who_never_answered_is_pinged_and_stays(browser: Connect, mode: str) -> None:
    class Bare(AdapterConsumer):
        heartbeat_interval = 0.01
        heartbeat_timeout = 0.01
        heartbeat_mode = mode

    client = browser(Bare)
    await client.open()
    for _ in range(5):
        assert await client.receive() == {"type": "ws:ping"}
    assert await aonline_count() == 1


async def test_who_answered_once_is_held_to_it(browser: Connect) -> None:
    class Auto(AdapterConsumer):
        heartbeat_interval = 0.01
        heartbeat_timeout = 0.01

    client = browser(Auto)
    await client.open()
    assert await client.receive() == {"type": "ws:ping"}
    await client.send_json_to({"type": "ws:pong"})
    assert await client.closed() == Closed(3012, "no pong")


async def test_what_a_browser_says_at_its_end_stays_on_its_line_of_the_log(
    browser: Connect, log: Log
) -> None:
    client = browser(AdapterConsumer)
    await client.open()
    reason = "bye\nERROR root: forged \x1b[31m"
    await client.send_input({"type": "websocket.disconnect", "code": 4000, "reason": reason})
    await client.wait()
    [line] = log.lines("connection")
    assert "forged" in line
    assert line.isprintable()


async def test_an_ended_connection_needs_no_garbage_collector(browser: Connect) -> None:
    class Short(AdapterConsumer):
        pass

    def left() -> int:
        return sum(type(found) is Short for found in gc.get_objects())

    await browser(AdapterConsumer).open()  # whoever stays keeps the lease
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            client = browser(Short)
            await client.open()
            await client.disconnect()
        await aeventually(lambda: not left())
    finally:
        gc.enable()
