"""`python manage.py wsadapter_doctor`: what is wrong, and what to do."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from wsadapter.doctor import Finding, Verdict, examine
from wsadapter.management.site_command import counted
from wsadapter.management.terminal import Terminal
from wsadapter.wire.masking import one_line

#: Characters of the column that names what was looked at.
SUBJECT_WIDTH = 15
#: Where there is no terminal, and on a very wide one.
LINE_WIDTH = 80
#: Before it stand the mark and the subject.
INDENT = 2 + SUBJECT_WIDTH

MARKS = {Verdict.FINE: "✓", Verdict.WARNING: "!", Verdict.ERROR: "✗"}
ASCII_MARKS = {Verdict.FINE: "+", Verdict.WARNING: "!", Verdict.ERROR: "x"}


class Command(BaseCommand):
    help = "Examines settings, Redis and the channel layer, and says what to do."

    requires_system_checks = []  # what is wrong is a finding, and not the end of it

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON document")
        parser.add_argument(
            "--url", metavar="ws://…", help="also connect to this route of the running site"
        )
        parser.add_argument(
            "--origin", metavar="https://…", help="the page that connects to --url (its own host)"
        )

    def handle(self, **options: Any) -> None:
        """
        Raises:
            SystemExit: with 1, something is wrong.
        """
        self._terminal = Terminal(self.stdout)
        show = self._print_json if options["json"] else self._print
        verdicts = show(examine(options["url"], options["origin"]))
        if Verdict.ERROR in verdicts:
            raise SystemExit(1)

    def _print_json(self, findings: Iterator[Finding]) -> list[Verdict]:
        found = list(findings)
        document = {"findings": [asdict(finding) for finding in found]}
        self._terminal.write([json.dumps(document, indent=2)])
        return [finding.verdict for finding in found]

    def _print(self, findings: Iterator[Finding]) -> list[Verdict]:
        """Each as it is found."""
        verdicts = []
        for finding in findings:
            self._terminal.write(self._lines(finding))
            verdicts.append(finding.verdict)
        self._terminal.write(["", summary(verdicts)])
        return verdicts

    def _lines(self, finding: Finding) -> list[str]:
        pretty = self._terminal.shows("✓✗→")
        paint = {
            Verdict.FINE: self.style.SUCCESS,
            Verdict.WARNING: self.style.WARNING,
            Verdict.ERROR: self.style.ERROR,
        }[finding.verdict]
        mark = paint((MARKS if pretty else ASCII_MARKS)[finding.verdict])
        width = min(self._terminal.width or LINE_WIDTH, LINE_WIDTH + INDENT)
        found = wrapped(finding.found, width)
        advice = wrapped(finding.advice, width - 2)
        arrow = "→" if pretty else ">"
        return [
            f"{mark} {finding.subject:<{SUBJECT_WIDTH}}{found[0]}",
            *(" " * INDENT + line for line in found[1:]),
            *(
                " " * INDENT + (f"{arrow} " if number == 0 else "  ") + line
                for number, line in enumerate(advice)
            ),
        ]


def wrapped(text: str, width: int) -> list[str]:
    """Lines that fit beside the subject; words, such as addresses, stay whole."""
    return textwrap.wrap(
        one_line(text), max(20, width - INDENT), break_long_words=False, break_on_hyphens=False
    )


def summary(verdicts: list[Verdict]) -> str:
    errors, warnings = verdicts.count(Verdict.ERROR), verdicts.count(Verdict.WARNING)
    if not errors and not warnings:
        return "All is well."
    parts = [
        *([f"{counted(errors, 'error')}"] if errors else []),
        *([f"{counted(warnings, 'warning')}"] if warnings else []),
    ]
    return f"{', '.join(parts)}."
