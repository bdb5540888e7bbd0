"""What a client says and hears: frames in, frames out, nothing else."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from wsadapter.errors import EncodeError
from wsadapter.wire.dialogue import Dialogue, Fault, Reply, View, is_answered
from wsadapter.wire.failures import FailureKind
from wsadapter.wire.payload import Frame


@pytest.fixture
def gaps() -> list[str | None]:
    return []


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def dialogue(gaps: list[str | None], pauses: list[float]) -> Dialogue:
    dialogue = Dialogue(gaps.append, pauses.append)
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
    hear(dialogue, {**error, "id": 1, "path": "$.text", "kind": "exhausted", "retry_after": 3})
    hear(dialogue, {**error, "id": 2})
    assert whole.outcome == Fault("invalid", "Expected text.", "$.text", FailureKind.EXHAUSTED, 3.0)
    assert bare.outcome == Fault("invalid", "Expected text.", None, FailureKind.FATAL, None)


@pytest.mark.parametrize(
    "seconds",
    ["-1", "1e999", "1" + "0" * 400, '"3"', "true", "null", "{}"],
    ids=lambda text: text[:5],
)
def test_a_time_that_cannot_be_is_none(
    dialogue: Dialogue, pauses: list[float], seconds: str
) -> None:
    list(dialogue.hear(f'{{"type":"ws:error","kind":"exhausted","retry_after":{seconds}}}'))
    assert pauses == []


def test_an_exhausted_server_asks_to_be_spared(dialogue: Dialogue, pauses: list[float]) -> None:
    error = {"type": "ws:error", "code": "exhausted", "kind": "exhausted", "message": "Later."}
    hear(dialogue, {**error, "retry_after": 3})
    hear(dialogue, {**error, "id": None, "retry_after": 0.5})
    dialogue.ask("chat.say", {})
    hear(dialogue, {**error, "id": 1, "retry_after": 7})
    hear(dialogue, {**error, "id": 99, "retry_after": 7})
    hear(dialogue, {**error, "kind": "transient", "retry_after": 7})
    hear(dialogue, error)
    assert pauses == [3, 0.5]


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
    assert sent.outcome == Fault(
        "closed", "The connection ended before the reply.", None, FailureKind.TRANSIENT, None
    )
    assert waits.outcome is None
    assert dialogue.client_id is None
    assert said(dialogue) == ['{"type":"b","id":2}']


def test_the_end_takes_all(dialogue: Dialogue) -> None:
    waits = dialogue.ask("b", {})
    dialogue.say(waits)
    dialogue.say("a")
    dialogue.end()
    assert isinstance(waits.outcome, Fault)
    assert not dialogue.has_frames()


def choose(dialogue: Dialogue, name: str) -> None:
    dialogue.view = View(name)
    dialogue.say(dialogue.view)


def test_a_view_is_chosen_where_it_was_said(dialogue: Dialogue) -> None:
    dialogue.say("a")
    choose(dialogue, "summary")
    dialogue.say("b")
    assert said(dialogue) == ["a", '{"type":"ws:view","view":"summary"}', "b"]


def test_each_connection_begins_with_the_view(dialogue: Dialogue) -> None:
    for name in ("small", "summary"):
        choose(dialogue, name)
    assert len(said(dialogue)) == 2
    for _ in range(2):
        dialogue.lost()
        dialogue.say("a")
        dialogue.opened()
        hear(dialogue, {"type": "ws:ping"})
        assert said(dialogue) == [
            '{"type":"ws:view","view":"summary"}',
            '{"type":"ws:pong"}',
            "a",
        ]


def test_a_view_that_waits_is_not_said_after_the_one_that_follows_it(dialogue: Dialogue) -> None:
    for name in ("small", "summary"):
        choose(dialogue, name)
    dialogue.say("a")
    dialogue.lost()
    dialogue.opened()
    assert said(dialogue) == ['{"type":"ws:view","view":"summary"}', "a"]


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


def test_what_a_group_is_told_of_its_members_is_heard(dialogue: Dialogue) -> None:
    joined = {"type": "ws:joined", "group": "red", "user": "7", "client": "c2", "info": None}
    left = {"type": "ws:left", "group": "red", "user": "7", "client": None}
    assert hear(dialogue, joined) == [joined]
    assert hear(dialogue, {"type": "ws:batch", "messages": [left, joined]}) == [left, joined]
    assert hear(dialogue, {"type": "ws:from the future"}) == []
    assert said(dialogue) == []


@pytest.mark.parametrize(
    ("kind", "answered"),
    [
        ("ws:ping", True),
        ("ws:future", True),
        ("ws:joined", False),
        ("ws:left", False),
        ("a", False),
    ],
)
def test_what_is_between_client_and_server_is_no_news(kind: str, answered: bool) -> None:
    assert is_answered(kind) is answered


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
