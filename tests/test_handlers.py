"""A handler's annotation is the contract; a declaration that cannot work is refused at start."""

from __future__ import annotations

import datetime
import decimal
import uuid
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
import pydantic
import pytest

from wsadapter import Priority, RateLimit, Retry, handler
from wsadapter.errors import HandlerError, InvalidMessage, WSAdapterError
from wsadapter.handlers import Declaration, collect
from wsadapter.wire.envelope import decode


@dataclass
class SayDataclass:
    text: str
    tags: list[str] = field(default_factory=list)


class SayStruct(msgspec.Struct):
    text: str
    tags: list[str] = []


class StrictStruct(msgspec.Struct, forbid_unknown_fields=True):
    text: str


class SayDict(TypedDict):
    text: str
    tags: NotRequired[list[str]]


class SayModel(pydantic.BaseModel):
    text: str
    tags: list[str] = []


class StrictModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    text: str


class Circle(msgspec.Struct, tag="shape.circle"):
    radius: float


class Square(msgspec.Struct, tag="shape.square"):
    side: float


class WithId(msgspec.Struct):
    id: int
    text: str


class WithTypeStruct(msgspec.Struct):
    kind: str = msgspec.field(name="type")


@dataclass
class WithType:
    type: str
    text: str


class ModelWithType(pydantic.BaseModel):
    type: Literal["say"]
    id: int
    text: str


class ModelWithAlias(pydantic.BaseModel):
    kind: str = pydantic.Field(alias="type")


class Rich(msgspec.Struct):
    at: datetime.datetime
    price: decimal.Decimal
    key: uuid.UUID
    by_number: dict[int, str]
    data: bytes


class ByNumber(msgspec.Struct):
    by_number: dict[int, str]


def consumer(method: Any, *, type: str = "say") -> type:
    """A consumer class with one handler."""
    return chat(say=handler(type)(method))


def chat(**methods: Any) -> type:
    return type("Chat", (), methods)


async def call(consumer: type, text: str) -> Any:
    """What the handler of a message returns."""
    envelope = decode(text)
    return await collect(consumer)[envelope.type](consumer(), envelope)


# What arrives


async def take_dataclass(self: Any, message: SayDataclass) -> Any:
    return message


async def take_struct(self: Any, message: SayStruct) -> Any:
    return message


async def take_typed_dict(self: Any, message: SayDict) -> Any:
    return message


async def take_model(self: Any, message: SayModel) -> Any:
    return message


async def take_dict(self: Any, message: dict) -> Any:  # type: ignore[type-arg]
    return message


async def take_dict_of(self: Any, message: dict[str, Any]) -> Any:
    return message


async def take_any(self: Any, message: Any) -> Any:
    return message


async def take_unannotated(self, message):  # type: ignore[no-untyped-def]
    return message


async def take_optional(self: Any, message: SayStruct | None) -> Any:
    return message


async def take_annotated(self: Any, message: Annotated[SayStruct, "documented"]) -> Any:
    return message


async def take_positional_only(self: Any, message: SayStruct, /) -> Any:
    return message


async def take_with_default(self: Any, message: SayStruct, volume: int = 1) -> Any:
    return message


async def take_strict(self: Any, message: StrictStruct) -> Any:
    return message


async def take_strict_model(self: Any, message: StrictModel) -> Any:
    return message


FIELDS = {"text": "hi", "tags": ["a"]}


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (take_dataclass, SayDataclass("hi", ["a"])),
        (take_struct, SayStruct("hi", ["a"])),
        (take_typed_dict, FIELDS),
        (take_model, SayModel(text="hi", tags=["a"])),
        (take_dict, FIELDS),
        (take_dict_of, FIELDS),
        (take_any, FIELDS),
        (take_unannotated, FIELDS),
        (take_optional, SayStruct("hi", ["a"])),
        (take_annotated, SayStruct("hi", ["a"])),
        (take_positional_only, SayStruct("hi", ["a"])),
        (take_with_default, SayStruct("hi", ["a"])),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_the_fields_arrive_as_the_annotated_type(method: Any, expected: Any) -> None:
    text = '{"type": "say", "id": 7, "text": "hi", "tags": ["a"]}'
    assert await call(consumer(method), text) == expected


@pytest.mark.parametrize("method", [take_dataclass, take_struct, take_typed_dict, take_model])
async def test_fields_that_are_optional_may_be_left_out(method: Any) -> None:
    await call(consumer(method), '{"type": "say", "text": "hi"}')


@pytest.mark.parametrize("method", [take_strict, take_strict_model])
async def test_the_envelopes_own_fields_are_no_unknown_fields(method: Any) -> None:
    said = await call(consumer(method), '{"type": "say", "id": 7, "text": "hi"}')
    assert said.text == "hi"


async def test_values_are_converted_from_what_json_has() -> None:
    async def say(self: Any, message: Rich) -> Any:
        return message

    key = uuid.UUID(int=7)
    text = (
        '{"type": "say", "at": "2026-03-01T12:30:00Z", "price": "1.10", '
        f'"key": "{key}", "by_number": {{"7": "seven"}}, "data": "aGk="}}'
    )
    assert await call(consumer(say), text) == Rich(
        at=datetime.datetime(2026, 3, 1, 12, 30, tzinfo=datetime.UTC),
        price=decimal.Decimal("1.10"),
        key=key,
        by_number={7: "seven"},
        data=b"hi",
    )


async def test_a_handler_without_a_parameter_gets_nothing() -> None:
    async def say(self: Any) -> str:
        return "said"

    assert await call(consumer(say), '{"type": "say", "unused": 1}') == "said"


async def test_a_union_is_told_apart_by_its_tag() -> None:
    async def draw(self: Any, shape: Circle | Square) -> Any:
        return shape

    drawn = await call(consumer(draw, type="shape.circle"), '{"type":"shape.circle","radius":2}')
    assert drawn == Circle(2)


async def test_a_tagged_struct_keeps_its_tag() -> None:
    async def draw(self: Any, shape: Circle) -> Any:
        return shape

    drawn = await call(consumer(draw, type="shape.circle"), '{"type":"shape.circle","radius":2}')
    assert drawn == Circle(2)


async def take_with_id(self: Any, message: WithId) -> Any:
    return message


async def take_with_type(self: Any, message: WithType) -> Any:
    return message


async def take_renamed(self: Any, message: WithTypeStruct) -> Any:
    return message


async def take_model_with_type(self: Any, message: ModelWithType) -> Any:
    return message


async def take_model_with_alias(self: Any, message: ModelWithAlias) -> Any:
    return message.kind


async def take_union_with_id(self: Any, message: WithId | None) -> Any:
    return message


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (take_with_id, WithId(7, "hi")),
        (take_with_type, WithType("say", "hi")),
        (take_renamed, WithTypeStruct("say")),
        (take_model_with_type, ModelWithType(type="say", id=7, text="hi")),
        (take_model_with_alias, "say"),
        (take_union_with_id, WithId(7, "hi")),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_payload_may_declare_the_envelopes_own_fields(method: Any, expected: Any) -> None:
    assert await call(consumer(method), '{"type": "say", "id": 7, "text": "hi"}') == expected


# What does not fit


@pytest.mark.parametrize(
    "method", [take_dataclass, take_struct, take_typed_dict, take_model, take_optional]
)
@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ('"text": 7', "$.text"),
        ('"text": null', "$.text"),
        ('"text": "hi", "tags": "a"', "$.tags"),
        ('"text": "hi", "tags": ["a", 7]', "$.tags[1]"),
    ],
)
async def test_a_field_that_does_not_fit_is_named(method: Any, fields: str, path: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        await call(consumer(method), f'{{"type": "say", "id": 7, {fields}}}')
    assert (caught.value.code, caught.value.path, caught.value.id) == ("invalid", path, 7)
    assert caught.value.message.endswith(".")
    assert "`$" not in caught.value.message


@pytest.mark.parametrize("method", [take_dataclass, take_struct, take_typed_dict, take_model])
async def test_a_field_that_is_missing_is_told(method: Any) -> None:
    with pytest.raises(InvalidMessage) as caught:
        await call(consumer(method), '{"type": "say", "id": "a"}')
    assert (caught.value.code, caught.value.id) == ("invalid", "a")
    assert "text" in f"{caught.value.message} {caught.value.path}"


@pytest.mark.parametrize("method", [take_strict, take_strict_model])
async def test_an_unknown_field_is_told_where_that_is_asked_for(method: Any) -> None:
    with pytest.raises(InvalidMessage, match=r"(?i)field|extra"):
        await call(consumer(method), '{"type": "say", "text": "hi", "typo": 1}')


async def test_a_key_that_does_not_fit_is_named_by_its_object() -> None:
    async def say(self: Any, message: ByNumber) -> None: ...

    with pytest.raises(InvalidMessage, match=r"^Expected `int`, got `str`\.$") as caught:
        await call(consumer(say), '{"type": "say", "id": 7, "by_number": {"x": "seven"}}')
    assert (caught.value.path, caught.value.id) == ("$.by_number", 7)


async def test_a_handlers_own_refusal_keeps_what_it_says() -> None:
    async def say(self: Any) -> None:
        raise InvalidMessage("teapot", "I am a teapot.", id="own")

    with pytest.raises(InvalidMessage, match="teapot") as caught:
        await call(consumer(say), '{"type": "say", "id": 7}')
    assert caught.value.id == "own"


async def test_a_dataclass_may_refuse_by_itself() -> None:
    with pytest.raises(InvalidMessage, match="too loud") as caught:
        await call(consumer(take_picky), '{"type": "say", "text": "HI"}')
    assert caught.value.path == "$"


@dataclass
class Picky:
    text: str

    def __post_init__(self) -> None:
        if self.text.isupper():
            raise ValueError("too loud")


async def take_picky(self: Any, message: Picky) -> Any:
    return message


async def test_a_handlers_own_validation_error_is_not_the_browsers() -> None:
    async def say(self: Any) -> None:
        msgspec.convert({}, SayStruct)

    with pytest.raises(msgspec.ValidationError):
        await call(consumer(say), '{"type": "say"}')


# Inheritance


class Base:
    @handler("say")
    async def say(self, message: SayStruct) -> Any:
        return f"base {message.text}"

    @handler("ping")
    async def ping(self) -> str:
        return "pong"

    async def not_a_handler(self, message: SayStruct) -> None: ...


class Inherits(Base):
    pass


class Overrides(Base):
    @handler("say")
    async def say(self, message: SayDataclass) -> Any:  # type: ignore[override]
        return f"sub {message.text}, after {await super().say(SayStruct('x'))}"


class Moves(Base):
    @handler("speak")
    async def say(self, message: SayStruct) -> Any:
        return message.text


class Hides(Base):
    async def say(self, message: SayStruct) -> Any:
        return "reachable by nobody"


class Hidden(Base):
    ping = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("subject", "types"),
    [
        (Base, {"say", "ping"}),
        (Inherits, {"say", "ping"}),
        (Overrides, {"say", "ping"}),
        (Moves, {"speak", "ping"}),
        (Hides, {"ping"}),
        (Hidden, {"say"}),
        (object, set()),
    ],
)
def test_only_what_is_declared_is_reachable(subject: type, types: set[str]) -> None:
    assert set(collect(subject)) == types


async def test_an_override_replaces_method_and_payload() -> None:
    assert await call(Overrides, '{"type": "say", "text": "hi"}') == "sub hi, after base x"


def test_a_mixin_brings_its_handlers() -> None:
    assert set(collect(type("Chat", (Base,), {"say": None}))) == {"ping"}
    assert set(collect(type("Chat", (Hides, Moves), {}))) == {"ping"}


# What else is declared


def test_the_options_of_a_handler_are_declared_with_its_type() -> None:
    options = {"priority": Priority.LOW, "rate_limit": RateLimit(5), "retry": Retry(attempts=2)}
    found = collect(chat(say=handler("say", **options)(take_struct)))  # type: ignore[arg-type]
    assert found["say"].declaration == Declaration("say", **options)  # type: ignore[arg-type]


def test_without_options_nothing_is_declared_but_the_type() -> None:
    declaration = collect(Base)["say"].declaration
    assert declaration == Declaration("say", priority=None, rate_limit=None, retry=None)


def test_what_overrides_a_handler_declares_its_own_options() -> None:
    class Slow(Base):
        @handler("say", priority=Priority.LOW)
        async def say(self, message: SayStruct) -> Any: ...

    class Plain(Slow):
        @handler("say")
        async def say(self, message: SayStruct) -> Any: ...

    priorities = [collect(kind)["say"].declaration.priority for kind in (Base, Slow, Plain)]
    assert priorities == [None, Priority.LOW, None]


@pytest.mark.parametrize(
    ("option", "value", "kind"),
    [
        ("priority", "high", "Priority"),
        ("priority", 1, "Priority"),
        ("rate_limit", 5, "RateLimit"),
        ("rate_limit", RateLimit, "RateLimit"),
        ("retry", 3, "Retry"),
        ("retry", True, "Retry"),
    ],
    ids=str,
)
def test_an_option_with_another_value_is_refused(option: str, value: Any, kind: str) -> None:
    options: dict[str, Any] = {option: value}
    advice = rf'^@handler\("say", {option}=.*\): give an instance of {kind}\.$'
    with pytest.raises(HandlerError, match=advice):
        handler("say", **options)


# Declarations that cannot work


def test_a_sync_method_is_refused() -> None:
    with pytest.raises(HandlerError, match=r'handler of "say" must be declared with async def\.'):

        @handler("say")
        def say(self: Any) -> None: ...


@pytest.mark.parametrize("type", ["ws:ping", "ws:", "ws:reply"])
def test_wsadapters_own_types_are_refused(type: str) -> None:
    with pytest.raises(HandlerError, match=r'begin with "ws:" belong to wsadapter; choose another'):
        handler(type)


@pytest.mark.parametrize("type", ["", None, 7, take_struct])
def test_a_handler_without_a_type_is_refused(type: Any) -> None:
    with pytest.raises(HandlerError, match=r'needs the message type: @handler\("chat\.say"\)\.'):
        handler(type)


def test_two_methods_for_one_type_are_refused() -> None:
    twice = chat(a=handler("say")(take_struct), b=handler("say")(take_dataclass))
    with pytest.raises(HandlerError, match='Chat: both a and b handle "say"'):
        collect(twice)


async def take_two(self: Any, one: SayStruct, two: SayStruct) -> None: ...


async def take_keyword(self: Any, *, message: SayStruct) -> None: ...


async def take_one_and_keyword(self: Any, message: SayStruct, *, volume: int) -> None: ...


async def take_keywords(self: Any, **fields: Any) -> None: ...


@pytest.mark.parametrize("method", [take_two, take_keyword, take_one_and_keyword, take_keywords])
def test_a_signature_that_cannot_take_a_message_is_refused(method: Any) -> None:
    with pytest.raises(HandlerError, match=r"Chat\.say .*async def say\(self, message: Say\)"):
        collect(consumer(method))


async def take_unknown(self: Any, message: NoSuchType) -> None: ...  # type: ignore[name-defined]  # noqa: F821


async def take_missing(self: Any, message: msgspec.NoSuchType) -> None: ...  # type: ignore[name-defined]


@pytest.mark.parametrize("method", [take_unknown, take_missing])
def test_an_annotation_that_cannot_be_resolved_is_refused(method: Any) -> None:
    with pytest.raises(HandlerError, match=r"Chat\.say .*NoSuchType.* at module level\.") as caught:
        collect(consumer(method))
    assert caught.value.__cause__ is not None


class Unreadable(msgspec.Struct):
    value: NoSuchType  # type: ignore[name-defined]  # noqa: F821


async def take_object(self: Any, message: complex | bytes | set[Any]) -> None: ...


async def take_unreadable(self: Any, message: Unreadable) -> None: ...


async def take_ambiguous(self: Any, message: SayStruct | SayDataclass) -> None: ...


@pytest.mark.parametrize("method", [take_object, take_unreadable, take_ambiguous])
def test_an_annotation_that_no_message_can_become_is_refused(method: Any) -> None:
    with pytest.raises(HandlerError, match=r"Chat\.say: .* Annotate with a msgspec\.Struct"):
        collect(consumer(method))


def test_the_error_is_the_developers_in_both_kinds() -> None:
    assert issubclass(HandlerError, WSAdapterError)
    assert issubclass(HandlerError, TypeError)
