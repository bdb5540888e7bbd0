"""The Python end of a wsadapter connection, for services, tests and load scripts.

    async with connect("wss://shop.example/ws/") as socket:
        said = await socket.request("chat.say", {"text": "hi"})
        async for message in socket:
            ...

It behaves as `socket.js` does: comes back with exponential back-off and full jitter, obeys close
codes, answers pings and notices a silent server. Needs the extra ``wsadapter[client]``.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import random as chance
from collections.abc import Awaitable, Callable, Iterable, Mapping
from ssl import SSLContext
from types import MappingProxyType
from typing import Any, Self, TypeVar, Union, overload

from websockets.asyncio.client import connect as dial_websocket
from websockets.typing import Origin, Subprotocol

from wsadapter.close_codes import MAX_REASON_BYTES, CloseCode, ClosedBy, check_code
from wsadapter.errors import ConnectionClosed, ConnectionTimeout, ReadTimeout, WSAdapterError
from wsadapter.upkeep import Refused, State, Upkeep, Wire
from wsadapter.wire.conversion import converter
from wsadapter.wire.dialogue import Fault, Reply, Request, View
from wsadapter.wire.envelope import END
from wsadapter.wire.failures import FailureKind
from wsadapter.wire.payload import MAX_FRAME_SIZE, Frame, encode
from wsadapter.wire.reconnecting import Timings
from wsadapter.wire.sequence import Sequence

__all__ = [
    "Client",
    "ConnectTimeout",
    "FailureKind",
    "QueueFull",
    "Refused",
    "RequestError",
    "Sequence",
    "State",
    "connect",
]

T = TypeVar("T")
#: A value, or a function that gives a fresh one for each attempt: tickets run out.
Fresh = Union[T, Callable[[], T], Callable[[], Awaitable[T]]]  # noqa: UP007 (an alias of a T)


class QueueFull(WSAdapterError):
    """There is no connection, and as many messages wait for one as may. Nothing was kept."""


class ConnectTimeout(ConnectionTimeout):
    """There was no connection in time; ``__cause__`` is how the last attempt ended, if one did."""


class RequestError(WSAdapterError):
    """A request has no result.

    Args:
        code: the server's, see `wsadapter.wire.failures.ErrorCode`; or "closed", where the
            connection ended before the reply (the request may have been carried out).
        message: a sentence for the developer of the client.
        path: the offending field in JSONPath notation, such as ``$.text``.
        kind: whether to ask again: "transient", "exhausted" (later) or "fatal" (no).
        retry_after: seconds after which the server would take it, where it said so.
    """

    def __init__(
        self,
        code: str,
        message: str,
        path: str | None = None,
        kind: FailureKind = FailureKind.TRANSIENT,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.path = path
        self.kind = kind
        self.retry_after = retry_after


class Client:
    """A connection that is kept up; made by `connect`, open inside ``async with``.

    Everything may be called from several tasks at once; each message goes to one that receives.
    """

    def __init__(self, upkeep: Upkeep, *, timings: Timings, max_queued: int) -> None:
        if max_queued < 1:
            raise ValueError(f"max_queued is a number of messages from 1, not {max_queued}.")
        self._upkeep = upkeep
        self._timings = timings
        self._max_queued = max_queued
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> State:
        return self._upkeep.state

    @property
    def client_id(self) -> str | None:
        """This connection's id, from the welcome until the connection ends."""
        return self._upkeep.dialogue.client_id

    async def __aenter__(self) -> Self:
        """Wait for the first connection.

        Raises:
            ConnectionClosed: the server said not to come back; `Refused` if by an HTTP status.
            ConnectTimeout: there was no connection within ``connect_within_seconds``.
        """
        if self._task is not None:
            raise RuntimeError("A client is for one `async with`. Call connect() for another.")
        self._task = asyncio.create_task(self._upkeep.run())
        within = self._timings.connect_within_seconds
        try:
            async with asyncio.timeout(within):
                await self._upkeep.outward.until(
                    lambda: self.state is State.OPEN or self._upkeep.ending
                )
        except TimeoutError:
            await self.close()
            last = (
                f" The last attempt: {self._upkeep.last_end.reason}."
                if self._upkeep.last_end
                else ""
            )
            why = f"There was no connection within {within:g} seconds.{last}"
            raise ConnectTimeout(why) from self._upkeep.last_end
        except asyncio.CancelledError:
            await self.close()
            raise
        self._check_ending()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def send(self, data: object) -> None:
        """Send ``str`` as text, ``bytes`` as binary, everything else as JSON; in order.

        Without a connection the message is kept for the next one. While ``max_queued`` wait for
        a server that reads slowly, it waits for room.

        Raises:
            EncodeError: there is no JSON for the data.
            QueueFull: ``max_queued`` messages wait for a connection.
            ConnectionClosed: it is over.
        """
        await self._say(encode(data))

    async def end(self) -> None:
        """Tell a stream that this side has said all; what the server answers still arrives.

        Raises:
            QueueFull: ``max_queued`` messages wait for a connection.
            ConnectionClosed: it is over.
        """
        await self._say(END)

    async def view(self, name: str) -> None:
        """Choose the view in which objects arrive, for this connection and those to come.

        Raises:
            ConnectionClosed: it is over.
        """
        self._check_ending()
        view = self._upkeep.dialogue.view = View(name)
        if self.state is State.OPEN:
            with contextlib.suppress(QueueFull):  # it was lost, and the next one begins with it
                await self._say(view)

    @overload
    async def request(
        self,
        type: str,
        fields: Mapping[str, object] = ...,
        *,
        result: type[T],
        timeout: float | None = ...,
    ) -> T: ...
    @overload
    async def request(
        self,
        type: str,
        fields: Mapping[str, object] = ...,
        *,
        result: Any = ...,
        timeout: float | None = ...,
    ) -> Any: ...
    async def request(
        self,
        type: str,
        fields: Mapping[str, object] = MappingProxyType({}),
        *,
        result: Any = None,
        timeout: float | None = 10.0,
    ) -> Any:
        """Ask the server's handler of that type. Sent once, when there is a connection.

        Args:
            result: what the reply is made: a dataclass, a Struct, a pydantic model, …; None:
                what its JSON says.
            timeout: seconds for all of it, waiting for a connection included; None: no limit.

        Raises:
            RequestError: the server's error, or "closed".
            ReadTimeout: there was no reply in time.
            InvalidMessage: the reply does not fit ``result``.
            EncodeError: there is no JSON for the fields.
            QueueFull: ``max_queued`` messages wait for a connection.
        """
        request = self._upkeep.dialogue.ask(type, fields)
        # Of its own: a thousand requests are not all woken by each reply.
        settled = asyncio.Event()
        request.on_outcome = settled.set
        try:
            async with asyncio.timeout(timeout):
                await self._say(request)
                await settled.wait()
        except TimeoutError:
            raise ReadTimeout(f'"{type}" had no reply within {timeout:g} seconds.') from None
        except ConnectionClosed as end:
            raise RequestError("closed", f'"{type}" was not sent. {end}') from end
        finally:
            self._upkeep.dialogue.forget(request)
        value = _result_of(request)
        return value if result is None else converter(result)(value)

    async def receive(self, timeout: float | None = None) -> Any:
        """The next message of the application: parsed JSON, else text, else bytes.

        Args:
            timeout: seconds; None: no limit.

        Raises:
            ReadTimeout: none came in time.
            ConnectionClosed: it is over, and every message has been received.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._upkeep.inward.until(lambda: self._upkeep.unread or self._upkeep.ending)
        except TimeoutError:
            raise ReadTimeout(f"No message came within {timeout:g} seconds.") from None
        if not self._upkeep.unread:
            self._check_ending()
        message = self._upkeep.unread.popleft()
        self._upkeep.inward.tell()
        return message

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.receive()
        except ConnectionClosed as end:
            if self._upkeep.farewell is not None or end.code == CloseCode.NORMAL:
                raise StopAsyncIteration from None
            raise

    async def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """End it for good, within ``close_within_seconds``; what waits to be sent goes first.

        Raises:
            ValueError: no such code may be sent, or the reason is too long.
        """
        check_code(code)
        if len(reason.encode()) > MAX_REASON_BYTES:
            raise ValueError(f"Shorten the reason: it has at most {MAX_REASON_BYTES} bytes.")
        self._upkeep.say_farewell(ConnectionClosed(code, reason, ClosedBy.CLIENT))
        if self._task is None:
            return
        is_open = self.state is State.OPEN
        try:
            within = self._timings.close_within_seconds if is_open else 0
            await asyncio.wait([self._task], timeout=within)
        finally:
            self._task.cancel()
        await asyncio.wait([self._task])

    def _check_ending(self) -> None:
        if self._upkeep.ending is not None:
            raise self._upkeep.ending.with_traceback(None)  # it may be raised many times

    async def _say(self, item: Frame | Request | View) -> None:
        await self._upkeep.outward.until(lambda: self._has_room() or self.state is not State.OPEN)
        self._check_ending()
        if self._upkeep.farewell is not None:
            raise self._upkeep.farewell.with_traceback(None)
        if not self._has_room():
            raise QueueFull(
                f"There is no connection, and {self._max_queued} messages wait for one. Send less "
                "until the state is open, or give connect() a larger max_queued."
            )
        self._upkeep.dialogue.say(item)
        self._upkeep.outward.tell()

    def _has_room(self) -> bool:
        return len(self._upkeep.dialogue) < self._max_queued


def _result_of(request: Request) -> Any:
    match request.outcome:
        case Reply(result):
            return result
        case Fault() as fault:
            raise RequestError(*fault)


async def _fresh(given: Any) -> Any:
    value = given() if callable(given) else given
    return await value if inspect.isawaitable(value) else value


def connect(
    url: Fresh[str],
    *,
    headers: Fresh[Mapping[str, str]] | None = None,
    subprotocols: Iterable[str] = (),
    origin: str | None = None,
    ssl: SSLContext | None = None,
    max_size: int = MAX_FRAME_SIZE,
    max_queued: int = 100,
    max_unread: int = 1000,
    on_gap: Callable[[str | None], object] | None = None,
    on_state: Callable[[State], object] | None = None,
    random: Callable[[], float] = chance.random,
    **timings: float,
) -> Client:
    """Connect, and stay connected: ``async with connect(url) as socket:``.

    Args:
        url: ws(s) or http(s), or a function, async or not, that gives it for each attempt.
        headers: for the handshake; a mapping, or a function as above.
        subprotocols: to offer, the best first.
        origin: the ``Origin`` header; without one this is no browser to the server.
        ssl: a context, where the default one does not trust the server's certificate.
        max_size: bytes of a message from the server; a larger one ends it all (1009).
        max_queued: messages that wait to be sent.
        max_unread: messages that wait to be received; with more, nothing is read any more.
        on_gap: called with the reason, or None, when messages may have been missed.
        on_state: called with each new state.
        random: gives numbers from 0 to below 1, for the back-off.
        timings: see `wsadapter.wire.reconnecting.Timings`.

    Raises:
        ValueError: a number that cannot be.
        TypeError: there is no such option.
    """
    times = Timings(**timings)
    options: dict[str, Any] = {
        "subprotocols": [Subprotocol(name) for name in subprotocols] or None,
        "origin": None if origin is None else Origin(origin),
        "max_size": max_size,
        "compression": None,
        "open_timeout": None,  # the client has its own
        "close_timeout": times.close_within_seconds,
        "ping_interval": None,  # so it has a heartbeat
        **({} if ssl is None else {"ssl": ssl}),  # None would forbid wss
    }

    async def dial() -> Wire:
        address, fields = str(await _fresh(url)), await _fresh(headers)
        if address.startswith("http"):
            address = f"ws{address.removeprefix('http')}"
        return await dial_websocket(address, additional_headers=fields, **options)

    upkeep = Upkeep(
        dial,
        timings=times,
        max_unread=max_unread,
        on_gap=on_gap,
        on_state=on_state,
        random=random,
    )
    return Client(upkeep, timings=times, max_queued=max_queued)
