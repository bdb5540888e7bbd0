"""Joining and leaving."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

import pytest
from channels.layers import get_channel_layer

from tests.consumers.browser import Browser, Closed
from tests.consumers.conftest import Log
from tests.waiting import aeventually
from wsadapter import (
    EVERYONE,
    abroadcast,
    adisconnect_client,
    adisconnect_user,
    aonline_count,
    asend_to_client,
    asend_to_group,
    asend_to_user,
    asend_to_users,
    user_group,
)
from wsadapter.consumers import AdapterConsumer
from wsadapter.groups import SILENT, silent_group
from wsadapter.handlers import handler
from wsadapter.layers import InMemoryChannelLayer

Connect = Callable[..., Browser]

ANY_TEXT = {
    "plain": "news",
    "e-mail": "anna.o'neill+shop@example.com",
    "UUID": str(uuid.UUID(int=7)),
    "300 characters": "a" * 300,
    "Cyrillic": "команда: юг",
    "emoji": "🌷👩‍👩‍👧",
    "empty": "",
    "spaces and control characters": " \t\n\x00",
    "a lone surrogate": "\ud800",
    "a layer's own separator": "specific.abc!def",
    "an own name": "wsadapter.everyone",
}


class Rooms(AdapterConsumer):
    @handler("enter")
    async def enter(self, message: dict[str, str]) -> None:
        await self.join(message["room"])

    @handler("go")
    async def go(self, message: dict[str, str]) -> None:
        await self.leave(message["room"])


def rooms_of(group: str) -> type[Rooms]:
    class Room(Rooms):
        async def connect(self) -> None:
            await self.accept()
            await self.join(group)

        @handler("leave")
        async def leave_it(self) -> None:
            await self.leave(group)

    return Room


@pytest.mark.parametrize("group", ANY_TEXT.values(), ids=ANY_TEXT)
async def test_any_text_is_a_group(browser: Connect, group: str) -> None:
    member, other = browser(rooms_of(group)), browser(Rooms)
    await member.open()
    await other.open()
    await asyncio.sleep(0)  # connect() goes on after the welcome
    await member.request(type="unknown", id=1)
    await asend_to_group(group, "for members")
    assert await member.receive() == "for members"
    await member.request(type="leave", id=2)
    await asend_to_group(group, "for nobody")
    await abroadcast("for all")
    assert await member.receive() == await other.receive() == "for all"


async def test_groups_that_look_alike_are_different(browser: Connect) -> None:
    names = ["a b", "a_b", "a-b", "A b", "a b ", "a\u00a0b", "a" * 101, "a" * 102, "é", "e\u0301"]
    members = [browser(rooms_of(name)) for name in names]
    for member in members:
        await member.open()
        await member.request(type="unknown", id=1)
    for name in names:
        await asend_to_group(name, f"for {name!r}")
    assert [await member.receive() for member in members] == [f"for {name!r}" for name in names]
    assert all(member.output_queue.empty() for member in members)


@pytest.mark.parametrize("own", [EVERYONE, user_group(7)])
async def test_a_room_named_like_an_own_group_is_not_that_group(browser: Connect, own: str) -> None:
    spy = browser(Rooms)
    await spy.open()
    await spy.request(type="enter", id=1, room=str.__str__(own))
    await asend_to_group(own, "for the group itself")
    await asend_to_group(str.__str__(own), "for the room")
    received = [await spy.receive()]
    if own == EVERYONE:
        received.append(await spy.receive())
    assert received[-1] == "for the room" and spy.output_queue.empty()


async def test_joining_twice_is_joining_once(browser: Connect) -> None:
    client = browser(Rooms)
    await client.open()
    for number in (1, 2):
        await client.request(type="enter", id=number, room="red")
    await asend_to_group("red", "once")
    await abroadcast("end")
    assert [await client.receive(), await client.receive()] == ["once", "end"]


async def test_leaving_what_was_not_joined_does_nothing(browser: Connect, log: Log) -> None:
    client = browser(Rooms)
    await client.open()
    assert (await client.request(type="go", id=1, room="red"))["type"] == "ws:reply"
    assert not log.tracebacks


async def test_a_handler_that_joins_after_the_end_joins_nothing(browser: Connect, log: Log) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    class Late(Rooms):
        @handler("late")
        async def late(self) -> None:
            reached.set()
            await go_on.wait()
            await self.join("red")
            await self.leave("red")
            await self.channel_layer.group_add("red", self.channel_name)
            await self.send("too late")

    client = browser(Late)
    await client.open()
    await client.send_json_to({"type": "late"})
    await reached.wait()
    await client.send_input({"type": "websocket.disconnect", "code": 1000})
    await aeventually(client.input_queue.empty)
    go_on.set()
    await client.wait(10)
    assert client.output_queue.empty()
    assert not log.tracebacks


# Without pushes


class Quiet(Rooms):
    """What is meant for many is not for its clients, unless they join a group."""

    pushes = False


async def test_without_pushes_it_is_in_no_group_that_is_pushed_to(browser: Connect) -> None:
    await browser(Quiet, user=7).open()
    layer = get_channel_layer()
    assert isinstance(layer, InMemoryChannelLayer)
    assert set(layer.fanout().groups) == {SILENT, silent_group(7)}


async def test_without_pushes_nothing_for_many_arrives(browser: Connect) -> None:
    quiet, other = browser(Quiet, user=7), browser(Rooms, user=7)
    client_id = await quiet.open()
    await other.open()
    assert await aonline_count() == 2
    await abroadcast("for all")
    await abroadcast("for users", authenticated_only=True)
    await asend_to_user(7, "for the user")
    await asend_to_users([7], "for users")
    await asend_to_group(EVERYONE, "for everyone")
    await asend_to_client(client_id, "for the client")
    assert await quiet.receive() == "for the client"
    pushed = [await other.receive() for _ in range(5)]
    assert pushed == ["for all", "for users", "for the user", "for users", "for everyone"]


async def test_without_pushes_groups_that_were_joined_reach_it(browser: Connect) -> None:
    class Named(Quiet):
        groups = ["blue"]

    client = browser(Named)
    await client.open()
    await client.request(type="enter", id=1, room="red")
    for room in ("red", "blue", "green"):
        await asend_to_group(room, f"for the {room}")
    assert [await client.receive(), await client.receive()] == ["for the red", "for the blue"]


async def test_without_pushes_a_user_can_be_disconnected(browser: Connect) -> None:
    quiet, other, another_user = (
        browser(Quiet, user=7),
        browser(Rooms, user=7),
        browser(Quiet, user=8),
    )
    for client in (quiet, other, another_user):
        await client.open()
    assert await adisconnect_user(7) == 2
    gone = Closed(3503, "disconnected by the server")
    assert await quiet.closed() == await other.closed() == gone
    assert await aonline_count() == 1


async def test_without_pushes_a_client_can_be_disconnected(browser: Connect) -> None:
    clients = browser(Quiet), browser(Quiet)
    ids = [await client.open() for client in clients]
    assert await adisconnect_client(ids[0], 4501, "out you go") == 1
    assert await clients[0].closed() == Closed(4501, "out you go")
    assert await aonline_count() == 1


@pytest.mark.parametrize("group", [SILENT, silent_group(7)])
async def test_no_room_is_the_group_of_those_without_pushes(browser: Connect, group: str) -> None:
    client = browser(Quiet, user=7)
    await client.open()
    await asend_to_group(str.__str__(group), "for a room of that name")
    await asend_to_group(group, "for the group itself")
    assert await client.receive() == "for the group itself"
