from __future__ import annotations

import msgspec

from wsadapter.consumers import AdapterConsumer
from wsadapter.handlers import handler


class Plain(AdapterConsumer):
    """What one gets without a line of one's own."""


class Echo(AdapterConsumer):
    """Every frame comes back as it was."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(text_data=text_data, bytes_data=bytes_data)


class Say(msgspec.Struct):
    text: str


class Said(msgspec.Struct):
    text: str
    length: int


class Room(msgspec.Struct):
    name: str


class Chat(AdapterConsumer):
    """Typed messages; everybody here is in the group "chat"."""

    groups = ["chat"]

    @handler("chat.say")
    async def say(self, message: Say) -> Said:
        return Said(text=message.text, length=len(message.text))

    @handler("chat.join")
    async def enter(self, room: Room) -> None:
        await self.join(room.name)

    @handler("chat.leave")
    async def go(self, room: Room) -> None:
        await self.leave(room.name)

    @handler("chat.fail")
    async def fail(self, message: Say) -> None:
        raise RuntimeError(f"a secret of the server: {message.text}")
