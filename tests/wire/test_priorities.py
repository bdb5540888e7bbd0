"""The lane of a message: as the call says, as its type says, or as its sender asks."""

from __future__ import annotations

import enum
import json
from collections import UserDict
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsadapter.errors import InvalidMessage
from wsadapter.wire.failures import ErrorCode
from wsadapter.wire.lanes import Priority
from wsadapter.wire.payload import encode, to_json
from wsadapter.wire.priorities import SUBPROTOCOL, priority_of, read_priority

URGENT, HIGH, NORMAL, LOW = Priority.URGENT, Priority.HIGH, Priority.NORMAL, Priority.LOW


class Kind(enum.StrEnum):
    TYPING = "chat.typing"


class PlainKind(enum.Enum):
    TYPING = "chat.typing"


class Tagged(msgspec.Struct, tag="chat.typing", tag_field="type"):
    who: str = "ann"


class TaggedElsewhere(msgspec.Struct, tag="typing", tag_field="kind"):
    type: str = "chat.typing"


class Numbered(msgspec.Struct, tag=7, tag_field="type"):
    who: str = "ann"


class Plain(msgspec.Struct):
    type: str = "chat.typing"


class RenamedTo(msgspec.Struct):
    kind: str = msgspec.field(default="chat.typing", name="type")


class RenamedFrom(msgspec.Struct):
    type: str = msgspec.field(default="chat.typing", name="kind")


@dataclass
class Data:
    type: str = "chat.typing"


@dataclass
class Constant:
    who: str = "ann"
    type: ClassVar[str] = "chat.typing"


class Model(pydantic.BaseModel):
    type: str = "chat.typing"


TYPED = [
    {"type": "chat.typing"},
    UserDict({"type": "chat.typing"}),
    {"type": Kind.TYPING},
    Tagged(),
    TaggedElsewhere(),
    Plain(),
    Data(),
    Model(),
]
UNTYPED = [
    {},
    {"kind": "chat.typing"},
    {"type": 7},
    {"type": None},
    {"type": ["chat.typing"]},
    Numbered(),
    Data(type=7),  # type: ignore[arg-type]
    [{"type": "chat.typing"}],
    7,
    None,
]


def named(value: object) -> str:
    return f"{type(value).__name__} {value}"


def lane(data: object, given: Priority, declared: dict[str, Priority]) -> Priority:
    return priority_of(encode(data), given, declared)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "a"]), children, max_size=2)
    ),
    max_leaves=5,
)


# Outgoing


@pytest.mark.parametrize("declared", Priority)
@pytest.mark.parametrize("data", TYPED, ids=named)
def test_a_type_has_the_lane_that_was_declared(data: object, declared: Priority) -> None:
    assert lane(data, NORMAL, {"chat.typing": declared}) is declared


@pytest.mark.parametrize("given_priority", [URGENT, HIGH, LOW])
@pytest.mark.parametrize("declared", Priority)
def test_what_a_call_says_stands(given_priority: Priority, declared: Priority) -> None:
    data = {"type": "chat.typing"}
    assert lane(data, given_priority, {"chat.typing": declared}) is given_priority


@pytest.mark.parametrize(
    "data", [RenamedTo(), RenamedFrom(), {"type": PlainKind.TYPING}, Constant()], ids=named
)
def test_the_type_is_the_one_with_which_it_arrives(data: object) -> None:
    arrives_as = json.loads(to_json(data)).get("type")
    expected = LOW if arrives_as == "chat.typing" else NORMAL
    assert lane(data, NORMAL, {"chat.typing": LOW}) is expected


@given(json_values)
def test_only_the_type_of_an_object_counts(data: Any) -> None:
    kind = data.get("type") if isinstance(data, dict) else None
    declared = {kind: LOW} if isinstance(kind, str) else {"a": LOW}
    assert lane(data, NORMAL, declared) is (LOW if isinstance(kind, str) else NORMAL)


def test_other_types_are_normal() -> None:
    assert lane({"type": "chat.said"}, NORMAL, {"chat.typing": LOW}) is NORMAL
    assert lane({"type": "chat.typing"}, NORMAL, {}) is NORMAL


@pytest.mark.parametrize("data", [*UNTYPED, "chat.typing", b"chat.typing"], ids=named)
def test_what_has_no_type_is_normal(data: object) -> None:
    assert lane(data, NORMAL, {"chat.typing": LOW}) is NORMAL


lanes = st.sampled_from(Priority)
types = st.sampled_from(["a", "b", "c", "d", ""])


@given(types, lanes, st.dictionaries(types, lanes))
def test_the_call_comes_first_then_the_type_then_normal(
    kind: str, given_priority: Priority, declared: dict[str, Priority]
) -> None:
    expected = declared.get(kind, NORMAL) if given_priority is NORMAL else given_priority
    assert lane({"type": kind}, given_priority, declared) is expected


# Incoming


def test_the_subprotocol_is_a_public_contract() -> None:
    assert SUBPROTOCOL == "wsadapter.priority"


@pytest.mark.parametrize(
    ("value", "priority"),
    [
        ("urgent", URGENT),
        ("high", HIGH),
        ("normal", NORMAL),
        ("low", LOW),
        (0, URGENT),
        (1, HIGH),
        (2, NORMAL),
        (3, LOW),
    ],
)
def test_a_sender_gives_a_name_or_a_number(value: object, priority: Priority) -> None:
    assert read_priority(value) is priority


@pytest.mark.parametrize(
    "value", ["", "URGENT", " low", "0", 4, -1, 1.0, 0.0, True, False, None, [], [1], {}, {"a": 1}]
)
def test_everything_else_is_refused_with_what_there_is(value: object) -> None:
    with pytest.raises(InvalidMessage) as caught:
        read_priority(value)
    assert caught.value.code == ErrorCode.INVALID
    assert caught.value.path == "$.priority"
    assert caught.value.message == "A priority is one of urgent, high, normal, low."


@given(json_values | st.integers(-1, 5) | st.sampled_from(["urgent", "high", "normal", "low"]))
def test_any_value_is_read_or_refused(value: Any) -> None:
    for priority in Priority:
        if value == priority.name.lower() or (type(value) is int and value == priority):
            assert read_priority(value) is priority
            return
    with pytest.raises(InvalidMessage):
        read_priority(value)
