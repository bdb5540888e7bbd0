"""What endpoints do with one client, on real servers: the talk itself, its limits and its end."""

from __future__ import annotations

import json
import random
import re
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from tests.deployment import Deployment, DjangoServer, one_server
from tests.processes import Process
from tests.redis_server import RedisServer
from tests.system.client import PATIENCE_SECONDS, Client, Closed, connected
from tests.system.notes import noted, until_noted
from tests.system.stubborn_client import stubborn
from tests.waiting import eventually

KINDS = ["uvicorn-frames", "daphne", "uvicorn"]


@pytest.fixture(scope="module", params=KINDS)
def server(
    request: pytest.FixtureRequest,
    redis_server: RedisServer,
    project_database: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DjangoServer]:
    directory = tmp_path_factory.mktemp("talk")
    yield from one_server(request.param, directory, project_database, redis_server)


def refused(server: DjangoServer, path: str, **options: Any) -> Closed:
    """How one is closed who is not even welcomed."""
    with connect(f"{server.ws_url}{path}", **options) as connection:
        with pytest.raises(ConnectionClosed) as end:
            connection.recv(PATIENCE_SECONDS)
        assert end.value.rcvd is not None
        return Closed(end.value.rcvd.code, end.value.rcvd.reason)


def count(server: DjangoServer) -> int:
    return int(server.get("/counts/").json()["clients"])


def received(client: Client, frames: int) -> list[Any]:
    return [client.receive() for _ in range(frames)]


# Sending and receiving


def test_every_way_of_sending_arrives_and_the_return_closes_with_1000(
    server: DjangoServer,
) -> None:
    with connected(server, "/talk/greetings/") as client:
        assert received(client, 4) == [{"number": 1}, "text", b"binary", {"number": 2}]
        assert received(client, 3) == [b"\x00\xff", "a string", None]
        assert client.closed() == Closed(1000, "")


def test_what_is_not_welcomed_gets_what_is_sent_first(server: DjangoServer) -> None:
    with connect(f"{server.ws_url}/talk/unwelcoming/") as client:
        assert client.recv(10) == "first"


def test_a_client_that_closes_ends_the_loop_quietly(server: DjangoServer) -> None:
    with connected(server, "/talk/echo/") as client:
        assert client.request("text") == "text"
        assert client.request(b"\x00\xff") == b"\x00\xff"
        client.close(1001)
    until_noted(server, client.id, "the loop ended quietly")


def test_any_other_end_raises_from_the_loop(server: DjangoServer) -> None:
    with connected(server, "/talk/echo/") as client:
        client.close(4567)
    until_noted(server, client.id, "the loop ended with 4567 '' by client")
    with connected(server, "/talk/echo/") as other:
        other.reset()
        until_noted(server, other.id, "the loop ended with 1006 '' by network")
    assert "Traceback" not in server.log().split(client.id)[-1]


@pytest.mark.parametrize(
    ("kind", "sent", "answer"),
    [
        ("frame", "text", {"got": "'text'"}),
        ("frame", b"binary", {"got": "b'binary'"}),
        ("text", "text", {"got": "'text'"}),
        ("bytes", b"binary", {"got": "b'binary'"}),
        ("json", '{"a": [1, null]}', {"got": "{'a': [1, None]}"}),
        (
            "order",
            '{"items": [{"name": "tea", "price": 3}]}',
            {"got": "Order(items=[Item(name='tea', price=3)])"},
        ),
    ],
)
def test_each_way_of_reading_gets_what_it_asks_for(
    server: DjangoServer, kind: str, sent: str | bytes, answer: Any
) -> None:
    with connected(server, f"/talk/reading/{kind}/") as client:
        assert client.request(sent) == answer


@pytest.mark.parametrize(
    ("kind", "sent", "error", "path", "accepted"),
    [
        ("text", b"binary", "UnexpectedFrame", None, "text"),
        ("bytes", "text", "UnexpectedFrame", None, b"binary"),
        ("json", b"[]", "UnexpectedFrame", None, "[]"),
        ("json", "{", "InvalidMessage", None, "{}"),
        ("order", '{"items": [{"name": 1}]}', "InvalidMessage", "$.items[0].name", '{"items": []}'),
        ("order", "[]", "InvalidMessage", "$", '{"items": []}'),
    ],
)
def test_what_does_not_fit_raises_with_its_path_and_the_next_frame_can_be_read(
    server: DjangoServer, kind: str, sent: str | bytes, error: str, path: str | None, accepted: Any
) -> None:
    with connected(server, f"/talk/reading/{kind}/") as client:
        answer = client.request(sent)
        assert (answer["error"], answer["path"]) == (error, path)
        assert "got" in client.request(accepted)


def test_a_read_that_times_out_loses_nothing(server: DjangoServer) -> None:
    with connected(server, "/talk/reading/text/?timeout=0.3") as client:
        answer = client.receive()
        assert answer["error"] == "ReadTimeout"
        assert answer["message"] == f"Client {client.id} sent nothing within 0.3 s."
        client.send("late")
        while "error" in (answer := client.receive()):
            pass
        assert answer == {"got": "'late'"}


def test_tasks_that_send_and_receive_at_once_keep_the_order_of_their_lanes(
    server: DjangoServer,
) -> None:
    frames, readers = 300, 3
    with connected(server, f"/talk/crowded/?frames={frames}&readers={readers}") as client:
        for number in range(frames):
            client.send(str(number))
        for _ in range(readers):
            client.send("-1")
        answers = received(client, 4 * frames + 1)
        assert client.closed() == Closed(1000, "")
    for lane in ("URGENT", "HIGH", "NORMAL", "LOW"):
        numbers = [each["number"] for each in answers if each.get("lane") == lane]
        assert numbers == list(range(frames)), lane
    heard = answers[-1]["heard"]
    assert sorted(number for each in heard for number in each) == list(range(frames))
    assert all(each == sorted(each) for each in heard)


def test_a_connection_knows_itself_and_its_numbers(server: DjangoServer) -> None:
    login = server.login("anna")
    with connected(server, "/talk/stating/", headers=login.headers) as client:
        client.send("abc")
        first = client.receive()
        client.send(b"\x00" * 7)
        second = client.receive()
    assert (first["state"], first["closed"]) == ("open", False)
    assert (first["client_id"], first["user"]) == (client.id, "anna")
    assert (first["path"], first["subprotocol"]) == ("/talk/stating/", None)
    assert 0 <= first["age_seconds"] < 10 and 0 <= first["silence_seconds"] < 10
    assert (first["messages"][0], second["messages"][0]) == (1, 2)
    assert (first["bytes"][0], second["bytes"][0]) == (3, 10)
    assert second["messages"][1] > first["messages"][1] >= 1
    assert second["bytes"][1] > first["bytes"][1] > 0
    assert [second[name] for name in ("errors", "dropped", "queued_bytes")] == [0, 0, 0]


def test_a_pong_gives_the_round_trip(server: DjangoServer) -> None:
    with connected(server, "/talk/beating/") as client:
        for _ in range(3):
            assert client.next_frame() == {"type": "ws:ping"}
            client.send({"type": "ws:pong"})
        assert client.request("alive") == "alive"


def test_a_consumer_has_the_same_connection(server: DjangoServer) -> None:
    with connected(server, "/talk/talking/") as client:
        assert client.request("one") == {"heard": "one"}
        assert client.request("two") == {"heard": "two"}


def test_a_consumer_that_reads_twice_is_told_why_it_cannot(server: DjangoServer) -> None:
    with connected(server, "/talk/conflicting/") as client:
        answer = client.request("who gets this?")
        assert "Conflicting overrides receive()" in answer and "Two readers" in answer


# Repetition


@pytest.mark.parametrize(
    ("deduplicate", "sent"),
    [("yes", [1, 2, 12, 15, 1]), ("no", [1, 1, 2, 2, 12, 15, 1]), ("tens", [1, 12, 1])],
)
def test_duplicates_are_left_out_as_was_asked_and_the_first_error_is_raised(
    server: DjangoServer, deduplicate: str, sent: list[int]
) -> None:
    with connected(server, f"/talk/sequence/?deduplicate={deduplicate}") as client:
        assert received(client, len(sent)) == sent
        assert client.closed() == Closed(4000, "nothing is left")


def test_a_getter_that_takes_longer_than_its_interval_never_runs_twice_at_once(
    server: DjangoServer,
) -> None:
    with connected(server, "/talk/overlapping/") as client:
        assert received(client, 5) == [{"calls": n, "running": 1} for n in range(1, 6)]


def test_a_getter_that_returns_the_same_mutated_dict_is_seen_as_changed(
    server: DjangoServer,
) -> None:
    with connected(server, "/talk/tally/") as client:
        counts = [frame["count"] for frame in received(client, 3)]
        assert counts == sorted(set(counts))


def test_a_sync_getter_may_use_the_database(server: DjangoServer) -> None:
    with connected(server, "/talk/users/") as client:
        before = client.receive()
        assert before["thread"]
        server.login(f"new {random.SystemRandom().random()}")
        assert client.receive() == {"users": before["users"] + 1, "thread": True}


def test_the_time_that_a_getter_takes_is_not_added_to_the_interval(server: DjangoServer) -> None:
    with connected(server, "/talk/clock/") as client:
        times = received(client, 6)
        # What is late once is not late for ever after: then the next one follows sooner.
        assert min(after - before for before, after in pairwise(times)) < 0.12


def test_a_periodic_endpoint_takes_no_messages(server: DjangoServer) -> None:
    with connected(server, "/talk/clock/") as client:
        client.send("anybody there?")
        while not isinstance(answer := client.receive(), dict):
            pass
        assert (answer["type"], answer["code"]) == ("ws:error", "unsupported")
        client.receive()


def test_a_periodic_endpoint_ends_with_its_client(server: DjangoServer) -> None:
    with connected(server, "/talk/occupied/repeating/") as client:
        received(client, 2)
    until_noted(server, client.id, "the function is cleaned up")


# Parameters and options


def test_parameters_come_from_the_route_the_scope_and_the_query_string(
    server: DjangoServer,
) -> None:
    login = server.login("anna")
    path = "/talk/parameters/tea%20room/3/?page=7&tags=a&tags=b&user=somebody&room=other&more=1"
    with connected(server, path, headers=login.headers) as client:
        assert client.receive() == {
            "room": "tea room",
            "floor": 3,
            "user": "anna",
            "page": 7,
            "tags": ["a", "b"],
            "order": "up",
        }


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (
            "/talk/parameters/a/1/?page=x",
            'The parameter page is wrong: Expected a whole number, got "x".',
        ),
        ("/talk/parameters/a/1/?order=left", "The parameter order is wrong: "),
        ("/talk/crowded/?frames=1", "The parameter readers is missing."),
    ],
)
def test_a_wrong_parameter_closes_with_3501_and_is_named(
    server: DjangoServer, path: str, reason: str
) -> None:
    before = len(server.log())
    with connect(f"{server.ws_url}{path}") as connection:
        with pytest.raises(Exception, match="3501"):
            connection.recv(10)
        assert connection.close_code == 3501
        assert (connection.close_reason or "").startswith(reason)
    said = server.log()[before:]
    assert len(re.findall(rf"wsadapter\.handshake: .*{re.escape(reason)}", said)) == 1, said
    assert "Traceback" not in said


@pytest.mark.parametrize("path", ["/talk/tokens/", "/talk/tokens-sync/"])
def test_an_endpoint_asks_who_is_there_in_its_own_way(server: DjangoServer, path: str) -> None:
    server.login("anna")
    with connected(server, f"{path}?anna") as client:
        assert client.receive() == {"user": "anna"}
    assert refused(server, f"{path}?nobody").code == 3500


def test_whoever_is_denied_gets_403(server: DjangoServer) -> None:
    url = f"{server.ws_url}/talk/tokens/?forged"
    with pytest.raises(InvalidStatus) as refusal, connect(url):
        pass
    assert refusal.value.response.status_code == 403


def test_only_its_origins_may_connect(server: DjangoServer) -> None:
    url = f"{server.ws_url}/talk/partners/"
    with connect(url, origin=Origin("https://partner.example")) as connection:
        assert Client(connection).receive() == {"subprotocol": None}
    stranger = Origin("https://stranger.example")
    with pytest.raises(InvalidStatus) as refusal, connect(url, origin=stranger):
        pass
    assert refusal.value.response.status_code == 403


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(["v1.example"], "v1.example"), (["v1.example", "v2.example"], "v2.example"), (None, None)],
)
def test_the_preferred_subprotocol_is_chosen(
    server: DjangoServer, offered: list[Subprotocol] | None, chosen: str | None
) -> None:
    with connect(f"{server.ws_url}/talk/dialects/", subprotocols=offered) as connection:
        assert connection.subprotocol == chosen
        assert Client(connection).receive() == {"subprotocol": chosen}


def test_a_client_that_speaks_none_of_them_is_told_which_there_are(server: DjangoServer) -> None:
    offered = [Subprotocol("v9.example")]
    closed = refused(server, "/talk/dialects/", subprotocols=offered)
    assert closed == Closed(3501, "subprotocols here: v2.example, v1.example")


def test_compression_can_be_declined(server: DjangoServer) -> None:
    def negotiated(path: str) -> str | None:
        with connect(f"{server.ws_url}{path}") as connection:
            assert connection.response is not None
            assert Client(connection).id
            return connection.response.headers.get("Sec-WebSocket-Extensions")

    assert negotiated("/talk/compressed/")
    assert negotiated("/talk/uncompressed/") is None


def test_a_message_beyond_the_size_closes_with_3501(server: DjangoServer) -> None:
    with connected(server, "/talk/small/") as client:
        assert client.request("x" * 100) == "x" * 100
        client.send("x" * 101)
        assert client.closed() == Closed(3501, "a message may have 100 bytes")


def test_a_client_is_held_to_its_rate_and_a_flood_is_closed(server: DjangoServer) -> None:
    with connected(server, "/talk/limited/") as client:
        assert [client.request(f"{number}") for number in range(3)] == [0, 1, 2]
        answer = client.request('{"type": "more", "id": 7}')
        assert (answer["type"], answer["code"], answer["id"]) == ("ws:error", "rate_limited", 7)
        assert answer["retry_after"] > 0
        client.flood("more", 20)
        assert client.closed() == Closed(3013, "too many messages")


def test_a_frame_may_be_larger_than_what_a_client_may_send(server: DjangoServer) -> None:
    size = 3 << 19
    with connected(server, f"/talk/large/?size={size}") as client:
        assert client.receive() == bytes(size)
        assert client.receive() == "x" * size
        assert client.receive() == "last"


@pytest.mark.parametrize("frame", ["", b""], ids=["text", "binary"])
def test_an_empty_frame_is_a_frame(server: DjangoServer, frame: str | bytes) -> None:
    with connected(server, "/talk/echo/") as client:
        client.send(frame)
        client.send("end")
        assert [client.receive(), client.receive()] == [frame, "end"]


def test_a_client_that_answers_no_ping_is_closed(server: DjangoServer) -> None:
    with connected(server, "/talk/beating/") as client:
        assert client.closed() == Closed(3012, "no pong")


@pytest.mark.parametrize(
    ("endpoint", "sent", "code", "reason"),
    [
        ("silent", 0, 3012, r"silent for \d+ s, 0.2 are allowed"),
        ("mistaken", 20, 3004, r"\d+ of \d+ messages failed, 50 % are allowed"),
        ("overrun", 0, 3013, r"\d+ tasks at once, 3 are allowed"),
    ],
)
def test_an_unhealthy_connection_is_closed_with_its_reason_and_logged(
    server: DjangoServer, endpoint: str, sent: int, code: int, reason: str
) -> None:
    with connected(server, f"/talk/{endpoint}/") as client:
        client.flood("{", sent)
        closed = client.closed()
    assert closed.code == code
    assert re.fullmatch(reason, closed.reason)
    assert_ailment(server, client.id, code, reason)


def test_one_who_does_not_read_is_unhealthy(server: DjangoServer) -> None:
    with stubborn(server, "/talk/clogged/") as client:
        reason = r"\d+ bytes wait to be sent, 50000 are allowed"
        assert_ailment(server, client.id, 3008, reason)


def assert_ailment(server: DjangoServer, client_id: str, code: int, reason: str) -> None:
    line = rf"WARNING wsadapter\.health: Client {client_id} is unhealthy and is closed with "
    eventually(lambda: re.search(rf"{line}code {code}: {reason}\.", server.log()))
    assert len(re.findall(line, server.log())) == 1


# Being registered like a consumer


def test_endpoints_are_counted_and_reached_like_consumers(server: DjangoServer) -> None:
    eventually(lambda: count(server) == 0)
    login = server.login("anna")
    with (
        connected(server, "/talk/echo/", headers=login.headers) as client,
        connected(server, "/talk/quiet/", headers=login.headers) as silent,
    ):
        assert server.get("/counts/").json() == {"clients": 2, "users": 1}
        assert {each["client_id"] for each in server.get("/online/").json()["clients"]} == {
            client.id,
            silent.id,
        }
        server.post("/send/all/", {"data": "to all"})
        server.post("/send/user/", {"to": login.user_id, "data": "to anna"})
        server.post("/send/group/", {"to": "quiet", "data": "to the quiet"})
        server.post("/send/client/", {"to": silent.id, "data": "to one"})
        assert received(client, 2) == ["to all", "to anna"]
        assert received(silent, 2) == ["to the quiet", "to one"]
    eventually(lambda: count(server) == 0)


@pytest.mark.parametrize("path", ["/talk/occupied/sleeping/", "/talk/quiet/", "/talk/users/"])
@pytest.mark.parametrize("way", ["client", "user", "logout"])
def test_an_endpoint_is_closed_from_outside(server: DjangoServer, path: str, way: str) -> None:
    login = server.login("anna")
    with connected(server, path, headers=login.headers) as client:
        if way == "logout":
            server.post("/logout/", headers=login.headers)
        else:
            target = client.id if way == "client" else login.user_id
            assert server.post(f"/disconnect/{way}/{target}/").json() == {"connections": 1}
        assert client.closed().code == (3500 if way == "logout" else 3503)
    if "occupied" in path:
        until_noted(server, client.id, "the function is cleaned up")
    eventually(lambda: count(server) == 0)


# The end


def test_an_endpoint_that_raises_closes_with_1011_and_is_logged_once(server: DjangoServer) -> None:
    with connected(server, "/talk/failing/") as client:
        assert client.receive() == "last words"
        assert client.closed() == Closed(1011, "internal error")
    line = f"ERROR wsadapter.handlers: The endpoint failing failed with client {client.id}."
    eventually(lambda: f"{client.id} (user anonymous) ended with code 1011" in server.log())
    assert server.log().count(line) == 1
    assert server.log().split(line)[1].count("RuntimeError: a secret of the server") == 1


@pytest.mark.parametrize(("sent", "reason"), [("[]", "Expected "), (b"[]", "Expected text, ")])
def test_a_mistake_of_the_client_that_nobody_handles_closes_with_3501(
    server: DjangoServer, sent: str | bytes, reason: str
) -> None:
    before = len(server.log())
    with connected(server, "/talk/ordering/") as client:
        client.send(sent)
        closed = client.closed()
    assert closed.code == 3501
    assert closed.reason.startswith(reason)
    eventually(lambda: "ended with code 3501" in server.log()[before:])
    assert f"WARNING wsadapter.handlers: Client {client.id} of ordering erred: " in server.log()
    assert "Traceback" not in server.log()[before:]


@pytest.mark.parametrize("code", [1000, 1008, 4321])
def test_a_close_comes_after_what_was_sent_before(server: DjangoServer, code: int) -> None:
    with connected(server, f"/talk/closing/{code}/?reason=enough") as client:
        assert received(client, 3) == [{"number": number} for number in range(3)]
        assert client.closed() == Closed(code, "enough")
    until_noted(server, client.id, "closed: closed, True")


def test_a_client_that_answers_no_close_frame_is_cut(server: DjangoServer) -> None:
    with stubborn(server, "/talk/cutting/0/") as client:
        assert client.closed() == Closed(4001, "enough")
        began = time.monotonic()
        client.until_cut()
        assert time.monotonic() - began < 3
    eventually(lambda: count(server) == 0)


def test_a_client_that_reads_nothing_is_cut_though_much_waits_for_it(server: DjangoServer) -> None:
    with stubborn(server, "/talk/cutting/400/") as client:
        until_noted(server, client.id, r"closing with \d{6,} bytes queued")
        seconds = float(until_noted(server, client.id, r"cut after (.*) s")[1])
        assert 0.5 < seconds < 3
        client.until_cut()
    eventually(lambda: count(server) == 0)


OCCUPATIONS = ["sleeping", "repeating", "listening", "absorbing", "expecting"]


@pytest.mark.parametrize("occupation", OCCUPATIONS)
def test_whatever_runs_is_cleaned_up_when_the_client_closes(
    server: DjangoServer, occupation: str
) -> None:
    with connected(server, f"/talk/occupied/{occupation}/") as client:
        until_noted(server, client.id, "begins")
    assert_cleaned_up(server, client.id)


@pytest.mark.parametrize("occupation", OCCUPATIONS)
def test_whatever_runs_is_cleaned_up_after_a_reset(server: DjangoServer, occupation: str) -> None:
    with stubborn(server, f"/talk/occupied/{occupation}/") as client:
        until_noted(server, client.id, "begins")
        client.reset()
    assert_cleaned_up(server, client.id)


KILLED = """
import sys
from websockets.sync.client import connect
with connect(sys.argv[1]) as connection:
    for frame in connection:
        if "ws:welcome" in frame:
            print(frame, flush=True)
"""


def test_whatever_runs_is_cleaned_up_when_the_client_is_killed(
    server: DjangoServer, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        for occupation in OCCUPATIONS:
            url = f"{server.ws_url}/talk/occupied/{occupation}/"
            process = Process([sys.executable, "-c", KILLED, url], log_path=tmp_path / occupation)
            stack.callback(process.kill)
        ids = [
            json.loads(eventually((tmp_path / each).read_text))["client"] for each in OCCUPATIONS
        ]
        for client_id in ids:
            until_noted(server, client_id, "begins")
    for client_id in ids:
        assert_cleaned_up(server, client_id)


def welcomed(log: Path) -> str:
    """The client id in the welcome, once the process has printed it."""
    printed = re.compile(r'^\{.*"client":"(.*)"\}$', re.MULTILINE)
    eventually(lambda: printed.search(log.read_text()))
    return str(printed.findall(log.read_text())[0])


def assert_ended(server: DjangoServer, client_id: str) -> None:
    """Both its function and its task have gone through their `finally`, once."""
    until_noted(server, client_id, "the function is cleaned up")
    until_noted(server, client_id, "the task is cleaned up")
    assert noted(server, client_id).count("the function is cleaned up") == 1


def assert_cleaned_up(server: DjangoServer, client_id: str) -> None:
    assert_ended(server, client_id)
    eventually(lambda: count(server) == 0)
    assert "Traceback" not in server.log().split(client_id, 1)[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("occupation", ["filling", "chattering"])
def test_an_endpoint_that_sends_without_end_stops_nobody_else(
    deployment: Deployment, kind: Any, occupation: str
) -> None:
    """Not while its client reads as fast as it can, and not once that client is gone."""
    server = deployment.server(kind)
    with connected(server, "/talk/echo/") as other:
        for size in (0, 1, 1_000, 10_000, 50_000):
            with stubborn(server, f"/talk/occupied/{occupation}/") as client:
                client.drink(size)
                client.reset()
            assert other.request("still there?") == "still there?"
            assert_ended(server, client.id)


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_runs_is_cleaned_up_when_the_server_stops(
    deployment: Deployment, kind: Any
) -> None:
    server = deployment.server(kind)
    with ExitStack() as stack:
        clients = [
            stack.enter_context(connected(server, f"/talk/occupied/{occupation}/"))
            for occupation in OCCUPATIONS
        ]
        for client in clients:
            until_noted(server, client.id, "begins")
        server.terminate(within_seconds=10)
    for client in clients:
        assert "the function is cleaned up" in noted(server, client.id)
        assert "the task is cleaned up" in noted(server, client.id)
    assert "Traceback" not in server.log()
