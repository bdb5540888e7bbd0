"""What a peer sent -> the type that was declared, or a sentence and a path about what is amiss."""

from __future__ import annotations

import operator
import types
import typing
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache, reduce
from importlib import import_module
from typing import Annotated, Any, Literal, NoReturn, Union

import msgspec
from msgspec import inspect

from wsadapter.errors import InvalidMessage
from wsadapter.wire.failures import ErrorCode
from wsadapter.wire.payload import Frame

#: How much of what a query string said is repeated in the answer.
MAX_ECHO_CHARS = 50


def converter(annotation: Any) -> Callable[[Any], Any]:
    """What makes decoded JSON (dict, list, …) the declared type.

    The function that is returned raises `InvalidMessage` (`invalid`), with the path of the
    value that does not fit.

    Args:
        annotation: a msgspec.Struct, dataclass, TypedDict, pydantic model, dict, …

    Raises:
        TypeError: no message can be read as the annotation.
    """
    if _has_models(annotation):
        return _model_converter(annotation)
    _decoder(annotation)

    def convert(value: Any) -> Any:
        try:
            # The keys of JSON are text; those of dict[int, str] are not.
            return msgspec.convert(value, annotation, str_keys=True)
        except msgspec.ValidationError as error:
            _refuse(error)
        except RecursionError as error:  # a type that contains itself
            raise InvalidMessage(
                ErrorCode.INVALID, "The message is nested too deeply.", path="$"
            ) from error

    return convert


def json_reader(annotation: Any = None) -> Callable[[str], Any]:
    """What makes JSON text the declared type; without one, whatever the JSON says.

    The function that is returned raises `InvalidMessage`: not JSON (`invalid_json`), or not
    what was declared (`invalid`, with the path).

    Args:
        annotation: as for `converter`; None stands for any JSON.

    Raises:
        TypeError: no message can be read as the annotation.
    """
    try:
        hash(annotation)
    except TypeError:  # Annotated[int, {...}]
        return _new_json_reader(annotation)
    return _cached_json_reader(annotation)


def frame_reader(annotation: Any, *, leave_out: Collection[str] = ()) -> Callable[[Frame], Any]:
    """What makes a frame the declared type: ``str`` is text, ``bytes`` is binary, else JSON.

    Where ``bytes`` is one of several types, a binary frame is that, and text is one of the
    others. The function raises what `json_reader` and `converter` say, and `InvalidMessage`
    (`unsupported`) for a frame of the wrong kind.

    Args:
        leave_out: fields of a JSON object that are not of the message.

    Raises:
        TypeError: no message can be read as the annotation.
    """
    texts, reads_bytes = by_frame(annotation)
    read_text = None if texts is None else _text_reader(texts, leave_out)

    def read(frame: Frame) -> Any:
        if isinstance(frame, bytes):
            if reads_bytes:
                return frame
            raise InvalidMessage(ErrorCode.UNSUPPORTED, "Expected text, got a binary frame.")
        if read_text is None:
            raise InvalidMessage(ErrorCode.UNSUPPORTED, "Expected a binary frame, got text.")
        return read_text(frame)

    return read


def by_frame(annotation: Any) -> tuple[Any, bool]:
    """What a type is in a text frame, or None, and whether it may be a binary one."""
    parts = _union_members(annotation)
    texts = [part for part in parts if _bare(part) is not bytes]
    may_be_binary = len(texts) < len(parts) or annotation is Any
    return (reduce(operator.or_, texts) if texts else None), may_be_binary


def is_text(annotation: Any) -> bool:
    """Whether a text frame of this type is the text as it is, and not JSON."""
    return _bare(annotation) is str


def text_converter(annotation: Any) -> Callable[[Sequence[str]], Any]:
    """What makes the values of one query-string parameter the declared type.

    It is called with all the texts that the parameter was given, in order. A collection takes
    them all; everything else takes the first, and is None without one where that is allowed.
    No text is read as None. The function raises `InvalidMessage` (`invalid`), without a path.

    Args:
        annotation: str, int, float, bool, Decimal, UUID, a date or time, an enum, a Literal,
            a union of these, or a list, set or tuple of these.

    Raises:
        TypeError: no text can be read as the annotation.
    """
    declared = _without_none(annotation)
    kind = _text_kind(declared)
    if isinstance(kind, _COLLECTIONS):
        return lambda texts: _read_texts(list(texts), declared, kind)
    is_optional = declared != annotation

    def convert_first(texts: Sequence[str]) -> Any:
        if texts:
            return _read_texts(texts[0], declared, kind)
        if is_optional:
            return None
        raise InvalidMessage(ErrorCode.INVALID, f"Expected {_words(kind)}, got nothing.")

    return convert_first


# Decoded JSON and JSON text


def _new_json_reader(annotation: Any) -> Callable[[str], Any]:
    if _has_models(annotation):
        read_any, validate = _new_json_reader(None), converter(annotation)
        return lambda text: validate(read_any(text))
    decoder = _decoder(Any if annotation is None else annotation)

    def read(text: str) -> Any:
        try:
            return decoder.decode(text)
        except msgspec.ValidationError as error:
            _refuse(error)
        except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError) as error:
            raise InvalidMessage(
                ErrorCode.INVALID_JSON, "The message is not valid JSON."
            ) from error

    return read


_cached_json_reader = lru_cache(maxsize=256)(_new_json_reader)


def _decoder(annotation: Any) -> msgspec.json.Decoder[Any]:
    try:
        return msgspec.json.Decoder(annotation)
    except (TypeError, NameError, AttributeError) as error:
        raise TypeError(
            f"A message cannot be read as {annotation!r}: {error}. Annotate with a "
            "msgspec.Struct, a dataclass, a TypedDict, a pydantic model or dict."
        ) from error


def _refuse(error: msgspec.ValidationError) -> NoReturn:
    sentence, path = _told(error)
    raise InvalidMessage(ErrorCode.INVALID, f"{sentence}.", path=path) from error


def _told(error: msgspec.ValidationError) -> tuple[str, str]:
    """msgspec's sentence without its full stop, and the path of what does not fit."""
    sentence, _, place = str(error).rpartition(" - at `")
    path = place.removeprefix("key` in `").removesuffix("`")
    # Without a place, what was cut apart is the sentence, which may repeat what the peer sent.
    if not sentence or not path.startswith("$"):
        return str(error).removesuffix("."), "$"
    return sentence.removesuffix("."), path


# pydantic's models, without importing pydantic where there are none


def _has_models(annotation: Any) -> bool:
    """Whether a type is, or is made of, pydantic's models."""
    return hasattr(annotation, "model_validate") or any(
        _has_models(part) for part in typing.get_args(annotation)
    )


def _model_converter(annotation: Any) -> Callable[[Any], Any]:
    validate = getattr(annotation, "model_validate", None)
    if validate is None or typing.get_args(annotation):  # such as a union of models
        validate = import_module("pydantic").TypeAdapter(annotation).validate_python

    def convert(value: Any) -> Any:
        try:
            return validate(value)
        except ValueError as error:
            plain = {"loc": (), "msg": str(error)}
            first: Any = error.errors()[0] if hasattr(error, "errors") else plain
            sentence = first["msg"].removesuffix(".")
            path = _model_path(value, first["loc"])
            raise InvalidMessage(ErrorCode.INVALID, f"{sentence}.", path=path) from error

    return convert


def _model_path(value: Any, steps: Iterable[int | str]) -> str:
    """The path of what does not fit, without the names of union members in between."""
    *before, last = steps or ("",)
    path = "$"
    for step in before:
        inside = isinstance(value, dict) and step in value
        if inside or (isinstance(value, list) and isinstance(step, int)):
            value = value[step]
            path += _step(step)
    return path + _step(last) if last != "" else path


def _step(step: int | str) -> str:
    return f"[{step}]" if isinstance(step, int) else f".{step}"


# Frames


def _union_members(annotation: Any) -> tuple[Any, ...]:
    is_union = typing.get_origin(annotation) in (Union, types.UnionType)
    return typing.get_args(annotation) if is_union else (annotation,)


def _bare(annotation: Any) -> Any:
    is_annotated = typing.get_origin(annotation) is Annotated
    return typing.get_args(annotation)[0] if is_annotated else annotation


def _text_reader(annotation: Any, leave_out: Collection[str]) -> Callable[[str], Any]:
    if is_text(annotation):
        return converter(annotation)
    if not leave_out:
        return json_reader(annotation)
    read_any, convert = json_reader(), converter(annotation)

    def read(text: str) -> Any:
        value = read_any(text)
        if isinstance(value, dict):
            value = {name: each for name, each in value.items() if name not in leave_out}
        return convert(value)

    return read


# Query strings

_UNIFORM = (inspect.ListType, inspect.SetType, inspect.FrozenSetType, inspect.VarTupleType)
_COLLECTIONS = (*_UNIFORM, inspect.TupleType)

_WORDS: dict[type[inspect.Type], str] = {
    inspect.AnyType: "a text",
    inspect.StrType: "a text",
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.BoolType: "true or false",
    inspect.DecimalType: "a decimal number",
    inspect.UUIDType: "a UUID",
    inspect.DateTimeType: "a date and time such as 2026-03-01T12:30:00Z",
    inspect.DateType: "a date such as 2026-03-01",
    inspect.TimeType: "a time such as 12:30:00",
    inspect.TimeDeltaType: "a duration such as PT90S",
}

#: Python reads these as floats; JSON has no such numbers, and no code expects them.
_NO_NUMBERS = {"nan", "inf", "infinity"}


def _without_none(annotation: Any) -> Any:
    """The annotation without its Nones, which msgspec would read from ``null``."""
    origin, members = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return Annotated[(_without_none(members[0]), *members[1:])]
    if origin is Literal:
        return Literal[tuple(one for one in members if one is not None)]
    if origin in (Union, types.UnionType):
        kept = (_without_none(one) for one in members if one is not types.NoneType)
        return reduce(operator.or_, kept)
    if isinstance(origin, type) and members:
        return origin[tuple(_without_none(one) for one in members)]  # type: ignore[index]
    return annotation


def _text_kind(annotation: Any) -> inspect.Type:
    try:
        kind = inspect.type_info(annotation)
    except (TypeError, NameError, AttributeError) as error:
        raise _unreadable(annotation) from error
    if not all(_is_scalar(one) for one in _items(kind)):
        raise _unreadable(annotation)
    return kind


def _unreadable(annotation: Any) -> TypeError:
    return TypeError(
        f"The text of a query string cannot be read as {annotation!r}. Annotate with str, int, "
        "float, bool, Decimal, UUID, a date or time, an enum, a Literal, or a list of one of these."
    )


def _items(kind: inspect.Type) -> tuple[inspect.Type, ...]:
    """What single texts have to become."""
    if isinstance(kind, inspect.TupleType):
        return kind.item_types
    return (kind.item_type,) if isinstance(kind, _UNIFORM) else (kind,)


def _is_scalar(kind: inspect.Type) -> bool:
    if isinstance(kind, inspect.UnionType):
        return all(_is_scalar(one) for one in kind.types)
    return type(kind) in _WORDS or isinstance(kind, inspect.EnumType | inspect.LiteralType)


def _read_texts(texts: str | list[str], annotation: Any, kind: inspect.Type) -> Any:
    try:
        value = msgspec.convert(texts, annotation, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidMessage(ErrorCode.INVALID, _text_misfit(error, texts, kind)) from error
    except UnicodeEncodeError as error:  # half of a surrogate pair
        raise InvalidMessage(ErrorCode.INVALID, "Expected text in valid Unicode.") from error
    _refuse_no_numbers(texts, kind)
    return value


def _refuse_no_numbers(texts: str | list[str], kind: inspect.Type) -> None:
    floats = [one for one in _items(kind) if isinstance(one, inspect.FloatType)]
    for text in [texts] if isinstance(texts, str) else texts:
        if floats and text.lower().lstrip("+-") in _NO_NUMBERS:
            raise InvalidMessage(ErrorCode.INVALID, f"Expected a number, got {_echo(text)}.")


def _text_misfit(error: msgspec.ValidationError, texts: str | list[str], kind: inspect.Type) -> str:
    """Which text does not fit, in words for people who never saw a Python type."""
    sentence, path = _told(error)
    if isinstance(texts, str):
        return f"Expected {_words(kind)}{_bound(sentence)}, got {_echo(texts)}."
    if path == "$":
        return f"Expected a list{_bound(sentence)}, got one of length {len(texts)}."
    index, items = int(path.strip("$[]")), _items(kind)
    expected = _words(items[index % len(items)])
    return f"Expected {expected}{_bound(sentence)}, got {_echo(texts[index])}."


def _bound(sentence: str) -> str:
    """What msgspec says after the type, such as " >= 1"."""
    expected = sentence.partition(", got ")[0]
    return expected.rpartition("`")[2] if expected.startswith("Expected `") else ""


def _words(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.UnionType):
        return " or ".join(_words(one) for one in kind.types)
    if isinstance(kind, inspect.EnumType):
        return f"one of {', '.join(str(member.value) for member in kind.cls)}"
    if isinstance(kind, inspect.LiteralType):
        return f"one of {', '.join(str(value) for value in kind.values)}"
    return _WORDS[type(kind)]


def _echo(text: str) -> str:
    """A text in quotes, short and fit to be sent."""
    text = text.encode(errors="replace").decode()
    whole = len(text) <= MAX_ECHO_CHARS
    return f'"{text}"' if whole else f'"{text[: MAX_ECHO_CHARS - 1]}…"'
