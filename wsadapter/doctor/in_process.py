"""A connection without a network: consumer, channel layer and presence, in this process."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

from wsadapter import conf
from wsadapter.auth import ORIGIN_CHECKED
from wsadapter.broadcasting import asend_to_group
from wsadapter.consumers import AdapterConsumer
from wsadapter.doctor.finding import Finding, error, fine
from wsadapter.errors import WSAdapterError
from wsadapter.event_loops import end_task
from wsadapter.store.operations import FindClient, LiveNodes
from wsadapter.wire.orders import Message

#: Seconds that each step may take.
PATIENCE_SECONDS = 5.0

SCOPE: Message = {
    "type": "websocket",
    "asgi": {"version": "3.0"},
    "scheme": "ws",
    "path": "/wsadapter-doctor/",
    "query_string": b"",
    "headers": [],
    "subprotocols": [],
    ORIGIN_CHECKED: True,
}


class Visitor(AdapterConsumer):
    """Of nobody, and reached by nothing but what is sent to its own group."""

    allow_anonymous = True
    pushes = False
    welcome = True


class Stuck(Exception):
    """A step did not come to its end; the text says which."""


class Call:
    """One call of a consumer, as a server would make it."""

    def __init__(self, group: str) -> None:
        consumer = Visitor()
        consumer.groups = [group]
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self._outgoing: asyncio.Queue[Message] = asyncio.Queue()
        self._task = asyncio.ensure_future(
            consumer(dict(SCOPE), self._incoming.get, self._outgoing.put)
        )

    async def open(self) -> str:
        """Connect; the client id of the welcome."""
        self._incoming.put_nowait({"type": "websocket.connect"})
        await self._next("websocket.accept")
        return str((await self.message())["client"])

    async def message(self) -> Any:
        return json.loads((await self._next("websocket.send"))["text"])

    async def end(self) -> None:
        """Leave, as a browser does, and see it cleaned up; only then may the loop end."""
        self._incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})
        _, pending = await asyncio.wait([self._task], timeout=PATIENCE_SECONDS)
        if pending:
            await end_task(self._task)
            raise Stuck("it was not cleaned up in time")

    async def _next(self, kind: str) -> Message:
        """The next event of the consumer, which has to be of that kind."""
        message = await self._event()
        if message["type"] == "websocket.close":
            raise Stuck(f"it was closed with {message['code']} ({message.get('reason', '')})")
        if message["type"] != kind:
            raise Stuck(f"{message['type']} came in place of {kind}")
        return message

    async def _event(self) -> Message:
        event = asyncio.ensure_future(self._outgoing.get())
        waits_for: list[asyncio.Future[Any]] = [event, self._task]
        await asyncio.wait(waits_for, timeout=PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if event.done():
            return event.result()
        event.cancel()
        raise Stuck("the consumer ended" if self._task.done() else "nothing came in time")


@asynccontextmanager
async def visit(group: str) -> AsyncIterator[Call]:
    """A call that has ended when the block has, whatever happened in it."""
    call = Call(group)
    try:
        yield call
    finally:
        await call.end()


async def connect_in_process() -> list[Finding]:
    """Connect, be counted, get a message, leave; and nothing is left."""
    group = f"wsadapter-doctor-{uuid4().hex}"
    findings: list[Finding] = []
    try:
        async with visit(group) as call:
            client_id = await call.open()
            findings.append(fine("connection", "One made in this process was welcomed."))
            findings.append(await _presence(client_id))
            findings.append(await _delivery(call, group))
        findings.append(await _departure(client_id))
    except (Stuck, WSAdapterError) as failure:
        findings.append(
            error(
                "connection",
                f"One made in this process did not get through: {failure}.",
                "The log says why. A browser's would not, either.",
            )
        )
    return findings


async def _presence(client_id: str) -> Finding:
    found = await conf.store().arun(FindClient(client_id))
    nodes = await conf.store().arun(LiveNodes())
    counted = [node for node in nodes if found and node.lease == found.lease and node.connections]
    if counted:
        return fine("presence", "It was counted, and could be found by its id.")
    return error(
        "presence",
        "It was welcomed, and is not counted.",
        "Something else deletes keys under KEY_PREFIX. Choose a prefix of your own.",
    )


async def _delivery(call: Call, group: str) -> Finding:
    message = {"type": "wsadapter.doctor", "nonce": uuid4().hex}
    begun = time.perf_counter()
    await asend_to_group(group, message)
    try:
        while await call.message() != message:
            pass  # such as word of a gap
    except Stuck as failure:
        return error(
            "delivery",
            f"A message to its group did not arrive: {failure}.",
            "The hosts in CHANNEL_LAYERS must be the ones that are subscribed to: masters, and no "
            "proxy that leaves PUBLISH out.",
        )
    taken = time.perf_counter() - begun
    return fine("delivery", f"A message to its group arrived after {taken * 1000:.2g} ms.")


async def _departure(client_id: str) -> Finding:
    if await conf.store().arun(FindClient(client_id)) is None:
        return fine("departure", "It left, and nothing of it is left.")
    return error(
        "departure",
        "It left, and is still counted.",
        f"It leaves the count within LEASE_SECONDS ({conf.settings.lease_seconds:g}). Look in the "
        "log for what kept it.",
    )
