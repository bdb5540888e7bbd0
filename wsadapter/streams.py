"""``@stream``: a function whose signature says which messages go which way."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any, ClassVar, Literal, Unpack, get_args, overload

from wsadapter.attributes import is_count
from wsadapter.close_codes import FINISHED_CODES, CloseCode
from wsadapter.connection import Connection
from wsadapter.contract import Contract
from wsadapter.endpoints import Endpoint, EndpointConsumer, Options
from wsadapter.errors import ConnectionClosed, EndpointError, InvalidMessage
from wsadapter.outflow import Outflow
from wsadapter.wire import envelope
from wsadapter.wire.batches import Batch
from wsadapter.wire.conversion import by_frame, frame_reader, is_text
from wsadapter.wire.lanes import LANE_SIZE
from wsadapter.wire.payload import Frame, encode, encode_text, to_json
from wsadapter.wire.priorities import SUBPROTOCOL
from wsadapter.wire.stamps import Stamp, check_stampable, stamped
from wsadapter.wire.views import DEFAULT, view_names

OnInvalid = Literal["skip", "end"]


class StreamOptions(Options, total=False):
    """What a stream may be told, beside what an endpoint may."""

    #: What becomes of a stream when a message of the client does not fit: "skip" answers it with
    #: an error and goes on, "end" closes with 3501 after that.
    on_invalid: OnInvalid
    #: Messages that may wait, in each lane, for a client that does not read.
    lane_size: int
    #: Whether each message has its place in the stream, and its time.
    sequence: bool


class Stream(Endpoint):
    """A function that reads a stream, sends one, or both; `as_asgi` mounts it.

    Args:
        function: see `stream`.
        options: see `StreamOptions`.

    Raises:
        EndpointError: the function cannot be called so, or an option cannot be.
    """

    kind = "stream"
    known_options = StreamOptions

    def __init__(self, function: Callable[..., Any], options: StreamOptions) -> None:
        self.contract = contract = Contract(function)
        super().__init__(function, options, reads=contract.incoming is not None)
        self.on_invalid: OnInvalid = options.get("on_invalid", "skip")
        self.lane_size = options.get("lane_size", LANE_SIZE)
        self.sequence = options.get("sequence", False)
        self._check_values()
        self.read_frame = self._reader_of()
        self.read_prioritised = self._reader_of(leave_out={"priority"})
        self.encode = encode if _is_as_it_is(contract.sends) else _json
        self.views = self._offered_views()

    def as_asgi(self) -> Any:
        """The ASGI application for ``routing.py``."""
        own = set(StreamOptions.__annotations__) - set(Options.__annotations__)
        options = {name: value for name, value in self.options.items() if name not in own}
        return self._consumer(StreamConsumer, {**options, "views": self.views}).as_asgi()

    def _given_parameters(self) -> Collection[str]:
        given = (self.contract.incoming, self.contract.connection)
        return {name for name in given if name is not None}

    def _check_values(self) -> None:
        if self.on_invalid not in get_args(OnInvalid):
            raise self._wrong("on_invalid", '"skip" or "end"')
        if not is_count(self.lane_size):
            raise self._wrong("lane_size", "a whole number from 1")
        if self.sequence and not _can_be_numbered(self.contract.sends):
            raise self._wrong("sequence", "False: only JSON objects can carry a number")
        batch = self.options.get("batch")
        if isinstance(batch, Batch) and batch.max_items > self.lane_size:
            raise self._wrong("lane_size", "as many messages as a batch has at most, or more")

    def _wrong(self, name: str, expects: str) -> EndpointError:
        value = getattr(self, name)
        return EndpointError(f"The stream {self.__name__} has {name}={value!r}; give {expects}.")

    def _reader_of(self, leave_out: Collection[str] = ()) -> Callable[[Frame], Any]:
        try:
            return frame_reader(self.contract.reads if self.reads else Any, leave_out=leave_out)
        except TypeError as error:
            raise EndpointError(f"The stream {self.__name__}: {error}") from error

    def _offered_views(self) -> tuple[str, ...]:
        """Those of what it sends, as far as the client may choose them."""
        declared = view_names(self.contract.sends)
        allowed = self.options.get("views")
        if allowed is None:
            return declared
        if isinstance(allowed, str):
            raise EndpointError(f"The stream {self.__name__}: views is a list, [{allowed!r}].")
        unknown = [name for name in allowed if name not in (DEFAULT, *declared)]
        if unknown:
            raise EndpointError(
                f"The stream {self.__name__} offers the view {unknown[0]}, which no type that it "
                f"sends declares; there are {', '.join(declared) or 'none'}."
            )
        return tuple(allowed)


class StreamConsumer(EndpointConsumer):
    """Runs a stream's function for each connection."""

    endpoint: ClassVar[Stream]
    #: What is not in the contract is sent only to who has joined its group by hand.
    pushes = False

    def _choose_subprotocol(self) -> str | None:
        return super()._choose_subprotocol() or self._priority_subprotocol()

    async def _call(self, arguments: dict[str, Any]) -> None:
        contract, connection = self.endpoint.contract, self.connection
        if contract.connection is not None:
            arguments[contract.connection] = connection
        if contract.incoming is not None:
            arguments[contract.incoming] = Messages(connection, self.endpoint, self._end_reading)
        called = self.endpoint.function(**arguments)
        results = called if isinstance(called, AsyncIterator) else await called
        sender = Sender(connection, self.endpoint)
        if contract.streams:
            await sender.send_all(results)
        elif contract.sends is not None and results is not None:
            await sender.send(results)

    def _end_reading(self) -> None:
        """The client has said that it is done: what it sends nevertheless is refused."""
        self._refuses_frames = True
        for _ in self.connection.take_unread():
            self._refuse_frame()
        self.connection.stop_reading()


class Messages(AsyncIterator[Any]):
    """What a client sends, as the type that is declared.

    It ends with ``{"type": "ws:end"}``, or when the client closes; any other end of the
    connection raises `ConnectionClosed`.
    """

    def __init__(self, connection: Connection, stream: Stream, on_end: Callable[[], None]) -> None:
        self._connection = connection
        self._on_end = on_end
        self._ends_if_invalid = stream.on_invalid == "end"
        self._prioritised = connection.subprotocol == SUBPROTOCOL
        self._read = stream.read_prioritised if self._prioritised else stream.read_frame
        # What the client's end has overtaken; None before that.
        self._rest: deque[Frame] | None = None

    async def __anext__(self) -> Any:
        while (frame := await self._next_frame()) is not None:
            try:
                return self._read(frame)
            except InvalidMessage as error:
                self._refuse(frame, error)
        raise StopAsyncIteration

    async def _next_frame(self) -> Frame | None:
        """None once the client is done."""
        if self._rest is None:
            frame = await self._receive()
            if not _is_end(frame):
                return frame
            self._end()
        return self._rest.popleft() if self._rest else None

    async def _receive(self) -> Frame:
        """A closing that says that the client is done is an end as well."""
        try:
            return await self._connection.receive()
        except ConnectionClosed as end:
            if self._rest is not None or end.code in FINISHED_CODES:
                return envelope.END
            raise

    def _end(self) -> None:
        if self._rest is not None:
            return  # another task that reads has noticed it
        waiting = self._connection.take_unread() if self._prioritised else ()
        self._rest = deque(frame for frame in waiting if not _is_end(frame))
        self._on_end()

    def _refuse(self, frame: Frame, error: InvalidMessage) -> None:
        error.id = envelope.id_of(frame)
        connection = self._connection
        connection.stats.errors += 1
        connection.post(envelope.failure(error))
        if self._ends_if_invalid:
            connection.close_soon(CloseCode.BAD_REQUEST, error.message, drain=True)
            raise connection.closed_error()


def _is_end(frame: Frame) -> bool:
    return isinstance(frame, str) and envelope.is_end(frame)


class Sender:
    """Sends what a stream's function gives."""

    def __init__(self, connection: Connection, stream: Stream) -> None:
        self._connection = connection
        self._flow: Outflow = connection.outflow(stream.lane_size)
        self._encode = stream.encode
        self._is_numbered = stream.sequence
        self._sent = 0

    async def send_all(self, results: AsyncIterator[Any]) -> None:
        """Send everything, and let the generator end whatever ends this."""
        try:
            async for value in results:
                await self.send(value)
        finally:
            close = getattr(results, "aclose", None)  # other iterators have none
            if close is not None:
                await close()

    async def send(self, value: Any) -> None:
        """Send one message; returns once there is room for another one.

        Raises:
            EncodeError: there is no JSON for it.
            ConnectionClosed: the connection is over.
        """
        connection = self._connection
        frame = self._encode(connection.in_view(value))
        if self._is_numbered:
            frame = self._numbered(value, frame)
        await self._flow.send(frame, connection.lane_of(frame))

    def _numbered(self, value: Any, frame: Frame) -> str:
        check_stampable(value, frame)
        self._sent += 1
        return stamped(str(frame), Stamp(self._sent, time.time_ns() // 1_000_000))


def _is_as_it_is(annotation: Any) -> bool:
    """Whether text of this type goes out as it is, and not as JSON."""
    texts, _ = by_frame(annotation)
    return annotation is Any or is_text(texts)


def _can_be_numbered(annotation: Any) -> bool:
    """Whether what is sent may be a JSON object."""
    return annotation not in (str, bytes, int, float, bool) and not is_text(annotation)


def _json(value: object) -> Frame:
    """As JSON, text included; bytes are binary frames."""
    return value if isinstance(value, bytes) else encode_text(to_json(value))


@overload
def stream(function: Callable[..., Any], /) -> Stream: ...


@overload
def stream(**options: Unpack[StreamOptions]) -> Callable[[Callable[..., Any]], Stream]: ...


def stream(function: Callable[..., Any] | None = None, /, **options: Unpack[StreamOptions]) -> Any:
    """Make an async function a stream: ``path("ws/echo/", echo.as_asgi())``.

        @stream
        async def echo(incoming: AsyncIterator[Message]) -> AsyncIterator[Message]:
            async for message in incoming:
                yield message

    The signature is the contract. A parameter that is an ``AsyncIterator`` is what the client
    sends; a result that is one, or an async generator, is sent message by message; any other
    result is sent when the function returns. The connection is there for a parameter
    ``connection``; further parameters are found as for `websocket`.

    Messages are ``msgspec.Struct``, dataclasses, TypedDicts, pydantic models, builtins, or unions
    of them, as JSON; ``str`` is text as it is, ``bytes`` a binary frame. One that does not fit is
    answered with a ``ws:error`` that has the path. The client is done with ``{"type": "ws:end"}``.
    The function is as far ahead of the client as `StreamOptions.lane_size` says, and no further;
    a client that sends more than is read has to wait.

    The connection ends as with `websocket`: with 1000 after the last message.

    Args:
        options: see `StreamOptions`.

    Raises:
        EndpointError: the signature is no stream's, or there is no such option.
    """
    if function is None:
        return lambda function: Stream(function, options)
    return Stream(function, options)
