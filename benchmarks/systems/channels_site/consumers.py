"""The two consumers, each as its own documentation would have it."""

from __future__ import annotations

from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from django.urls import path

from wsadapter.consumers import AdapterConsumer

#: The group of every connection of the stock consumer.
GROUP = "everyone"


class StockConsumer(AsyncWebsocketConsumer):
    """Plain Channels: one group, and a method for what is sent to it."""

    groups = [GROUP]

    async def push(self, event: dict[str, Any]) -> None:
        await self.send(text_data=event["text"])


class Consumer(AdapterConsumer):
    """wsadapter's, with nothing added."""


routes = [path("adapter/", Consumer.as_asgi()), path("stock/", StockConsumer.as_asgi())]
