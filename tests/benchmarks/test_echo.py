"""What is said for an echo, and what has to be heard."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import Any

import pytest

from benchmarks.echo import MESSAGE_BYTES, WINDOW, message, messages_of_each
from benchmarks.processes import ROOT
from benchmarks.system import System
from benchmarks.systems import echoes
from benchmarks.systems.channels_site.site import PACKAGE

each_system = pytest.mark.parametrize("system", echoes.SYSTEMS, ids=lambda system: system.name)


@each_system
def test_messages_have_one_length_and_differ(system: System) -> None:
    said = [system.said(message(system, number)) for number in (1, 2, 50_000)]
    assert {len(text.encode()) for text in said} == {MESSAGE_BYTES}
    assert len(set(said)) == 3


@each_system
def test_answers_have_one_length_and_differ(system: System) -> None:
    heard = [system.heard(message(system, number)) for number in (1, 2, 50_000)]
    assert len({len(text) for text in heard}) == 1
    assert len(set(heard)) == 3


@each_system
def test_what_is_heard_is_what_was_said(system: System) -> None:
    one = message(system, 1)
    said, heard = json.loads(system.said(one)), json.loads(system.heard(one))
    assert heard.get("result", heard) == said


@each_system
def test_everybody_is_told_the_same(system: System) -> None:
    said = flat(json.loads(system.said(message(system, 1))))
    said.pop("text")  # fills up what is left
    other = flat(json.loads(echoes.SYSTEMS[0].said(message(echoes.SYSTEMS[0], 1))))
    assert said.items() <= other.items()


def flat(fields: dict[str, Any]) -> dict[str, Any]:
    """A message of chanx as the others have it."""
    payload = fields.pop("payload", {})
    return {"type": fields.pop("action", fields.get("type")), **fields, **payload}


@each_system
def test_its_routes_are_there(system: echoes.EchoSystem) -> None:
    directory = ROOT.joinpath(*PACKAGE.split("."), "echo")
    assert (
        f'path("{system.path.removeprefix("/")}"' in (directory / f"{system.routes}.py").read_text()
    )


def test_without_chanx_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        echoes, "find_spec", lambda name: None if name == "chanx" else find_spec(name)
    )
    chanx = next(system for system in echoes.SYSTEMS if isinstance(system, echoes.ChanxEcho))
    assert chanx.missing() == (
        "chanx cannot be imported: run `pip install -r benchmarks/requirements.txt`."
    )


@pytest.mark.parametrize(
    ("wanted", "connections", "each"),
    [
        (5000, 1, 5000),
        (5000, 100, 50),
        (1, 1, 1000),
        (1, 100, 2 * WINDOW),
        (10**9, 1, 20_000),
        (10**9, 100, 200),
    ],
)
def test_rounds_have_bounds(wanted: int, connections: int, each: int) -> None:
    assert messages_of_each(wanted, connections) == each
