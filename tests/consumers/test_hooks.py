"""Channels' own hooks and calls, one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from channels.exceptions import AcceptConnection, DenyConnection, StopConsumer
from channels.layers import get_channel_layer

from tests.consumers.browser import Browser, Closed
from tests.consumers.conftest import Log
from tests.consumers.recorder import Recorder
from tests.waiting import aeventually
from wsadapter import abroadcast, aonline_count, asend_to_client, asend_to_group
from wsadapter.consumers import AdapterConsumer

Connect = Callable[..., Browser]


async def test_a_connection_is_counted_by_the_time_of_its_welcome(browser: Connect) -> None:
    client = browser(AdapterConsumer)
    assert await aonline_count() == 0
    client_id = await client.open()
    assert await aonline_count() == 1
    assert await asend_to_client(client_id, {"type": "order.paid"})
    assert await client.receive() == {"type": "order.paid"}
    await client.leave()
    assert await aonline_count() == 0


async def test_the_welcome_comes_before_what_connect_sends(browser: Connect) -> None:
    class Eager(AdapterConsumer):
        async def connect(self) -> None:
            await self.send("before accept")
            await self.accept()
            await self.send("after accept")

    client = browser(Eager)
    await client.open()
    assert [await client.receive(), await client.receive()] == ["before accept", "after accept"]


async def test_without_a_welcome_the_first_frame_is_the_first_push(browser: Connect) -> None:
    class Bare(AdapterConsumer):
        welcome = False

    client = browser(Bare)
    await client.connect()
    await abroadcast("hello")
    assert await client.receive() == "hello"


async def test_accept_takes_a_subprotocol_and_headers(browser: Connect) -> None:
    class Picky(AdapterConsumer):
        async def connect(self) -> None:
            await self.accept(subprotocol="v2.shop", headers=[(b"x-shop", b"1")])

    client = browser(Picky, subprotocols=["v1.shop", "v2.shop"])
    assert await client.connect() == (True, "v2.shop")
    assert client.response_headers == [(b"x-shop", b"1")]


async def test_the_groups_of_the_class_are_joined(browser: Connect) -> None:
    class News(AdapterConsumer):
        groups = ["news", "команда: юг"]

    client = browser(News)
    await client.open()
    await asend_to_group("news", "one")
    await asend_to_group("команда: юг", "two")
    assert [await client.receive(), await client.receive()] == ["one", "two"]


async def test_accept_connection_accepts(browser: Connect) -> None:
    class Accepting(AdapterConsumer):
        async def connect(self) -> None:
            raise AcceptConnection

    await browser(Accepting).open()
    assert await aonline_count() == 1


async def test_deny_connection_refuses_the_handshake(browser: Connect, log: Log) -> None:
    class Denying(Recorder):
        async def connect(self) -> None:
            raise DenyConnection

    client = browser(Denying)
    assert (await client.connect())[0] is False
    assert await aonline_count() == 0
    await client.leave(1006)
    assert Denying.ends == [1006]
    [line] = log.lines("handshake")
    assert "HTTP status 403: Denying.connect() refused it" in line


async def test_close_in_connect_refuses_the_handshake(browser: Connect, log: Log) -> None:
    class Closing(AdapterConsumer):
        async def connect(self) -> None:
            await self.close()

    assert (await browser(Closing).connect())[0] is False
    assert len(log.lines("handshake")) == 1


async def test_close_after_accept_tells_code_and_reason(browser: Connect) -> None:
    class Full(Recorder):
        async def connect(self) -> None:
            await self.accept()
            await self.close(4013, "the hall is full")

    client = browser(Full)
    await client.connect()
    assert await client.closed() == Closed(4013, "the hall is full")
    assert Full.ends == [4013]


@pytest.mark.parametrize(
    ("close", "code"), [(True, 1000), (4001, 4001)], ids=["close=True", "close=4001"]
)
async def test_send_with_close_sends_first(browser: Connect, close: bool | int, code: int) -> None:
    class Once(AdapterConsumer):
        async def receive(self, text_data: str | None = None, bytes_data: Any = None) -> None:
            await self.send(text_data="the answer", close=close)

    client = browser(Once)
    await client.open()
    await client.send_to("the question")
    assert await client.receive() == "the answer"
    assert (await client.closed()).code == code


@pytest.mark.parametrize("frame", ["text", b"\x00\xff", "", b""], ids=repr)
async def test_frames_arrive_as_they_were_sent(browser: Connect, frame: str | bytes) -> None:
    class Echo(AdapterConsumer):
        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            await self.send(text_data=text_data, bytes_data=bytes_data)

    client = browser(Echo)
    await client.open()
    await client.frame(frame)
    kind = "text" if isinstance(frame, str) else "bytes"
    assert (await client.event())[kind] == frame


async def test_stop_consumer_ends_the_connection(browser: Connect, log: Log) -> None:
    class Stopping(Recorder):
        async def receive(self, text_data: str | None = None, bytes_data: Any = None) -> None:
            raise StopConsumer

    client = browser(Stopping)
    await client.open()
    await client.send_to("enough")
    assert (await client.closed()).code == 1000
    assert Stopping.ends == [1000]
    assert not log.tracebacks


async def test_a_second_accept_is_refused_with_a_sentence(browser: Connect, log: Log) -> None:
    class Twice(AdapterConsumer):
        async def connect(self) -> None:
            await self.accept()
            with pytest.raises(RuntimeError, match="once"):
                await self.accept()

    client = browser(Twice)
    await client.open()
    await client.leave()
    assert not log.tracebacks


async def test_group_send_calls_the_named_method(browser: Connect) -> None:
    class Orders(AdapterConsumer):
        groups = ["orders"]

        async def order_paid(self, event: dict[str, Any]) -> None:
            await self.send(f"order {event['id']} is paid")

    one, other = browser(Orders), browser(Orders)
    await one.open()
    await other.open()
    layer = get_channel_layer()
    await layer.group_send("orders", {"type": "order.paid", "id": 7})
    assert await one.receive() == await other.receive() == "order 7 is paid"


async def test_a_message_for_no_method_is_logged_and_harms_nobody(
    browser: Connect, log: Log
) -> None:
    class Orders(AdapterConsumer):
        groups = ["orders"]

    client = browser(Orders)
    await client.open()
    await get_channel_layer().group_send("orders", {"type": "order.lost"})
    await asend_to_group("orders", "still here")
    assert await client.receive() == "still here"
    await client.leave()
    assert len(log.tracebacks) == 1
    assert "order.lost" in log.lines("handlers")[0]


@pytest.mark.parametrize(
    "type",
    ["websocket.connect", "websocket.receive", "websocket.disconnect", "disconnect", "close"],
)
async def test_the_layer_cannot_call_a_consumers_own_methods(
    browser: Connect, log: Log, type: str
) -> None:
    ends: list[int] = []

    class Orders(AdapterConsumer):
        groups = ["orders"]

        async def disconnect(self, code: int) -> None:
            ends.append(code)

    client = browser(Orders)
    await client.open()
    message = {"type": type, "code": 1000, "text": "forged"}
    await get_channel_layer().group_send("orders", message)
    await asend_to_group("orders", "still here")
    assert await client.receive() == "still here"
    await client.leave()
    assert ends == [1000]
    assert "is ignored" in log.lines("connection")[0]
    assert not log.tracebacks


async def test_the_layer_may_send_to_the_consumers_own_channel(browser: Connect) -> None:
    class Deferring(AdapterConsumer):
        async def receive(self, text_data: str | None = None, bytes_data: Any = None) -> None:
            await self.channel_layer.send(self.channel_name, {"type": "deferred.part"})

        async def deferred_part(self, event: dict[str, Any]) -> None:
            await self.send("the deferred part")

    client = browser(Deferring)
    await client.open()
    await client.send_to("begin")
    assert await client.receive() == "the deferred part"


async def test_connect_that_raises_closes_with_3004_and_tells_nothing(
    browser: Connect, log: Log
) -> None:
    class Broken(Recorder):
        async def connect(self) -> None:
            raise LookupError("a secret")

    client = browser(Broken)
    assert await client.refused() == Closed(3004, "internal error")
    assert log.tracebacks == [log.lines("handlers")[0]]
    assert len(Broken.ends) == 1


async def test_a_client_that_leaves_during_connect_is_neither_counted_nor_a_failure(
    browser: Connect, log: Log
) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Recorder):
        async def connect(self) -> None:
            reached.set()
            await go_on.wait()
            await self.accept()
            await self.join("news")

    client = browser(Slow)
    await client.send_input({"type": "websocket.connect"})
    await reached.wait()
    await client.send_input({"type": "websocket.disconnect", "code": 1006})
    await aeventually(client.input_queue.empty)  # now the clean-up waits for connect()
    go_on.set()
    await client.wait(10)
    assert client.output_queue.empty()
    assert Slow.ends == [1006]
    assert not log.tracebacks


async def test_frames_that_follow_the_handshake_at_once_are_handled(browser: Connect) -> None:
    """A middleware may keep ``accept`` busy while the browser's first frame is already here."""

    class Echo(AdapterConsumer):
        async def receive(self, text_data: str | None = None, bytes_data: Any = None) -> None:
            await self.send(text_data=text_data)

    client = browser(Echo, takes=1)
    await client.output_queue.put({"type": "in the way of the accept"})
    await client.send_input({"type": "websocket.connect"})
    await client.send_input({"type": "websocket.receive", "text": "early"})
    await aeventually(client.input_queue.empty)
    await client.event()
    assert (await client.event())["type"] == "websocket.accept"
    assert (await client.receive())["type"] == "ws:welcome"
    assert await client.receive() == "early"


async def test_what_a_frame_does_is_in_order(browser: Connect) -> None:
    class Slowing(AdapterConsumer):
        async def receive(self, text_data: str | None = None, bytes_data: Any = None) -> None:
            assert text_data is not None
            await asyncio.sleep(0.02 if text_data == "0" else 0)
            await self.send(text_data)

    client = browser(Slowing)
    await client.open()
    for number in range(5):
        await client.send_to(str(number))
    assert [await client.receive() for _ in range(5)] == list(range(5))


async def test_plain_http_is_refused_with_a_sentence() -> None:
    application = AdapterConsumer.as_asgi()
    with pytest.raises(ValueError, match="Mount it under"):
        await application({"type": "http"}, None, None)
