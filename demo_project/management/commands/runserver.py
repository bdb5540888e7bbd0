"""`python manage.py runserver`: the demo in one process, which it says."""

from __future__ import annotations

from typing import Any

from daphne.management.commands.runserver import Command as DaphneRunserver
from django.conf import settings
from django.core.management import call_command

from demo_project.accounts import NAMES, PASSWORD

BANNER = f"""
  one process only: the channel layer and the counts live in this process's memory.
  Not there: Celery's tasks and statistics, a second server process, the kill and Redis buttons.
  All of it runs with: sh scripts/demo

  Accounts: {" and ".join(NAMES)}, password {PASSWORD}
"""


class Command(DaphneRunserver):
    def inner_run(self, *args: Any, **options: Any) -> None:
        call_command("demo_database")
        if settings.REDIS_URL is None:
            self.stdout.write(self.style.WARNING(BANNER))
        super().inner_run(*args, **options)
