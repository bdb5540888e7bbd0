"""The documentation as a test reads it: sections, code blocks, tables, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from tests.processes import ROOT

FENCE = re.compile(r"^```(\w*)$")
HEADING = re.compile(r"^#+ (.+)$")
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
FILE_LINE = re.compile(r"^(?:#|<!--) (\w+/\w+\.\w+)(, .+?)?(?: -->)?$")


@dataclass(frozen=True)
class Block:
    """A fenced block. Its first line may name its file: "# shop/views.py, one more"."""

    section: str
    language: str
    text: str

    @property
    def path(self) -> str | None:
        found = self._file_line
        return found[1] if found else None

    @property
    def is_addition(self) -> bool:
        """Whether it is added to its file, rather than being all of it."""
        found = self._file_line
        return bool(found and found[2])

    @property
    def commands(self) -> list[str]:
        """The lines of a shell block, without their comments."""
        return [line.partition("#")[0].strip() for line in self.text.splitlines()]

    @property
    def before(self) -> Block:
        """What a diff leads away from."""
        return self._side("-")

    @property
    def after(self) -> Block:
        return self._side("+")

    @property
    def _file_line(self) -> re.Match[str] | None:
        return FILE_LINE.match(self.text.partition("\n")[0])

    def _side(self, sign: str) -> Block:
        lines = [line[1:] for line in self.text.splitlines() if line[:1] in (" ", sign)]
        return Block(self.section, "python", "\n".join(lines) + "\n")


class Line(NamedTuple):
    section: str
    text: str


class Markdown:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text()

    @cached_property
    def blocks(self) -> list[Block]:
        return list(self._blocks())

    @cached_property
    def prose(self) -> list[Line]:
        """The lines outside of code blocks."""
        return [line for line, language in self._lines() if language is None]

    @cached_property
    def sections(self) -> list[str]:
        return list(dict.fromkeys(line.section for line in self.prose))

    @property
    def anchors(self) -> set[str]:
        """What a link may point to, as GitHub makes it of headings."""
        return {re.sub(r"[^\w\- ]", "", name.lower()).replace(" ", "-") for name in self.sections}

    @property
    def links(self) -> list[str]:
        return [link for line in self.prose for link in LINK.findall(line.text)]

    def table(self, first_heading: str, section: str | None = None) -> list[list[str]]:
        """The rows of all tables whose first column has that heading."""
        rows: list[list[str]] = []
        inside = False
        for line in self.prose:
            cells = [cell.strip() for cell in line.text.strip("| ").split(" | ")]
            if not line.text.startswith("|"):
                inside = False
            elif inside:
                rows.append(cells)
            elif section in (None, line.section):
                inside = cells[0] == first_heading
        return [row for row in rows if not set("".join(row)) <= set("-|")]

    def _blocks(self) -> Iterator[Block]:
        body: list[str] = []
        for line, language in self._lines():
            if language is None:
                continue
            if FENCE.match(line.text) is None:
                body.append(line.text)
            elif line.text == "```":
                yield Block(line.section, language, "\n".join(body) + "\n")
                body = []

    def _lines(self) -> Iterator[tuple[Line, str | None]]:
        """Each line with the language of the block that it is in, its fences included."""
        section, language = "", None
        for text in self.text.splitlines():
            fence = FENCE.match(text)
            if language is not None:
                yield Line(section, text), language
                language = None if fence else language
                continue
            if fence:
                language = fence[1]
            elif heading := HEADING.match(text):
                section = heading[1]
            yield Line(section, text), language


README = Markdown(ROOT / "README.md")
CHANGELOG = Markdown(ROOT / "CHANGELOG.md")
CONTRIBUTING = Markdown(ROOT / "CONTRIBUTING.md")
DOCS = {path.stem: Markdown(path) for path in sorted((ROOT / "docs").glob("*.md"))}
DECISIONS = [Markdown(path) for path in sorted((ROOT / "docs/decisions").glob("*.md"))]
EVERY_PAGE = [README, CHANGELOG, CONTRIBUTING, *DOCS.values(), *DECISIONS]
