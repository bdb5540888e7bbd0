"""Every Python block of docs/client.md runs, and its tables are those of the code."""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import inspect
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.client.server import Site, site
from tests.markdown import DOCS, Block
from wsadapter.client import FailureKind, RequestError, connect
from wsadapter.wire.reconnecting import Timings

PAGE = DOCS["client"]
BLOCKS = [block for block in PAGE.blocks if block.language == "python"]
URL = re.compile(r"ws://localhost:8000/ws/chat/")


@pytest.fixture
async def server() -> AsyncIterator[Site]:
    async with site() as running:
        yield running


def run(block: Block, server: Site, **names: Any) -> dict[str, Any]:
    """What the block has defined; its addresses are the server's."""
    namespace = {"connect": connect, **names}
    exec(compile(URL.sub(server.url, block.text), str(PAGE.path), "exec"), namespace)
    return namespace


def block_of(name: str) -> Block:
    """The one that defines that function."""
    (found,) = (block for block in BLOCKS if f"def {name}(" in block.text)
    return found


def test_every_block_has_its_test() -> None:
    names = "main listen report upload summaries next_message watch say say_once_more follow"
    assert {block_of(name) for name in names.split()} == set(BLOCKS)


async def test_connect(server: Site, capsys: pytest.CaptureFixture[str]) -> None:
    running = asyncio.create_task(asyncio.to_thread(run, block_of("main"), server))
    peer = await server.accepted()
    assert await peer.heard() == {"type": "chat.say", "text": "hi"}
    await peer.say({"type": "chat.said"})
    await peer.close(1000)
    await running
    assert capsys.readouterr().out == "{'type': 'chat.said'}\n"


async def test_tickets(server: Site) -> None:
    async def new_ticket() -> str:
        return "t1"

    listening = asyncio.create_task(
        run(block_of("listen"), server, new_ticket=new_ticket)["listen"]()
    )
    peer = await server.accepted()
    assert peer.request.path == "/ws/?ticket=t1"
    assert peer.request.headers["X-Service"] == "reports"
    await peer.say("hello")
    assert await listening == "hello"


async def test_send(server: Site) -> None:
    async with connect(server.url) as socket:
        peer = await server.accepted()
        await run(block_of("report"), server)["report"](socket, ["a", "b"])
        assert [(await peer.heard())["text"] for _ in range(2)] == ["a", "b"]


async def test_streams(server: Site) -> None:
    upload = run(block_of("upload"), server)["upload"]
    async with connect(server.url) as socket:
        peer = await server.accepted()
        uploading = asyncio.create_task(upload(socket, [{"celsius": 20}, {"celsius": 21}]))
        assert [(await peer.heard())["celsius"] for _ in range(2)] == [20, 21]
        assert await peer.heard() == {"type": "ws:end"}
        await peer.say({"mean": 20.5})
        assert await uploading == {"mean": 20.5}


async def test_views(server: Site) -> None:
    summaries = run(block_of("summaries"), server)["summaries"]
    receiving = asyncio.create_task(summaries(server.url))
    peer = await server.accepted()
    assert await peer.heard() == {"type": "ws:view", "view": "summary"}
    await peer.say({"id": 1})
    assert await receiving == {"id": 1}


async def test_gaps(server: Site, capsys: pytest.CaptureFixture[str]) -> None:
    loaded: list[None] = []

    async def load_again() -> None:
        loaded.append(None)

    watch = run(block_of("watch"), server)["watch"]
    async with connect(server.url) as socket:
        peer = await server.accepted()
        for number in (1, 2, 5, 3, 6):
            await peer.say({"text": f"t{number}", "sequence": number})
        await peer.close(1000)
        await watch(socket, load_again)
    assert capsys.readouterr().out.split() == ["t1", "t2", "t6"]
    assert len(loaded) == 1


async def test_receive(server: Site) -> None:
    next_message = run(block_of("next_message"), server)["next_message"]
    async with connect(server.url) as socket:
        peer = await server.accepted()
        await peer.say(1)
        assert await next_message(socket) == 1


async def test_request(server: Site) -> None:
    say = run(block_of("say"), server)["say"]
    async with connect(server.url) as socket:
        peer = await server.accepted()
        asking = asyncio.create_task(say(socket, "hi"))
        assert await peer.heard() == {"text": "hi", "type": "chat.say", "id": 1}
        await peer.say({"type": "ws:reply", "id": 1, "result": {"length": 2}})
        assert await asking == 2
        asking = asyncio.create_task(say(socket, 5))
        await peer.heard()
        error = {"type": "ws:error", "id": 2, "code": "invalid", "message": "Expected text."}
        await peer.say(error)
        assert await asking == "invalid: Expected text."


async def test_whether_to_ask_again(server: Site) -> None:
    names = {"asyncio": asyncio, "RequestError": RequestError}
    say_once_more = run(block_of("say_once_more"), server, **names)["say_once_more"]
    error = {"type": "ws:error", "code": "rate_limited", "message": "Slower."}
    async with connect(server.url) as socket:
        peer = await server.accepted()
        asking = asyncio.create_task(say_once_more(socket, "hi"))
        await peer.heard()
        await peer.say({**error, "id": 1, "kind": "exhausted", "retry_after": 0.001})
        assert (await peer.heard())["id"] == 2
        await peer.say({"type": "ws:reply", "id": 2, "result": "said"})
        assert await asking == "said"
        asking = asyncio.create_task(say_once_more(socket, "hi"))
        await peer.heard()
        await peer.say({**error, "id": 3, "kind": "fatal"})
        with pytest.raises(RequestError, match="Slower"):
            await asking


def test_the_kinds_are_those_that_exist() -> None:
    rows = PAGE.table("kind")
    assert [ast.literal_eval(code_in(row[0])) for row in rows] == list(FailureKind)


async def test_when_the_server_goes(server: Site, capsys: pytest.CaptureFixture[str]) -> None:
    follow = run(block_of("follow"), server)["follow"]
    following = asyncio.create_task(follow(server.url))
    peer = await server.accepted()
    await peer.welcome()
    await peer.close(3001)
    peer = await server.accepted()
    await peer.welcome()
    await peer.say(1)
    assert (await peer.heard())["text"] == "What did I miss?"
    await peer.say({"type": "goodbye"})
    assert await peer.close_code() == 1000
    await following
    states = "connecting open waiting connecting open closed"
    assert capsys.readouterr().out.split() == states.split()


def code_in(cell: str) -> str:
    found = re.search(r"`(.+)`", cell)
    assert found is not None, cell
    return found[1]


def test_the_options_are_those_that_exist() -> None:
    parameters = inspect.signature(connect).parameters.values()
    options = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    told = {code_in(row[0]): code_in(row[1]) for row in PAGE.table("option")}
    assert list(told) == list(options)
    assert (told.pop("random"), options.pop("random").__qualname__) == (
        "random.random",
        "Random.random",
    )
    assert {name: ast.literal_eval(default) for name, default in told.items()} == options


def test_the_durations_are_those_that_exist() -> None:
    told = {code_in(row[0]): float(code_in(row[1])) for row in PAGE.table("duration")}
    fields = {field.name: field.default for field in dataclasses.fields(Timings)}
    assert told == fields
    assert list(told) == list(fields)


def test_the_numbers_in_the_text_are_the_defaults() -> None:
    timings = Timings()
    assert f"up to {timings.backoff_base_seconds} seconds" in PAGE.text
    assert f"up to {timings.backoff_cap_seconds:g};" in PAGE.text
    assert f"after {timings.ping_after_seconds:g} seconds" in PAGE.text
    assert f"after {timings.pong_within_seconds:g} more" in PAGE.text
