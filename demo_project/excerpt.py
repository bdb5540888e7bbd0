"""The source of a function, read from the running code, so that the page cannot show other code."""

from __future__ import annotations

import inspect
import io
import keyword
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from textwrap import dedent
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

COLOURED = {tokenize.STRING: "string", tokenize.NUMBER: "number", tokenize.COMMENT: "comment"}


@dataclass(frozen=True)
class Excerpt:
    """The lines of one function from its `def` on, without its decorators."""

    function: Callable[..., Any]

    @cached_property
    def _whole(self) -> tuple[list[str], int]:
        lines, first = inspect.getsourcelines(inspect.unwrap(self.function))
        start = next(
            i for i, line in enumerate(lines) if line.lstrip().startswith(("def ", "async "))
        )
        return lines[start:], first + start

    @property
    def text(self) -> str:
        return dedent("".join(self._whole[0])).rstrip()

    @property
    def place(self) -> str:
        """Such as `actions.py:21`."""
        path = inspect.getsourcefile(inspect.unwrap(self.function))
        return f"{Path(str(path)).name}:{self._whole[1]}"

    @property
    def html(self) -> SafeString:
        return mark_safe("".join(_coloured(self.text)))


def _coloured(text: str) -> Iterator[SafeString]:
    lines = text.splitlines(keepends=True)
    line, column = 1, 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = COLOURED.get(token.type) or ("keyword" if keyword.iskeyword(token.string) else None)
        if kind is None:
            continue
        yield format_html("{}", _between(lines, (line, column), token.start))
        yield format_html('<span class="{}">{}</span>', kind, token.string)
        line, column = token.end
    yield format_html("{}", _between(lines, (line, column), (len(lines) + 1, 0)))


def _between(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    """The text from one (line, column) to another; lines count from one, as tokens do."""
    (first, left), (last, right) = start, end
    if first == last:
        return lines[first - 1][left:right]
    tail = lines[last - 1][:right] if last <= len(lines) else ""
    return lines[first - 1][left:] + "".join(lines[first : last - 1]) + tail
