"""The two people of the demo."""

from __future__ import annotations

from django.contrib.auth import get_user_model

NAMES = ("ada", "grace")
MODERATOR = "ada"  # of the chat; in the admin she may do everything
PASSWORD = "wsadapter"  # shown to everyone who starts the demo


def make_accounts() -> None:
    """Makes those that do not exist yet."""
    users = get_user_model().objects
    for name in NAMES:
        if not users.filter(username=name).exists():
            users.create_user(name, password=PASSWORD)
    users.filter(username=MODERATOR).update(is_staff=True, is_superuser=True)
