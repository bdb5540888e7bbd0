"""A connection that is kept up: dialled, read, written, hung up, and dialled again."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from websockets import exceptions
from websockets.protocol import State as WireState

from wsadapter.close_codes import CloseCode, ClosedBy, should_reconnect
from wsadapter.errors import ConnectionClosed
from wsadapter.wire.dialogue import Dialogue
from wsadapter.wire.envelope import PING
from wsadapter.wire.heartbeat import Action
from wsadapter.wire.payload import Frame
from wsadapter.wire.reconnecting import Backoff, Timings, Watch, watch_silence

logger = logging.getLogger("wsadapter.client")

T = TypeVar("T")

#: Failures of an attempt after which another may succeed.
_FAILURES = (OSError, EOFError, exceptions.InvalidHandshake)
#: HTTP statuses that blame the request, and yet ask for another one later.
_LATER = frozenset({408, 425, 429})


class State(StrEnum):
    """One value at a time; "waiting" is for the next attempt."""

    CONNECTING = "connecting"
    OPEN = "open"
    WAITING = "waiting"
    CLOSED = "closed"


class Refused(ConnectionClosed):
    """The server answered the handshake with an HTTP status that asking again will not change.

    Args:
        status: 400 to 499.
    """

    def __init__(self, status: int) -> None:
        super().__init__(CloseCode.ABNORMAL, f"HTTP status {status}", ClosedBy.SERVER)
        self.args = (f"The server refused the connection with HTTP status {status}.",)
        self.status = status


class Wire(Protocol):
    """What a `Client` needs of a connection of the websockets library."""

    @property
    def state(self) -> WireState: ...
    @property
    def transport(self) -> asyncio.Transport: ...
    async def recv(self) -> Frame: ...
    async def send(self, message: Frame, /) -> None: ...
    async def close(self, code: int, reason: str) -> None: ...


class Changes:
    """Something is not as it was: whoever waits for a condition looks again."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def tell(self) -> None:
        self._event.set()
        self._event.clear()  # those who waited will run, and look; nobody else

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            await self._event.wait()


class Upkeep:
    """What `wsadapter.client.Client` has a task for, from one connection to the next.

    Attributes:
        dialogue: what is to be sent, and the requests that wait for a reply.
        unread: the application's messages that nobody has received yet.
        outward: tells of ``dialogue`` and of the state.
        inward: tells of ``unread``, of replies and of the state.
        last_end: how the last connection, or attempt at one, ended.
        farewell: what the application wants it to end with, once it does.
        ending: why there will be no other connection, once that is so.
    """

    def __init__(
        self,
        dial: Callable[[], Awaitable[Wire]],
        *,
        timings: Timings,
        max_unread: int,
        on_gap: Callable[[str | None], object] | None,
        on_state: Callable[[State], object] | None,
        random: Callable[[], float],
    ) -> None:
        if max_unread < 1:
            raise ValueError(f"max_unread is a number of messages from 1, not {max_unread}.")
        self.state = State.CLOSED
        self.dialogue = Dialogue(lambda reason: _call(on_gap, reason), self._exhausted)
        self.unread: deque[Any] = deque()
        self.outward = Changes()
        self.inward = Changes()
        self.last_end: ConnectionClosed | None = None
        self.farewell: ConnectionClosed | None = None
        self.ending: Exception | None = None
        self._dial = dial
        self._timings = timings
        self._max_unread = max_unread
        self._on_state = on_state
        self._random = random
        self._backoff = Backoff(timings)

    def say_farewell(self, end: ConnectionClosed) -> None:
        """End it, once what waits is sent; nothing more is delivered."""
        if self.ending is None:
            self.farewell = self.farewell or end
        self.unread.clear()
        self.tell()

    async def run(self) -> None:
        """Keep it up until its end."""
        ending: Exception = ConnectionClosed(
            CloseCode.GOING_AWAY, "", ClosedBy.CLIENT
        )  # if cancelled
        try:
            ending = await self._reconnect()
        except Exception as error:  # whatever a function for the URL may raise
            ending = error
        finally:
            self._end(self.farewell or ending)

    async def _reconnect(self) -> ConnectionClosed:
        """Connect until that is of no use; how the last connection ended."""
        while True:
            self._enter(State.CONNECTING)
            end = self.last_end = await self._live()
            if isinstance(end, Refused) or self.farewell or not should_reconnect(end.code):
                return end
            delay_seconds = self._backoff.delay_seconds(_now(), self._random())
            self._enter(State.WAITING)
            await asyncio.sleep(delay_seconds)

    async def _live(self) -> ConnectionClosed:
        """One connection, from the attempt to the end."""
        self._backoff.dialled()
        try:
            async with asyncio.timeout(self._timings.connect_within_seconds):
                wire = await self._dial()
        except exceptions.InvalidStatus as error:
            return _refusal(error.response.status_code)
        except _FAILURES as error:
            why = str(error) or "no connection in time"
            return ConnectionClosed(CloseCode.ABNORMAL, why, ClosedBy.NETWORK)
        return await self._converse(wire)

    async def _converse(self, wire: Wire) -> ConnectionClosed:
        self.dialogue.opened()
        self._enter(State.OPEN)
        writer = asyncio.create_task(self._write(wire))
        end = ConnectionClosed(CloseCode.GOING_AWAY, "", ClosedBy.CLIENT)  # if this is cancelled
        try:
            end = await self._read(wire, writer)
        finally:
            writer.cancel()
            await asyncio.wait([writer])
            self.dialogue.lost()
            self.tell()
            await self._hang_up(wire, self.farewell or end)
        return end

    async def _hang_up(self, wire: Wire, end: ConnectionClosed) -> None:
        try:
            async with asyncio.timeout(self._timings.close_within_seconds):
                await wire.close(end.code, end.reason)
        except TimeoutError:
            pass
        finally:
            wire.transport.abort()

    def _end(self, ending: Exception) -> None:
        self.ending = ending
        self.dialogue.end()
        self._enter(State.CLOSED)

    def _enter(self, state: State) -> None:
        self.state = state
        self.tell()
        _call(self._on_state, state)

    def tell(self) -> None:
        self.inward.tell()
        self.outward.tell()

    def _exhausted(self, retry_after_seconds: float) -> None:
        self._backoff.exhausted(_now(), retry_after_seconds)

    async def _write(self, wire: Wire) -> None:
        """Send what waits, and the farewell last.

        A frame is taken only from an open connection, which writes it in the same step: none is
        sent twice, and none is lost while the connection is seen to close.
        """
        try:
            await self.outward.until(self._has_something_to_write)
            while wire.state is WireState.OPEN:
                await self._write_one(wire)
                await self.outward.until(self._has_something_to_write)
        except exceptions.ConnectionClosed:
            pass  # the reader is told as well
        finally:
            self.inward.tell()

    def _has_something_to_write(self) -> bool:
        return self.dialogue.has_frames() or self.farewell is not None

    async def _write_one(self, wire: Wire) -> None:
        if self.dialogue.has_frames():
            frame = self.dialogue.next_frame()
            self.outward.tell()  # there is room
            await wire.send(frame)
        elif self.farewell is not None:
            await wire.close(self.farewell.code, self.farewell.reason)

    async def _read(self, wire: Wire, writer: asyncio.Task[None]) -> ConnectionClosed:
        """Read until the connection ends, or the server is silent for too long."""
        watch = Watch(_now())
        while True:
            action, watch, again_in_seconds = watch_silence(watch, _now(), self._timings)
            if action is Action.DEAD:
                return ConnectionClosed(CloseCode.NO_PONG, "no pong", ClosedBy.CLIENT)
            if action is Action.PING:
                self.dialogue.answer(PING)
                self.outward.tell()
            try:
                async with asyncio.timeout(again_in_seconds):
                    frame = await wire.recv()
            except TimeoutError:
                continue
            except exceptions.ConnectionClosed as error:
                return _end_of(error)
            await self._take(frame, writer)
            watch = Watch(_now())  # only now: while there was no room, the silence was our own

    async def _take(self, frame: Frame, writer: asyncio.Task[None]) -> None:
        self._backoff.heard(_now())
        for message in self.dialogue.hear(frame):
            # Without a writer the connection is over: it is left, even though nobody receives.
            await self.inward.until(
                lambda: len(self.unread) < self._max_unread or writer.done() or self.farewell
            )
            if len(self.unread) < self._max_unread and self.farewell is None:
                self.unread.append(message)
            self.inward.tell()
        self.tell()


def _call(listener: Callable[[T], object] | None, news: T) -> None:
    try:
        if listener is not None:
            listener(news)
    except Exception:  # a listener's own fault does not end the connection
        logger.exception("A listener of the client failed.")


def _end_of(error: exceptions.ConnectionClosed) -> ConnectionClosed:
    if error.sent is not None and not error.rcvd_then_sent:
        return ConnectionClosed(error.sent.code, error.sent.reason, ClosedBy.CLIENT)
    if error.rcvd is not None:
        return ConnectionClosed(error.rcvd.code, error.rcvd.reason, ClosedBy.SERVER)
    return ConnectionClosed(CloseCode.ABNORMAL, "", ClosedBy.NETWORK)


def _refusal(status: int) -> ConnectionClosed:
    if 400 <= status < 500 and status not in _LATER:
        return Refused(status)
    return ConnectionClosed(CloseCode.ABNORMAL, f"HTTP status {status}", ClosedBy.SERVER)


def _now() -> float:
    return asyncio.get_running_loop().time()
