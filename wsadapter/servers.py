"""What wsadapter knows about ASGI servers: how to wait for them, hold them back, cut them off.

Most servers' ``send`` returns without ever suspending while the transport takes bytes. For
those that are known to, a frame leaves at once, without a task. They are known by name, so
that none of them needs to be installed.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, NamedTuple, Protocol, cast
from weakref import ref

from channels.sessions import InstanceSessionWrapper

from wsadapter.wire.frames import frame_bytes

Send = Callable[[Any], Awaitable[None]]

#: Bytes: frames of up to so many, but for empty ones, every server sends as they are.
PLAIN_BYTES = 64 * 1024

#: The ASGI extension of a server that takes ready frames: ``{"writer": FrameWriter}``. The object
#: whose method ``send`` is has the same writer as its attribute ``frame_writer``.
EXTENSION = "wsadapter.frames"

#: What a client may still send after we have closed, before it is not listened to any more.
FAREWELL_FRAMES = 64
FAREWELL_BYTES = 1024 * 1024
#: How long it then has to read what we have sent.
FAREWELL_SECONDS = 1.0

_UVICORN = ("uvicorn.protocols.websockets.websockets_sansio_impl", "WebSocketsSansIOProtocol")
_OLD_UVICORN = ("uvicorn.protocols.websockets.websockets_impl", "WebSocketProtocol")
_HYPERCORN = ("hypercorn.protocol.ws_stream", "WSStream")
_DAPHNE = ("daphne.server", "Server.handle_reply")
_GRANIAN = ("granian._granian", "ASGIWebsocketProtocol")


class FrameWriter(Protocol):
    """A server's connection that lets the application write whole frames to its transport."""

    @property
    def compression_level(self) -> int:
        """zlib's level for frames that go here compressed, or 0."""

    @property
    def ready(self) -> bool:
        """Whether frames can be written: the connection is open, and its transport takes bytes."""

    @property
    def write(self) -> Callable[[bytes], None]:
        """Write whole frames, between what goes through ``send``, never within."""


def frame_writer(scope: Any, send: Send, max_held_bytes: int) -> FrameWriter | None:
    """The writer that the server offers, unless a middleware stands between; daphne's is ours.

    Args:
        scope: the ASGI connection scope.
        send: the ASGI server's send, or what a middleware has made of it.
        max_held_bytes: what a transport without back-pressure may hold.
    """
    writer = (scope.get("extensions") or {}).get(EXTENSION, {}).get("writer")
    if writer is not None and writer is getattr(
        getattr(send, "__self__", None), "frame_writer", None
    ):
        return cast("FrameWriter", writer)
    protocol = _daphne_protocol(send)
    return None if protocol is None else DaphneWriter(protocol, max_held_bytes)


class DaphneWriter:
    """Writes whole frames past Autobahn, as its own `sendPreparedMessage` does.

    They go to the socket at once while it takes them: Twisted's buffer would cost two calls of
    epoll_ctl for each.
    """

    def __init__(self, protocol: Any, max_held_bytes: int) -> None:
        self._protocol = protocol
        self._max_held_bytes = max_held_bytes
        self._to_socket = _is_socket(protocol.transport)

    @property
    def compression_level(self) -> int:
        return _level_on_daphne(self._protocol)

    @property
    def ready(self) -> bool:
        protocol = self._protocol
        return (
            protocol.state == protocol.STATE_OPEN
            and not protocol.send_queue
            and _buffered_bytes(protocol.transport) <= self._max_held_bytes
        )

    def write(self, frames: bytes) -> None:
        transport = self._protocol.transport
        if self._to_socket and transport.connected and not _buffered_bytes(transport):
            written = transport.writeSomeData(frames)
            if written == len(frames):
                return
            if isinstance(written, int):  # else the connection is lost, which Twisted will see
                frames = frames[written:]
        transport.write(frames)


def unwrap(send: Send) -> Send:
    """The server's own ``send`` under Channels' session middleware.

    That middleware only looks at ``http.response.start`` and passes all else on.
    """
    wrapper: Any = getattr(send, "__self__", None)
    return unwrap(wrapper.real_send) if type(wrapper) is InstanceSessionWrapper else send


def can_be_stepped(send: Send) -> bool:
    """Whether this is a server's own ``send`` that needs no task while it does not suspend."""
    return _uvicorn_protocol(send) is not None or _daphne_protocol(send) is not None


def cut(send: Send) -> None:
    """Drop the connection without waiting for what is buffered, where the server is known."""
    if (protocol := _uvicorn_protocol(send)) is not None:
        protocol.transport.abort()
    elif (protocol := _daphne_protocol(send)) is not None:
        protocol.dropConnection(abort=True)
        protocol.transport.abortConnection()  # also when Autobahn has dropped it, and Twisted waits


async def send_whole(send: Send, event: Any) -> None:
    """Send an event as it is meant, where daphne would leave a part of it out.

    Daphne sends no empty frame and no reason of a close, and Autobahn refuses to close with some
    codes that only endpoints of the protocol should use; wsadapter is one. What daphne takes from
    clients at most, Autobahn refuses to send as well.
    """
    protocol = _daphne_protocol(send)
    if protocol is None or protocol.state != protocol.STATE_OPEN:
        await send(event)
    elif event["type"] == "websocket.close":
        protocol.sendCloseFrame(event["code"], event.get("reason", "").encode(), False)
    else:
        frame = event["text"] if event.get("text") is not None else event["bytes"]
        protocol.transport.write(frame_bytes(frame, _level_on_daphne(protocol)))


def limit_closing(send: Send, seconds: float) -> None:
    """Have the server drop the connection when its client does not answer a close frame in time.

    By themselves uvicorn gives it ten seconds, and daphne one.
    """
    if (protocol := _uvicorn_protocol(send)) is not None:
        protocol.close_timeout = seconds
        _Farewell.begin(protocol)
    elif (protocol := _daphne_protocol(send)) is not None:
        protocol.closeHandshakeTimeout = seconds


def closes_once_unheard(send: Send) -> bool:
    """Whether our close frame leaves only when nobody waits in ``receive`` any more.

    Granian has it wait for the call that is pending, which the client's next message would end.
    """
    return _owner(send, _GRANIAN) is not None


def cut_unread(send: Send, seconds: float) -> None:
    """Drop a connection that is over, but whose client does not read the rest, after a while.

    Servers wait for it without limit, and uvicorn cannot stop meanwhile.
    """
    abort: Callable[[], None] | None = None
    if (protocol := _uvicorn_protocol(send)) is not None:
        abort = protocol.transport.abort if protocol.transport.get_write_buffer_size() else None
    elif (protocol := _daphne_protocol(send)) is not None:
        transport = protocol.transport
        abort = transport.abortConnection if _buffered_bytes(transport) else None
    if abort is not None:
        asyncio.get_running_loop().call_later(seconds, abort)


def hear_no_more(send: Send) -> None:
    """Read nothing from a client that floods and is on its way out, where it would cost others.

    Uvicorn goes on parsing what it drops, until the client has answered or its time is up.
    """
    if (protocol := _uvicorn_protocol(send)) is not None:
        protocol.transport.pause_reading()


class _Farewell:
    """What a client still sends on uvicorn after we have closed: some of it, and not for ever.

    Uvicorn throws it away without a pause, so that uvloop never comes to anything else, its
    timers included: one client could stop everybody.
    """

    def __init__(self, protocol: Any) -> None:
        self._protocol = ref(protocol)  # which has this: no circle
        self._frames = 0
        self._bytes = 0

    @classmethod
    def begin(cls, protocol: Any) -> None:
        protocol.send_receive_event_to_app = cls(protocol).hear

    def hear(self) -> None:
        """In place of the protocol's own method, which is called for each message."""
        protocol = self._protocol()
        if protocol is None:
            return
        if protocol.close_sent:
            self._frames += 1
            self._bytes += sum(map(len, protocol.frames))
        type(protocol).send_receive_event_to_app(protocol)
        if self._frames > FAREWELL_FRAMES or self._bytes > FAREWELL_BYTES:
            self._frames = self._bytes = 0
            protocol.transport.pause_reading()
            protocol.loop.call_later(FAREWELL_SECONDS, protocol.transport.abort)


def is_closing(send: Send) -> bool:
    """Whether the server knows that the peer has left, though it has not said so yet."""
    if (protocol := _uvicorn_protocol(send)) is not None:
        return bool(protocol.transport.is_closing())
    if (protocol := _daphne_protocol(send)) is not None:
        return bool(protocol.state != protocol.STATE_OPEN)
    return False


def held_bytes(send: Send) -> Callable[[], int] | None:
    """A measure of what the transport holds, for a server whose ``send`` never waits for it.

    Daphne takes every frame at once, whether or not the client reads: Twisted's transport
    keeps them in these two buffers. None where ``send`` itself waits.
    """
    protocol = _daphne_protocol(send)
    if protocol is None:
        return None
    return lambda: _buffered_bytes(protocol.transport)


def writable(send: Send) -> asyncio.Event | None:
    """What is set while the transport takes bytes, for a server whose ``send`` waits for that.

    Who waits for it before calling ``send`` can still take back what it has not handed over.
    """
    protocol = _uvicorn_protocol(send)
    return None if protocol is None else cast("asyncio.Event", protocol.writable)


@contextmanager
def held_back(send: Send) -> Iterator[None]:
    """Have the client wait, as long as the block takes.

    Other servers stop reading once nobody calls ``receive``. Daphne reads on, into a queue
    without bounds.
    """
    protocol = _daphne_protocol(send)
    if protocol is None:
        yield
        return
    protocol.transport.pauseProducing()
    try:
        yield
    finally:
        protocol.transport.resumeProducing()


def set_compression(send: Send, level: int) -> None:
    """Have an open handshake end with permessage-deflate at a level, or without it.

    There is none with a client that does not offer it. docs/compression.md has what cannot be
    told to which server.

    Args:
        send: the server's own, before the handshake is accepted; later it changes nothing.
        level: zlib's, from 1 (fast) to 9 (small), or 0 for none.
    """
    if (protocol := _uvicorn_protocol(send)) is not None:
        if not protocol.handshake_complete:
            _renegotiate(protocol, level)
    elif (protocol := _owner(send, _OLD_UVICORN)) is not None:
        _change_terms(protocol, level)
    elif (protocol := _daphne_protocol(send)) is not None:
        _negotiate_on_daphne(protocol, level)
    elif (stream := _owner(send, _HYPERCORN)) is not None and not level:
        stream.handshake.extensions = None  # as if the client had offered none


def _renegotiate(protocol: Any, level: int) -> None:
    """Change what uvicorn has negotiated: its answer has not left yet."""
    agreed = protocol.conn.extensions
    protocol.conn.extensions = [_at_level(extension, level) for extension in agreed if level]
    if not level:
        protocol.response.headers.pop("Sec-WebSocket-Extensions", None)
    writer = getattr(protocol, "frame_writer", None)
    if writer is not None and writer.compression_level:
        writer.compression_level = level


def _at_level(extension: Any, level: int) -> Any:
    """The same terms with the client; its zlib has been made, and takes no other level."""
    return type(extension)(
        extension.remote_no_context_takeover,
        extension.local_no_context_takeover,
        extension.remote_max_window_bits,
        extension.local_max_window_bits,
        {**extension.compress_settings, "level": level},
    )


def _change_terms(protocol: Any, level: int) -> None:
    """Change what uvicorn's older protocol will negotiate: it has this very list in its hands."""
    if not level:
        protocol.available_extensions.clear()
    for extension in protocol.available_extensions:
        extension.compress_settings = {**(extension.compress_settings or {}), "level": level}


def _negotiate_on_daphne(protocol: Any, level: int) -> None:
    """Daphne has Autobahn decline what clients offer; Autobahn asks the connection for that."""
    from wsadapter.daphne import answer  # daphne's packages are there, as daphne has called

    protocol.perMessageCompressionAccept = partial(answer, level)


def _level_on_daphne(protocol: Any) -> int:
    """The level of frames that are written past Autobahn; 0 before the handshake is accepted."""
    level: int = getattr(protocol._perMessageCompress, "ready_level", 0)
    return level


def _is_socket(transport: Any) -> bool:
    """Whether nothing stands between a Twisted transport and the wire, as TLS does.

    Asked of the class: a TLS transport answers for the one below it, which writes in the clear.
    """
    return hasattr(type(transport), "writeSomeData") and not getattr(transport, "TLS", True)


def _buffered_bytes(transport: Any) -> int:
    """What a Twisted transport has taken and not written yet."""
    joined = len(getattr(transport, "dataBuffer", b"")) - getattr(transport, "offset", 0)
    return joined + int(getattr(transport, "_tempDataLen", 0))


def before_daphne_stops(action: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Have daphne wait for an action when it stops; other servers wait for their applications.

    Daphne cancels them, but not when any HTTP request or handshake has just ended, or keeps
    its connection: then it forgets them all.
    """
    reactor = sys.modules.get("twisted.internet.reactor")
    if reactor is not None and reactor.running:
        _add_trigger(reactor, action)


@cache
def _add_trigger(reactor: Any, action: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Once per process."""
    from twisted.internet.defer import Deferred

    reactor.addSystemEventTrigger(
        "before", "shutdown", lambda: Deferred.fromFuture(asyncio.ensure_future(action()))
    )


class Notice(NamedTuple):
    """What a server lets its applications know of its own end."""

    #: Returns when it has begun.
    wait: Callable[[], Awaitable[None]]
    #: So much later connections are cut off, in seconds.
    graceful_seconds: float


def notice_of_end(send: Send) -> Notice | None:
    """Hypercorn's; its workers learn of SIGTERM through shared memory, and have no signal."""
    stream = _owner(send, _HYPERCORN)
    if stream is None:
        return None
    return Notice(stream.context.terminated.wait, stream.config.graceful_timeout)


def is_supervised() -> bool:
    """Whether this process is the worker of a server that tells its workers to stop.

    Gunicorn forks its own, all others have them from `multiprocessing`.
    """
    return multiprocessing.parent_process() is not None or "gunicorn.arbiter" in sys.modules


def tells_reasons(scope: Any) -> bool:
    """Whether the server's disconnect event has a ``reason`` whenever there was a close frame.

    The ASGI specification has it since version 2.3.
    """
    version = str(scope.get("asgi", {}).get("spec_version", "2.0"))
    return tuple(int(part) for part in version.split(".") if part.isdigit()) >= (2, 3)


def _uvicorn_protocol(send: Send) -> Any:
    return _owner(send, _UVICORN)


def _owner(send: Send, kind: tuple[str, str]) -> Any:
    """The object whose method it is, where that is of a class or its subclass; else None."""
    owner = getattr(send, "__self__", None)
    for base in type(owner).__mro__:
        if (base.__module__, base.__qualname__) == kind:
            return owner
    return None


def _daphne_protocol(send: Send) -> Any:
    if not isinstance(send, partial):
        return None
    name = (getattr(send.func, "__module__", ""), getattr(send.func, "__qualname__", ""))
    return send.args[0] if name == _DAPHNE else None
