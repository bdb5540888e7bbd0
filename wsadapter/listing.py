"""One page of the connections that are open, for the admin: found, and with their users' names.

Every page costs a bounded number of questions, however many connections there are:

    no search       1 to the store, and 1 to the database
    client id       1 and 1
    user            1 to the store for each of at most `MOST_USERS` users, and 2
    address, path   at most `MOST_SCANS` + 1 to the store for `SCAN_SIZE` connections each, and 1
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Q

from wsadapter import conf
from wsadapter.store.operations import ClientInfo, FindClient, LiveNodes, OnlineClients, Page

#: What staff need for seeing it.
VIEW = "wsadapter.view_connection"
#: Where the page finds the WebSocket over which it updates itself.
LIVE_PATH = "wsadapter/admin/"

#: Connections on a page.
PAGE_ROWS = 50
#: Users whose connections a search looks for.
MOST_USERS = 50
#: Connections that a search for an address or a path reads at once, and how often it does.
SCAN_SIZE = 500
MOST_SCANS = 4

#: A longer text is no name, no id and no address.
MOST_TEXT = 200


class By(StrEnum):
    """What is searched for."""

    USER = "user"
    CLIENT = "client"
    PLACE = "place"

    @property
    def label(self) -> str:
        return _LABELS[self]


_LABELS = {
    By.USER: "User: name or primary key",
    By.CLIENT: "Client id",
    By.PLACE: "Address or path",
}


@dataclass(frozen=True)
class Query:
    """What a page is asked for; without a text it is all connections.

    Attributes:
        cursor: ``next`` of the page before, ``""`` for the first.
    """

    text: str = ""
    by: By = By.USER
    cursor: str = ""

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Query:
        """From the parameters of a URL; what makes no sense counts as not given."""
        by = fields.get("by")
        return cls(
            text=str(fields.get("q") or "").replace("\0", "").strip()[:MOST_TEXT],
            by=By(by) if by in list(By) else By.USER,
            cursor=str(fields.get("cursor") or ""),
        )

    @property
    def fields(self) -> dict[str, str]:
        """The parameters of its URL."""
        search = {"by": self.by.value, "q": self.text} if self.text else {}
        return {**search, "cursor": self.cursor} if self.cursor else search

    @property
    def scans(self) -> bool:
        """Whether it reads many connections to find a few."""
        return bool(self.text) and self.by is By.PLACE


class Row(msgspec.Struct, frozen=True):
    """One connection.

    Attributes:
        user_id: None for an anonymous visitor.
        user: what the user is called.
        connected_at: Unix time in seconds.
        process: ``host:pid``.
    """

    client_id: str
    user_id: str | None
    user: str
    address: str
    path: str
    connected_at: float
    process: str

    @property
    def connected(self) -> datetime:
        """When, for templates."""
        return datetime.fromtimestamp(self.connected_at, UTC)


class Listing(msgspec.Struct, frozen=True):
    """One page.

    Attributes:
        next: the cursor of the page after it, or ``""``.
        note: how far a search has looked, where that is not everywhere.
    """

    rows: tuple[Row, ...]
    next: str = ""
    note: str = ""


class Node(msgspec.Struct, frozen=True):
    """One event loop of one server process."""

    lease: str
    host: str
    pid: int
    connections: int
    ends_in_seconds: float


def nodes() -> tuple[Node, ...]:
    """The server processes that hold a lease: one question to the store.

    Raises:
        StoreUnavailable: Redis did not answer in time.
    """
    return tuple(
        Node(info.lease, info.host, info.pid, info.connections, info.ends_in_seconds)
        for info in conf.store().run(LiveNodes())
    )


class _Found(NamedTuple):
    clients: Sequence[ClientInfo]
    next: str = ""
    note: str = ""


def find(query: Query) -> Listing:
    """The page that a query asks for.

    Raises:
        StoreUnavailable: Redis did not answer in time.
    """
    try:
        found = _find(query)
    except ValueError:  # the cursor is none of ours
        found = _find(replace(query, cursor=""))
    names = names_of(client.user_id for client in found.clients)
    return Listing(
        rows=tuple(_row(client, names) for client in found.clients),
        next=found.next,
        note=found.note,
    )


def _row(client: ClientInfo, names: Mapping[str, str]) -> Row:
    user_id = client.user_id
    return Row(
        client_id=client.client_id,
        user_id=user_id,
        user="" if user_id is None else names.get(user_id, user_id),
        address=client.address or "",
        path=client.path,
        connected_at=client.connected_at,
        process=client.process,
    )


def _find(query: Query) -> _Found:
    if not query.text:
        page = _page(None, query.cursor, PAGE_ROWS)
        return _Found(page.items, page.next or "")
    if query.by is By.CLIENT:
        client = conf.store().run(FindClient(query.text))
        return _Found([client] if client is not None else [])
    if query.by is By.PLACE:
        return _in_place(query.text.casefold(), query.cursor)
    return _of_users(query.text, query.cursor)


def _of_users(text: str, cursor: str) -> _Found:
    """Connections of the users that match, one user after the other.

    The cursor is the user's place among them, and the store's own cursor.
    """
    user_ids = _users_like(text)
    note = (
        f"Many users match: only the first {MOST_USERS} of them are looked for. Search for more of "
        "the name."
        if len(user_ids) > MOST_USERS
        else ""
    )
    user_ids = user_ids[:MOST_USERS]
    place, _, within = cursor.partition(".")
    position = max(0, int(place or 0))
    found: list[ClientInfo] = []
    while position < len(user_ids) and len(found) < PAGE_ROWS:
        page = _page(user_ids[position], within, PAGE_ROWS - len(found))
        found += page.items
        within = page.next or ""
        position += 0 if within else 1
    return _Found(found, f"{position}.{within}" if position < len(user_ids) else "", note)


def _users_like(text: str) -> list[str]:
    """The primary keys of the users that match, the exact one first; one more than are used.

    The text itself is among them: a project's tokens may name users that its database lacks.
    """
    users = get_user_model()
    name = users.USERNAME_FIELD
    like = users._default_manager.filter(Q(**{f"{name}__icontains": text})).order_by(name)
    ids = [str(pk) for pk in like.values_list("pk", flat=True)[: MOST_USERS + 1]]
    return list(dict.fromkeys([text, *ids]))


def _in_place(text: str, cursor: str) -> _Found:
    """Connections whose address or path has the text, among the next ones that are read."""
    found: list[ClientInfo] = []
    for _ in range(MOST_SCANS):
        page = _page(None, cursor, SCAN_SIZE)
        matches = [n for n, client in enumerate(page.items) if _is_in_place(client, text)]
        room = PAGE_ROWS - len(found)
        if len(matches) > room:
            # Once more, to the last one that fits: the next page begins behind it.
            page = _page(None, cursor, matches[room - 1] + 1)
            matches = matches[:room]
        found += [page.items[n] for n in matches if n < len(page.items)]
        cursor = page.next or ""
        if not cursor or len(found) >= PAGE_ROWS:
            break
    note = (
        f"Addresses and paths are looked for among {MOST_SCANS * SCAN_SIZE} connections at a "
        "time: the next page looks on."
        if cursor
        else ""
    )
    return _Found(found, cursor, note)


def _is_in_place(client: ClientInfo, text: str) -> bool:
    return text in (client.address or "").casefold() or text in client.path.casefold()


def _page(user_id: str | None, cursor: str | None, limit: int) -> Page[ClientInfo]:
    return conf.store().run(OnlineClients(user_id, cursor or None, limit))


def names_of(user_ids: Iterable[str | None]) -> dict[str, str]:
    """What users are called, by their primary keys as text: one query, or none."""
    users = get_user_model()
    keys = {key for key in map(_key_of, set(user_ids)) if key is not None}
    if not keys:
        return {}
    name = users.USERNAME_FIELD
    found = users._default_manager.filter(pk__in=keys).values_list("pk", name)
    return {str(pk): str(username) for pk, username in found}


def _key_of(user_id: str | None) -> Any:
    """The primary key that a text stands for, or None: a project's tokens may say anything."""
    if user_id is None or "\0" in user_id:
        return None
    pk = get_user_model()._meta.pk
    try:
        return pk.clean(user_id, None)
    except ValidationError:
        return None
