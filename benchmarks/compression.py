"""``python -m benchmarks.compression``: what permessage-deflate costs and saves.

Three servers, each with the option off and at three levels; the clients offer it as browsers do.
It takes about two minutes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks import machine
from benchmarks.load import Crowd, Manners
from benchmarks.machine import Cores
from benchmarks.running import Running, manners, start
from benchmarks.systems.adapter import AdapterSystem
from benchmarks.table import Table

#: By the names that they have among all systems: the publisher looks there.
SERVERS = {
    "wsadapter, uvicorn, prepared frames": "prepared",
    "wsadapter, uvicorn": "uvicorn",
    "wsadapter, daphne": "daphne",
}
#: 0 is off.
LEVELS = (0, 1, 6, 9)

OFFER = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}

FIRST_CONNECTIONS, CONNECTIONS = 20, 420
#: Messages in a burst.
BURST = 50
#: One size of messages is measured for so long, at least two bursts.
SECONDS = 1.0

#: Rows of JSON in a message: a kilobyte, and one as short as most are.
LONG, SHORT = 10, 2


@dataclass(frozen=True)
class Cost:
    """What one size of messages costs.

    Attributes:
        wire_bytes: of a frame, its header included.
        cpu_seconds: of the server, for each delivery.
    """

    wire_bytes: float
    cpu_seconds: float


@dataclass(frozen=True)
class Costs:
    """One server at one level."""

    long: Cost
    short: Cost
    bytes_per_connection: float


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that all it started is ended
    machine.allow_many_files()
    cores = Cores.split()
    os.sched_setaffinity(0, cores.others)
    print(", ".join(f"{name} {value}" for name, value in machine.description().items()))
    found = {name: {level: costs(name, level, cores) for level in LEVELS} for name in SERVERS}
    print("\n" + table(found).as_markdown())
    return 0


def costs(name: str, level: int, cores: Cores) -> Costs:
    print(f"{name}: {named(level)}", file=sys.stderr)
    system = AdapterSystem(name, server=SERVERS[name], adapter={"COMPRESSION": level or False})
    with start(system, cores, compression=True) as running, browsers(running) as crowd:
        crowd.grow(FIRST_CONNECTIONS)
        burst(running, crowd, orders(LONG))
        few = running.server_bytes()
        crowd.grow(CONNECTIONS)
        burst(running, crowd, orders(LONG))
        each = (running.server_bytes() - few) / (CONNECTIONS - FIRST_CONNECTIONS)
        return Costs(cost(running, crowd, orders(LONG)), cost(running, crowd, orders(SHORT)), each)


@contextmanager
def browsers(running: Running) -> Iterator[Crowd]:
    """A crowd that takes what the server agrees to; the harness' own insists on its terms."""
    plain = manners(running.system, running.place)
    path, greetings, answers = plain.path, plain.greetings, plain.answers
    headers = {**plain.headers, **OFFER}
    crowd = Crowd([running.place.port], Manners(path, headers, (), greetings, answers))
    try:
        yield crowd
    finally:
        crowd.close()


def cost(running: Running, crowd: Crowd, payloads: Sequence[str]) -> Cost:
    """The server's time for bursts, by the number of frames that arrive."""
    before, bursts = running.server_cpu_seconds(), 0
    deadline = time.monotonic() + SECONDS
    while bursts < 2 or time.monotonic() < deadline:
        wire_bytes = burst(running, crowd, payloads)
        bursts += 1
    deliveries = bursts * len(payloads) * len(crowd)
    return Cost(wire_bytes, (running.server_cpu_seconds() - before) / deliveries)


def burst(running: Running, crowd: Crowd, payloads: Sequence[str]) -> float:
    """Push to all; returns the bytes of a frame as it arrived, on the average."""
    running.publisher.broadcast(payloads)
    received = crowd.collect(len(payloads))
    running.publisher.broadcasted()
    return sum(map(frame_size, received[0])) / len(payloads)


def frame_size(payload: bytes) -> int:
    return len(payload) + (2 if len(payload) < 126 else 4)


def orders(rows: int) -> list[str]:
    """A burst of JSON, with the repetitions that it has."""
    return [
        json.dumps([order(1000 * message + row) for row in range(rows)]) for message in range(BURST)
    ]


def order(number: int) -> Mapping[str, object]:
    return {
        "type": "order.changed",
        "id": number,
        "state": ["paid", "packed", "sent"][number % 3],
        "total": f"{number * 7919 % 100000 / 100:.2f}",
        "customer": f"customer-{number * 31 % 997}",
    }


def table(found: Mapping[str, Mapping[int, Costs]]) -> Table:
    plain = [sum(map(len, texts)) / BURST for texts in (orders(LONG), orders(SHORT))]
    long, short = (f"{size:.0f} bytes" for size in plain)
    columns = [f"{text}: {what}" for text in (long, short) for what in ("wire", "CPU µs", "× off")]
    return Table(
        f"Compression, {CONNECTIONS} connections",
        f"Bursts of {BURST} broadcasts of JSON; the server's CPU time for each frame delivered.",
        ["", *columns, "KiB per connection"],
        [
            [f"{name}, {named(level)}", *cells(each, by_level[0])]
            for name, by_level in found.items()
            for level, each in by_level.items()
        ],
    )


def cells(costs: Costs, off: Costs) -> Iterator[str]:
    for one, plain in ((costs.long, off.long), (costs.short, off.short)):
        yield f"{one.wire_bytes:.0f}"
        yield f"{one.cpu_seconds * 1e6:.1f}"
        yield f"{one.cpu_seconds / plain.cpu_seconds:.1f}"
    yield f"{costs.bytes_per_connection / 1024:.0f}"


def named(level: int) -> str:
    return f"level {level}" if level else "off"


if __name__ == "__main__":
    sys.exit(main())
