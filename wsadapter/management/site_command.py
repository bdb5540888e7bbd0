"""What the commands about the connections of a site have in common."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from wsadapter import conf
from wsadapter.errors import WSAdapterError
from wsadapter.layers.publishing import is_in_memory


class SiteCommand(BaseCommand):
    """A command that deals with the connections of other processes."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        """As Django does; what wsadapter raises is told in its own sentence, without a traceback.

        Raises:
            CommandError: what the operator can mend.
        """
        try:
            return super().execute(*args, **options)
        except WSAdapterError as error:
            raise CommandError(str(error)) from error

    def say_if_alone(self) -> None:
        """An in-memory layer ends where this process does; without a word that looks like zero."""
        if is_in_memory(conf.layer()):
            self.stderr.write(
                "The channel layer is in memory, so this command knows nothing of the servers. "
                "Configure wsadapter.layers.RedisChannelLayer.",
                self.style.WARNING,
            )


def spaced(number: int) -> str:
    """ "12 345"."""
    return f"{number:,}".replace(",", " ")


def counted(number: int, noun: str) -> str:
    """ "1 connection", "12 345 connections", "2 processes"."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{spaced(number)} {noun}{ending}"
