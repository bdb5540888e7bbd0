"""WebSocket close codes: one public taxonomy, so that the number alone tells a client what to do.

The ranges are those of the Centrifugal client protocol: 3000-3499 and 4000-4499 mean "come
back", 3500-3999 and 4500-4999 mean "do not". Below 3000, RFC 6455 section 7.4 applies: a
normal end (1000) and a message that is too big (1009) would only repeat themselves.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum


class CloseCode(IntEnum):
    """The codes that wsadapter closes a connection with, or finds it closed with."""

    NORMAL = 1000
    GOING_AWAY = 1001
    NO_STATUS = 1005
    ABNORMAL = 1006
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    # Come back.
    SHUTDOWN = 3001
    SERVER_ERROR = 3004
    CREDENTIALS_EXPIRED = 3005
    SLOW = 3008
    INSUFFICIENT_STATE = 3010
    NO_PONG = 3012
    TOO_MANY = 3013
    # Do not come back.
    UNAUTHENTICATED = 3500
    BAD_REQUEST = 3501
    FORCED_OUT = 3503
    CONNECTION_LIMIT = 3504
    NOT_PERMITTED = 3507


class ClosedBy(StrEnum):
    """Which side ended a connection."""

    CLIENT = "client"
    SERVER = "server"
    #: Nobody said so: the client crashed, or the network is gone.
    NETWORK = "network"


#: The client is done: it closed, or left the page.
FINISHED_CODES = frozenset({CloseCode.NORMAL, CloseCode.GOING_AWAY, CloseCode.NO_STATUS})

#: Ends that nobody needs to hear about: these, and a server that restarts.
NORMAL_CODES = FINISHED_CODES | {CloseCode.SERVICE_RESTART, CloseCode.SHUTDOWN}

#: RFC 6455, section 5.5: a control frame carries 125 bytes, of which the code takes two.
MAX_REASON_BYTES = 123


def check_code(code: int) -> None:
    """Refuse a code that no endpoint may send (RFC 6455, section 7.4; IANA's registry).

    Raises:
        ValueError: neither 1000 to 1003, 1007 to 1014, nor 3000 to 4999.
    """
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise ValueError(
            f"{code} is no close code that may be sent. Use 1000, or one of your own: 4000 to "
            "4499 when the client should come back, 4500 to 4999 when it should not."
        )


def should_reconnect(code: int) -> bool:
    """Whether a client that was closed with this code should connect again.

    Args:
        code: the close code as the client saw it, 1000 to 4999.
    """
    if code < 3000:
        return code not in (1000, 1009)
    return code % 1000 < 500
