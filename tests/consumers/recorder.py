"""A consumer that remembers its end."""

from __future__ import annotations

from typing import ClassVar

from wsadapter.consumers import AdapterConsumer


class Recorder(AdapterConsumer):
    """Every subclass notes the codes that its ``disconnect`` was called with."""

    ends: ClassVar[list[int]]

    def __init_subclass__(cls) -> None:
        cls.ends = []

    async def disconnect(self, code: int) -> None:
        self.ends.append(code)
