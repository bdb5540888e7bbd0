"""`Connection`: one way out, in order, and each state only once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from wsadapter.connection import Connection, State
from wsadapter.signals import delivery_failed
from wsadapter.wire.orders import Push
from wsadapter.wire.outbox import Overflow, Priority

ACCEPT = {"type": "websocket.accept", "subprotocol": None}


class Server:
    """An ASGI server's ``send``: it takes events, suspends while ``stopped``, or refuses them."""

    def __init__(self) -> None:
        self.took: list[dict[str, Any]] = []
        self.running = asyncio.Event()
        self.running.set()
        self.refuses: Exception | None = None
        self.calls = 0
        self.inside = 0

    async def send(self, event: dict[str, Any]) -> None:
        self.calls += 1
        self.inside += 1
        assert self.inside == 1, "only one send at a time"
        try:
            await self.running.wait()
            if self.refuses is not None:
                raise self.refuses
            self.took.append(event)
        finally:
            self.inside -= 1

    @property
    def frames(self) -> list[str | bytes]:
        return [
            event.get("text", event.get("bytes")) for event in self.took if "send" in event["type"]
        ]

    @property
    def kinds(self) -> list[str]:
        return [event["type"].removeprefix("websocket.") for event in self.took]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture(params=["stepped", "written by a task"])
def make(
    request: pytest.FixtureRequest, server: Server, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Connection]:
    """Make a connection; every test holds for both ways of calling a server's send."""
    stepped = request.param == "stepped"
    monkeypatch.setattr("wsadapter.servers.can_be_stepped", lambda send: stepped)

    def connection(**options: Any) -> Connection:
        options = {"max_outbox_size": 30, "on_closing": lambda: None, **options}
        made = Connection({"type": "websocket"}, server.send, **options)
        made.client_id = "tab"
        return made

    return connection


@pytest.fixture
async def connection(make: Callable[..., Connection]) -> AsyncIterator[Connection]:
    made = make()
    yield made
    await made.stop_writing(cut=False)


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def all_done(senders: list[asyncio.Task[None]]) -> None:
    async with asyncio.timeout(10):
        await asyncio.gather(*senders)


async def test_until_accepted_it_collects(connection: Connection, server: Server) -> None:
    connection.post("one")
    await connection.send("two")
    assert not server.took
    await connection.accept(ACCEPT)
    await settle()
    assert server.kinds == ["accept", "send", "send"] and server.frames == ["one", "two"]


async def test_frames_leave_in_order_whoever_sends_them(
    connection: Connection, server: Server
) -> None:
    await connection.accept(ACCEPT)
    connection.post("posted")
    connection.deliver(Push("pushed"))
    await connection.send("sent")
    connection.post(b"posted")
    await settle()
    assert server.frames == ["posted", "pushed", "sent", b"posted"]


async def test_while_a_send_is_suspended_later_frames_wait(
    connection: Connection, server: Server
) -> None:
    await connection.accept(ACCEPT)
    server.running.clear()
    for frame in ("one", "two", "three"):
        connection.post(frame)
    await settle()
    assert server.calls == 2, "the accept and the first frame"
    server.running.set()
    await settle()
    assert server.frames == ["one", "two", "three"]


async def test_send_returns_when_the_transport_has_taken_the_frame(
    connection: Connection, server: Server
) -> None:
    await connection.accept(ACCEPT)
    server.running.clear()
    sending = asyncio.create_task(connection.send("slow"))
    await settle()
    assert not sending.done()
    server.running.set()
    await sending
    assert server.frames == ["slow"]


@pytest.mark.parametrize("end", ["closed", "ended", "stopped"])
async def test_send_returns_when_the_connection_has_ended(
    connection: Connection, server: Server, end: str
) -> None:
    await connection.accept(ACCEPT)
    server.running.clear()
    senders = [asyncio.create_task(connection.send(frame)) for frame in ("one", "two")]
    await settle()
    if end == "closed":
        connection.close_soon(4000)
    else:
        connection.end(1006)
    await connection.stop_writing(cut=False)
    await all_done(senders)
    assert not server.frames


async def test_an_excluded_client_gets_nothing(connection: Connection, server: Server) -> None:
    await connection.accept(ACCEPT)
    connection.deliver(Push("not for it", exclude=frozenset({"tab"})))
    connection.deliver(Push("for users", authenticated_only=True))
    connection.user_id = "7"
    connection.deliver(Push("for users now", authenticated_only=True))
    await settle()
    assert server.frames == ["for users now"]


async def test_the_close_overtakes_what_waits_and_nothing_follows_it(
    connection: Connection, server: Server
) -> None:
    await connection.accept(ACCEPT)
    server.running.clear()
    connection.post("on its way")
    connection.post("waits")
    await settle()
    connection.close_soon(4000, "enough")
    connection.close_soon(4001, "too late")
    connection.post("after the close")
    server.running.set()
    await settle()
    assert server.took[1:] == [
        {"type": "websocket.send", "text": "on its way"},
        {"type": "websocket.close", "code": 4000, "reason": "enough"},
    ]
    assert (connection.close_code, connection.close_reason) == (4000, "enough")
    assert connection.state is State.CLOSING


@pytest.mark.parametrize(
    ("reason", "sent"),
    [("a" * 124, "a" * 123), ("я" * 62, "я" * 61), ("🌷" * 31, "🌷" * 30), ("\ud800", "?")],
)
async def test_a_reason_fits_a_control_frame(
    connection: Connection, server: Server, reason: str, sent: str
) -> None:
    await connection.accept(ACCEPT)
    connection.close_soon(4000, reason)
    await settle()
    assert server.took[-1]["reason"] == sent
    assert len(sent.encode()) <= 123


async def test_a_close_before_the_end_of_the_handshake_follows_it(
    connection: Connection, server: Server
) -> None:
    """Its groups are joined before it is accepted, so that a kick may come in between."""
    connection.post("collected")
    connection.close_soon(3503, "kicked")
    assert connection.state is State.CONNECTING and not server.took
    await connection.accept(ACCEPT)
    await settle()
    assert server.kinds[0] == "accept" and server.kinds[-1] == "close"
    assert connection.close_code == 3503


async def test_a_refusal_accepts_and_closes_and_drops_what_was_collected(
    connection: Connection, server: Server
) -> None:
    connection.post("collected")
    await connection.refuse(3500, "log in first")
    await settle()
    assert server.kinds == ["accept", "close"]


async def test_a_denial_is_a_close_before_the_accept(
    connection: Connection, server: Server
) -> None:
    await connection.close()
    assert server.took == [{"type": "websocket.close"}]
    assert connection.state is State.CLOSED


async def test_an_end_during_the_handshake_is_the_end(
    connection: Connection, server: Server
) -> None:
    server.running.clear()
    accepting = asyncio.create_task(connection.accept(ACCEPT))
    await settle()
    connection.end(1006)
    server.running.set()
    await accepting
    assert connection.state is State.CLOSED
    await connection.accept(ACCEPT)
    assert server.kinds == ["accept"]


async def test_a_server_that_refuses_the_accept_has_lost_its_client(
    connection: Connection, server: Server
) -> None:
    server.refuses = OSError("gone")
    await connection.accept(ACCEPT)
    assert connection.state is State.CLOSED


async def test_a_denial_of_a_client_that_left_is_no_error(
    connection: Connection, server: Server
) -> None:
    server.refuses = OSError("gone")
    await connection.close()
    assert connection.state is State.CLOSED


async def test_only_the_first_reason_for_an_end_stands(connection: Connection) -> None:
    connection.end(4000, "first")
    connection.end(1006, "second")
    assert (connection.close_code, connection.close_reason) == (4000, "first")


@pytest.fixture
def failures() -> Iterator[list[str]]:
    seen: list[str] = []

    def note(client_id: str, **kwargs: Any) -> None:
        seen.append(client_id)

    delivery_failed.connect(note)
    yield seen
    delivery_failed.disconnect(note)


@pytest.mark.parametrize(
    ("error", "level"),
    [(RuntimeError("refused"), logging.ERROR), (OSError("gone"), logging.DEBUG)],
    ids=["an error", "the peer left"],
)
@pytest.mark.parametrize("suspended", [False, True], ids=["at once", "after a while"])
async def test_a_frame_that_fails_ends_the_connection_and_is_not_tried_again(
    make: Callable[..., Connection],
    server: Server,
    failures: list[str],
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    level: int,
    suspended: bool,
) -> None:
    caplog.set_level(logging.DEBUG, "wsadapter.connection")
    closing: list[bool] = []
    connection = make(on_closing=lambda: closing.append(True))
    await connection.accept(ACCEPT)
    server.refuses = error
    if suspended:
        server.running.clear()
    senders = [asyncio.create_task(connection.send(frame)) for frame in ("one", "two")]
    await settle()
    server.running.set()
    await all_done(senders)
    assert server.calls == 2 and connection.state is State.CLOSED
    assert failures == ["tab"] and closing == [True]
    (record,) = caplog.records
    assert record.levelno == level and "tab" in record.getMessage()
    await connection.stop_writing(cut=False)


async def test_a_full_outbox_closes_with_3008(connection: Connection, server: Server) -> None:
    await connection.accept(ACCEPT)
    server.running.clear()
    for _ in range(5):
        connection.post("ten bytes.")
        await settle()
    server.running.set()
    await settle()
    assert server.kinds == ["accept", "send", "close"]
    assert server.took[-1]["code"] == connection.close_code == 3008


async def test_a_sender_that_is_dropped_goes_on(
    make: Callable[..., Connection], server: Server
) -> None:
    connection = make(overflow=Overflow.DROP_NEWEST)
    await connection.accept(ACCEPT)
    server.running.clear()
    senders = []
    for _ in range(5):
        senders.append(asyncio.create_task(connection.send("ten bytes.")))
        await settle()
    assert [sender.done() for sender in senders] == [False, False, False, False, True]
    assert connection.stats.dropped == 1
    server.running.set()
    await all_done(senders)
    await connection.stop_writing(cut=False)


async def test_stats_count_what_left(connection: Connection, server: Server) -> None:
    await connection.accept(ACCEPT)
    await connection.send("four")
    connection.post(b"\x00\x01")
    await settle()
    assert (connection.stats.messages_out, connection.stats.bytes_out) == (2, 6)


async def test_a_cancelled_sender_takes_nothing_back(
    connection: Connection, server: Server
) -> None:
    await connection.accept(ACCEPT)
    server.running.clear()
    first, second = (asyncio.create_task(connection.send(frame)) for frame in ("one", "two"))
    await settle()
    first.cancel()
    second.cancel()
    await settle()
    server.running.set()
    await settle()
    connection.post("three")
    await settle()
    assert server.frames == ["one", "two", "three"]


@pytest.mark.parametrize("priority", list(Priority))
async def test_every_priority_leaves(
    connection: Connection, server: Server, priority: Priority
) -> None:
    await connection.accept(ACCEPT)
    await connection.send("a frame", priority=priority)
    assert server.frames == ["a frame"]
