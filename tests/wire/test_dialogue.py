"""What a client says and hears: frames in, frames out, nothing else."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from wsadapter.errors import EncodeError
from wsadapter.wire.dialogue import Dialogue, Failure, Reply
from wsadapter.wire.payload import Frame


@pytest.fixture
def gaps() -> list[str | None]:
    return []


@pytest.fixture
def dialogue(gaps: list[str | None]) -> Dialogue:
    dialogue = Dialogue(gaps.append)
    dialogue.opened()
    return dialogue


def hear(dialogue: Dialogue, message: Any) -> list[Any]:
    return list(dialogue.hear(json.dumps(message)))


def said(dialogue: Dialogue) -> list[Frame]:
    frames = []
    while dialogue.has_frames():
        frames.append(dialogue.next_frame())
    return frames


def test_what_is_said_leaves_in_order(dialogue: Dialogue) -> None:
    request = dialogue.ask("chat.who", {})
    for item in ("a", b"b", request, ""):
        dialogue.say(item)
    assert len(dialogue) == 4
    assert said(dialogue) == ["a", b"b", '{"type":"chat.who","id":1}', ""]
    assert len(dialogue) == 0


def test_answers_go_ahead_and_count_as_no_message(dialogue: Dialogue) -> None:
    dialogue.say("a")
    hear(dialogue, {"type": "ws:ping"})
    assert len(dialogue) == 1
    assert said(dialogue) == ['{"type":"ws:pong"}', "a"]


def test_a_server_that_only_asks_does_not_fill_the_memory(dialogue: Dialogue) -> None:
    for _ in range(1_000):
        hear(dialogue, {"type": "ws:ping"})
    assert said(dialogue) == ['{"type":"ws:pong"}']


def test_replies_find_their_requests(dialogue: Dialogue) -> None:
    first, second, third = (dialogue.ask("chat.who", {}) for _ in range(3))
    hear(dialogue, {"type": "ws:reply", "id": 2, "result": ["eva"]})
    hear(dialogue, {"type": "ws:reply", "id": 1, "result": 1})
    hear(dialogue, {"type": "ws:reply", "id": 1, "result": "a second time"})
    hear(dialogue, {"type": "ws:reply", "id": 3})
    assert [each.outcome for each in (first, second, third)] == [
        Reply(1),
        Reply(["eva"]),
        Reply(None),
    ]


def test_fields_cannot_forge_type_and_id(dialogue: Dialogue) -> None:
    request = dialogue.ask("chat.say", {"text": "hi", "type": "forged", "id": "forged"})
    assert request.frame is not None
    assert json.loads(request.frame) == {"text": "hi", "type": "chat.say", "id": 1}


def test_fields_that_json_cannot_say(dialogue: Dialogue) -> None:
    with pytest.raises(EncodeError, match=r"\$\.n"):
        dialogue.ask("chat.say", {"n": object()})


def test_errors_say_what_is_amiss(dialogue: Dialogue) -> None:
    whole, bare = dialogue.ask("chat.say", {}), dialogue.ask("chat.say", {})
    error = {"type": "ws:error", "code": "invalid", "message": "Expected text."}
    hear(dialogue, {**error, "id": 1, "path": "$.text"})
    hear(dialogue, {**error, "id": 2})
    assert whole.outcome == Failure("invalid", "Expected text.", "$.text")
    assert bare.outcome == Failure("invalid", "Expected text.")


@pytest.mark.parametrize("id", [None, 99, True, "1", {}, []], ids=str)
def test_an_error_without_a_request_is_logged(
    dialogue: Dialogue, caplog: pytest.LogCaptureFixture, id: object
) -> None:
    request = dialogue.ask("chat.say", {})
    with caplog.at_level(logging.WARNING, "wsadapter.client"):
        hear(dialogue, {"type": "ws:error", "id": id, "code": "invalid", "message": "No."})
    assert caplog.messages == ["The server could not take a message: No. (invalid)"]
    assert request.outcome is None


def test_a_lost_connection_takes_its_requests_and_answers_with_it(dialogue: Dialogue) -> None:
    hear(dialogue, {"type": "ws:welcome", "client": "c1"})
    assert dialogue.client_id == "c1"
    sent, waits = dialogue.ask("a", {}), dialogue.ask("b", {})
    dialogue.say(sent)
    said(dialogue)
    dialogue.say(waits)
    hear(dialogue, {"type": "ws:ping"})
    dialogue.lost()
    assert sent.outcome == Failure("closed", "The connection ended before the reply.")
    assert waits.outcome is None
    assert dialogue.client_id is None
    assert said(dialogue) == ['{"type":"b","id":2}']


def test_the_end_takes_all(dialogue: Dialogue) -> None:
    waits = dialogue.ask("b", {})
    dialogue.say(waits)
    dialogue.say("a")
    dialogue.end()
    assert isinstance(waits.outcome, Failure)
    assert not dialogue.has_frames()


def test_a_forgotten_request_is_not_sent(dialogue: Dialogue) -> None:
    request = dialogue.ask("a", {})
    dialogue.say(request)
    dialogue.forget(request)
    dialogue.forget(request)
    assert said(dialogue) == []
    hear(dialogue, {"type": "ws:reply", "id": 1, "result": 1})
    assert request.outcome is None


def test_a_reconnect_is_a_gap_once_welcomed(dialogue: Dialogue, gaps: list[str | None]) -> None:
    hear(dialogue, {"type": "ws:welcome", "client": "c1"})
    dialogue.lost()
    dialogue.opened()
    assert gaps == []
    hear(dialogue, {"type": "ws:welcome", "client": "c2"})
    hear(dialogue, {"type": "ws:gap"})
    hear(dialogue, {"type": "ws:gap", "reason": "redis"})
    assert gaps == ["reconnected", None, "redis"]


def test_junk_is_survived(dialogue: Dialogue) -> None:
    dialogue.ask("a", {})
    for text in (
        '{"type":"ws:reply"}',
        '{"type":"ws:reply","id":{}}',
        '{"type":"ws:reply","id":true}',
        '{"type":"ws:error"}',
        '{"type":"ws:welcome","client":5}',
    ):
        assert list(dialogue.hear(text)) == []
    assert list(dialogue.hear("[" * 100_000)) == ["[" * 100_000]
    assert list(dialogue.hear(b"{}")) == [b"{}"]
    assert dialogue.client_id is None
