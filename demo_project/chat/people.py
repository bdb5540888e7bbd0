"""Who is in which room: the members of its group, by the name that each gave when it joined."""

from __future__ import annotations

from collections import Counter

from demo_project.chat.history import group_of
from demo_project.chat.wire import People, Person
from wsadapter import amembers


async def people_in(room: str) -> People:
    """Who is here, and in how many tabs.

    Raises:
        StoreUnavailable: Redis did not answer in time.
    """
    tabs = Counter([member.info["name"] async for member in amembers(group_of(room))])
    return People(room, [Person(name, count) for name, count in sorted(tabs.items())])
