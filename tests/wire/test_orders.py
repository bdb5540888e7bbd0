"""Pushes and kicks survive the way over any channel layer, and nothing else passes for one."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsadapter.wire.lanes import Priority
from wsadapter.wire.orders import KICK, PUSH, Inspect, Kick, Push, push, send_event
from wsadapter.wire.stamps import Stamp

frames = st.text() | st.binary()
pushes = st.builds(
    Push,
    frames,
    st.frozensets(st.text()),
    st.sampled_from(Priority),
    st.booleans(),
    st.dictionaries(st.text(), frames, max_size=3),
)
kicks = st.builds(
    Kick, st.integers(3000, 4999), st.text(), st.none() | st.text(), st.none() | st.text()
)


@given(pushes)
def test_a_push_arrives_as_it_left_where_bytes_can_travel(sent: Push) -> None:
    message = msgspec.msgpack.decode(msgspec.msgpack.encode(sent.to_message(carries_bytes=True)))
    assert Push.from_message(message) == sent


@given(pushes)
def test_a_push_arrives_as_it_left_where_only_json_travels(sent: Push) -> None:
    message = json.loads(json.dumps(sent.to_message(carries_bytes=False)))
    assert Push.from_message(message) == sent


@given(kicks)
def test_a_kick_arrives_as_it_left(sent: Kick) -> None:
    assert Kick.from_message(json.loads(json.dumps(sent.to_message()))) == sent


def test_the_usual_push_carries_nothing_but_its_frame() -> None:
    assert Push("hi").to_message(carries_bytes=True) == {"type": PUSH, "text": "hi"}
    assert Push(b"hi").to_message(carries_bytes=True) == {"type": PUSH, "bytes": b"hi"}
    assert Push(b"hi").to_message(carries_bytes=False) == {"type": PUSH, "base64": "aGk="}


def test_the_usual_kick_carries_nothing_but_its_code_and_reason() -> None:
    assert Kick(3503, "bye").to_message() == {"type": KICK, "code": 3503, "reason": "bye"}


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"type": PUSH},
        {"text": b"bytes"},
        {"text": None},
        {"bytes": "text"},
        {"base64": "not base64!"},
        {"base64": 7},
        {"text": "hi", "priority": 9},
        {"text": "hi", "exclude": 7},
        {"text": "hi", "views": 7},
        {"text": "hi", "views": ["text"]},
        {"text": "hi", "views": {"summary": "text"}},
        {"text": "hi", "views": {"summary": {}}},
        {"text": "hi", "views": {"summary": {"text": 7}}},
        {"text": "hi", "views": {7: {"text": "hi"}}},
    ],
    ids=repr,
)
def test_junk_is_no_push(message: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Push.from_message(message)


@pytest.mark.parametrize("message", [{}, {"code": None}, {"code": "x"}, {"code": []}], ids=repr)
def test_junk_is_no_kick(message: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Kick.from_message(message)


@pytest.mark.parametrize(
    ("frame", "event"),
    [
        ("hi", {"type": "websocket.send", "text": "hi"}),
        ("", {"type": "websocket.send", "text": ""}),
        (b"hi", {"type": "websocket.send", "bytes": b"hi"}),
        (b"", {"type": "websocket.send", "bytes": b""}),
    ],
)
def test_a_frame_is_sent_by_one_event_of_its_kind(
    frame: str | bytes, event: dict[str, Any]
) -> None:
    assert send_event(frame) == event
    assert Push(frame).event == event
    assert Push(frame).size == len(frame)


def test_a_push_concerns_all_but_the_excluded() -> None:
    order = Push("hi", exclude=frozenset({"a"}))
    assert not order.concerns("a", "1")
    assert order.concerns("b", "1")
    assert order.concerns("b", None)


def test_a_push_to_the_authenticated_does_not_concern_visitors() -> None:
    order = Push("hi", exclude=frozenset({"a"}), authenticated_only=True)
    assert order.concerns("b", "1")
    assert not order.concerns("b", None)
    assert not order.concerns("a", "1")


@pytest.mark.parametrize(
    ("kick", "serial", "sessions", "concerned"),
    [
        (Kick(3503), "s1", set(), True),
        (Kick(3503), "s1", {"login"}, True),
        (Kick(3503, serial="s1"), "s1", set(), True),
        (Kick(3503, serial="s1"), "s2", set(), False),
        (Kick(3500, session="login"), "s1", {"key", "login"}, True),
        (Kick(3500, session="login"), "s1", {"other"}, False),
        (Kick(3500, session="login"), "s1", set(), False),
    ],
)
def test_whom_a_kick_concerns(kick: Kick, serial: str, sessions: set[str], concerned: bool) -> None:
    assert kick.concerns(serial, sessions) is concerned


@pytest.mark.parametrize("code", [-5, 0, 999, 1005, 1006, 1015, 2999, 5000, 70000])
def test_a_kick_has_a_code_that_may_be_sent(code: int) -> None:
    with pytest.raises(ValueError, match="close code"):
        Kick(code)
    with pytest.raises(ValueError, match="close code"):
        Kick.from_message({"type": "wsadapter.kick", "code": code})


@pytest.mark.parametrize("exclude", ["tab-1", ["tab-1"], {"tab-1"}, ("tab-1", "tab-1")], ids=repr)
def test_the_excluded_are_given_in_any_collection_or_as_a_single_id(exclude: Any) -> None:
    order = push("hi", exclude, Priority.HIGH, True, {"short": "h"})
    assert order == Push("hi", frozenset({"tab-1"}), Priority.HIGH, True, {"short": "h"})


def test_the_size_of_a_push_is_that_of_its_bytes() -> None:
    assert Push("plain").size == 5
    assert Push("\N{GRINNING FACE}").size == 4
    assert Push(b"\xff\x00").size == 2


# Views

VIEWED = Push(
    "all of it", frozenset({"a"}), Priority.HIGH, True, {"summary": "part", "ids": b"\x01\x02"}
)


def test_views_travel_beside_the_frame() -> None:
    order = Push("all", views={"summary": "part", "ids": b"1"})
    assert order.to_message(carries_bytes=True) == {
        "type": PUSH,
        "text": "all",
        "views": {"summary": {"text": "part"}, "ids": {"bytes": b"1"}},
    }
    assert order.to_message(carries_bytes=False)["views"]["ids"] == {"base64": "MQ=="}


def test_a_view_of_a_push_is_a_push_to_the_same_connections() -> None:
    assert VIEWED.in_view("summary") == Push("part", frozenset({"a"}), Priority.HIGH, True)
    assert VIEWED.in_view("summary").event == send_event("part")
    assert VIEWED.in_view("ids").size == 2


def test_it_is_made_once_and_so_are_its_bytes() -> None:
    first = VIEWED.in_view("summary")
    assert VIEWED.in_view("summary") is first
    assert VIEWED.in_view("summary").to_bytes(0) is first.to_bytes(0)
    assert VIEWED.in_view("ids") is not first


@pytest.mark.parametrize("view", ["default", "unknown", ""])
def test_where_there_is_no_such_view_it_is_the_push_itself(view: str) -> None:
    assert VIEWED.in_view(view) is VIEWED
    plain = Push("hi")
    assert plain.in_view(view) is plain


def test_a_view_has_no_views() -> None:
    summary = VIEWED.in_view("summary")
    assert summary.in_view("ids") is summary


@pytest.mark.parametrize(
    ("order", "selective"),
    [
        (Push("hi"), False),
        (Push("hi", priority=Priority.LOW), False),
        (Push("hi", exclude=frozenset({"a"})), True),
        (Push("hi", authenticated_only=True), True),
        (Push("hi", views={"short": "h"}), True),
        (Push("hi", views={"short": "h"}).in_view("short"), False),
    ],
    ids=["plain", "priority", "exclude", "authenticated", "views", "one view"],
)
def test_selective_are_those_that_are_not_one_frame_for_all(order: Push, selective: bool) -> None:
    assert order.selective is selective


def test_a_layer_carries_the_frames_of_all_views() -> None:
    assert Push("ä").total_size == Push("ä").size == 2
    assert VIEWED.size == 9
    assert VIEWED.total_size == 9 + 4 + 2


# Places in a sequence


def test_a_stamp_is_the_same_in_each_view() -> None:
    order = Push(
        '{"id":1,"text":"hi"}', frozenset({"a"}), Priority.LOW, True, {"id": '{"id":1}', "no": "{}"}
    )
    assert order.stamped(Stamp(7, 1_763_762_000_123)) == Push(
        '{"id":1,"text":"hi","sequence":7,"timestamp":1763762000123}',
        frozenset({"a"}),
        Priority.LOW,
        True,
        {
            "id": '{"id":1,"sequence":7,"timestamp":1763762000123}',
            "no": '{"sequence":7,"timestamp":1763762000123}',
        },
    )
    assert order.frame == '{"id":1,"text":"hi"}', "others may stamp the same push otherwise"


def test_bytes_have_no_place_in_a_sequence() -> None:
    with pytest.raises(TypeError, match="expected str, got bytes"):
        Push(b"hi").stamped(Stamp(7, 1))


@given(st.builds(Inspect, st.text(), st.text()))
def test_an_inspection_arrives_as_it_left(sent: Inspect) -> None:
    assert Inspect.from_message(json.loads(json.dumps(sent.to_message()))) == sent


def test_a_process_that_knows_no_inspections_takes_one_for_a_push_to_nobody() -> None:
    message = Inspect("the client", "a channel").to_message()
    assert message["type"] == PUSH
    assert not Push.from_message(message).concerns("the client", "7")


@pytest.mark.parametrize(
    "message",
    [
        {"type": PUSH, "report_to": "a channel"},
        {"type": PUSH, "report_to": "a channel", "exclude": []},
        {"type": PUSH, "report_to": 7, "exclude": ["the client"]},
        {"type": PUSH, "report_to": "a channel", "exclude": [7]},
    ],
)
def test_what_is_no_inspection_is_an_error(message: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Inspect.from_message(message)
