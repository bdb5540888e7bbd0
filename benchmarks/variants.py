"""Measures that start a system more than once: compressed beside plain, one process beside two."""

from __future__ import annotations

import json
from collections.abc import Sequence

from benchmarks.machine import Cores
from benchmarks.measures import BURST, Effort, Round, broadcast, play, summary
from benchmarks.running import Running, start
from benchmarks.system import System


def compressed(system: System, cores: Cores, connections: int, effort: Effort) -> dict[str, float]:
    """A burst of JSON with permessage-deflate negotiated, and the same one without."""
    payloads = json_payloads(BURST)
    with start(system, cores) as running:
        running.crowd.grow(connections)
        plain = plain_burst(running, payloads, effort)
    with start(system, cores, compression=True) as running:
        running.crowd.grow(connections)
        small, bytes_small = compressed_burst(running, payloads, effort)
    plain_rate, rate = plain["deliveries_per_second"], small["deliveries_per_second"]
    return {
        "deliveries_per_second": rate,
        "plain_deliveries_per_second": plain_rate,
        "of_plain": rate / plain_rate,
        "bytes_per_message": bytes_small / BURST,
        "plain_bytes_per_message": len(running.stream(payloads)) / BURST,
        "client_cpu": small["client_cpu"],
    }


def plain_burst(running: Running, payloads: Sequence[str], effort: Effort) -> dict[str, float]:
    return _same_bytes(running, payloads, running.stream(payloads), effort)


def compressed_burst(
    running: Running, payloads: Sequence[str], effort: Effort
) -> tuple[dict[str, float], int]:
    """The first round finds out the bytes that all have to receive, then and in all rounds."""
    running.publisher.broadcast(payloads)
    stream = running.crowd.learn(payloads)
    running.crowd.expect_after_learning(stream)
    running.crowd.receive()
    running.publisher.broadcasted()
    return _same_bytes(running, payloads, stream, effort), len(stream)


def _same_bytes(
    running: Running, payloads: Sequence[str], stream: bytes, effort: Effort
) -> dict[str, float]:
    def once() -> Round:
        running.crowd.expect(stream)
        return play(running, payloads)

    once()  # warm
    return summary(running, len(payloads), once, effort)


def json_payloads(number: int) -> list[str]:
    """About a kilobyte each, with the repetitions that JSON has."""
    return [json.dumps([_order(message, row) for row in range(10)]) for message in range(number)]


def _order(message: int, row: int) -> dict[str, object]:
    number = 1000 * message + row
    return {
        "type": "order.changed",
        "id": number,
        "state": ["paid", "packed", "sent"][number % 3],
        "total": f"{number * 7919 % 100000 / 100:.2f}",
        "customer": f"customer-{number * 31 % 997}",
    }


def scale(system: System, cores: Cores, connections: int, effort: Effort) -> dict[str, float]:
    """Bursts from one server process, and from two that have half of the connections each.

    On two cores the second process shares its core with Redis, publisher and load client.
    """
    second = frozenset({min(cores.others)})
    one = _bursts(system, cores, [cores.server], connections, effort)
    two = _bursts(system, cores, [cores.server, second], connections, effort)
    return {
        "one_deliveries_per_second": one["deliveries_per_second"],
        "two_deliveries_per_second": two["deliveries_per_second"],
        "two_by_one": two["deliveries_per_second"] / one["deliveries_per_second"],
        "client_cpu": two["client_cpu"],
    }


def _bursts(
    system: System,
    cores: Cores,
    server_cores: Sequence[frozenset[int]],
    connections: int,
    effort: Effort,
) -> dict[str, float]:
    with start(system, cores, server_cores=server_cores) as running:
        running.crowd.grow(connections)
        broadcast(running, BURST)  # warm
        return summary(running, BURST, lambda: broadcast(running, BURST), effort)
