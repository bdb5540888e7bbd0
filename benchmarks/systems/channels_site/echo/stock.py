"""Plain Channels: its JSON consumer as it is, and with a model that each message has to fit."""

from __future__ import annotations

from typing import Any, Literal

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.urls import path
from pydantic import BaseModel, ValidationError


class Say(BaseModel):
    type: Literal["chat.say"]
    id: int
    room: str
    sent_at: float
    text: str


class Unchecked(AsyncJsonWebsocketConsumer):
    async def receive_json(self, content: Any, **options: Any) -> None:
        await self.send_json(content)


class Checked(AsyncJsonWebsocketConsumer):
    async def receive_json(self, content: Any, **options: Any) -> None:
        try:
            message = Say.model_validate(content)
        except ValidationError as error:
            await self.send_json({"type": "error", "errors": error.errors(include_url=False)})
        else:
            await self.send_json(message.model_dump(mode="json"))


routes = [path("unchecked/", Unchecked.as_asgi()), path("checked/", Checked.as_asgi())]
