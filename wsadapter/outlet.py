"""The one way out to one client: in order, bounded, and never in anybody's way."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from wsadapter import frame_log, servers
from wsadapter.batching import Batching, Taken
from wsadapter.close_codes import MAX_REASON_BYTES, CloseCode, ClosedBy
from wsadapter.corking import Cork, current_cork
from wsadapter.errors import WriteTimeout
from wsadapter.event_loops import Resumed, end_task
from wsadapter.servers import Send
from wsadapter.signals import delivery_failed, message_dropped
from wsadapter.wire.batches import Batch
from wsadapter.wire.envelope import PING
from wsadapter.wire.joined import MAX_JOINED_SIZE, Joined
from wsadapter.wire.lanes import Priority
from wsadapter.wire.orders import Message, Push, frame_of, send_event
from wsadapter.wire.outbox import Outbox, Outcome, Overflow
from wsadapter.wire.payload import Frame, size_of
from wsadapter.wire.views import DEFAULT

logger = logging.getLogger("wsadapter.connection")

#: `message_dropped` is sent no more often than this for one connection.
DROPS_TOLD_SECONDS = 1.0

#: What a frame that waits costs beside its payload: its event, its place in the queue.
ITEM_BYTES = 350

#: Seconds from our close frame to the server's word that the connection is over.
CLOSE_SECONDS = 5.0

#: The same where the client sends too much, and is not listened to meanwhile.
FLOOD_SECONDS = 1.0

#: How long the close frame may take where it leaves only now that nobody listens any more.
UNHEARD_SECONDS = 1.0

#: A task that sends gives way to others after so many bytes, what each frame costs included.
TURN_BYTES = 16 * 1024

#: How often a transport without back-pressure is asked whether it has room again.
HELD_POLL_SECONDS = 0.05


class State(StrEnum):
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
    outbox: Outbox[Outgoing] | None = field(default=None, repr=False, compare=False)

    @property
    def queued_bytes(self) -> int:
        """What waits to be sent, in bytes."""
        return self.outbox.queued_bytes if self.outbox is not None else 0


@dataclass(slots=True, eq=False)
class Outgoing:
    """An ASGI event on its way out, and who waits for the transport to take it."""

    event: Message
    size: int
    #: Whether the transport has taken it, or the end has come before.
    taken: asyncio.Future[bool] | None = None


def ignored(what: object) -> None:
    """Nobody wants to have it."""


_NO_OUTBOX: Outbox[Outgoing] = Outbox(0, on_drop=ignored)


class Outlet:
    """Everything for one client goes one way out.

    While nothing waits, a frame leaves at once; else it waits in the outbox, behind what came
    before it. Until the connection is accepted it only collects.

    Args:
        scope: the ASGI connection scope.
        send: the ASGI server's send.
        max_outbox_size: bytes that may wait.
        overflow: what happens to a push beyond that.
        item_bytes: what each frame that waits counts for, beside its payload.
        prepares_frames: write pushes as ready frames where the server takes them.
        joins_frames: and those of one turn of the event loop in one piece.
        batch: collect messages into frames of many, see `wsadapter.Batch`.
        on_closing: called once this side has begun to close, or sending has failed, with the
            seconds that the other side has to agree.
    """

    # A process has thousands of them.
    __slots__ = (
        "_at_once_bytes",
        "_batching",
        "_close_at_accept",
        "_closing_seconds",
        "_cork",
        "_corked",
        "_frames",
        "_held_bytes",
        "_max_held_bytes",
        "_measure_at",
        "_on_closing",
        "_outbox",
        "_send",
        "_stepped",
        "_telling",
        "_untold_drops",
        "_writable",
        "_writer",
        "client_id",
        "close_code",
        "close_reason",
        "closed_by",
        "scope",
        "state",
        "stats",
        "subprotocol",
        "user_id",
        "view",
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
        batch: Batch | None = None,
        on_closing: Callable[[float], None],
    ) -> None:
        self.scope = scope
        self.state = State.CONNECTING
        self.client_id = ""
        self.user_id: str | None = None
        self.subprotocol: str | None = None
        self.close_code: int | None = None
        self.close_reason = ""
        self.closed_by = ClosedBy.NETWORK
        #: In which view pushes reach it.
        self.view = DEFAULT
        self._outbox: Outbox[Outgoing] = Outbox(
            max_outbox_size, overflow, item_bytes=item_bytes, on_drop=self._dropped
        )
        self.stats = Stats(last_seen=time.monotonic(), outbox=self._outbox)
        self._send = servers.unwrap(send)
        self._stepped = servers.can_be_stepped(self._send)
        self._writable = servers.writable(self._send)
        self._held_bytes = servers.held_bytes(self._send)
        self._max_held_bytes = max_outbox_size
        # In bytes sent: never, where ``send`` itself waits for the transport.
        self._measure_at = math.inf if self._held_bytes is None else 0
        self._frames = (
            servers.frame_writer(scope, self._send, max_outbox_size)
            if prepares_frames and batch is None
            else None
        )
        self._batching = None if batch is None else Batching(batch, self._send_batch)
        # Nobody holds a cork of its own, so that nothing is joined.
        self._cork = current_cork() if joins_frames else Cork(asyncio.get_running_loop())
        # What was pushed in this turn of the loop and leaves at its end, past the outbox.
        self._corked: Joined | None = None
        self._writer: asyncio.Task[None] | None = None
        self._on_closing = on_closing
        self._closing_seconds = CLOSE_SECONDS
        # What was sent since the last time that a sender gave way.
        self._at_once_bytes = 0
        self._untold_drops = 0
        self._telling: asyncio.TimerHandle | None = None
        # A kick may come between the joining of the groups and the handshake's end.
        self._close_at_accept: tuple[int, str] | None = None

    def _ends(self) -> None:
        """It has begun to close, or is over."""

    # What is pushed to many

    def deliver(self, push: Push) -> None:
        """Send a push to this client; never waits, and what is not for it is ignored."""
        if push.selective:
            if not push.concerns(self.client_id, self.user_id):
                return
            push = push.in_view(self.view)
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
        if self._collects(push.frame, push.priority):
            return
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

    # What is for this client alone

    def post(self, frame: Frame, priority: Priority = Priority.NORMAL) -> None:
        """Send a frame without waiting for the transport."""
        if not self._collects(frame, priority):
            self._put(Outgoing(send_event(frame), size_of(frame)), priority)

    def ping(self) -> None:
        """Ask for a sign of life.

        Daphne does not say that the peer has left while something waits that it has not read.
        """
        if self.state is State.OPEN and servers.is_closing(self._send):
            self._failed(ConnectionResetError("the peer has left"))
        else:
            self.post(PING, Priority.URGENT)

    async def send_event(
        self,
        event: Message,
        priority: Priority = Priority.NORMAL,
        timeout: float | None = None,
    ) -> bool:
        """Send a ``websocket.send`` event.

        Returns:
            Whether the transport has taken it, or will once the connection is accepted: False
            says that the end came first.

        Raises:
            WriteTimeout: it did not leave in time.
        """
        size = size_of(frame_of(event))
        taken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        outgoing = Outgoing(event, size, taken)
        if self._enter(outgoing, priority) and not self._is_held_up():
            await self._give_way(size)
            return True  # with others, in a moment
        if taken.done():
            await self._give_way(size)
            return taken.result()
        return await self._wait_until_taken(outgoing, taken, priority, timeout)

    def _enter(self, outgoing: Outgoing, priority: Priority) -> bool:
        """Queue what its sender waits for. Returns whether it waits for others to leave with."""
        self.uncork()
        if self.state is State.CONNECTING:  # it is collected, and bounded as a push is
            self.post(frame_of(outgoing.event), priority)
            _release(outgoing.taken, sent=True)
        elif self._collects(frame_of(outgoing.event), priority, outgoing.taken):
            return True
        elif self._takes_at_once() and self._outbox.is_empty:
            self._leave(outgoing.event, outgoing.size, outgoing.taken)
        elif self.state is State.OPEN:
            self._outbox.put_awaited(outgoing, outgoing.size, priority)
            self._flush()
        else:
            _release(outgoing.taken)
        return False

    def _is_held_up(self) -> bool:
        """Whether the transport does not take what waits."""
        return self._writer is not None or not self._outbox.is_empty

    # What leaves together

    def _collects(self, frame: Frame, priority: Priority, taken: Taken | None = None) -> bool:
        """Whether a frame waits for others to leave with."""
        return (
            self._batching is not None
            and self.state in (State.CONNECTING, State.OPEN)
            and self._batching.collect(frame, priority, taken, apart=self._is_half_full())
        )

    def _is_half_full(self) -> bool:
        return self._outbox.queued_bytes * 2 > self._outbox.max_bytes

    def _send_batch(self, frame: str, priority: Priority, waiting: list[Taken]) -> None:
        outgoing = Outgoing(send_event(frame), size_of(frame))
        if waiting:
            outgoing.taken = asyncio.get_running_loop().create_future()
            outgoing.taken.add_done_callback(lambda taken: _release_all(waiting, taken.result()))
        if waiting and self.state is State.OPEN:
            self._outbox.put_awaited(outgoing, outgoing.size, priority)
            self._flush()
        else:
            self._put(outgoing, priority)

    async def _give_way(self, size: int) -> None:
        """Let others have their turn: a loop that sends what is taken at once never waits."""
        self._at_once_bytes += size + ITEM_BYTES
        if self._at_once_bytes > TURN_BYTES:
            self._at_once_bytes = 0
            await asyncio.sleep(0)

    async def _wait_until_taken(
        self,
        outgoing: Outgoing,
        taken: asyncio.Future[bool],
        priority: Priority,
        timeout: float | None,
    ) -> bool:
        try:
            async with asyncio.timeout(timeout):
                return await taken
        except TimeoutError as error:
            if taken.done() and not taken.cancelled():
                return taken.result()  # it left in the very same turn
            raise self._write_timeout(outgoing, priority, timeout) from error
        except asyncio.CancelledError:
            self._outbox.withdraw(outgoing, priority)
            raise

    def _write_timeout(
        self, outgoing: Outgoing, priority: Priority, timeout: float | None
    ) -> WriteTimeout:
        withdrawn = self._outbox.withdraw(outgoing, priority)
        what = "it was taken back" if withdrawn else "it is on its way, and may still be sent"
        return WriteTimeout(
            f"Client {self.client_id} did not read a frame of {outgoing.size} bytes within "
            f"{timeout:g} s; {what}.",
            withdrawn=withdrawn,
        )

    # Its beginning and its end

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
        if frame_log.on:
            frame_log.sent(self.client_id, event)
        if self.state is State.CONNECTING:
            self.state = State.OPEN
            self._flush()
            if self._close_at_accept is not None:
                self.close_soon(*self._close_at_accept)

    async def refuse(self, code: int, reason: str) -> None:
        """Accept, then close: a refused handshake would show a browser no reason."""
        if self.state is State.CONNECTING:
            self._drop_outbox()
            # A browser that offered some fails without one in the answer, and sees no code.
            offered = self.scope.get("subprotocols") or [None]
            await self.accept({"type": "websocket.accept", "subprotocol": offered[0]})
        self.close_soon(code, reason)

    async def deny(self) -> None:
        """Refuse the handshake with HTTP status 403."""
        self.closed_by = ClosedBy.SERVER
        self._finish()
        with contextlib.suppress(OSError):  # the browser left meanwhile
            await self._send({"type": "websocket.close"})
        self._on_closing(CLOSE_SECONDS)

    def close_soon(
        self,
        code: int = CloseCode.NORMAL,
        reason: str = "",
        *,
        drain: bool = False,
        timeout: float = CLOSE_SECONDS,
    ) -> None:
        """Send the close frame, and nothing after it.

        Args:
            code: the close code.
            reason: up to 123 bytes of it reach the client.
            drain: whether what waits leaves before; else the close frame goes ahead of it.
            timeout: seconds that the closing may take, before the connection is cut.
        """
        if self.state is State.CONNECTING:
            self._close_at_accept = int(code), reason
        self.uncork()
        if drain and self._batching is not None:
            self._batching.flush_all()  # which may be the end of a client that is too slow
        if self.state is not State.OPEN:
            return
        self.close_code, self.close_reason = int(code), reason
        self.closed_by = ClosedBy.SERVER
        event: Message = {"type": "websocket.close", "code": int(code)}
        if reason:
            event["reason"] = _at_most(reason, MAX_REASON_BYTES)
        if not drain:
            self._drop_outbox()
        # In the last lane, it is the last of all: nothing is added any more.
        self._outbox.put_control(Outgoing(event, 0), 0, Priority.LOW)
        self.state = State.CLOSING
        self._closing_seconds = timeout
        servers.limit_closing(self._send, timeout)
        self._ends()
        self._flush()
        self._on_closing(timeout)

    def end(self, code: int, reason: str = "", by: ClosedBy = ClosedBy.NETWORK) -> None:
        """Note that the connection is over. The first reason for it stands."""
        if self.close_code is None:
            self.close_code, self.close_reason, self.closed_by = code, reason, by
        self._finish()

    def _finish(self) -> None:
        """Send nothing any more."""
        self.state = State.CLOSED
        self._corked = None
        self._drop_outbox()
        self._ends()
        if self._telling is not None:
            self._telling.cancel()
            self._tell_drops()

    def _drop_outbox(self) -> None:
        for outgoing in self._outbox.clear():
            _release(outgoing.taken)
        if self._batching is not None:
            _release_all(self._batching.drop_all(), sent=False)

    def let_go(self) -> None:
        """Forget whoever used it, so that an ended connection needs no garbage collector."""
        self._on_closing = ignored
        self._batching = None
        self._outbox = self.stats.outbox = _NO_OUTBOX

    def close_on_flood(self, code: int, reason: str) -> None:
        """Close, and listen no more: whoever sends too much would go on."""
        self.close_soon(code, reason, timeout=FLOOD_SECONDS)
        servers.hear_no_more(self._send)

    async def stop_writing(self, *, cut: bool) -> None:
        """End the writer task; with ``cut``, drop what the transport still holds."""
        if cut:
            servers.cut(self._send)
        else:
            servers.cut_unread(self._send, self._closing_seconds)
        if (writer := self._writer) is not None:
            if servers.closes_once_unheard(self._send):
                await asyncio.wait([writer], timeout=UNHEARD_SECONDS)
            await end_task(writer)

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
        while self._stepped and not self._holds_too_much():
            outgoing = self._outbox.pop()
            if outgoing is None or not self._leave(outgoing.event, outgoing.size, outgoing.taken):
                return
            if self._peer_has_left():
                self._failed(ConnectionResetError("the peer has left"))
                return
        if len(self._outbox):
            self._writer = asyncio.get_running_loop().create_task(self._write(None))

    def _leave(self, event: Message, size: int, taken: asyncio.Future[bool] | None = None) -> bool:
        """Step the server's ``send`` by hand. Returns whether it took the event at once."""
        sending: Any = self._hand_over(event, size)
        try:
            waits_for = sending.send(None)
        except StopIteration:
            self._took(event, size)
            _release(taken, sent=True)
            return True
        except Exception as error:
            _release(taken)
            self._failed(error)
        else:
            suspended = Outgoing(event, size, taken), Resumed(sending, waits_for)
            self._writer = asyncio.get_running_loop().create_task(self._write(suspended))
        return False

    def _hand_over(self, event: Message, size: int) -> Awaitable[None]:
        if 0 < size <= servers.PLAIN_BYTES:
            return self._send(event)
        if event["type"] == "websocket.close" and servers.closes_once_unheard(self._send):
            self._on_closing(0)
        return servers.send_whole(self._send, event)  # a close frame has no size

    def _peer_has_left(self) -> bool:
        """Whether more waits for a transport that only pretends to take it."""
        return bool(self._outbox.queued_bytes) and servers.is_closing(self._send)

    def _holds_too_much(self) -> bool:
        """Whether the transport takes no more for now.

        One that takes everything is measured, only once so much has been sent that it could.
        """
        if self._writable is not None:
            return not self._writable.is_set()
        if self.stats.bytes_out < self._measure_at:
            return False
        assert self._held_bytes is not None
        room = self._max_held_bytes - self._held_bytes()
        # A quarter of it: the frames of tiny messages are larger than what they carry.
        self._measure_at = self.stats.bytes_out + room // 4
        return room < 0

    async def _until_taken(self) -> None:
        """Wait for the transport, so that what waits here can still be taken back or overtaken."""
        if self._writable is not None:
            await self._writable.wait()
        while self._held_bytes is not None and self._held_bytes() > self._max_held_bytes:
            if servers.is_closing(self._send):
                raise ConnectionResetError("the peer has left")
            await asyncio.sleep(HELD_POLL_SECONDS)

    async def _write(self, suspended: tuple[Outgoing, Awaitable[None]] | None) -> None:
        outgoing: Outgoing | None = None
        try:
            if suspended is not None:
                outgoing, rest = suspended
                await rest
                self._took(outgoing.event, outgoing.size)
                _release(outgoing.taken, sent=True)
            await self._until_taken()
            while (outgoing := self._outbox.pop()) is not None:
                await self._hand_over(outgoing.event, outgoing.size)
                self._took(outgoing.event, outgoing.size)
                _release(outgoing.taken, sent=True)
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

    def _took(self, event: Message, size: int) -> None:
        if frame_log.on:
            frame_log.sent(self.client_id, event)
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
        self._on_closing(CLOSE_SECONDS)
        delivery_failed.send_robust(type(self), client_id=self.client_id, error=error)

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
        reason = self._outbox.overflow.value
        message_dropped.send_robust(
            type(self), client_id=self.client_id, count=count, reason=reason
        )


def _release(taken: asyncio.Future[bool] | None, *, sent: bool = False) -> None:
    """Let the sender go on, and tell whether the frame has left."""
    if taken is not None and not taken.done():
        taken.set_result(sent)


def _release_all(waiting: list[Taken], sent: bool) -> None:
    for taken in waiting:
        _release(taken, sent=sent)


def _at_most(text: str, max_bytes: int) -> str:
    return text.encode("utf-8", "replace")[:max_bytes].decode("utf-8", "ignore")
