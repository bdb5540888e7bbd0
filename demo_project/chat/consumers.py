"""One browser in the chat."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial

from channels.db import database_sync_to_async as in_database
from django.contrib.auth import get_user_model

from demo_project.accounts import MODERATOR
from demo_project.chat import history
from demo_project.chat.flood import SPAM, flood
from demo_project.chat.history import LOBBY, group_of
from demo_project.chat.people import people_in
from demo_project.chat.wire import (
    Enter,
    Entered,
    Line,
    Look,
    People,
    Remove,
    Say,
    Typing,
)
from demo_project.consumers import Visitor
from wsadapter import (
    Exhausted,
    Fatal,
    Priority,
    RateLimit,
    Retry,
    StoreUnavailable,
    asend_to_group,
    handler,
)

#: Whoever was on a process that was killed is seen to be gone within a lease and this.
PEOPLE_SECONDS = 2.0


class Chat(Visitor):
    """It is in one room at a time, and hears a little of all of them."""

    groups = [LOBBY]
    allow_anonymous = False

    room = ""
    here = People("", [])
    flooding: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        await self.accept()
        watching = self.connection.send_periodically(self._people, interval=PEOPLE_SECONDS)
        self.connection.create_task(watching)

    async def disconnect(self, code: int) -> None:
        await self._tell_people(self.room)

    @handler(
        "chat.enter",
        rate_limit=RateLimit(5),
        retry=Retry(attempts=3, first_delay_seconds=0.5),
    )
    async def enter(self, message: Enter) -> Entered:
        await in_database(history.check_room)(message.room)
        await self._move(message.room)
        return Entered(
            room=self.room,
            rooms=await in_database(history.cards)(),
            people=(await self._people()).people,
            lines=await in_database(history.page)(self.room, Look()),
        )

    @handler("chat.say", rate_limit=RateLimit(2, burst=8))
    async def say(self, message: Say) -> Line:
        return await in_database(history.say)(self.room, self.user, message.text)

    @handler("chat.typing", rate_limit=RateLimit(5))
    async def typing(self) -> None:
        typing = Typing(self.room, self.user.get_username())
        this_tab = self.connection.client_id
        await asend_to_group(group_of(self.room), typing, exclude=[this_tab])

    @handler("chat.look", rate_limit=RateLimit(10))
    async def look(self, message: Look) -> list[Line]:
        return await in_database(history.page)(self.room, message)

    @handler("chat.remove", priority=Priority.URGENT)
    async def remove(self, message: Remove) -> None:
        if not self.user.is_staff:
            raise Fatal("Only a moderator may remove a message.")
        await in_database(history.remove)(self.room, message.sequence, self.user)

    @handler("chat.flood", rate_limit=RateLimit(0.2, burst=1))
    async def start_flood(self) -> None:
        if self.flooding is not None and not self.flooding.done():
            raise Exhausted("One flood at a time: this tab has not read the last one.")
        moderator = await get_user_model().objects.aget(username=MODERATOR)
        spam = await in_database(history.say)(self.room, self.user, SPAM)
        remove = partial(in_database(history.remove), self.room, spam.sequence, moderator)
        flooding = flood(self.connection, spam.sequence, remove)
        self.flooding = self.connection.create_task(flooding)

    async def _move(self, room: str) -> None:
        """What is said from now on arrives; what was said before is history."""
        await self.join(group_of(room), {"name": self.user.get_username()})
        left, self.room = self.room, room
        if left not in ("", room):
            await self.leave(group_of(left))
            await self._tell_people(left)
        await self._tell_people(room)

    async def _people(self) -> People:
        """Who is here, or was when it could be told last."""
        with suppress(StoreUnavailable):
            self.here = await people_in(self.room)
        return self.here

    async def _tell_people(self, room: str) -> None:
        here = await people_in(room)
        if here.people:  # else there is nobody to tell
            await asend_to_group(group_of(room), here)
