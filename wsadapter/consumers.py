"""`AdapterConsumer`: the ASGI shell around a `Connection`, in the shape of a Channels consumer."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import itertools
import logging
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from types import MappingProxyType
from typing import Any, ClassVar

from channels import DEFAULT_CHANNEL_LAYER, db
from channels.consumer import get_handler_name
from channels.exceptions import AcceptConnection, DenyConnection, StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from django.dispatch import Signal

from wsadapter import admission, auth, broadcasting, frame_log, hooks, servers, serving
from wsadapter.attributes import check_attributes
from wsadapter.auth import ORIGIN_CHECKED, Refusal
from wsadapter.close_codes import NORMAL_CODES, CloseCode, ClosedBy, check_code
from wsadapter.conf import OriginRule, compression_level, settings
from wsadapter.connection import Connection
from wsadapter.errors import Failure, InvalidMessage, StoreUnavailable
from wsadapter.failing import Meanings, failure_of, log_failed
from wsadapter.gate import Gate, Terms
from wsadapter.groups import EVERYONE, SILENT, client_group, layer_name, silent_group, user_group
from wsadapter.handlers import Handler, collect
from wsadapter.inbox import Inbox
from wsadapter.layers import client_ids
from wsadapter.membership import Membership, membership_of
from wsadapter.node import Node, current_node
from wsadapter.outlet import State
from wsadapter.retrying import retried
from wsadapter.signals import client_connected, client_disconnected
from wsadapter.store.operations import JoinOutcome
from wsadapter.turns import turns
from wsadapter.watch import Watch
from wsadapter.wire import envelope, views
from wsadapter.wire.batches import Batch
from wsadapter.wire.envelope import MessageId
from wsadapter.wire.failures import ErrorCode
from wsadapter.wire.health import HealthPolicy
from wsadapter.wire.heartbeat import Heartbeat, HeartbeatMode
from wsadapter.wire.lanes import LANE_SIZE, Priority
from wsadapter.wire.limits import RateLimit
from wsadapter.wire.masking import one_line
from wsadapter.wire.orders import Message, frame_of
from wsadapter.wire.outbox import Overflow
from wsadapter.wire.priorities import SUBPROTOCOL, Priorities

logger = logging.getLogger("wsadapter.connection")
handler_logger = logging.getLogger("wsadapter.handlers")

Receive = Callable[[], Awaitable[Message]]

#: For those who observe handlers: the type of all messages that no handler declares.
UNKNOWN = "unknown"
#: Frames that are read before others have their turn.
FRAMES_PER_TURN = 64
#: Seconds that the project's code may take to end, in all; leaving the layer and the store has
#: the time limits of Redis. What still runs after half of them is cancelled and given an eighth.
#: disconnect() may use what is left then, but for an eighth that is for receivers of the signal.
CLEANUP_SECONDS = 2.0


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
    #: Messages that may wait to be handled, in each lane, before the client has to wait.
    inbox_size: int = LANE_SIZE
    #: What happens to a push that does not fit.
    overflow: Overflow = Overflow.CLOSE
    #: Whether ``{"type": "ws:welcome", "client": id}`` is the first message.
    welcome: bool = True
    #: Whether `broadcast`, `send_to_user` and `send_to_users` reach it.
    pushes: bool = True
    #: Whether the groups that it joins are told who joins and who leaves.
    announce_members: bool = False
    #: Origins that may connect, in place of `ALLOWED_ORIGINS`.
    origins: str | Collection[str] | OriginRule | None = None
    #: How many messages a client may send; one that goes on regardless is closed.
    rate_limit: RateLimit | None = None
    #: How many messages of a type; beside what `handler` says.
    rate_limits: Mapping[str, RateLimit] = MappingProxyType({})
    #: The lanes of the types that it sends (`PRIORITIES`).
    priorities: Priorities | None = None
    #: The views of a message that clients may choose from.
    views: Sequence[str] = ()
    #: When messages that are collected leave as one frame.
    batch: Batch | None = None
    #: What the project's own exceptions mean to a client.
    errors: Meanings = MappingProxyType({})
    #: What a connection may do and still count as well.
    health: HealthPolicy | None = None
    #: permessage-deflate: False, True, or zlib's level from 1 (fast) to 9 (small) (`COMPRESSION`).
    compression: bool | int | None = None

    handlers: ClassVar[dict[str, Handler]] = {}
    #: The lanes of the types that it handles.
    incoming_priorities: ClassVar[Priorities] = {}
    #: `rate_limits`, and what its handlers say.
    incoming_limits: ClassVar[Mapping[str, RateLimit]] = {}

    connection: Connection

    @classmethod
    def as_asgi(cls, **initkwargs: Any) -> Any:
        """The ASGI application for ``routing.py``.

        Raises:
            HandlerError: a ``@handler`` of the class cannot work as it is declared.
            ImproperlyConfigured: a class attribute has a value that cannot work.
        """
        check_attributes(cls)
        cls._collect_handlers()
        return super().as_asgi(**initkwargs)

    @classmethod
    def _collect_handlers(cls) -> None:
        cls.handlers = collect(cls)
        declared = {type: each.declaration for type, each in cls.handlers.items()}
        cls.incoming_priorities = {
            type: each.priority for type, each in declared.items() if each.priority is not None
        }
        limits = {type: each.rate_limit for type, each in declared.items() if each.rate_limit}
        cls.incoming_limits = {**cls.rate_limits, **limits}

    # The life of a connection

    async def __call__(self, scope: Any, receive: Receive, send: servers.Send) -> None:
        if scope["type"] != "websocket":
            raise ValueError(
                f"{type(self).__name__} serves WebSocket connections, not {scope['type']!r}. "
                'Mount it under "websocket" in the ProtocolTypeRouter.'
            )
        self._prepare(scope, send)
        if hooks.connection_begins:
            hooks.connection_begins(self.connection)
        servers.before_daphne_stops(serving.end_all)
        try:
            # The deadline is set once this side closes: see _closing.
            with serving.served():
                async with asyncio.timeout(None) as self._deadline:
                    await self._serve(receive)
        except TimeoutError:
            if not self._deadline.expired():
                raise
        finally:
            await serving.cleaned_up(self.connection, self._clean_up())

    def _prepare(self, scope: Any, send: servers.Send) -> None:
        if "handlers" not in type(self).__dict__:
            self._collect_handlers()
        self.scope = scope
        self._server_send = servers.unwrap(send)
        self.channel_layer = get_channel_layer(self._layer_alias())
        self.connection = self._new_connection(scope, send)
        self._heartbeat = self._new_heartbeat()
        self._gate = Gate(self.connection, self._heartbeat, self._terms())
        self._inbox = Inbox(self.inbox_size)
        # Whether connect() is over and nobody has begun to read what the browser sends.
        self._refuses_frames = False
        self._node: Node | None = None
        self._worker: asyncio.Task[None] | None = None
        self._watch: Watch | None = None
        self._connect_called = False
        self._registered = False
        # What the project's code has used of CLEANUP_SECONDS.
        self._ending_seconds = 0.0
        # Being counted in and counted out never overlap, whenever the browser leaves.
        self._counting = asyncio.Lock()

    def _terms(self) -> Terms:
        return Terms(
            max_message_size=self.max_message_size or settings.max_message_size,
            rate_limit=self.rate_limit,
            rate_limits=self.incoming_limits,
            priorities=self.incoming_priorities,
        )

    def _new_connection(self, scope: Any, send: servers.Send) -> Connection:
        connection = Connection(
            scope,
            send,
            max_outbox_size=self.max_outbox_size or settings.max_outbox_size,
            overflow=self.overflow,
            # A ready frame passes by what logs each one.
            prepares_frames=settings.prepared_frames and not frame_log.on,
            joins_frames=settings.join_frames,
            batch=self.batch,
            inbox_size=self.inbox_size,
            views=self.views,
            priorities=settings.priorities if self.priorities is None else self.priorities,
            on_closing=self._closing,
            on_event=self._take_event,
            on_gap=self._take_gap,
        )
        connection.handled_by = self._own_reader()
        connection.announce_members = self.announce_members
        return connection

    def _new_heartbeat(self) -> Heartbeat:
        mode = self.heartbeat_mode
        return Heartbeat(
            self.heartbeat_interval or settings.heartbeat_interval,
            self.heartbeat_timeout or settings.heartbeat_timeout,
            settings.heartbeat if mode is None else HeartbeatMode(mode),
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
        # Nothing but its end may come before the handshake's: who leaves meanwhile is let go.
        ahead = asyncio.ensure_future(receive())
        try:
            turned_away = admission.turned_away(self.connection, self._server_send)
            refusal = None if turned_away else await self._admit_unless_left(ahead)
            if frame_log.on:
                frame_log.opened(self.connection.client_id, self.scope)
            if self.connection.state is State.CLOSED:
                return
            if turned_away is not None:
                await self.connection.refuse(turned_away.code, turned_away.reason)
            elif refusal is not None:
                await self._refuse(refusal)
            else:
                # In the first lane: nothing is handled before it.
                self._inbox.put_frame(message, Priority.URGENT)
                self._work_soon()
            await self._pump(await ahead, receive)
        finally:
            ahead.cancel()

    async def _pump(self, message: Message, receive: Receive) -> None:
        """Read the browser's frames, always: a server that is not read from sees no pongs."""
        for number in itertools.count(1):
            if message["type"] == "websocket.disconnect":
                self._note_end(message)
                return
            if self.connection.state not in (State.CLOSING, State.CLOSED):
                lane = self._gate.admit(frame_of(message))
                if lane is not None:
                    await self._take_in(message, lane)
            if number % FRAMES_PER_TURN == 0:
                await asyncio.sleep(0)  # where many wait, reading them suspends nowhere else
            message = await receive()

    async def _take_in(self, message: Message, lane: Priority) -> None:
        """Hand a frame to whoever reads: handlers, or code that calls the connection."""
        if self._refuses_frames and not self.connection.is_read:
            self._refuse_frame()
        elif self.connection.handled_by is None:
            self.connection.take_in(frame_of(message), lane)
            if not self.connection.has_room:
                with servers.held_back(self._server_send):
                    await self.connection.room()
        else:
            self._inbox.put_frame(message, lane)
            self._work_soon()
            if self._inbox.full:
                with servers.held_back(self._server_send):
                    await self._inbox.room()

    def _is_held_back(self) -> bool:
        """Whether the browser has to wait for whoever reads what it sends."""
        return self._inbox.full or not self.connection.has_room

    def _note_end(self, message: Message) -> None:
        code, reason = message.get("code", CloseCode.NO_STATUS), message.get("reason")
        cut = code == CloseCode.NO_STATUS and reason is None and servers.tells_reasons(self.scope)
        if cut or code == CloseCode.ABNORMAL:
            self.connection.end(CloseCode.ABNORMAL, reason or "")
        else:  # with 1012 a server says that it stops
            by = ClosedBy.SERVER if code == CloseCode.SERVICE_RESTART else ClosedBy.CLIENT
            self.connection.end(code, reason or "", by)

    def _closing(self, seconds: float) -> None:
        """The connection is on its way out: give the server a moment to say that it is over."""
        with contextlib.suppress(RuntimeError):  # already expired, or not begun
            self._deadline.reschedule(asyncio.get_running_loop().time() + seconds)

    # Who may connect

    async def authenticate(self) -> Any:
        """Who is connecting: a user instance, a primary key, or None for an anonymous visitor.

        Override it for tokens. The default is `USER_ID_FROM` where it is set, else the user of
        the Django session. Raise ``DenyConnection`` to refuse the handshake.
        """
        if settings.user_id_from is not None:
            return auth.from_request(self.scope, settings.user_id_from) or None
        return self.scope.get("user")

    async def _admit_unless_left(self, ahead: asyncio.Future[Message]) -> Refusal | None:
        """Find out whether they may stay; given up when the browser leaves meanwhile.

        Args:
            ahead: what the server gives next.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as limit:

                def leave(_: object) -> None:
                    if _is_end(ahead):
                        with contextlib.suppress(RuntimeError):  # it is decided already
                            limit.reschedule(loop.time())

                ahead.add_done_callback(leave)
                try:
                    return await self._admit()
                finally:
                    ahead.remove_done_callback(leave)
        except TimeoutError:
            if not limit.expired():
                raise
            self._note_end(ahead.result())
            return None

    async def _admit(self) -> Refusal | None:
        """Find out who is connecting, and whether they may stay.

        A foreign origin, and whoever `authenticate` denies, has been refused on return.
        """
        foreign = self._origin_refusal()
        if foreign is not None:
            await self._deny(foreign)
            return None
        try:
            await self._identify()
            refusal = self._identity_refusal() or self._view_refusal()
            if refusal is None:
                await self._open_membership()
        except DenyConnection:
            await self._deny(f"{type(self).__name__}.authenticate() refused it")
            return None
        except StoreUnavailable as error:
            return _unavailable(error)
        except Exception as error:
            return self._failed_to_identify(error)
        return refusal

    def _failed_to_identify(self, error: Exception) -> Refusal:
        failure = self._meaning_of(error)
        log_failed(error, failure, "%s failed to identify a client%s", type(self).__name__)
        return Refusal(*_ending(failure))

    def _origin_refusal(self) -> str | None:
        origins = type(self).origins  # of the class: a function there is no method
        if origins is None and ORIGIN_CHECKED in self.scope:
            return None
        return auth.origin_refusal(self.scope, origins)

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
        membership = self.connection.membership = membership_of(self.channel_layer)
        await membership.open(self.connection)
        self.channel_name = membership.channel
        self.connection.chose_id = self._chosen_id is not None
        self.connection.client_id = self._chosen_id or (membership.client_id or client_ids.new())

    @property
    def _chosen_id(self) -> str | None:
        return auth.from_request(self.scope, settings.client_id_from)

    def _identity_refusal(self) -> Refusal | None:
        allowed = settings.allow_anonymous if self.allow_anonymous is None else self.allow_anonymous
        if self.connection.user_id is None and not allowed:
            return Refusal(CloseCode.UNAUTHENTICATED, "log in first")
        chosen = self._chosen_id
        return None if chosen is None else auth.client_id_refusal(chosen)

    def _view_refusal(self) -> Refusal | None:
        """Choose the view that the query string names."""
        if not self.views:
            return None
        try:
            self.connection.view = views.choose(auth.query(self.scope, "view"), self.views)
        except InvalidMessage as error:
            return Refusal(CloseCode.BAD_REQUEST, error.message)
        return None

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
        if subprotocol is None and self.handlers:
            subprotocol = self._priority_subprotocol()
        message: Message = {"type": "websocket.accept", "subprotocol": subprotocol}
        if headers:
            message["headers"] = list(headers)
        servers.set_compression(self._server_send, compression_level(self.compression))
        if self.welcome:
            # Collected until the handshake is done, and ahead of everything else.
            self.connection.post(envelope.welcome(self.connection.client_id), Priority.URGENT)
        await self.connection.accept(message)
        if self.connection.state is State.OPEN:
            self._watch = Watch(self.connection, self._heartbeat, self.health, self._is_held_back)

    def _priority_subprotocol(self) -> str | None:
        """`SUBPROTOCOL`, if the client speaks it."""
        return SUBPROTOCOL if SUBPROTOCOL in (self.scope.get("subprotocols") or ()) else None

    async def join(self, group: str, info: object = None, *, announce: bool | None = None) -> None:
        """Join a group; returns when what is sent to it from now on arrives.

        Args:
            group: any text.
            info: what `members` says of this connection; anything that encodes as JSON, in 4 KiB.
            announce: whether the group is told that it joins and leaves; None for what
                `announce_members` says.

        The errors are those of `Connection.join`.
        """
        await self.connection.join(group, info, announce=announce)

    async def leave(self, group: str) -> None:
        """Leave a group; leaving one that was not joined does nothing."""
        await self.connection.leave(group)

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
        check_code(given)
        self.connection.close_soon(given, reason or "", drain=True)

    async def base_send(self, event: Message) -> None:
        """Where ``send`` of Channels ends up: the connection's one way out."""
        await self.connection.send_event(event, self.connection.lane_of(frame_of(event)))

    def _joined(self) -> Membership:
        assert self.connection.membership is not None
        return self.connection.membership

    # Registering

    async def _register(self) -> Refusal | None:
        groups = [*self._audiences(), *(layer_name(group) for group in self.groups)]
        self.connection.note_groups(self.groups)
        if self._joined().client_id != self.connection.client_id:
            groups.append(client_group(self.connection.client_id))
        try:
            async with turns().turn(settings.redis_timeout):
                await self._joined().join(groups)
            return await self._count()
        except StoreUnavailable as error:
            return _unavailable(error)

    def _audiences(self) -> list[str]:
        """The groups that it is in because of who it is."""
        everyone, group_of = (EVERYONE, user_group) if self.pushes else (SILENT, silent_group)
        user = self.connection.user_id
        return [everyone] if user is None else [everyone, group_of(user)]

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
            return
        if hooks.event_dropped:
            hooks.event_dropped("inbox")
        if self._inbox.dropped == 1:
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
            if is_being_cancelled():
                raise
            await self._fail(message, error)
        except Exception as error:
            if not self.connection.is_its_end(error):
                await self._fail(message, error)

    async def _fail(self, message: Message, error: BaseException) -> None:
        """One message fails; the connection and the messages after it do not."""
        failure = self._meaning_of(error)
        self.connection.stats.errors += 1
        log_failed(
            error,
            failure,
            "%s failed on %s of client %s%s",
            type(self).__name__,
            _describe(message),
            self.connection.client_id,
        )
        if message["type"] == "websocket.connect":
            await self.connection.refuse(*_ending(failure))
        elif message["type"] == "websocket.receive":
            self._answer_failed(envelope.id_of(frame_of(message)), failure)

    def _meaning_of(self, error: BaseException) -> Failure | None:
        # Of the class: existing code may have put something else into `self.errors`.
        return failure_of(error, type(self).errors)

    def _answer_failed(self, id: MessageId | None, failure: Failure | None) -> None:
        """Tell the browser that its message failed, and of why only what is meant for it."""
        if failure is not None:
            self.connection.post(envelope.failed(failure, id))
            return
        sentence = "The server failed to handle this message."
        internal = InvalidMessage(ErrorCode.INTERNAL_ERROR, sentence, id=id)
        self.connection.post(envelope.failure(internal))

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
        await self._settle()

    def _refuses_unread(self) -> bool:
        """Whether what the browser sends is refused, now that connect() is over."""
        return not self.connection.is_read

    async def _settle(self) -> None:
        """Refuse what the browser sends, when connect() is over and nobody reads it."""
        if self.connection.handled_by is not None:
            return
        await asyncio.sleep(0)  # a task that connect() has made begins now
        if self._refuses_unread():
            self._refuses_frames = True
            for _ in self.connection.take_unread():
                self._refuse_frame()

    async def websocket_receive(self, message: Message) -> None:
        text = message.get("text")
        if text is not None and self.handlers:
            await self._receive_typed(text)
        elif self._overrides_receive():
            await super().websocket_receive(message)
        else:
            self._refuse_frame()

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
            if error.id is None:  # it was raised by the handler
                error.id = request.id
            self._answer_failure(error)

    async def _call_handler(self, request: envelope.Envelope) -> None:
        handler = self.handlers.get(request.type)
        if handler is None:
            if hooks.handled:
                hooks.handled(UNKNOWN, 0.0, ErrorCode.UNKNOWN_TYPE.value)
            raise InvalidMessage(
                ErrorCode.UNKNOWN_TYPE,
                f"There is no message type {request.type[:100]!r} here.",
                path="$.type",
                id=request.id,
            )
        if self.connection.subprotocol == SUBPROTOCOL:
            request.fields.pop("priority", None)  # it is of the envelope there
        with self._handling(request.type):
            result = await self._result_of(handler, request)
        if request.id is not None or result is not None:
            shown = self.connection.in_view(result)
            await self.connection.send(envelope.reply(request.id, shown))

    @contextlib.contextmanager
    def _handling(self, type: str) -> Iterator[None]:
        """For those who observe how long handlers take, and how they fail."""
        if not hooks.handled:
            yield
            return
        begun_at = time.perf_counter()
        kind: str | None = None
        try:
            yield
        except BaseException as error:
            kind = self._kind_of(error)
            raise
        finally:
            hooks.handled(type, time.perf_counter() - begun_at, kind)

    def _kind_of(self, error: BaseException) -> str | None:
        """What kind of failure it is that a handler raised, if it is one."""
        if isinstance(error, asyncio.CancelledError):
            return "cancelled"
        if self.connection.is_its_end(error):
            return None
        if isinstance(error, InvalidMessage):
            return ErrorCode.INVALID.value
        failure = self._meaning_of(error)
        return ErrorCode.INTERNAL_ERROR.value if failure is None else failure.kind.value

    async def _result_of(self, handler: Handler, request: envelope.Envelope) -> Any:
        retry = handler.declaration.retry
        if retry is None:
            return await handler(self, request)
        return await retried(
            lambda: handler(self, copy.deepcopy(request)),  # what an attempt changes is its own
            retry,
            failure_of=self._meaning_of,
            wait=self._wait_to_retry,
        )

    async def _wait_to_retry(self, seconds: float) -> None:
        """Wait, unless the connection ends meanwhile; pushes and heartbeats go on.

        Raises:
            ConnectionClosed: nobody waits for the result any more.
        """
        if await self.connection.ends_within(seconds):
            raise self.connection.closed_error()
        await db.aclose_old_connections()  # a broken one may be what had failed

    def _overrides_receive(self) -> bool:
        return type(self).receive is not AsyncWebsocketConsumer.receive

    def _own_reader(self) -> str | None:
        """What of this class takes the browser's frames, or None where anybody may read them."""
        own = type(self)
        if self.handlers:
            return f"{own.__name__} declares handlers"
        for name in ("receive", "websocket_receive", "dispatch"):
            if getattr(own, name) is not getattr(AdapterConsumer, name):
                return f"{own.__name__} overrides {name}()"
        return None

    def _refuse_frame(self) -> None:
        self._answer_failure(
            InvalidMessage(ErrorCode.UNSUPPORTED, "Such messages are not taken here.")
        )

    def _answer_failure(self, error: InvalidMessage) -> None:
        self.connection.stats.errors += 1
        self.connection.post(envelope.failure(error))

    # Clean-up, exactly once, whatever ended the connection

    async def _clean_up(self) -> None:
        # By now it has ended, unless the server cancels its applications.
        self.connection.end(CloseCode.ABNORMAL, by=ClosedBy.SERVER)
        if frame_log.on:
            end = self.connection.closed_error()
            frame_log.ended(self.connection.client_id, end.code, end.reason)
        if self._watch is not None:
            self._watch.end()
        await self.connection.stop_writing(cut=self._deadline.expired())
        await asyncio.gather(self._count_out(), self._end_what_runs())
        if self.connection.membership is not None:
            # After the handlers: one of them may still join a group.
            await self._guarded(self._joined().close(), "leaving the channel layer")
        if self._connect_called and self._overrides_disconnect():
            await self._guarded(self._call_disconnect(), "disconnect()")
        await self._guarded(self._report_end(), "a receiver of client_disconnected")
        self._watch = None
        if hooks.connection_ended:
            hooks.connection_ended(self.connection)
        self.connection.let_go()

    async def _count_out(self) -> None:
        """Leave the store; what fails here, leases make good."""
        async with self._counting:
            if self._node is not None:
                await self._guarded(self._node.leave(self.connection), "leaving the store")

    async def _end_what_runs(self) -> None:
        clock = asyncio.get_running_loop().time
        begun_at = clock()
        await asyncio.gather(self._finish_handlers(), self.connection.end_tasks())
        self._ending_seconds = clock() - begun_at

    @contextlib.asynccontextmanager
    async def _within(self, seconds: float) -> AsyncIterator[None]:
        """The project's code ends within so much of CLEANUP_SECONDS, what it has used included."""
        clock = asyncio.get_running_loop().time
        begun_at = clock()
        try:
            async with asyncio.timeout(max(seconds - self._ending_seconds, CLEANUP_SECONDS / 8)):
                yield
        finally:
            self._ending_seconds += clock() - begun_at

    async def _finish_handlers(self) -> None:
        """What the browser sent before it left is still handled, within bounds."""
        worker = self._worker
        if worker is None or (await asyncio.wait([worker], timeout=CLEANUP_SECONDS / 2))[0]:
            return
        handler_logger.warning(
            "A handler of client %s did not end within %g s of its connection and is cancelled.",
            self.connection.client_id,
            CLEANUP_SECONDS / 2,
        )
        worker.cancel()
        await asyncio.wait([worker], timeout=CLEANUP_SECONDS / 8)

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
            async with self._within(CLEANUP_SECONDS * 7 / 8):
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
                "Client %s: %s took too long and was given up.", self.connection.client_id, what
            )
        except asyncio.CancelledError as error:
            if is_being_cancelled():
                raise
            self._note_failure(what, error)
        except Exception as error:
            self._note_failure(what, error)

    def _note_failure(self, what: str, error: BaseException) -> None:
        handler_logger.error(
            "%s: %s of client %s failed.",
            type(self).__name__,
            what,
            self.connection.client_id,
            exc_info=error,
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
                one_line(connection.user_id or "anonymous"),
                code,
                f" ({one_line(connection.close_reason)})" if connection.close_reason else "",
                duration,
            )
        async with self._within(CLEANUP_SECONDS):
            await _emit(
                client_disconnected,
                client=connection.info(self._node.lease),
                code=code,
                reason=connection.close_reason,
                duration=duration,
            )


#: What a message of the channel layer cannot call, whether or not a subclass overrides it.
_OWN_NAMES = frozenset(dir(AdapterConsumer))


def is_being_cancelled() -> bool:
    """Whether a CancelledError is for this very task, not from one that user code awaited.

    To be asked of nothing else: a task group that has failed leaves its mark on the task, before
    Python 3.13.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _ending(failure: Failure | None) -> tuple[int, str]:
    """The code and the reason for what cannot begin."""
    if failure is None:
        return CloseCode.SERVER_ERROR, "internal error"
    return failure.close_code, failure.message


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


def _is_end(received: asyncio.Future[Message]) -> bool:
    """Whether what a server has given is that the browser has left."""
    if received.cancelled() or received.exception() is not None:
        return False
    return bool(received.result()["type"] == "websocket.disconnect")
