"""The bytes of a frame, as a parser that is not ours reads them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from wsadapter.wire.frames import MIN_DEFLATED_SIZE, WINDOW_BITS, deflate, frame_bytes
from wsadapter.wire.orders import Push

FINAL_TEXT, FINAL_BINARY, COMPRESSED = 0x81, 0x82, 0x40

#: The lengths at which the header changes, and what surrounds them: length, bytes of the header.
HEADERS = [(0, 2), (1, 2), (125, 2), (126, 4), (65535, 4), (65536, 10), (200_000, 10)]

LEVELS = range(1, 10)


def parsed(data: bytes, *, deflates: bool = False) -> list[Frame]:
    """What a client reads; one that has not negotiated compression refuses what is compressed."""
    client = ClientProtocol(parse_uri("ws://shop.example/"), state=State.OPEN, max_size=None)
    if deflates:
        client.extensions = [PerMessageDeflate(True, True, WINDOW_BITS, WINDOW_BITS)]
    client.receive_data(data)
    assert client.parser_exc is None
    frames = client.events_received()
    assert all(isinstance(frame, Frame) and frame.fin for frame in frames)
    return frames  # type: ignore[return-value]


def incompressible(length: int) -> bytes:
    return random.Random(length).randbytes(length)


@pytest.mark.parametrize(("length", "header"), HEADERS)
@pytest.mark.parametrize("kind", [str, bytes])
def test_a_frame_has_the_shortest_header_and_its_payload(
    length: int, header: int, kind: type
) -> None:
    sent = "x" * length if kind is str else b"\x00" * length
    data = frame_bytes(sent)
    assert len(data) == header + length
    assert data[0] == (FINAL_TEXT if kind is str else FINAL_BINARY)
    (frame,) = parsed(data)
    assert frame.opcode is (Opcode.TEXT if kind is str else Opcode.BINARY)
    assert bytes(frame.data) == (sent.encode() if isinstance(sent, str) else sent)


@pytest.mark.parametrize("length", [125, 126, 65535, 65536])
def test_a_header_says_bytes_and_not_characters(length: int) -> None:
    text = "я" * (length // 2) + "x" * (length % 2)
    (frame,) = parsed(frame_bytes(text))
    assert len(frame.data) == length and bytes(frame.data).decode() == text


@given(st.lists(st.text() | st.binary()))
def test_frames_one_after_the_other_are_read_as_they_were_sent(messages: list[str | bytes]) -> None:
    frames = parsed(b"".join(frame_bytes(message) for message in messages))
    assert [read(frame) for frame in frames] == messages


@given(st.lists(st.tuples(st.text() | st.binary(), st.integers(1, 200), st.sampled_from(LEVELS))))
def test_compressed_frames_are_read_each_by_itself(
    messages: list[tuple[str | bytes, int, int]],
) -> None:
    sent = [(message * times, level) for message, times, level in messages]
    data = b"".join(frame_bytes(message, level) for message, level in sent)
    assert [read(frame) for frame in parsed(data, deflates=True)] == [each for each, _ in sent]


def read(frame: Frame) -> str | bytes:
    data = bytes(frame.data)
    return data.decode() if frame.opcode is Opcode.TEXT else data


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("length", [MIN_DEFLATED_SIZE, 126, 65535, 65536, 1024 * 1024])
@pytest.mark.parametrize("kind", [str, bytes])
def test_what_is_worth_it_is_compressed(level: int, length: int, kind: type) -> None:
    sent = "shop " * (length // 5) + "!" * (length % 5)
    message = sent if kind is str else sent.encode()
    data = frame_bytes(message, level)
    assert data[0] == (FINAL_TEXT if kind is str else FINAL_BINARY) | COMPRESSED
    assert len(data) < length
    (frame,) = parsed(data, deflates=True)
    assert read(frame) == message


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    "payload",
    [b"", b"x", b"x" * (MIN_DEFLATED_SIZE - 1), incompressible(64), incompressible(100_000)],
    ids=["empty", "one byte", "short", "short noise", "noise"],
)
def test_what_would_not_get_smaller_is_sent_as_it_is(level: int, payload: bytes) -> None:
    assert frame_bytes(payload, level) == frame_bytes(payload)
    (frame,) = parsed(frame_bytes(payload, level), deflates=True)
    assert bytes(frame.data) == payload


@pytest.mark.parametrize("level", [0, *LEVELS])
def test_a_payload_that_looks_like_the_end_of_a_block_keeps_it(level: int) -> None:
    payload = b"\x00\x00\xff\xff" * 50
    (frame,) = parsed(frame_bytes(payload, level), deflates=True)
    assert bytes(frame.data) == payload


@pytest.mark.parametrize("level", LEVELS)
def test_a_block_ends_as_the_extension_has_it(level: int) -> None:
    """The example of RFC 7692, section 7.2.3.1, and what is always left out of the end."""
    assert deflate(b"Hello", level) == bytes.fromhex("f248cdc9c90700")
    assert not frame_bytes("shop " * 1000, level).endswith(b"\x00\x00\xff\xff")


def test_a_larger_level_makes_it_no_larger() -> None:
    text = " ".join(str(number * number) for number in range(5000))
    assert len(frame_bytes(text, 9)) < len(frame_bytes(text, 1)) < len(frame_bytes(text))


def test_the_bytes_of_a_push_are_made_once_for_each_level() -> None:
    push = Push("shop " * 100)
    for level in (0, 1, 9):
        assert push.to_bytes(level) == frame_bytes(push.frame, level)
        assert push.to_bytes(level) is push.to_bytes(level)


@pytest.mark.parametrize(
    ("push", "selective"),
    [
        (Push("for all"), False),
        (Push("for others", exclude=frozenset({"tab"})), True),
        (Push("for users", authenticated_only=True), True),
    ],
)
def test_a_push_knows_whether_it_is_for_all_of_a_group(push: Push, selective: bool) -> None:
    assert push.selective is selective
