"""What bad input gets, on both servers: an answer or a close code, a line in the log, no more.

Every row runs against one server process on which another connection lives through all of them.
"""

from __future__ import annotations

import json
import re
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.frames import Opcode

from tests.deployment import DjangoServer, one_server
from tests.redis_server import RedisServer
from tests.system.client import Client, Closed, connected
from tests.waiting import eventually

TEXT, BINARY, CLOSE, PING = Opcode.TEXT, Opcode.BINARY, Opcode.CLOSE, Opcode.PING

TOO_LARGE = "a message may have 65536 bytes"


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        sent: a text frame, or how something worse is sent.
        answer: the code of the ``ws:error``, or the result of a reply.
        closed: in place of an answer: the close code and reason, on both servers or on each.
        logged: what a line in the log must match; without it the log must say nothing.
        tracebacks: how many of them are in the log.
        path: the offending field in the answer.
        id: the request's id in the answer.
    """

    name: str
    sent: str | Callable[[Client], None]
    answer: Any = None
    closed: Closed | dict[str, Closed] | None = None
    logged: str | None = None
    tracebacks: int | dict[str, int] = 0
    path: str | None = None
    id: int | str | None = None


def frame(opcode: Opcode, payload: bytes, *, mask: bool = True) -> Callable[[Client], None]:
    return lambda client: client.frame(opcode, payload, mask=mask)


def raw(data: bytes) -> Callable[[Client], None]:
    return lambda client: client.raw(data)


def request(**fields: Any) -> str:
    return json.dumps(fields)


def cut_off(reason: str, code: int = 1002) -> dict[str, Closed]:
    """Daphne drops who breaks the protocol without a close frame; uvicorn says why."""
    return {"daphne": Closed(1006, ""), "uvicorn": Closed(code, reason)}


def broken_protocol(name: str, sent: Callable[[Client], None], reason: str) -> Row:
    return Row(name, sent, closed=cut_off(reason), logged=r"ended with code (1006|1002)")


def reserved(kind: str) -> Row:
    return Row(
        f"a type that is not declared: {kind}",
        request(type=kind, id=7, code=1000, text="x", bytes="x"),
        answer="unknown_type",
        path="$.type",
        id=7,
    )


def too_large(name: str, sent: str | Callable[[Client], None]) -> Row:
    closed = {kind: Closed(3501, TOO_LARGE) for kind in ("daphne", "uvicorn")}
    return Row(name, sent, closed=closed, logged=f"code 3501 .{TOO_LARGE}")


DEEP = 20_000
WITHOUT_MASK = b"\x00\x00\x00\x00"

TABLE = [
    # Frames that are no messages
    Row(
        "invalid UTF-8",
        frame(TEXT, b'{"type": "chat.say", "text": "\xff"}'),
        closed=cut_off("", 1007),
        logged=r"ended with code (1006|1007)",
        tracebacks={"daphne": 0, "uvicorn": 1},  # uvicorn's own
    ),
    Row("an empty text frame", frame(TEXT, b""), answer="invalid_json"),
    Row("an empty binary frame", frame(BINARY, b""), answer="unsupported"),
    Row("a binary frame", frame(BINARY, b"\x00\xff"), answer="unsupported"),
    broken_protocol("a frame without a mask", frame(TEXT, b"x", mask=False), "incorrect masking"),
    broken_protocol("an unknown opcode", raw(b"\x83\x80" + WITHOUT_MASK), "invalid opcode"),
    broken_protocol("a reserved bit", raw(b"\xc1\x80" + WITHOUT_MASK), "reserved bits must be 0"),
    broken_protocol(
        "a continuation of nothing",
        raw(b"\x80\x80" + WITHOUT_MASK),
        "unexpected continuation frame",
    ),
    broken_protocol(
        "a ping beyond 125 bytes",
        raw(b"\x89\xfe" + struct.pack("!H", 126) + WITHOUT_MASK + b"a" * 126),
        "control frame too long",
    ),
    broken_protocol(
        "a close code that must not be sent",
        raw(b"\x88\x82" + WITHOUT_MASK + struct.pack("!H", 1005)),
        "invalid status code",
    ),
    # Texts that are no JSON
    Row("NUL", "\x00", answer="invalid_json"),
    Row("NUL in a string", '{"type": "chat.say", "text": "\x00"}', answer="invalid_json"),
    Row("half of an object", '{"type": "chat.say"', answer="invalid_json"),
    Row("NaN", '{"type": "chat.say", "text": NaN}', answer="invalid_json"),
    Row(
        "a lone surrogate",
        '{"type": "chat.say", "id": 7, "text": "\\ud800"}',
        answer="invalid_json",
    ),
    Row("a lone surrogate in the type", '{"type": "\\udfff"}', answer="invalid_json"),
    Row("deep nesting", "[" * DEEP, answer="invalid_json"),
    Row(
        "deep nesting in a field",
        '{"type": "chat.say", "text": ' + "[" * DEEP + "]" * DEEP + "}",
        answer="invalid_json",
    ),
    Row("a number beyond all", '{"type": "chat.say", "id": 1e400}', answer="invalid_json"),
    Row("five thousand digits", '{"type": "chat.say", "id": 1' + "0" * 5000 + "}", "invalid_json"),
    # JSON that is no message
    Row("a list", "[]", answer="invalid", path="$"),
    Row("null", "null", answer="invalid", path="$"),
    Row("no type", request(id=7, text="hi"), answer="invalid", path="$.type", id=7),
    Row("a type that is no text", request(type=1, id=7), answer="invalid", path="$.type", id=7),
    Row("an id that is no id", request(type="chat.say", id=[]), answer="invalid", path="$.id"),
    Row("a wrong field", request(type="chat.say", id=7, text=1), "invalid", path="$.text", id=7),
    Row("a missing field", request(type="chat.say", id="x"), "invalid", path="$", id="x"),
    reserved("chat.sing"),
    *map(reserved, ("", "disconnect", "receive", "accept", "__init__", "_beat", "dispatch")),
    *map(reserved, ("websocket.close", "websocket.disconnect", "websocket.receive")),
    *map(reserved, ("wsadapter.push", "wsadapter.kick", "wsadapter.gap")),
    *map(reserved, ("ws:welcome", "ws:ping ", "WS:PING", "ws:pings", "ws:reply", "ws:gap")),
    # What is strange and all the same fine
    Row(
        "NUL, escaped",
        request(type="chat.say", id=7, text="\x00"),
        answer={"text": "\x00", "length": 1},
        id=7,
    ),
    Row(
        "an id of thirty digits",
        request(type="chat.say", id=10**30, text=""),
        answer={"text": "", "length": 0},
        id=10**30,
    ),
    # Too much
    too_large("a text beyond the limit", "x" * 65537),
    too_large("a text beyond the limit in UTF-8 only", "я" * 40_000),
    too_large("a binary frame beyond the limit", frame(BINARY, b"\x00" * 65537)),
    Row(
        "a frame beyond the server's own limit",
        raw(b"\x82\xff" + struct.pack("!Q", 20 << 20) + WITHOUT_MASK),
        closed=cut_off("frame with 20971520 bytes exceeds limit of 16777216 bytes", 1009),
        logged=r"ended with code (1006|1009)",
    ),
    # The server's own mistake
    Row(
        "a handler that raises",
        request(type="chat.fail", id=7, text="hunter2"),
        answer="internal_error",
        id=7,
        logged=r"ERROR wsadapter.handlers: Chat failed on the message 'chat.fail' of client",
        tracebacks=1,
    ),
]


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def server(
    request: pytest.FixtureRequest,
    redis_server: RedisServer,
    project_database: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DjangoServer]:
    directory = tmp_path_factory.mktemp("bad-input")
    yield from one_server(request.param, directory, project_database, redis_server)


@pytest.fixture(scope="module")
def witness(server: DjangoServer) -> Iterator[Client]:
    """Another connection of the same process, through everything."""
    with connected(server) as client:
        yield client


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_what_bad_input_gets(server: DjangoServer, witness: Client, row: Row) -> None:
    before = len(server.log())
    with connected(server) as client:
        if callable(row.sent):
            row.sent(client)
        else:
            client.send(row.sent)
        if row.closed is not None:
            closed = row.closed if isinstance(row.closed, Closed) else row.closed[server.kind]
            assert client.closed() == closed
        else:
            assert_answer(client.receive(), row)
            assert client.request({"type": "chat.say", "id": 1, "text": ""})["id"] == 1
    eventually(lambda: server.get("/counts/").json()["clients"] == 1)
    if row.logged:  # the line is written last, when the connection is no longer counted
        eventually(lambda: re.search(row.logged, server.log()[before:]))
    said = server.log()[before:]
    assert len(re.findall(row.logged or "wsadapter", said)) == (1 if row.logged else 0), said
    expected = row.tracebacks if isinstance(row.tracebacks, int) else row.tracebacks[server.kind]
    assert said.count("Traceback") == expected, said
    assert_lives(witness)


def assert_answer(answer: Any, row: Row) -> None:
    assert "secret" not in str(answer) and "hunter2" not in str(answer)
    if not isinstance(row.answer, str):
        assert answer == {"type": "ws:reply", "id": row.id, "result": row.answer}
        return
    assert answer["message"].endswith(".")
    assert answer["type"] == "ws:error"
    found = (answer["code"], answer["id"], answer.get("path"))
    assert found == (row.answer, row.id, row.path)


def assert_lives(witness: Client) -> None:
    assert witness.request({"type": "chat.say", "id": 1, "text": "here"})["type"] == "ws:reply"


# What is no WebSocket at all


def http(server: DjangoServer, request: bytes) -> str:
    """The head of what the server answers to these bytes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=15) as connection:
        connection.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer and (part := connection.recv(65536)):
            answer += part
    return answer.decode("latin-1")


def upgrade(path: str = "/ws/", **changes: str | None) -> bytes:
    headers: dict[str, str | None] = {
        "Host": "127.0.0.1",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode("latin-1")


def status(answer: str) -> int:
    return int(answer.split(" ", 2)[1])


def test_plain_http_on_a_websocket_path_is_told_to_upgrade(
    server: DjangoServer, witness: Client
) -> None:
    before = len(server.log())
    for method in ("GET", "POST", "HEAD"):
        answer = server.request(method, "/ws/")
        headers = {name.lower(): value for name, value in answer.headers.items()}
        assert (answer.status, headers["upgrade"]) == (426, "websocket")
    assert "Traceback" not in server.log()[before:]
    assert_lives(witness)


@pytest.mark.parametrize("path", ["/nowhere/", "/ws", "//", "/ws/%00", "/ws/%FF", "/ws/../etc/"])
def test_a_wrong_websocket_path_is_refused_and_logged_once(
    server: DjangoServer, witness: Client, path: str
) -> None:
    before = len(server.log())
    with pytest.raises(InvalidStatus) as refusal, connected(server, path):
        pass
    assert refusal.value.response.status_code == 403
    said = server.log()[before:]
    assert said.count("no WebSocket route has this path") == 1
    assert "ERROR" not in said
    assert "Traceback" not in said
    assert_lives(witness)


@pytest.mark.parametrize(
    "handshake",
    [
        upgrade(Sec_WebSocket_Key=None),
        upgrade(Sec_WebSocket_Key="no key"),
        upgrade(Sec_WebSocket_Version="12"),
        upgrade(Sec_WebSocket_Version=None),
        upgrade(Sec_WebSocket_Version="x"),
        upgrade().replace(b"GET", b"POST"),
    ],
    ids=["no key", "a bad key", "an old version", "no version", "no number", "POST"],
)
def test_a_bad_upgrade_is_refused_without_a_traceback(
    server: DjangoServer, witness: Client, handshake: bytes
) -> None:
    before = len(server.log())
    assert 400 <= status(http(server, handshake)) < 500
    assert "Traceback" not in server.log()[before:]
    assert_lives(witness)


@pytest.mark.parametrize(
    "handshake", [upgrade(Upgrade="h2c"), upgrade(Upgrade=None)], ids=["h2c", "none"]
)
def test_no_upgrade_to_websocket_is_plain_http(server: DjangoServer, handshake: bytes) -> None:
    assert status(http(server, handshake)) == 426


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
def test_a_page_of_another_site_gets_403_and_one_line(
    server: DjangoServer, witness: Client, origin: str
) -> None:
    before = len(server.log())
    assert status(http(server, upgrade(Origin=origin))) == 403
    said = server.log()[before:]
    assert len(re.findall(r"wsadapter.handshake: Refused .* the origin", said)) == 1, said
    assert "Traceback" not in said
    assert_lives(witness)


@pytest.mark.parametrize(
    "origin", ["http://", "ÿ", "a b", "http://[", "http://a:b", "http://a:99999"]
)
def test_what_is_no_origin_is_refused_by_the_server_or_by_the_check(
    server: DjangoServer, witness: Client, origin: str
) -> None:
    before = len(server.log())
    assert status(http(server, upgrade(Origin=origin))) in (400, 403)
    assert "Traceback" not in server.log()[before:]
    assert_lives(witness)
