"""Every error that wsadapter raises.

    WSAdapterError
    ├── EncodeError (TypeError)            the data given to a helper cannot be sent
    ├── ReservedType (ValueError)          a message type that belongs to wsadapter itself
    ├── AsyncContextError (RuntimeError)   a sync helper was called on a running event loop
    ├── StoreUnavailable (ConnectionError) Redis did not answer in time
    ├── HandlerError (TypeError)           a @handler is declared in a way that cannot work
    ├── EndpointError (TypeError)          a @websocket is declared in a way that cannot work
    ├── ReceiveConflict (RuntimeError)     a connection is read that a consumer reads already
    ├── ConnectionClosed (ConnectionError) the connection is over
    └── ConnectionTimeout (TimeoutError)
        ├── ReadTimeout                    nothing arrived in time
        └── WriteTimeout                   the transport did not take a frame in time

    PeerError                              the other side erred
    ├── InvalidMessage                     a message that does not decode or does not fit
    └── UnexpectedFrame                    binary where text was expected, or the reverse

The two trees are apart on purpose: the first is what happened to you, the second is what the
other side did wrong. A consumer answers a ``PeerError`` to the browser as a ``ws:error`` message;
code that reads a `Connection` itself gets it raised, and goes on reading as it likes.
"""

from __future__ import annotations

from wsadapter.close_codes import ClosedBy


class WSAdapterError(Exception):
    """Base of everything that wsadapter raises to its callers."""


class EncodeError(WSAdapterError, TypeError):
    """The data cannot be sent as a WebSocket frame. Nothing was sent.

    The message names the type and where in the data it stands; ``__cause__`` is the
    encoder's own error.
    """


class ReservedType(WSAdapterError, ValueError):
    """The type of a message begins with ``ws:``. Nothing was sent."""


class AsyncContextError(WSAdapterError, RuntimeError):
    """A synchronous helper was called while an event loop runs in this thread.

    It would block every connection of the process. The message names the twin to await.
    """


class StoreUnavailable(WSAdapterError, ConnectionError):
    """Redis did not answer within ``WSADAPTER["REDIS_TIMEOUT"]`` seconds.

    The message names the address, never its password.
    """


class HandlerError(WSAdapterError, TypeError):
    """A ``@handler`` cannot be used as it is declared; the message says what to change."""


class EndpointError(WSAdapterError, TypeError):
    """A ``@websocket`` function cannot be called as it is declared; the message says why."""


class ReceiveConflict(WSAdapterError, RuntimeError):
    """A connection was read whose consumer reads it already, by handlers or ``receive()``.

    Two readers of one stream would each get a part of it.
    """


class ConnectionClosed(WSAdapterError, ConnectionError):
    """The connection is over: nothing more arrives, and nothing can be sent.

    Args:
        code: the close code, see `wsadapter.CloseCode`; 1006 where there was none.
        reason: what was said about it, or ``""``.
        closed_by: which side ended it.
    """

    def __init__(self, code: int, reason: str, closed_by: ClosedBy) -> None:
        why = f" ({reason})" if reason else ""
        super().__init__(f"The connection was closed by the {closed_by} with code {code}{why}.")
        self.code = code
        self.reason = reason
        self.closed_by = closed_by


class ConnectionTimeout(WSAdapterError, TimeoutError):
    """A connection did not get as far as was asked, within the ``timeout`` that was given."""


class ReadTimeout(ConnectionTimeout):
    """Nothing arrived in time. Nothing is lost: what arrives later can still be read."""


class WriteTimeout(ConnectionTimeout):
    """The transport did not take a frame in time: the client does not read fast enough.

    Args:
        withdrawn: whether the frame was taken back, and will not be sent any more. It was
            unless the server's own ``send`` had it already, on servers that wsadapter cannot
            look into.
    """

    def __init__(self, message: str, *, withdrawn: bool = True) -> None:
        super().__init__(message)
        self.withdrawn = withdrawn


class PeerError(Exception):
    """The other side of a connection broke a rule; that one message fails."""


class InvalidMessage(PeerError):
    """A message from the browser does not decode, or does not fit its declared type.

    Args:
        code: machine-readable, one of `wsadapter.wire.envelope.ErrorCode`.
        message: a sentence for the developer of the page.
        path: the offending field in JSONPath notation, such as ``$.text``.
        id: the request's id, when the message had one.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        path: str | None = None,
        id: int | str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.path = path
        self.id = id


class UnexpectedFrame(PeerError):
    """A frame of the other kind arrived: binary where text was expected, or the reverse.

    It is taken from the stream; the next call reads what comes after it.

    Args:
        frame: what arrived.
    """

    def __init__(self, message: str, frame: str | bytes) -> None:
        super().__init__(message)
        self.frame = frame
