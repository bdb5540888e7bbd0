"""Order in each lane: a check beside the measures, as lanes may overtake one another."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from benchmarks.expectations import WrongBytes
from benchmarks.running import Running

CONNECTIONS = 50
MESSAGES = 700
#: Of each message. All of them together are more than the kernel takes for a client that does
#: not read and has a small buffer, so that some wait in the outbox and are overtaken.
MESSAGE_BYTES = 8000
RECEIVE_BUFFER = 1 << 16
#: More than all of them.
OUTBOX_BYTES = 1 << 24

#: For which the clients read nothing, so that the server has taken in everything meanwhile.
SLOW_SECONDS = 1.0

#: The lanes of wsadapter's outbox, most urgent first.
PRIORITIES = (0, 1, 2, 3)

Lanes = Mapping[int, Sequence[bytes]]


def lanes(running: Running, connections: int) -> dict[str, float]:
    """A bulk of all priorities; every lane has to arrive whole and in order.

    Raises:
        WrongBytes: something in a lane is lost, doubled or out of order.
    """
    priorities = [PRIORITIES[number * 7 % 11 % 4] for number in range(MESSAGES)]
    payloads = [message(number, priority) for number, priority in enumerate(priorities)]
    running.crowd.grow(connections)
    running.publisher.broadcast_in_lanes(payloads, priorities)
    running.publisher.answer()
    time.sleep(SLOW_SECONDS)
    received = running.crowd.collect(MESSAGES)
    expected = in_lanes([payload.encode() for payload in payloads])
    for texts in received:
        check(texts, expected)
    return {"messages": MESSAGES, "overtaken": sum(map(overtaken, received)) / len(received)}


def message(number: int, priority: int) -> str:
    return f"{priority} {number:08d} ".ljust(MESSAGE_BYTES, ".")


def in_lanes(texts: Sequence[bytes]) -> Lanes:
    """The messages of each lane, in the order in which they come."""
    return {
        priority: [text for text in texts if text.startswith(b"%d " % priority)]
        for priority in PRIORITIES
    }


def check(texts: Sequence[bytes], expected: Lanes) -> None:
    for priority, lane in in_lanes(texts).items():
        if lane != expected[priority]:
            wrong = difference(lane, expected[priority])
            raise WrongBytes(f"lane {priority} of a connection {wrong}")


def difference(lane: Sequence[bytes], expected: Sequence[bytes]) -> str:
    """What is wrong with a lane, in words."""
    lost = len(set(expected) - set(lane))
    doubled = len(lane) - len(set(lane))
    if lost or doubled:
        return f"lost {lost} messages and has {doubled} twice"
    return "is out of order"


def overtaken(texts: Sequence[bytes]) -> int:
    """How many messages came after one that was published later."""
    latest, count = -1, 0
    for text in texts:
        number = int(text[2:10])
        count += number < latest
        latest = max(latest, number)
    return count
