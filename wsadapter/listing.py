"""One page of the connections that are open, for the admin: found, and with their users' names.

Every page costs a bounded number of questions, however many connections there are:

    no search       1 to the store, and 1 to the database
    client id       1 and 1
    user            1 to the store for each of at most `MOST_USERS` users, and 2
    address, path   at most `MOST_SCANS` + 1 to the store for `SCAN_SIZE` connections each, and 1
    any of these    what they take one after the other, up to the first that finds somebody
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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

    ANY = "any"
    USER = "user"
    CLIENT = "client"
    PLACE = "place"

    @property
    def label(self) -> str:
        return _LABELS[self]


_LABELS = {
    By.ANY: "Client id, user, address or path",
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
    by: By = By.ANY
    cursor: str = ""

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Query:
        """From the parameters of a URL; what makes no sense counts as not given."""
        by = fields.get("by")
        return cls(
            text=str(fields.get("q") or "").replace("\0", "").strip()[:MOST_TEXT],
            by=By(by) if by in list(By) else By.ANY,
            cursor=str(fields.get("cursor") or ""),
        )

    @property
    def fields(self) -> dict[str, str]:
        """The parameters of its URL."""
        search = {"by": self.by.value, "q": self.text} if self.text else {}
        return {**search, "cursor": self.cursor} if self.cursor else search


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
        note: what a search has looked for, and how far, where that does not go without saying.
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


class Found(NamedTuple):
    """What a search has found, as `Listing` has it."""

    clients: Sequence[ClientInfo]
    next: str = ""
    note: str = ""


#: It is given a text and a cursor.
Search = Callable[[str, str], Found]


def find(query: Query, scan: Search | None = None) -> Listing:
    """The page that a query asks for.

    Args:
        scan: in place of `scan_places`, for those who look again and again and remember it.

    Raises:
        StoreUnavailable: Redis did not answer in time.
    """
    searches = _searches(scan or scan_places)
    try:
        found = _find(query, searches)
    except ValueError:  # the cursor is none of ours
        found = _find(replace(query, cursor=""), searches)
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


def _searches(scan: Search) -> dict[By, Search]:
    """The narrow ones first."""
    return {By.CLIENT: _with_id, By.USER: _of_users, By.PLACE: scan}


#: What a page says whose text may be anything, by the search that it shows.
_TAKEN_FOR = {
    By.CLIENT: "This is a client id.",
    By.USER: "No client has this id: these are connections of users, by name or primary key.",
    By.PLACE: "No client has this id, and no user who is online has this name or primary key: "
    "looked for in addresses and paths.",
}


def _find(query: Query, searches: Mapping[By, Search]) -> Found:
    if not query.text:
        page = _page(None, query.cursor, PAGE_ROWS)
        return Found(page.items, page.next or "")
    if query.by is By.ANY:
        return _anything(query, searches)
    return searches[query.by](query.text, query.cursor)


def _anything(query: Query, searches: Mapping[By, Search]) -> Found:
    """What the first search finds that finds somebody; its next page is of the same one.

    The cursor is what the text was taken for, and the cursor of that search.
    """
    taken_for, _, cursor = query.cursor.partition(":")
    tried = [by for by in searches if by == taken_for] or list(searches)
    notes = []
    for by in tried:
        found = searches[by](query.text, cursor)
        notes.append(found.note)
        if found.clients:
            break
    note = " ".join(filter(None, [_TAKEN_FOR[by], *notes]))
    return Found(found.clients, f"{by}:{found.next}" if found.next else "", note)


def _with_id(text: str, cursor: str) -> Found:
    client = conf.store().run(FindClient(text))
    return Found([client] if client is not None else [])


def _of_users(text: str, cursor: str) -> Found:
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
    return Found(found, f"{position}.{within}" if position < len(user_ids) else "", note)


def _users_like(text: str) -> list[str]:
    """The primary keys of the users that match, the exact one first; one more than are used.

    The text itself is among them: a project's tokens may name users that its database lacks.
    """
    users = get_user_model()
    name = users.USERNAME_FIELD
    like = users._default_manager.filter(Q(**{f"{name}__icontains": text})).order_by(name)
    ids = [str(pk) for pk in like.values_list("pk", flat=True)[: MOST_USERS + 1]]
    return list(dict.fromkeys([text, *ids]))


def scan_places(text: str, cursor: str) -> Found:
    """Connections whose address or path has the text, among the next ones that are read."""
    text = text.casefold()
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
    note = "Reload looks again: who connects meanwhile is not added by itself."
    if cursor:
        note = (
            f"Addresses and paths are looked for among {MOST_SCANS * SCAN_SIZE} connections at a "
            f"time: the next page looks on. {note}"
        )
    return Found(found, cursor, note)


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
