"""Every byte that is not what was to come is noticed, in streams and in conversations."""

from __future__ import annotations

import pytest

from benchmarks.expectations import Conversation, Expectation, Speaker, WrongBytes
from benchmarks.system import text_frame

ONE, TWO, THREE = (text_frame(f"{number:012d}") for number in (1, 2, 3))
STREAM = ONE + TWO + THREE


def received(expectation: Expectation, *chunks: bytes) -> None:
    for chunk in chunks:
        expectation.take(7, bytearray(chunk + b"left over from before"), len(chunk))


@pytest.mark.parametrize("cut", [1, len(ONE) - 1, len(ONE), len(STREAM) - 1])
def test_bytes_may_come_in_any_pieces(cut: int) -> None:
    expectation = Expectation(STREAM, [7])
    received(expectation, STREAM[:cut])
    assert expectation.waiting == 1
    received(expectation, STREAM[cut:])
    assert expectation.waiting == 0


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(ONE + THREE, id="lost"),
        pytest.param(ONE + ONE + TWO + THREE, id="doubled"),
        pytest.param(TWO + ONE + THREE, id="reordered"),
        pytest.param(STREAM[:20] + b"?" + STREAM[21:], id="altered"),
        pytest.param(STREAM[:-1] + b"?", id="altered at the end"),
        pytest.param(STREAM + b"?", id="one byte more"),
        pytest.param(STREAM + ONE, id="doubled after the end"),
    ],
)
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_wrong_bytes_are_noticed(wrong: bytes, size: int) -> None:
    chunks = [wrong[start : start + size] for start in range(0, len(wrong), size)]
    with pytest.raises(WrongBytes):
        received(Expectation(STREAM, [7]), *chunks)


def test_a_difference_is_told_by_its_place() -> None:
    with pytest.raises(WrongBytes, match=r"connection 7 .* at byte 20 of 42"):
        received(Expectation(STREAM, [7]), STREAM[:20] + b"?" + STREAM[21:])


def test_what_is_missing_is_told_in_connections_and_bytes() -> None:
    expectation = Expectation(STREAM, [7, 8])
    received(expectation, STREAM[:40])
    assert expectation.missing() == "2 of 2 connections lack up to 42 bytes"


# Conversations

HEARD = [text_frame(f"heard {number:03d}") for number in range(8)]
SAID = [b"said %03d" % number for number in range(8)]
ALL_HEARD = b"".join(HEARD)


def speaker(connection: int = 7, heard: list[bytes] = HEARD) -> Speaker:
    return Speaker(connection, SAID, heard, window=3)


def hear(speaker: Speaker, *chunks: bytes) -> bytes:
    """Have a speaker hear something; returns all that it says to that."""
    buffers = [bytearray(chunk + b"left over from before") for chunk in chunks]
    pairs = zip(buffers, map(len, chunks), strict=True)
    return b"".join(speaker.take(buffer, count) for buffer, count in pairs)


@pytest.mark.parametrize("size", [1, 5, len(HEARD[0]), 2 * len(HEARD[0]) + 1, 1000])
def test_everything_is_said_and_never_too_far_ahead(size: int) -> None:
    one = speaker()
    said, heard = bytes(one.opening), 0
    assert said == b"".join(SAID[:3])
    while one.lacks:
        chunk = ALL_HEARD[heard : heard + size]
        said, heard = said + hear(one, chunk), heard + len(chunk)
        assert len(said) // len(SAID[0]) == min(len(SAID), heard // len(HEARD[0]) + 3)
    assert said == b"".join(SAID)


def test_less_than_a_window_is_said_at_once() -> None:
    one = Speaker(7, SAID[:2], HEARD[:2], window=3)
    assert bytes(one.opening) == b"".join(SAID[:2])
    assert hear(one, b"".join(HEARD[:2])) == b""
    assert one.lacks == 0


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(HEARD[1], id="lost"),
        pytest.param(HEARD[0] + HEARD[0], id="doubled"),
        pytest.param(HEARD[0] + HEARD[2] + HEARD[1], id="reordered"),
        pytest.param(HEARD[0][:-1] + b"?", id="altered"),
        pytest.param(ALL_HEARD + HEARD[-1], id="doubled after the end"),
    ],
)
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_wrong_answers_are_noticed(wrong: bytes, size: int) -> None:
    chunks = [wrong[start : start + size] for start in range(0, len(wrong), size)]
    with pytest.raises(WrongBytes, match="connection 7 received"):
        hear(speaker(), *chunks)


def test_an_answer_to_somebody_else_is_noticed() -> None:
    speakers = {7: speaker(7, HEARD), 8: speaker(8, HEARD[::-1])}
    conversation = Conversation(speakers)
    conversation.take(7, bytearray(HEARD[0]), len(HEARD[0]))
    with pytest.raises(WrongBytes, match="connection 8 received"):
        conversation.take(8, bytearray(HEARD[0]), len(HEARD[0]))


def test_a_conversation_waits_for_everybody() -> None:
    conversation = Conversation({7: speaker(7), 8: speaker(8)})
    conversation.take(7, bytearray(ALL_HEARD), len(ALL_HEARD))
    assert conversation.waiting == 1
    assert conversation.missing() == f"1 of 2 connections lack up to {len(ALL_HEARD)} bytes"
    conversation.take(8, bytearray(ALL_HEARD[:-1]), len(ALL_HEARD) - 1)
    assert conversation.waiting == 1
    conversation.take(8, bytearray(ALL_HEARD[-1:]), 1)
    assert conversation.waiting == 0
