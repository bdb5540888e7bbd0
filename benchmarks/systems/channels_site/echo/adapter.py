"""wsadapter's other ways: a handler of a message type, and an endpoint that reads frames."""

from __future__ import annotations

import msgspec
from django.urls import path

from wsadapter import Connection, handler, websocket
from wsadapter.consumers import AdapterConsumer


class Say(msgspec.Struct, tag_field="type", tag="chat.say"):
    id: int
    room: str
    sent_at: float
    text: str


class Consumer(AdapterConsumer):
    @handler("chat.say")
    async def say(self, message: Say) -> Say:
        return message


@websocket
async def echo(connection: Connection) -> None:
    async for frame in connection:
        await connection.send(frame)


routes = [path("handler/", Consumer.as_asgi()), path("endpoint/", echo.as_asgi())]
