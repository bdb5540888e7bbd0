"""The connection over which the admin's page of connections updates itself.

The page sends ``watch`` with what it shows, and ``rest`` when nobody sees it. It is sent

    look      every two seconds: the processes, who is on the page, and of them what is new
    reports   how those connections are doing: from them, see `wsadapter.reporting`
    trouble   why there is nothing to be seen
"""

from __future__ import annotations

import asyncio
import time
from functools import cache
from typing import Any

import msgspec
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError

from wsadapter.auth import Refusal
from wsadapter.broadcasting import inspect_clients
from wsadapter.calling import call
from wsadapter.close_codes import CloseCode
from wsadapter.consumers import AdapterConsumer
from wsadapter.errors import StoreUnavailable
from wsadapter.handlers import handler
from wsadapter.listing import VIEW, Node, Query, Row, find, nodes, scan_places

#: Between two looks at the connections.
LOOK_SECONDS = 2.0


class Look(msgspec.Struct, frozen=True, tag_field="type", tag="look"):
    """What the page shows now.

    Attributes:
        now: Unix time in seconds, by the clock of this process.
        clients: the ids of all that are on the page, in their order.
        rows: those of them that the page does not have yet, or not so.
        next: the cursor of the next page, or ``""``.
    """

    now: float
    nodes: tuple[Node, ...]
    clients: tuple[str, ...]
    rows: tuple[Row, ...]
    next: str
    note: str


class Trouble(msgspec.Struct, frozen=True, tag_field="type", tag="trouble"):
    message: str


class Feed:
    """What one page shows, as it changes.

    Args:
        user: who looks at it.
        query: what the page shows.
        report_to: the channel that the connections report to.
    """

    def __init__(self, user: Any, query: Query, report_to: str) -> None:
        self._user = user
        self._query = query
        self._report_to = report_to
        self._scan = cache(scan_places)  # which would cost too much each time
        self._told: dict[str, Row] = {}

    def look(self) -> Look | Trouble:
        """Look again, and ask those that are seen for their reports.

        Raises:
            PermissionDenied: the user may not see it any more.
        """
        try:
            if not may_view(self._user):
                raise PermissionDenied("you may not see this any more")
            return self._look()
        except (StoreUnavailable, DatabaseError) as error:
            return Trouble(str(error))

    def _look(self) -> Look:
        listing = find(self._query, self._scan)
        clients = tuple(row.client_id for row in listing.rows)
        inspect_clients(clients, self._report_to)
        told, self._told = self._told, {row.client_id: row for row in listing.rows}
        return Look(
            now=time.time(),
            nodes=nodes(),
            clients=clients,
            rows=tuple(row for row in listing.rows if told.get(row.client_id) != row),
            next=listing.next,
            note=listing.note,
        )


class Live(AdapterConsumer):
    """One page of the admin that shows connections: for staff who may see them."""

    allow_anonymous = False
    #: Whoever looks at the admin is not written to as a user of the site.
    pushes = False
    #: The admin's own pages, whatever other origins the site allows.
    origins = ()

    permitted = False
    watching: asyncio.Task[None] | None = None

    async def authenticate(self) -> Any:
        """The user of the Django session, whoever else the site's connections are of."""
        user = self.scope.get("user")
        self.permitted = await call(may_view, user)
        return user

    def _identity_refusal(self) -> Refusal | None:
        refusal = super()._identity_refusal()
        if refusal is None and not self.permitted:
            return Refusal(CloseCode.NOT_PERMITTED, f"this takes staff with {VIEW}")
        return refusal

    @handler("watch")
    async def watch(self, message: dict[str, Any]) -> None:
        """Show what a query asks for, from now on."""
        await self.rest()
        feed = Feed(self.user, Query.of(message), self.channel_name)
        self.watching = self.connection.create_task(self._send_looks(feed))

    async def _send_looks(self, feed: Feed) -> None:
        try:
            await self.connection.send_periodically(
                feed.look, interval=LOOK_SECONDS, deduplicate=False
            )
        except PermissionDenied as denied:
            await self.connection.close(CloseCode.NOT_PERMITTED, str(denied))

    @handler("rest")
    async def rest(self) -> None:
        """Nobody sees the page."""
        if self.watching is not None:
            self.watching.cancel()
            self.watching = None


def may_view(user: Any) -> bool:
    """Whether somebody may see the page, as the database has it now."""
    key = getattr(user, "pk", None)
    found = None if key is None else get_user_model()._default_manager.filter(pk=key).first()
    return bool(found and found.is_active and _is_staff_with(found, VIEW))


def _is_staff_with(user: Any, permission: str) -> bool:
    return bool(getattr(user, "is_staff", False) and user.has_perm(permission))
