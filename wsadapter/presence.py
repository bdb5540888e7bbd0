"""The helpers that ask who is online, each with its asynchronous twin.

Answers are of all processes and machines, and right again within one lease after a process
was killed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from wsadapter import conf
from wsadapter.event_loops import forbid_event_loop
from wsadapter.groups import user_id
from wsadapter.store.operations import (
    ClientInfo,
    IsOnline,
    LiveNodes,
    Member,
    MemberCount,
    Members,
    NodeInfo,
    OnlineClients,
    OnlineCount,
    OnlineUserCount,
    OnlineUsers,
)


def online_count() -> int:
    """The number of connections.

    Raises:
        StoreUnavailable: Redis did not answer in time.
        AsyncContextError: an event loop runs in this thread; await `aonline_count`.
    """
    forbid_event_loop("online_count")
    return conf.store().run(OnlineCount())


async def aonline_count() -> int:
    """The twin of `online_count`."""
    return await conf.store().arun(OnlineCount())


def online_user_count() -> int:
    """The number of distinct users; anonymous connections are not among them.

    The errors are those of `online_count`.
    """
    forbid_event_loop("online_user_count")
    return conf.store().run(OnlineUserCount())


async def aonline_user_count() -> int:
    """The twin of `online_user_count`."""
    return await conf.store().arun(OnlineUserCount())


def online_nodes() -> tuple[NodeInfo, ...]:
    """The server processes that have connections, each with their number.

    The errors are those of `online_count`.
    """
    forbid_event_loop("online_nodes")
    return conf.store().run(LiveNodes())


async def aonline_nodes() -> tuple[NodeInfo, ...]:
    """The twin of `online_nodes`."""
    return await conf.store().arun(LiveNodes())


def is_online(user: Any) -> bool:
    """Whether a user has a connection anywhere.

    Args:
        user: a user instance or a primary key.

    The errors are those of `online_count`.
    """
    forbid_event_loop("is_online")
    return conf.store().run(IsOnline(user_id(user)))


async def ais_online(user: Any) -> bool:
    """The twin of `is_online`."""
    return await conf.store().arun(IsOnline(user_id(user)))


def online_users() -> Iterator[str]:
    """The primary keys, as text, of all users who are online; read in pages of 500.

    The errors are those of `online_count`.
    """
    forbid_event_loop("online_users")
    return _online_users()


def _online_users() -> Iterator[str]:
    after: str | None = None
    while True:
        page = conf.store().run(OnlineUsers(after))
        yield from page.items
        if (after := page.next) is None:
            return


async def aonline_users() -> AsyncIterator[str]:
    """The twin of `online_users`: ``async for user_id in aonline_users()``."""
    after: str | None = None
    while True:
        page = await conf.store().arun(OnlineUsers(after))
        for item in page.items:
            yield item
        if (after := page.next) is None:
            return


def online_clients(user: Any = None) -> Iterator[ClientInfo]:
    """All connections, or those of one user; read in pages of 500.

    Args:
        user: a user instance or a primary key; None for everybody.

    The errors are those of `online_count`.
    """
    forbid_event_loop("online_clients")
    return _online_clients(None if user is None else user_id(user))


def _online_clients(user_id: str | None) -> Iterator[ClientInfo]:
    cursor: str | None = None
    while True:
        page = conf.store().run(OnlineClients(user_id, cursor))
        yield from page.items
        if (cursor := page.next) is None:
            return


async def aonline_clients(user: Any = None) -> AsyncIterator[ClientInfo]:
    """The twin of `online_clients`: ``async for client in aonline_clients()``."""
    wanted = None if user is None else user_id(user)
    cursor: str | None = None
    while True:
        page = await conf.store().arun(OnlineClients(wanted, cursor))
        for item in page.items:
            yield item
        if (cursor := page.next) is None:
            return


def member_count(group: str) -> int:
    """The number of connections in a group.

    Args:
        group: any text, as given to ``join``.

    The errors are those of `online_count`.
    """
    forbid_event_loop("member_count")
    return conf.store().run(MemberCount(group))


async def amember_count(group: str) -> int:
    """The twin of `member_count`."""
    return await conf.store().arun(MemberCount(group))


def members(group: str) -> Iterator[Member]:
    """The connections in a group, those of one user one after the other; in pages of 500.

    Args:
        group: any text, as given to ``join``.

    The errors are those of `online_count`.
    """
    forbid_event_loop("members")
    return _members(group)


def _members(group: str) -> Iterator[Member]:
    cursor: str | None = None
    while True:
        page = conf.store().run(Members(group, cursor))
        yield from page.items
        if (cursor := page.next) is None:
            return


async def amembers(group: str) -> AsyncIterator[Member]:
    """The twin of `members`: ``async for member in amembers(group)``."""
    cursor: str | None = None
    while True:
        page = await conf.store().arun(Members(group, cursor))
        for item in page.items:
            yield item
        if (cursor := page.next) is None:
            return
