"""The options that name a user, by primary key or by name."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured, MultipleObjectsReturned, ObjectDoesNotExist
from django.core.management.base import CommandError

from wsadapter.groups import user_id


def add_user_options(group: Any, *, several: bool = False) -> None:
    """Add ``--user`` and ``--username``.

    Args:
        group: a group of options of which the operator chooses one.
        several: whether each may be given more than once.
    """
    more = {"action": "append"} if several else {}
    again = "; may be repeated" if several else ""
    group.add_argument("--user", metavar="ID", help=f"by primary key{again}", **more)
    group.add_argument("--username", metavar="NAME", help=f"by username{again}", **more)


def chosen_user(user: Any, username: str | None) -> str | None:
    """The primary key as text that the two options name, or None without them.

    Raises:
        CommandError: nobody has that name.
    """
    if username is not None:
        return id_of(username)
    return None if user is None else user_id(user)


def id_of(username: str) -> str:
    """The primary key, as text, of the user of that name.

    Raises:
        CommandError: nobody has it, or this site has no table of users.
    """
    try:
        model = get_user_model()
        found = model._default_manager.get(**{model.USERNAME_FIELD: username})
    except (ObjectDoesNotExist, MultipleObjectsReturned) as error:
        raise CommandError(
            f"{username!r} is not the name of one user. Correct it, or give the primary key by "
            "--user."
        ) from error
    except ImproperlyConfigured as error:
        raise CommandError(
            f"This site has no users to look up ({error}). Give the primary key by --user."
        ) from error
    return user_id(found)
