"""Who is online, at one moment: as data, as a table, as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from wsadapter import conf
from wsadapter.management.site_command import counted, spaced
from wsadapter.management.terminal import duration, table
from wsadapter.store.operations import (
    PAGE_SIZE,
    ClientInfo,
    LiveNodes,
    NodeInfo,
    OnlineClients,
    OnlineCount,
    OnlineUserCount,
    UserConnections,
)

#: Stands where there is nothing: an anonymous user, an unknown address.
NOTHING = "-"


@dataclass(frozen=True)
class Overview:
    """What was seen.

    Attributes:
        taken_at: Unix time in seconds.
        connections: of everybody.
        user_id: whose connections ``clients`` are; None for everybody's.
        found: how many connections there are to list, of which ``clients`` are the first.
    """

    taken_at: float
    connections: int
    users: int
    nodes: tuple[NodeInfo, ...]
    user_id: str | None
    found: int
    clients: tuple[ClientInfo, ...]

    @property
    def more(self) -> int:
        """Connections that are not listed. They may have changed between two calls."""
        return max(0, self.found - len(self.clients))

    @property
    def processes(self) -> int:
        return len({(node.host, node.pid) for node in self.nodes})

    @property
    def summary(self) -> str:
        """One line."""
        everybody = ", ".join(
            (
                counted(self.connections, "connection"),
                counted(self.users, "user"),
                counted(self.processes, "process"),
            )
        )
        if self.user_id is None:
            return everybody
        return f"{counted(self.found, 'connection')} of user {self.user_id}; in all {everybody}"


def take(*, user_id: str | None, limit: int, now: float) -> Overview:
    """Look once.

    Args:
        user_id: list only this user's connections.
        limit: the most connections to read; the numbers are of all.
        now: Unix time in seconds.

    Raises:
        StoreUnavailable: Redis did not answer in time.
    """
    store = conf.store()
    connections = store.run(OnlineCount())
    return Overview(
        taken_at=now,
        connections=connections,
        users=store.run(OnlineUserCount()),
        nodes=store.run(LiveNodes()),
        user_id=user_id,
        found=connections if user_id is None else store.run(UserConnections(user_id)),
        clients=_first_clients(user_id, limit),
    )


def _first_clients(user_id: str | None, limit: int) -> tuple[ClientInfo, ...]:
    found: list[ClientInfo] = []
    cursor: str | None = None
    while len(found) < limit:
        size = min(PAGE_SIZE, limit - len(found))
        page = conf.store().run(OnlineClients(user_id, cursor, size))
        found += page.items
        if (cursor := page.next) is None:
            break
    return tuple(found)


def as_data(overview: Overview) -> dict[str, Any]:
    """What JSON can hold of it."""
    return {
        "taken_at": _as_time(overview.taken_at),
        "connections": overview.connections,
        "users": overview.users,
        "processes": overview.processes,
        "nodes": [_node_data(node) for node in overview.nodes],
        "user": overview.user_id,
        "clients": [_client_data(client, overview.taken_at) for client in overview.clients],
        "more": overview.more,
    }


def _node_data(node: NodeInfo) -> dict[str, Any]:
    return {
        "host": node.host,
        "pid": node.pid,
        "lease": node.lease,
        "connections": node.connections,
        "ends_in_seconds": round(node.ends_in_seconds, 3),
    }


def _client_data(client: ClientInfo, now: float) -> dict[str, Any]:
    return {
        "client": client.client_id,
        "user": client.user_id,
        "address": client.address,
        "path": client.path,
        "connected_at": _as_time(client.connected_at),
        "connected_for_seconds": round(max(0.0, now - client.connected_at), 3),
        "node": client.process,
    }


def _as_time(unix_seconds: float) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat(timespec="milliseconds")


def as_dated_line(overview: Overview) -> str:
    """For a log of what was seen."""
    return f"{_as_time(overview.taken_at)}  {overview.summary}"


def client_lines(overview: Overview, *, width: int | None, ellipsis: str) -> list[str]:
    """The summary, and a table of the connections."""
    rows = [
        (
            client.client_id,
            client.user_id or NOTHING,
            client.address or NOTHING,
            client.path,
            duration(overview.taken_at - client.connected_at),
            client.process,
        )
        for client in overview.clients
    ]
    headings = ("CLIENT ID", "USER", "ADDRESS", "PATH", "FOR", "NODE")
    lines = table(
        headings, rows, width=width, may_be_cut=("PATH", "NODE", "USER"), ellipsis=ellipsis
    )
    more = [f"and {spaced(overview.more)} more"] if overview.more else []
    return [overview.summary, *(["", *lines, *more] if rows else [])]


def node_lines(overview: Overview, *, width: int | None, ellipsis: str) -> list[str]:
    """The summary, and a table of the processes."""
    rows = [
        (
            node.host,
            str(node.pid),
            str(node.connections),
            f"{node.ends_in_seconds:.0f}s",
        )
        for node in overview.nodes
    ]
    headings = ("HOST", "PID", "CONNECTIONS", "LEASE ENDS IN")
    lines = table(headings, rows, width=width, may_be_cut=("HOST",), ellipsis=ellipsis)
    return [overview.summary, *(["", *lines] if rows else [])]
