"""What a client may send, how much of it and how fast; heartbeats are answered at the gate."""

from __future__ import annotations

import time

from wsadapter import frame_log
from wsadapter.close_codes import CloseCode
from wsadapter.connection import Connection
from wsadapter.errors import InvalidMessage
from wsadapter.wire import envelope
from wsadapter.wire.envelope import ErrorCode
from wsadapter.wire.heartbeat import Heartbeat
from wsadapter.wire.limits import RateLimit, TokenBucket, exceeds
from wsadapter.wire.outbox import Priority
from wsadapter.wire.payload import Frame, size_of


class Gate:
    """Looks at each frame before anybody reads it.

    Args:
        connection: where the frames come from.
        heartbeat: learns of every sign of life.
        max_message_size: bytes; a larger message ends the connection.
        rate_limit: how many messages may come.
    """

    # A process has thousands of them.
    __slots__ = ("_bucket", "_connection", "_heartbeat", "_max_message_size")

    def __init__(
        self,
        connection: Connection,
        heartbeat: Heartbeat,
        *,
        max_message_size: int,
        rate_limit: RateLimit | None,
    ) -> None:
        self._connection = connection
        self._heartbeat = heartbeat
        self._max_message_size = max_message_size
        self._bucket = TokenBucket(rate_limit, now=time.monotonic()) if rate_limit else None

    def lets_pass(self, frame: Frame) -> bool:
        """Note a frame. Returns whether it is for the application."""
        now = time.monotonic()
        self._count(frame, now)
        if exceeds(frame, self._max_message_size):
            reason = f"a message may have {self._max_message_size} bytes"
            self._connection.close_on_flood(CloseCode.BAD_REQUEST, reason)
            return False
        kind = envelope.heartbeat(frame) if isinstance(frame, str) else None
        if kind == "ws:pong":
            self._heartbeat.ponged(now)
            self._connection.stats.round_trip = self._heartbeat.round_trip
            return False
        self._heartbeat.heard(now)
        if self._bucket is not None and (retry_after := self._bucket.take(now)):
            self._slow_down(self._bucket, frame, retry_after)
            return False
        if kind == "ws:ping":
            self._connection.post(envelope.PONG, Priority.URGENT)
        return kind is None

    def _count(self, frame: Frame, now: float) -> None:
        stats = self._connection.stats
        stats.messages_in += 1
        stats.bytes_in += size_of(frame)
        stats.last_seen = now
        if frame_log.on:
            frame_log.received(self._connection.client_id, frame)

    def _slow_down(self, bucket: TokenBucket, frame: Frame, retry_after: float) -> None:
        """Refuse what is above the rate limit, and in the end the one who goes on sending."""
        if bucket.flooding:
            self._connection.close_on_flood(CloseCode.TOO_MANY, "too many messages")
            return
        self._connection.stats.errors += 1
        error = InvalidMessage(
            ErrorCode.RATE_LIMITED,
            f"More than {bucket.limit.per_second:g} messages a second are not taken here.",
            id=envelope.id_of(frame),
        )
        self._connection.post(envelope.failure(error, retry_after))
