"""``python -m benchmarks.presence``: what it costs to know who is online.

100 000 connections under 20 leases, recorded straight in the store, and beside it the usual way:
a lease for each connection. It takes about two minutes.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import redis

from benchmarks import shown
from benchmarks.cluster import EVERYBODY, Cluster
from benchmarks.leases import BEAT_SECONDS, WAYS, LeasePerConnection
from benchmarks.machine import Cores
from benchmarks.meter import Meter, Usage
from benchmarks.presence_table import OURS
from benchmarks.processes import Process, free_port, redis_command
from benchmarks.results import Report, Result, Values, percentile
from wsadapter.redis_pool import RedisPool
from wsadapter.store import RedisStore
from wsadapter.store.operations import (
    PAGE_SIZE,
    FindClient,
    IsOnline,
    MemberCount,
    Members,
    OnlineClients,
    OnlineCount,
    OnlineUserCount,
    Operation,
    Page,
)

BEATS_PER_MINUTE = round(60 / BEAT_SECONDS)

#: Questions whose answer is a page.
PAGES = ("first_page", "middle_page", "member_page", "middle_members")


class WrongAnswer(Exception):
    """The store does not say what is so."""


@dataclass(frozen=True)
class Extent:
    """How much is recorded, and how often each question is asked."""

    connections: int
    leases: int
    calls: int


FULL = Extent(connections=100_000, leases=20, calls=500)
QUICK = Extent(connections=4_000, leases=20, calls=20)


def main() -> int:
    options = parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that all it started is ended
    cores = Cores.split()
    os.sched_setaffinity(0, cores.others)
    found = results(QUICK if options.quick else FULL, cores)
    for table in shown.tables(Report({}, {}, "", found)):
        print(f"{table.as_text()}\n")
    if not options.quick:
        shown.add(found)
    return 0


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.presence")
    arguments.add_argument("--quick", action="store_true", help="small, and kept nowhere")
    return arguments


def results(extent: Extent, cores: Cores) -> list[Result]:
    """All measures; wsadapter and each of its peers in a Redis of its own."""
    with empty_redis(cores) as trial:
        made = [*own_results(trial, extent)]
    for way in WAYS:
        with empty_redis(cores) as trial:
            made += peer_results(trial, way, extent)
    return made


@dataclass(frozen=True)
class Trial:
    """A Redis that is empty at first, one who looks into it, and wsadapter's store in it."""

    client: redis.Redis
    store: RedisStore

    def cluster(self, extent: Extent) -> Cluster:
        return Cluster(self.store, extent.connections, extent.leases)


@contextmanager
def empty_redis(cores: Cores) -> Iterator[Trial]:
    """A Redis that is alone on its core."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="benchmark-")))
        port, log = free_port(), directory / "redis.log"
        process = Process(redis_command(port, directory), cores=cores.server, log=log)
        stack.callback(process.end)
        process.until_port_answers(port)
        pool = RedisPool({"address": f"redis://127.0.0.1:{port}/0"}, timeout_seconds=30)
        stack.callback(pool.sync_client().close)
        yield Trial(stack.enter_context(redis.Redis(port=port)), RedisStore(pool))


def own_results(trial: Trial, extent: Extent) -> Iterator[Result]:
    cluster = trial.cluster(extent)
    scripts = {"joins": held(trial, cluster.fill)}
    yield cost_result(extent, OURS, minute_of_beats(trial, cluster))
    scripts |= scripts_of_phases(trial, cluster)
    yield result(extent, "scripts", OURS, flattened(scripts))
    yield result(extent, "questions", OURS, answer_times(cluster, extent.calls))


def peer_results(trial: Trial, way: type[LeasePerConnection], extent: Extent) -> Iterator[Result]:
    """A beat of everybody, as often as it is in a minute; and the questions that it answers."""
    cluster = trial.cluster(extent)
    ids = [cluster.client(number).client_id for number in range(extent.connections)]
    peer, now = way(trial.client, ids), time.time()
    peer.beat(now)  # everybody is there from now on
    now += BEAT_SECONDS
    beat = Meter(trial.client).usage(lambda: peer.beat(now))
    yield cost_result(extent, way.name, beat.times(BEATS_PER_MINUTE))
    times = {name: timed(ask, extent.calls) for name, ask in peer.questions(now).items()}
    if times:
        yield result(extent, "questions", way.name, flattened(times))


def result(extent: Extent, measure: str, system: str, values: Values) -> Result:
    family = "wsadapter" if system == OURS else "peer"
    return Result(system, family, f"presence_{measure}", extent.connections, values)


# What it costs to be there


def minute_of_beats(trial: Trial, cluster: Cluster) -> Usage:
    """What the leases of a minute take; nobody asks anything."""
    cluster.beat()  # its script is known from now on
    return Meter(trial.client).usage(lambda: cluster.beat(BEATS_PER_MINUTE))


def cost_result(extent: Extent, system: str, minute: Usage) -> Result:
    each = minute.times(1 / extent.connections)
    values = {
        "commands": each.commands,
        "bytes": each.bytes_in + each.bytes_out,
        "cpu_us": each.cpu_seconds * 1e6,
    }
    return result(extent, "cost", system, values)


# What it costs to ask


def answer_times(cluster: Cluster, calls: int) -> Values:
    """As one who asks in synchronous code sees them; before that, each answer is checked."""
    run = cluster.store.run
    asked = questions(cluster)
    check_answers(cluster, {name: run(op) for name, op in asked.items()})
    return flattened({name: timed(partial(run, op), calls) for name, op in asked.items()})


def questions(cluster: Cluster) -> Mapping[str, Operation[Any]]:
    some = cluster.client(cluster.connections // 3)
    return {
        "online_count": OnlineCount(),
        "online_user_count": OnlineUserCount(),
        "is_online": IsOnline(str(some.user_id)),
        "find_client": FindClient(some.client_id),
        "first_page": OnlineClients(),
        "middle_page": OnlineClients(cursor=middle(cluster, OnlineClients())),
        "member_count": MemberCount(EVERYBODY),
        "member_page": Members(EVERYBODY),
        "middle_members": Members(EVERYBODY, middle(cluster, Members(EVERYBODY))),
    }


def check_answers(cluster: Cluster, answers: Mapping[str, Any]) -> None:
    """Raise `WrongAnswer` unless all of it is as it was recorded."""
    page = min(PAGE_SIZE, cluster.connections)
    expected = {
        "online_count": cluster.connections,
        "online_user_count": cluster.users,
        "is_online": True,
        "find_client": cluster.client(cluster.connections // 3),
        "member_count": cluster.connections,
        **dict.fromkeys(PAGES, page),
    }
    found = {**answers, **{name: len(answers[name].items) for name in PAGES}}
    if found != expected:
        raise WrongAnswer(f"expected {expected}, and the store says {found}")


def middle(cluster: Cluster, first: OnlineClients | Members) -> str | None:
    """The cursor of the page that begins half way."""
    pages = list(cursors(cluster, first))
    return pages[len(pages) // 2]


def cursors(cluster: Cluster, op: OnlineClients | Members) -> Iterator[str | None]:
    """The cursor of each page, read one after the other."""
    cursor = op.cursor
    while True:
        yield cursor
        page: Page[Any] = cluster.store.run(replace(op, cursor=cursor))
        cursor = page.next
        if cursor is None:
            return


def timed(ask: Callable[[], object], calls: int) -> dict[str, float]:
    durations = []
    for _ in range(calls):
        before = time.perf_counter()
        ask()
        durations.append((time.perf_counter() - before) * 1e6)
    return {"p50_us": median(durations), "p99_us": percentile(durations, 99)}


# For how long Redis is held


def scripts_of_phases(trial: Trial, cluster: Cluster) -> dict[str, dict[str, float]]:
    """All that is done after everybody has joined; in the end all are there again."""
    nodes = range(cluster.leases)
    half = nodes[: cluster.leases // 2]
    phases: dict[str, Callable[[], object]] = {
        "groups": lambda: cluster.join_groups(nodes),
        "beats": lambda: cluster.beat(BEATS_PER_MINUTE),
        "pages": lambda: [
            list(cursors(cluster, first)) for first in (OnlineClients(), Members(EVERYBODY))
        ],
    }
    found = {name: held(trial, act) for name, act in phases.items()}
    cluster.kill(half)
    found["reap"] = held(trial, cluster.reap)
    found["due"] = held(trial, cluster.take_due)
    found["restore"] = held(trial, lambda: cluster.restore(half))
    cluster.join_groups(half)
    return found


def held(trial: Trial, act: Callable[[], object]) -> dict[str, float]:
    return Meter(trial.client).held(act)._asdict()


def flattened(values: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """``{"reap": {"max_ms": 1}}`` as ``{"reap.max_ms": 1}``."""
    return {
        f"{name}.{what}": value for name, named in values.items() for what, value in named.items()
    }


if __name__ == "__main__":
    sys.exit(main())
