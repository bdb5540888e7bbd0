"""Text for a terminal, a pipe or a log."""

from __future__ import annotations

from io import BytesIO, TextIOWrapper

import pytest
from django.core.management.base import OutputWrapper

from tests.commands.conftest import ATerminal
from wsadapter.management.site_command import counted, spaced
from wsadapter.management.terminal import Terminal, duration, table


@pytest.fixture
def forty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "4")


def test_columns_are_as_wide_as_what_is_in_them() -> None:
    assert table(("A", "B"), [("long", "x"), ("s", "")]) == ["A     B", "long  x", "s"]


def test_a_line_that_is_too_long_is_cut_where_it_may_be() -> None:
    (_, line) = table(
        ("ID", "PATH", "NODE"),
        [("an-id-to-copy", "/a/rather/long/path/", "a-long-name:41")],
        width=40,
        may_be_cut=("PATH", "NODE"),
    )
    assert line == "an-id-to-copy  /a/rathe…  a-long-name:41"
    assert len(line) <= 40


def test_columns_keep_so_much_that_they_can_be_read() -> None:
    (_, line) = table(("PATH",), [("/a/rather/long/path/",)], width=3, may_be_cut=("PATH",))
    assert line == "/a/rath…"


def test_what_clients_choose_cannot_move_the_cursor() -> None:
    (_, line) = table(("PATH",), [("/\x1b[2J\r\n\u202e",)])
    assert line == r"/\x1b[2J\r\n\u202e"


def test_only_a_terminal_has_a_width(forty_columns: None) -> None:
    assert Terminal(OutputWrapper(ATerminal())).width == 40
    pipe = TextIOWrapper(BytesIO(), encoding="utf-8")
    assert Terminal(OutputWrapper(pipe)).width is None


def test_what_the_encoding_lacks_is_escaped() -> None:
    raw = BytesIO()
    pipe = TextIOWrapper(raw, encoding="ascii")
    terminal = Terminal(OutputWrapper(pipe))
    assert terminal.shows("+") and not terminal.shows("✓")
    terminal.write(["café"])
    assert raw.getvalue() == b"caf\\xe9\n"


def test_a_drawing_takes_the_place_of_the_last_and_fits(forty_columns: None) -> None:
    out = ATerminal()
    terminal = Terminal(OutputWrapper(out))
    with terminal.drawing():
        out.truncate(0)
        out.seek(0)
        terminal.draw(["x" * 50, "two", "three", "four"])
        drawn = out.getvalue()
    assert drawn.startswith("\x1b[H") and drawn.endswith("\x1b[J")
    assert drawn.count("\n") == 3 and "four" not in drawn  # a fourth would scroll
    assert "x" * 40 + "\x1b[K" in drawn
    assert out.getvalue().endswith("\x1b[?25h")  # the cursor is back


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0s"), (5.9, "5s"), (723, "12m 3s"), (12_000, "3h 20m"), (352_800, "4d 2h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_numbers() -> None:
    assert spaced(1234567) == "1 234 567"
    assert [counted(n, "connection") for n in (0, 1, 2)] == [
        "0 connections",
        "1 connection",
        "2 connections",
    ]
    assert counted(2, "server process") == "2 server processes"
