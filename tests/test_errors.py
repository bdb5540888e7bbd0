"""The tree of errors is the one that its module draws."""

from __future__ import annotations

import inspect
import re

import pytest

from wsadapter import errors
from wsadapter.errors import (
    AsyncContextError,
    EncodeError,
    HandlerError,
    InvalidMessage,
    PeerError,
    ReservedType,
    StoreUnavailable,
    WSAdapterError,
)

CLASSES = {
    name: kind
    for name, kind in inspect.getmembers(errors, inspect.isclass)
    if kind.__module__ == errors.__name__
}


def drawn() -> dict[str, tuple[str | None, str | None]]:
    """Each name in the drawing: the root above it, and the builtin beside it."""
    found: dict[str, tuple[str | None, str | None]] = {}
    root = None
    for line in (errors.__doc__ or "").splitlines():
        branch = re.match(r" +[├└]── (\w+)(?: \((\w+)\))? ", line)
        trunk = re.match(r"    (\w+Error)\b", line)
        if branch:
            found[branch[1]] = (root, branch[2])
        elif trunk:
            root = trunk[1]
            found[root] = (None, None)
    return found


def test_the_drawing_shows_every_error() -> None:
    assert set(drawn()) == set(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_the_drawing_tells_the_bases(name: str) -> None:
    root, builtin = drawn()[name]
    expected = [base for base in (root, builtin) if base] or ["Exception"]
    assert [base.__name__ for base in CLASSES[name].__bases__] == expected


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (EncodeError, TypeError),
        (ReservedType, ValueError),
        (AsyncContextError, RuntimeError),
        (StoreUnavailable, ConnectionError),
        (HandlerError, TypeError),
    ],
)
def test_the_developers_errors_are_caught_by_either_name(
    error: type[Exception], builtin: type[Exception]
) -> None:
    assert issubclass(error, builtin)
    assert issubclass(error, WSAdapterError)


def test_the_browsers_mistakes_are_not_the_developers() -> None:
    assert not issubclass(PeerError, WSAdapterError)
    assert not issubclass(WSAdapterError, PeerError)


def test_a_mistake_of_the_browser_carries_what_it_is_answered_with() -> None:
    error = InvalidMessage("invalid", "Expected `str`.", path="$.text", id=7)
    assert str(error) == error.message == "Expected `str`."
    assert (error.code, error.path, error.id) == ("invalid", "$.text", 7)
