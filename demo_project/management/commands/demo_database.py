"""`python manage.py demo_database`."""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand

from demo_project.accounts import make_accounts
from demo_project.chat.rooms import make_rooms


class Command(BaseCommand):
    help = "Migrates the demo's database, makes its two accounts and the rooms of the chat."

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", verbosity=0, interactive=False)
        make_accounts()
        make_rooms()
