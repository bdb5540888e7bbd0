"""A site with its processes, those who visit it, and whether what is said of them is true.

A test says what happens, and who is to be told to have come or gone; `World` compares.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import wsadapter
from tests.redis_server import RedisServer
from tests.system.visitors import Visitor
from tests.waiting import aeventually, called
from wsadapter.errors import StoreUnavailable

#: The second one has what a key or a URL may stumble over.
ROOMS = ("hall", "room: ü/{1}")

#: What nobody promises a time for has come by then.
PATIENCE_SECONDS = 20.0
PUSH_SECONDS = 0.025

#: For each user what was told of them, in order: "came" or "went".
Told = dict[str, list[str]]

TOLD_IN_ROOMS = {"ws:joined": "came", "ws:left": "went"}


class World:
    """One site. All connections of a user are in the same room, or in none.

    Args:
        redis: what its processes share; this process asks it as well.
        notes: the directory that the receivers of all processes write to.

    Attributes:
        visitors: those who are to be seen.
        expected: what is to be told of each user.
    """

    def __init__(self, redis: RedisServer, notes: Path) -> None:
        self.visitors: list[Visitor] = []
        self.expected: Told = {}
        self._rooms: dict[str | None, str] = {}
        self._redis = redis
        self._notes = notes

    # What happens

    async def enter(
        self, url: str, user: str | None = None, room: str = "", seat: int = 0
    ) -> Visitor:
        visitor = await Visitor.enter(url, user, room, seat)
        self.appear([visitor])
        return visitor

    async def come_back(self, lost: Visitor, url: str) -> Visitor:
        """Connect elsewhere as soon as the connection has broken, as a browser does."""
        await lost.ended()
        back = await Visitor.enter(url, lost.user, lost.room, lost.seat)
        self.visitors[self.visitors.index(lost)] = back
        return back

    async def leave(self, visitors: Iterable[Visitor]) -> None:
        leaving = list(visitors)
        self.vanish(leaving)
        await asyncio.gather(*(visitor.leave() for visitor in leaving))

    def appear(self, visitors: Iterable[Visitor]) -> None:
        """They are to be seen from now on; of users who were not here it is to be told."""
        for visitor in visitors:
            self._rooms[visitor.user] = visitor.room
            if not self.of_users(visitor.user):
                self._expect("came", visitor.user)
            self.visitors.append(visitor)

    def vanish(self, visitors: Iterable[Visitor]) -> None:
        """They are to be seen no more; of users who are not here any more it is to be told."""
        for visitor in visitors:
            self.visitors.remove(visitor)
            if not self.of_users(visitor.user):
                self._expect("went", visitor.user)

    def of_users(self, *users: str | None) -> list[Visitor]:
        return [visitor for visitor in self.visitors if visitor.user in users]

    def at(self, url: str) -> list[Visitor]:
        return [visitor for visitor in self.visitors if visitor.url == url]

    def _expect(self, what: str, user: str | None) -> None:
        if user is not None:
            self.expected.setdefault(user, []).append(what)

    @asynccontextmanager
    async def pushed_to(self) -> AsyncIterator[None]:
        """Push to everybody all the time. Those who are here at the end have missed nothing."""
        enough = asyncio.Event()
        pushing = asyncio.create_task(push_until(enough))
        try:
            yield
        finally:
            enough.set()  # redis-py may swallow that a task is cancelled
            await pushing
        await wsadapter.abroadcast({"type": "end"})
        await aeventually(lambda: all(visitor.heard_of("end") for visitor in self.visitors))
        for visitor in self.visitors:
            numbers = [message["number"] for message in visitor.heard_of("push")]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))

    # What is said of it

    async def until_true(self, within_seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until what every helper says is so; nobody has lost their socket meanwhile."""
        await until_none(self._mistakes, within_seconds)
        assert all(visitor.is_connected for visitor in self.visitors)

    async def until_told(self) -> None:
        """Wait until what is expected has been told, and nothing else."""
        await until_none(lambda: differences(self.told(), self.expected))

    async def until_told_to(self, watcher: Visitor) -> None:
        """As `until_told`, of the users in a room, to somebody who is there all the time."""
        there = {user for user, room in self._rooms.items() if room == watcher.room}
        expected = {user: told for user, told in self.expected.items() if user in there}
        await until_none(lambda: differences(told_to(watcher), expected))

    def told(self) -> Told:
        """What the receivers of all processes were told, in the order of time."""
        lines = [line for path in self._notes.iterdir() for line in path.read_text().splitlines()]
        return by_user((user, what) for _, user, what in sorted(map(json.loads, lines)))

    def keys(self) -> dict[str, int]:
        """What is left in Redis, with its time to live in seconds, -1 for ever."""
        with self._redis.client() as client:
            return {key.decode(): client.ttl(key) for key in client.scan_iter()}

    async def _mistakes(self) -> Mapping[str, Any]:
        try:
            return differences(await self._answers(), self._truth())
        except StoreUnavailable as error:
            return {"the store": error}

    async def _answers(self) -> dict[str, Any]:
        clients = [client async for client in wsadapter.aonline_clients()]
        members = {room: [each async for each in wsadapter.amembers(room)] for room in ROOMS}
        return {
            "online_count": await wsadapter.aonline_count(),
            "online_user_count": await wsadapter.aonline_user_count(),
            "online_users": [user async for user in wsadapter.aonline_users()],
            "online_clients": sorted((each.client_id, each.user_id) for each in clients),
            "is_online": {user: await wsadapter.ais_online(user) for user in self.expected},
            "member_count": {room: await wsadapter.amember_count(room) for room in ROOMS},
            "members": {
                room: sorted((each.client_id, each.user_id, each.info) for each in members[room])
                for room in ROOMS
            },
        }

    def _truth(self) -> dict[str, Any]:
        here = sorted(self.visitors, key=lambda visitor: visitor.id)
        users = sorted({visitor.user for visitor in here if visitor.user is not None})
        return {
            "online_count": len(here),
            "online_user_count": len(users),
            "online_users": users,
            "online_clients": [(each.id, each.user) for each in here],
            "is_online": {user: user in users for user in self.expected},
            "member_count": {room: sum(each.room == room for each in here) for room in ROOMS},
            "members": {
                room: [
                    (each.id, each.user, {"seat": each.seat}) for each in here if each.room == room
                ]
                for room in ROOMS
            },
        }


async def push_until(enough: asyncio.Event) -> None:
    number = 0
    while not enough.is_set():
        await wsadapter.abroadcast({"type": "push", "number": number})
        number += 1
        await asyncio.sleep(PUSH_SECONDS)


def told_to(watcher: Visitor) -> Told:
    """What a member of a room heard of its users."""
    changes = (message for message in watcher.heard if message["type"] in TOLD_IN_ROOMS)
    return by_user(
        (message["user"], TOLD_IN_ROOMS[message["type"]])
        for message in changes
        if message["user"] is not None
    )


def by_user(events: Iterable[tuple[str, str]]) -> Told:
    told: Told = {}
    for user, what in events:
        told.setdefault(user, []).append(what)
    return told


def differences(said: Mapping[str, Any], so: Mapping[str, Any]) -> dict[str, Any]:
    """Where two differ: what is said, and what is so."""
    return {
        key: {"said": said.get(key), "so": so.get(key)}
        for key in said.keys() | so.keys()
        if said.get(key) != so.get(key)
    }


async def until_none(
    find: Callable[[], Mapping[str, Any] | Awaitable[Mapping[str, Any]]],
    within_seconds: float = PATIENCE_SECONDS,
) -> None:
    """Wait until no mistake is found; raise with the last ones."""
    found: Mapping[str, Any] = {}

    async def none_found() -> bool:
        nonlocal found
        found = await called(find)
        return not found

    with suppress(AssertionError):
        await aeventually(none_found, within_seconds=within_seconds)
    assert not found, f"for {within_seconds:g} s: {found}"
