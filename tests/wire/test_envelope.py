"""Typed messages: read from browsers that send anything, answered with what they can read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsadapter.errors import EncodeError, InvalidMessage
from wsadapter.wire import envelope
from wsadapter.wire.envelope import ErrorCode, decode, failure, heartbeat, reply


def test_a_message_has_a_type_an_id_and_fields() -> None:
    message = decode('{"type": "chat.say", "id": 7, "text": "hi"}')
    assert (message.type, message.id) == ("chat.say", 7)
    assert message.fields == {"type": "chat.say", "id": 7, "text": "hi"}


@pytest.mark.parametrize("id", [7, 0, -1, 2**53, "abc", "", None])
def test_an_id_is_a_number_or_text_or_left_out(id: Any) -> None:
    assert decode(json.dumps({"type": "a", "id": id})).id == id
    assert decode('{"type": "a"}').id is None


INVALID = [
    ("", "invalid_json", None, None),
    ("{", "invalid_json", None, None),
    ("{'type': 'a'}", "invalid_json", None, None),
    ('{"type": "a"} trailing', "invalid_json", None, None),
    ('{"type": "a", "x": NaN}', "invalid_json", None, None),
    ('{"type": "\0"}', "invalid_json", None, None),
    ('{"type": "\ud800"}', "invalid_json", None, None),
    ("[" * 100_000, "invalid_json", None, None),
    ("null", "invalid", "$", None),
    ("7", "invalid", "$", None),
    ('"text"', "invalid", "$", None),
    ('[{"type": "a"}]', "invalid", "$", None),
    ("{}", "invalid", "$.type", None),
    ('{"id": 7}', "invalid", "$.type", 7),
    ('{"type": 7, "id": "x"}', "invalid", "$.type", "x"),
    ('{"type": null}', "invalid", "$.type", None),
    ('{"type": ["a"]}', "invalid", "$.type", None),
    ('{"type": "a", "id": {}}', "invalid", "$.id", None),
    ('{"type": "a", "id": true}', "invalid", "$.id", None),
    ('{"type": "a", "id": 1.5}', "invalid", "$.id", None),
]


@pytest.mark.parametrize(("text", "code", "path", "id"), INVALID, ids=lambda v: ascii(v)[:30])
def test_what_is_no_message_is_told_why(text: str, code: str, path: str | None, id: Any) -> None:
    with pytest.raises(InvalidMessage) as caught:
        decode(text)
    assert (caught.value.code, caught.value.path, caught.value.id) == (code, path, id)
    assert caught.value.message.endswith(".")


@given(st.text(st.characters(exclude_categories=[])))
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        decode(text)
    except InvalidMessage:
        pass


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (envelope.PING, "ws:ping"),
        (envelope.PONG, "ws:pong"),
        ('{"type": "ws:pong"}', "ws:pong"),
        ('{"type": "ws:pong", "at": 1234567890.123}', "ws:pong"),
        ('  {"at": 1, "type": "ws:ping"}\n', "ws:ping"),
        ('{"type": "ws:p"}', None),
        ('{"type": "ws:pongs"}', None),
        ('{"type": "chat", "text": "ws:ping"}', None),
        ('"ws:ping"', None),
        ('{"type": "ws:ping"', None),
        (envelope.GAP, None),
        ("ws:ping", None),
        ("", None),
        ('{"type": "ws:ping", "id": {}}', None),
        ('{"type": "ws:ping", "padding": "' + 64 * "x" + '"}', None),
    ],
)
def test_heartbeats_are_told_from_all_else(text: str, kind: str | None) -> None:
    assert heartbeat(text) == kind


def test_the_welcome_names_the_client() -> None:
    assert envelope.welcome("tab-1") == '{"type":"ws:welcome","client":"tab-1"}'


def test_the_ready_made_messages_are_compact_json() -> None:
    for text in (envelope.PING, envelope.PONG, envelope.GAP):
        assert json.dumps(json.loads(text), separators=(",", ":")) == text
        assert decode(text).type.startswith(envelope.RESERVED_PREFIX)


@pytest.mark.parametrize("id", [7, "seven", None])
def test_a_reply_has_the_id_of_its_request(id: Any) -> None:
    text = reply(id, {"ok": True})
    assert json.loads(text) == {"type": "ws:reply", "id": id, "result": {"ok": True}}


def test_a_reply_that_does_not_encode_is_the_developers_mistake() -> None:
    with pytest.raises(EncodeError, match=r"The object at \$\.result"):
        reply(7, object())


def test_a_failure_says_what_is_wrong_and_where() -> None:
    error = InvalidMessage(ErrorCode.INVALID, "Expected `str`.", path="$.text", id=7)
    assert json.loads(failure(error)) == {
        "type": "ws:error",
        "id": 7,
        "code": "invalid",
        "message": "Expected `str`.",
        "path": "$.text",
    }


def test_a_failure_without_a_place_has_no_path() -> None:
    assert json.loads(failure(InvalidMessage(ErrorCode.UNKNOWN_TYPE, "No such type."))) == {
        "type": "ws:error",
        "id": None,
        "code": "unknown_type",
        "message": "No such type.",
    }


@given(st.text(), st.text())
def test_what_a_failure_quotes_is_escaped(message: str, path: str) -> None:
    body = json.loads(failure(InvalidMessage(ErrorCode.INVALID, message, path=path)))
    assert (body["message"], body["path"]) == (message, path)
