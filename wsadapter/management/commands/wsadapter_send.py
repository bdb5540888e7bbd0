"""`python manage.py wsadapter_send`: a message from the command line."""

from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser

from wsadapter.broadcasting import (
    Receipt,
    broadcast,
    send_to_client,
    send_to_group,
    send_to_users,
)
from wsadapter.groups import user_id
from wsadapter.management.site_command import SiteCommand, counted
from wsadapter.management.whom import add_user_options, id_of

STDIN = "-"


class Command(SiteCommand):
    help = "Sends a message to everybody, to users, to one connection or to a group."

    def add_arguments(self, parser: CommandParser) -> None:
        whom = parser.add_mutually_exclusive_group(required=True)
        whom.add_argument("--all", action="store_true", help="every connection")
        add_user_options(whom, several=True)
        whom.add_argument("--client", metavar="ID", help="one connection")
        whom.add_argument("--group", metavar="NAME", help="those that joined a group")
        parser.add_argument(
            "--authenticated-only", action="store_true", help="with --all: connections of users"
        )
        parser.add_argument("--text", action="store_true", help="send DATA as it is, not as JSON")
        parser.add_argument("data", metavar="DATA", help="JSON, or - to read it from stdin")

    def handle(self, **options: Any) -> None:
        if options["authenticated_only"] and not options["all"]:
            raise CommandError("--authenticated-only goes with --all: users are authenticated.")
        self.say_if_alone()
        text = read_stdin() if options["data"] == STDIN else options["data"]
        frame = text if options["text"] else checked_json(text)
        self.stdout.write(told(send(frame, options)))


def read_stdin() -> str:
    """All of it, without the line end that shells and editors put last.

    Raises:
        CommandError: it is no text.
    """
    try:
        return sys.stdin.read().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise CommandError(f"stdin is no text ({error}). Send UTF-8.") from error


def checked_json(text: str) -> str:
    """The text itself: what was typed is the frame that arrives.

    Raises:
        CommandError: it is no JSON.
    """
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CommandError(
            f"DATA is no JSON ({error}). Put it between single quotes, such as "
            '\'{"type": "deploy"}\', or give --text to send it as it is.'
        ) from error
    return text.strip()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is none")


def send(frame: str, options: dict[str, Any]) -> Receipt:
    """Send to whom the options name.

    Raises:
        WSAdapterError: it cannot be sent; the errors are those of `broadcast`.
        CommandError: nobody has such a username.
    """
    if options["all"]:
        return broadcast(frame, authenticated_only=options["authenticated_only"])
    if options["client"] is not None:
        return send_to_client(options["client"], frame)
    if options["group"] is not None:
        return send_to_group(options["group"], frame)
    users = [user_id(user) for user in options["user"] or ()]
    return send_to_users([*users, *map(id_of, options["username"] or ())], frame)


def told(receipt: Receipt) -> str:
    """A receipt in words.

    Raises:
        CommandError: it reached nobody, as far as that is known.
    """
    if receipt.online is False:
        raise CommandError("The client is not connected.")
    if receipt.online:
        return "Sent; the client is connected."
    if receipt.processes is None:
        return "Sent. This channel layer does not tell how many server processes it reached."
    if receipt.processes == 0:
        raise CommandError("Nobody is connected who would get it.")
    return f"Reached {counted(receipt.processes, 'server process')}."
