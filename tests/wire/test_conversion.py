"""What a peer sent becomes the declared type, or the peer is told what is amiss, and where."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Optional, TypedDict

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsadapter.errors import InvalidMessage
from wsadapter.wire.conversion import MAX_ECHO_CHARS, converter, json_reader, text_converter

ANY_TEXT = st.text(st.characters(exclude_categories=[]))


class SayStruct(msgspec.Struct, forbid_unknown_fields=True):
    text: str
    tags: list[str] = []


@dataclass
class SayDataclass:
    text: str
    tags: list[str]


class SayDict(TypedDict):
    text: str
    tags: list[str]


class SayModel(pydantic.BaseModel):
    text: str
    tags: list[str] = []


@dataclass
class Picky:
    text: str

    def __post_init__(self) -> None:
        raise ValueError(self.text)


class PickyModel:
    """What has `model_validate` is a model, whoever made it."""

    @classmethod
    def model_validate(cls, value: Any) -> Any:
        raise ValueError(value["text"])


class Rich(msgspec.Struct):
    at: datetime.datetime
    price: decimal.Decimal
    by_number: dict[int, str]


class Nested(msgspec.Struct):
    inner: Nested | None = None


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Fraction(enum.Enum):
    HALF = 0.5


def refusal(make: Any, value: Any) -> InvalidMessage:
    with pytest.raises(InvalidMessage) as caught:
        make(value)
    return caught.value


def attempt(make: Any, value: Any) -> Any:
    """What is made of a value, or the refusal of it."""
    try:
        return make(value)
    except InvalidMessage as refused:
        return refused


# Decoded JSON, and JSON text: the same types, the same complaints

SAID = {"text": "hi", "tags": ["a"]}
DECLARED = [
    (SayStruct, SayStruct("hi", ["a"])),
    (SayDataclass, SayDataclass("hi", ["a"])),
    (SayDict, SAID),
    (SayModel, SayModel(text="hi", tags=["a"])),
    (SayStruct | None, SayStruct("hi", ["a"])),
    (dict, SAID),
    (dict[str, Any], SAID),
    (Any, SAID),
    (Annotated[SayStruct, {"unhashable": True}], SayStruct("hi", ["a"])),
]


def name_of(annotation: Any) -> str:
    return getattr(annotation, "__name__", "") if isinstance(annotation, type) else ""


@pytest.mark.parametrize(("annotation", "expected"), DECLARED, ids=name_of)
def test_what_fits_becomes_the_declared_type(annotation: Any, expected: Any) -> None:
    assert converter(annotation)(SAID) == expected
    assert json_reader(annotation)(json.dumps(SAID)) == expected


def test_values_are_made_of_what_json_has() -> None:
    said = {"at": "2026-03-01T12:30:00Z", "price": "1.10", "by_number": {"7": "seven"}}
    rich = Rich(
        at=datetime.datetime(2026, 3, 1, 12, 30, tzinfo=datetime.UTC),
        price=decimal.Decimal("1.10"),
        by_number={7: "seven"},
    )
    assert converter(Rich)(said) == rich
    assert json_reader(Rich)(json.dumps(said)) == rich


@pytest.mark.parametrize("annotation", [SayStruct, SayDataclass, SayDict, SayModel], ids=name_of)
@pytest.mark.parametrize(
    ("said", "path"),
    [
        ({"text": 7, "tags": []}, "$.text"),
        ({"text": None, "tags": []}, "$.text"),
        ({"text": "hi", "tags": "a"}, "$.tags"),
        ({"text": "hi", "tags": ["a", 7]}, "$.tags[1]"),
        ([], "$"),
        ("hi", "$"),
    ],
)
def test_what_does_not_fit_is_named(annotation: Any, said: Any, path: str) -> None:
    for refused in (
        refusal(converter(annotation), said),
        refusal(json_reader(annotation), json.dumps(said)),
    ):
        assert (refused.code, refused.path, refused.id) == ("invalid", path, None)
        assert refused.message.endswith(".")
        assert not refused.message.endswith("..")
        assert " - at " not in refused.message
        assert refused.__cause__ is not None


@pytest.mark.parametrize(
    "make", [converter(Rich), lambda value: json_reader(Rich)(json.dumps(value))]
)
def test_a_key_that_does_not_fit_is_named_by_its_object(make: Any) -> None:
    said = {"at": "2026-03-01T12:30:00Z", "price": "1", "by_number": {"x": "seven"}}
    refused = refusal(make, said)
    assert (refused.path, refused.message) == ("$.by_number", "Expected `int`, got `str`.")


@pytest.mark.parametrize("annotation", [Picky, PickyModel], ids=name_of)
@pytest.mark.parametrize("text", ["too loud", "too loud."])
def test_a_type_may_refuse_in_its_own_words(annotation: Any, text: str) -> None:
    refused = refusal(converter(annotation), {"text": text})
    assert (refused.message, refused.path) == ("too loud.", "$")


def test_a_part_may_refuse_in_its_own_words() -> None:
    refused = refusal(converter(dict[str, list[Picky]]), {"a": [{"text": "too loud."}]})
    assert (refused.message, refused.path) == ("too loud.", "$[...][0]")


@pytest.mark.parametrize("name", ["x - at `y`", "`", " - at `"])
def test_what_a_peer_says_is_not_taken_for_a_place(name: str) -> None:
    refused = refusal(converter(SayStruct), {"text": "hi", name: 1})
    assert refused.message.startswith("Object contains unknown field")
    assert (name in refused.message, refused.path) == (True, "$")


def test_what_is_nested_too_deeply_is_the_peers_mistake() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"inner": deep}
    refused = refusal(converter(Nested), deep)
    assert (refused.code, refused.path) == ("invalid", "$")
    assert refused.message == "The message is nested too deeply."


UNREADABLE = [complex | bytes | set[Any], SayStruct | SayDataclass, "nonsense", lambda: None]


class Unresolved(msgspec.Struct):
    value: NoSuchType  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize("annotation", [*UNREADABLE, Unresolved], ids=lambda _: "")
@pytest.mark.parametrize("make", [converter, json_reader])
def test_an_annotation_that_no_message_can_become_is_refused(make: Any, annotation: Any) -> None:
    with pytest.raises(TypeError, match=r"^A message cannot be read as .* Annotate with a msgspec"):
        make(annotation)


# JSON text


@pytest.mark.parametrize("value", [None, 7, 1.5, "hi", [1, {"a": None}], {"a": [True]}])
def test_without_a_type_it_is_what_the_json_says(value: Any) -> None:
    assert json_reader()(json.dumps(value)) == value
    assert json_reader(None) is json_reader()


NO_JSON = ["", "{", "{'a': 1}", "NaN", "{} {}", '{"text": "\ud800"}', "[" * 100_000]


@pytest.mark.parametrize("annotation", [None, Any, SayModel], ids=name_of)
@pytest.mark.parametrize("text", NO_JSON, ids=lambda text: ascii(text)[:20])
def test_what_is_no_json_is_refused(annotation: Any, text: str) -> None:
    refused = refusal(json_reader(annotation), text)
    assert (refused.code, refused.path) == ("invalid_json", None)
    assert refused.message == "The message is not valid JSON."


@pytest.mark.parametrize("text", ['{"text": "hi"', "{'text': 1}", '{"text": "\ud800"}', ""])
def test_what_is_no_json_is_no_misfit(text: str) -> None:
    assert refusal(json_reader(SayStruct), text).code == "invalid_json"


def test_a_number_that_python_cannot_hold_is_refused() -> None:
    assert refusal(json_reader(), "1" + "0" * 5000).message == "Integer value out of range."


@given(ANY_TEXT, st.sampled_from([None, int, list[str], SayStruct, SayModel]))
def test_no_text_raises_anything_else(text: str, annotation: Any) -> None:
    attempt(json_reader(annotation), text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(JSON)
def test_text_and_decoded_json_are_read_alike(value: Any) -> None:
    text = json.dumps(value)
    for annotation in (Any, SayStruct, SayModel, list[int], dict[str, Any], str | None):
        assert outcome(json_reader(annotation), text) == outcome(converter(annotation), value)


def outcome(make: Any, value: Any) -> Any:
    result = attempt(make, value)
    return (result.code, result.path) if isinstance(result, InvalidMessage) else result


def test_a_type_is_prepared_once() -> None:
    assert json_reader(SayStruct) is json_reader(SayStruct)
    assert json_reader(list[int]) is json_reader(list[int])
    assert json_reader(Literal[1]) is not json_reader(Literal[True])


# Query strings


@pytest.mark.parametrize(
    ("annotation", "text", "expected"),
    [
        (str, "hi", "hi"),
        (str, "", ""),
        (str, "null", "null"),
        (str | None, "null", "null"),
        (Literal["null", None], "null", "null"),
        (Any, "null", "null"),
        (int, "-7", -7),
        (int | None, "7", 7),
        (Optional[int], "7", 7),  # noqa: UP045
        (int | str, "7 apples", "7 apples"),
        (Annotated[int, msgspec.Meta(ge=1)], "1", 1),
        (Annotated[int | None, msgspec.Meta(ge=1)], "1", 1),
        (float, "1.5", 1.5),
        (float | str, "nan", "nan"),
        (bool, "true", True),
        (bool, "1", True),
        (bool, "false", False),
        (bool, "0", False),
        (decimal.Decimal, "1.10", decimal.Decimal("1.10")),
        (uuid.UUID, str(uuid.UUID(int=7)), uuid.UUID(int=7)),
        (datetime.datetime, "2026-03-01T12:30:00", datetime.datetime(2026, 3, 1, 12, 30)),
        (datetime.date, "2026-03-01", datetime.date(2026, 3, 1)),
        (datetime.time, "12:30:00", datetime.time(12, 30)),
        (datetime.timedelta, "PT90S", datetime.timedelta(seconds=90)),
        (Colour, "red", Colour.RED),
        (Level, "2", Level.HIGH),
        (Literal["a", "b"], "b", "b"),
        (Literal[1, 2], "2", 2),
    ],
    ids=str,
)
def test_a_text_becomes_the_declared_type(annotation: Any, text: str, expected: Any) -> None:
    value = text_converter(annotation)([text])
    assert value == expected
    assert type(value) is type(expected)


def test_of_several_texts_the_first_counts() -> None:
    assert text_converter(int)(["1", "2"]) == 1
    assert text_converter(int)(["1", "x"]) == 1


@pytest.mark.parametrize(
    ("annotation", "texts", "expected"),
    [
        (list[int], ["2", "1", "2"], [2, 1, 2]),
        (list[int], [], []),
        (list[int] | None, ["1"], [1]),
        (list[str | None], ["null"], ["null"]),
        (list, ["1"], ["1"]),
        (set[str], ["a", "a"], {"a"}),  # two would have no order to be named by
        (frozenset[Colour], ["red"], frozenset({Colour.RED})),
        (tuple[int, ...], ["1", "2"], (1, 2)),
        (tuple[int, str], ["1", "2"], (1, "2")),
        (Sequence[bool], ["1", "false"], [True, False]),
        (Annotated[list[int], msgspec.Meta(max_length=2)], ["1", "2"], [1, 2]),
    ],
    ids=str,
)
def test_a_collection_takes_all_texts(annotation: Any, texts: list[str], expected: Any) -> None:
    assert text_converter(annotation)(texts) == expected


LONG = "x" * 60

MISFITS = [
    (int, ["abc"], 'Expected a whole number, got "abc".'),
    (int, [""], 'Expected a whole number, got "".'),
    (int, ["1.5"], 'Expected a whole number, got "1.5".'),
    (int, [], "Expected a whole number, got nothing."),
    (int, [LONG], f'Expected a whole number, got "{LONG[:49]}…".'),
    (int, [LONG[:50]], f'Expected a whole number, got "{LONG[:50]}".'),
    (int, ["9" * 5000], f'Expected a whole number, got "{"9" * 49}…".'),
    (int, ["\ud800"], "Expected text in valid Unicode."),
    (int | None, ["null"], 'Expected a whole number, got "null".'),
    (int | bool, ["x"], 'Expected a whole number or true or false, got "x".'),
    (Annotated[int, msgspec.Meta(ge=1)], ["0"], 'Expected a whole number >= 1, got "0".'),
    (Annotated[int, msgspec.Meta(ge=1)], ["x"], 'Expected a whole number, got "x".'),
    (Annotated[str, msgspec.Meta(min_length=1)], [""], 'Expected a text of length >= 1, got "".'),
    (
        Annotated[str, msgspec.Meta(max_length=1)],
        ["a\ud800"],
        'Expected a text of length <= 1, got "a?".',
    ),
    (float, ["x"], 'Expected a number, got "x".'),
    (float, ["nan"], 'Expected a number, got "nan".'),
    (float | None, ["-Infinity"], 'Expected a number, got "-Infinity".'),
    (list[float], ["1", "inf"], 'Expected a number, got "inf".'),
    (bool, ["yes"], 'Expected true or false, got "yes".'),
    (decimal.Decimal, ["x"], 'Expected a decimal number, got "x".'),
    (uuid.UUID, ["x"], 'Expected a UUID, got "x".'),
    (datetime.datetime, ["x"], 'Expected a date and time such as 2026-03-01T12:30:00Z, got "x".'),
    (datetime.date, ["x"], 'Expected a date such as 2026-03-01, got "x".'),
    (datetime.time, ["x"], 'Expected a time such as 12:30:00, got "x".'),
    (datetime.timedelta, ["x"], 'Expected a duration such as PT90S, got "x".'),
    (Colour, ["green"], 'Expected one of red, blue, got "green".'),
    (Level, ["3"], 'Expected one of 1, 2, got "3".'),
    (Literal["a"], ["b"], 'Expected one of a, got "b".'),
    (Literal["a", None], ["null"], 'Expected one of a, got "null".'),
    (list[int], ["1", "x"], 'Expected a whole number, got "x".'),
    (list[int | None], ["null"], 'Expected a whole number, got "null".'),
    (set[int], ["1", "x"], 'Expected a whole number, got "x".'),
    (tuple[int, bool], ["1", "x"], 'Expected true or false, got "x".'),
    (tuple[int, bool], ["1"], "Expected a list of length 2, got one of length 1."),
    (
        Annotated[list[int], msgspec.Meta(min_length=1)],
        [],
        "Expected a list of length >= 1, got one of length 0.",
    ),
]


@pytest.mark.parametrize(("annotation", "texts", "message"), MISFITS, ids=lambda v: ascii(v)[:40])
def test_a_text_that_does_not_fit_is_told_in_plain_words(
    annotation: Any, texts: list[str], message: str
) -> None:
    refused = refusal(text_converter(annotation), texts)
    assert (refused.message, refused.code, refused.path) == (message, "invalid", None)


@pytest.mark.parametrize("annotation", [int | None, str | None, Literal["a", None]], ids=str)
def test_what_was_left_out_is_none_where_that_is_allowed(annotation: Any) -> None:
    assert text_converter(annotation)([]) is None


@pytest.mark.parametrize(
    "annotation",
    [
        None,
        bytes,
        dict,
        SayStruct,
        SayModel,
        Fraction,
        list[SayStruct],
        list[list[int]],
        dict[str, int],
        int | list[int],
        datetime.datetime | uuid.UUID,
        Literal[None],
        tuple[int, dict],
        "nonsense",
    ],
    ids=str,
)
def test_an_annotation_that_no_text_can_become_is_refused(annotation: Any) -> None:
    with pytest.raises(TypeError, match=r"^The text of a query string cannot .* Annotate with str"):
        text_converter(annotation)


SCALARS = [int, float, bool, decimal.Decimal, uuid.UUID, datetime.datetime, Colour, Level]


@given(st.lists(ANY_TEXT), st.sampled_from(SCALARS), st.sampled_from([None, list, set]))
def test_no_texts_raise_anything_else(texts: list[str], scalar: Any, collection: Any) -> None:
    annotation = scalar if collection is None else collection[scalar]
    result = attempt(text_converter(annotation), texts)
    if isinstance(result, InvalidMessage):
        result.message.encode()  # it can be sent


@given(st.text(min_size=MAX_ECHO_CHARS + 1))
def test_no_more_is_repeated_than_a_line(text: str) -> None:
    message = refusal(text_converter(Colour), [text]).message
    assert len(message) <= MAX_ECHO_CHARS + len('Expected one of red, blue, got "".')


@given(st.lists(st.integers(-(2**63), 2**63)))
def test_numbers_come_back_as_they_went(numbers: list[int]) -> None:
    assert text_converter(list[int])([str(number) for number in numbers]) == numbers


@given(st.lists(st.text()))
def test_texts_stay_as_they_are(texts: list[str]) -> None:
    assert text_converter(list[str])(texts) == texts
