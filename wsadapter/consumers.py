"""`AdapterConsumer`: the ASGI shell around a `Connection`, in the shape of a Channels consumer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, ClassVar

from channels import DEFAULT_CHANNEL_LAYER, db
from channels.consumer import get_handler_name
from channels.exceptions import AcceptConnection, DenyConnection, StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from django.dispatch import Signal

from wsadapter import auth, broadcasting, servers
from wsadapter.auth import ORIGIN_CHECKED, Refusal
from wsadapter.close_codes import NORMAL_CODES, CloseCode
from wsadapter.conf import settings
from wsadapter.connection import Connection, State
from wsadapter.errors import InvalidMessage, StoreUnavailable
from wsadapter.groups import EVERYONE, client_group, layer_name, user_group
from wsadapter.handlers import Handler, collect
from wsadapter.inbox import Inbox
from wsadapter.layers import client_ids
from wsadapter.membership import Membership, membership_of
from wsadapter.node import Node, current_node
from wsadapter.signals import client_connected, client_disconnected
from wsadapter.store.operations import JoinOutcome
from wsadapter.turns import turns
from wsadapter.wire import envelope
from wsadapter.wire.envelope import ErrorCode
from wsadapter.wire.heartbeat import Action, Heartbeat, HeartbeatMode
from wsadapter.wire.limits import exceeds
from wsadapter.wire.orders import Message
from wsadapter.wire.outbox import Overflow, Priority

logger = logging.getLogger("wsadapter.connection")
handler_logger = logging.getLogger("wsadapter.handlers")

Receive = Callable[[], Awaitable[Message]]

#: Seconds that clean-up may take for each of its parts: handlers, layer and store, disconnect().
CLEANUP_SECONDS = 2.0
#: Seconds from our close frame to the server's word that the connection is over.
CLOSE_SECONDS = 5.0
#: Seconds that all connections together may take when the server stops.
SHUTDOWN_SECONDS = 8.0


class AdapterConsumer(AsyncWebsocketConsumer):
    """A WebSocket consumer that is registered, counted, kept alive and cleaned up after.

    A drop-in base class for an existing ``AsyncWebsocketConsumer``: ``connect``, ``receive``,
    ``disconnect``, ``accept``, ``send``, ``close``, ``groups`` and ``group_send`` to named
    methods work as in Channels. What differs: pushes never wait for handlers, a handler that
    raises fails alone, and ``disconnect`` is called exactly once, however the connection ended.

    Class attributes that are None take their value from the settings.
    """

    #: Seconds of silence before a ping (`HEARTBEAT_INTERVAL`).
    heartbeat_interval: float | None = None
    #: Seconds to wait for an answer to it (`HEARTBEAT_TIMEOUT`).
    heartbeat_timeout: float | None = None
    #: Whom a missing pong kills: "auto", "always" or "never" (`HEARTBEAT`).
    heartbeat_mode: str | None = None
    #: Whether visitors without a user may connect (`ALLOW_ANONYMOUS`).
    allow_anonymous: bool | None = None
    #: Bytes; a larger message ends the connection (`MAX_MESSAGE_SIZE`).
    max_message_size: int | None = None
    #: Bytes that may wait to be sent (`MAX_OUTBOX_SIZE`).
    max_outbox_size: int | None = None
    #: What happens to a push that does not fit.
    overflow: Overflow = Overflow.CLOSE
    #: Whether ``{"type": "ws:welcome", "client": id}`` is the first message.
    welcome: bool = True

    handlers: ClassVar[dict[str, Handler]] = {}

    connection: Connection

    @classmethod
    def as_asgi(cls, **initkwargs: Any) -> Any:
        """The ASGI application for ``routing.py``.

        Raises:
            HandlerError: a ``@handler`` of the class cannot work as it is declared.
        """
        cls.handlers = collect(cls)
        return super().as_asgi(**initkwargs)

    # The life of a connection

    async def __call__(self, scope: Any, receive: Receive, send: servers.Send) -> None:
        if scope["type"] != "websocket":
            raise ValueError(
                f"{type(self).__name__} serves WebSocket connections, not {scope['type']!r}. "
                'Mount it under "websocket" in the ProtocolTypeRouter.'
            )
        self._prepare(scope, send)
        servers.before_daphne_stops(_end_connections)
        task = asyncio.current_task()
        assert task is not None
        _serving.add(task)
        try:
            # The deadline is set once this side closes: see _closing.
            async with asyncio.timeout(None) as self._deadline:
                await self._serve(receive)
        except TimeoutError:
            if not self._deadline.expired():
                raise
        finally:
            _serving.discard(task)
            # A task of its own: a second cancellation does not interrupt it.
            await asyncio.shield(_kept(self._clean_up()))

    def _prepare(self, scope: Any, send: servers.Send) -> None:
        if "handlers" not in type(self).__dict__:
            type(self).handlers = collect(type(self))
        self.scope = scope
        self.channel_layer = get_channel_layer(self._layer_alias())
        self.connection = Connection(
            scope,
            send,
            max_outbox_size=self.max_outbox_size or settings.max_outbox_size,
            overflow=self.overflow,
            prepares_frames=settings.prepared_frames,
            joins_frames=settings.join_frames,
            on_closing=self._closing,
            on_event=self._take_event,
            on_gap=self._take_gap,
        )
        self._inbox = Inbox()
        self._membership: Membership | None = None
        self._node: Node | None = None
        self._worker: asyncio.Task[None] | None = None
        self._beating: asyncio.Task[None] | None = None
        self._connect_called = False
        self._registered = False
        # Being counted in and counted out never overlap, whenever the browser leaves.
        self._counting = asyncio.Lock()
        self._max_message_size = self.max_message_size or settings.max_message_size
        self._heartbeat = Heartbeat(
            self.heartbeat_interval or settings.heartbeat_interval,
            self.heartbeat_timeout or settings.heartbeat_timeout,
            HeartbeatMode(self.heartbeat_mode) if self.heartbeat_mode else settings.heartbeat,
            now=time.monotonic(),
        )

    def _layer_alias(self) -> str:
        alias = str(self.channel_layer_alias)
        return settings.channel_layer if alias == DEFAULT_CHANNEL_LAYER else alias

    async def _serve(self, receive: Receive) -> None:
        message = await receive()
        if message["type"] != "websocket.connect":
            self.connection.end(CloseCode.ABNORMAL)
            return
        refusal = await self._admit()
        if self.connection.state is State.CLOSED:
            return
        if refusal is not None:
            await self._refuse(refusal)
        else:
            await self._inbox.put_frame(message)
            self._work_soon()
        await self._pump(receive)

    async def _pump(self, receive: Receive) -> None:
        """Read the browser's frames, always: a server that is not read from sees no pongs."""
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self._note_end(message)
                return
            if self.connection.state in (State.CLOSING, State.CLOSED):
                continue
            if not self._heard(message):
                await self._inbox.put_frame(message)
                self._work_soon()

    def _heard(self, message: Message) -> bool:
        """Note a frame. Returns whether it is dealt with: a heartbeat, or too large."""
        text = message.get("text")
        frame = text if text is not None else message.get("bytes") or b""
        stats, now = self.connection.stats, time.monotonic()
        stats.messages_in += 1
        stats.bytes_in += len(frame)
        stats.last_seen = now
        if exceeds(frame, self._max_message_size):
            self.connection.close_soon(
                CloseCode.BAD_REQUEST, f"a message may have {self._max_message_size} bytes"
            )
            return True
        kind = envelope.heartbeat(frame) if isinstance(frame, str) else None
        if kind == "ws:pong":
            self._heartbeat.ponged(now)
            stats.round_trip = self._heartbeat.round_trip
            return True
        self._heartbeat.heard(now)
        if kind == "ws:ping":
            self.connection.post(envelope.PONG, Priority.URGENT)
        return kind is not None

    def _note_end(self, message: Message) -> None:
        code, reason = message.get("code", CloseCode.NO_STATUS), message.get("reason")
        cut = code == CloseCode.NO_STATUS and reason is None and servers.tells_reasons(self.scope)
        self.connection.end(CloseCode.ABNORMAL if cut else code, reason or "")

    def _closing(self) -> None:
        """The connection is on its way out: give the server a moment to say that it is over."""
        with contextlib.suppress(RuntimeError):  # already expired, or not begun
            self._deadline.reschedule(asyncio.get_running_loop().time() + CLOSE_SECONDS)

    # Who may connect

    async def authenticate(self) -> Any:
        """Who is connecting: a user instance, a primary key, or None for an anonymous visitor.

        Override it for tokens. The default is `USER_ID_FROM` where it is set, else the user of
        the Django session. Raise ``DenyConnection`` to refuse the handshake.
        """
        if settings.user_id_from is not None:
            return auth.from_request(self.scope, settings.user_id_from) or None
        return self.scope.get("user")

    async def _admit(self) -> Refusal | None:
        """Find out who is connecting, and whether they may stay.

        A foreign origin, and whoever `authenticate` denies, has been refused on return.
        """
        foreign = None if ORIGIN_CHECKED in self.scope else auth.origin_refusal(self.scope)
        if foreign is not None:
            await self._deny(foreign)
            return None
        try:
            await self._identify()
            refusal = self._identity_refusal()
            if refusal is None:
                await self._open_membership()
        except DenyConnection:
            await self._deny(f"{type(self).__name__}.authenticate() refused it")
            return None
        except StoreUnavailable as error:
            return _unavailable(error)
        except Exception:
            handler_logger.exception("%s failed to identify a client.", type(self).__name__)
            return Refusal(CloseCode.SERVER_ERROR, "internal error")
        return refusal

    async def _refuse(self, refusal: Refusal) -> None:
        """Accept, then close with the code; the log has the cause where it is another one."""
        auth.log_refusal(self.scope, refusal.cause or refusal.reason, code=refusal.code)
        await self.connection.refuse(refusal.code, refusal.reason)

    async def _deny(self, reason: str) -> None:
        """Refuse the handshake with HTTP status 403."""
        auth.log_refusal(self.scope, reason)
        await self.connection.deny()

    async def _identify(self) -> None:
        user = await self.authenticate()
        self.user = self.connection.user = user
        self.connection.user_id = auth.identify(user)
        if self.connection.user_id is not None:
            self.connection.sessions = auth.session_digests(self.scope.get("session"))

    async def _open_membership(self) -> None:
        if self.channel_layer is None:
            raise LookupError(
                f"CHANNEL_LAYERS has no {self._layer_alias()!r}; the system checks say more."
            )
        self._membership = membership_of(self.channel_layer)
        await self._membership.open(self.connection)
        self.channel_name = self._membership.channel
        self.connection.chose_id = self._chosen_id is not None
        self.connection.client_id = self._chosen_id or (
            self._membership.client_id or client_ids.new()
        )

    @property
    def _chosen_id(self) -> str | None:
        return auth.from_request(self.scope, settings.client_id_from)

    def _identity_refusal(self) -> Refusal | None:
        allowed = settings.allow_anonymous if self.allow_anonymous is None else self.allow_anonymous
        if self.connection.user_id is None and not allowed:
            return Refusal(CloseCode.UNAUTHENTICATED, "log in first")
        chosen = self._chosen_id
        return None if chosen is None else auth.client_id_refusal(chosen)

    # What user code calls

    async def accept(
        self, subprotocol: str | None = None, headers: Iterable[tuple[bytes, bytes]] | None = None
    ) -> None:
        """Register the connection, then accept it: groups joined, counted, heartbeat running.

        Where Redis does not answer in time, the connection is accepted and closed with 3004,
        and the consumer ends.
        """
        if self.connection.state is State.CLOSED:
            return  # the browser left while connect() was busy
        refusal = await self._register()
        if refusal is not None:
            await self._refuse(refusal)
            raise StopConsumer
        message: Message = {"type": "websocket.accept", "subprotocol": subprotocol}
        if headers:
            message["headers"] = list(headers)
        if self.welcome:
            # Collected until the handshake is done, and ahead of everything else.
            self.connection.post(envelope.welcome(self.connection.client_id), Priority.URGENT)
        await self.connection.accept(message)
        if self.connection.state is State.OPEN:
            self._beating = asyncio.get_running_loop().create_task(self._beat())

    async def join(self, group: str) -> None:
        """Join a group; returns when what is sent to it from now on arrives.

        Args:
            group: any text.

        Raises:
            StoreUnavailable: Redis did not answer in time.
        """
        if self.connection.state is State.CLOSED:
            return  # nothing arrives any more
        async with turns().turn(settings.redis_timeout):
            await self._joined().join([layer_name(group)])

    async def leave(self, group: str) -> None:
        """Leave a group; leaving one that was not joined does nothing."""
        async with turns().turn(settings.redis_timeout):
            await self._joined().leave(layer_name(group))

    async def on_gap(self) -> None:
        """Called when messages may have been missed: Redis was away and is back.

        Tells the browser by ``{"type": "ws:gap"}``; override it to send what is current.
        """
        self.connection.post(envelope.GAP)

    async def close(self, code: int | bool | None = None, reason: str | None = None) -> None:
        """Close the connection; before it is accepted, refuse it with HTTP status 403."""
        if self.connection.state is State.CONNECTING:
            await self._deny(f"{type(self).__name__}.connect() refused it")
            return
        given = CloseCode.NORMAL if code is None or code is True else int(code)
        await self.connection.close(given, reason or "")

    async def base_send(self, event: Message) -> None:
        """Where ``send`` of Channels ends up: the connection's one way out."""
        await self.connection.send_event(event)

    def _joined(self) -> Membership:
        if self._membership is None:
            raise RuntimeError("join() and leave() work from connect() on.")
        return self._membership

    # Registering

    async def _register(self) -> Refusal | None:
        groups = [EVERYONE, *(layer_name(group) for group in self.groups)]
        if self.connection.user_id is not None:
            groups.append(user_group(self.connection.user_id))
        if self._joined().client_id != self.connection.client_id:
            groups.append(client_group(self.connection.client_id))
        try:
            async with turns().turn(settings.redis_timeout):
                await self._joined().join(groups)
            return await self._count()
        except StoreUnavailable as error:
            return _unavailable(error)

    async def _count(self) -> Refusal | None:
        async with self._counting:
            return None if self.connection.state is State.CLOSED else await self._count_in()

    async def _count_in(self) -> Refusal | None:
        node = self._node = current_node()
        result = await node.join(self.connection)
        if result.outcome is JoinOutcome.TAKEN:
            self._node = None
            return Refusal(CloseCode.BAD_REQUEST, "this client id belongs to somebody else")
        self._registered = True
        if result.replaced is not None:
            await broadcasting.replace_client(self.connection.client_id, result.replaced.serial)
        await _emit(client_connected, client=self.connection.info(node.lease))
        return None

    # User code: one message after another, in a task that exists only while there is work

    def _take_event(self, message: Message) -> None:
        """A message of plain Channels code, from whatever process."""
        if get_handler_name(message) not in _OWN_NAMES:
            self._queue(message)
            return
        # connect(), close(), websocket_receive() ... are not for other processes to call.
        logger.error(
            "The layer message %r is ignored: its type names a method of AdapterConsumer. "
            "Choose another type.",
            message["type"],
        )

    def _take_gap(self) -> None:
        self._queue({"type": "wsadapter.gap"})

    def _queue(self, message: Message) -> None:
        if self.connection.state is State.CLOSED:
            return
        if self._inbox.put_event(message):
            self._work_soon()
        elif self._inbox.dropped == 1:
            logger.warning(
                "Client %s: its handlers do not keep up; messages of the channel layer are "
                "dropped.",
                self.connection.client_id,
            )

    async def wsadapter_gap(self, message: Message) -> None:
        """The layer was away and is back: see `on_gap`."""
        await self.on_gap()

    def _work_soon(self) -> None:
        if self._worker is None and len(self._inbox):
            self._worker = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        try:
            while len(self._inbox):
                await self._attempt(self._inbox.pop())
        except StopConsumer:
            await self.connection.close()
        finally:
            self._worker = None

    async def _attempt(self, message: Message) -> None:
        try:
            await self.dispatch(message)
        except StopConsumer:
            raise
        except asyncio.CancelledError as error:
            if _is_being_cancelled():
                raise
            await self._fail(message, error)
        except Exception as error:
            await self._fail(message, error)

    async def _fail(self, message: Message, error: BaseException) -> None:
        """One message fails; the connection and the messages after it do not."""
        self.connection.stats.errors += 1
        handler_logger.error(
            "%s failed on %s of client %s.",
            type(self).__name__,
            _describe(message),
            self.connection.client_id,
            exc_info=error,
        )
        await self._apologise(message)

    async def _apologise(self, message: Message) -> None:
        """Tell the browser that its message failed, and nothing of why."""
        if message["type"] == "websocket.connect":
            await self.connection.refuse(CloseCode.SERVER_ERROR, "internal error")
        elif message["type"] == "websocket.receive":
            self._answer_failure(
                InvalidMessage(
                    ErrorCode.INTERNAL_ERROR,
                    "The server failed to handle this message.",
                    id=_id_of(message),
                )
            )

    async def dispatch(self, message: Message) -> None:
        """Call the method for a message: Channels' naming, after its care for databases."""
        await db.aclose_old_connections()
        if message["type"].startswith("websocket."):
            await getattr(self, get_handler_name(message))(message)
            return
        method = getattr(self, get_handler_name(message), None)
        if method is None:
            raise ValueError(
                f"No method {get_handler_name(message)}() for the message {message['type']!r}."
            )
        await method(message)

    async def websocket_connect(self, message: Message) -> None:
        self._connect_called = True
        try:
            await self.connect()
        except AcceptConnection:
            await self.accept()
        except DenyConnection:
            await self.close()

    async def websocket_receive(self, message: Message) -> None:
        text = message.get("text")
        if text is not None and self.handlers:
            await self._receive_typed(text)
        elif self._overrides_receive():
            await super().websocket_receive(message)
        else:
            self._answer_failure(
                InvalidMessage(ErrorCode.UNSUPPORTED, "Such messages are not taken here.")
            )

    async def _receive_typed(self, text: str) -> None:
        try:
            request = envelope.decode(text)
        except InvalidMessage as error:
            if self._overrides_receive():
                await self.receive(text_data=text)
            else:
                self._answer_failure(error)
            return
        try:
            await self._call_handler(request)
        except InvalidMessage as error:
            self._answer_failure(error)

    async def _call_handler(self, request: envelope.Envelope) -> None:
        handler = self.handlers.get(request.type)
        if handler is None:
            raise InvalidMessage(
                ErrorCode.UNKNOWN_TYPE,
                f"There is no message type {request.type[:100]!r} here.",
                path="$.type",
                id=request.id,
            )
        result = await handler(self, request)
        if request.id is not None or result is not None:
            await self.connection.send(envelope.reply(request.id, result))

    def _overrides_receive(self) -> bool:
        return type(self).receive is not AsyncWebsocketConsumer.receive

    def _answer_failure(self, error: InvalidMessage) -> None:
        self.connection.post(envelope.failure(error))

    # The heartbeat

    async def _beat(self) -> None:
        heartbeat = self._heartbeat
        while True:
            now = time.monotonic()
            verdict = heartbeat.beat(now)
            if verdict.action is Action.DEAD and self._inbox.full:
                # Busy, not dead: its frames wait for the handlers. It is pinged on, since
                # sending is what shows a server that a client has left unread.
                heartbeat.heard(now)
                verdict = heartbeat.beat(now)
            if verdict.action is Action.PING:
                self.connection.post(envelope.PING, Priority.URGENT)
            elif verdict.action is Action.DEAD:
                self.connection.close_soon(CloseCode.NO_PONG, "no pong")
                return
            if now >= self._joined().renew_at:
                await self._renew_membership()
            # A pong may come at once: then the next ping is due an interval from now.
            await asyncio.sleep(min(verdict.ask_at - now, heartbeat.interval))

    async def _renew_membership(self) -> None:
        try:
            async with turns().turn(settings.redis_timeout):
                await self._joined().renew()
        except StoreUnavailable:
            logger.debug("Client %s: its groups are renewed later.", self.connection.client_id)

    # Clean-up, exactly once, whatever ended the connection

    async def _clean_up(self) -> None:
        self.connection.end(CloseCode.ABNORMAL)
        if self._beating is not None:
            self._beating.cancel()
        await self.connection.stop_writing(cut=self._deadline.expired())
        await asyncio.gather(self._count_out(), self._finish_handlers())
        if self._membership is not None:
            # After the handlers: one of them may still join a group.
            await self._guarded(self._membership.close(), "leaving the channel layer")
        if self._connect_called and self._overrides_disconnect():
            await self._guarded(self._call_disconnect(), "disconnect()")
        await self._report_end()
        self._beating = None
        self.connection.let_go()

    async def _count_out(self) -> None:
        """Leave the store; what fails here, leases make good."""
        async with self._counting:
            if self._node is not None:
                await self._guarded(self._node.leave(self.connection), "leaving the store")

    async def _finish_handlers(self) -> None:
        """What the browser sent before it left is still handled, within bounds."""
        worker = self._worker
        if worker is None or (await asyncio.wait([worker], timeout=CLEANUP_SECONDS))[0]:
            return
        handler_logger.warning(
            "A handler of client %s did not end within %g s of its connection and is cancelled.",
            self.connection.client_id,
            CLEANUP_SECONDS,
        )
        worker.cancel()
        await asyncio.wait([worker], timeout=CLEANUP_SECONDS)

    def _overrides_disconnect(self) -> bool:
        """Whether there is user code to call, for which a thread closes old connections."""
        own = type(self)
        return (
            own.disconnect is not AsyncWebsocketConsumer.disconnect
            or own.websocket_disconnect is not AdapterConsumer.websocket_disconnect
        )

    async def _call_disconnect(self) -> None:
        connection = self.connection
        await self.websocket_disconnect(
            {
                "type": "websocket.disconnect",
                "code": connection.close_code,
                "reason": connection.close_reason,
            }
        )

    async def websocket_disconnect(self, message: Message) -> None:
        """Call ``disconnect(code)``; the groups are left by then."""
        await db.aclose_old_connections()
        try:
            async with asyncio.timeout(CLEANUP_SECONDS):
                await self.disconnect(message["code"])
        finally:
            await db.aclose_old_connections()

    async def _guarded(self, step: Awaitable[Any], what: str) -> None:
        """Whatever one step of the clean-up raises, the next one is taken."""
        try:
            await step
        except (StoreUnavailable, StopConsumer) as end:
            logger.debug("Client %s: %s: %r", self.connection.client_id, what, end)
        except TimeoutError:
            logger.warning(
                "Client %s: %s took longer than %g s and was given up.",
                self.connection.client_id,
                what,
                CLEANUP_SECONDS,
            )
        except (Exception, asyncio.CancelledError):
            if _is_being_cancelled():
                raise
            handler_logger.exception(
                "%s: %s of client %s failed.",
                type(self).__name__,
                what,
                self.connection.client_id,
            )

    async def _report_end(self) -> None:
        if not self._registered or self._node is None:
            return
        connection = self.connection
        code = connection.close_code or CloseCode.ABNORMAL
        duration = time.time() - connection.connected_at
        if code not in NORMAL_CODES:
            logger.warning(
                "The connection of client %s (user %s) ended with code %d%s after %.1f s.",
                connection.client_id,
                _printable(connection.user_id or "anonymous"),
                code,
                f" ({_printable(connection.close_reason)})" if connection.close_reason else "",
                duration,
            )
        await _emit(
            client_disconnected,
            client=connection.info(self._node.lease),
            code=code,
            reason=connection.close_reason,
            duration=duration,
        )


#: What a message of the channel layer cannot call, whether or not a subclass overrides it.
_OWN_NAMES = frozenset(dir(AdapterConsumer))


def _printable(text: str) -> str:
    """What somebody else wrote, fit for one line of a log."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _is_being_cancelled() -> bool:
    """Whether a CancelledError is for this very task, not from one that user code awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


_serving: set[asyncio.Task[Any]] = set()
_cleaning_up: set[asyncio.Task[None]] = set()


def _kept(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task that lives until it is done, whoever awaits it."""
    task = asyncio.get_running_loop().create_task(coroutine)
    _cleaning_up.add(task)
    task.add_done_callback(_cleaning_up.discard)
    return task


async def _end_connections() -> None:
    """End every connection as a server does that stops, and wait for their clean-up."""
    for task in _serving:
        if not task.cancelling():
            task.cancel()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SHUTDOWN_SECONDS):
            while tasks := _serving | _cleaning_up:
                await asyncio.wait(tasks)
                await asyncio.sleep(0)  # those that are done leave the sets


def _unavailable(error: StoreUnavailable) -> Refusal:
    return Refusal(CloseCode.SERVER_ERROR, "the server is not ready; come back", str(error))


async def _emit(signal: Signal, **values: Any) -> None:
    if signal.has_listeners(AdapterConsumer):
        await signal.asend_robust(AdapterConsumer, **values)


def _describe(message: Message) -> str:
    if message["type"] != "websocket.receive":
        return f"the message {message['type']!r}"
    text = message.get("text")
    if text is None:
        return "a binary frame"
    try:
        return f"the message {envelope.decode(text).type!r}"
    except InvalidMessage:
        return "a text frame"


def _id_of(message: Message) -> envelope.MessageId | None:
    try:
        return envelope.decode(message.get("text") or "").id
    except InvalidMessage as error:
        return error.id
