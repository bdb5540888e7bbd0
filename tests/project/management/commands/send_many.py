from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from tests.project import sending
from tests.project.redis_connections import connections_opened_by


class Command(BaseCommand):
    help = "Send a message N times; print as JSON how many Redis connections that opened."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("times", type=int)
        parser.add_argument("--target", default="all", choices=sorted(sending.HELPERS))
        parser.add_argument("--to", help="the user, client id or group; not for all")

    def handle(self, *, times: int, target: str, to: str | None, **options: Any) -> None:
        receipts = []
        data = {"type": "from.command"}

        def send() -> None:
            receipts.append(sending.send(target, data, to=to, times=times))

        connections = connections_opened_by(send)
        report = {"sent": times, "connections_opened": connections, "receipt": receipts[-1]}
        self.stdout.write(json.dumps(report))
