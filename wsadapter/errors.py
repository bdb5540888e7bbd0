"""Every error that wsadapter raises.

    WSAdapterError
    ├── EncodeError (TypeError)            the data given to a helper cannot be sent
    ├── ReservedType (ValueError)          a message type that belongs to wsadapter itself
    ├── AsyncContextError (RuntimeError)   a sync helper was called on a running event loop
    ├── StoreUnavailable (ConnectionError) Redis did not answer in time
    ├── HandlerError (TypeError)           a @handler is declared in a way that cannot work
    ├── EndpointError (TypeError)          a @websocket or @stream is declared in such a way
    ├── ViewError (TypeError)              views are declared that a type cannot have
    ├── ReceiveConflict (RuntimeError)     a connection is read that a consumer reads already
    ├── ConnectionClosed (ConnectionError) the connection is over
    ├── ConnectionTimeout (TimeoutError)
    │   ├── ReadTimeout                    nothing arrived in time
    │   └── WriteTimeout                   the transport did not take a frame in time
    └── Failure                            what your code raises to tell a client what to do
        ├── Transient                      try again
        ├── Exhausted                      back off, then try again
        │   └── RetriesExhausted           this side has tried again, and gives up for now
        └── Fatal                          do not come back with this

    PeerError                              the other side erred
    ├── InvalidMessage                     a message that does not decode or does not fit
    └── UnexpectedFrame                    binary where text was expected, or the reverse

The two trees are apart on purpose: the first is what happened to you, the second is what the
other side did wrong. A consumer answers a ``PeerError`` to the browser as a ``ws:error`` message;
code that reads a `Connection` itself gets it raised, and goes on reading as it likes.
"""

from __future__ import annotations

import math
from typing import ClassVar

from wsadapter.close_codes import ClosedBy, check_code
from wsadapter.wire.failures import TREATMENTS, FailureKind, kind_of_close


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
    """A ``@websocket`` or ``@stream`` cannot be called as it is declared; it says why."""


class ViewError(WSAdapterError, TypeError):
    """Views are declared that the message type cannot have; the message says why."""


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

    @property
    def kind(self) -> FailureKind | None:
        """What a client should do about it; None where nothing has failed."""
        return kind_of_close(self.code)


class ConnectionTimeout(WSAdapterError, TimeoutError):
    """A connection did not get as far as was asked, within the ``timeout`` that was given."""


class ReadTimeout(ConnectionTimeout):
    """Nothing arrived in time. Nothing is lost: what arrives later can still be read."""


class WriteTimeout(ConnectionTimeout):
    """The transport did not take a frame in time: the client does not read fast enough.

    Args:
        withdrawn: whether the frame was taken back, and will not be sent any more. It was
            unless it is in a batch, or the server's own ``send`` had it already, on servers that
            wsadapter cannot look into.
    """

    def __init__(self, message: str, *, withdrawn: bool = True) -> None:
        super().__init__(message)
        self.withdrawn = withdrawn


class Failure(WSAdapterError):
    """What code raises to tell the client what to do: one of `Transient`, `Exhausted`, `Fatal`.

    A handler's is answered with a ``ws:error`` message; an endpoint's or a stream's is sent as
    one, and closes the connection. It is no fault of the program, and logged as a warning.

    Args:
        message: a sentence for the developer of the client, who gets to see it.
        code: machine-readable, for the ``ws:error``; by default the name of the kind.
        close_code: what an endpoint or a stream closes with; by default that of the kind.
        retry_after: seconds after which the client may try again.

    Raises:
        ValueError: no such close code may be sent, or nobody can wait for so long.
    """

    kind: ClassVar[FailureKind]
    #: Where no message is given.
    sentence: ClassVar[str]

    def __init__(
        self,
        message: str = "",
        *,
        code: str | None = None,
        close_code: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        treatment = TREATMENTS[self.kind]
        self.message = str(message or self.sentence)  # of a text that is translated lazily, too
        self.code = code or str(treatment.error_code)
        self.close_code = int(close_code or treatment.close_code)
        self.retry_after = None if retry_after is None else float(retry_after)
        super().__init__(self.message)
        check_code(self.close_code)
        if self.retry_after is not None and not 0 <= self.retry_after < math.inf:
            raise ValueError(f"{retry_after} is no number of seconds to wait; give one from 0.")


class Transient(Failure):
    """It did not work now; the same may work in a moment."""

    kind = FailureKind.TRANSIENT
    sentence = "This did not work now. Try again."


class Exhausted(Failure):
    """Something is used up for now; the same may work later, after ``retry_after`` seconds."""

    kind = FailureKind.EXHAUSTED
    sentence = "There is too much to do at the moment. Try again later."


class RetriesExhausted(Exhausted):
    """A handler was called again as often as its `Retry` says, and failed each time.

    ``__cause__`` is the last failure.
    """


class Fatal(Failure):
    """It will not work, however often it is tried."""

    kind = FailureKind.FATAL
    sentence = "This cannot work. Do not try it again."


class PeerError(Exception):
    """The other side of a connection broke a rule; that one message fails."""


class InvalidMessage(PeerError):
    """A message from the browser does not decode, or does not fit its declared type.

    Args:
        code: machine-readable, one of `wsadapter.wire.failures.ErrorCode`.
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
