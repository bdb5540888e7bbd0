"""Typed streams and what comes with them, over real sockets, between real processes."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.test import override_settings
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

import wsadapter
from tests.deployment import Deployment, DjangoServer, ServerKind, one_server
from tests.processes import Process
from tests.project.streams import FILLING, KIBIBYTE, LANE_SIZE, Article
from tests.redis_server import RedisServer
from tests.system.client import PATIENCE_SECONDS, Client, Closed, connected
from tests.system.memory import forget_peak, growth
from tests.system.notes import noted, until_noted
from tests.system.stubborn_client import StubbornClient, serialised, stubborn
from tests.waiting import eventually
from wsadapter import FailureKind, Priority
from wsadapter import client as python_client

KINDS: list[ServerKind] = ["uvicorn-frames", "daphne", "uvicorn"]

END = '{"type": "ws:end"}'
MEBIBYTE = KIBIBYTE * KIBIBYTE

#: More than all sockets and servers between a generator and its client can hold.
POURED = 500
#: What a server holds beside its lanes: uvicorn's transport, and as much as an outbox on daphne.
SERVER_BYTES = {"uvicorn": 128 * KIBIBYTE, "uvicorn-frames": 128 * KIBIBYTE, "daphne": MEBIBYTE}

#: What a client tries to push into a server that does not read.
PUSHED_BYTES = 64 * MEBIBYTE
PARCEL_BYTES = 60 * KIBIBYTE
#: What the process itself may keep of what waits.
KEPT_BYTES = 12 * MEBIBYTE
#: A server on this machine that takes nothing for so long does not read.
BLOCKED_SECONDS = 1.0


@pytest.fixture(scope="module", params=KINDS)
def server(
    request: pytest.FixtureRequest,
    redis_server: RedisServer,
    project_database: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DjangoServer]:
    directory = tmp_path_factory.mktemp("streams")
    yield from one_server(request.param, directory, project_database, redis_server)


@pytest.fixture(autouse=True)
def publisher(redis_server: RedisServer) -> Iterator[None]:
    """The helpers called in this process, as a worker calls them."""
    backend = "wsadapter.layers.RedisChannelLayer"
    layers = {"default": {"BACKEND": backend, "CONFIG": {"hosts": [redis_server.url]}}}
    with override_settings(CHANNEL_LAYERS=layers):
        yield


def dialled(server: DjangoServer, path: str) -> python_client.Client:
    return python_client.connect(f"{server.ws_url}/streams/{path}")


def opened(server: DjangoServer, path: str) -> AbstractContextManager[Client]:
    return connected(server, f"/streams/{path}")


def open_gate(server: DjangoServer, gate: str) -> None:
    with opened(server, f"opening/{gate}/"):
        pass


def refused(server: DjangoServer, path: str) -> Closed:
    """How one is closed who is not even welcomed."""
    with connect(f"{server.ws_url}/streams/{path}", compression=None) as connection:
        return end_of(connection.recv)


def end_of(receive: Callable[[], Any]) -> Closed:
    """How the server closes, which is what comes next."""
    with pytest.raises(ConnectionClosed) as end:
        receive()
    assert end.value.rcvd is not None
    return Closed(end.value.rcvd.code, end.value.rcvd.reason)


def count(server: DjangoServer) -> int:
    return int(server.get("/counts/").json()["clients"])


def received(client: Client | StubbornClient, count: int) -> list[Any]:
    return [client.receive() for _ in range(count)]


def until_heard(client: Client) -> None:
    """Wait until the server has taken all that the client has sent so far."""
    client.send({"type": "ws:ping"})
    assert client.receive() == {"type": "ws:pong"}


def ticks(symbol: str, count: int) -> list[dict[str, Any]]:
    return [{"symbol": symbol, "number": number} for number in range(count)]


# The three patterns, with a bare WebSocket


def test_a_stream_to_the_client_ends_with_1000(server: DjangoServer) -> None:
    with opened(server, "ticking/acme/?count=500") as client:
        assert received(client, 500) == ticks("acme", 500)
        assert end_of(client.next_frame) == Closed(1000, "")


def test_a_stream_from_the_client_has_its_result_before_1000(server: DjangoServer) -> None:
    with opened(server, "summarising/") as client:
        for celsius in (-3.5, 20, 7.25):
            client.send({"sensor": "roof", "celsius": celsius})
        client.send(END)
        assert client.receive() == {"count": 3, "highest": 20}
        assert end_of(client.next_frame) == Closed(1000, "")


def test_a_stream_both_ways_answers_at_once(server: DjangoServer) -> None:
    with opened(server, "translating/") as client:
        for text in ("was", "not"):
            assert client.request({"text": text}) == {"text": text[::-1], "length": 3}
        client.send(END)
        assert end_of(client.next_frame) == Closed(1000, "")


def test_what_does_not_fit_is_answered_with_its_path_and_left_out(server: DjangoServer) -> None:
    with opened(server, "summarising/") as client:
        client.send({"sensor": "roof", "celsius": 20})
        error = client.request({"sensor": "roof", "celsius": "warm"})
        assert (error["type"], error["code"], error["kind"]) == ("ws:error", "invalid", "fatal")
        assert error["path"] == "$.celsius"
        client.send(END)
        assert client.receive()["count"] == 1
        assert end_of(client.next_frame) == Closed(1000, "")


def test_what_does_not_fit_may_end_a_stream(server: DjangoServer) -> None:
    with opened(server, "strict/") as client:
        assert client.request({"sensor": "roof"})["path"] == "$"
        closed = end_of(client.next_frame)
    assert closed.code == 3501 and "celsius" in closed.reason


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("?count=many", 'The parameter count is wrong: Expected a whole number, got "many".'),
        ("", "The parameter count is missing."),
    ],
    ids=["wrong", "missing"],
)
def test_a_wrong_parameter_closes_with_3501_and_is_named(
    server: DjangoServer, query: str, reason: str
) -> None:
    assert refused(server, f"ticking/acme/{query}") == Closed(3501, reason)


def test_the_messages_of_each_connection_are_numbered_from_1(server: DjangoServer) -> None:
    with (
        opened(server, "numbered/acme/?count=50") as one,
        opened(server, "numbered/acme/?count=50") as other,
    ):
        for client in (one, other):
            messages = received(client, 50)
            assert [message["sequence"] for message in messages] == list(range(1, 51))
            times = [message["timestamp"] for message in messages]
            assert times == sorted(times) and all(isinstance(time, int) for time in times)


# The same with the Python client


async def test_the_python_client_reads_a_stream_to_its_end(server: DjangoServer) -> None:
    async with dialled(server, "ticking/acme/?count=500") as client:
        assert [tick async for tick in client] == ticks("acme", 500)


async def test_the_python_client_sends_a_stream_and_has_the_result(server: DjangoServer) -> None:
    async with dialled(server, "summarising/") as client:
        for celsius in range(200):
            await client.send({"sensor": "roof", "celsius": celsius})
        await client.end()
        assert [message async for message in client] == [{"count": 200, "highest": 199}]


async def test_the_python_client_talks_both_ways(server: DjangoServer) -> None:
    async with dialled(server, "translating/") as client:
        for text in ("was", "not"):
            await client.send({"text": text})
            assert await client.receive() == {"text": text[::-1], "length": 3}
        await client.end()
        assert [message async for message in client] == []


async def test_the_python_client_goes_on_after_what_does_not_fit(
    server: DjangoServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with dialled(server, "translating/") as client:
        await client.send({"text": 7})
        await client.send({"text": "was"})
        assert await client.receive() == {"text": "saw", "length": 3}
    assert "Expected `str`, got `int`" in caplog.text


async def test_the_python_client_is_told_the_wrong_parameter(server: DjangoServer) -> None:
    with pytest.raises(wsadapter.ConnectionClosed) as end:
        async with dialled(server, "ticking/acme/?count=many") as client:
            await client.receive()
    assert (end.value.code, end.value.kind) == (3501, FailureKind.FATAL)
    assert end.value.reason.startswith("The parameter count is wrong: ")


# Back-pressure


def held_by_kernel(client: StubbornClient) -> int:
    """Bytes on their way: what either end has not sent, or not read."""
    ports = {client.socket.getpeername()[1], client.socket.getsockname()[1]}
    held = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        if {int(end.rpartition(":")[2], 16) for end in (local, remote)} == ports:
            held += sum(int(queue, 16) for queue in queues.split(":"))
    return held


def made(server: DjangoServer, client_id: str) -> int:
    """How many messages the generator has made for that client."""
    return sum(note.startswith("makes ") for note in noted(server, client_id))


def test_a_generator_waits_for_a_client_that_does_not_read_and_nobody_else_does(
    server: DjangoServer,
) -> None:
    with stubborn(server, f"/streams/pouring/{POURED}/") as slow:
        until_noted(server, slow.id, r"\d+ bytes wait")
        with opened(server, "ticking/acme/?count=1000") as other:
            assert received(other, 1000) == ticks("acme", 1000)
        ahead = made(server, slow.id)
        held = (held_by_kernel(slow) + SERVER_BYTES[server.kind]) // len(FILLING)
        assert LANE_SIZE <= ahead <= LANE_SIZE + 1 + held + 1, "one may be half on its way"
        assert ahead < POURED
        for number in range(POURED):
            assert slow.receive() == {"number": number, "filling": FILLING}
        assert slow.closed() == Closed(1000, "")


def test_a_client_waits_for_a_function_that_does_not_read(server: DjangoServer) -> None:
    gate = uuid4().hex
    frames = [serialised(parcel(number)) for number in range(PUSHED_BYTES // PARCEL_BYTES)]
    data = b"".join(frames)
    with stubborn(server, f"/streams/gated/{gate}/") as client:
        until_noted(server, client.id, "waits at the gate")
        before = forget_peak(server)
        taken = client.offer(data, patience_seconds=BLOCKED_SECONDS)
        assert taken < len(data)
        assert growth(server, before) < KEPT_BYTES, "it is the kernel that keeps what waits"
        open_gate(server, gate)
        # The frame that was on its way is whole again, and the last one.
        last = -(-taken // len(frames[0]))
        client.socket.sendall(data[taken : last * len(frames[0])])
        client.send(END)
        assert client.receive() == list(range(last))
        assert client.closed() == Closed(1000, "")


def parcel(number: int) -> str:
    """All are of one size, as JSON may have blanks behind it."""
    return json.dumps({"number": number}).ljust(PARCEL_BYTES)


def test_a_flood_of_small_messages_is_kept_by_the_kernel_too(server: DjangoServer) -> None:
    frame = serialised('{"number": 1}')
    with stubborn(server, f"/streams/gated/{uuid4().hex}/") as client:
        until_noted(server, client.id, "waits at the gate")
        before = forget_peak(server)
        data = frame * (PUSHED_BYTES // len(frame))
        assert client.offer(data, patience_seconds=BLOCKED_SECONDS) < len(data)
        # One who is only slow would take more.
        client.offer(data, patience_seconds=BLOCKED_SECONDS)
        assert growth(server, before) < KEPT_BYTES
        with opened(server, "translating/") as other:
            assert other.request({"text": "was"})["text"] == "saw"
        client.reset()
        eventually(lambda: count(server) == 0)


# The end

#: What a generator is doing as its client leaves, and how it says so.
WAYS = {"sleeping": "sleeps", "held-up": r"\d+ bytes wait"}
LEAVE: dict[str, Callable[[StubbornClient], None]] = {
    "closes": lambda client: client.send_close(1000),
    "vanishes": StubbornClient.reset,
}


def assert_cleaned_up(server: DjangoServer, client_id: str) -> None:
    until_noted(server, client_id, "the generator is cleaned up")
    eventually(lambda: count(server) == 0)
    assert noted(server, client_id).count("the generator is cleaned up") == 1
    assert "Traceback" not in server.log().split(client_id, 1)[1]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("leave", LEAVE.values(), ids=LEAVE)
def test_a_generator_is_closed_when_its_client_leaves(
    server: DjangoServer, way: str, leave: Callable[[StubbornClient], None]
) -> None:
    with stubborn(server, f"/streams/dwelling/{way}/") as client:
        until_noted(server, client.id, WAYS[way])
        leave(client)
        assert_cleaned_up(server, client.id)


#: Prints the welcome, and reads nothing after it.
DEAF = """
import sys, time
from websockets.sync.client import connect
with connect(sys.argv[1], compression=None, max_queue=1) as connection:
    print(connection.recv(), flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("way", WAYS)
def test_a_generator_is_closed_when_its_client_is_killed(
    server: DjangoServer, tmp_path: Path, way: str
) -> None:
    url, log = f"{server.ws_url}/streams/dwelling/{way}/", tmp_path / "client.log"
    process = Process([sys.executable, "-c", DEAF, url], log_path=log)
    try:
        eventually(lambda: log.read_text().endswith("\n"))
        client_id = json.loads(log.read_text())["client"]
        until_noted(server, client_id, WAYS[way])
    finally:
        process.kill()
    assert_cleaned_up(server, client_id)


@pytest.mark.parametrize("kind", KINDS)
def test_generators_are_closed_when_the_server_stops(
    deployment: Deployment, kind: ServerKind
) -> None:
    server = deployment.server(kind)
    with (
        stubborn(server, "/streams/dwelling/sleeping/") as one,
        stubborn(server, "/streams/dwelling/held-up/") as other,
    ):
        until_noted(server, one.id, WAYS["sleeping"])
        until_noted(server, other.id, WAYS["held-up"])
        server.signal(signal.SIGTERM)
        for client in (one, other):
            until_noted(server, client.id, "the generator is cleaned up")
    server.wait()
    for client in (one, other):
        assert noted(server, client.id).count("the generator is cleaned up") == 1
    assert "Traceback" not in server.log()


# Views

ARTICLE = Article(7, "Spring", "It is warm.", "It is not.")
DEFAULT = {"id": 7, "title": "Spring", "teaser": "It is warm."}
SUMMARY = {"title": "Spring", "id": 7}


def test_a_push_from_another_process_reaches_each_client_in_its_view(
    deployment: Deployment,
) -> None:
    queries = {"": DEFAULT, "?view=default": DEFAULT, "?view=summary": SUMMARY}
    servers = [deployment.server("uvicorn-frames"), deployment.server("daphne")]
    with ExitStack() as stack:
        shown = [
            (stack.enter_context(opened(server, f"desk/{query}")), view)
            for server in servers
            for query, view in queries.items()
        ]
        wsadapter.send_to_group("desk", ARTICLE)
        for client, view in shown:
            article = client.receive()
            assert (article, list(article)) == (view, list(view))
        for client, _ in shown:
            client.send({"type": "ws:view", "view": "summary"})
            until_heard(client)
        wsadapter.send_to_group("desk", ARTICLE)
        assert [client.receive() for client, _ in shown] == [SUMMARY] * len(shown)


def test_a_stream_goes_on_in_the_view_that_is_asked_for(server: DjangoServer) -> None:
    with opened(server, "articles/?view=summary") as client:
        assert client.request("7") == SUMMARY
        client.send({"type": "ws:view", "view": "default"})
        assert client.request("7") == DEFAULT


async def test_the_python_client_chooses_a_view(server: DjangoServer) -> None:
    async with dialled(server, "articles/") as client:
        await client.send(7)
        assert await client.receive() == DEFAULT
        await client.view("summary")
        await client.send(7)
        assert await client.receive() == SUMMARY


def test_an_unknown_view_closes_with_3501_and_names_those_that_there_are(
    server: DjangoServer,
) -> None:
    closed = Closed(3501, "There is no such view; there are default, summary.")
    assert refused(server, "desk/?view=whole") == refused(server, "articles/?view=whole") == closed
    with opened(server, "articles/") as client:
        client.send({"type": "ws:view", "view": "whole"})
        assert end_of(client.next_frame) == closed


# The sequence of a group

PUBLISHING = """
import sys
import django
django.setup()
from wsadapter import send_to_group
for number in range(200):
    send_to_group("desk", {"publisher": sys.argv[1], "number": number}, sequence=True)
"""
PUBLISHERS = 3
PUBLISHED = 200 * PUBLISHERS


def test_a_group_has_one_sequence_whoever_sends_and_whoever_serves(
    deployment: Deployment, tmp_path: Path
) -> None:
    servers = [deployment.server("uvicorn-frames"), deployment.server("daphne")]
    with ExitStack() as stack:
        clients = [
            stack.enter_context(opened(server, "desk/")) for server in servers for _ in range(2)
        ]
        publish(deployment, tmp_path)
        first, *others = [
            {message["sequence"]: message for message in received(client, PUBLISHED)}
            for client in clients
        ]
    assert sorted(first) == list(range(min(first), min(first) + PUBLISHED))
    assert all(other == first for other in others), "the same message at each number"
    for name in map(str, range(PUBLISHERS)):
        own = [first[number] for number in sorted(first) if first[number]["publisher"] == name]
        assert [message["number"] for message in own] == list(range(200))


def publish(deployment: Deployment, directory: Path) -> None:
    """Send from several processes at once."""
    processes = [
        Process(
            [sys.executable, "-c", PUBLISHING, str(number)],
            log_path=directory / f"publisher-{number}.log",
            environment=deployment.environment,
        )
        for number in range(PUBLISHERS)
    ]
    try:
        for process in processes:
            assert process.wait(within_seconds=60) == 0, process.log()
    finally:
        for process in processes:
            process.kill()


def test_numbers_only_rise_though_redis_forgets_them(
    deployment: Deployment, redis_server: RedisServer
) -> None:
    one, other = deployment.server("uvicorn-frames"), deployment.server("daphne")
    with opened(one, "desk/") as client:
        numbers: list[int] = []
        for publisher in (one, other, one):
            sent = {"to": "desk", "data": {"type": "news"}, "times": 20, "sequence": True}
            publisher.post("/send/group/", sent)
            numbers += [message["sequence"] for message in received(client, 20)]
            redis_server.flush()
    steps = [after - before for before, after in pairwise(numbers)]
    assert all(step >= 1 for step in steps)
    assert [place for place, step in enumerate(steps, 1) if step > 1] == [20, 40], "a gap is seen"


# Priorities


def test_what_is_urgent_overtakes_what_waits_for_a_slow_client(server: DjangoServer) -> None:
    data = {"type": "news", "filling": "x" * 16 * KIBIBYTE}
    with opened(server, "flooded/") as quick, stubborn(server, "/streams/flooded/") as slow:
        sent = 0
        while not any("bytes wait" in note for note in noted(server, slow.id)):
            assert sent < 2000, "all of that fits between a server and its client"
            sent += pour(quick, data, 32)
        wsadapter.send_to_group("flooded", {"type": "removed"}, priority=Priority.URGENT)
        assert quick.receive() == {"type": "removed"}
        types = [message["type"] for message in received(slow, sent + 1)]
    assert types.count("news") == sent
    waited = MEBIBYTE // (len(FILLING) // 2 + KIBIBYTE)
    assert types.index("removed") <= sent - waited


def pour(quick: Client, data: Any, count: int) -> int:
    """Push to a slow client and a quick one, no faster than the quick one reads."""
    with wsadapter.bulk():
        for _ in range(count):
            wsadapter.send_to_group("flooded", data)
    assert received(quick, count) == [data] * count
    return count


def subprotocol(server: DjangoServer, path: str) -> Any:
    return connect(
        f"{server.ws_url}/streams/{path}",
        subprotocols=[Subprotocol("wsadapter.priority")],
        compression=None,
        close_timeout=5,
    )


def test_a_stream_reads_what_its_client_calls_urgent_first(server: DjangoServer) -> None:
    sent = [{"n": n, "priority": p} for n in range(10) for p in ("low", 2, "high", "urgent")]
    with subprotocol(server, f"sorting/{len(sent) + 1}/") as connection:
        client = Client(connection)
        for message in sent:
            client.send(message)
        client.send(END)
        in_order = [{"n": n} for _ in range(4) for n in range(10)]
        assert client.receive() == in_order
        assert end_of(client.next_frame) == Closed(1000, "")


def test_what_is_low_has_its_turn_among_what_is_urgent(server: DjangoServer) -> None:
    sent = [{"n": "low", "priority": "low"}]
    sent += [{"n": p, "priority": p} for p in ("urgent", "high") for _ in range(95)]
    with subprotocol(server, f"sorting/{len(sent) + 1}/") as connection:
        client = Client(connection)
        for message in sent:
            client.send(message)
        client.send(END)
        read = [message["n"] for message in client.receive()]
    assert sorted(read) == sorted(message["n"] for message in sent)
    assert 0 < read.index("low") < 100


def test_without_the_subprotocol_a_priority_is_a_field_like_others(server: DjangoServer) -> None:
    sent = [{"n": n, "priority": p} for n in range(10) for p in ("low", "urgent")]
    with opened(server, f"sorting/{len(sent) + 1}/") as client:
        for message in sent:
            client.send(message)
        client.send(END)
        assert client.receive() == sent


def replies(client: Client, count: int) -> list[Any]:
    return [message["result"] for message in received(client, count)]


def test_handlers_are_called_by_the_priority_that_they_declare(server: DjangoServer) -> None:
    types = ["file", "say", "stop"] * 5
    with opened(server, "counter/") as client:
        client.send({"type": "hold", "expected": 1 + len(types)})
        for number, type in enumerate(types):
            client.send({"type": type, "id": number, "priority": 0})  # a field like others here
        assert replies(client, len(types)) == ["stopped"] * 5 + ["said"] * 5 + ["filed"] * 5


def test_under_the_subprotocol_a_client_may_ask_where_nothing_is_declared(
    server: DjangoServer,
) -> None:
    with subprotocol(server, "counter/") as connection:
        client = Client(connection)
        client.send({"type": "hold", "expected": 5, "priority": "urgent"})
        client.send({"type": "file", "id": 1, "priority": "urgent"})  # which is low, as declared
        client.send({"type": "say", "id": 2})
        client.send({"type": "say", "id": 3, "priority": "high"})
        client.send({"type": "stop", "id": 4, "priority": "low"})
        assert [message["id"] for message in received(client, 4)] == [4, 3, 2, 1]


# Batches


def unpacked(frames: Sequence[Any]) -> list[Any]:
    """The messages of the batches; each of these is as the documentation says."""
    for id, frame in enumerate(frames, 1):
        assert list(frame) == ["type", "id", "sent_at", "size", "messages"]
        assert (frame["type"], frame["id"]) == ("ws:batch", id)
        assert frame["size"] == len(frame["messages"])
    assert all(one["sent_at"] <= other["sent_at"] for one, other in pairwise(frames))
    return [message for frame in frames for message in frame["messages"]]


def test_a_thousand_small_messages_arrive_in_few_frames(server: DjangoServer) -> None:
    with opened(server, "batching/acme/?count=1000") as client:
        assert unpacked(received(client, 10)) == ticks("acme", 1000)
        assert end_of(client.next_frame) == Closed(1000, "")


async def test_the_python_client_unpacks_them(server: DjangoServer) -> None:
    async with dialled(server, "batching/acme/?count=1000") as client:
        assert [tick async for tick in client] == ticks("acme", 1000)


def test_pushes_arrive_in_batches_and_what_is_urgent_before(server: DjangoServer) -> None:
    pushes = [{"type": "news", "number": number} for number in range(1000)]
    with opened(server, "board/") as client:
        with wsadapter.bulk():
            for push in pushes[:950]:
                wsadapter.send_to_group("board", push)
            wsadapter.send_to_group("board", {"type": "removed"}, priority=Priority.URGENT)
            for push in pushes[950:]:
                wsadapter.send_to_group("board", push)
        frames = received(client, 9)
        assert client.receive() == {"type": "removed"}
        assert unpacked([*frames, client.receive()]) == pushes


# Rate limits


async def test_each_limited_type_has_its_own_rate(server: DjangoServer) -> None:
    async with dialled(server, "counter/") as client:
        for type, burst, answer in (("ask", 3, "answered"), ("note", 2, "noted")):
            assert [await client.request(type) for _ in range(burst)] == [answer] * burst
            with pytest.raises(python_client.RequestError) as refusal:
                await client.request(type)
            error = refusal.value
            assert (error.code, error.kind) == ("rate_limited", FailureKind.EXHAUSTED)
            assert error.retry_after is not None and error.retry_after > 0
            assert await client.request("say") == "said"


def test_a_flood_of_one_type_closes_with_3013(server: DjangoServer) -> None:
    with opened(server, "counter/") as client:
        client.flood({"type": "ask"}, 30)
        end = end_of(lambda: [client.next_frame() for _ in range(31)])
    assert end == Closed(3013, "too many messages")


# Retries


def test_pushes_and_pings_go_on_while_a_handler_waits_to_be_tried_again(
    server: DjangoServer,
) -> None:
    with opened(server, "errands/") as client:
        client.send({"type": "postpone", "id": 7})
        until_noted(server, client.id, "postponed")
        for _ in range(3):
            assert client.next_frame() == {"type": "ws:ping"}
            client.send({"type": "ws:pong"})
        wsadapter.send_to_group("errands", {"type": "news"})
        assert client.receive() == {"type": "news"}
    eventually(lambda: count(server) == 0)


def test_a_handler_is_tried_again_until_it_works(server: DjangoServer) -> None:
    gate = uuid4().hex
    with opened(server, "errands/") as client:
        client.send({"type": "run", "id": 7, "gate": gate})
        for _ in range(2):
            assert client.next_frame() == {"type": "ws:ping"}
            client.send({"type": "ws:pong"})
        open_gate(server, gate)
        answer = client.receive()
    assert (answer["type"], answer["id"]) == ("ws:reply", 7)
    assert answer["result"] > 1, "it was called again"


async def test_retries_that_are_used_up_are_the_clients_to_hear_of(server: DjangoServer) -> None:
    async with dialled(server, "errands/") as client:
        with pytest.raises(python_client.RequestError) as failure:
            await client.request("despair")
    assert str(failure.value) == "failed after 3 retries: attempt 4 failed"
    assert (failure.value.code, failure.value.kind) == ("exhausted", FailureKind.EXHAUSTED)


def test_a_client_that_sends_on_after_the_end_is_let_go_and_holds_up_nobody(
    server: DjangoServer,
) -> None:
    frames = serialised("hi") * 1000
    with (
        opened(server, "translating/") as other,
        stubborn(server, "/streams/ticking/acme/?count=1") as rude,
    ):
        rude.socket.settimeout(PATIENCE_SECONDS)
        with pytest.raises(ConnectionError):
            send_on(rude, frames)
        assert other.request({"text": "on"}) == {"text": "no", "length": 2}


def send_on(client: StubbornClient, frames: bytes) -> None:
    """Send until the other side has had enough, or all patience is at its end."""
    deadline = time.monotonic() + 2 * PATIENCE_SECONDS
    while time.monotonic() < deadline:
        client.socket.sendall(frames)


def test_nothing_of_this_left_a_traceback(server: DjangoServer) -> None:
    assert "Traceback" not in server.log()
