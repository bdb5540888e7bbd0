"""Named views of a message type: which of its fields are sent, and in which order."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar, Union

import msgspec

from wsadapter.errors import EncodeError, InvalidMessage, ViewError
from wsadapter.wire.failures import ErrorCode

Class = TypeVar("Class", bound=type)

#: What is sent where nobody has asked for another one; all fields, unless declared otherwise.
DEFAULT = "default"

_MARK = "__wsadapter_views__"


class Field(NamedTuple):
    """A field: its attribute, and its name on the wire."""

    attribute: str
    name: str


def with_views(**views: Sequence[str]) -> Callable[[Class], Class]:
    """Declare the views of a message type.

        @with_views(summary=("id", "title"))
        class Article(msgspec.Struct):
            id: int
            title: str
            text: str

    Args:
        views: the names of fields, in the order in which they are sent. Without a ``default``,
            that view has all of them. A tagged type keeps its tag, first, in every view.

    Raises:
        ViewError: the type has no such field, or none that have names on the wire.
    """

    def declare(kind: Class) -> Class:
        fields = _fields(kind)
        declared = {name: _view(kind, name, chosen, fields) for name, chosen in views.items()}
        setattr(kind, _MARK, {DEFAULT: None, **declared})  # None stands for all, a subclass's too
        return kind

    return declare


def view_names(annotation: Any) -> tuple[str, ...]:
    """The views that a type, or any member of a union or a list of them, declares."""
    own = getattr(typing.get_origin(annotation) or annotation, _MARK, None)  # of Page[int] too
    if own is not None:
        return tuple(own)
    members = typing.get_args(annotation)
    if not isinstance(annotation, types.UnionType) and typing.get_origin(annotation) not in _PARTED:
        return ()
    return tuple(dict.fromkeys(name for member in members for name in view_names(member)))


_PARTED = (Union, typing.Annotated, list, tuple, Sequence)


def choose(name: str | None, offered: Collection[str]) -> str:
    """The view that a client asks for.

    Args:
        name: what it says; None where it says nothing.
        offered: those it may have.

    Raises:
        InvalidMessage: there is no such view; the sentence names those that there are.
    """
    if name is None:
        return DEFAULT if DEFAULT in offered else next(iter(offered), DEFAULT)
    if name in offered:
        return name
    raise InvalidMessage(
        ErrorCode.INVALID, f"There is no such view; there are {', '.join(offered)}.", path="$.view"
    )


def views_of(data: object) -> tuple[str, ...]:
    """The views of an object, or those that the objects of a list have."""
    kinds = dict.fromkeys(map(type, data)) if isinstance(data, list | tuple) else (type(data),)
    return tuple(dict.fromkeys(name for kind in kinds for name in getattr(kind, _MARK, ())))


def project(data: object, view: str) -> object:
    """What is to be encoded of an object, or of each of a list of them, in a view.

    An object whose type does not declare the view is sent in its default one, and one whose type
    declares none as it is.

    Raises:
        EncodeError: the object does not give its fields.
    """
    try:
        return _project(data, view)
    except Exception as error:  # an object's own conversion may raise anything
        raise EncodeError(
            f"The view {view} of this {type(data).__qualname__} cannot be made: {error}."
        ) from error


def _project(data: Any, view: str) -> object:
    if isinstance(data, list | tuple):
        return [_project(each, view) for each in data]
    declared = getattr(type(data), _MARK, {})
    fields = declared.get(view, declared.get(DEFAULT))
    if fields is None:
        return data
    if hasattr(data, "model_dump"):
        dumped = data.model_dump(mode="json", include={field.attribute for field in fields})
        return {field.name: dumped[field.name] for field in fields}
    pairs = ((field.name, getattr(data, field.attribute)) for field in fields)
    return _tag(data) | {name: value for name, value in pairs if value is not msgspec.UNSET}


def _tag(data: object) -> dict[str, object]:
    config = getattr(data, "__struct_config__", None)
    return {} if config is None or config.tag is None else {config.tag_field: config.tag}


def _fields(kind: Any) -> dict[str, Field]:
    """The fields that a type has on the wire, by their attributes."""
    config = getattr(kind, "__struct_config__", None)
    if config is not None and not config.array_like:
        names = zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True)
        return {attribute: Field(attribute, name) for attribute, name in names}
    if hasattr(kind, "model_fields") and not getattr(kind, "__pydantic_root_model__", False):
        return dict(_model_fields(kind))
    if dataclasses.is_dataclass(kind):
        return {field.name: Field(field.name, field.name) for field in dataclasses.fields(kind)}
    raise ViewError(
        f"{kind.__qualname__} has no fields with names to choose from; views are declared on a "
        "msgspec.Struct, a dataclass or a pydantic model."
    )


def _model_fields(kind: Any) -> Iterator[tuple[str, Field]]:
    """Those of a pydantic model that it sends."""
    own = {**kind.model_fields, **getattr(kind, "model_computed_fields", {})}
    for attribute, info in own.items():
        alias = getattr(info, "serialization_alias", None) or getattr(info, "alias", None)
        by_alias = kind.model_config.get("serialize_by_alias", False)
        if not getattr(info, "exclude", False):
            yield attribute, Field(attribute, alias if alias and by_alias else attribute)


def _view(
    kind: type, name: str, chosen: Sequence[str], fields: dict[str, Field]
) -> tuple[Field, ...]:
    if isinstance(chosen, str) or not chosen:
        raise ViewError(f'The view {name} of {kind.__qualname__} is a list of fields: ("id",).')
    unknown = [each for each in chosen if each not in fields]
    if unknown:
        raise ViewError(
            f"{kind.__qualname__} has no field {unknown[0]!r} for its view {name}; there are "
            f"{', '.join(fields)}."
        )
    return tuple(fields[each] for each in chosen)
