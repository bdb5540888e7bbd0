"""``python -m benchmarks.deploy``: what clients see of a deploy.

2 000 clients for Python are on two server processes, one of which is replaced: another one is
started, and the old one is sent SIGTERM. 50 messages a second are sent meanwhile. It is done with
a drain and without one, and takes about a minute.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks import machine, shown
from benchmarks.answering import AnsweringProcess
from benchmarks.cluster import all_due
from benchmarks.deploy_table import DRAINED, UNDRAINED
from benchmarks.moves import Client, Count, count_error, peak, promised_peak
from benchmarks.processes import Process, free_port, redis_command
from benchmarks.results import Report, Result
from benchmarks.system import Place
from benchmarks.systems.adapter import AdapterSystem
from benchmarks.systems.channels_site.site import PACKAGE
from wsadapter.redis_pool import RedisPool
from wsadapter.store import RedisStore
from wsadapter.store.operations import OnlineCount
from wsadapter.wire.reconnecting import Timings

#: Each message goes to one of the rooms, and each client is in one of them: to hear all of 50
#: messages a second, 2 000 clients for Python would need eight cores.
ROOMS, MESSAGES_PER_SECOND = 50, 50

#: Between two looks at the servers, and at the count.
LOOK_SECONDS = 0.1
#: Messages go on for so long before and after.
CALM_SECONDS = 1.0
#: All of a deploy that goes well, and of one that does not.
PATIENCE_SECONDS = 60.0
#: A client that came or left so recently may be counted or not.
SLACK_SECONDS = 1.0


class DidNotHappen(Exception):
    """Something took too long; the message says what, and has the servers' logs."""


@dataclass(frozen=True)
class Outcome:
    """What became of a deploy, half of whose clients had to move.

    Attributes:
        clients: all of the fleet, as they noted it.
        told_at: when the old process was sent its signal (monotonic seconds).
        counts: what the store said from then on.
        final_count: and in the end.
        announced_gone: numbers of clients whose user was announced as gone, or about to be.
    """

    clients: Sequence[Client]
    told_at: float
    counts: Sequence[Count]
    final_count: int
    announced_gone: Sequence[int]
    drain_seconds: float

    @property
    def moved(self) -> list[Client]:
        return [client for client in self.clients if client.was_moved]

    @property
    def stayed(self) -> list[Client]:
        return [client for client in self.clients if not client.was_moved]

    @property
    def attempts(self) -> list[float]:
        """When somebody tried to come back."""
        return [at for client in self.clients for at in client.attempts if at > self.told_at]

    @property
    def peak(self) -> int:
        return peak(self.attempts)

    @property
    def back_seconds(self) -> float:
        """Until the last one was back."""
        return max(client.stays[-1].began for client in self.moved) - self.told_at

    @property
    def slowest_seconds(self) -> float:
        """Which a message took, at the longest: by as much, anything may be late."""
        return max(client.slowest_seconds for client in self.clients)

    def promised_peak(self, late_seconds: float = 0.0) -> float:
        """As `benchmarks.moves.promised_peak` has it."""
        told = len(self.clients) // 2
        return promised_peak(told, self.drain_seconds, Timings(), late_seconds)

    def count_error(self, slack_seconds: float) -> int:
        """By how much a count was wrong, as `benchmarks.moves.count_error` has it."""
        stays = [stay for client in self.clients for stay in client.stays]
        return count_error(self.counts, stays, slack_seconds)

    def values(self) -> dict[str, float]:
        away = [client.away_seconds() for client in self.moved]
        return {
            "moved": len(self.moved),
            "attempts": len(self.attempts),
            "peak_per_second": self.peak,
            "promised_peak": self.promised_peak(),
            "back_seconds": self.back_seconds,
            "p50_away_seconds": median(away),
            "longest_away_seconds": max(away),
            "missed_by_moved": sum(client.missed for client in self.moved) / len(self.moved),
            "missed_by_others": sum(client.missed for client in self.stayed),
            "slowest_seconds": self.slowest_seconds,
            "gave_up": sum(client.failure is not None for client in self.clients),
            "count_error": self.count_error(SLACK_SECONDS),
            "announced_gone": len(self.announced_gone),
        }


class RoomSystem(AdapterSystem):
    """wsadapter with ready frames, and a room for each client."""

    def __init__(self, gone: Path, drain_seconds: float) -> None:
        adapter = {"DRAIN_SECONDS": drain_seconds}
        super().__init__("rooms", server="prepared", adapter=adapter)
        self._gone = gone

    def environment(self, place: Place) -> Mapping[str, str]:
        routes = {"BENCHMARK_ROUTES": f"{PACKAGE}.rooms", "BENCHMARK_GONE": str(self._gone)}
        return {**super().environment(place), **routes}


class Server:
    """One server process."""

    def __init__(self, process: Process, port: int) -> None:
        self.process = process
        self.port = port

    def is_ready(self) -> bool:
        """What a load balancer asks it."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/ready/")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()


class Site:
    """Servers, a Redis, a fleet of clients and whoever sends them messages.

    Args:
        stack: ends all of it.
        directory: for logs.
        drain_seconds: the setting of that name.
        clients: how many.
    """

    def __init__(
        self, stack: ExitStack, directory: Path, *, drain_seconds: float, clients: int
    ) -> None:
        self._stack = stack
        self._cores = os.sched_getaffinity(0)
        self._clients = clients
        self._place = Place(directory, free_port(), free_port(), heartbeats=True)
        self._gone = directory / "gone"
        self._gone.touch()
        self._system = RoomSystem(self._gone, drain_seconds)
        self.servers: list[Server] = []
        self.counts: list[Count] = []
        self._start_redis()
        pool = RedisPool({"address": self._place.redis_url}, timeout_seconds=10)
        stack.callback(pool.sync_client().close)
        self._store = RedisStore(pool)
        self._ticker = self._ask("ticker", ROOMS, MESSAGES_PER_SECOND)
        self._fleet = self._ask("fleet", clients, ROOMS)

    def _start_redis(self) -> None:
        place = self._place
        command = redis_command(place.redis_port, place.directory)
        process = Process(command, cores=self._cores, log=place.directory / "redis.log")
        self._stack.callback(process.end)
        process.until_port_answers(place.redis_port)

    def _ask(self, name: str, *arguments: object) -> AnsweringProcess:
        process = AnsweringProcess(
            f"benchmarks.{name}",
            *map(str, arguments),
            cores=self._cores,
            log=self._place.directory / f"{name}.log",
            environment=self._system.environment(self._place),
        )
        self._stack.callback(process.end)
        return process

    def start_server(self) -> Server:
        """Start another one; it gets clients as soon as it says that it is ready."""
        place = replace(self._place, port=free_port())
        process = Process(
            self._system.command(place),
            cores=self._cores,
            log=place.directory / f"server-{place.port}.log",
            environment=self._system.environment(place),
        )
        self._stack.callback(process.end)
        server = Server(process, place.port)
        self.servers.append(server)
        self.until(server.is_ready, "a server to be ready")
        return server

    def gather(self) -> None:
        """Have everybody connect, and the messages begin."""
        self._balance()
        self._fleet.ask("enter")
        self.until(self.everybody_is_here, "all clients to be here")
        self._ticker.ask("start")
        time.sleep(CALM_SECONDS)

    def everybody_is_here(self) -> bool:
        return self.count() == self._clients == int(self._fleet.ask("open"))

    def count(self) -> int:
        return self._store.run(OnlineCount())

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something; meanwhile clients are sent where it is good for them."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                logs = "\n".join(server.process.end_of_log() for server in self.servers)
                raise DidNotHappen(f"{PATIENCE_SECONDS:g} s were too short for {what}.\n{logs}")
            self._balance()
            asked_at, connections = time.monotonic(), self.count()
            self.counts.append(Count(asked_at, time.monotonic(), connections))
            time.sleep(LOOK_SECONDS)

    def _balance(self) -> None:
        self._fleet.ask("ports", [server.port for server in self.servers if server.is_ready()])

    def stop_messages(self) -> None:
        """Return when everybody has heard all."""
        time.sleep(CALM_SECONDS)
        last = self._ticker.ask("stop")
        self.until(lambda: self._fleet.ask("heard", last), "the last messages to be heard")

    def clients(self) -> list[Client]:
        return list(map(Client.read, self._fleet.ask("report")))

    def announced_gone(self) -> list[int]:
        """Users who are said to have gone, and those of whom it would be said in a while."""
        due = all_due(self._store)
        users = [str(each.user_id) for each in due if not each.came]
        return list(map(int, [*self._gone.read_text().split(), *users]))


@contextmanager
def site(*, drain_seconds: float, clients: int) -> Iterator[Site]:
    """Two servers with half of the clients each, and messages under way."""
    machine.allow_many_files()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="benchmark-")))
        made = Site(stack, directory, drain_seconds=drain_seconds, clients=clients)
        for _ in range(2):
            made.start_server()
        made.gather()
        yield made


def deploy(*, drain_seconds: float, clients: int) -> Outcome:
    """Replace one of two servers."""
    with site(drain_seconds=drain_seconds, clients=clients) as made:
        old = made.servers[0]
        made.start_server()
        made.counts.clear()
        told_at = time.monotonic()
        old.process.terminate()
        made.until(lambda: old.process.has_ended and made.everybody_is_here(), "the deploy")
        counts = list(made.counts)
        made.stop_messages()
        return Outcome(
            clients=made.clients(),
            told_at=told_at,
            counts=counts,
            final_count=made.count(),
            announced_gone=made.announced_gone(),
            drain_seconds=drain_seconds,
        )


@dataclass(frozen=True)
class Extent:
    """How large the site is, and how long its drain."""

    clients: int
    drain_seconds: float


FULL = Extent(clients=2000, drain_seconds=8)
QUICK = Extent(clients=100, drain_seconds=2)


def main() -> int:
    options = parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that all it started is ended
    extent = QUICK if options.quick else FULL
    found = [
        result(DRAINED.format(extent.drain_seconds), extent, extent.drain_seconds),
        result(UNDRAINED, extent, 0),
    ]
    for table in shown.tables(Report({}, {}, "", found)):
        print(table.as_text())
    if not options.quick:
        shown.add(found)
    return 0


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.deploy")
    arguments.add_argument("--quick", action="store_true", help="small, and kept nowhere")
    return arguments


def result(name: str, extent: Extent, drain_seconds: float) -> Result:
    outcome = deploy(drain_seconds=drain_seconds, clients=extent.clients)
    return Result(name, "wsadapter", "deploy", extent.clients, outcome.values())


if __name__ == "__main__":
    sys.exit(main())
