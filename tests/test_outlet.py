"""`Connection`: one way out, in order, and each state only once."""

from __future__ import annotations

import asyncio
import logging
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from wsadapter import servers
from wsadapter.connection import Connection
from wsadapter.corking import current_cork
from wsadapter.errors import ConnectionClosed
from wsadapter.outlet import DROPS_TOLD_SECONDS, State
from wsadapter.servers import EXTENSION
from wsadapter.signals import delivery_failed, message_dropped
from wsadapter.wire.frames import frame_bytes
from wsadapter.wire.joined import MAX_JOINED_SIZE
from wsadapter.wire.lanes import Priority
from wsadapter.wire.orders import Kick, Message, Push
from wsadapter.wire.outbox import Overflow

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
        options = {
            "max_outbox_size": 30,
            "item_bytes": 0,
            "on_closing": lambda seconds: None,
            **options,
        }
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
    """Every sender has learned what became of its frame."""
    async with asyncio.timeout(10):
        ends = await asyncio.gather(*senders, return_exceptions=True)
    assert all(end is None or isinstance(end, ConnectionClosed) for end in ends), ends


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
async def test_what_did_not_leave_before_the_end_is_told_to_its_sender(
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
    ends = await asyncio.gather(*senders, return_exceptions=True)
    assert [type(end) for end in ends] == [ConnectionClosed, ConnectionClosed]
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


async def test_where_the_close_leaves_once_nobody_listens_that_is_when_it_is_its_turn(
    make: Callable[..., Connection], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "closes_once_unheard", lambda send: True)
    told: list[float] = []
    connection = make(on_closing=told.append)
    await connection.accept(ACCEPT)
    server.running.clear()
    connection.post("first")
    connection.close_soon(4000, drain=True, timeout=7)
    await settle()
    assert told == [7], "what waits before it has its time"
    server.running.set()
    await settle()
    assert told == [7, 0] and server.kinds == ["accept", "send", "close"]


async def test_there_the_close_may_leave_while_the_connection_is_cleaned_up(
    make: Callable[..., Connection], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "closes_once_unheard", lambda send: True)
    connection = make()
    await connection.accept(ACCEPT)
    server.running.clear()
    connection.close_soon(4000)
    stopping = asyncio.create_task(connection.stop_writing(cut=True))
    await settle()
    server.running.set()
    await stopping
    assert server.kinds == ["accept", "close"]


async def test_but_not_without_end(
    make: Callable[..., Connection], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "closes_once_unheard", lambda send: True)
    monkeypatch.setattr("wsadapter.outlet.UNHEARD_SECONDS", 0.0)
    connection = make()
    await connection.accept(ACCEPT)
    server.running.clear()
    connection.close_soon(4000)
    await settle()
    async with asyncio.timeout(10):
        await connection.stop_writing(cut=True)
    assert server.kinds == ["accept"]


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
    connection = make(on_closing=lambda seconds: closing.append(True))
    await connection.accept(ACCEPT)
    server.refuses = error
    if suspended:
        server.running.clear()
    senders = [asyncio.create_task(connection.send(frame)) for frame in ("one", "two")]
    await settle()
    server.running.set()
    ends = await asyncio.gather(*senders, return_exceptions=True)
    assert [type(end) for end in ends] == [ConnectionClosed, ConnectionClosed]
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


@pytest.mark.parametrize("overflow", list(Overflow))
async def test_what_its_sender_waits_for_is_never_dropped(
    make: Callable[..., Connection], server: Server, overflow: Overflow
) -> None:
    connection = make(overflow=overflow)
    await connection.accept(ACCEPT)
    server.running.clear()
    senders = [asyncio.create_task(connection.send("ten bytes.")) for _ in range(9)]
    await settle()
    connection.deliver(Push("a push of 20 bytes.."))
    assert not any(sender.done() for sender in senders)
    assert connection.stats.dropped == 0
    # The first one is with the server.
    assert connection.stats.queued_bytes == 8 * 10 + 20
    server.running.set()
    await asyncio.gather(*senders)
    await settle()
    assert server.frames == [*["ten bytes."] * 9, "a push of 20 bytes.."]
    assert connection.stats.queued_bytes == 0


async def test_stats_count_what_left(connection: Connection, server: Server) -> None:
    await connection.accept(ACCEPT)
    await connection.send("four")
    connection.post(b"\x00\x01")
    await settle()
    assert (connection.stats.messages_out, connection.stats.bytes_out) == (2, 6)


async def test_a_cancelled_sender_takes_back_what_the_server_has_not(
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
    assert server.frames == ["one", "three"]


@pytest.mark.parametrize("priority", list(Priority))
async def test_every_priority_leaves(
    connection: Connection, server: Server, priority: Priority
) -> None:
    await connection.accept(ACCEPT)
    await connection.send("a frame", priority=priority)
    assert server.frames == ["a frame"]


# What a channel layer has for it


@pytest.mark.parametrize(
    ("kick", "closes"),
    [
        (Kick(4000, "enough"), True),
        (Kick(4000, "enough", session="its"), True),
        (Kick(4000, "enough", session="another"), False),
        (Kick(4000, "enough", serial="another"), False),
    ],
)
async def test_a_kick_closes_whom_it_means(
    connection: Connection, server: Server, kick: Kick, closes: bool
) -> None:
    connection.sessions = ("its",)
    await connection.accept(ACCEPT)
    connection.kick(kick)
    await settle()
    close = {"type": "websocket.close", "code": 4000, "reason": "enough"}
    assert server.took[1:] == ([close] if closes else [])
    connection.kick(Kick(4001, serial=connection.serial))
    assert connection.close_code == (4000 if closes else 4001)


async def test_events_and_gaps_are_handed_on(make: Callable[..., Connection]) -> None:
    events: list[Message] = []
    gaps: list[bool] = []
    connection = make(on_event=events.append, on_gap=lambda: gaps.append(True))
    event = {"type": "order.paid"}
    connection.event(event)
    assert events == [event] and events[0] is event and not gaps
    connection.gap()
    assert len(events) == 1 and gaps == [True]


# Drops, and who hears of them


class Timer:
    """A loop's ``call_later``, whose time comes when a test says so."""

    def __init__(self) -> None:
        self._due: list[tuple[Callable[[], None], Timer.Handle]] = []

    class Handle:
        cancelled = False

        def cancel(self) -> None:
            self.cancelled = True

    def call_later(self, callback: Callable[[], None]) -> Handle:
        self._due.append((callback, handle := Timer.Handle()))
        return handle

    def fire(self) -> int:
        """Let a second pass. Returns the number of those who have waited for it."""
        due, self._due = self._due, []
        ripe = [callback for callback, handle in due if not handle.cancelled]
        for callback in ripe:
            callback()
        return len(ripe)


@pytest.fixture
def timer(monkeypatch: pytest.MonkeyPatch) -> Timer:
    made, own = Timer(), asyncio.BaseEventLoop.call_later

    def call_later(loop: Any, seconds: float, callback: Any, *rest: Any, **options: Any) -> Any:
        if seconds == DROPS_TOLD_SECONDS:
            return made.call_later(callback)
        return own(loop, seconds, callback, *rest, **options)

    monkeypatch.setattr(asyncio.BaseEventLoop, "call_later", call_later)
    return made


@pytest.fixture
def told() -> Iterator[list[tuple[str, int]]]:
    """Clients and counts, as `message_dropped` names them."""
    seen: list[tuple[str, int]] = []

    def note(client_id: str, count: int, **kwargs: Any) -> None:
        seen.append((client_id, count))

    message_dropped.connect(note)
    yield seen
    message_dropped.disconnect(note)


@pytest.fixture
async def full(make: Callable[..., Connection], server: Server) -> AsyncIterator[Connection]:
    """A connection that drops whatever is posted."""
    connection = make(overflow=Overflow.DROP_NEWEST)
    await connection.accept(ACCEPT)
    server.running.clear()
    connection.post("on its way")
    await settle()
    connection.post("a" * 30)
    yield connection
    connection.end(1006)
    await connection.stop_writing(cut=False)


async def test_the_first_drop_is_told_at_once_and_the_others_once_a_second(
    full: Connection, timer: Timer, told: list[tuple[str, int]]
) -> None:
    for _ in range(5):
        full.post("dropped")
    assert told == [("tab", 1)]
    timer.fire()
    assert told == [("tab", 1), ("tab", 4)]
    full.post("dropped")
    assert len(told) == 2
    timer.fire()
    assert told[2:] == [("tab", 1)]
    assert full.stats.dropped == 6


async def test_after_a_second_without_a_drop_the_next_is_told_at_once(
    full: Connection, timer: Timer, told: list[tuple[str, int]]
) -> None:
    full.post("dropped")
    assert timer.fire() == 1 and told == [("tab", 1)]
    assert timer.fire() == 0, "nobody waits for drops that may never come"
    full.post("dropped")
    assert told == [("tab", 1), ("tab", 1)]


async def test_drops_that_are_untold_at_the_end_are_told_then(
    full: Connection, timer: Timer, told: list[tuple[str, int]]
) -> None:
    for _ in range(5):
        full.post("dropped")
    full.end(1006)
    assert told == [("tab", 1), ("tab", 4)]
    assert timer.fire() == 0, "nothing of it is left in the loop"
    full.end(1006)
    assert len(told) == 2


async def test_an_end_without_untold_drops_tells_nothing(
    full: Connection, timer: Timer, told: list[tuple[str, int]]
) -> None:
    full.post("dropped")
    full.end(1006)
    assert told == [("tab", 1)] and timer.fire() == 0


# Prepared frames, written past the server's ``send``


class FrameServer(Server):
    """A server that also takes ready frames, unless it is stopped. It is its own writer.

    Attributes:
        writes: what its transport was given, in this order, however it came.
    """

    compression_level = 0

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.frame_writer = self

    async def send(self, event: dict[str, Any]) -> None:
        await super().send(event)
        if event["type"] == "websocket.send":
            self.writes.append(frame_bytes(event.get("text", event.get("bytes"))))
        elif event["type"] == "websocket.close":
            self.writes.append(CLOSE)

    @property
    def ready(self) -> bool:
        return self.running.is_set()

    def write(self, frames: bytes) -> None:
        assert self.ready, "nothing may be written that it has no room for"
        if self.refuses is not None:
            raise self.refuses
        self.writes.append(frames)

    @property
    def scope(self) -> dict[str, Any]:
        return {"type": "websocket", "extensions": {EXTENSION: {"writer": self}}}


CLOSE = b"a close frame"


def wire(*frames: str | bytes) -> bytes:
    return b"".join(frame_bytes(frame) for frame in frames)


Prepare = Callable[..., Any]


@pytest.fixture
async def prepare(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Prepare]:
    """Make an accepted connection with a `FrameServer` of its own."""
    monkeypatch.setattr(servers, "can_be_stepped", lambda send: True)
    connections: list[Connection] = []

    async def connection(**options: Any) -> tuple[Connection, FrameServer]:
        server = FrameServer()
        options = {
            "max_outbox_size": 1000,
            "item_bytes": 0,
            "on_closing": lambda seconds: None,
            **options,
        }
        made = Connection(server.scope, server.send, **options)
        made.client_id = "tab"
        connections.append(made)
        await made.accept(ACCEPT)
        return made, server

    yield connection
    for each in connections:
        each.end(1006)
        await each.stop_writing(cut=False)


async def test_a_push_alone_is_written_at_once(prepare: Prepare) -> None:
    connection, server = await prepare()
    push = Push("alone")
    connection.deliver(push)
    assert server.writes == [push.to_bytes(0)] and server.writes[0] is push.to_bytes(0)
    assert server.kinds == ["accept"], "past the server's send"
    assert (connection.stats.messages_out, connection.stats.bytes_out) == (1, 5)


async def test_pushes_of_a_held_turn_leave_in_one_write(prepare: Prepare) -> None:
    connection, server = await prepare()
    current_cork().hold()
    for frame in ("one", b"two", "three"):
        connection.deliver(Push(frame))
    assert not server.writes
    await asyncio.sleep(0)
    assert server.writes == [wire("one", b"two", "three")]
    assert (connection.stats.messages_out, connection.stats.bytes_out) == (3, 11)
    connection.deliver(Push("four"))
    assert server.writes[1:] == [wire("four")], "the turn is over"


async def test_connections_with_the_same_pushes_write_the_same_object(prepare: Prepare) -> None:
    one, other, third = [await prepare() for _ in range(3)]
    third[0].client_id = "excluded"
    current_cork().hold()
    for push in (Push("one"), Push("two", exclude=frozenset({"excluded"})), Push("three")):
        for connection, _ in (one, third, other):
            connection.deliver(push)
    await asyncio.sleep(0)
    assert one[1].writes == [wire("one", "two", "three")]
    assert one[1].writes[0] is other[1].writes[0]
    assert third[1].writes == [wire("one", "three")]


async def test_each_connection_gets_the_frames_of_its_compression(prepare: Prepare) -> None:
    (plain, plain_server), (deflating, deflating_server) = await prepare(), await prepare()
    deflating_server.compression_level = 1
    push = Push("shop " * 100)
    for hold in (False, True):
        if hold:
            current_cork().hold()
        for connection in (plain, deflating):
            connection.deliver(push)
            connection.deliver(push)
        await asyncio.sleep(0)
    assert b"".join(plain_server.writes) == frame_bytes(push.frame) * 4
    assert b"".join(deflating_server.writes) == frame_bytes(push.frame, 1) * 4
    assert plain.stats.bytes_out == deflating.stats.bytes_out == 4 * 500


async def test_no_more_than_a_bound_is_joined(prepare: Prepare) -> None:
    connection, server = await prepare()
    half = "x" * (MAX_JOINED_SIZE // 2)
    current_cork().hold()
    for number in range(5):
        connection.deliver(Push(half))
        assert len(server.writes) == number // 2
    connection.deliver(Push("y" * (MAX_JOINED_SIZE * 3)))
    connection.deliver(Push("last"))
    await settle()
    huge = "y" * (MAX_JOINED_SIZE * 3)
    writes = [wire(half, half), wire(half, half), wire(half), wire(huge), wire("last")]
    assert server.writes == writes


@pytest.mark.parametrize("how", ["send", "post"])
async def test_what_is_sent_otherwise_comes_after_what_is_held(prepare: Prepare, how: str) -> None:
    connection, server = await prepare()
    current_cork().hold()
    connection.deliver(Push("held"))
    if how == "send":
        await connection.send("sent")
    else:
        connection.post("sent")
    connection.deliver(Push("held, too"))
    await settle()
    assert server.writes == [wire("held"), wire("sent"), wire("held, too")]


async def test_a_close_comes_after_what_is_held_and_nothing_after_it(prepare: Prepare) -> None:
    connection, server = await prepare()
    current_cork().hold()
    connection.deliver(Push("held"))
    connection.deliver(Push("held, too"))
    connection.close_soon(3503, "kicked")
    connection.deliver(Push("too late"))
    connection.post("too late")
    await settle()
    connection.deliver(Push("much too late"))
    await settle()
    assert server.writes == [wire("held", "held, too"), CLOSE]


async def test_what_comes_while_others_are_uncorked_does_not_overtake_what_is_held(
    prepare: Prepare,
) -> None:
    """The end of one connection may be pushed to another that still holds frames."""
    other, other_server = await prepare()
    failing, server = await prepare(on_closing=lambda seconds: other.deliver(Push("one has left")))
    server.refuses = RuntimeError("refused")
    current_cork().hold()
    for connection in (failing, other):
        connection.deliver(Push("held"))
    await settle()
    assert b"".join(other_server.writes) == wire("held", "one has left")


async def test_the_end_drops_what_is_held(prepare: Prepare) -> None:
    connection, server = await prepare()
    current_cork().hold()
    connection.deliver(Push("held"))
    connection.end(1006)
    connection.deliver(Push("too late"))
    await settle()
    assert not server.writes and connection.stats.messages_out == 0


async def test_until_accepted_nothing_is_written_or_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "can_be_stepped", lambda send: True)
    server = FrameServer()
    connection = Connection(
        server.scope, server.send, max_outbox_size=1000, on_closing=lambda seconds: None
    )
    connection.deliver(Push("one"))
    current_cork().hold()
    connection.deliver(Push("two"))
    await settle()
    assert not server.writes
    await connection.accept(ACCEPT)
    assert server.kinds == ["accept", "send", "send"] and server.writes == [
        wire("one"),
        wire("two"),
    ]


@pytest.mark.parametrize("held", [False, True])
async def test_what_a_full_transport_refuses_waits_in_order(prepare: Prepare, held: bool) -> None:
    connection, server = await prepare()
    server.running.clear()
    if held:
        current_cork().hold()
    for number in range(3):
        connection.deliver(Push(f"push {number}"))
    connection.post("a post")
    connection.deliver(Push("push 3"))
    await settle()
    assert not server.writes and server.calls == 2, "the accept and the first frame"
    server.running.set()
    connection.deliver(Push("push 4"))
    await settle()
    connection.deliver(Push("push 5"))
    frames = ["push 0", "push 1", "push 2", "a post", "push 3", "push 4", "push 5"]
    assert b"".join(server.writes) == wire(*frames)
    assert connection.stats.messages_out == 7


async def test_a_transport_that_fills_up_between_two_writes_of_a_turn_keeps_the_order(
    prepare: Prepare,
) -> None:
    connection, server = await prepare(max_outbox_size=10 * MAX_JOINED_SIZE)
    half = MAX_JOINED_SIZE // 2
    current_cork().hold()
    frames = [str(number) * half for number in range(8)]
    for number, frame in enumerate(frames):
        if number == 4:
            server.running.clear()
        connection.deliver(Push(frame))
    await settle()
    assert server.writes == [wire(*frames[:2])], "the second pair was written when it was full"
    server.running.set()
    await settle()
    assert b"".join(server.writes) == wire(*frames)


async def test_what_is_held_back_does_not_overtake_what_a_full_transport_has_refused(
    prepare: Prepare,
) -> None:
    """The transport has room again before the turn ends, and the writer has not run yet."""
    connection, server = await prepare(max_outbox_size=10 * MAX_JOINED_SIZE)
    frames = ["first", "x" * MAX_JOINED_SIZE, "last"]
    server.running.clear()
    current_cork().hold()
    for frame in frames:
        connection.deliver(Push(frame))
    server.running.set()
    await settle()
    assert b"".join(server.writes) == wire(*frames)


@pytest.mark.parametrize(
    ("overflow", "arrive"),
    [
        (Overflow.CLOSE, [0]),
        (Overflow.DROP_OLDEST, [0, 4, 5, 6]),
        (Overflow.DROP_NEWEST, [0, 1, 2, 3]),
    ],
)
async def test_the_policy_holds_for_what_was_held_back(
    prepare: Prepare, overflow: Overflow, arrive: list[int]
) -> None:
    """Of ten bytes each: the first is on its way, and there is room for three."""
    connection, server = await prepare(overflow=overflow, max_outbox_size=30)
    server.running.clear()
    current_cork().hold()
    frames = [f"push {number} .." for number in range(7)]
    for frame in frames:
        connection.deliver(Push(frame))
    await settle()
    server.running.set()
    await settle()
    sent = [wire(frames[number]) for number in arrive]
    closed = overflow is Overflow.CLOSE
    assert server.writes == [*sent, *([CLOSE] if closed else [])]
    assert connection.close_code == (3008 if closed else None)
    assert connection.stats.dropped == (0 if closed else 3)


@pytest.mark.parametrize("held", [False, True])
async def test_a_write_that_fails_ends_the_connection(
    prepare: Prepare, failures: list[str], caplog: pytest.LogCaptureFixture, held: bool
) -> None:
    closing: list[bool] = []
    connection, server = await prepare(on_closing=lambda seconds: closing.append(True))
    other, other_server = await prepare()
    server.refuses = RuntimeError("refused")
    if held:
        current_cork().hold()
    for frame in ("one", "two"):
        connection.deliver(Push(frame))
        other.deliver(Push(frame))
    await settle()
    assert connection.state is State.CLOSED and connection.close_code == 1006
    assert failures == ["tab"] and closing == [True] and connection.stats.errors == 1
    assert len([record for record in caplog.records if "tab" in record.getMessage()]) == 1
    assert b"".join(other_server.writes) == wire("one", "two")


@pytest.mark.parametrize("held", [False, True])
async def test_frames_of_a_write_that_failed_are_not_counted_as_sent(
    prepare: Prepare, held: bool
) -> None:
    connection, server = await prepare()
    server.refuses = RuntimeError("refused")
    if held:
        current_cork().hold()
    connection.deliver(Push("one"))
    await settle()
    assert (connection.stats.messages_out, connection.stats.bytes_out) == (0, 0)


async def test_those_who_are_not_meant_hold_nothing(prepare: Prepare) -> None:
    connection, server = await prepare()
    connection.user_id = None
    current_cork().hold()
    connection.deliver(Push("for others", exclude=frozenset({"tab"})))
    connection.deliver(Push("for users", authenticated_only=True))
    connection.deliver(Push("for it"))
    connection.user_id = "7"
    connection.deliver(Push("for users now", authenticated_only=True))
    await settle()
    assert server.writes == [wire("for it", "for users now")]


@pytest.mark.parametrize("held", [False, True])
async def test_without_joining_each_push_is_written_at_once(prepare: Prepare, held: bool) -> None:
    connection, server = await prepare(joins_frames=False)
    if held:
        current_cork().hold()
    for frame in ("one", "two"):
        connection.deliver(Push(frame))
    assert server.writes == [wire("one"), wire("two")] and server.kinds == ["accept"]


@pytest.mark.parametrize("held", [False, True])
async def test_without_prepared_frames_pushes_go_through_send(prepare: Prepare, held: bool) -> None:
    connection, server = await prepare(prepares_frames=False)
    if held:
        current_cork().hold()
    for frame in ("one", "two"):
        connection.deliver(Push(frame))
    assert server.kinds == ["accept", "send", "send"]
    assert server.writes == [wire("one"), wire("two")]


async def test_through_a_middleware_pushes_go_through_send(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What wraps send may count, log or change what passes: nothing goes past it."""
    server = FrameServer()
    monkeypatch.setattr(servers, "can_be_stepped", lambda send: send == server.send)

    async def wrapped(event: dict[str, Any]) -> None:
        await server.send({**event, "text": "changed"} if "text" in event else event)

    connection = Connection(
        server.scope, wrapped, max_outbox_size=1000, on_closing=lambda seconds: None
    )
    await connection.accept(ACCEPT)
    current_cork().hold()
    connection.deliver(Push("pushed"))
    connection.deliver(Push("pushed"))
    await settle()
    assert server.writes == [wire("changed"), wire("changed")]


# Whatever happens in whatever order

#: What may happen to a connection: a few of each kind, so that they meet.
EVENTS = [
    *(["push"] * 4 + ["huge push", "urgent push", "low push"] + ["hold"] * 2 + ["post", "send"]),
    *(["full", "free"] * 2 + ["turn"] * 3 + ["turns"]),
]

POLICIES = [(10**9, Overflow.CLOSE), *((200, overflow) for overflow in Overflow)]


@settings(max_examples=500)
@given(
    events=st.lists(st.sampled_from(EVENTS), max_size=60),
    closes=st.booleans(),
    policy=st.sampled_from(POLICIES),
    waits=st.booleans(),
    options=st.fixed_dictionaries(
        {"prepares_frames": st.booleans(), "joins_frames": st.booleans()}
    ),
)
def test_frames_arrive_in_order_or_are_accounted_for(
    events: list[str],
    closes: bool,
    policy: tuple[int, Overflow],
    waits: bool,
    options: dict[str, bool],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(servers, "can_be_stepped", lambda send: True)
        patch.setattr("wsadapter.outlet.HELD_POLL_SECONDS", 0)
        asyncio.run(check_order(events, closes, policy, waits, options, patch))


class TwistedServer(FrameServer):
    """Takes every event and keeps it while it is stopped, as daphne does; and no ready frames
    beyond a bound.
    """

    def __init__(self, max_held_bytes: int) -> None:
        super().__init__()
        self.held = 0
        self._max_held_bytes = max_held_bytes

    async def send(self, event: dict[str, Any]) -> None:
        stopped, self.running = self.running, asyncio.Event()
        self.running.set()
        await super().send(event)
        self.running = stopped
        self._keep(self.writes[-1] if self.writes else b"")

    @property
    def ready(self) -> bool:
        return self.held <= self._max_held_bytes

    def write(self, frames: bytes) -> None:
        super().write(frames)
        self._keep(frames)

    def _keep(self, frames: bytes) -> None:
        if not self.running.is_set():
            self.held += len(frames)


async def check_order(
    events: list[str],
    closes: bool,
    policy: tuple[int, Overflow],
    waits: bool,
    options: dict[str, bool],
    patch: pytest.MonkeyPatch,
) -> None:
    max_outbox_size, overflow = policy
    server: Any = FrameServer() if waits else TwistedServer(max_outbox_size)
    if not waits:
        patch.setattr(servers, "held_bytes", lambda send: lambda: server.held)
    connection = Connection(
        server.scope,
        server.send,
        max_outbox_size=max_outbox_size,
        item_bytes=0,
        overflow=overflow,
        on_closing=lambda seconds: None,
        **options,
    )
    await connection.accept(ACCEPT)
    sent: list[str] = []
    tasks = []
    for number, event in enumerate(events):
        if "push" in event or event in ("post", "send"):
            sent.append(f"{event} {number} " + "." * (70_000 if "huge" in event else 10))
        if "push" in event:
            connection.deliver(Push(sent[-1], priority=lane_of(sent[-1])))
        elif event == "post":
            connection.post(sent[-1])
        elif event == "send":
            tasks.append(asyncio.ensure_future(connection.send(sent[-1])))
            await asyncio.sleep(0)  # it is sent when its task has begun
        elif event == "hold":
            current_cork().hold()
        elif event == "full":
            server.running.clear()
        elif event == "free":
            free(server)
        else:
            for _ in range(1 if event == "turn" else 10):
                await asyncio.sleep(0)
    if closes:
        connection.close_soon(4000)
        connection.deliver(Push("after the close"))
    free(server)
    for _ in range(10):
        await settle()
    await all_done(tasks)
    arrived = messages_of(server.writes)
    if connection.close_code is None:
        assert len(arrived) == len(sent) - connection.stats.dropped == connection.stats.messages_out
    else:
        assert arrived.pop() == "CLOSE" and connection.stats.messages_out == len(arrived) + 1
    for lane in Priority:
        left = iter([frame for frame in sent if lane_of(frame) is lane])
        assert all(frame in left for frame in arrived if lane_of(frame) is lane), (
            "in the order in which they were sent"
        )
    assert connection.stats.bytes_out == sum(map(len, arrived))
    connection.end(1006)


def lane_of(frame: str) -> Priority:
    """By its first word: an urgent or low push, or what is as urgent as most things."""
    return {"urgent": Priority.URGENT, "low": Priority.LOW}.get(frame.split()[0], Priority.NORMAL)


def free(server: FrameServer) -> None:
    server.running.set()
    if isinstance(server, TwistedServer):
        server.held = 0  # the client has read all of it


def messages_of(writes: list[bytes]) -> list[str]:
    """The payloads, read by a client that has not been written by us."""
    client = ClientProtocol(parse_uri("ws://shop.example/"), state=OPEN, max_size=None)
    closed = writes[-1:] == [CLOSE]
    client.receive_data(b"".join(writes[:-1] if closed else writes))
    assert client.parser_exc is None
    payloads = [bytes(frame.data).decode() for frame in client.events_received()]
    return [*payloads, "CLOSE"] if closed else payloads


@pytest.mark.parametrize(
    "text",
    ["", "twenty bytes of text", "\N{GRINNING FACE}" * 50, "x" * 5000],
    ids=["empty", "tiny", "not ASCII", "long"],
)
async def test_what_waits_takes_no_more_memory_than_its_bound(text: str) -> None:
    """Whatever the size of the messages: what each costs beside its payload counts."""

    async def never(event: Any) -> None:
        await asyncio.Event().wait()

    bound = 256 * 1024
    connection = Connection(
        {"type": "websocket"}, never, max_outbox_size=bound, on_closing=lambda seconds: None
    )
    connection.state = State.OPEN
    tracemalloc.start()
    try:
        while connection.state is State.OPEN:
            connection.deliver(Push((text + " ")[:-1]))  # each with a text of its own
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    await connection.stop_writing(cut=False)
    assert bound * 0.5 < most < bound * 1.2


async def test_the_code_of_a_peer_that_has_left_is_the_one_it_gave(
    make: Callable[..., Connection], server: Server
) -> None:
    """Its close frame may be on the way to us when a push fails because of it."""
    connection = make()
    await connection.accept(ACCEPT)
    server.refuses = ConnectionResetError("gone")
    connection.deliver(Push("too late"))
    await settle()
    assert connection.state is State.CLOSED
    connection.end(1000, "bye")
    assert (connection.close_code, connection.close_reason) == (1000, "bye")


async def test_what_was_collected_for_a_peer_that_leaves_is_not_written_to_nobody(
    make: Callable[..., Connection], server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = make(max_outbox_size=1000)
    for number in range(5):
        connection.deliver(Push(f"push {number}"))
    # The first write is what notices a connection that was reset.
    monkeypatch.setattr(servers, "is_closing", lambda send: bool(server.frames))
    await connection.accept(ACCEPT)
    await settle()
    assert connection.state is State.CLOSED
    assert len(server.frames) == 1
