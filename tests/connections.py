"""Connections that nobody holds, recorded straight into the store: many cost little."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from wsadapter import ClientInfo, conf
from wsadapter.store.operations import BATCH_SIZE, JoinAll, OpenLease

LEASE = "web-1:4711:token"
LEASE_SECONDS = 600.0


def a_connection(
    client_id: str,
    user_id: object = None,
    *,
    path: str = "/ws/",
    address: str | None = "192.0.2.1",
    lease: str = LEASE,
    age_seconds: float = 0.0,
) -> ClientInfo:
    return ClientInfo(
        client_id=client_id,
        user_id=None if user_id is None else str(user_id),
        lease=lease,
        serial="serial",
        connected_at=time.time() - age_seconds,
        path=path,
        address=address,
    )


def record(connections: Iterable[ClientInfo]) -> None:
    """Under their leases, which are opened."""
    by_lease: dict[str, list[ClientInfo]] = {}
    for connection in connections:
        by_lease.setdefault(connection.lease, []).append(connection)
    for lease, recorded in by_lease.items():
        conf.store().run(OpenLease(lease, LEASE_SECONDS))
        for batch in _batches(recorded):
            conf.store().run(JoinAll(lease, tuple((each, False) for each in batch)))


def _batches(connections: list[ClientInfo]) -> Iterator[list[ClientInfo]]:
    for start in range(0, len(connections), BATCH_SIZE):
        yield connections[start : start + BATCH_SIZE]
