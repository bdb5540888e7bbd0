"""The storm: a crowd at the door all at once, and one client inside who wants to be heard."""

from __future__ import annotations

import select
import socket
import time
from dataclasses import dataclass, field
from statistics import median

from benchmarks.expectations import DeliveryError, Lost
from benchmarks.load import PING, PONG, Manners, Newcomer, client_frame, split_frames
from benchmarks.running import Running

#: Between two pings of the client inside.
PING_SECONDS = 0.05
#: Without news from anybody: those who are still outside stay there.
PATIENCE_SECONDS = 15.0
#: Who knock between two looks at what has come.
KNOCKS = 50

ARRIVED = select.EPOLLIN | select.EPOLLERR | select.EPOLLHUP


def storm(running: Running, connections: int) -> dict[str, float]:
    """Handshakes that are all sent at once, and the pings of a client who is there already."""
    storming = Storm(running.place.port, running.crowd.manners)
    cpu_before, began = time.process_time(), time.monotonic()
    try:
        storming.enter()
        storming.rage(connections)
        seconds = storming.last_welcome - storming.began
        client_cpu = (time.process_time() - cpu_before) / (time.monotonic() - began)
        trips = storming.heart.trips()
    finally:
        storming.close()
    return {
        "accepted": storming.accepted,
        "seconds": seconds,
        "p50_ping_ms": median(trips) * 1000,
        "worst_ping_ms": max(trips) * 1000,
        "pings": len(trips),
        "client_cpu": client_cpu,
    }


@dataclass
class Heart:
    """The pings of one client, which a server's event loop answers when it gets to them."""

    client: socket.socket
    sent: dict[bytes, float] = field(default_factory=dict)
    answered: dict[bytes, float] = field(default_factory=dict)
    _received: bytes = b""
    _last: float = 0.0

    def due(self) -> float:
        """Seconds until the next ping."""
        return max(0.0, self._last + PING_SECONDS - time.monotonic())

    def beat(self) -> None:
        number = b"%08d" % len(self.sent)
        self.sent[number] = self._last = time.monotonic()
        self.client.send(client_frame(PING, number))

    def hear(self, received: bytes) -> None:
        now = time.monotonic()
        frames, self._received = split_frames(self._received + received)
        self.answered.update({payload: now for opcode, payload in frames if opcode == PONG})

    @property
    def waits(self) -> bool:
        return len(self.answered) < len(self.sent)

    def trips(self) -> list[float]:
        """Seconds from each ping to its answer."""
        if self.waits:
            raise Lost(f"{len(self.sent) - len(self.answered)} pings were not answered")
        return [self.answered[number] - sent for number, sent in self.sent.items()]


class Storm:
    """Newcomers to one port, none of whom waits for another.

    Attributes:
        accepted: who got in.
        refusals: what those were told who were turned away.
        began, last_welcome: when the first knocked and the last got in, of `time.monotonic`.
    """

    def __init__(self, port: int, manners: Manners) -> None:
        self._port = port
        self._manners = manners
        self._request = manners.request(port)
        self._epoll = select.epoll()
        self._knocking: dict[int, socket.socket] = {}
        self._waiting: dict[int, Newcomer] = {}
        self._everybody: list[socket.socket] = []
        self.accepted = 0
        self.refusals: list[str] = []
        self.began = self.last_welcome = 0.0

    def enter(self) -> None:
        """The one who pings gets in, and is answered once, before there is a storm."""
        client = self._socket()
        client.settimeout(PATIENCE_SECONDS)
        client.connect(("127.0.0.1", self._port))
        client.sendall(self._request)
        newcomer = Newcomer(client, self._manners)
        while not newcomer.welcomed(client.recv(65536)):
            continue
        first = Heart(client)
        first.beat()
        while first.waits:
            first.hear(client.recv(65536))
        self.heart = Heart(client)
        self._epoll.register(client, ARRIVED)

    def rage(self, connections: int) -> None:
        """Until all are in, or have been refused, or nothing happens any more."""
        self.began = self.last_welcome = self._news = time.monotonic()
        outside = connections
        while outside or self._knocking or self._waiting or self.heart.waits:
            for _ in range(min(KNOCKS, outside)):
                self._knock()
                outside -= 1
            busy = outside or self._knocking or self._waiting
            if busy and not self.heart.due():
                self.heart.beat()
            self._look(0 if outside else self.heart.due() if busy else PATIENCE_SECONDS)
            if time.monotonic() > self._news + PATIENCE_SECONDS:
                break

    def _knock(self) -> None:
        client = self._socket()
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", self._port))
        self._knocking[client.fileno()] = client
        self._epoll.register(client, select.EPOLLOUT)

    def _look(self, seconds: float) -> None:
        for number, _ in self._epoll.poll(seconds):
            if number == self.heart.client.fileno():
                self.heart.hear(self.heart.client.recv(65536))
            elif number in self._knocking:
                self._ask(self._knocking.pop(number))
            else:
                self._attend_to(self._waiting[number])

    def _ask(self, client: socket.socket) -> None:
        self._news = time.monotonic()
        try:
            client.sendall(self._request)
        except OSError:
            self._epoll.unregister(client)
            return
        self._waiting[client.fileno()] = Newcomer(client, self._manners)
        self._epoll.modify(client, ARRIVED)

    def _attend_to(self, newcomer: Newcomer) -> None:
        """Let in, turn away, or leave waiting."""
        self._news = time.monotonic()
        try:
            received = newcomer.socket.recv(65536)
            if received and not newcomer.welcomed(received):
                return
        except (DeliveryError, OSError) as error:
            self.refusals.append(str(error))
            received = b""
        self._epoll.unregister(newcomer.socket)
        del self._waiting[newcomer.socket.fileno()]
        if received:
            self.accepted += 1
            self.last_welcome = self._news

    def _socket(self) -> socket.socket:
        self._everybody.append(socket.socket())
        return self._everybody[-1]

    def close(self) -> None:
        for client in self._everybody:
            client.close()
        self._epoll.close()
