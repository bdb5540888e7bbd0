"""The load client notices every byte that is not what was to come."""

from __future__ import annotations

import socket
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence

import pytest

from benchmarks.expectations import Conversation, Lost, Refused, Speaker, WrongBytes
from benchmarks.load import Crowd, Manners, client_frame, inflate, split_frames
from benchmarks.system import text_frame

ONE, TWO, THREE = (text_frame(f"{number:012d}") for number in (1, 2, 3))
STREAM = ONE + TWO + THREE


Serve = Callable[[socket.socket], None]


@pytest.fixture
def served() -> Iterator[Callable[[Serve], int]]:
    """Serve one connection on a port, in a thread, with a handshake that is accepted."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def accept(serve: Serve) -> None:
        client, _ = listener.accept()
        with client:
            client.recv(65536)
            client.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            serve(client)
            while client.recv(65536):  # until the load client has closed
                pass

    def start(serve: Serve) -> int:
        threads.append(threading.Thread(target=accept, args=[serve]))
        threads[-1].start()
        return int(listener.getsockname()[1])

    yield start
    for thread in threads:
        thread.join(10)
    listener.close()


def after(go: threading.Event, sent: bytes) -> Serve:
    """Send something once the load client is ready for it."""

    def serve(client: socket.socket) -> None:
        go.wait(10)
        client.sendall(sent)

    return serve


@pytest.fixture
def crowds() -> Iterator[Callable[..., Crowd]]:
    made: list[Crowd] = []

    def make(port: int, **manners: object) -> Crowd:
        made.append(
            Crowd([port], Manners(path="/", **manners), patience_seconds=0.2)  # type: ignore[arg-type]
        )
        return made[-1]

    yield make
    for crowd in made:
        crowd.close()


def test_greetings_come_before_what_is_measured(served, crowds) -> None:
    port = served(lambda client: client.sendall(text_frame("welcome")))
    crowd = crowds(port, greetings=1)
    crowd.grow(1)
    assert len(crowd) == 1


def test_what_is_expected_is_received(served, crowds) -> None:
    crowd = crowds(served(after(go := threading.Event(), STREAM)))
    crowd.grow(1)
    crowd.expect(STREAM)
    go.set()
    crowd.receive()


def test_what_does_not_come_is_lost(served, crowds) -> None:
    crowd = crowds(served(after(go := threading.Event(), ONE)))
    crowd.grow(1)
    crowd.expect(STREAM)
    go.set()
    with pytest.raises(Lost, match=r"1 of 1 connections lack up to 28 bytes"):
        crowd.receive()


def test_what_comes_after_the_end_is_noticed(served, crowds) -> None:
    crowd = crowds(served(after(go := threading.Event(), ONE)))
    crowd.grow(1)
    go.set()
    with pytest.raises(WrongBytes):
        crowd.check_silence(10)


def echo_frames(client: socket.socket) -> None:
    """What short masked frames say, until the load client has closed; the mask is zeros."""
    while received := client.recv(65536):
        for start in range(0, len(received), 11):
            client.sendall(text_frame(received[start + 6 : start + 11].decode()))


def conversation(crowd: Crowd, heard: Sequence[str]) -> Conversation:
    said = [client_frame(1, b"%05d" % number) for number in range(len(heard))]
    frames = list(map(text_frame, heard))
    return Conversation({one: Speaker(one, said, frames, 3) for one in crowd.connections})


def test_what_is_said_is_heard(served, crowds) -> None:
    crowd = crowds(served(echo_frames))
    crowd.grow(1)
    talk = conversation(crowd, [f"{number:05d}" for number in range(50)])
    crowd.converse(talk)
    assert talk.waiting == 0


def test_another_answer_than_the_right_one_is_noticed(served, crowds) -> None:
    crowd = crowds(served(echo_frames))
    crowd.grow(1)
    with pytest.raises(WrongBytes, match="00005"):
        crowd.converse(conversation(crowd, ["00000", "00001", "00002", "00003", "00004", "?" * 5]))


def test_an_answer_that_does_not_come_is_lost(served, crowds) -> None:
    crowd = crowds(served(after(go := threading.Event(), text_frame("00000"))))
    crowd.grow(1)
    go.set()
    with pytest.raises(Lost, match="1 of 1 connections lack up to 7 bytes"):
        crowd.converse(conversation(crowd, ["00000", "00001"]))


def test_a_refused_handshake_is_told_by_its_status() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])

        def refuse() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(65536)
                client.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        crowd = Crowd([port], Manners(path="/"))
        with pytest.raises(Refused, match="403"):
            crowd.grow(1)
        crowd.close()
        thread.join(10)


def test_heartbeats_are_answered(served, crowds) -> None:
    go, answered = threading.Event(), threading.Event()
    answers: list[bytes] = []
    expected = client_frame(0xA, b"hi") + client_frame(1, b"yes")

    def serve(client: socket.socket) -> None:
        go.wait(10)
        client.sendall(b"\x89\x02hi" + text_frame("are you there?"))
        while len(b"".join(answers)) < len(expected) and (chunk := client.recv(65536)):
            answers.append(chunk)
        answered.set()

    crowd = crowds(served(serve), answers={"are you there?": "yes"})
    crowd.grow(1)
    go.set()
    while not answered.is_set():
        crowd.attend(0.02)
    assert b"".join(answers) == expected


def test_a_compressed_stream_is_learnt_by_inflating_it(served, crowds) -> None:
    payloads = ["one " * 20, "two " * 20]
    stream = b"".join(map(compressed_frame, payloads))
    crowd = crowds(served(after(go := threading.Event(), stream)))
    crowd.grow(1)
    go.set()
    assert crowd.learn(payloads) == stream


def test_a_compressed_stream_that_says_something_else_is_noticed(served, crowds) -> None:
    stream = compressed_frame("two")
    crowd = crowds(served(after(go := threading.Event(), stream)))
    crowd.grow(1)
    go.set()
    with pytest.raises(WrongBytes):
        crowd.learn(["one"])


def compressed_frame(text: str) -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    body = deflate.compress(text.encode()) + deflate.flush(zlib.Z_SYNC_FLUSH)
    body = body.removesuffix(b"\x00\x00\xff\xff")
    assert inflate(body) == text.encode()
    return bytes((0xC1, len(body))) + body


@pytest.mark.parametrize("size", [0, 125, 126, 65535])
def test_frames_of_clients_say_their_length(size: int) -> None:
    frame = client_frame(1, b"x" * size)
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2)
    assert frame == b"\x81" + length + bytes(4) + b"x" * size


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_frames_are_split_whatever_their_length(size: int) -> None:
    frame = text_frame("x" * size)
    assert split_frames(frame + frame[:1]) == ([(1, b"x" * size)], frame[:1])
