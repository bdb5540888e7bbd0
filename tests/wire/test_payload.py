"""What a helper is given becomes one frame, or an error that says where the trouble is."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import math
import types
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import pydantic
import pytest
from django.contrib.auth.models import User
from django.db import models
from django.utils.functional import lazystr
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st

from wsadapter import EncodeError, WSAdapterError
from wsadapter.wire.payload import MAX_FRAME_SIZE, encode, encode_binary, encode_text, to_json


class Text(str):
    """A subclass that says nothing new."""


class Shouting(str):
    """A subclass that would like to appear as something else."""

    def __str__(self) -> str:
        return self.upper()


@dataclass
class Point:
    x: int
    y: Any = None
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Slotted:
    x: Any


class Struct(msgspec.Struct):
    x: Any
    y: int = 0


class Tagged(msgspec.Struct, tag="order.paid", tag_field="type"):
    id: int


class Model(pydantic.BaseModel):
    name: str
    when: datetime.datetime | None = None
    price: decimal.Decimal | None = None
    extra: Any = None


class Pair(NamedTuple):
    left: int
    right: int


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Word(enum.StrEnum):
    YES = "yes"


class Size(models.TextChoices):
    SMALL = "S", "Small"


NOON = datetime.datetime(2026, 3, 1, 12, 30)
ID = uuid.UUID(int=7)

TEXT_FRAMES = [
    ("plain", "plain"),
    ("", ""),
    ('{"already": "JSON"}', '{"already": "JSON"}'),
    ("NUL \0, ČćЖ, 😀", "NUL \0, ČćЖ, 😀"),
    (Text("subclass"), "subclass"),
    (Shouting("as it is"), "as it is"),
    (mark_safe("<b>safe</b>"), "<b>safe</b>"),
    (Word.YES, "yes"),
    (Size.SMALL, "S"),
]


@pytest.mark.parametrize(("data", "frame"), TEXT_FRAMES, ids=repr)
def test_text_goes_out_as_it_is(data: str, frame: str) -> None:
    encoded = encode(data)
    assert encoded == frame
    assert type(encoded) is str, "serialisers that know only str must take it"


@given(st.text())
def test_any_valid_text_goes_out_as_it_is(text: str) -> None:
    assert encode(text) == text


@pytest.mark.parametrize(
    "data",
    [b"\x00\xff", bytearray(b"\x00\xff"), memoryview(b"\x00\xff"), memoryview(b"\x00.\xff.")[::2]],
    ids=lambda data: type(data).__name__,
)
def test_bytes_become_a_binary_frame(data: Any) -> None:
    frame = encode(data)
    assert frame == b"\x00\xff"
    assert type(frame) is bytes


def test_a_binary_frame_does_not_change_with_its_buffer() -> None:
    buffer = bytearray(b"before")
    frame = encode(buffer)
    buffer[:] = b"after!"
    assert frame == b"before"


JSON_FRAMES: list[tuple[Any, str]] = [
    (["Жé😀"], '["Жé😀"]'),
    (None, "null"),
    (True, "true"),
    (7, "7"),
    (2.5, "2.5"),
    ({"type": "deploy", "version": 7}, '{"type":"deploy","version":7}'),
    ([1, "two", None], '[1,"two",null]'),
    ((1, 2), "[1,2]"),
    ({3}, "[3]"),
    (frozenset([3]), "[3]"),
    (Pair(1, 2), "[1,2]"),
    (2**70, str(2**70)),
    (-(2**70), str(-(2**70))),
    (Point(1, Point(2)), '{"x":1,"y":{"x":2,"y":null,"tags":[]},"tags":[]}'),
    (Slotted(Slotted(1)), '{"x":{"x":1}}'),
    (Struct("a"), '{"x":"a","y":0}'),
    (Tagged(7), '{"type":"order.paid","id":7}'),
    (
        Model(name="n", when=NOON, price=decimal.Decimal("1.10")),
        '{"name":"n","when":"2026-03-01T12:30:00","price":"1.10","extra":null}',
    ),
    ([Model(name="n")], '[{"name":"n","when":null,"price":null,"extra":null}]'),
    (NOON, '"2026-03-01T12:30:00"'),
    (NOON.replace(tzinfo=datetime.UTC), '"2026-03-01T12:30:00Z"'),
    (NOON.date(), '"2026-03-01"'),
    (NOON.time(), '"12:30:00"'),
    (datetime.timedelta(seconds=90), '"PT90S"'),
    (decimal.Decimal("1.10"), '"1.10"'),
    (ID, f'"{ID}"'),
    (Colour.RED, '"red"'),
    (Level.HIGH, "3"),
    ([Word.YES, Size.SMALL], '["yes","S"]'),
    (gettext_lazy("Save"), '"Save"'),
    (lazystr("lazy"), '"lazy"'),
    ({"label": gettext_lazy("Save")}, '{"label":"Save"}'),
    ([Text("a"), Shouting("b"), SafeString("<c>")], '["a","b","<c>"]'),
    ({"deep": {"html": mark_safe("<b>")}}, '{"deep":{"html":"<b>"}}'),
    ([b"ab", bytearray(b"ab"), memoryview(b"ab")], '["YWI=","YWI=","YWI="]'),
    (types.MappingProxyType({"a": 1}), '{"a":1}'),
    (OrderedDict(a=1), '{"a":1}'),
    ({"\0": "\0\u2028"}, '{"\\u0000":"\\u0000\u2028"}'),
]  # fmt: skip

KEYS = [
    (Text("key"), "key"),
    (mark_safe("key"), "key"),
    (gettext_lazy("Save"), "Save"),
    (Word.YES, "yes"),
    (Size.SMALL, "S"),
    (Colour.RED, "red"),
    (Level.HIGH, "3"),
    (7, "7"),
    (ID, str(ID)),
    (NOON.date(), "2026-03-01"),
]


@pytest.mark.parametrize(("data", "frame"), JSON_FRAMES, ids=lambda value: repr(value)[:40])
def test_everything_else_is_encoded_as_json(data: Any, frame: str) -> None:
    encoded = encode(data)
    assert encoded == frame
    assert type(encoded) is str
    json.loads(encoded)


@pytest.mark.parametrize(("key", "text"), KEYS, ids=repr)
def test_keys_become_text(key: Any, text: str) -> None:
    assert encode({key: 1, "second": 2}) == f'{{"{text}":1,"second":2}}'


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_are_null(number: float) -> None:
    assert encode({"value": number}) == '{"value":null}'


def test_text_is_only_json_where_json_is_asked_for() -> None:
    assert encode("text") == "text"
    assert to_json("text") == '"text"'


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


@given(JSON)
def test_json_data_arrives_as_it_was(data: Any) -> None:
    assert json.loads(to_json(data)) == data


# What cannot be encoded


class Exploding:
    def model_dump(self, mode: str) -> Any:
        raise LookupError("out of order")


def generator() -> Any:
    yield 1


CULPRITS: list[tuple[Callable[[], Any], str]] = [
    (object, "object"),
    (generator, "generator"),
    (lambda: User(pk=1), "django.contrib.auth.models.User"),
    (User.objects.all, "django.db.models.query.QuerySet"),
    (lambda: deque([1]), "collections.deque"),
    (lambda: complex(1, 2), "complex"),
    (lambda: {}.keys(), "dict_keys"),
    (lambda: ValueError("x"), "ValueError"),
    (lambda: Point, "type"),
    (lambda: Struct, "msgspec._core.StructMeta"),
    (lambda: 10**5000, "int"),
    (lambda: {None: 1}, "dict"),
    (lambda: {(1, 2): 3}, "dict"),
    (lambda: {"\ud800": 1}, "dict"),
    (Exploding, f"{__name__}.Exploding"),
    (lambda: Model(name="n", extra=object()), f"{__name__}.Model"),
]

WRAPPINGS: list[tuple[str, Callable[[Any], Any]]] = [
    ("$", lambda value: value),
    ("$.orders[1]", lambda value: {"orders": [0, value]}),
    ("$.x", lambda value: Point(value)),
    ("$.y.x", lambda value: Point(1, Struct(value))),
    ("$[0].x", lambda value: (Slotted(value),)),
    ("$.a.b", lambda value: types.MappingProxyType({"a": {"b": value}})),
]


@pytest.mark.parametrize(("path", "wrap"), WRAPPINGS, ids=[path for path, _ in WRAPPINGS])
@pytest.mark.parametrize(("make", "name"), CULPRITS, ids=[name for _, name in CULPRITS])
def test_what_does_not_encode_is_named(
    make: Callable[[], Any], name: str, path: str, wrap: Callable[[Any], Any]
) -> None:
    with pytest.raises(EncodeError) as caught:
        encode(wrap(make()))
    where = "" if path == "$" else f" at {path}"
    assert str(caught.value).startswith(f"The {name}{where} does not encode as JSON: ")
    assert caught.value.__cause__ is not None
    assert not isinstance(caught.value.__cause__, EncodeError)


def test_the_error_is_one_to_catch_as_both_kinds() -> None:
    with pytest.raises(WSAdapterError):
        encode(object())
    with pytest.raises(TypeError):
        encode(object())


def test_the_cause_of_an_objects_own_conversion_is_kept() -> None:
    with pytest.raises(EncodeError, match="out of order") as caught:
        encode([Exploding()])
    assert isinstance(caught.value.__cause__, LookupError)


def test_the_first_of_several_culprits_is_named() -> None:
    with pytest.raises(EncodeError, match=r"at \$\.b\[1\] "):
        encode({"a": 1, "b": [2, object(), object()], "c": object()})


@pytest.mark.parametrize("text", ["\ud800", "ok \udfff", Text("é\udabc")], ids=ascii)
def test_a_lone_surrogate_cannot_be_a_text_frame(text: str) -> None:
    with pytest.raises(EncodeError, match=rf"lone surrogate at index {len(text) - 1}\."):
        encode(text)


def test_a_lone_surrogate_in_json_is_named() -> None:
    with pytest.raises(EncodeError, match=r"The str at \$\.name does not encode") as caught:
        encode({"name": "\ud800"})
    assert isinstance(caught.value.__cause__, UnicodeEncodeError)


def test_data_that_contains_itself_is_refused() -> None:
    loop: dict[str, Any] = {"type": "loop"}
    loop["again"] = [loop]
    with pytest.raises(EncodeError, match=r"This dict is nested too deeply .* contains itself\."):
        encode(loop)


def test_a_culprit_beside_data_that_contains_itself_is_named_all_the_same() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(EncodeError):
        encode({(1, 2): loop})


def test_data_that_is_nested_too_deeply_is_refused() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(EncodeError, match="This list is nested too deeply"):
        encode(nested)


def test_a_culprit_far_down_is_found() -> None:
    value: Any = object()
    for _ in range(800):
        value = [value]
    with pytest.raises(EncodeError, match=r"The object at \$(\[0\]){800} does not"):
        encode(value)


@given(JSON.filter(lambda data: not isinstance(data, str)), st.sampled_from(["\ud800", 1j]))
def test_no_data_raises_anything_but_an_encode_error(data: Any, culprit: Any) -> None:
    with pytest.raises(EncodeError):
        encode([data, {"culprit": culprit}])


# One kind of frame and no other


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        ("", ""),
        ("hi", "hi"),
        ('{"a": 1}', '{"a": 1}'),
        ("\N{GRINNING FACE}\0", "\N{GRINNING FACE}\0"),
        (Text("hi"), "hi"),
        (Shouting("hi"), "hi"),
        (mark_safe("<b>"), "<b>"),
    ],
    ids=repr,
)
def test_a_text_frame_is_made_of_text(text: str, frame: str) -> None:
    encoded = encode_text(text)
    assert encoded == frame and type(encoded) is str


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"hi", "bytes"),
        (None, "NoneType"),
        (7, "int"),
        ({"a": 1}, "dict"),
        (lazystr("hi"), "django.utils.functional.lazy"),
        (Point(1), "tests.wire.test_payload.Point"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_text_frame_is_made_of_nothing_else(data: Any, name: str) -> None:
    with pytest.raises(EncodeError, match=f"A text frame is made of str, not of {name}"):
        encode_text(data)


@pytest.mark.parametrize("text", ["\ud800", "ok \udfff", Text("\udc00")], ids=ascii)
def test_a_text_frame_is_valid_unicode(text: str) -> None:
    with pytest.raises(EncodeError, match=f"lone surrogate at index {len(text) - 1}"):
        encode_text(text)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_frame_is_what_any_data_of_text_becomes(text: str) -> None:
    assert encode_text(text) == encode(text) == text


@pytest.mark.parametrize(
    "data", [b"", b"\x00\xff", bytearray(b"ab"), memoryview(b"abc")[1:]], ids=bytes
)
def test_a_binary_frame_is_made_of_bytes(data: Any) -> None:
    encoded = encode_binary(data)
    assert encoded == bytes(data) and type(encoded) is bytes


def test_a_binary_frame_keeps_what_it_was_made_of() -> None:
    buffer = bytearray(b"before")
    frame = encode_binary(buffer)
    buffer[:] = b"after."
    assert frame == b"before"


@pytest.mark.parametrize(
    ("data", "name"),
    [("hi", "str"), (None, "NoneType"), (7, "int"), ([1, 2], "list"), (range(3), "range")],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_binary_frame_is_made_of_nothing_else(data: Any, name: str) -> None:
    """`bytes` would take some of these, and make zeros of a number."""
    with pytest.raises(EncodeError, match=f"A binary frame is made of bytes, not of {name}"):
        encode_binary(data)


def test_what_is_for_one_client_alone_has_no_bound() -> None:
    """The bound of a push is that of Redis, which this does not pass through."""
    assert len(encode_binary(bytes(MAX_FRAME_SIZE + 1))) == MAX_FRAME_SIZE + 1
    assert len(encode_text("x" * (MAX_FRAME_SIZE + 1))) == MAX_FRAME_SIZE + 1
    with pytest.raises(EncodeError, match="more than the"):
        encode(bytes(MAX_FRAME_SIZE + 1))
