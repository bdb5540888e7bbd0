"""wsadapter's streams: the signature is the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

import msgspec
from django.urls import path
from pydantic import BaseModel

from wsadapter import stream


class Say(msgspec.Struct, tag_field="type", tag="chat.say"):
    id: int
    room: str
    sent_at: float
    text: str


class SayModel(BaseModel):
    type: Literal["chat.say"]
    id: int
    room: str
    sent_at: float
    text: str


@stream
async def echo(incoming: AsyncIterator[Say]) -> AsyncIterator[Say]:
    async for message in incoming:
        yield message


@stream
async def echo_models(incoming: AsyncIterator[SayModel]) -> AsyncIterator[SayModel]:
    async for message in incoming:
        yield message


routes = [path("stream/", echo.as_asgi()), path("models/", echo_models.as_asgi())]
