"""What a client may send, how much of it and how fast; wsadapter's own messages end here."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

from wsadapter import frame_log, hooks
from wsadapter.close_codes import CloseCode
from wsadapter.connection import Connection
from wsadapter.errors import InvalidMessage
from wsadapter.wire import envelope
from wsadapter.wire.envelope import Label
from wsadapter.wire.failures import ErrorCode
from wsadapter.wire.heartbeat import Heartbeat
from wsadapter.wire.lanes import Priority
from wsadapter.wire.limits import RateLimit, TokenBucket, exceeds
from wsadapter.wire.payload import Frame, size_of
from wsadapter.wire.priorities import SUBPROTOCOL, Priorities, read_priority


class Terms(NamedTuple):
    """What is declared about the messages that clients send.

    Attributes:
        max_message_size: bytes; a larger message ends the connection.
        rate_limit: how many messages may come.
        rate_limits: how many of a type.
        priorities: in which lane those of a type wait.
    """

    max_message_size: int
    rate_limit: RateLimit | None
    rate_limits: Mapping[str, RateLimit]
    priorities: Priorities


class Gate:
    """Looks at each frame before anybody reads it.

    Args:
        connection: where the frames come from.
        heartbeat: learns of every sign of life.
        terms: what may come.
    """

    # A process has thousands of them.
    __slots__ = ("_bucket", "_buckets", "_connection", "_heartbeat", "_terms")

    def __init__(self, connection: Connection, heartbeat: Heartbeat, terms: Terms) -> None:
        self._connection = connection
        self._heartbeat = heartbeat
        self._terms = terms
        now = time.monotonic()
        self._bucket = TokenBucket(terms.rate_limit, now=now) if terms.rate_limit else None
        # Of each limited type that has come.
        self._buckets: dict[str, TokenBucket] = {}

    def admit(self, frame: Frame) -> Priority | None:
        """Note a frame. Returns its lane, or None when it is not for the application."""
        now = time.monotonic()
        self._count(frame, now)
        if exceeds(frame, self._terms.max_message_size):
            reason = f"a message may have {self._terms.max_message_size} bytes"
            self._connection.close_on_flood(CloseCode.BAD_REQUEST, reason)
            return None
        kind = envelope.heartbeat(frame) if isinstance(frame, str) else None
        if kind == "ws:pong":
            self._ponged(now)
            return None
        self._heartbeat.heard(now)
        if self._bucket is not None and not self._has_token(self._bucket, frame, now):
            return None
        if kind == "ws:ping":
            self._connection.post(envelope.PONG, Priority.URGENT)
            return None
        return Priority.NORMAL if isinstance(frame, bytes) else self._admit_text(frame, now)

    def _admit_text(self, text: str, now: float) -> Priority | None:
        connection, terms = self._connection, self._terms
        if connection.views and (view := envelope.view_of(text)) is not None:
            connection.change_view(view)
            return None
        if not (terms.rate_limits or terms.priorities or connection.subprotocol == SUBPROTOCOL):
            return Priority.NORMAL  # nobody asks what it is
        label = envelope.label_of(text)
        bucket = self._bucket_of(label, now)
        if bucket is not None and not self._has_token(bucket, text, now):
            return None
        return self._lane_of(label, text)

    def _ponged(self, now: float) -> None:
        heartbeat, stats = self._heartbeat, self._connection.stats
        heartbeat.ponged(now)
        measured = heartbeat.round_trip
        if measured is None or measured == stats.round_trip:
            return  # nobody had asked for it
        stats.round_trip = measured
        if hooks.ponged:
            hooks.ponged(measured)

    def _count(self, frame: Frame, now: float) -> None:
        stats = self._connection.stats
        stats.messages_in += 1
        stats.bytes_in += size_of(frame)
        stats.last_seen = now
        if frame_log.on:
            frame_log.received(self._connection.client_id, frame)

    def _bucket_of(self, label: Label, now: float) -> TokenBucket | None:
        limit = self._terms.rate_limits.get(label.type or "")
        if limit is None or label.type is None:
            return None
        bucket = self._buckets.get(label.type)
        if bucket is None:
            bucket = self._buckets[label.type] = TokenBucket(limit, now=now)
        return bucket

    def _has_token(self, bucket: TokenBucket, frame: Frame, now: float) -> bool:
        """Refuse what is above a rate limit, and in the end the one who goes on sending."""
        retry_after = bucket.take(now)
        if not retry_after:
            return True
        if bucket.flooding:
            self._connection.close_on_flood(CloseCode.TOO_MANY, "too many messages")
            return False
        error = InvalidMessage(
            ErrorCode.RATE_LIMITED,
            f"More than {bucket.limit.per_second:g} messages a second are not taken here.",
            id=envelope.id_of(frame),
        )
        self._answer(error, retry_after)
        return False

    def _lane_of(self, label: Label, text: str) -> Priority | None:
        """As the server declares it; else as the client asks, where it may."""
        declared = self._terms.priorities.get(label.type or "")
        if declared is not None:
            return declared
        if label.priority is None or self._connection.subprotocol != SUBPROTOCOL:
            return Priority.NORMAL
        try:
            return read_priority(label.priority)
        except InvalidMessage as error:
            error.id = envelope.id_of(text)
            self._answer(error)
            return None

    def _answer(self, error: InvalidMessage, retry_after: float | None = None) -> None:
        self._connection.stats.errors += 1
        self._connection.post(envelope.failure(error, retry_after))
