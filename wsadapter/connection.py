"""One client's life: its identity, its state, and the one way out to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from enum import Enum
from typing import Any

from wsadapter import servers
from wsadapter.close_codes import CloseCode, check_code
from wsadapter.corking import Cork, current_cork
from wsadapter.event_loops import Resumed, end_task
from wsadapter.servers import Send
from wsadapter.signals import delivery_failed, message_dropped
from wsadapter.store.operations import ClientInfo
from wsadapter.wire.joined import MAX_JOINED_SIZE, Joined
from wsadapter.wire.orders import Kick, Message, Push, send_event
from wsadapter.wire.outbox import Outbox, Outcome, Overflow, Priority
from wsadapter.wire.payload import Frame, encode, size_of

logger = logging.getLogger("wsadapter.connection")

#: RFC 6455, section 5.5: a control frame carries 125 bytes, of which the code takes two.
MAX_REASON_BYTES = 123

#: `message_dropped` is sent no more often than this for one connection.
DROPS_TOLD_SECONDS = 1.0

#: What a frame that waits costs beside its payload: its event, its place in the queue.
ITEM_BYTES = 350

#: How often a transport without back-pressure is asked whether it has room again.
HELD_POLL_SECONDS = 0.05


class State(Enum):
    """Where a connection is in its life; it only ever moves down this list."""

    CONNECTING = "connecting"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


#: Looked up once: on an enumeration that is a search.
OPEN = State.OPEN


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


def _nothing() -> None:
    """Nobody wants to know."""


def _ignored(what: object) -> None:
    """Nobody wants to have it."""


_NO_OUTBOX: Outbox[Outgoing] = Outbox(0, on_drop=_ignored)


class Connection:
    """One WebSocket connection.

    Everything for this client goes one way out. While nothing waits, a frame leaves at once;
    else it waits in the outbox, behind what came before it. Until the connection is accepted
    it only collects.

    Args:
        scope: the ASGI connection scope.
        send: the ASGI server's send.
        max_outbox_size: bytes that may wait.
        overflow: what happens to a push beyond that.
        item_bytes: what each frame that waits counts for, beside its payload.
        prepares_frames: write pushes as ready frames where the server takes them.
        joins_frames: and those of one turn of the event loop in one piece.
        on_closing: called once this side has begun to close, or sending has failed.
        on_event: takes the messages that plain Channels code sends to this connection.
        on_gap: called when pushes may have been missed.
    """

    # A process has thousands of them.
    __slots__ = (
        "_close_at_accept",
        "_cork",
        "_corked",
        "_frames",
        "_held_bytes",
        "_max_held_bytes",
        "_measure_at",
        "_on_closing",
        "_on_event",
        "_on_gap",
        "_outbox",
        "_send",
        "_stepped",
        "_telling",
        "_untold_drops",
        "_writer",
        "chose_id",
        "client_id",
        "close_code",
        "close_reason",
        "connected_at",
        "scope",
        "serial",
        "sessions",
        "state",
        "stats",
        "subprotocol",
        "user",
        "user_id",
    )

    def __init__(
        self,
        scope: Any,
        send: Send,
        *,
        max_outbox_size: int,
        overflow: Overflow = Overflow.CLOSE,
        item_bytes: int = ITEM_BYTES,
        prepares_frames: bool = True,
        joins_frames: bool = True,
        on_closing: Callable[[], None],
        on_event: Callable[[Message], None] = _ignored,
        on_gap: Callable[[], None] = _nothing,
    ) -> None:
        self.scope = scope
        self.state = State.CONNECTING
        self.client_id = ""
        #: Whether the client chose its id itself, so that another one can take it over.
        self.chose_id = False
        self.user: Any = None
        self.user_id: str | None = None
        #: Digests by which the login session that it belongs to can be named.
        self.sessions: Collection[str] = ()
        self.subprotocol: str | None = None
        self.serial = os.urandom(8).hex()
        self.connected_at = time.time()
        self.close_code: int | None = None
        self.close_reason = ""
        self.stats = Stats(last_seen=time.monotonic())
        self._outbox: Outbox[Outgoing] = Outbox(
            max_outbox_size, overflow, item_bytes=item_bytes, on_drop=self._dropped
        )
        self._send = servers.unwrap(send)
        self._stepped = servers.can_be_stepped(self._send)
        self._held_bytes = servers.held_bytes(self._send)
        self._max_held_bytes = max_outbox_size
        # In bytes sent: never, where ``send`` itself waits for the transport.
        self._measure_at = math.inf if self._held_bytes is None else 0
        self._frames = (
            servers.frame_writer(scope, self._send, max_outbox_size) if prepares_frames else None
        )
        # Nobody holds a cork of its own, so that nothing is joined.
        self._cork = current_cork() if joins_frames else Cork(asyncio.get_running_loop())
        # What was pushed in this turn of the loop and leaves at its end, past the outbox.
        self._corked: Joined | None = None
        self._writer: asyncio.Task[None] | None = None
        self._on_closing = on_closing
        self._on_event = on_event
        self._on_gap = on_gap
        self._untold_drops = 0
        self._telling: asyncio.TimerHandle | None = None
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

    # What a channel layer has for it: `wsadapter.layers.fanout.Member`

    def kick(self, kick: Kick) -> None:
        """Close, if it is this connection that is meant."""
        if kick.concerns(self.serial, self.sessions):
            self.close_soon(kick.code, kick.reason)

    def event(self, message: Message) -> None:
        """Take a message of plain Channels code."""
        self._on_event(message)

    def gap(self) -> None:
        """Learn that pushes may have been missed."""
        self._on_gap()

    def deliver(self, push: Push) -> None:
        """Send a push to this client; never waits, and what is not for it is ignored."""
        if push.selective and not push.concerns(self.client_id, self.user_id):
            return
        writer = self._frames
        # The whole way of a ready frame is here: there is no hotter one.
        if (
            writer is not None
            and self._corked is None
            and self._writer is None
            and self.state is OPEN
            and not self._cork.holding
            and writer.ready
        ):
            try:
                writer.write(push.to_bytes(writer.compression_level))
            except Exception as error:
                self._failed(error)
                return
            stats = self.stats
            stats.messages_out += 1
            stats.bytes_out += push.size
        else:
            self._deliver_otherwise(push)

    def _deliver_otherwise(self, push: Push) -> None:
        if self._corked is not None:
            self._hold_back(push)
        elif not self._takes_at_once():
            self._put(Outgoing(push.event, push.size), push.priority)
        elif self._frames is None:
            self._leave(push.event, push.size)
        elif self._cork.holding:
            self._hold_back(push)
        else:
            self._put(Outgoing(push.event, push.size), push.priority)

    def _takes_at_once(self) -> bool:
        """Whether nothing waits, so that what comes may pass by the outbox."""
        return (
            self._writer is None
            and self.state is State.OPEN
            and self._stepped
            and not self._holds_too_much()
        )

    def _hold_back(self, push: Push) -> None:
        """Let a push leave with others at the end of this turn of the loop."""
        if self._corked is not None and self._corked.size + push.size > MAX_JOINED_SIZE:
            self.uncork()
        if self._corked is None:
            self._cork.hold()  # somebody has to let it go
            self._cork.add(self)
            self._corked = self._cork.nothing
        self._corked = self._corked.then(push)

    def uncork(self) -> None:
        """Write what was pushed in this turn of the loop."""
        corked, self._corked = self._corked, None
        if corked is not None and not (self._takes_at_once() and self._write_joined(corked)):
            for push in corked.pushes():
                self._put(Outgoing(push.event, push.size), push.priority)

    def _write_joined(self, joined: Joined) -> bool:
        """Returns whether the transport took them."""
        writer = self._frames
        if writer is None or not writer.ready:
            return False
        try:
            writer.write(joined.to_bytes(writer.compression_level))
        except Exception as error:
            self._failed(error)
        else:
            self.stats.messages_out += joined.count
            self.stats.bytes_out += joined.size
        return True

    # Sending to this client alone

    def post(self, frame: Frame, priority: Priority = Priority.NORMAL) -> None:
        """Send a frame without waiting for the transport."""
        self._put(Outgoing(send_event(frame), size_of(frame)), priority)

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
        if frame is None:
            frame = event.get("bytes") or b""
        outgoing = Outgoing(event, size_of(frame), asyncio.get_running_loop().create_future())
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
                _release(outgoing.taken)
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
        self.uncork()
        if self.state is not State.OPEN:
            return
        self.close_code, self.close_reason = int(code), reason
        event: Message = {"type": "websocket.close", "code": int(code)}
        if reason:
            event["reason"] = _at_most(reason, MAX_REASON_BYTES)
        for outgoing in self._outbox.clear():
            _release(outgoing.taken)
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
        self._finish()

    def _finish(self) -> None:
        """Send nothing any more."""
        self.state = State.CLOSED
        self._corked = None
        for outgoing in self._outbox.clear():
            _release(outgoing.taken)
        if self._telling is not None:
            self._telling.cancel()
            self._tell_drops()

    def let_go(self) -> None:
        """Forget whoever used it, so that an ended connection needs no garbage collector."""
        self._on_closing = self._on_gap = _nothing
        self._on_event = _ignored
        self._outbox = _NO_OUTBOX

    async def stop_writing(self, *, cut: bool) -> None:
        """End the writer task; with ``cut``, drop what the transport still holds."""
        if cut:
            servers.cut(self._send)
        if self._writer is not None:
            await end_task(self._writer)

    # The one way out

    def _put(self, outgoing: Outgoing, priority: Priority) -> None:
        self.uncork()
        if self.state not in (State.CONNECTING, State.OPEN):
            _release(outgoing.taken)
            return
        outcome = self._outbox.put(outgoing, outgoing.size, priority)
        if outcome is Outcome.FULL:
            _release(outgoing.taken)
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
            if not self._leave(outgoing.event, outgoing.size, outgoing.taken):
                return
            if self._peer_has_left():
                self._failed(ConnectionResetError("the peer has left"))
                return

    def _leave(self, event: Message, size: int, taken: asyncio.Future[None] | None = None) -> bool:
        """Step the server's ``send`` by hand. Returns whether it took the event at once."""
        sending: Any = self._send(event)
        try:
            waits_for = sending.send(None)
        except StopIteration:
            self._took(size)
            _release(taken)
            return True
        except Exception as error:
            _release(taken)
            self._failed(error)
        else:
            suspended = Outgoing(event, size, taken), Resumed(sending, waits_for)
            self._writer = asyncio.get_running_loop().create_task(self._write(suspended))
        return False

    def _peer_has_left(self) -> bool:
        """Whether more waits for a transport that only pretends to take it."""
        return bool(self._outbox.queued_bytes) and servers.is_closing(self._send)

    def _holds_too_much(self) -> bool:
        """Whether a transport that takes everything holds more than may wait.

        It is measured only once so much has been sent that it could.
        """
        if self.stats.bytes_out < self._measure_at:
            return False
        assert self._held_bytes is not None
        room = self._max_held_bytes - self._held_bytes()
        # A quarter of it: the frames of tiny messages are larger than what they carry.
        self._measure_at = self.stats.bytes_out + room // 4
        return room < 0

    async def _until_taken(self) -> None:
        """Stand in for the back-pressure that the server does not give."""
        while self._held_bytes is not None and self._held_bytes() > self._max_held_bytes:  # noqa: ASYNC110 - a Twisted transport tells nobody
            await asyncio.sleep(HELD_POLL_SECONDS)

    async def _write(self, suspended: tuple[Outgoing, Awaitable[None]] | None) -> None:
        outgoing: Outgoing | None = None
        try:
            if suspended is not None:
                outgoing, rest = suspended
                await rest
                self._took(outgoing.size)
                _release(outgoing.taken)
            await self._until_taken()
            while (outgoing := self._outbox.pop()) is not None:
                await self._send(outgoing.event)
                self._took(outgoing.size)
                _release(outgoing.taken)
                if self._peer_has_left():
                    raise ConnectionResetError("the peer has left")
                await self._until_taken()
        except asyncio.CancelledError:
            if outgoing is not None:
                _release(outgoing.taken)
            raise
        except Exception as error:
            if outgoing is not None:
                _release(outgoing.taken)
            self._failed(error)
        finally:
            self._writer = None

    def _took(self, size: int) -> None:
        self.stats.messages_out += 1
        self.stats.bytes_out += size

    def _failed(self, error: Exception) -> None:
        """A frame that the server refused is never tried again, and none after it."""
        self.stats.errors += 1
        # Where the peer has left, its end is on its way and will be logged, with its code.
        gone = isinstance(error, OSError) or servers.is_closing(self._send)
        logger.log(
            logging.DEBUG if gone else logging.ERROR,
            "Sending to client %s failed (%s); the connection is removed.",
            self.client_id,
            str(error) or type(error).__name__,
            exc_info=None if gone else error,
        )
        if gone:
            self._finish()
        else:
            self.end(CloseCode.ABNORMAL)
            servers.cut(self._send)  # where it can be: it leaves its groups at once
        self._on_closing()
        delivery_failed.send_robust(Connection, client_id=self.client_id, error=error)

    def _too_slow(self) -> None:
        self.close_soon(
            CloseCode.SLOW, f"too slow: {self._outbox.queued_bytes} bytes wait to be read"
        )

    def _dropped(self, outgoing: Outgoing) -> None:
        _release(outgoing.taken)
        if not self.stats.dropped:
            logger.warning(
                "Client %s does not read fast enough; pushes to it are dropped.", self.client_id
            )
        self.stats.dropped += 1
        self._untold_drops += 1
        if self._telling is None:
            self._tell_drops()

    def _tell_drops(self) -> None:
        """At once for the first one, then once a second for as long as there are more."""
        self._telling = None
        if not self._untold_drops:
            return
        count, self._untold_drops = self._untold_drops, 0
        if self.state is not State.CLOSED:
            loop = asyncio.get_running_loop()
            self._telling = loop.call_later(DROPS_TOLD_SECONDS, self._tell_drops)
        message_dropped.send_robust(Connection, client_id=self.client_id, count=count)


def _release(taken: asyncio.Future[None] | None) -> None:
    """Let the sender go on, whatever became of the frame."""
    if taken is not None and not taken.done():
        taken.set_result(None)


def _at_most(text: str, max_bytes: int) -> str:
    return text.encode("utf-8", "replace")[:max_bytes].decode("utf-8", "ignore")
