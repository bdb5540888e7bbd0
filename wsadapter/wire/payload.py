"""What a helper is given, encoded once: a text frame, a binary frame, or JSON in a text frame."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import msgspec

from wsadapter.errors import EncodeError

#: A WebSocket frame: ``str`` is a text frame, ``bytes`` is a binary frame (RFC 6455, 5.6).
Frame: TypeAlias = str | bytes

#: In bytes: half of what Redis keeps for a subscriber by default (client-output-buffer-limit).
MAX_FRAME_SIZE = 16 * 1024 * 1024

_SURROGATE = re.compile("[\ud800-\udfff]")


def encode(data: object) -> Frame:
    """Encode what a helper was given as the frame that the browser receives.

    Args:
        data: ``str`` (a text frame as it is), ``bytes``, ``bytearray`` or ``memoryview`` (a
            binary frame as it is), or anything that encodes as JSON: builtins, dataclasses,
            ``msgspec.Struct``, pydantic models, datetime, Decimal, UUID, enums, lazy strings.
            NaN and infinity, for which JSON has no name, become ``null``.

    Raises:
        EncodeError: naming the type and where in the data it stands.
    """
    frame = _as_frame(data)
    if len(frame) * 4 > MAX_FRAME_SIZE and size_of(frame) > MAX_FRAME_SIZE:
        raise EncodeError(
            f"A frame of {size_of(frame)} bytes is more than the {MAX_FRAME_SIZE} that may be "
            "sent: Redis would drop the subscription of every process. Send where to fetch it."
        )
    return frame


def encode_text(text: str) -> str:
    """A text frame.

    Raises:
        EncodeError: this is no text, or no valid Unicode.
    """
    if not isinstance(text, str):
        raise EncodeError(f"A text frame is made of str, not of {_name(text)}.")
    return _text(text)


def encode_binary(data: bytes | bytearray | memoryview) -> bytes:
    """A binary frame.

    Raises:
        EncodeError: these are no bytes.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise EncodeError(f"A binary frame is made of bytes, not of {_name(data)}.")
    return bytes(data)


def _as_frame(data: object) -> Frame:
    if isinstance(data, str):
        return _text(data)
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    return to_json(data)


def size_of(frame: Frame) -> int:
    """The bytes of a frame's payload; for the text that most frames are, without encoding it."""
    if isinstance(frame, str) and not frame.isascii():
        return len(frame.encode())
    return len(frame)


def to_json(data: object) -> str:
    """Encode any object as compact JSON.

    Raises:
        EncodeError: naming the type and where in the data it stands.
    """
    try:
        return _encoder.encode(data).decode()
    except Exception as error:  # an object's own conversion may raise anything
        raise EncodeError(_complaint(data, error)) from error


def _text(text: str) -> str:
    # A str subclass would travel as itself through serialisers that know only str.
    text = str.__str__(text)
    if not text.isascii() and _SURROGATE.search(text):
        raise EncodeError(
            "A text frame must be valid Unicode, and this str has a lone surrogate "
            f"at index {_SURROGATE.search(text).start()}."  # type: ignore[union-attr]
        )
    return text


def _fallback(value: object) -> object:
    """Turn what msgspec does not know into something that it does."""
    for knows, convert in _CONVERSIONS:
        if knows(value):
            return convert(value)
    raise TypeError(f"there is no JSON for {type(value).__qualname__}")


def _is_lazy_text(value: object) -> bool:
    # Django's lazy strings are known by name, so that this module needs no Django.
    return any(
        base.__name__ == "Promise" and base.__module__ == "django.utils.functional"
        for base in type(value).__mro__
    )


_CONVERSIONS: tuple[tuple[Callable[[Any], bool], Callable[[Any], object]], ...] = (
    (lambda value: isinstance(value, str), str.__str__),
    (lambda value: hasattr(value, "model_dump"), lambda model: model.model_dump(mode="json")),
    (_is_lazy_text, str),
    (lambda value: isinstance(value, Mapping), dict),
)

_encoder = msgspec.json.Encoder(enc_hook=_fallback)


def _complaint(data: object, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"This {_name(data)} is nested too deeply for JSON, or contains itself."
    path, value = _culprit(data)
    where = "" if path == "$" else f" at {path}"
    return (
        f"The {_name(value)}{where} does not encode as JSON: {error}. Send str, bytes, builtins, "
        "dataclasses, msgspec or pydantic models, dates, Decimal or UUID."
    )


def _name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def _culprit(value: object) -> tuple[str, object]:
    """The innermost part of the data that does not encode, and its JSONPath."""
    path = "$"
    seen = {id(value)}  # data may contain itself
    while (found := _failing_child(value)) is not None and id(found[1]) not in seen:
        path, value = f"{path}{found[0]}", found[1]
        seen.add(id(value))
    return path, value


def _failing_child(value: object) -> tuple[str, object] | None:
    return next((child for child in _children(value) if not _encodes(child[1])), None)


def _children(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        yield from ((f".{key}", child) for key, child in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"[{index}]", child) for index, child in enumerate(value))
    elif not isinstance(value, type):  # a class has the fields of its instances, and no values
        names = getattr(value, "__dataclass_fields__", ()) or getattr(
            value, "__struct_fields__", ()
        )
        yield from ((f".{name}", getattr(value, name)) for name in names)


def _encodes(value: object) -> bool:
    try:
        _encoder.encode(value)
    except Exception:
        return False
    return True
