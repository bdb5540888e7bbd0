"""What wsadapter knows about ASGI servers: whose ``send`` may be stepped by hand, who can cut.

Most servers' ``send`` returns without ever suspending while the transport takes bytes. For
those that are known to, a frame leaves at once, without a task. They are known by name, so
that none of them needs to be installed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from channels.sessions import InstanceSessionWrapper

Send = Callable[[Any], Awaitable[None]]

_UVICORN = ("uvicorn.protocols.websockets.websockets_sansio_impl", "WebSocketsSansIOProtocol")
_DAPHNE = ("daphne.server", "Server.handle_reply")


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


def tells_reasons(scope: Any) -> bool:
    """Whether the server's disconnect event has a ``reason`` whenever there was a close frame.

    The ASGI specification has it since version 2.3.
    """
    version = str(scope.get("asgi", {}).get("spec_version", "2.0"))
    return tuple(int(part) for part in version.split(".") if part.isdigit()) >= (2, 3)


def _uvicorn_protocol(send: Send) -> Any:
    protocol = getattr(send, "__self__", None)
    for base in type(protocol).__mro__:
        if (base.__module__, base.__qualname__) == _UVICORN:
            return protocol
    return None


def _daphne_protocol(send: Send) -> Any:
    if not isinstance(send, partial):
        return None
    name = (getattr(send.func, "__module__", ""), getattr(send.func, "__qualname__", ""))
    return send.args[0] if name == _DAPHNE else None
