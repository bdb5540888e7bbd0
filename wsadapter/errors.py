"""Every error that wsadapter raises.

    WSAdapterError
    ├── EncodeError (TypeError)            the data given to a helper cannot be sent
    ├── ReservedType (ValueError)          a message type that belongs to wsadapter itself
    ├── AsyncContextError (RuntimeError)   a sync helper was called on a running event loop
    ├── StoreUnavailable (ConnectionError) Redis did not answer in time
    └── HandlerError (TypeError)           a @handler is declared in a way that cannot work

    PeerError                              the browser erred; never leaves its connection
    └── InvalidMessage                     a message that does not decode or does not fit

The two trees are apart on purpose: the first is for the developer to catch, the second is
answered to the browser as a ``ws:error`` message and reaches nobody's code.
"""

from __future__ import annotations


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
