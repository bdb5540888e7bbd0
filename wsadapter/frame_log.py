"""Every frame of every connection as one line of the log, for whoever debugs.

``WSADAPTER_DEBUG=1`` in the environment turns it on; where that is unset, ``DEBUG=1`` turns it on
without payloads. The lines are of the logger ``wsadapter.frames`` and begin with what happened:

    open 0f3b….8c6f /ws/?room=7&token=***
    out  0f3b….8c6f accept
    in   0f3b….8c6f text 39 bytes {"type":"log.in","password":"***"}
    out  0f3b….8c6f binary 65536 bytes 89504e470d0a1a0a0000000d49484452…
    out  0f3b….8c6f close 3503 (disconnected by the server)
    end  0f3b….8c6f 3503 (disconnected by the server)
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from enum import Enum
from typing import Any

from wsadapter.wire.masking import masked, masked_query, one_line
from wsadapter.wire.payload import Frame

logger = logging.getLogger("wsadapter.frames")

#: In characters of a line, for a payload, a path or a reason.
MAX_SHOWN_LENGTH = 200
#: Of a binary frame, in bytes.
MAX_HEX_BYTES = 16

_TRUE_WORDS = frozenset({"1", "true", "yes", "on"})


class Detail(Enum):
    """How much is logged of a frame."""

    OFF = "off"
    #: Its direction, kind and size.
    FRAMES = "frames"
    #: And its payload, shortened and with secrets masked.
    PAYLOADS = "payloads"


detail = Detail.OFF
#: Whether anything is logged; asked for each frame before any of the functions is called.
on = False


def detail_from(environ: Mapping[str, str]) -> Detail:
    """What the environment asks for: ``1``, ``true``, ``yes`` and ``on`` mean yes."""
    own = environ.get("WSADAPTER_DEBUG")
    if own is not None:
        return Detail.PAYLOADS if _is_true(own) else Detail.OFF
    return Detail.FRAMES if _is_true(environ.get("DEBUG", "")) else Detail.OFF


def configure(environ: Mapping[str, str] = os.environ) -> None:
    """Log as the environment asks for, to stderr where nobody else would show it.

    Calling it again changes nothing but the detail.
    """
    global detail, on
    detail = detail_from(environ)
    on = detail is not Detail.OFF
    if not on:
        return
    logger.setLevel(logging.DEBUG)
    if not _is_shown():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
        logger.addHandler(handler)


def opened(client_id: str, scope: Mapping[str, Any]) -> None:
    """Log that a connection begins."""
    target = masked(scope.get("path", ""))
    if detail is Detail.PAYLOADS and (query := scope.get("query_string")):
        target += "?" + masked_query(query.decode("latin-1"))
    logger.debug("open %s %s", client_id, _fit_for_a_line(target))


def received(client_id: str, frame: Frame) -> None:
    """Log what the client sent."""
    logger.debug("in   %s %s", client_id, _described(frame))


def sent(client_id: str, event: Mapping[str, Any]) -> None:
    """Log an ASGI event on its way to the client."""
    logger.debug("out  %s %s", client_id, _described_event(event))


def ended(client_id: str, code: int, reason: str) -> None:
    """Log that a connection is over."""
    logger.debug("end  %s %s", client_id, _described_end(code, reason))


def _is_true(text: str) -> bool:
    return text.strip().lower() in _TRUE_WORDS


def _is_shown() -> bool:
    """Whether some handler takes these lines; that of an error collector, say, does not."""
    current: logging.Logger | None = logger
    while current is not None:
        if any(handler.level <= logging.DEBUG for handler in current.handlers):
            return True
        current = current.parent if current.propagate else None
    return False


def _described_event(event: Mapping[str, Any]) -> str:
    kind = event["type"].removeprefix("websocket.")
    if kind == "send":
        text = event.get("text")
        return _described(text if text is not None else event.get("bytes") or b"")
    if kind == "close":
        return f"close {_described_end(event.get('code', 1000), event.get('reason') or '')}"
    return _fit_for_a_line(kind)


def _described_end(code: int, reason: str) -> str:
    return f"{int(code)} ({_fit_for_a_line(masked(reason))})" if reason else str(int(code))


def _described(frame: Frame) -> str:
    kind = "text" if isinstance(frame, str) else "binary"
    summary = f"{kind} {_size_in_bytes(frame)} bytes"
    return f"{summary} {_shown(frame)}" if detail is Detail.PAYLOADS and frame else summary


def _size_in_bytes(frame: Frame) -> int:
    # Lone surrogates are for the server to refuse; a log takes what there is.
    return len(frame.encode("utf-8", "surrogatepass") if isinstance(frame, str) else frame)


def _shown(frame: Frame) -> str:
    if isinstance(frame, str):
        return _fit_for_a_line(masked(frame))
    return frame[:MAX_HEX_BYTES].hex() + ("…" if len(frame) > MAX_HEX_BYTES else "")


def _fit_for_a_line(text: str) -> str:
    return one_line(text[:MAX_SHOWN_LENGTH]) + ("…" if len(text) > MAX_SHOWN_LENGTH else "")
