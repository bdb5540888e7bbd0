"""A site on a Redis of its own prefix, and commands run in this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from io import StringIO
from typing import Any, NamedTuple

import pytest
from django.core.management import CommandError, call_command

from tests.redis_server import RedisServer
from tests.sites import REDIS, site
from wsadapter import ClientInfo, conf
from wsadapter.store.operations import BATCH_SIZE, JoinAll, OpenLease


class Ran(NamedTuple):
    """How a command ended."""

    out: str
    err: str
    code: int

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class ATerminal(StringIO):
    """Text that somebody looks at."""

    def isatty(self) -> bool:
        return True


def run(*arguments: str, out: Any = None, **options: Any) -> Ran:
    """Run a command by its name and arguments; a `CommandError` is what it says on stderr."""
    out, err, code = out or StringIO(), StringIO(), 0
    try:
        call_command(*arguments, stdout=out, stderr=err, **options)
    except CommandError as error:
        err.write(f"{error}\n")
        code = error.returncode
    except SystemExit as end:
        code = int(end.code or 0)
    return Ran(out.getvalue(), err.getvalue(), code)


@pytest.fixture
def on_redis(redis_server: RedisServer, settings: Any) -> None:
    """wsadapter's layer, and presence, on the shared Redis."""
    for setting, value in site(REDIS, [redis_server.url]).items():
        setattr(settings, setting, value)


Record = Callable[..., list[ClientInfo]]


@pytest.fixture
def record(on_redis: None) -> Record:
    """Record connections, as a server process does that has them."""

    def record_clients(
        *client_ids: str,
        user_id: str | None = None,
        lease: str = "web-1:41:aa",
        connected_for: float = 0.0,
        path: str = "/ws/",
        address: str | None = "203.0.113.7",
    ) -> list[ClientInfo]:
        clients = [
            ClientInfo(
                client_id=client_id,
                user_id=user_id,
                lease=lease,
                serial=f"serial of {client_id}",
                connected_at=time.time() - connected_for,
                path=path,
                address=address,
            )
            for client_id in client_ids
        ]
        conf.store().run(OpenLease(lease, 100))
        for start in range(0, len(clients), BATCH_SIZE):
            batch = clients[start : start + BATCH_SIZE]
            conf.store().run(JoinAll(lease, tuple((client, False) for client in batch)))
        return clients

    return record_clients
