"""What connections have to receive, compared byte by byte, and in words what came instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


class DeliveryError(Exception):
    """Not what had to be delivered."""


class WrongBytes(DeliveryError):
    """Bytes that nobody expected: doubled, out of order, altered, or after the end."""


class Lost(DeliveryError):
    """Bytes that did not come."""


class Refused(DeliveryError):
    """A handshake that failed, or a connection that was closed."""


class Expectation:
    """The bytes that each connection has to receive, and how far each of them has come.

    Args:
        stream: the same for all.
        connections: by their numbers.
    """

    def __init__(self, stream: bytes, connections: Iterable[int]) -> None:
        self._stream = memoryview(stream)
        self._length = len(stream)
        self._positions = dict.fromkeys(connections, 0)
        self.waiting = len(self._positions)

    def take(self, connection: int, buffer: bytearray, count: int) -> memoryview | None:
        """Note what a connection has received: the first ``count`` bytes of the buffer.

        Returns:
            What the connection says to that: nothing.

        Raises:
            WrongBytes: it is not what comes next.
        """
        start = self._positions[connection]
        end = start + count
        # A comparison of memory with memory: nothing is copied.
        if end > self._length or not buffer.startswith(self._stream[start:end]):
            raise _wrong(connection, self._stream, start, buffer[:count])
        self._positions[connection] = end
        if end == self._length:
            self.waiting -= 1
        return None

    def missing(self) -> str:
        """Who waits for how much, in words."""
        return _missing([self._length - position for position in self._positions.values()])


class Speaker:
    """One connection of a conversation: what it says, and what it hears back.

    Args:
        connection: its number.
        said: the frames that it sends, all of one length.
        heard: the frames that it receives, one for each of these and all of one length.
        window: how many messages it may be ahead of what it has heard.
    """

    def __init__(
        self, connection: int, said: Sequence[bytes], heard: Sequence[bytes], window: int
    ) -> None:
        assert len({*map(len, said)}) == len({*map(len, heard)}) == 1, "one length"
        assert len(said) == len(heard), "one answer to each"
        self._connection = connection
        self._said, self._said_length = memoryview(b"".join(said)), len(said[0])
        self._heard, self._heard_length = memoryview(b"".join(heard)), len(heard[0])
        self._window = window
        self._position = 0

    @property
    def opening(self) -> memoryview:
        """What it says before it has heard anything."""
        return self._said[: self._window * self._said_length]

    @property
    def lacks(self) -> int:
        """Bytes that it has not heard yet."""
        return len(self._heard) - self._position

    def take(self, buffer: bytearray, count: int) -> memoryview:
        """Note what it has heard: the first ``count`` bytes of the buffer.

        Returns:
            What it says to that: a message for each that it has now heard to the end.

        Raises:
            WrongBytes: it is not what comes next.
        """
        start = self._position
        end = start + count
        if end > len(self._heard) or not buffer.startswith(self._heard[start:end]):
            raise _wrong(self._connection, self._heard, start, buffer[:count])
        self._position = end
        first = start // self._heard_length + self._window
        last = end // self._heard_length + self._window
        return self._said[first * self._said_length : last * self._said_length]


class Conversation:
    """Connections of which each says something of its own, and hears something of its own.

    Args:
        speakers: by the numbers of their connections.
    """

    def __init__(self, speakers: Mapping[int, Speaker]) -> None:
        self.speakers = speakers
        self.waiting = len(speakers)

    def take(self, connection: int, buffer: bytearray, count: int) -> memoryview:
        """Note what a connection has received; returns what it says to that.

        Raises:
            WrongBytes: it is not what comes next.
        """
        speaker = self.speakers[connection]
        answer = speaker.take(buffer, count)
        if not speaker.lacks:
            self.waiting -= 1
        return answer

    def missing(self) -> str:
        """Who waits for how much, in words."""
        return _missing([speaker.lacks for speaker in self.speakers.values()])


def _missing(lacks: Sequence[int]) -> str:
    short = [lack for lack in lacks if lack]
    worst = max(short, default=0)
    return f"{len(short)} of {len(lacks)} connections lack up to {worst} bytes"


def _wrong(connection: int, stream: memoryview, start: int, received: bytearray) -> WrongBytes:
    expected = bytes(stream[start : start + len(received)])
    pairs = enumerate(zip(expected, received, strict=False))
    at = next((index for index, (one, other) in pairs if one != other), len(expected))
    came, wanted = bytes(received[at : at + 60]), expected[at : at + 60]
    return WrongBytes(
        f"connection {connection} received {came!r} at byte {start + at} of {len(stream)}, "
        f"where {wanted!r} was to come"
    )
