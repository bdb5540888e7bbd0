"""One client's life: who it is, what it says, and what runs beside it."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Coroutine,
    Generator,
    Iterable,
    Mapping,
    Sequence,
)
from types import MappingProxyType
from typing import Any, Protocol, TypeVar, overload

from wsadapter import reporting
from wsadapter.bytestreams import ByteReader, ByteWriter
from wsadapter.close_codes import FINISHED_CODES, CloseCode, check_code
from wsadapter.conf import settings
from wsadapter.errors import (
    ConnectionClosed,
    InvalidMessage,
    PeerError,
    ReadTimeout,
    ReceiveConflict,
    UnexpectedFrame,
)
from wsadapter.groups import layer_name
from wsadapter.incoming import Incoming
from wsadapter.membership import Membership as LayerMembership
from wsadapter.outflow import Outflow
from wsadapter.outlet import CLOSE_SECONDS, Outgoing, Outlet, State, ignored
from wsadapter.repetition import Duplicates, Getter, Repetition, ends_within
from wsadapter.servers import Send
from wsadapter.store.operations import ClientInfo, Membership
from wsadapter.tasks import Tasks, causes
from wsadapter.turns import turns
from wsadapter.wire.conversion import json_reader
from wsadapter.wire.health import Vitals
from wsadapter.wire.lanes import LANE_SIZE, Priority
from wsadapter.wire.orders import Inspect, Kick, Message, send_event
from wsadapter.wire.payload import Frame, encode, encode_binary, encode_text, size_of, to_json
from wsadapter.wire.priorities import Priorities, priority_of
from wsadapter.wire.reports import Report
from wsadapter.wire.views import choose, project, views_of

T = TypeVar("T")

logger = logging.getLogger("wsadapter.connection")


class Closed:
    """The end of a connection: await it, or ask whether it has come."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def __await__(self) -> Generator[Any, None, None]:
        if not self:
            yield from self._event.wait().__await__()

    def come(self) -> None:
        self._event.set()


def _nothing() -> None:
    """Nobody wants to know."""


#: Bytes of JSON that may be said of a member of a group: each costs them in Redis.
MAX_INFO_SIZE = 4096


class Register(Protocol):
    """Where it is recorded who is in which group."""

    async def join_groups(
        self, connection: Connection, memberships: Sequence[Membership]
    ) -> None: ...

    async def leave_groups(
        self, connection: Connection, memberships: Sequence[Membership]
    ) -> None: ...


class Connection(Outlet):
    """One WebSocket connection: what a consumer holds, and an endpoint is called with.

    What the client sends is read by `receive` and the like, by any number of tasks, each frame
    by one of them. Sending at the same time from several tasks is safe as well, and in order
    within a priority.

    Args:
        scope: the ASGI connection scope.
        send: the ASGI server's send.
        inbox_size: frames that may wait to be read, in each lane.
        views: those that the client may choose from.
        priorities: the lanes of message types.
        on_event: takes the messages that plain Channels code sends to this connection.
        on_gap: called when pushes may have been missed.
        options: see `Outlet`.
    """

    # A process has thousands of them.
    __slots__ = (
        "_closed",
        "_closing",
        "_inbox_size",
        "_incoming",
        "_on_event",
        "_on_gap",
        "_tasks",
        "announce_members",
        "chose_id",
        "connected_at",
        "handled_by",
        "is_read",
        "membership",
        "memberships",
        "priorities",
        "register",
        "serial",
        "sessions",
        "user",
        "views",
    )

    def __init__(
        self,
        scope: Any,
        send: Send,
        *,
        inbox_size: int = LANE_SIZE,
        views: Sequence[str] = (),
        priorities: Priorities = MappingProxyType({}),
        on_event: Callable[[Message], None] = ignored,
        on_gap: Callable[[], None] = _nothing,
        **options: Any,
    ) -> None:
        super().__init__(scope, send, **options)
        self._inbox_size = inbox_size
        self.views = views
        self.priorities = priorities
        #: Whether the client chose its id itself, so that another one can take it over.
        self.chose_id = False
        self.user: Any = None
        #: Digests by which the login session that it belongs to can be named.
        self.sessions: Collection[str] = ()
        self.serial = os.urandom(8).hex()
        #: Seconds since the epoch.
        self.connected_at = time.time()
        #: Its channel and its groups on the layer, from the consumer.
        self.membership: LayerMembership | None = None
        #: The groups that it has joined, by their names.
        self.memberships: Mapping[str, Membership] = MappingProxyType({})
        #: Whether these are told that it joins and leaves, unless `join` says otherwise.
        self.announce_members = False
        #: Where its groups are recorded, once it is counted in.
        self.register: Register | None = None
        #: Who handles what arrives, where nobody else may read it: a clause for the error.
        self.handled_by: str | None = None
        #: Whether somebody has begun to read.
        self.is_read = False
        self._incoming: Incoming | None = None
        self._tasks: Tasks | None = None
        self._closed: Closed | None = None
        self._closing: Closed | None = None
        self._on_event = on_event
        self._on_gap = on_gap

    def __repr__(self) -> str:
        return f"<Connection {self.client_id} of {self.user_id or 'anonymous'}: {self.state.value}>"

    def info(self, lease: str) -> ClientInfo:
        """What the store records of this connection under a node's lease."""
        client = self.scope.get("client")
        return ClientInfo(
            client_id=self.client_id,
            user_id=self.user_id,
            lease=lease,
            serial=self.serial,
            connected_at=self.connected_at,
            path=self.scope.get("path", ""),
            address=client[0] if client else None,
        )

    # What a channel layer has for it: `wsadapter.layers.fanout.Member`

    def kick(self, kick: Kick) -> None:
        """Close, if it is this connection that is meant."""
        if kick.concerns(self.serial, self.sessions):
            self.close_soon(kick.code, kick.reason)

    def inspect(self, inspect: Inspect) -> None:
        """Report how it is doing, if it is this connection that is asked."""
        if inspect.client_id == self.client_id:
            reporting.report(inspect.report_to, self.report(time.monotonic()))

    def event(self, message: Message) -> None:
        """Take a message of plain Channels code."""
        self._on_event(message)

    def gap(self) -> None:
        """Learn that pushes may have been missed."""
        self._on_gap()

    # Sending

    async def send(
        self, data: object, *, timeout: float | None = None, priority: Priority = Priority.NORMAL
    ) -> None:
        """Send to this client; returns when the transport has taken the frame.

        Until the connection is accepted, it returns at once and the frame waits.

        Args:
            data: as `wsadapter.broadcast` takes it: ``str``, ``bytes``, or what encodes as JSON,
                in the view that the client has chosen.
            timeout: seconds that it may take, or None for as long as it takes.
            priority: the lane; order is kept within one. NORMAL stands for that of its type, see
                the setting `PRIORITIES`.

        Raises:
            EncodeError: the data cannot be sent; nothing was.
            WriteTimeout: the client does not read fast enough; the frame was taken back.
            ConnectionClosed: the connection is over; the frame did not leave.
        """
        await self._send_frame(encode(self.in_view(data)), timeout, priority)

    async def send_text(
        self, text: str, *, timeout: float | None = None, priority: Priority = Priority.NORMAL
    ) -> None:
        """Send a text frame; the errors are those of `send`."""
        await self._send_frame(encode_text(text), timeout, priority)

    async def send_bytes(
        self,
        data: bytes | bytearray | memoryview,
        *,
        timeout: float | None = None,
        priority: Priority = Priority.NORMAL,
    ) -> None:
        """Send a binary frame; the errors are those of `send`."""
        await self._send_frame(encode_binary(data), timeout, priority)

    async def send_json(
        self, data: object, *, timeout: float | None = None, priority: Priority = Priority.NORMAL
    ) -> None:
        """Send anything as JSON, ``str`` and None included; the errors are those of `send`."""
        await self._send_frame(encode_text(to_json(self.in_view(data))), timeout, priority)

    def in_view(self, data: object) -> object:
        """What is sent of an object, in the view that the client has chosen."""
        return project(data, self.view) if views_of(data) else data

    def lane_of(self, frame: Frame, priority: Priority = Priority.NORMAL) -> Priority:
        """The lane for a frame, as the call says or its type is declared."""
        return priority_of(frame, priority, self.priorities)

    def change_view(self, name: str | None) -> None:
        """Send what comes in another view; an unknown one is the end of the connection."""
        try:
            self.view = choose(name, self.views)
        except InvalidMessage as error:
            self.close_soon(CloseCode.BAD_REQUEST, error.message)

    async def _send_frame(self, frame: Frame, timeout: float | None, priority: Priority) -> None:
        lane = self.lane_of(frame, priority)
        if not await self.send_event(send_event(frame), lane, timeout):
            raise self._told_of_its_end()

    def writer(self, *, binary: bool = True, priority: Priority = Priority.NORMAL) -> ByteWriter:
        """A stream of bytes to this client, as frames that it puts together.

        Args:
            binary: whether they are binary frames, or text frames of UTF-8.
        """
        return ByteWriter(
            lambda frame: self.enter(frame, priority),
            self._told_of_its_end,
            binary=binary,
            max_unsent_bytes=self._outbox.max_bytes,
        )

    def enter(self, frame: Frame, priority: Priority) -> asyncio.Future[bool]:
        """Queue a frame. Returns what tells whether the transport has taken it."""
        taken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._enter(Outgoing(send_event(frame), size_of(frame), taken), priority)
        return taken

    def outflow(self, lane_size: int) -> Outflow:
        """A way out for a stream: see `Outflow`."""
        return Outflow(
            self.enter, self._told_of_its_end, lane_size=lane_size, max_bytes=self._outbox.max_bytes
        )

    async def send_periodically(
        self,
        get: Getter,
        *,
        interval: float,
        deduplicate: bool | Duplicates = True,
        timeout: float | None = None,
        priority: Priority = Priority.NORMAL,
    ) -> None:
        """Send what a function returns, at once and then at every interval.

        Returns when the connection closes. The times of sending do not drift; where ``get``
        or the client takes longer than the interval, what is missed is left out.

        Args:
            get: sync or async. A sync function runs in a thread, with Django's database
                connections looked after.
            interval: seconds.
            deduplicate: True leaves out what would be encoded as it was the last time, False
                sends always, and a function ``(last, current) -> bool`` says whether the
                current value is a duplicate of the one that was sent last.
            timeout: seconds that a send may take.

        Raises:
            EncodeError, WriteTimeout: as `send` does.
            Exception: whatever ``get`` or ``deduplicate`` raises first.
        """
        repetition = Repetition(get, interval_seconds=interval, deduplicate=deduplicate)

        async def send(frame: Frame) -> bool:
            lane = self.lane_of(frame, priority)
            return await self.send_event(send_event(frame), lane, timeout)

        await repetition.run(send, self._ending(), encode=lambda data: encode(self.in_view(data)))

    # Reading what this client sends

    async def receive(self, *, timeout: float | None = None) -> Frame:
        """The next frame, in the order of arrival: ``str`` or ``bytes``.

        Args:
            timeout: seconds to wait for it, or None for as long as it takes.

        Raises:
            ReadTimeout: nothing arrived in time; the next call may have it.
            ConnectionClosed: the connection is over, and all that had arrived is read.
            ReceiveConflict: the consumer reads this connection itself.
        """
        self._begin_to_read()
        if timeout is None:
            frame = await self._unread().get()
        else:
            frame = await self._get_within(timeout)
        if frame is None:
            raise self.closed_error()
        return frame

    async def _get_within(self, timeout: float) -> Frame | None:
        try:
            async with asyncio.timeout(timeout):
                return await self._unread().get()
        except TimeoutError as error:
            raise ReadTimeout(
                f"Client {self.client_id} sent nothing within {timeout:g} s."
            ) from error

    async def receive_text(self, *, timeout: float | None = None) -> str:
        """The next frame, which has to be text.

        Raises:
            UnexpectedFrame: it is binary.
        The other errors are those of `receive`.
        """
        frame = await self.receive(timeout=timeout)
        if isinstance(frame, str):
            return frame
        raise self._peer_erred(
            UnexpectedFrame(f"Expected text, got a binary frame of {len(frame)} bytes.", frame)
        )

    async def receive_bytes(self, *, timeout: float | None = None) -> bytes:
        """The next frame, which has to be binary.

        Raises:
            UnexpectedFrame: it is text.
        The other errors are those of `receive`.
        """
        frame = await self.receive(timeout=timeout)
        if isinstance(frame, bytes):
            return frame
        raise self._peer_erred(
            UnexpectedFrame(f"Expected a binary frame, got text of {len(frame)} characters.", frame)
        )

    @overload
    async def receive_json(self, type: type[T], *, timeout: float | None = None) -> T: ...

    @overload
    async def receive_json(self, type: Any = None, *, timeout: float | None = None) -> Any: ...

    async def receive_json(self, type: Any = None, *, timeout: float | None = None) -> Any:
        """The next frame, which has to be JSON, as the type that is asked for.

        Args:
            type: a ``msgspec.Struct``, dataclass, TypedDict, pydantic model, a builtin such as
                ``dict[str, int]``, a union of them; None takes any JSON.
            timeout: seconds.

        Raises:
            InvalidMessage: it is no JSON, or does not fit the type; ``path`` says where.
            UnexpectedFrame: it is binary.
            TypeError: messages cannot be read as this type.
        The other errors are those of `receive`.
        """
        read = json_reader(type)
        text = await self.receive_text(timeout=timeout)
        try:
            return read(text)
        except PeerError as error:
            raise self._peer_erred(error) from error.__cause__

    def __aiter__(self) -> AsyncIterator[Frame]:
        """The frames until the client is done; any other end raises `ConnectionClosed`."""
        return self

    async def __anext__(self) -> Frame:
        try:
            return await self.receive()
        except ConnectionClosed as end:
            if end.code in FINISHED_CODES:
                raise StopAsyncIteration from None
            raise

    def reader(self, *, timeout: float | None = None) -> ByteReader:
        """A stream of the bytes of successive binary frames.

        It ends at the text frame ``{"type": "ws:end"}``, or with the connection.

        Args:
            timeout: seconds that each frame may take to arrive.
        """
        return ByteReader(lambda: self.receive(timeout=timeout), self._peer_erred)

    def take_in(self, frame: Frame, priority: Priority = Priority.NORMAL) -> None:
        """Let a frame that has arrived be read."""
        self._unread().put(frame, priority)

    @property
    def has_room(self) -> bool:
        """Whether more may arrive before something has been read."""
        return self._incoming is None or not self._incoming.full

    async def room(self) -> None:
        """Wait until there is room."""
        await self._unread().room()

    def take_unread(self) -> Sequence[Frame]:
        """Take what waits to be read away from whoever reads."""
        return self._incoming.take_all() if self._incoming is not None else ()

    def stop_reading(self) -> None:
        """Nobody reads on: whoever waits for a frame learns of an end."""
        self.is_read = False
        self._unread().end()
        if self._tasks is not None:
            self._tasks.forget_readers()

    def _begin_to_read(self) -> None:
        if self.handled_by is not None:
            raise ReceiveConflict(
                f"What client {self.client_id} sends is read already: {self.handled_by}. Two "
                "readers would each get a part of it. Read in an endpoint (@websocket), or in "
                "a consumer that has neither handlers nor a receive() of its own."
            )
        if self.state is State.CONNECTING:
            raise RuntimeError("Nothing arrives before accept(); call that first.")
        self.is_read = True
        if self._tasks is not None:
            self._tasks.note_informed()

    def _unread(self) -> Incoming:
        if self._incoming is None:
            self._incoming = Incoming(self._inbox_size)
            if self.state in (State.CLOSING, State.CLOSED):
                self._incoming.end()
        return self._incoming

    def _peer_erred(self, error: PeerError) -> PeerError:
        self.stats.errors += 1
        return error

    # What belongs to it, and ends with it

    async def join(self, group: str, info: object = None, *, announce: bool | None = None) -> None:
        """Join a group; returns when what is sent to it from now on arrives.

        Joining again changes the info.

        Args:
            group: any text.
            info: what `members` says of it; anything that encodes as JSON, in 4 KiB.
            announce: whether the group is told, by ``ws:joined`` now and by ``ws:left`` when its
                user has left it for `GRACE_SECONDS`; None for what the consumer says in
                `announce_members`.

        Raises:
            StoreUnavailable: Redis did not answer in time.
            EncodeError: the info does not encode.
            ValueError: it is too large.
        """
        name = layer_name(group)
        membership = self._membership_of(group, info, announce)
        if self.state is State.CLOSED:
            return  # nothing arrives any more
        async with turns().turn(settings.redis_timeout):
            await self._on_layer().join([name])
        self.memberships = {**self.memberships, group: membership}
        if self.register is not None:
            await self.register.join_groups(self, [membership])

    async def leave(self, group: str) -> None:
        """Leave a group; leaving one that was not joined does nothing."""
        if self.membership is None and self.state is State.CLOSED:
            return  # all have been left
        async with turns().turn(settings.redis_timeout):
            await self._on_layer().leave(layer_name(group))
        membership = self.memberships.get(group)
        if membership is None:
            return
        self.memberships = {name: each for name, each in self.memberships.items() if name != group}
        if self.register is not None:
            await self.register.leave_groups(self, [membership])

    def note_groups(self, groups: Iterable[str]) -> None:
        """Have groups that it joins on the layer by itself recorded as well."""
        noted = {group: self._membership_of(group) for group in groups}
        self.memberships = {**noted, **self.memberships}

    def _membership_of(
        self, group: str, info: object = None, announce: bool | None = None
    ) -> Membership:
        encoded = to_json(info).encode()
        if len(encoded) > MAX_INFO_SIZE:
            raise ValueError(
                f"The info of a member has {len(encoded)} bytes as JSON; {MAX_INFO_SIZE} are "
                "taken. Keep what is large in your database, and its key in the info."
            )
        return Membership(
            client_id=self.client_id,
            user_id=self.user_id,
            serial=self.serial,
            group=group,
            info=encoded,
            announced=self.announce_members if announce is None else announce,
        )

    def _on_layer(self) -> LayerMembership:
        if self.membership is None:
            raise RuntimeError("join() and leave() work from connect() on.")
        return self.membership

    def create_task(
        self, coroutine: Coroutine[Any, Any, T], *, name: str | None = None
    ) -> asyncio.Task[T]:
        """Run something beside, for as long as the connection lives.

        It is cancelled with the connection; one that reads may first read to the end. What it
        raises is logged, and does not end the connection.

        Raises:
            ConnectionClosed: the connection is over.
        """
        if self.state is State.CLOSED:
            coroutine.close()
            raise self.closed_error()
        if self._tasks is None:
            self._tasks = Tasks(self._task_failed)
        return self._tasks.create(coroutine, name)

    def _task_failed(self, task: asyncio.Task[Any], error: BaseException) -> None:
        if self.is_its_end(error):
            return
        if not isinstance(error, PeerError):  # else it has been counted
            self.stats.errors += 1
        logger.error(
            "The task %s of client %s failed.", task.get_name(), self.client_id, exc_info=error
        )

    async def end_tasks(self) -> None:
        """Cancel what runs beside it."""
        if self._tasks is not None:
            await self._tasks.end(self.client_id)

    def vitals(self, now: float) -> Vitals:
        """What a `HealthPolicy` looks at.

        Args:
            now: monotonic seconds.
        """
        stats = self.stats
        return Vitals(
            silence_seconds=now - stats.last_seen,
            messages=stats.messages_in,
            errors=stats.errors,
            queued_bytes=stats.queued_bytes,
            tasks=len(self._tasks) if self._tasks is not None else 0,
        )

    def report(self, now: float) -> Report:
        """What it tells of itself.

        Args:
            now: monotonic seconds.
        """
        stats = self.stats
        return Report(
            client=self.client_id,
            silence_seconds=now - stats.last_seen,
            round_trip_seconds=stats.round_trip,
            queued_bytes=stats.queued_bytes,
            dropped=stats.dropped,
        )

    # Its end

    async def close(
        self, code: int = CloseCode.NORMAL, reason: str = "", timeout: float = CLOSE_SECONDS
    ) -> None:
        """Close the connection; before it is accepted, refuse it with HTTP status 403.

        What was sent before leaves before. Returns when the connection is closed.

        Args:
            code: the close code, see `wsadapter.CloseCode`.
            reason: text for the client.
            timeout: seconds for all of that; then the connection is cut.

        Raises:
            ValueError: the code is none that may be sent.
        """
        check_code(code)
        if self.state is State.CONNECTING:
            await self.deny()
            return
        self.close_soon(code, reason, drain=True, timeout=timeout)
        await self.closed

    @property
    def closed(self) -> Closed:
        """Await it to wait for the end; as a condition it is whether the end has come."""
        if self._closed is None:
            self._closed = Closed()
            if self.state is State.CLOSED:
                self._closed.come()
        return self._closed

    async def ends_within(self, seconds: float) -> bool:
        """Wait. Returns at once, and True, when nothing can be sent any more."""
        return await ends_within(self._ending(), seconds)

    def is_its_end(self, error: BaseException) -> bool:
        """Whether an error says no more than that this connection is over."""
        return self.state is not State.OPEN and all(
            isinstance(cause, ConnectionClosed) for cause in causes(error)
        )

    def _ending(self) -> Closed:
        """As `closed`, but comes as soon as nothing can be sent any more."""
        if self._closing is None:
            self._closing = Closed()
            if self.state in (State.CLOSING, State.CLOSED):
                self._closing.come()
        return self._closing

    def _told_of_its_end(self) -> ConnectionClosed:
        """The error for a task that sends, which needs no other word of the end then."""
        if self._tasks is not None:
            self._tasks.note_informed()
        return self.closed_error()

    def closed_error(self) -> ConnectionClosed:
        """The error that says how the connection ended."""
        code = CloseCode.ABNORMAL if self.close_code is None else self.close_code
        return ConnectionClosed(code, self.close_reason, self.closed_by)

    def _ends(self) -> None:
        if self._incoming is not None:
            if self.state is State.CLOSING:
                self._incoming.take_all()
            self._incoming.end()
        if self._closing is not None:
            self._closing.come()
        if self._closed is not None and self.state is State.CLOSED:
            self._closed.come()

    def let_go(self) -> None:
        """Forget whoever used it, so that an ended connection needs no garbage collector."""
        super().let_go()
        self._on_gap = _nothing
        self._on_event = ignored
        self._incoming = self._tasks = self.membership = self.register = None
