"""A world for one client in which nothing is waited for: chance and the network are moved by hand.

async with World().client() as socket:      the first connection is open
    world.wire.say({"type": "hello"})       the server's end of the newest connection
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import Any

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus
from websockets.frames import Close
from websockets.http11 import Response
from websockets.protocol import State as WireState

from tests.client.virtual_time import now
from wsadapter.client import Client, State
from wsadapter.upkeep import Upkeep
from wsadapter.wire.payload import Frame
from wsadapter.wire.reconnecting import Timings


class Transport:
    def __init__(self) -> None:
        self.is_aborted = False

    def abort(self) -> None:
        self.is_aborted = True


class FakeWire:
    """A connection as the websockets library has it, and its other end.

    Attributes:
        sent: what the client sent.
        closed_with: the code and reason that the client closed with.
        says_goodbye: whether the server answers a close.
    """

    def __init__(self) -> None:
        self.state = WireState.OPEN
        self.transport: Any = Transport()
        self.sent: list[Frame] = []
        self.closed_with: tuple[int, str] | None = None
        self.says_goodbye = True
        self._takes = asyncio.Event()
        self._takes.set()
        self._arrived: deque[Frame] = deque()
        self._news = asyncio.Event()
        self._end: Exception | None = None

    # The client's end

    async def recv(self) -> Frame:
        while not self._arrived:
            if self._end is not None:
                raise self._end
            await self._news.wait()
        return self._arrived.popleft()

    async def send(self, message: Frame, /) -> None:
        if self.state is not WireState.OPEN:
            assert self._end is not None
            raise self._end
        self.sent.append(message)
        await self._takes.wait()
        if self._end is not None:
            raise self._end

    async def close(self, code: int, reason: str) -> None:
        if self.state is not WireState.OPEN:
            return
        self.state = WireState.CLOSING
        self.closed_with = (code, reason)
        if not self.says_goodbye:
            await asyncio.Event().wait()
        self._finish(ConnectionClosedOK(Close(code, reason), Close(code, reason), False))

    # The server's end

    @property
    def messages(self) -> list[Any]:
        """What the client sent, parsed."""
        return [json.loads(frame) for frame in self.sent]

    def say(self, message: Any) -> None:
        self.say_raw(json.dumps(message))

    def say_raw(self, frame: Frame) -> None:
        self._arrived.append(frame)
        self._tell()

    def welcome(self, client_id: str = "c1") -> None:
        self.say({"type": "ws:welcome", "client": client_id})

    def end(self, code: int, reason: str = "") -> None:
        close = Close(code, reason)
        self._finish(ConnectionClosedError(close, close, True))

    def cut(self) -> None:
        self._finish(ConnectionClosedError(None, None))

    def is_closing(self) -> None:
        """The server has sent its close frame; the connection is not yet lost."""
        self.state = WireState.CLOSING

    def stop_reading(self) -> None:
        self._takes.clear()

    def read_again(self) -> None:
        self._takes.set()

    def _finish(self, end: Exception) -> None:
        self.state = WireState.CLOSED
        self._end = end
        self._takes.set()
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news.clear()


class World:
    """Dials for a client, and keeps what it hears.

    Attributes:
        failures: what the next attempts fail with; ``None`` is one that succeeds.
        dialled_at: when each attempt began.
    """

    def __init__(self) -> None:
        self.wires: list[FakeWire] = []
        self.failures: deque[Exception | None] = deque()
        self.dialled_at: list[float] = []
        self.states: list[State] = []
        self.gaps: list[str | None] = []
        self.chance = 0.5
        self.fault: Exception | None = None  # of whoever listens to states

    @property
    def wire(self) -> FakeWire:
        """The newest connection."""
        return self.wires[-1]

    def client(self, *, max_queued: int = 100, max_unread: int = 1000, **timings: float) -> Client:
        times = Timings(**timings)
        upkeep = Upkeep(
            self._dial,
            timings=times,
            max_unread=max_unread,
            on_gap=self.gaps.append,
            on_state=self._changed,
            random=lambda: self.chance,
        )
        return Client(upkeep, timings=times, max_queued=max_queued)

    def _changed(self, state: State) -> None:
        self.states.append(state)
        if self.fault is not None:
            raise self.fault

    async def _dial(self) -> FakeWire:
        self.dialled_at.append(now())
        failure = self.failures.popleft() if self.failures else None
        if isinstance(failure, Hang):
            await asyncio.Event().wait()
        if failure is not None:
            raise failure
        self.wires.append(FakeWire())
        return self.wires[-1]

    def delays(self) -> list[float]:
        """The seconds from each attempt to the next one."""
        pairs = zip(self.dialled_at, self.dialled_at[1:], strict=False)
        return [later - earlier for earlier, later in pairs]


class Hang(Exception):
    """An attempt that gets no answer."""


def status(code: int) -> InvalidStatus:
    return InvalidStatus(Response(code, "", Headers()))
