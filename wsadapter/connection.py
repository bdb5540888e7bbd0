"""One client's life: its identity, its state, and the one way out to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from enum import Enum
from typing import Any
from uuid import uuid4

from wsadapter import servers
from wsadapter.close_codes import CloseCode, check_code
from wsadapter.event_loops import end_task
from wsadapter.servers import Send
from wsadapter.signals import delivery_failed, message_dropped
from wsadapter.store.operations import ClientInfo
from wsadapter.wire.orders import Message, Push, send_event
from wsadapter.wire.outbox import Outbox, Outcome, Overflow, Priority
from wsadapter.wire.payload import Frame, encode

logger = logging.getLogger("wsadapter.connection")

#: RFC 6455, section 5.5: a control frame carries 125 bytes, of which the code takes two.
MAX_REASON_BYTES = 123


#: How often a transport without back-pressure is asked whether it has room again.
HELD_POLL_SECONDS = 0.05


class State(Enum):
    """Where a connection is in its life; it only ever moves down this list."""

    CONNECTING = "connecting"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


@dataclass(slots=True)
class Stats:
    """What went over one connection."""

    messages_in: int = 0
    messages_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    dropped: int = 0
    errors: int = 0
    #: Monotonic time of the last inbound frame, in seconds.
    last_seen: float = 0.0
    #: Seconds between the last ping and its pong.
    round_trip: float | None = None


@dataclass(slots=True)
class Outgoing:
    """An ASGI event on its way out, and who waits for the transport to take it."""

    event: Message
    size: int
    taken: asyncio.Future[None] | None = None


class Connection:
    """One WebSocket connection.

    Everything that is sent goes through its outbox, and only the outbox calls the server's
    ``send``. Until the connection is accepted it only collects.

    Args:
        scope: the ASGI connection scope.
        send: the ASGI server's send.
        max_outbox_size: bytes that may wait.
        overflow: what happens to a push beyond that.
        on_closing: called once this side has begun to close, or sending has failed.
    """

    def __init__(
        self,
        scope: Any,
        send: Send,
        *,
        max_outbox_size: int,
        overflow: Overflow = Overflow.CLOSE,
        on_closing: Callable[[], None],
    ) -> None:
        self.scope = scope
        self.state = State.CONNECTING
        self.client_id = ""
        #: Whether the client chose its id itself, so that another one can take it over.
        self.chose_id = False
        self.user: Any = None
        self.user_id: str | None = None
        #: Digests by which the login session that it belongs to can be named.
        self.sessions: frozenset[str] = frozenset()
        self.subprotocol: str | None = None
        self.serial = uuid4().hex[:16]
        self.connected_at = time.time()
        self.close_code: int | None = None
        self.close_reason = ""
        self.stats = Stats(last_seen=time.monotonic())
        self._outbox: Outbox[Outgoing] = Outbox(max_outbox_size, overflow, on_drop=self._dropped)
        self._send = servers.unwrap(send)
        self._stepped = servers.can_be_stepped(self._send)
        self._held_bytes = servers.held_bytes(self._send)
        self._max_held_bytes = max_outbox_size
        self._writer: asyncio.Task[None] | None = None
        self._on_closing = on_closing
        # A kick may come between the joining of the groups and the handshake's end.
        self._close_at_accept: tuple[int, str] | None = None

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

    # Sending

    def deliver(self, push: Push) -> None:
        """Send a push to this client; never waits, and what is not for it is ignored."""
        if push.concerns(self.client_id, self.user_id):
            self._put(Outgoing(push.event, push.size), push.priority)

    def post(self, frame: Frame, priority: Priority = Priority.NORMAL) -> None:
        """Send a frame without waiting for the transport."""
        self._put(Outgoing(send_event(frame), len(frame)), priority)

    async def send(self, data: object, *, priority: Priority = Priority.NORMAL) -> None:
        """Send to this client; returns when the transport has taken it, or the end has come.

        Args:
            data: as `wsadapter.broadcast` takes it: ``str``, ``bytes``, or what encodes as JSON.

        Raises:
            EncodeError: the data cannot be sent; nothing was.
        """
        await self.send_event(send_event(encode(data)), priority)

    async def send_event(self, event: Message, priority: Priority = Priority.NORMAL) -> None:
        """The same for a ready ``websocket.send`` event."""
        frame = event.get("text")
        size = len(frame if frame is not None else event.get("bytes") or b"")
        outgoing = Outgoing(event, size, asyncio.get_running_loop().create_future())
        self._put(outgoing, priority)
        if outgoing.taken is not None and self.state is not State.CONNECTING:
            await outgoing.taken

    async def accept(self, event: Message) -> None:
        """Accept the handshake; what was collected leaves after it."""
        if self.state is State.CLOSED:
            return  # the browser left while connect() was busy
        if self.state is not State.CONNECTING:
            raise RuntimeError("accept() may be called once, in connect().")
        self.subprotocol = event.get("subprotocol")
        try:
            await self._send(event)
        except OSError:  # it left just now
            self.end(CloseCode.ABNORMAL)
        if self.state is State.CONNECTING:
            self.state = State.OPEN
            self._flush()
            if self._close_at_accept is not None:
                self.close_soon(*self._close_at_accept)

    async def refuse(self, code: int, reason: str) -> None:
        """Accept, then close: a refused handshake would show a browser no reason."""
        if self.state is State.CONNECTING:
            for outgoing in self._outbox.clear():
                _release(outgoing)
            # A browser that offered some fails without one in the answer, and sees no code.
            offered = self.scope.get("subprotocols") or [None]
            await self.accept({"type": "websocket.accept", "subprotocol": offered[0]})
        self.close_soon(code, reason)

    async def deny(self) -> None:
        """Refuse the handshake with HTTP status 403."""
        self.state = State.CLOSED
        with contextlib.suppress(OSError):  # the browser left meanwhile
            await self._send({"type": "websocket.close"})
        self._on_closing()

    def close_soon(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Send the close frame ahead of everything that waits, and nothing after it."""
        if self.state is State.CONNECTING:
            self._close_at_accept = int(code), reason
        if self.state is not State.OPEN:
            return
        self.close_code, self.close_reason = int(code), reason
        event: Message = {"type": "websocket.close", "code": int(code)}
        if reason:
            event["reason"] = _at_most(reason, MAX_REASON_BYTES)
        for outgoing in self._outbox.clear():
            _release(outgoing)
        self._outbox.put_control(Outgoing(event, 0), 0)
        self.state = State.CLOSING
        self._flush()
        self._on_closing()

    async def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Close the connection; before it is accepted, refuse it with HTTP status 403.

        Raises:
            ValueError: the code is none that may be sent.
        """
        check_code(code)
        if self.state is State.CONNECTING:
            await self.deny()
        else:
            self.close_soon(code, reason)

    def end(self, code: int, reason: str = "") -> None:
        """Note that the connection is over. The first reason for it stands."""
        if self.close_code is None:
            self.close_code, self.close_reason = code, reason
        self.state = State.CLOSED
        for outgoing in self._outbox.clear():
            _release(outgoing)

    async def stop_writing(self, *, cut: bool) -> None:
        """End the writer task; with ``cut``, drop what the transport still holds."""
        if cut:
            servers.cut(self._send)
        if self._writer is not None:
            await end_task(self._writer)

    # The one way out

    def _put(self, outgoing: Outgoing, priority: Priority) -> None:
        if self.state not in (State.CONNECTING, State.OPEN):
            _release(outgoing)
            return
        outcome = self._outbox.put(outgoing, outgoing.size, priority)
        if outcome is Outcome.FULL:
            _release(outgoing)
            self._too_slow()
        elif self.state is State.OPEN:
            self._flush()

    def _flush(self) -> None:
        if self._writer is not None:
            return
        if not self._stepped or self._holds_too_much():
            self._writer = asyncio.get_running_loop().create_task(self._write(None))
            return
        while (outgoing := self._outbox.pop()) is not None:
            sending = self._send(outgoing.event)
            try:
                waits_for = sending.send(None)  # type: ignore[attr-defined]
            except StopIteration:
                self._took(outgoing)
            except Exception as error:
                self._failed(outgoing, error)
                return
            else:
                rest = _Resumed(sending, waits_for)
                self._writer = asyncio.get_running_loop().create_task(self._write((outgoing, rest)))
                return

    def _holds_too_much(self) -> bool:
        return self._held_bytes is not None and self._held_bytes() > self._max_held_bytes

    async def _until_taken(self) -> None:
        """Stand in for the back-pressure that the server does not give."""
        while self._holds_too_much():  # noqa: ASYNC110 - a Twisted transport tells nobody
            await asyncio.sleep(HELD_POLL_SECONDS)

    async def _write(self, suspended: tuple[Outgoing, Awaitable[None]] | None) -> None:
        outgoing: Outgoing | None = None
        try:
            if suspended is not None:
                outgoing, rest = suspended
                await rest
                self._took(outgoing)
            await self._until_taken()
            while (outgoing := self._outbox.pop()) is not None:
                await self._send(outgoing.event)
                self._took(outgoing)
                await self._until_taken()
        except asyncio.CancelledError:
            if outgoing is not None:
                _release(outgoing)
            raise
        except Exception as error:
            if outgoing is not None:
                self._failed(outgoing, error)
        finally:
            self._writer = None

    def _took(self, outgoing: Outgoing) -> None:
        self.stats.messages_out += 1
        self.stats.bytes_out += outgoing.size
        _release(outgoing)

    def _failed(self, outgoing: Outgoing, error: Exception) -> None:
        """A frame that the server refused is never tried again, and none after it."""
        self.stats.errors += 1
        _release(outgoing)
        # The peer left; its end is on its way and will be logged.
        gone = isinstance(error, OSError) or servers.is_closing(self._send)
        logger.log(
            logging.DEBUG if gone else logging.ERROR,
            "Sending to client %s failed (%s); the connection is removed.",
            self.client_id,
            str(error) or type(error).__name__,
            exc_info=None if gone else error,
        )
        self.end(CloseCode.ABNORMAL)
        self._on_closing()
        delivery_failed.send_robust(Connection, client_id=self.client_id, error=error)

    def _too_slow(self) -> None:
        self.close_soon(
            CloseCode.SLOW, f"too slow: {self._outbox.queued_bytes} bytes wait to be read"
        )

    def _dropped(self, outgoing: Outgoing) -> None:
        _release(outgoing)
        self.stats.dropped += 1
        message_dropped.send_robust(Connection, client_id=self.client_id, count=1)


class _Resumed:
    """Awaits the rest of a coroutine that was stepped by hand until it suspended."""

    def __init__(self, coroutine: Any, waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        waits_for = self._waits_for
        while True:
            try:
                value = yield waits_for
            except BaseException as error:
                step, argument = self._coroutine.throw, error
            else:
                step, argument = self._coroutine.send, value
            try:
                waits_for = step(argument)
            except StopIteration:
                return


def _release(outgoing: Outgoing) -> None:
    """Let the sender go on, whatever became of the frame."""
    if outgoing.taken is not None and not outgoing.taken.done():
        outgoing.taken.set_result(None)


def _at_most(text: str, max_bytes: int) -> str:
    return text.encode("utf-8", "replace")[:max_bytes].decode("utf-8", "ignore")
