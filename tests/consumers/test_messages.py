"""What the browser sends, and what it is answered."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from tests.consumers.browser import Browser, Closed
from tests.consumers.conftest import Log
from wsadapter.consumers import AdapterConsumer
from wsadapter.handlers import handler

Connect = Callable[..., Browser]


class Say(msgspec.Struct):
    text: str
    times: int = 1


@dataclass
class Said:
    length: int


class Chat(AdapterConsumer):
    @handler("chat.say")
    async def say(self, message: Say) -> Said:
        return Said(length=len(message.text) * message.times)

    @handler("chat.nothing")
    async def nothing(self) -> None:
        pass

    @handler("chat.fail")
    async def fail(self, message: dict[str, Any]) -> None:
        raise LookupError("a secret")

    @handler("chat.unspeakable")
    async def unspeakable(self) -> object:
        return object()

    @handler("close")
    async def not_the_method_of_that_name(self) -> str:
        return "a handler"


def error(code: str, id: int | str | None = None, path: str | None = None) -> dict[str, Any]:
    kind = "transient" if code == "internal_error" else "fatal"
    body: dict[str, Any] = {"type": "ws:error", "id": id, "code": code, "kind": kind}
    return body if path is None else {**body, "path": path}


def without_sentence(answer: dict[str, Any]) -> dict[str, Any]:
    assert answer.pop("message").endswith(".")
    return answer


@pytest.mark.parametrize("id", [7, 0, "seven", "", 2**53], ids=repr)
async def test_the_reply_has_the_id_of_the_request(browser: Connect, id: int | str) -> None:
    client = browser(Chat)
    await client.open()
    assert await client.request(type="chat.say", id=id, text="hi", times=2) == {
        "type": "ws:reply",
        "id": id,
        "result": {"length": 4},
    }


async def test_a_handler_that_returns_nothing_confirms_a_request_only(browser: Connect) -> None:
    client = browser(Chat)
    await client.open()
    await client.send_json_to({"type": "chat.nothing"})
    answer = await client.request(type="chat.nothing", id=1)
    assert answer == {"type": "ws:reply", "id": 1, "result": None}


async def test_a_handler_may_have_the_name_of_a_method(browser: Connect) -> None:
    client = browser(Chat)
    await client.open()
    assert (await client.request(type="close", id=1))["result"] == "a handler"


@pytest.mark.parametrize(
    ("frame", "answer"),
    [
        ({"type": "chat.say", "id": 7}, error("invalid", 7, "$")),
        ({"type": "chat.say", "id": 7, "text": 1}, error("invalid", 7, "$.text")),
        (
            {"type": "chat.say", "id": "x", "text": "", "times": "1"},
            error("invalid", "x", "$.times"),
        ),
        ({"type": "chat.say", "text": None}, error("invalid", None, "$.text")),
        ({"type": "chat.sing", "id": 7}, error("unknown_type", 7, "$.type")),
        ({"type": "", "id": 7}, error("unknown_type", 7, "$.type")),
        ({"id": 7}, error("invalid", 7, "$.type")),
        ({"type": 7, "id": 7}, error("invalid", 7, "$.type")),
        ({"type": "chat.say", "id": 1.5}, error("invalid", None, "$.id")),
        ({"type": "chat.say", "id": True}, error("invalid", None, "$.id")),
        ({"type": "chat.say", "id": []}, error("invalid", None, "$.id")),
        ([1, 2], error("invalid", None, "$")),
        ("text", error("invalid", None, "$")),
        (None, error("invalid", None, "$")),
    ],
    ids=json.dumps,
)
async def test_a_mistake_is_answered_with_its_code_id_and_path(
    browser: Connect, log: Log, frame: Any, answer: dict[str, Any]
) -> None:
    client = browser(Chat)
    await client.open()
    assert without_sentence(await client.request_raw(json.dumps(frame))) == answer
    assert (await client.request(type="chat.say", id=1, text=""))["type"] == "ws:reply"
    assert not log.lines("handlers")


@pytest.mark.parametrize("frame", ["", "{", "{}}", "\x00", '{"type": "\\ud800"}', "NaN", "'a'"])
async def test_what_is_no_json_is_answered_so(browser: Connect, frame: str) -> None:
    client = browser(Chat)
    await client.open()
    assert without_sentence(await client.request_raw(frame)) == error("invalid_json")


async def test_a_binary_frame_is_not_taken_unless_receive_is_there(browser: Connect) -> None:
    client = browser(Chat)
    await client.open()
    assert without_sentence(await client.request_raw(b"\x00")) == error("unsupported")


async def test_a_consumer_that_takes_nothing_says_so(browser: Connect) -> None:
    client = browser(AdapterConsumer)
    await client.open()
    assert without_sentence(await client.request(type="chat.say")) == error("unsupported")


async def test_receive_gets_what_is_not_for_the_handlers(browser: Connect) -> None:
    class Both(Chat):
        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            await self.send(f"received {text_data!r} {bytes_data!r}")

    client = browser(Both)
    await client.open()
    assert await client.request_raw("no json") == "received 'no json' None"
    assert await client.request_raw("[1]") == "received '[1]' None"
    assert await client.request_raw(b"x") == "received None b'x'"
    assert (await client.request(type="chat.say", id=1, text=""))["type"] == "ws:reply"
    assert (await client.request(type="chat.sing", id=1))["code"] == "unknown_type"


async def test_a_handler_that_raises_fails_alone_and_tells_nothing(
    browser: Connect, log: Log
) -> None:
    client = browser(Chat)
    await client.open()
    answer = await client.request(type="chat.fail", id=7, text="private words")
    assert "secret" not in str(answer)
    assert without_sentence(answer) == error("internal_error", 7)
    assert len(log.tracebacks) == len(log.lines("handlers")) == 1
    assert "chat.fail" in log.lines("handlers")[0]
    assert "private words" not in log.lines("handlers")[0]
    assert (await client.request(type="chat.say", id=8, text=""))["id"] == 8


async def test_a_result_that_does_not_encode_is_the_servers_error(
    browser: Connect, log: Log
) -> None:
    client = browser(Chat)
    await client.open()
    answer = await client.request(type="chat.unspeakable", id=7)
    assert without_sentence(answer) == error("internal_error", 7)
    assert len(log.tracebacks) == 1


REACHABLE_IN_CHANNELS = [
    *("disconnect", "connect", "receive", "accept", "send", "dispatch", "join", "authenticate"),
    *("__init__", "__call__", "_beat", "websocket.close", "websocket.disconnect"),
    *("websocket.receive", "wsadapter.push", "wsadapter.kick", "wsadapter.gap"),
    *("ws:welcome", "ws:reply", "ws:error", "ws:gap", "ws:batch", "ws:", "WS:PING", "ws:pings"),
]


@pytest.mark.parametrize("kind", REACHABLE_IN_CHANNELS)
async def test_nothing_but_a_declared_handler_can_be_called(
    browser: Connect, log: Log, kind: str
) -> None:
    client = browser(Chat)
    await client.open()
    answer = await client.request(type=kind, id=7, code=1000, text="x", reason="")
    assert without_sentence(answer) == error("unknown_type", 7, "$.type")
    assert (await client.request(type="chat.say", id=8, text=""))["id"] == 8
    assert not log.lines("handlers")


@pytest.mark.parametrize(
    "ping", ['{"type":"ws:ping"}', '{ "type" : "ws:ping" }', '{"type":"ws:ping","id":1}']
)
async def test_a_ping_of_the_client_is_answered_on_any_consumer(
    browser: Connect, ping: str
) -> None:
    client = browser(AdapterConsumer)
    await client.open()
    assert await client.request_raw(ping) == {"type": "ws:pong"}


@pytest.mark.parametrize(
    "frame", ["a" * 101, b"a" * 101, "я" * 51, "🌷" * 26, '"' * 101], ids=lambda f: repr(f[:1])
)
async def test_a_message_beyond_the_limit_ends_its_connection_only(
    browser: Connect, frame: str | bytes
) -> None:
    class Small(AdapterConsumer):
        max_message_size = 100

        async def receive(self, text_data: str | None = None, bytes_data: Any = None) -> None:
            await self.send("taken")

    client, other = browser(Small), browser(Small)
    await client.open()
    await other.open()
    await client.frame(frame)
    assert await client.closed() == Closed(3501, "a message may have 100 bytes")
    fitting = frame[: 100 // len(frame[:1].encode() if isinstance(frame, str) else b"x")]
    assert await other.request_raw(fitting) == "taken"
