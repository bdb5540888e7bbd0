from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from benchmarks.load import Manners, client_frame, split_frames
from benchmarks.storm import PING_SECONDS, Heart, Storm

ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
REFUSED = b"HTTP/1.1 503 Service Unavailable\r\n\r\n"


def answer_pings(client: socket.socket) -> None:
    """Until the client is gone. Its mask is zeros, so that a ping shows its payload."""
    while received := client.recv(65536):
        for start in range(0, len(received), 14):
            client.sendall(b"\x8a\x08" + received[start + 6 : start + 14])


@pytest.fixture
def door() -> Iterator[int]:
    """The port of a server that lets in the first three, the one who pings among them."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        inside, _ = listener.accept()
        others = []
        with inside:
            inside.recv(65536)
            inside.sendall(ACCEPTED)
            threading.Thread(target=let_in, args=[others]).start()
            answer_pings(inside)
        for other in others:
            other.close()

    def let_in(others: list[socket.socket]) -> None:
        for answer in (ACCEPTED, ACCEPTED, REFUSED, b""):
            client, _ = listener.accept()
            client.recv(65536)
            client.sendall(answer)
            others.append(client)
            if not answer:
                client.close()

    thread = threading.Thread(target=serve)
    thread.start()
    yield int(listener.getsockname()[1])
    thread.join(10)
    listener.close()


def test_those_who_get_in_are_counted_and_the_pings_timed(door: int) -> None:
    storm = Storm(door, Manners(path="/"))
    storm.enter()
    storm.rage(4)
    trips = storm.heart.trips()
    storm.close()
    assert storm.accepted == 2
    assert storm.began < storm.last_welcome
    assert trips and all(trip > 0 for trip in trips)


def test_a_ping_is_due_some_time_after_the_last() -> None:
    one, other = socket.socketpair()
    with one, other:
        heart = Heart(one)
        assert heart.due() == 0
        heart.beat()
        assert heart.due() <= PING_SECONDS
        assert other.recv(65536) == client_frame(0x9, b"00000000")
        assert heart.waits
        heart.hear(b"\x8a\x0800000")
        heart.hear(b"000")
        assert not heart.waits and len(heart.trips()) == 1


def test_pings_are_what_the_server_of_these_tests_takes_them_for() -> None:
    assert len(client_frame(0x9, b"00000000")) == 14
    assert split_frames(b"\x8a\x0800000000") == ([(0xA, b"00000000")], b"")
