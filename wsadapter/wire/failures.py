"""What went wrong, in the three classes that tell a client what to do.

| kind      | what a client does                        | `ws:error`  | close code              |
|-----------|-------------------------------------------|-------------|-------------------------|
| transient | the same again, soon                      | `transient` | 3004, come back         |
| exhausted | the same again, after `retry_after`       | `exhausted` | 3013, come back later   |
| fatal     | not the same again: it would fail as well | `fatal`     | 3501, do not come back  |

Whoever sends looks up the right half of the table, whoever receives the left one: `kind_of` by the
``code`` of a ``ws:error``, `kind_of_close` by a close code.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from wsadapter.close_codes import CloseCode, should_reconnect


class FailureKind(StrEnum):
    """What a client should do about a failure."""

    #: Try again.
    TRANSIENT = "transient"
    #: Back off, then try again.
    EXHAUSTED = "exhausted"
    #: Do not come back with this.
    FATAL = "fatal"


class ErrorCode(StrEnum):
    """The ``code`` of a ``ws:error`` message; applications may send others."""

    TRANSIENT = "transient"
    EXHAUSTED = "exhausted"
    FATAL = "fatal"
    INVALID_JSON = "invalid_json"
    INVALID = "invalid"
    UNKNOWN_TYPE = "unknown_type"
    UNSUPPORTED = "unsupported"
    RATE_LIMITED = "rate_limited"
    INTERNAL_ERROR = "internal_error"


class Treatment(NamedTuple):
    """How a kind of failure goes over the wire."""

    error_code: ErrorCode
    close_code: CloseCode


TREATMENTS = {
    FailureKind.TRANSIENT: Treatment(ErrorCode.TRANSIENT, CloseCode.SERVER_ERROR),
    FailureKind.EXHAUSTED: Treatment(ErrorCode.EXHAUSTED, CloseCode.TOO_MANY),
    FailureKind.FATAL: Treatment(ErrorCode.FATAL, CloseCode.BAD_REQUEST),
}

_KINDS = {
    ErrorCode.TRANSIENT: FailureKind.TRANSIENT,
    ErrorCode.EXHAUSTED: FailureKind.EXHAUSTED,
    ErrorCode.RATE_LIMITED: FailureKind.EXHAUSTED,
    # As its close code 1011 says: another attempt may meet another server.
    ErrorCode.INTERNAL_ERROR: FailureKind.TRANSIENT,
}


def kind_of(error_code: str) -> FailureKind:
    """The kind of a ``ws:error``, by its code; a code that is not known is fatal."""
    return _KINDS.get(error_code, FailureKind.FATAL)  # type: ignore[call-overload, no-any-return]


def kind_of_close(close_code: int) -> FailureKind | None:
    """The kind of a connection's end, by its close code; None for 1000, which is no failure.

    Args:
        close_code: as the client saw it, 1000 to 4999.
    """
    if close_code == CloseCode.NORMAL:
        return None
    if close_code == CloseCode.TOO_MANY:
        return FailureKind.EXHAUSTED
    return FailureKind.TRANSIENT if should_reconnect(close_code) else FailureKind.FATAL
