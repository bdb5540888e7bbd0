"""Who is online and who is in which group, as browsers come and go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import override_settings

from tests.consumers.browser import Browser
from tests.waiting import aeventually
from wsadapter import (
    ClientInfo,
    Connection,
    StoreUnavailable,
    amember_count,
    amembers,
    asend_to_group,
    handler,
    transitions,
    websocket,
)
from wsadapter.consumers import AdapterConsumer
from wsadapter.endpoints import EndpointConsumer
from wsadapter.node import Node
from wsadapter.signals import (
    client_connected,
    client_disconnected,
    user_came_online,
    user_went_offline,
)

Connect = Callable[..., Browser]

#: Nobody is missed in the course of a test; or as good as at once.
LONG, SHORT = {"GRACE_SECONDS": 3600}, {"GRACE_SECONDS": 0.02}


@pytest.fixture(autouse=True)
def fresh_store(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is missed from the test before."""
    settings.WSADAPTER = LONG
    monkeypatch.setattr(transitions, "TOGETHER_SECONDS", 0.01)


class Room(AdapterConsumer):
    """Enters and leaves groups as it is told to; who is there is told who comes and goes."""

    announce_members = True

    @handler("enter")
    async def enter(self, message: dict[str, Any]) -> None:
        await self.join(message["room"], message.get("info"), announce=message.get("announce"))

    @handler("go")
    async def go(self, message: dict[str, Any]) -> None:
        await self.leave(message["room"])


class Quiet(Room):
    announce_members = False


async def enter(browser: Browser, room: str, **message: Any) -> None:
    reply = await browser.request(type="enter", id=1, room=room, **message)
    assert reply["type"] == "ws:reply", reply


async def go(browser: Browser, room: str) -> None:
    reply = await browser.request(type="go", id=1, room=room)
    assert reply["type"] == "ws:reply", reply


async def people(group: str) -> list[tuple[str | None, Any]]:
    """Users and what is said of them."""
    return [(member.user_id, member.info) async for member in amembers(group)]


async def hears_nothing(*browsers: Browser) -> None:
    """Nothing has been sent to the room "red" before this."""
    await asend_to_group("red", "the end")
    assert [await browser.receive() for browser in browsers] == ["the end"] * len(browsers)


# Members


async def test_a_group_has_its_members_from_joining_to_leaving(browser: Connect) -> None:
    ada, grace, guest = (browser(Room, user=user) for user in (1, 2, None))
    for each in (ada, grace, guest):
        await each.open()
        await enter(each, "red", announce=False)
    await enter(ada, "blue", info={"name": "Ada"})
    assert sorted(map(str, [user for user, _ in await people("red")])) == ["1", "2", "None"]
    assert await people("blue") == [("1", {"name": "Ada"})]
    await go(ada, "red")
    await grace.leave()
    assert await people("red") == [(None, None)]
    await ada.leave()
    assert await people("blue") == [] and await amember_count("red") == 1


async def test_joining_again_changes_the_info(browser: Connect) -> None:
    ada = browser(Room, user=1)
    await ada.open()
    for mood in ("calm", "cross"):
        await enter(ada, "red", info=mood)
    assert await people("red") == [("1", "cross")]
    await hears_nothing(ada)


@pytest.mark.parametrize("when", ["before accept", "after accept"])
async def test_connect_may_join_before_and_after_it_accepts(browser: Connect, when: str) -> None:
    class Early(AdapterConsumer):
        async def connect(self) -> None:
            if when == "after accept":
                await self.accept()
            await self.join("red", "early")
            if when == "before accept":
                assert await amember_count("red") == 0
                await self.accept()
            await self.send(text_data="connected")

    ada = browser(Early, user=1)
    await ada.open()
    assert await ada.receive() == "connected"
    assert await people("red") == [("1", "early")]


async def test_the_groups_of_a_class_have_members_before_the_welcome(browser: Connect) -> None:
    class Reader(Room):
        groups = ["red", "news"]

        async def connect(self) -> None:
            await self.join("red", "the news are enough")
            await self.accept()

    ada = browser(Reader, user=1)
    await ada.open()
    assert await people("news") == [("1", None)]
    assert await people("red") == [("1", "the news are enough")]


async def test_an_endpoint_has_members_too(browser: Connect) -> None:
    @websocket(announce_members=True, groups=["news"])
    async def talk(connection: Connection) -> None:
        await connection.join("red", connection.user_id)
        async for _ in connection:
            await connection.leave("red")
            await connection.send("left")

    grace = browser(Room, user=2)
    await grace.open()
    await enter(grace, "red")
    ada = browser(talk.as_asgi(), user=1)
    await ada.open()
    told = await grace.receive()
    assert (told["type"], told["user"], told["info"]) == ("ws:joined", "1", "1")
    assert ("1", None) in await people("news")
    assert await ada.request_raw("go") == "left"
    assert await people("red") == [("2", None)]
    assert EndpointConsumer.announce_members is False


async def test_a_connection_that_cannot_be_recorded_is_told_to_come_back(
    browser: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unavailable(*args: Any) -> None:
        raise StoreUnavailable("Redis at 127.0.0.1:1 cannot be reached.")

    class Reader(Room):
        groups = ["news"]

    monkeypatch.setattr(Node, "join_groups", unavailable)
    assert (await browser(Reader).refused()).code == 3004


# Joined and left


async def test_those_who_are_there_are_told_who_joins(browser: Connect) -> None:
    ada, grace = browser(Room, user=1), browser(Room, user=2)
    await ada.open()
    client_id = await grace.open()
    await enter(ada, "red")
    await enter(grace, "red", info={"name": "Grace"})
    assert await ada.receive() == {
        "type": "ws:joined",
        "group": "red",
        "user": "2",
        "client": client_id,
        "info": {"name": "Grace"},
    }
    await hears_nothing(ada, grace)


async def test_a_user_joins_once_however_many_tabs_they_have(browser: Connect) -> None:
    ada, *tabs = (browser(Room, user=user) for user in (1, 2, 2, 2))
    await ada.open()
    await enter(ada, "red")
    for tab in tabs:
        await tab.open()
        await enter(tab, "red")
    assert (await ada.receive())["user"] == "2"
    await hears_nothing(ada)


async def test_visitors_without_a_user_join_one_by_one(browser: Connect) -> None:
    ada, *guests = (browser(Room, user=user) for user in (1, None, None))
    await ada.open()
    await enter(ada, "red")
    client_ids = []
    for guest in guests:
        client_ids.append(await guest.open())
        await enter(guest, "red")
    told = [await ada.receive() for _ in guests]
    assert [(each["user"], each["client"]) for each in told] == [
        (None, client_id) for client_id in client_ids
    ]


@override_settings(WSADAPTER=SHORT)
async def test_those_who_are_there_are_told_who_has_left(browser: Connect) -> None:
    ada, grace, guest = (browser(Room, user=user) for user in (1, 2, None))
    await ada.open()
    await enter(ada, "red", announce=False)
    for each in (grace, guest):
        await each.open()
        await enter(each, "red")
        assert (await ada.receive())["type"] == "ws:joined"
    assert (await grace.receive())["type"] == "ws:joined", "the guest"
    await go(grace, "red")
    assert await ada.receive() == {"type": "ws:left", "group": "red", "user": "2", "client": None}
    await guest.leave()
    left = await ada.receive()
    assert (left["type"], left["user"]) == ("ws:left", None)
    assert left["client"] is not None


@override_settings(WSADAPTER=SHORT)
async def test_who_still_has_a_tab_there_has_not_left(browser: Connect) -> None:
    ada, tab, other_tab, grace = (browser(Room, user=user) for user in (1, 2, 2, 3))
    await ada.open()
    await enter(ada, "red")
    for each in (tab, other_tab, grace):
        await each.open()
        await enter(each, "red")
    assert [(await ada.receive())["user"] for _ in range(2)] == ["2", "3"]
    await tab.leave()
    await grace.leave()  # after her: what was due before is told before
    assert (await ada.receive())["user"] == "3"
    await other_tab.leave()
    assert (await ada.receive())["user"] == "2"


async def test_who_is_back_within_the_grace_has_neither_left_nor_joined(browser: Connect) -> None:
    ada, grace = browser(Room, user=1), browser(Room, user=2)
    for each in (ada, grace):
        await each.open()
        await enter(each, "red")
    assert (await ada.receive())["type"] == "ws:joined"
    await go(grace, "red")
    assert await amember_count("red") == 1, "the grace is for messages alone"
    await enter(grace, "red")
    await grace.leave()
    again = browser(Room, user=2)
    await again.open()
    await enter(again, "red")
    await hears_nothing(ada, again)


@override_settings(WSADAPTER=SHORT)
async def test_nobody_is_told_who_did_not_ask(browser: Connect) -> None:
    ada, grace = browser(Quiet, user=1), browser(Quiet, user=2)
    for each in (ada, grace):
        await each.open()
        await enter(each, "red")
    await go(grace, "red")
    await enter(grace, "red", announce=True)
    assert (await ada.receive())["type"] == "ws:joined", "and of the times before, nothing"


async def test_who_takes_no_pushes_is_told_all_the_same(browser: Connect) -> None:
    class Log(Room):
        pushes = False

    ada, grace = browser(Log, user=1), browser(Room, user=2)
    for each in (ada, grace):
        await each.open()
        await enter(each, "red")
    assert (await ada.receive())["type"] == "ws:joined"


# Signals


@pytest.fixture
def signalled() -> Iterator[list[tuple[Any, ...]]]:
    """What the signals about clients and users said."""
    seen: list[tuple[Any, ...]] = []

    def connected(client: ClientInfo, **kwargs: Any) -> None:
        seen.append(("connected", client.user_id))

    def disconnected(client: ClientInfo, **kwargs: Any) -> None:
        told = {name: kwargs[name] for name in ("code", "reason", "duration")}
        assert 0 <= told.pop("duration") < 60
        seen.append(("disconnected", client.user_id, told))

    async def came(user_id: str, **kwargs: Any) -> None:
        seen.append(("came", user_id))

    async def went(user_id: str, **kwargs: Any) -> None:
        seen.append(("went", user_id))

    receivers: list[tuple[Any, Any]] = [
        (client_connected, connected),
        (client_disconnected, disconnected),
        (user_came_online, came),
        (user_went_offline, went),
    ]
    for signal, receiver in receivers:
        signal.connect(receiver)
    yield seen
    for signal, receiver in receivers:
        signal.disconnect(receiver)


@override_settings(WSADAPTER=SHORT)
async def test_users_come_and_go_and_so_do_their_connections(
    browser: Connect, signalled: list[tuple[Any, ...]]
) -> None:
    tab, other_tab, guest = (browser(Room, user=user) for user in (7, 7, None))
    for each in (tab, other_tab, guest):
        await each.open()
    await aeventually(lambda: ("came", "7") in signalled)
    await tab.leave(1001)
    await other_tab.leave(4001)
    await aeventually(lambda: ("went", "7") in signalled)
    assert [each for each in signalled if each[0] in ("came", "went")] == [
        ("came", "7"),
        ("went", "7"),
    ]
    assert [each for each in signalled if each[0] not in ("came", "went")] == [
        ("connected", "7"),
        ("connected", "7"),
        ("connected", None),
        ("disconnected", "7", {"code": 1001, "reason": ""}),
        ("disconnected", "7", {"code": 4001, "reason": ""}),
    ]


async def test_the_end_is_signalled_with_the_reason_that_was_given(
    browser: Connect, signalled: list[tuple[Any, ...]]
) -> None:
    class Closing(Room):
        @handler("close")
        async def end(self) -> None:
            await self.close(4000, "enough for today")

    client = browser(Closing, user=7)
    await client.open()
    await client.frame('{"type": "close"}')
    await client.closed()
    told = {"code": 4000, "reason": "enough for today"}
    assert ("disconnected", "7", told) in signalled
