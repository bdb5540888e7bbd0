"""What is measured: a server that pushes to browsers, and how it is told what to push."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Family = Literal["wsadapter", "channels", "peer", "limit"]

#: The fields of a typed message, by their names.
Message = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Place:
    """Where one run of a system happens, and what is asked of it there.

    Attributes:
        heartbeats: as the server has them by default; else none, so that no control frame
            stands among the measured ones.
        compression: permessage-deflate is negotiated; else it is switched off.
    """

    directory: Path
    redis_port: int
    port: int
    heartbeats: bool = False
    compression: bool = False

    @property
    def redis_url(self) -> str:
        return f"redis://127.0.0.1:{self.redis_port}/0"


class Publisher(ABC):
    """Tells a running system what to push, from the process of the load client."""

    @abstractmethod
    def broadcast(self, payloads: Sequence[str]) -> None:
        """Push every payload to every connection, in order, all at once where that is possible."""

    @abstractmethod
    def send_to_user(self, user: str, payload: str) -> None:
        """Push to the connections of one user (or room), as synchronous code does."""

    def broadcast_in_lanes(self, payloads: Sequence[str], priorities: Sequence[int]) -> None:
        """As `broadcast`, with a priority for each; of systems with the measure ``lanes``."""
        raise NotImplementedError(f"{type(self).__name__} knows no priorities.")

    def close(self) -> None:  # noqa: B027 (optional)
        """Let go of connections."""


class System(ABC):
    """One way to push to browsers.

    Attributes:
        name: as the table shows it; unique.
        family: what it is compared as.
        path: of the WebSocket, with its query string.
        hello: text messages that a client has to send before it is served.
        greetings: frames that the server sends to a client before it is served.
        answers: what a client answers to the text messages of a heartbeat: text -> text.
        measures: which measures make sense for it.
        most_connections: with more, one round takes minutes.
    """

    name: str
    family: Family
    path: str = "/ws/"
    hello: tuple[str, ...] = ()
    greetings: int = 0
    answers: Mapping[str, str] = {}
    most_connections: int = 1_000_000
    measures: frozenset[str] = frozenset({"closed", "burst", "targeted", "connect", "idle"})

    @abstractmethod
    def missing(self) -> str | None:
        """What is not installed, in words that tell how to install it; None if it can run."""

    def prepare(self, place: Place) -> None:  # noqa: B027 (optional)
        """Build, configure, migrate: what happens once before the start."""

    @abstractmethod
    def command(self, place: Place) -> list[str]:
        """The server's command line; its port answers when it is ready."""

    def environment(self, place: Place) -> Mapping[str, str]:
        """What the server's environment has beyond this one's."""
        return {}

    def headers(self, place: Place) -> Mapping[str, str]:
        """What a client's handshake has beyond the standard's: a session cookie."""
        return {}

    def settle(self, place: Place) -> None:  # noqa: B027 (optional)
        """Have a running server free what it no longer needs, where it can be asked to."""

    def frame(self, payload: str) -> bytes:
        """The bytes of the WebSocket frame in which a payload arrives."""
        return text_frame(payload)

    def said(self, message: Message) -> str:
        """A typed message as a client says it, of systems with the measure ``echo``."""
        return compact_json(message)

    def heard(self, message: Message) -> str:
        """What the client hears back."""
        return self.said(message)

    @abstractmethod
    def publisher(self, place: Place) -> Publisher:
        """The publisher; called once, in a process of its own."""


def compact_json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def text_frame(text: str) -> bytes:
    """An unmasked text frame (RFC 6455, section 5.2)."""
    payload = text.encode()
    if len(payload) < 126:
        return bytes((0x81, len(payload))) + payload
    if len(payload) < 65536:
        return b"\x81\x7e" + len(payload).to_bytes(2) + payload
    return b"\x81\x7f" + len(payload).to_bytes(8) + payload
