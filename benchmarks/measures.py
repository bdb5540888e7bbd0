"""The measures: what a running system and its crowd of clients are put through."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.publishing import Targeting
from benchmarks.results import percentile
from benchmarks.running import Running

#: Messages in a burst, and the fewest when a full one would take too long.
BURST, SMALLEST_BURST = 50, 5
#: Seconds that a single round of a burst should not take.
LONG_ROUND = 8.0

#: Calls before the measured ones, which open connections and load code.
FIRST_CALLS = 20
#: Measured calls: as many as fit into the seconds, within these bounds.
LEAST_CALLS, MOST_CALLS = 200, 5000

#: Connections that are there before connecting and memory are measured.
FIRST_CONNECTIONS = 20
#: Parts in which a crowd arrives; their median counts.
CONNECT_PARTS = 5


@dataclass(frozen=True)
class Effort:
    """How long a measure goes on: at least so many rounds, then until its seconds are over."""

    least_rounds: int
    most_rounds: int
    seconds: float

    def rounds(self, play: Callable[[], Round]) -> list[Round]:
        deadline = time.monotonic() + self.seconds
        played: list[Round] = []
        while len(played) < self.least_rounds or (
            len(played) < self.most_rounds and time.monotonic() < deadline
        ):
            played.append(play())
        return played


@dataclass(frozen=True)
class Round:
    """One broadcast, from the publisher's call to the last byte at the last client."""

    seconds: float
    client_cpu_seconds: float
    publisher_cpu_seconds: float


def closed(running: Running, effort: Effort) -> dict[str, float]:
    """One message after another, each when the last client has the one before."""
    broadcast(running, 1)  # warm
    return summary(running, 1, lambda: broadcast(running, 1), effort)


def burst(running: Running, effort: Effort) -> dict[str, float]:
    """Many messages at once."""
    messages = burst_size(broadcast(running, SMALLEST_BURST).seconds)
    return summary(running, messages, lambda: broadcast(running, messages), effort)


def burst_size(seconds_of_smallest: float) -> int:
    """As many messages as a round that is not too long has time for."""
    fitting = int(SMALLEST_BURST * LONG_ROUND / seconds_of_smallest)
    return max(SMALLEST_BURST, min(BURST, fitting))


def summary(
    running: Running, messages: int, play: Callable[[], Round], effort: Effort
) -> dict[str, float]:
    cpu_before = running.server_cpu_seconds()
    rounds = effort.rounds(play)
    server_cpu = running.server_cpu_seconds() - cpu_before
    running.crowd.check_silence()
    seconds = [each.seconds for each in rounds]
    busy = sum(seconds)
    return {
        "p50_ms": median(seconds) * 1000,
        "p99_ms": percentile(seconds, 99) * 1000,
        "deliveries_per_second": messages * len(running.crowd) / median(seconds),
        "messages": messages,
        "rounds": len(rounds),
        "server_cpu": server_cpu / busy,
        "client_cpu": sum(each.client_cpu_seconds for each in rounds) / busy,
        "publisher_cpu": sum(each.publisher_cpu_seconds for each in rounds) / busy,
    }


def broadcast(running: Running, messages: int) -> Round:
    """One round; every byte at every client is compared."""
    payloads = running.payloads(messages)
    running.crowd.expect(running.stream(payloads))
    return play(running, payloads)


def play(running: Running, payloads: Sequence[str]) -> Round:
    """Publish what the crowd expects, and wait for the last client."""
    cpu_before = time.process_time()
    running.publisher.broadcast(payloads)
    ended = running.crowd.receive()
    client_cpu = time.process_time() - cpu_before
    broadcasting = running.publisher.broadcasted()
    return Round(ended - broadcasting.began, client_cpu, broadcasting.cpu_seconds)


def targeted(running: Running, seconds: float) -> dict[str, float]:
    """Single sends from a synchronous process, to a user with one connection that gets them all."""
    running.crowd.grow(1)
    first = target(running, FIRST_CALLS)
    fitting = int(seconds * FIRST_CALLS / first.seconds)
    opened_before = running.redis_statistic("total_connections_received")
    targeting = target(running, max(LEAST_CALLS, min(MOST_CALLS, fitting)))
    opened = running.redis_statistic("total_connections_received") - opened_before
    running.crowd.check_silence()
    return {
        "calls_per_second": len(targeting.calls) / targeting.seconds,
        "p50_us": median(targeting.calls) * 1e6,
        "p99_us": percentile(targeting.calls, 99) * 1e6,
        "calls": len(targeting.calls),
        "redis_connections_opened": opened,
    }


def target(running: Running, calls: int) -> Targeting:
    payloads = running.payloads(calls)
    running.crowd.expect(running.stream(payloads))
    running.publisher.target(payloads)
    running.crowd.receive()
    return running.publisher.targeted()


def connect(running: Running, connections: int) -> dict[str, float]:
    """How fast a crowd arrives: handshake, authentication, and all that a client waits for."""
    crowd = running.crowd
    crowd.grow(min(FIRST_CONNECTIONS, connections // 2))
    sizes = parts(len(crowd), connections, CONNECT_PARTS)
    cpu_before, began = time.process_time(), time.monotonic()
    rates = [(size - len(crowd)) / crowd.grow(size) for size in sizes]
    client_cpu = (time.process_time() - cpu_before) / (time.monotonic() - began)
    return {"connects_per_second": median(rates), "client_cpu": client_cpu}


def parts(start: int, end: int, number: int) -> list[int]:
    """Where each of so many equal steps from start to end arrives."""
    return [start + (end - start) * step // number for step in range(1, number + 1)]


def idle(running: Running, connections: int, seconds: float) -> dict[str, float]:
    """What connections cost that say nothing, with the heartbeats that are there by default."""
    crowd = running.crowd
    crowd.grow(min(FIRST_CONNECTIONS, connections // 2))
    few, before = len(crowd), running.server_bytes()
    crowd.grow(connections)
    bytes_each = (running.server_bytes() - before) / (connections - few)
    commands_before = running.redis_statistic("total_commands_processed")
    cpu_before = running.server_cpu_seconds()
    crowd.attend(seconds)
    cpu = running.server_cpu_seconds() - cpu_before
    own_question = 1
    commands = running.redis_statistic("total_commands_processed") - commands_before - own_question
    return {
        "kib_per_connection": bytes_each / 1024,
        "cpu": cpu / seconds,
        "redis_commands_per_connection_minute": commands / connections * 60 / seconds,
        "seconds": seconds,
    }
