"""Typed messages: read from browsers that send anything, answered with what they can read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wsadapter.errors import EncodeError, Fatal, InvalidMessage
from wsadapter.wire import envelope
from wsadapter.wire.envelope import Envelope, decode, failed, failure, heartbeat, reply
from wsadapter.wire.failures import ErrorCode
from wsadapter.wire.payload import to_json


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


IDS = st.none() | st.text() | st.integers(-(2**63), 2**63)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(-1e9, 1e9) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.dictionaries(st.text(), JSON, max_size=3)


@given(FIELDS, st.text(), IDS)
def test_what_was_encoded_comes_back(fields: dict[str, Any], type: str, id: Any) -> None:
    said = fields | {"type": type, "id": id}
    assert decode(to_json(said)) == Envelope(type, id, said)


@given(JSON)
def test_what_is_not_a_message_is_refused_whatever_it_is(value: Any) -> None:
    assume(not (isinstance(value, dict) and isinstance(value.get("type"), str)))
    with pytest.raises(InvalidMessage) as caught:
        decode(json.dumps(value))
    assert caught.value.code == "invalid"
    assert caught.value.path in ("$", "$.type", "$.id")


@given(FIELDS, IDS, JSON.filter(lambda type: not isinstance(type, str)))
def test_a_refusal_keeps_the_id_so_that_it_can_be_answered(
    fields: dict[str, Any], id: Any, type: Any
) -> None:
    with pytest.raises(InvalidMessage) as caught:
        decode(json.dumps(fields | {"type": type, "id": id}))
    assert (caught.value.path, caught.value.id) == ("$.type", id)


@given(st.text(), IDS, JSON)
def test_all_that_wsadapter_says_itself_has_a_reserved_type(
    text: str, id: Any, result: Any
) -> None:
    error = InvalidMessage(ErrorCode.INVALID, text, path=text, id=id)
    said = [decode(envelope.welcome(text)), decode(reply(id, result)), decode(failure(error))]
    assert [message.type for message in said] == ["ws:welcome", "ws:reply", "ws:error"]
    assert [message.id for message in said] == [None, id, id]
    assert said[1].fields["result"] == result
    assert all(message.type.startswith(envelope.RESERVED_PREFIX) for message in said)


BEATS = st.sampled_from(["ws:ping", "ws:pong", "ws:p", "ws:gap", "chat", ""])


NAMES = st.sampled_from(["at", "n", "ws:ping", "ws:pong"])


@given(st.dictionaries(NAMES, st.integers(0, 9), max_size=2), BEATS, st.booleans())
def test_a_short_heartbeat_is_seen_wherever_its_type_stands(
    fields: dict[str, int], type: str, is_first: bool
) -> None:
    said = {"type": type} | fields if is_first else fields | {"type": type}
    expected = type if type in ("ws:ping", "ws:pong") else None
    assert heartbeat(json.dumps(said)) == expected


@given(st.text(st.characters(exclude_categories=[])), st.sampled_from(['"ws:ping"', '"ws:pong"']))
def test_no_text_passes_for_a_heartbeat_or_breaks_it(text: str, kind: str) -> None:
    assert heartbeat(text + kind) is None


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


def test_a_group_is_told_who_has_joined_it() -> None:
    text = envelope.joined("red", "7", "tab-1", b'{"name":"Ada"}')
    assert text == (
        '{"type":"ws:joined","group":"red","user":"7","client":"tab-1","info":{"name":"Ada"}}'
    )
    assert json.loads(envelope.joined("red", None, "tab-1", b"null"))["user"] is None


@pytest.mark.parametrize(("user_id", "client_id"), [("7", None), (None, "tab-1")])
def test_a_group_is_told_who_has_left_it(user_id: str | None, client_id: str | None) -> None:
    assert json.loads(envelope.left("red", user_id, client_id)) == {
        "type": "ws:left",
        "group": "red",
        "user": user_id,
        "client": client_id,
    }


@given(st.text(st.characters(exclude_categories=[])), st.text(), st.text(), JSON)
def test_any_group_can_be_told_of_anybody(group: str, user: str, client: str, info: Any) -> None:
    joined = decode(envelope.joined(group, user, client, to_json(info).encode()))
    left = decode(envelope.left(group, user, None))
    assert (joined.type, left.type) == (envelope.JOINED, envelope.LEFT)
    assert (joined.fields["user"], joined.fields["client"]) == (user, client)
    assert joined.fields["info"] == info
    sendable = group.encode("utf-8", "replace").decode()
    assert joined.fields["group"] == left.fields["group"] == sendable


def test_the_ready_made_messages_are_compact_json() -> None:
    for text in (envelope.PING, envelope.PONG, envelope.GAP, envelope.END):
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
        "kind": "fatal",
        "message": "Expected `str`.",
        "path": "$.text",
    }


def test_a_failure_without_a_place_has_no_path() -> None:
    assert json.loads(failure(InvalidMessage(ErrorCode.UNKNOWN_TYPE, "No such type."))) == {
        "type": "ws:error",
        "id": None,
        "code": "unknown_type",
        "kind": "fatal",
        "message": "No such type.",
    }


@given(st.text(), st.text())
def test_what_a_failure_quotes_is_escaped(message: str, path: str) -> None:
    body = json.loads(failure(InvalidMessage(ErrorCode.INVALID, message, path=path)))
    assert (body["message"], body["path"]) == (message, path)


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        (envelope.END, True),
        ('{"type": "ws:end"}', True),
        ('  {"name": "a.png", "type": "ws:end"}\n', True),
        ('{"type": "ws:ends"}', False),
        ('{"type": "WS:END"}', False),
        ('{"type": "chat", "text": "ws:end"}', False),
        ('{"ws:end": 1, "type": "chat"}', False),
        ('["ws:end"]', False),
        ('"ws:end"', False),
        ('{"type": "ws:end"', False),
        ('{"type": "ws:end", "id": {}}', False),
        ('{"type": "ws:end", "padding": "' + 64 * "x" + '"}', False),
        (envelope.PING, False),
        ("ws:end", False),
        ("", False),
    ],
)
def test_the_end_of_a_stream_is_told_from_all_else(text: str, ends: bool) -> None:
    assert envelope.is_end(text) is ends


@given(st.dictionaries(NAMES, st.integers(0, 9), max_size=2), st.booleans())
def test_the_end_is_seen_wherever_its_type_stands(fields: dict[str, int], is_first: bool) -> None:
    end = {"type": "ws:end"}
    assert envelope.is_end(json.dumps(end | fields if is_first else fields | end))
    assert not envelope.is_end(json.dumps(fields | {"type": "ws:ping"}))


@given(st.text(st.characters(exclude_categories=[])))
def test_no_text_passes_for_the_end_or_breaks_it(text: str) -> None:
    assert not envelope.is_end(text + '"ws:end"')


def test_the_ready_made_messages_are_each_of_one_kind() -> None:
    ready = [envelope.PING, envelope.PONG, envelope.GAP, envelope.END]
    assert [heartbeat(text) for text in ready] == ["ws:ping", "ws:pong", None, None]
    assert [envelope.is_end(text) for text in ready] == [False, False, False, True]


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, 0), (1.5, 1.5), (0.12345, 0.123), (2, 2), (0.0004, 0), (None, None)]
)
def test_a_failure_says_when_the_message_would_be_taken(
    seconds: float | None, told: float | None
) -> None:
    error = InvalidMessage(ErrorCode.RATE_LIMITED, "Too many messages.", id=7)
    body = json.loads(failure(error, seconds))
    assert body.get("retry_after") == told
    assert ("retry_after" in body) is (seconds is not None)
    assert (body["type"], body["id"], body["code"]) == ("ws:error", 7, "rate_limited")


def test_half_a_character_in_a_sentence_is_no_obstacle() -> None:
    error = InvalidMessage(ErrorCode.INVALID, "No \ud800.", path="$.\udfff")
    body = json.loads(failure(error))
    assert (body["message"], body["path"]) == ("No ?.", "$.?")
    assert json.loads(failed(Fatal("No \ud800.", code="\ud800")))["message"] == "No ?."
