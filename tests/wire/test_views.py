"""A view sends some fields of an object, in its own order, each as it always is."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, NamedTuple, TypedDict, TypeVar

import msgspec
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wsadapter.errors import InvalidMessage, ViewError
from wsadapter.wire.failures import ErrorCode
from wsadapter.wire.payload import to_json
from wsadapter.wire.views import DEFAULT, choose, project, view_names, views_of, with_views

Value = TypeVar("Value")


class Author(msgspec.Struct, rename="camel"):
    """It stands in messages, and has a view of its own that must not matter there."""

    full_name: str = "Ann"
    born_on: datetime.date = datetime.date(1815, 12, 10)


with_views(**{DEFAULT: ("full_name",)})(Author)


class Person(pydantic.BaseModel):
    full_name: str = "Ann"
    price: decimal.Decimal = decimal.Decimal("1.50")


#: The same for all sorts of types; one has more than one word, for those that rename.
FIELDS: dict[str, Any] = {
    "id": int,
    "title": str | None,
    "as_written": list[str],
    "written_at": datetime.datetime,
    "price": decimal.Decimal,
    "author": Author,
    "others": dict[str, Author],
    "model": Person,
}
#: Pydantic knows no structs; it gets what they look like.
PLAIN_FIELDS = {"author": dict[str, str], "others": dict[str, dict[str, str]]}

items = FIELDS.items()
Struct = msgspec.defstruct("Struct", items)
Renamed = msgspec.defstruct("Renamed", items, rename="camel")
Tagged = msgspec.defstruct("Tagged", items, tag="article", tag_field="type")
TaggedAndRenamed = msgspec.defstruct(
    "TaggedAndRenamed", items, tag=7, tag_field="kind", rename=str.upper
)
Data = dataclasses.make_dataclass("Data", items)
Slotted = dataclasses.make_dataclass("Slotted", items, frozen=True, slots=True)
Pydantic = pydantic.create_model("Pydantic", **(FIELDS | PLAIN_FIELDS))


def same(name: str) -> str:
    return name


def camel(name: str) -> str:
    first, *words = name.split("_")
    return first + "".join(map(str.title, words))


class Sort(NamedTuple):
    """A type of messages: what its tag looks like, and what it makes of names."""

    kind: type
    tag: list[tuple[str, Any]] = []
    on_the_wire: Callable[[str], str] = same


SORTS = [
    Sort(Struct),
    Sort(Renamed, on_the_wire=camel),
    Sort(Tagged, tag=[("type", "article")]),
    Sort(TaggedAndRenamed, tag=[("kind", 7)], on_the_wire=str.upper),
    Sort(Data),
    Sort(Slotted),
    Sort(Pydantic),
]

#: However busy the machine is.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

every_sort = pytest.mark.parametrize("sort", SORTS, ids=lambda sort: sort.kind.__name__)

names = st.text(max_size=5)
values = st.fixed_dictionaries(
    {
        "id": st.integers(-(2**53), 2**53),
        "title": st.none() | names,
        "as_written": st.lists(names, max_size=3),
        "written_at": st.datetimes(timezones=st.none() | st.just(datetime.UTC)),
        "price": st.decimals(allow_nan=False, allow_infinity=False),
        "author": st.builds(Author, names, st.dates()),
        "others": st.dictionaries(names, st.builds(Author, names), max_size=2),
        "model": st.builds(Person, full_name=names),
    }
)
chosen_fields = st.lists(st.sampled_from(list(FIELDS)), min_size=1, unique=True)


def made(sort: Sort, given_values: dict[str, Any]) -> Any:
    """An object of this type."""
    plain = {name: msgspec.to_builtins(given_values[name]) for name in PLAIN_FIELDS}
    return sort.kind(**(given_values | plain if sort.kind is Pydantic else given_values))


def pairs(text: str) -> list[tuple[str, Any]]:
    """The fields of a JSON object as they stand there, however often."""
    return json.loads(text, object_pairs_hook=list)  # type: ignore[no-any-return]


# What is sent


@every_sort
@unhurried
@given(values=values, chosen=chosen_fields)
def test_a_view_has_exactly_its_fields_in_its_order(
    sort: Sort, values: dict[str, Any], chosen: list[str]
) -> None:
    with_views(chosen=chosen)(sort.kind)
    data = made(sort, values)
    always = dict(pairs(to_json(data)))
    names = [sort.on_the_wire(name) for name in chosen]
    expected = [*sort.tag, *((name, always[name]) for name in names)]
    assert pairs(to_json(project(data, "chosen"))) == expected


@every_sort
@unhurried
@given(values=values)
def test_the_default_view_is_the_whole_object_as_it_always_is(
    sort: Sort, values: dict[str, Any]
) -> None:
    with_views(summary=("id",))(sort.kind)
    data = made(sort, values)
    assert to_json(project(data, DEFAULT)) == to_json(data)


@every_sort
@unhurried
@given(values=values, chosen=chosen_fields)
def test_a_default_view_may_be_declared(
    sort: Sort, values: dict[str, Any], chosen: list[str]
) -> None:
    with_views(summary=("id",), default=chosen)(sort.kind)
    fields = pairs(to_json(project(made(sort, values), DEFAULT)))
    assert [name for name, _ in fields[len(sort.tag) :]] == list(map(sort.on_the_wire, chosen))


@with_views(summary=("id", "title"), title_first=("title", "text", "id"))
class Article(msgspec.Struct):
    id: int = 1
    title: str = "Notes"
    text: str = "Long."


@with_views(summary=("id",), brief=("id",))
class Comment(msgspec.Struct):
    id: int = 2
    text: str = "Yes."


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        ("summary", '{"id":1,"title":"Notes"}'),
        ("title_first", '{"title":"Notes","text":"Long.","id":1}'),
        ("default", '{"id":1,"title":"Notes","text":"Long."}'),
        ("brief", '{"id":1,"title":"Notes","text":"Long."}'),
    ],
)
def test_a_view_that_a_type_does_not_have_is_its_default_one(view: str, expected: str) -> None:
    assert to_json(project(Article(), view)) == expected


@pytest.mark.parametrize(
    "data", ["text", b"bytes", 7, None, {"id": 1, "title": "a"}, Person(), {1}], ids=repr
)
def test_what_has_no_views_is_sent_as_it_is(data: object) -> None:
    assert project(data, "summary") is data
    assert views_of(data) == ()


@pytest.mark.parametrize("make", [list, tuple])
def test_each_of_a_list_is_sent_in_the_view(make: Callable[[Any], Sequence[object]]) -> None:
    data = make([Article(), Comment(), {"id": 3}, [Article()], "text"])
    assert to_json(project(data, "summary")) == (
        '[{"id":1,"title":"Notes"},{"id":2},{"id":3},[{"id":1,"title":"Notes"}],"text"]'
    )


def test_an_empty_list_stays_one() -> None:
    assert project([], "summary") == []
    assert views_of([]) == ()


@given(st.lists(st.sampled_from([Article(), Comment(), 7]), max_size=5), st.text(max_size=3))
def test_a_list_keeps_its_length_and_order(data: list[Any], view: str) -> None:
    projected = json.loads(to_json(project(data, view)))
    assert projected == [json.loads(to_json(project(each, view))) for each in data]


def test_an_object_is_not_changed() -> None:
    data = Article()
    project(data, "summary")
    assert data == Article()


@with_views(short=("b", "a"))
class Sparse(msgspec.Struct, tag=True):
    a: int | msgspec.UnsetType = msgspec.UNSET
    b: int | None = None
    c: int = 3


def test_what_is_unset_is_left_out_and_what_is_none_is_not() -> None:
    assert to_json(project(Sparse(), "short")) == '{"type":"Sparse","b":null}'
    assert to_json(project(Sparse(a=1), "short")) == '{"type":"Sparse","b":null,"a":1}'


@with_views(short=("double", "id"))
class Computed(pydantic.BaseModel):
    id: int = 2

    @pydantic.computed_field
    def double(self) -> int:
        return self.id * 2


def test_a_field_may_be_computed() -> None:
    assert to_json(project(Computed(), "short")) == '{"double":4,"id":2}'
    assert to_json(project(Computed(), DEFAULT)) == to_json(Computed())


# What pydantic makes of a model, which its fields alone do not tell


@with_views(short=("id",))
class Secretive(pydantic.BaseModel):
    id: int = 1
    secret: str = pydantic.Field("hidden", exclude=True)


@with_views(short=("id",))
class ByAlias(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(serialize_by_alias=True)

    id: int = pydantic.Field(1, alias="articleId")
    text: str = "Long."


@pytest.mark.parametrize("data", [Secretive(), ByAlias()], ids=lambda data: type(data).__name__)
def test_a_model_is_sent_as_pydantic_sends_it(data: pydantic.BaseModel) -> None:
    assert to_json(project(data, DEFAULT)) == to_json(data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [(Secretive(), '{"id":1}'), (ByAlias(), '{"articleId":1}')],
    ids=["Secretive", "ByAlias"],
)
def test_a_view_of_a_model_has_the_names_that_pydantic_sends(
    data: pydantic.BaseModel, expected: str
) -> None:
    assert to_json(project(data, "short")) == expected


@with_views(short=("took",))
class Serialised(pydantic.BaseModel):
    id: int = 1
    took: float = 1.5

    @pydantic.field_serializer("took", when_used="json")
    def with_unit(self, took: float) -> str:
        return f"{took} s"


def test_what_a_model_does_for_json_is_done() -> None:
    assert to_json(project(Serialised(), "short")) == '{"took":"1.5 s"}'


def test_a_model_of_one_value_has_no_fields_to_choose_from() -> None:
    class Numbers(pydantic.RootModel[list[int]]):
        pass

    with pytest.raises(ViewError, match="Numbers has no fields with names to choose from"):
        with_views(short=("root",))(Numbers)


# Declaring

near_misses = st.sampled_from(["asWritten", "ID", "id ", "type", "kind"])
unknown_fields = near_misses | st.text(max_size=5).filter(lambda name: name not in FIELDS)


@every_sort
@unhurried
@given(
    chosen=chosen_fields,
    unknown=unknown_fields,
    at=st.integers(0, 8),
)
def test_a_field_that_is_not_there_is_refused(
    sort: Sort, chosen: list[str], unknown: str, at: int
) -> None:
    with_views(before=("id",))(sort.kind)
    chosen.insert(at, unknown)
    with pytest.raises(ViewError) as caught:
        with_views(good=("id",), bad=chosen)(sort.kind)
    assert str(caught.value) == (
        f"{sort.kind.__name__} has no field {unknown!r} for its view bad; "
        f"there are {', '.join(FIELDS)}."
    )
    assert view_names(sort.kind) == (DEFAULT, "before"), "it is as it was"


@pytest.mark.parametrize("chosen", ["id", "", (), []], ids=repr)
def test_a_view_is_a_list_of_fields(chosen: Any) -> None:
    with pytest.raises(ViewError, match=r'^The view short of Comment is a list of fields: \("id"'):
        with_views(short=chosen)(Comment)


class ArrayLike(msgspec.Struct, array_like=True):
    id: int = 1


class Dictionary(TypedDict):
    id: int


class Plain:
    id: int = 1


class Pair(NamedTuple):
    id: int


@pytest.mark.parametrize("kind", [ArrayLike, Dictionary, Plain, Pair, int, dict])
def test_a_type_without_names_on_the_wire_is_refused(kind: type) -> None:
    with pytest.raises(ViewError) as caught:
        with_views(short=("id",))(kind)
    assert str(caught.value) == (
        f"{kind.__qualname__} has no fields with names to choose from; views are declared on a "
        "msgspec.Struct, a dataclass or a pydantic model."
    )


def test_the_type_itself_is_what_the_decorator_returns() -> None:
    assert with_views(summary=("id",), brief=("id",))(Comment) is Comment


# Which views there are


class Bare(msgspec.Struct):
    id: int = 1


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (Article, ("default", "summary", "title_first")),
        (Article | None, ("default", "summary", "title_first")),
        (Article | Comment, ("default", "summary", "title_first", "brief")),
        (Comment | Article, ("default", "summary", "brief", "title_first")),
        (list[Comment], ("default", "summary", "brief")),
        (Sequence[Comment], ("default", "summary", "brief")),
        (tuple[Comment, ...], ("default", "summary", "brief")),
        (list[Bare | Comment] | None, ("default", "summary", "brief")),
        (Annotated[Comment, "documented"], ("default", "summary", "brief")),
        (Bare, ()),
        (dict[str, Comment], ()),
        (str, ()),
        (None, ()),
        (Any, ()),
    ],
    ids=str,
)
def test_an_annotation_tells_which_views_there_are(
    annotation: Any, expected: tuple[str, ...]
) -> None:
    assert view_names(annotation) == expected


def test_default_comes_first_wherever_it_is_declared() -> None:
    kind = msgspec.defstruct("Kind", [("id", int)])
    assert view_names(with_views(short=("id",), default=("id",))(kind)) == ("default", "short")


def test_an_object_tells_which_views_there_are() -> None:
    assert views_of(Comment()) == ("default", "summary", "brief")
    assert views_of([Comment(), Article()]) == ("default", "summary", "brief", "title_first")
    assert views_of([{"id": 1}, Comment()]) == ("default", "summary", "brief")
    assert views_of((Article(),)) == ("default", "summary", "title_first")


@with_views(short=("id",))
class Page(msgspec.Struct, Generic[Value]):
    id: int
    content: Value


def test_a_generic_type_has_its_views_whatever_it_holds() -> None:
    assert views_of(Page(1, "a")) == ("default", "short")
    assert view_names(Page[str]) == ("default", "short")
    assert view_names(list[Page[str]] | None) == ("default", "short")


class Extended(Article):
    more: int = 4


@with_views(brief=("more", "id"))
class Redeclared(Article):
    more: int = 4


def test_a_subclass_has_the_views_of_its_base_and_all_of_its_own_fields() -> None:
    assert to_json(project(Extended(), "summary")) == '{"id":1,"title":"Notes"}'
    assert to_json(project(Extended(), DEFAULT)) == to_json(Extended())


def test_a_subclass_may_declare_its_own_views() -> None:
    assert view_names(Redeclared) == ("default", "brief")
    assert to_json(project(Redeclared(), "brief")) == '{"more":4,"id":1}'
    assert to_json(project(Redeclared(), DEFAULT)) == to_json(Redeclared())
    assert view_names(Article) == ("default", "summary", "title_first"), "the base is as it was"


class Attributes(dict[str, Any]):
    """A dict whose keys are attributes, and which has None for all others."""

    __getattr__ = dict.get


def test_an_object_that_has_every_attribute_has_no_views() -> None:
    data = Attributes(id=1)
    assert views_of(data) == ()
    assert project(data, "summary") is data


def test_a_list_that_begins_with_itself_has_no_views() -> None:
    data: list[Any] = []
    data.append(data)
    assert views_of(data) == ()


# What a client asks for


@pytest.mark.parametrize(
    ("name", "offered", "expected"),
    [
        (None, ("default", "summary"), "default"),
        (None, ("summary", "default"), "default"),
        (None, ("summary", "full"), "summary"),
        (None, (), "default"),
        ("summary", ("default", "summary"), "summary"),
        ("default", ("default", "summary"), "default"),
    ],
)
def test_a_client_has_what_it_asks_for_or_the_default(
    name: str | None, offered: tuple[str, ...], expected: str
) -> None:
    assert choose(name, offered) == expected


@given(st.text(), st.lists(st.text(min_size=1), min_size=1, unique=True))
def test_a_view_that_is_not_offered_is_refused_with_those_that_are(
    name: str, offered: list[str]
) -> None:
    if name in offered:
        assert choose(name, offered) == name
        return
    with pytest.raises(InvalidMessage) as caught:
        choose(name, offered)
    assert caught.value.code == ErrorCode.INVALID
    assert caught.value.path == "$.view"
    assert caught.value.message == (f"There is no such view; there are {', '.join(offered)}.")


def test_the_default_is_not_to_be_had_where_it_is_not_offered() -> None:
    with pytest.raises(InvalidMessage, match="there are summary"):
        choose("default", ("summary",))
