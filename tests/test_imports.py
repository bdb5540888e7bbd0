"""Imports only go down: a module may import from its own floor and from those below it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "wsadapter"

# Lowest first. A name is a module or a whole package, and may be of one that is still to come.
FLOORS = (
    "errors close_codes wire",
    "hooks outages redis_pool event_loops corking store layers",
    "conf signals groups",
    "calling attributes turns servers daphne inbox incoming frame_log membership bytestreams "
    "repetition tasks parameters batching outflow outlet reporting connection failing "
    "retrying gate watch serving signal_chain transitions node draining handlers contract bulks "
    "broadcasting presence listing auth admission",
    "consumers endpoints streams",
    "models migrations live uvicorn routing views apps logout checks admin metrics management "
    "doctor templatetags testing",
    "urls upkeep client",
    "__init__",  # the public names
)

# Those who watch are watched by nobody.
IMPORTED_BY_NOBODY = {"admin", "metrics"}

# Its values, its clock and its luck arrive as arguments.
FORBIDDEN_IN_WIRE = {"django", "channels", "redis", "asyncio", "time", "random", "secrets"}

FLOOR_OF = {name: number for number, names in enumerate(FLOORS) for name in names.split()}
SOURCES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    """The first name below wsadapter/: store/redis.py is in the room "store"."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_names(path: Path) -> Iterator[str]:
    """What the file imports, wherever it does so; for `from a import b` both a and a.b."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, f"{path}: import by the full name"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_rooms(path: Path) -> set[str]:
    """The rooms that the file imports from; a public name is one of wsadapter/__init__.py."""
    parts = (name.split(".") for name in imported_names(path))
    first_names = {rest[0] for package, *rest in parts if package == "wsadapter" and rest}
    return {name if name in FLOOR_OF else "__init__" for name in first_names}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def label(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", SOURCES, ids=label)
def test_the_arrows_point_down(path: Path) -> None:
    room = room_of(path)
    assert room in FLOOR_OF, f"wsadapter/{room} has no floor yet: add it to FLOORS"
    above = {other for other in imported_rooms(path) if FLOOR_OF[other] > FLOOR_OF[room]}
    assert not above, f"{label(path)} imports from the floors above it: {sorted(above)}"


@pytest.mark.parametrize("path", SOURCES, ids=label)
def test_nobody_imports_the_observers(path: Path) -> None:
    observers = IMPORTED_BY_NOBODY - {room_of(path)}
    assert not imported_rooms(path) & observers


def test_the_wire_is_pure() -> None:
    impure = {
        f"{label(path)} imports {name}"
        for path in SOURCES
        if room_of(path) == "wire"
        for name in imported_names(path)
        if name.split(".")[0] in FORBIDDEN_IN_WIRE
    }
    assert not impure


def test_below_the_settings_nobody_reads_django_settings() -> None:
    readers = {
        label(path)
        for path in SOURCES
        if FLOOR_OF.get(room_of(path), 0) < FLOOR_OF["conf"]
        and any(name.startswith("django.conf") for name in imported_names(path))
    }
    assert not readers


def test_importing_every_module_warns_of_nothing() -> None:
    names = sorted({module_name(path) for path in SOURCES})
    code = f"import django; django.setup()\nfor name in {names}: __import__(name)"
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
