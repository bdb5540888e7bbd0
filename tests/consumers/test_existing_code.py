"""Consumers as they are written for plain Channels, with the base class swapped.

Every test runs on Channels' own base as well: what it shows is not wsadapter's idea of Channels.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from channels.generic.websocket import AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from channels.routing import URLRouter
from django.urls import path

from tests.consumers.browser import Browser
from tests.consumers.conftest import Log
from wsadapter.consumers import AdapterConsumer

Connect = Callable[..., Browser]
Base = type[AsyncWebsocketConsumer]


class Swapped(AdapterConsumer):
    welcome = False  # so that the frames are the same on both


@pytest.fixture(params=[AsyncWebsocketConsumer, Swapped], ids=["channels", "wsadapter"])
def base(request: pytest.FixtureRequest) -> Base:
    return request.param


async def test_a_chat_room(base: Base, browser: Connect) -> None:
    class ChatRoom(base):  # type: ignore[misc]
        async def connect(self) -> None:
            self.room = "room_" + self.scope["url_route"]["kwargs"]["name"]
            await self.channel_layer.group_add(self.room, self.channel_name)
            await self.accept()

        async def disconnect(self, close_code: int) -> None:
            await self.channel_layer.group_discard(self.room, self.channel_name)
            await self.channel_layer.group_send(self.room, {"type": "chat.left"})

        async def receive(self, text_data: str) -> None:
            message = json.loads(text_data)["message"]
            event = {"type": "chat.message", "message": message}
            await self.channel_layer.group_send(self.room, event)

        async def chat_message(self, event: dict[str, Any]) -> None:
            await self.send(text_data=json.dumps({"message": event["message"]}))

        async def chat_left(self, event: dict[str, Any]) -> None:
            await self.send(text_data=json.dumps({"left": True}))

    application = URLRouter([path("chat/<str:name>/", ChatRoom.as_asgi())])
    anna, ben, carla = (browser(application, f"/chat/{room}/") for room in ("red", "red", "blue"))
    for client in (anna, ben, carla):
        await client.connect()
    await anna.send_json_to({"message": "hello"})
    assert await anna.receive() == await ben.receive() == {"message": "hello"}
    await anna.leave()
    assert await ben.receive() == {"left": True}
    assert carla.output_queue.empty()


async def test_json_consumer(base: Base, browser: Connect) -> None:
    json_base = AsyncJsonWebsocketConsumer
    bases = (json_base,) if base is AsyncWebsocketConsumer else (base, json_base)

    class Doubling:
        async def receive_json(self, content: Any, **kwargs: Any) -> None:
            await self.send_json({"doubled": content["price"] * 2})  # type: ignore[attr-defined]

        @classmethod
        async def encode_json(cls, content: Any) -> str:
            return json.dumps({"shop": 1, **content})

    client = browser(type("Prices", (Doubling, *bases), {}))
    await client.connect()
    assert await client.request(price=21) == {"shop": 1, "doubled": 42}


async def test_a_loop_over_an_async_generator(base: Base, browser: Connect) -> None:
    finished = asyncio.Event()

    class Ticker(base):  # type: ignore[misc]
        async def connect(self) -> None:
            await self.accept()
            self.loop = asyncio.create_task(self.run())

        async def run(self) -> None:
            async for number in self.numbers():
                await self.send(str(number))

        async def numbers(self) -> AsyncIterator[int]:
            number = 0
            try:
                while True:
                    yield (number := number + 1)
                    await asyncio.sleep(0.001)
            finally:
                finished.set()

        async def disconnect(self, code: int) -> None:
            self.loop.cancel()
            await asyncio.wait([self.loop])

    client = browser(Ticker)
    await client.connect()
    assert [await client.receive() for _ in range(3)] == [1, 2, 3]
    await client.leave()
    await asyncio.wait_for(finished.wait(), 10)


async def test_raw_events_through_super(base: Base, browser: Connect) -> None:
    """Overriding the ``websocket_…`` methods is rarer, and documented all the same."""
    seen: list[str] = []

    class Low(base):  # type: ignore[misc]
        async def websocket_connect(self, message: dict[str, Any]) -> None:
            seen.append(message["type"])
            await super().websocket_connect(message)

        async def websocket_receive(self, message: dict[str, Any]) -> None:
            seen.append(message["text"])
            await self.send("seen")

        async def websocket_disconnect(self, message: dict[str, Any]) -> None:
            seen.append(f"{message['type']} {message['code']}")
            await super().websocket_disconnect(message)

    client = browser(Low)
    await client.connect()
    await client.send_to("raw")
    assert await client.receive() == "seen"
    await client.leave(1001)
    assert seen == ["websocket.connect", "raw", "websocket.disconnect 1001"]


async def test_an_instance_belongs_to_one_connection(base: Base, browser: Connect) -> None:
    class Counting(base):  # type: ignore[misc]
        count = 0

        async def receive(self, text_data: str | None = None, bytes_data: Any = None) -> None:
            self.count += 1
            await self.send(str(self.count))

    one, other = browser(Counting), browser(Counting)
    await one.connect()
    await other.connect()
    await one.send_to("x")
    await other.send_to("x")
    await one.send_to("x")
    assert [await one.receive(), await one.receive(), await other.receive()] == [1, 2, 1]


async def test_another_process_sends_to_a_channel_name(base: Base, browser: Connect) -> None:
    names: list[str] = []

    class Job(base):  # type: ignore[misc]
        async def connect(self) -> None:
            names.append(self.channel_name)
            await self.accept()

        async def job_done(self, event: dict[str, Any]) -> None:
            await self.send(f"job {event['id']} is done")
            await self.close(4000)

    client = browser(Job)
    await client.connect()
    await get_channel_layer().send(names[0], {"type": "job.done", "id": 3})
    assert await client.receive() == "job 3 is done"
    assert (await client.closed()).code == 4000


async def test_the_class_of_both_orders_of_bases_works(browser: Connect) -> None:
    class JsonFirst(AsyncJsonWebsocketConsumer, Swapped):
        async def receive_json(self, content: Any, **kwargs: Any) -> None:
            await self.send_json(content)

    client = browser(JsonFirst)
    await client.connect()
    assert await client.request(price=1) == {"price": 1}


async def test_a_json_consumer_survives_what_is_no_json(browser: Connect, log: Log) -> None:
    class Prices(Swapped, AsyncJsonWebsocketConsumer):
        async def receive_json(self, content: Any, **kwargs: Any) -> None:
            await self.send_json(content)

    client = browser(Prices)
    await client.connect()
    await client.send_to("no json")
    assert (await client.receive())["code"] == "internal_error"
    assert await client.request(still="here") == {"still": "here"}
    assert len(log.tracebacks) == 1


async def test_its_own_attributes_may_have_the_names_of_ours(browser: Connect, log: Log) -> None:
    class Counting(AdapterConsumer):
        async def connect(self) -> None:
            self.errors: Any = 0  # type: ignore[misc]
            self.views: Any = {}
            await self.accept()

        async def receive(self, text_data: str | None = None, bytes_data: Any = None) -> None:
            if text_data == "raise":
                raise LookupError("its own")
            await self.send(text_data)

    client = browser(Counting)
    await client.open()
    await client.frame("raise")
    assert (await client.receive())["code"] == "internal_error"
    assert await client.request_raw("on") == "on"
