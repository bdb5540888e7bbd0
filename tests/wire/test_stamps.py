"""A message carries its place in a sequence, if it can carry anything."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsadapter.errors import EncodeError
from wsadapter.wire.payload import encode, to_json
from wsadapter.wire.stamps import FIELDS, Stamp, check_stampable, stamped

STAMP = Stamp(sequence=7, timestamp=1_763_762_000_123)


class Tick(msgspec.Struct):
    price: float = 1.5


class Tagged(msgspec.Struct, tag="tick", tag_field="type", rename="camel"):
    last_price: float = 1.5


@dataclass
class Reading:
    celsius: float = 1.5


class Model(pydantic.BaseModel):
    price: float = 1.5


class Empty(msgspec.Struct):
    pass


OBJECTS: list[Any] = [{"a": 1}, {}, Tick(), Tagged(), Reading(), Model(), Empty()]


def named(value: object) -> str:
    return f"{type(value).__name__} {value}"


def check(data: object) -> None:
    check_stampable(data, encode(data))


@pytest.mark.parametrize("data", OBJECTS, ids=named)
def test_an_object_gets_two_more_fields_at_its_end(data: Any) -> None:
    check(data)
    pairs = json.loads(stamped(to_json(data), STAMP), object_pairs_hook=list)
    assert pairs == [
        *json.loads(to_json(data), object_pairs_hook=list),
        ("sequence", 7),
        ("timestamp", 1_763_762_000_123),
    ]


def test_the_frame_stays_compact() -> None:
    assert stamped("{}", Stamp(1, 2)) == '{"sequence":1,"timestamp":2}'
    assert stamped('{"a":1}', Stamp(1, 2)) == '{"a":1,"sequence":1,"timestamp":2}'


@pytest.mark.parametrize(
    "data",
    [[], [{"a": 1}], ({"a": 1},), 7, 1.5, None, True, [("a", 1)], {1, 2}],
    ids=named,
)
def test_json_that_is_no_object_is_refused(data: object) -> None:
    sentence = rf"^A sequence is written into JSON objects, and this is a {type(data).__name__}\. S"
    with pytest.raises(EncodeError, match=sentence):
        check(data)


@pytest.mark.parametrize("data", ['{"a":1}', "{", b"{}", bytearray(b"{}"), memoryview(b"{}")])
def test_a_frame_that_was_made_elsewhere_is_refused(data: object) -> None:
    with pytest.raises(EncodeError, match=rf"and this is a {type(data).__name__}\. Send a dict"):
        check(data)


# Fields that are there already


class OwnSequence(msgspec.Struct):
    sequence: int = 1


@dataclass
class OwnTimestamp:
    timestamp: float = 0.5


class OwnModel(pydantic.BaseModel):
    sequence: int = 1


class Open(pydantic.BaseModel, extra="allow"):
    pass


class RenamedTo(msgspec.Struct):
    number: int = msgspec.field(default=1, name="sequence")


class TaggedSo(msgspec.Struct, tag="tick", tag_field="timestamp"):
    price: float = 1.5


class RenamedFrom(msgspec.Struct):
    sequence: int = msgspec.field(default=1, name="number")


@dataclass
class WithMethod:
    seconds: float = 0.5

    def timestamp(self) -> float:
        return self.seconds


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({"sequence": 1}, "sequence"),
        ({"a": 1, "timestamp": None}, "timestamp"),
        (OwnSequence(), "sequence"),
        (OwnTimestamp(), "timestamp"),
        (OwnModel(), "sequence"),
        (Open(timestamp=1), "timestamp"),
    ],
    ids=named,
)
def test_a_field_that_would_be_overwritten_is_refused(data: object, name: str) -> None:
    with pytest.raises(EncodeError, match=rf'^The message has a field "{name}" already'):
        check(data)


@pytest.mark.parametrize("data", [RenamedTo(), TaggedSo()], ids=named)
def test_the_name_of_a_field_is_that_on_the_wire(data: object) -> None:
    with pytest.raises(EncodeError, match=r"^The message has a field .* already"):
        check(data)


@pytest.mark.parametrize("data", [WithMethod(), RenamedFrom()], ids=named)
def test_what_is_not_sent_is_in_nobodys_way(data: object) -> None:
    check(data)


def test_what_is_stamped_is_not_stamped_again() -> None:
    with pytest.raises(EncodeError, match="has a field"):
        check(json.loads(stamped("{}", STAMP)))


def test_a_field_further_inside_is_in_nobodys_way() -> None:
    check({"inner": {"sequence": 1}, "others": [{"timestamp": 2}]})


# Properties

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.text() | st.sampled_from(FIELDS), children, max_size=3)
    ),
    max_leaves=8,
)
objects = st.dictionaries(st.text() | st.sampled_from(FIELDS), json_values, max_size=5)
stamps = st.builds(Stamp, st.integers(1, 2**53), st.integers(0, 2**53))


@given(objects, stamps)
def test_any_object_is_what_it_was_and_stamped_unless_it_is_refused(
    data: dict[str, Any], stamp: Stamp
) -> None:
    taken = sorted(data.keys() & set(FIELDS))
    if taken:
        with pytest.raises(EncodeError, match="|".join(f'"{name}"' for name in taken)):
            check(data)
        return
    check(data)
    message = json.loads(stamped(to_json(data), stamp))
    assert message == data | {"sequence": stamp.sequence, "timestamp": stamp.timestamp}
    assert list(message) == [*data, "sequence", "timestamp"]


@given(json_values)
def test_only_objects_are_stamped(data: Any) -> None:
    if not isinstance(data, dict):
        with pytest.raises(EncodeError, match="written into JSON objects"):
            check(data)
