"""chanx: a model for each action, with a payload, and a handler that takes and returns it."""

from __future__ import annotations

from typing import Literal

from chanx.channels.websocket import AsyncJsonWebsocketConsumer
from chanx.core.decorators import channel, ws_handler
from chanx.messages.base import BaseMessage
from django.urls import path
from pydantic import BaseModel


class SayPayload(BaseModel):
    id: int
    room: str
    sent_at: float
    text: str


class Say(BaseMessage):
    action: Literal["chat.say"] = "chat.say"
    payload: SayPayload


@channel(name="echo")
class EchoConsumer(AsyncJsonWebsocketConsumer):
    @ws_handler
    async def say(self, message: Say) -> Say:
        return message


routes = [path("chanx/", EchoConsumer.as_asgi())]
