"""`python manage.py demo_database`."""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand

from demo_project.accounts import make_accounts


class Command(BaseCommand):
    help = "Migrates the demo's database and makes its two accounts."

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", verbosity=0, interactive=False)
        make_accounts()
