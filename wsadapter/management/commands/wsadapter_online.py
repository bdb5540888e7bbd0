"""`python manage.py wsadapter_online`: who is online."""

from __future__ import annotations

import json
import textwrap
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from django.core.management.base import CommandError, CommandParser

from wsadapter.errors import StoreUnavailable
from wsadapter.management import overview
from wsadapter.management.overview import Overview
from wsadapter.management.site_command import SiteCommand
from wsadapter.management.terminal import Terminal
from wsadapter.management.whom import add_user_options, chosen_user

#: What a drawn table has above and below its rows.
LINES_AROUND = 5


class Command(SiteCommand):
    help = "Shows who is online, over all processes and machines."

    #: Seconds -> nothing; a test passes time itself.
    sleep: Callable[[float], None] = staticmethod(time.sleep)

    def add_arguments(self, parser: CommandParser) -> None:
        add_user_options(parser.add_mutually_exclusive_group())
        parser.add_argument("--nodes", action="store_true", help="list processes, not connections")
        parser.add_argument(
            "--limit", type=int, default=50, metavar="N", help="list at most N connections (50)"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON document")
        parser.add_argument("--watch", action="store_true", help="look again and again")
        parser.add_argument(
            "--interval", type=float, default=2, metavar="SECONDS", help="between two looks (2)"
        )

    def handle(self, **options: Any) -> None:
        if options["limit"] < 0:
            raise CommandError("--limit is a number of connections from 0.")
        if not options["interval"] > 0:
            raise CommandError("--interval is a number of seconds above 0.")
        self.say_if_alone()
        self._terminal = Terminal(self.stdout)
        self._as_json, self._lists_nodes = options["json"], options["nodes"]
        self._limit = 0 if self._lists_nodes else options["limit"]
        self._user_id = chosen_user(options["user"], options["username"])
        if options["watch"]:
            self._watch(options["interval"])
        elif self._as_json:
            self._terminal.write([json.dumps(overview.as_data(self._look()), indent=2)])
        else:
            self._terminal.write(self._lines(self._look()))

    def _look(self, most: int | None = None) -> Overview:
        limit = self._limit if most is None else min(self._limit, max(0, most))
        return overview.take(user_id=self._user_id, limit=limit, now=time.time())

    def _lines(self, seen: Overview) -> list[str]:
        lines = overview.node_lines if self._lists_nodes else overview.client_lines
        ellipsis = "…" if self._terminal.shows("…") else "~"
        return lines(seen, width=self._terminal.width, ellipsis=ellipsis)

    def _watch(self, interval_seconds: float) -> None:
        """Until Ctrl-C, or until nobody reads any more; neither is an error."""
        draws = self._terminal.is_interactive and not self._as_json
        show = self._draw if draws else self._print_line
        try:
            with self._terminal.drawing() if draws else nullcontext():
                while True:
                    show()
                    self.sleep(interval_seconds)
        except (KeyboardInterrupt, BrokenPipeError):
            return

    def _print_line(self) -> None:
        try:
            seen = self._look()
        except StoreUnavailable as error:
            line = json.dumps({"error": str(error)}) if self._as_json else str(error)
        else:
            as_json = self._as_json
            line = json.dumps(overview.as_data(seen)) if as_json else overview.as_dated_line(seen)
        self._terminal.write([line])

    def _draw(self) -> None:
        try:
            lines = self._lines(self._look(self._terminal.height - LINES_AROUND))
        except StoreUnavailable as error:
            lines = [*textwrap.wrap(str(error), self._terminal.width or 80), "", "Still watching."]
        self._terminal.draw(lines)
