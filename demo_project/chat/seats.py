"""Who is in which room.

A seat is given back when its connection ends. That of a killed process is not, so that only those
count whose clients wsadapter knows to be online.
"""

from __future__ import annotations

from collections import Counter

from django.contrib.auth.models import AbstractBaseUser

from demo_project.chat.models import Room, Seat
from demo_project.chat.wire import People, Person
from wsadapter import Fatal, StoreUnavailable, aonline_clients


async def take(client_id: str, room: str, user: AbstractBaseUser) -> None:
    """Sits down in a room; a connection has one seat.

    Raises:
        Fatal: there is no such room.
    """
    place = await Room.objects.filter(slug=room).afirst()
    if place is None:
        raise Fatal(f"There is no room {room!r}.")
    await Seat.objects.aupdate_or_create(
        client_id=client_id, defaults={"room": place, "user": user}
    )


async def leave(client_id: str) -> None:
    await Seat.objects.filter(client_id=client_id).adelete()


async def people_in(room: str) -> People:
    """Who is here, as far as can be told: while Redis is away, everyone who has a seat."""
    # The seats first: whoever sits down meanwhile has been counted before.
    seats = Seat.objects.filter(room__slug=room).values_list("client_id", "user__username")
    names = {client_id: name async for client_id, name in seats}
    try:
        online = {client.client_id async for client in aonline_clients()}
    except StoreUnavailable:
        online = set(names)
    tabs = Counter(name for client_id, name in names.items() if client_id in online)
    return People(room, [Person(name, count) for name, count in sorted(tabs.items())])
