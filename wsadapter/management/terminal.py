"""Text for a terminal, a pipe or a log: columns, what can be shown, and drawing in place."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from wsadapter.wire.masking import one_line

#: Between two columns of a table.
GAP = "  "
#: Characters that a column keeps when it is cut to make room.
LEAST_WIDTH = 8

_HOME, _CLEAR_LINE, _CLEAR_BELOW, _CLEAR = "\x1b[H", "\x1b[K", "\x1b[J", "\x1b[2J"
_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


class Terminal:
    """Where a command writes to.

    Args:
        stream: of text; what its encoding lacks is escaped, and only a terminal has a width.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self.is_interactive = bool(stream.isatty())

    @property
    def width(self) -> int | None:
        """In characters; None where lines may have any length."""
        return shutil.get_terminal_size().columns if self.is_interactive else None

    @property
    def height(self) -> int:
        """In lines."""
        return shutil.get_terminal_size().lines

    def shows(self, text: str) -> bool:
        """Whether the encoding has all of its characters."""
        return self._escaped(text) == text

    def write(self, lines: Iterable[str]) -> None:
        """Write lines, at once: a pipe gets each of them while the command runs on."""
        self._stream.write("".join(f"{self._escaped(line)}\n" for line in lines), ending="")
        self._stream.flush()

    def draw(self, lines: Sequence[str]) -> None:
        """Put the lines in place of what is there; none is wrapped, and none scrolls away."""
        size = shutil.get_terminal_size()
        seen = [self._escaped(line)[: size.columns] for line in lines[: size.lines - 1]]
        text = "".join(f"{line}{_CLEAR_LINE}\n" for line in seen)
        self._stream.write(f"{_HOME}{text}{_CLEAR_BELOW}", ending="")
        self._stream.flush()

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """An empty screen without a cursor, for `draw`; what was drawn last stays."""
        self._stream.write(f"{_HIDE_CURSOR}{_CLEAR}", ending="")
        try:
            yield
        finally:
            self._stream.write(_SHOW_CURSOR, ending="")
            self._stream.flush()

    def _escaped(self, text: str) -> str:
        return text.encode(self._encoding, "backslashreplace").decode(self._encoding)


def table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int | None = None,
    may_be_cut: Collection[str] = (),
    ellipsis: str = "…",
) -> list[str]:
    """Aligned columns. Control characters are escaped: paths and ids are chosen by clients.

    Args:
        width: of a line; None for any.
        may_be_cut: the headings of the columns that make room for it, the first ones first.
        ellipsis: stands for what was cut.
    """
    cells = [list(headings), *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    if width is not None:
        _make_room(widths, width, [headings.index(heading) for heading in may_be_cut])
    return [
        GAP.join(
            _cut(cell, size, ellipsis).ljust(size) for cell, size in zip(row, widths, strict=True)
        ).rstrip()
        for row in cells
    ]


def _make_room(widths: list[int], width: int, columns: Sequence[int]) -> None:
    for column in columns:
        excess = sum(widths) + len(GAP) * (len(widths) - 1) - width
        spare = max(0, widths[column] - LEAST_WIDTH)
        widths[column] -= min(max(0, excess), spare)


def _cut(text: str, size: int, ellipsis: str) -> str:
    return text if len(text) <= size else text[: size - len(ellipsis)] + ellipsis


def duration(seconds: float) -> str:
    """In the two largest units: "5s", "12m 3s", "3h 20m", "4d 2h"."""
    whole = max(0, int(seconds))
    minutes, seconds_left = divmod(whole, 60)
    hours, minutes_left = divmod(minutes, 60)
    days, hours_left = divmod(hours, 24)
    if days:
        return f"{days}d {hours_left}h"
    if hours:
        return f"{hours}h {minutes_left}m"
    return f"{minutes}m {seconds_left}s" if minutes else f"{seconds_left}s"
