"""The WebSocket side of the demo."""

from __future__ import annotations

import json
import os
import signal
from typing import Any
from urllib.parse import parse_qs

import msgspec
from asgiref.sync import sync_to_async

from demo_project.permission import REFUSAL, may_break
from demo_project.tokens import user_for
from wsadapter.consumers import AdapterConsumer
from wsadapter.handlers import handler


class Refused(msgspec.Struct):
    reason: str


class Visitor(AdapterConsumer):
    """Our pages come with a token; a bare WebSocket is whoever the session says."""

    async def authenticate(self) -> Any:
        query = parse_qs(self.scope["query_string"].decode())
        if "token" not in query:
            return await super().authenticate()
        return await sync_to_async(user_for)(query["token"][0])


class Demo(Visitor):
    """The first page: two panes and a bare WebSocket."""

    async def connect(self) -> None:
        await self.accept()
        hello = {"type": "hello", "user": self.connection.user_id, "process": os.getpid()}
        await self.send(text_data=json.dumps(hello))

    @handler("demo.kill")
    async def kill(self) -> Refused:
        if may_break(self.scope["client"][0]):
            os.kill(os.getpid(), signal.SIGKILL)
        return Refused(REFUSAL)
