"""The clients' process: ``python -m benchmarks.fleet <clients> <rooms>``.

Clients of wsadapter for Python, each a user of its own, in a room, from which it hears numbers
that rise by one. Each attempt at a connection goes to the next of the ports that are open just
then, as a load balancer has it that looks after its servers.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks import machine
from benchmarks.answering import Verbs, answer, say_ready
from wsadapter.client import State, connect
from wsadapter.errors import WSAdapterError

#: Clients that connect for the first time, at the same time.
WINDOW = 64


@dataclass
class Visit:
    """What one client has seen.

    Attributes:
        history: each state that it entered: when (monotonic seconds), which, and at which port.
        last: the number that it heard last; 0 for none.
        missed: numbers that it never heard, after its first.
        repeated: numbers that it heard twice, or too late.
        slowest_seconds: which a message took to it, at the longest.
        failure: why it gave up, if it did.
    """

    room: int
    history: list[tuple[float, str, int]] = field(default_factory=list)
    last: int = 0
    missed: int = 0
    repeated: int = 0
    slowest_seconds: float = 0.0
    failure: str | None = None

    def hear(self, number: int, seconds: float) -> None:
        """Note a message, and how long it took."""
        self.slowest_seconds = max(self.slowest_seconds, seconds)
        if number <= self.last:
            self.repeated += 1
            return
        if self.last:
            self.missed += number - self.last - 1
        self.last = number


class Fleet:
    """All of them, in one event loop.

    Args:
        clients: how many; their numbers are their user ids.
        rooms: over which they are spread evenly.
    """

    def __init__(self, clients: int, rooms: int) -> None:
        self.visits = [Visit(number % rooms) for number in range(clients)]
        self._ports: deque[int] = deque()
        self._open = 0
        self._door = asyncio.Semaphore(WINDOW)
        self._tasks: list[asyncio.Task[None]] = []

    def verbs(self) -> Verbs:
        return {
            "ports": self.use,
            "enter": self.enter,
            "open": self.count_open,
            "heard": self.has_heard,
            "report": self.report,
        }

    def use(self, ports: Sequence[int]) -> None:
        """From now on connections go to these, one after the other."""
        if set(ports) != set(self._ports):
            self._ports = deque(ports)

    def enter(self, _: None) -> None:
        """Connect everybody."""
        numbers = range(len(self.visits))
        self._tasks = [asyncio.create_task(self._visit(number)) for number in numbers]

    def count_open(self, _: None) -> int:
        return self._open

    def has_heard(self, last: Sequence[int]) -> bool:
        """Whether everybody has heard the last number of their room."""
        return all(visit.last >= last[visit.room] for visit in self.visits)

    def report(self, _: None) -> list[Mapping[str, Any]]:
        return [asdict(visit) for visit in self.visits]

    async def _visit(self, number: int) -> None:
        visit = self.visits[number]
        port = 0

        def address() -> str:
            nonlocal port
            port = self._ports[0]
            self._ports.rotate(-1)
            return f"ws://127.0.0.1:{port}/rooms/{visit.room}/?user={number}"

        def enter(state: State) -> None:
            was_open = bool(visit.history) and visit.history[-1][1] == State.OPEN
            self._open += (state is State.OPEN) - was_open
            visit.history.append((time.monotonic(), state, port))

        client = connect(address, on_state=enter)
        try:
            async with self._door:
                await client.__aenter__()
            async for message in client:
                visit.hear(message["number"], time.monotonic() - message["at"])
        except WSAdapterError as error:
            visit.failure = repr(error)
        finally:
            await client.close()


async def serve(fleet: Fleet) -> None:
    """Answer requests until there are no more."""
    requests = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(requests)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    verbs = fleet.verbs()
    say_ready()
    async for line in requests:
        answer(line.decode(), verbs)


async def main() -> None:
    machine.allow_many_files()
    clients, rooms = map(int, itertools.islice(sys.argv, 1, 3))
    await serve(Fleet(clients, rooms))


if __name__ == "__main__":
    asyncio.run(main())
