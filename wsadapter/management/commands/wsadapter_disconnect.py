"""`python manage.py wsadapter_disconnect`: close connections, wherever they are."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from wsadapter.broadcasting import disconnect_all, disconnect_client, disconnect_user
from wsadapter.close_codes import MAX_REASON_BYTES, CloseCode, check_code, should_reconnect
from wsadapter.management.site_command import SiteCommand, counted
from wsadapter.management.whom import add_user_options, chosen_user
from wsadapter.presence import online_count

REASON = "disconnected by the server"


class Command(SiteCommand):
    help = "Closes the connections of a user, one connection, or all."

    def add_arguments(self, parser: CommandParser) -> None:
        whom = parser.add_mutually_exclusive_group(required=True)
        add_user_options(whom)
        whom.add_argument("--client", metavar="ID", help="one connection")
        whom.add_argument("--all", action="store_true", help="every connection; asks first")
        parser.add_argument(
            "--code",
            type=int,
            default=int(CloseCode.FORCED_OUT),
            help="the close code (3503: do not come back; 3001: come back)",
        )
        parser.add_argument("--reason", default=REASON, help="told to the client")
        parser.add_argument(
            "--yes", "--no-input", "--noinput", action="store_true", help="do not ask"
        )

    def handle(self, **options: Any) -> None:
        check_close(options["code"], options["reason"])
        self.say_if_alone()
        if options["all"] and not options["yes"]:
            self._ask(options["code"])
        closed = close(options)
        then = "" if should_reconnect(options["code"]) or not closed else ", not to come back"
        self.stdout.write(f"Disconnected {counted(closed, 'connection')}{then}.")

    def _ask(self, code: int) -> None:
        """Let the operator think again."""
        returns = "come" if should_reconnect(code) else "do not come"
        question = (
            f"Disconnect {counted(online_count(), 'connection')}? With code {code} clients "
            f"{returns} back by themselves. [y/N] "
        )
        try:
            answer = input(question)
        except EOFError:
            raise CommandError("There is nobody to ask. Give --yes to disconnect all.") from None
        if answer.strip().lower() not in ("y", "yes"):
            raise CommandError("Nobody was disconnected.")


def check_close(code: int, reason: str) -> None:
    """Refuse what no close frame can carry, before anything is done.

    Raises:
        CommandError: such a code may not be sent, or the reason is too long.
    """
    try:
        check_code(code)
        size = len(reason.encode())
    except ValueError as error:
        raise CommandError(str(error)) from error
    if size > MAX_REASON_BYTES:
        raise CommandError(f"Shorten the reason: it has at most {MAX_REASON_BYTES} bytes.")


def close(options: dict[str, Any]) -> int:
    """Close what the options name; how many connections the store knew.

    Raises:
        StoreUnavailable: Redis did not answer in time.
        CommandError: nobody has such a username.
    """
    code, reason = options["code"], options["reason"]
    if options["all"]:
        return disconnect_all(code, reason)
    if options["client"] is not None:
        return disconnect_client(options["client"], code, reason)
    return disconnect_user(chosen_user(options["user"], options["username"]), code, reason)
