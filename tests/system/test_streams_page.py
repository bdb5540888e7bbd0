"""Every code block of docs/streams.md is run, and what it says is held against the code.

So are the streams of README and the failures of docs/errors.md.
"""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import json
import re
import time
import uuid
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterator,
    Mapping,
)
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal, TypedDict

import msgspec
import pydantic
import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Page
from websockets.asyncio.client import connect as adial
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as dial

from tests.consumers.browser import Browser
from tests.markdown import DOCS, README, Block
from tests.redis_server import RedisServer
from tests.shop import Shop
from tests.system.client import PATIENCE_SECONDS, Client, Closed
from tests.test_docs import codes_in
from tests.waiting import aeventually, eventually
from wsadapter import (
    Batch,
    EndpointError,
    FailureKind,
    Fatal,
    Priority,
    asend_to_group,
    stream,
    with_views,
)
from wsadapter import client as python_client
from wsadapter.consumers import AdapterConsumer
from wsadapter.contract import Contract
from wsadapter.endpoints import Options
from wsadapter.failing import _KNOWN
from wsadapter.incoming import MAX_BYTES
from wsadapter.store.operations import SEQUENCE_SECONDS
from wsadapter.streams import StreamConsumer, StreamOptions
from wsadapter.tasks import PATIENCE_SECONDS as READING_SECONDS
from wsadapter.wire.failures import TREATMENTS, kind_of_close
from wsadapter.wire.lanes import LANE_SIZE, PATIENCE_TURNS
from wsadapter.wire.payload import to_json
from wsadapter.wire.retries import Retry
from wsadapter.wire.views import project, view_names

pytestmark = pytest.mark.xdist_group("streams page")  # its project is made once

PAGE = DOCS["streams"]
ERRORS = DOCS["errors"]
TEXT = " ".join(PAGE.text.split())

REDIS_DATABASE = 9
KIB = 1024
END = {"type": "ws:end"}
PING, PONG = {"type": "ws:ping"}, {"type": "ws:pong"}

#: What the pages speak of without showing it, and where all of that is mounted.
PROBES = """# shop/probes.py
import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from django.conf import settings

from shop.articles import ARTICLES, Article, Desk
from shop.feeds import Reading
from shop.payments import Busy, Declined, Payments
from shop.support import Support
from shop.ticker import ticker
from wsadapter import Batch, Connection, ConnectionClosed, Exhausted, Priority, handler, stream

GO = settings.BASE_DIR / "go"


def note(name: str, text: str) -> None:
    with (settings.BASE_DIR / f"{name}.notes").open("a") as file:
        file.write(f"{text}\\n")


async def told_to_go() -> None:
    while not GO.exists():
        await asyncio.sleep(0.01)


@stream
async def waiting(name: str) -> AsyncIterator[str]:
    try:
        yield "begun"
        await asyncio.Event().wait()
    finally:
        note(name, "it is over")


@stream
async def diary(incoming: AsyncIterator[str], name: str) -> AsyncIterator[str]:
    try:
        async for line in incoming:
            yield line
        note(name, "incoming has ended")
    except ConnectionClosed as end:
        note(name, f"closed with {end.code}")
        raise
    finally:
        note(name, "it is over")


@stream
async def metronome(
    incoming: AsyncIterator[str], connection: Connection
) -> AsyncIterator[dict[str, int]]:
    heard: list[str] = []

    async def read(incoming: AsyncIterator[str]) -> None:
        async for text in incoming:
            heard.append(text)

    connection.create_task(read(incoming))
    while "stop" not in heard:
        yield {"heard": len(heard)}
        await asyncio.sleep(0.01)


@stream
async def silent(incoming: AsyncIterator[str], name: str) -> None:
    note(name, f"{len([text async for text in incoming])} texts")


@stream(on_invalid="end")
async def strict(incoming: AsyncIterator[Reading], name: str) -> None:
    async for reading in incoming:
        note(name, f"{reading.celsius} degrees")


@stream
async def failing(how: str) -> AsyncIterator[str]:
    yield "begun"
    raise Exhausted("Too many.", retry_after=2) if how == "exhausted" else LookupError("a secret")


@stream(lane_size=5, groups=["torrent"])
async def torrent(count: int) -> AsyncIterator[dict[str, Any]]:
    for number in range(count):
        yield {"number": number, "at": time.monotonic(), "filling": "x" * 64 * 1024}


@stream(heartbeat_interval=0.5, heartbeat_timeout=0.5, heartbeat_mode="always")
async def patient(incoming: AsyncIterator[bytes]) -> int:
    await told_to_go()
    return len([data async for data in incoming])


@stream(batch=Batch(max_delay=60), priorities={"now": Priority.URGENT, "some day": Priority.LOW})
async def parcels() -> AsyncIterator[Any]:
    yield {"number": 1}
    yield {"type": "some day"}
    yield {"type": "now"}
    yield b"binary"
    yield {"number": 2}


pairs = stream(batch=Batch(max_bytes=len('{"number":0},{"number":1},'), max_delay=60))(
    ticker.function
)


@stream(views=("summary",))
async def summaries() -> AsyncIterator[Article]:
    yield ARTICLES[0]


class BusySupport(Support):
    @handler("wait")
    async def wait(self, message: dict) -> None:
        await told_to_go()


class Reader(Desk):
    @handler("show")
    async def show(self, message: dict) -> Article:
        return ARTICLES[0]

    @handler("go away")
    async def go_away(self, message: dict) -> None:
        await self.close(3001)


class Bank(Payments):
    @handler("decline")
    async def decline(self, message: dict) -> None:
        raise Declined("a secret")

    @handler("ask")
    async def ask(self, message: dict) -> None:
        raise Busy("a secret")
"""

MOUNTED = """# shop/routing.py, at its end
from shop import probes

websocket_urlpatterns += [
    path(f"ws/{name.lower()}/", getattr(probes, name).as_asgi())
    for name in (
        "waiting", "diary", "metronome", "silent", "strict", "failing", "torrent", "patient",
        "parcels", "pairs", "summaries", "Reader", "BusySupport", "Bank",
    )
]
"""


# The project


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> Shop:
    """A reader's project: README, the page of errors and this page typed into it, and probes."""
    shop = Shop(
        tmp_path_factory.mktemp("streams"),
        redis_url=f"redis://127.0.0.1:{redis_server.port}/{REDIS_DATABASE}",
    )
    for page in (README, ERRORS, PAGE):
        shop.type(page.blocks)
    shop.type([Block("", "python", PROBES), Block("", "python", MOUNTED)])
    shop.manage("migrate")
    return shop


@pytest.fixture(scope="module")
def uvicorn(shop: Shop) -> Iterator[int]:
    with shop.uvicorn("shop.asgi:application") as port:
        yield port


@pytest.fixture(scope="module")
def daphne(shop: Shop) -> Iterator[int]:
    """It serves socket.js as well."""
    with shop.runserver() as port:
        yield port


@pytest.fixture(params=["uvicorn", "daphne"])
def server(request: pytest.FixtureRequest) -> str:
    """The address of each of the two."""
    return f"ws://127.0.0.1:{request.getfixturevalue(request.param)}"


@contextmanager
def opened(server: str, path: str, **options: Any) -> Iterator[Client]:
    with dial(
        f"{server}/ws/{path}", compression=None, close_timeout=5, max_size=None, **options
    ) as connection:
        yield Client(connection)


Open = Callable[..., AbstractContextManager[Client]]


@pytest.fixture
def client(uvicorn: int) -> Open:
    """Open a connection to a path."""

    def open_client(path: str, **options: Any) -> AbstractContextManager[Client]:
        return opened(f"ws://127.0.0.1:{uvicorn}", path, **options)

    return open_client


@dataclass(frozen=True)
class Notes:
    """What a probe that was opened with a query has noted."""

    directory: Path
    name: str

    @property
    def query(self) -> str:
        return f"?name={self.name}"

    def __call__(self) -> list[str]:
        path = self.directory / f"{self.name}.notes"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def notes(shop: Shop) -> Notes:
    return Notes(shop.directory, uuid.uuid4().hex)


@pytest.fixture
def go(shop: Shop) -> Iterator[Callable[[], None]]:
    """Tell the probes that wait for it to go on."""
    path = shop.directory / "go"
    yield path.touch
    path.unlink(missing_ok=True)


def module(shop: Shop, name: str) -> ModuleType:
    """A client of the page, from beside the project."""
    path = shop.directory / f"clients/{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def all_of(client: Client, count: int) -> list[Any]:
    return [client.receive() for _ in range(count)]


def refused(port: int, path: str) -> Closed:
    """Connect, only to be closed with a code."""
    with dial(f"ws://127.0.0.1:{port}/ws/{path}") as connection:
        return close_that_is_next(lambda: connection.recv(PATIENCE_SECONDS))


def ended(client: Client) -> Closed:
    """How the server ends the connection, which is the next that it does."""
    return close_that_is_next(client.next_frame)


def close_that_is_next(read: Callable[[], object]) -> Closed:
    with pytest.raises(ConnectionClosed) as end:
        read()
    assert end.value.rcvd is not None
    return Closed(end.value.rcvd.code, end.value.rcvd.reason)


def test_every_block_is_run() -> None:
    assert Counter((block.language, block.section) for block in PAGE.blocks if not block.path) == {
        ("js", "To the client"): 1,
        ("js", "From the client"): 1,
        ("js", "Both ways"): 1,
        ("js", "Sequences"): 1,
        ("json", "Batches"): 1,
    }
    assert {block.language for block in PAGE.blocks if block.path} == {"python"}


def test_everything_that_can_be_mounted_is_mounted() -> None:
    typed = "".join(block.text for block in PAGE.blocks)
    endpoints = re.findall(r"^@stream.*\nasync def (\w+)", typed, re.MULTILINE)
    consumers = re.findall(r"^class (\w+)\(AdapterConsumer\)", typed, re.MULTILINE)
    mounted = re.findall(r'path\("ws/.*/", (?:\w+\.)?(\w+)\.as_asgi\(\)\)', typed)
    assert sorted(mounted) == sorted(endpoints + consumers)


def test_the_system_checks_find_nothing(shop: Shop) -> None:
    assert "no issues" in shop.manage("check")


# Signatures


def declared(signature: str, body: str) -> Contract:
    """The contract of a signature as the page spells it."""
    types = {"AsyncIterator": AsyncIterator, "A": int, "B": str}
    exec(f"{signature}:\n    {body}", types)
    return Contract(types["f"])


def test_the_patterns_are_those_of_their_signatures() -> None:
    told = {}
    for name, signature, _ in PAGE.table("pattern"):
        [line] = codes_in(signature)
        contract = declared(line, "yield" if line.endswith("-> AsyncIterator[B]") else "...")
        assert contract.sends is str and contract.reads in (None, int)
        told[name] = contract.incoming, contract.streams
    assert told == {
        "[to the client](#to-the-client)": (None, True),
        "[from the client](#from-the-client)": ("incoming", False),
        "[both ways](#both-ways)": ("incoming", True),
    }


@pytest.mark.parametrize("kind", [AsyncIterable, AsyncGenerator], ids=["Iterable", "Generator"])
def test_other_spellings_mean_the_same(kind: Any) -> None:
    assert f"`{kind.__name__}`" in TEXT

    async def f(incoming):  # type: ignore[no-untyped-def]
        yield

    f.__annotations__ = {"incoming": kind[int], "return": kind[str]}
    contract = Contract(f)
    assert (contract.incoming, contract.reads) == ("incoming", int)
    assert (contract.streams, contract.sends) == (True, str)


# The three patterns, on two servers


def test_to_the_client(server: str) -> None:
    with opened(server, "prices/acme/?every=0.01") as client:
        for message in all_of(client, 3):
            assert message.keys() == {"symbol", "price"}
            assert message["symbol"] == "acme" and 90 <= message["price"] <= 110


def test_from_the_client(server: str) -> None:
    with opened(server, "readings/") as client:
        for celsius in (0.0, -5.5, -7):
            client.send({"sensor": "roof", "celsius": celsius})
        client.send(END)
        assert client.receive() == {"count": 3, "highest": 0.0}
        assert ended(client) == Closed(1000, "")


def test_both_ways(server: str) -> None:
    with opened(server, "dictionary/") as client:
        client.send({"text": "stream"})
        assert client.receive() == {"text": "maerts", "length": 6}
        client.send(END)
        assert ended(client) == Closed(1000, "")


async def test_the_python_clients(server: str, shop: Shop) -> None:
    prices = await module(shop, "prices").next_prices(server, "acme", 3)
    assert len(prices) == 3 and all(90 <= price <= 110 for price in prices)
    report = module(shop, "readings").report
    assert await report(server, [-5.0, -7.5]) == {"count": 2, "highest": -5.0}
    assert await report(server, []) == {"count": 0, "highest": None}
    translate = module(shop, "dictionary").translate
    assert await translate(server, ["was", "not"]) == ["saw", "ton"]


def test_the_auction_of_readme(server: str) -> None:
    with opened(server, "auction/?least=2") as client:
        client.send({"item": 7, "amount": 1})
        assert client.receive() == {"item": 7, "amount": 2.0, "is_yours": False}
        client.send({"item": 7, "amount": 3})
        assert client.receive() == {"item": 7, "amount": 3.0, "is_yours": True}
        client.send({"item": 7, "amount": "four"})
        assert client.receive()["path"] == "$.amount"
        client.send({"item": 7, "amount": 3})
        assert client.receive() == {"item": 7, "amount": 3.0, "is_yours": False}
        client.send(END)
        assert ended(client) == Closed(1000, "")


# The same in a browser


@pytest.fixture(scope="module")
def session(shop: Shop) -> str:
    return shop.login()


@pytest.fixture
def tab(chromium: Chromium, session: str, daphne: int) -> Page:
    """A page of the site that can import socket.js, and has what the page's scripts export."""
    site = f"http://127.0.0.1:{daphne}"
    context = chromium.new_context()
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    context.add_cookies([{"name": "sessionid", "value": session, "url": site}])
    tab = context.new_page()
    tab.goto(f"{site}/orders/")
    names = []
    for script in (block.text for block in PAGE.blocks if block.language == "js"):
        exported = re.findall(r"^export function (\w+)", script, re.MULTILINE)
        kept = f"Object.assign(window, {{ {', '.join(exported)} }});"
        tab.add_script_tag(type="module", content=f"{script}\n{kept}")
        names += exported
    tab.wait_for_function("names => names.every((name) => window[name])", arg=names)
    return tab


def test_prices_in_a_page(tab: Page) -> None:
    with tab.expect_websocket() as opening:
        tab.evaluate(
            """() => {
                window.prices = [];
                window.stop = watch("acme", (price) => prices.push(price));
            }"""
        )
    tab.wait_for_function("prices.length >= 3")
    assert all(90 <= price <= 110 for price in tab.evaluate("prices"))
    with opening.value.expect_event("close"):
        tab.evaluate("stop()")


def test_readings_of_a_page(tab: Page) -> None:
    tab.evaluate("() => { report([20.5, 21]).then((summary) => (window.summary = summary)); }")
    tab.wait_for_function("window.summary")
    assert tab.evaluate("summary") == {"count": 2, "highest": 21}


def test_words_of_a_page(tab: Page) -> None:
    tab.evaluate("window.shown = []; window.socket = ask(['was', 7, 'not'], (t) => shown.push(t))")
    tab.wait_for_function("shown.length === 3")
    assert tab.evaluate("shown") == ["saw", "$.text: Expected `str`, got `int`.", "ton"]
    tab.evaluate("socket.end()")
    tab.wait_for_function("socket.state === 'closed'")


# What is said around the three


def test_a_parameter_that_does_not_fit_is_refused(uvicorn: int) -> None:
    assert refused(uvicorn, "prices/acme/?every=x").code == 3501


@pytest.mark.parametrize("leave", [Client.close, Client.reset], ids=["closing", "vanishing"])
def test_a_generator_ends_where_it_stands_when_its_client_leaves(
    client: Open, notes: Notes, leave: Callable[[Client], None]
) -> None:
    with client(f"waiting/{notes.query}") as waiting:
        assert waiting.receive() == "begun"
        assert notes() == []
        leave(waiting)
        eventually(lambda: notes() == ["it is over"])


def test_without_a_result_none_is_sent(client: Open, notes: Notes) -> None:
    with client(f"silent/{notes.query}") as silent:
        silent.send("a text")
        silent.send(END)
        assert ended(silent) == Closed(1000, "")
        assert notes() == ["1 texts"]


def test_words_may_all_be_sent_before_anything_is_read(client: Open) -> None:
    with client("dictionary/") as dictionary:
        for number in range(1000):
            dictionary.send({"text": str(number)})
        dictionary.send(END)
        assert [each["text"][::-1] for each in all_of(dictionary, 1000)] == [
            str(number) for number in range(1000)
        ]
        assert ended(dictionary).code == 1000


def test_a_function_may_read_in_a_task_of_its_own(client: Open) -> None:
    with client("metronome/") as metronome:
        assert all_of(metronome, 3) == [{"heard": 0}] * 3
        metronome.send("louder")
        while metronome.receive() != {"heard": 1}:
            pass
        metronome.send("stop")
        assert metronome.closed() == Closed(1000, "")


def test_what_is_not_in_the_contract_does_not_get_in_between(shop: Shop, client: Open) -> None:
    with client("diary/?name=nobody") as diary, client("") as plain:
        shop.shell("from wsadapter import broadcast; broadcast('to all')")
        assert plain.receive() == "to all"
        diary.send("the first")
        assert diary.receive() == "the first"


# What messages can be


class Point(msgspec.Struct):
    x: int


class StrictPoint(msgspec.Struct, forbid_unknown_fields=True):
    x: int


@dataclass
class Place:
    x: int


class Spot(TypedDict):
    x: int


class Model(pydantic.BaseModel):
    x: int


class Circle(msgspec.Struct, tag="circle"):
    radius: int


class Square(msgspec.Struct, tag="square"):
    side: int


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    lives: int


Pet = Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]

Sample = tuple[Any, str | bytes, str | bytes | None]

OBJECTS = "`msgspec.Struct`, dataclass, TypedDict, pydantic model"
UNIONS = "a union of tagged Structs, or of pydantic models with a discriminator"
VALUES = "`int`, `list[int]`, `dict[str, float]`, `date`, `UUID`, …"
SOME_ID = uuid.UUID(int=7)

#: For each row of the table a type, a frame, and the one that comes back; None is an error.
SAMPLES: dict[str, dict[str, Sample]] = {
    OBJECTS: {
        "Struct": (Point, '{"x":1,"extra":2}', '{"x":1}'),
        "Struct that forbids": (StrictPoint, '{"x":1,"extra":2}', None),
        "dataclass": (Place, '{"x":1,"extra":2}', '{"x":1}'),
        "TypedDict": (Spot, '{"x":1,"extra":2}', '{"x":1}'),
        "model": (Model, '{"x":1,"extra":2}', '{"x":1}'),
        "another type": (Point, '{"x":"1"}', None),
        "binary": (Point, b'{"x":1}', None),
    },
    UNIONS: {
        "Structs": (
            Circle | Square,
            '{"type":"square","side":1}',
            '{"type":"square","side":1}',
        ),
        "another tag": (Circle | Square, '{"type":"cube","side":1}', None),
        "models": (Pet, '{"kind":"dog","lives":1}', '{"kind":"dog","lives":1}'),
        "another kind": (Pet, '{"kind":"cow","lives":1}', None),
    },
    VALUES: {
        "int": (int, "7", "7"),
        "list": (list[int], "[1,2]", "[1,2]"),
        "dict": (dict[str, float], '{"a":1.5}', '{"a":1.5}'),
        "date": (date, '"2026-03-01"', '"2026-03-01"'),
        "UUID": (uuid.UUID, f'"{SOME_ID}"', f'"{SOME_ID}"'),
        "no date": (date, '"today"', None),
    },
    "`str`": {
        "text": (str, "{as it is", "{as it is"),
        "binary": (str, b"as it is", None),
    },
    "`bytes`": {
        "binary": (bytes, b"\x00\xff", b"\x00\xff"),
        "text": (bytes, "text", None),
        "binary of a union": (Point | bytes, b"\x00\xff", b"\x00\xff"),
        "text of a union": (Point | bytes, '{"x":1}', '{"x":1}'),
    },
    "nothing": {
        "object": (None, '{"a": [1]}', '{"a":[1]}'),
        "text": (None, '"a text goes out as it is"', "a text goes out as it is"),
        "no JSON": (None, "{", None),
    },
}


def test_every_row_has_its_samples() -> None:
    assert [row[0] for row in PAGE.table("declared")] == list(SAMPLES)


@pytest.mark.parametrize(
    ("annotation", "frame", "answer"),
    [
        pytest.param(*sample, id=f"{row[:20]}… {name}")
        for row, samples in SAMPLES.items()
        for name, sample in samples.items()
    ],
)
async def test_a_message_is_what_is_declared(
    annotation: Any, frame: str | bytes, answer: str | bytes | None
) -> None:
    async def echo(incoming):  # type: ignore[no-untyped-def]
        async for message in incoming:
            yield message

    kind = AsyncIterator if annotation is None else AsyncIterator[annotation]
    echo.__annotations__ = {"incoming": kind, "return": kind}
    client = Browser(stream(echo).as_asgi())
    await client.open()
    await client.frame(frame)
    arrived = await client.receive_from(PATIENCE_SECONDS)
    if answer is None:
        assert json.loads(arrived)["type"] == "ws:error"
    else:
        assert arrived == answer
    await client.leave()


async def test_what_is_sent_is_not_validated() -> None:
    @stream
    async def careless() -> AsyncIterator[Point]:
        yield "no point"  # type: ignore[misc]

    client = Browser(careless.as_asgi())
    await client.open()
    assert await client.receive_from(PATIENCE_SECONDS) == '"no point"'
    await client.closed()


async def test_a_type_that_messages_cannot_be_read_as_is_refused_at_once() -> None:
    with pytest.raises(EndpointError, match="cannot be read"):

        @stream
        async def ambiguous(incoming: AsyncIterator[Point | StrictPoint]) -> None: ...

    with pytest.raises(EndpointError, match="Define or import its type at module level"):

        @stream
        async def unknown(incoming: AsyncIterator[Nowhere]) -> None: ...  # type: ignore[name-defined] # noqa: F821


def test_what_does_not_fit_is_answered_and_left_out(client: Open) -> None:
    [example] = re.findall(r'`(\{"type": "ws:error".*?\})`', TEXT)
    with client("readings/") as readings:
        readings.send({"sensor": "roof", "celsius": "warm"})
        error = readings.receive()
        assert error.pop("message").startswith("Expected ")
        assert error.items() == json.loads(example).items() - {("message", "Expected …")}
        readings.send({"sensor": "roof", "celsius": 20})
        readings.send(END)
        assert readings.receive() == {"count": 1, "highest": 20}


def test_a_stream_may_end_at_what_does_not_fit(client: Open, notes: Notes) -> None:
    with client(f"strict/{notes.query}") as strict:
        strict.send({"sensor": "roof", "celsius": 20})
        strict.send({"sensor": "roof", "celsius": "warm"})
        strict.send({"sensor": "roof", "celsius": 21})
        assert strict.receive()["path"] == "$.celsius"
        assert ended(strict) == Closed(3501, "Expected `float`, got `str`.")
    assert notes() == ["20.0 degrees"]


# Options and numbers


def test_the_own_options_are_those_that_exist() -> None:
    @stream
    async def plain() -> AsyncIterator[int]:
        yield 1

    told = {
        codes_in(row[0])[0]: ast.literal_eval(codes_in(row[1])[0])
        for row in PAGE.table("own option")
    }
    assert set(told) == set(StreamOptions.__annotations__) - set(Options.__annotations__)
    assert told == {name: getattr(plain, name) for name in told}
    assert StreamConsumer.pushes is False


def test_the_numbers_of_the_page() -> None:
    assert LANE_SIZE == AdapterConsumer.inbox_size == 100
    assert f"{LANE_SIZE} messages or {MAX_BYTES // KIB} KiB wait for it" in TEXT
    assert f"A lane holds {LANE_SIZE} messages" in TEXT
    assert f"at least once in {PATIENCE_TURNS}." in TEXT
    assert READING_SECONDS == 1 and "A function that reads has one second" in TEXT
    assert SEQUENCE_SECONDS == 7 * 24 * 60 * 60 and "after a week without a message" in TEXT
    batch = Batch()
    assert f"`max_items` of them ({batch.max_items})" in TEXT
    assert f"more than `max_bytes` ({batch.max_bytes})" in TEXT
    assert f"`max_delay` seconds ({batch.max_delay})" in TEXT
    urgent, high, normal, low = (each.name for each in Priority)
    lanes = f"`Priority.{urgent}`, `{high}`, `{normal}` and `{low}`"
    assert f"There are four lanes, each way: {lanes}." in TEXT


# Back-pressure


def test_a_client_that_does_not_read_holds_up_its_function_and_nobody_else(
    shop: Shop, client: Open
) -> None:
    count = 4000  # of 64 KiB: more than all sockets on the way can hold
    with client(f"torrent/?count={count}", max_queue=1) as slow:
        with client("prices/acme/?every=0.1") as prices:
            all_of(prices, 5)
        shop.shell(
            "from wsadapter import Priority, send_to_group\n"
            "send_to_group('torrent', {'urgent': True}, priority=Priority.URGENT)"
        )
        begins_at = time.monotonic()
        ahead, urgent_at = -1, None
        while (message := slow.receive()).get("at", 0) < begins_at:
            if "urgent" in message:
                urgent_at = ahead
            else:
                ahead = message["number"]
        slow.reset()
    assert ahead < count / 2, "the function went on without its client"
    assert urgent_at is not None and urgent_at < ahead, "it waited behind what was not urgent"


async def test_a_function_that_does_not_read_holds_up_its_client(
    uvicorn: int, go: Callable[[], None]
) -> None:
    count = 600  # of 60 KiB: more than all sockets on the way can hold
    async with adial(f"ws://127.0.0.1:{uvicorn}/ws/patient/", compression=None) as connection:

        async def send_all() -> None:
            for _ in range(count):
                await connection.send(bytes(60 * KIB))
            await connection.send(json.dumps(END))

        async def receive() -> Any:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return json.loads(await connection.recv())

        assert (await receive())["type"] == "ws:welcome"
        sending = asyncio.create_task(send_all())
        for _ in range(3):  # it answers none of them, and is not taken for dead
            assert await receive() == PING
        assert not sending.done()
        go()
        while (answer := await receive()) == PING:
            pass
        assert answer == count
        await sending


# The end


def test_the_rows_of_the_end() -> None:
    rows = [row[0] for row in PAGE.table("what ends it")]
    assert rows == [
        "the function returns",
        "the client sends `ws:end`",
        "the client closes",
        "the network fails, the server stops",
        "the function raises",
    ]


def test_the_function_returns(client: Open) -> None:
    with client("countdown/?start=1") as countdown:
        assert countdown.receive()["left"] == 1
        assert ended(countdown) == Closed(1000, "")


def test_the_client_sends_its_end(client: Open, notes: Notes) -> None:
    with client(f"diary/{notes.query}") as diary:
        diary.send("a line")
        diary.send(END)
        assert diary.receive() == "a line"
        assert ended(diary) == Closed(1000, "")
    assert notes() == ["incoming has ended", "it is over"]


@pytest.mark.parametrize(
    ("leave", "learnt"),
    [(Client.close, "incoming has ended"), (Client.reset, "closed with 1006")],
    ids=["the client closes", "the network fails"],
)
def test_a_function_learns_of_the_end_where_it_reads(
    client: Open,
    notes: Notes,
    leave: Callable[[Client], None],
    learnt: str,
) -> None:
    with client(f"diary/{notes.query}") as diary:
        diary.send("a line")
        assert diary.receive() == "a line"
        leave(diary)
        eventually(lambda: notes() == [learnt, "it is over"])


def test_the_function_raises(client: Open) -> None:
    with client("failing/?how=badly") as failing:
        assert failing.receive() == "begun"
        assert ended(failing) == Closed(1011, "internal error")
    with client("failing/?how=exhausted") as failing:
        assert failing.receive() == "begun"
        assert failing.receive() == {
            "type": "ws:error",
            "id": None,
            "code": "exhausted",
            "kind": "exhausted",
            "message": "Too many.",
            "retry_after": 2.0,
        }
        assert ended(failing) == Closed(3013, "Too many.")


# Views

ARTICLES = [
    {"id": 1, "title": "Spring", "teaser": "It is warm."},
    {"id": 2, "title": "Autumn", "teaser": "It is not."},
]
SUMMARIES = [{"id": 1, "title": "Spring"}, {"id": 2, "title": "Autumn"}]
NO_SUCH_VIEW = Closed(3501, "There is no such view; there are default, summary.")

PUBLISH = "from shop.articles import ARTICLES, publish\npublish(ARTICLES[0])"
#: An object with other views.
OTHER = """
import msgspec
from wsadapter import send_to_group, with_views
Other = msgspec.defstruct("Other", [("a", int), ("b", int)])
send_to_group("desk", with_views(short=("a",))(Other)(1, 2))
"""


@pytest.mark.parametrize(
    ("query", "messages"),
    [("", ARTICLES), ("?view=default", ARTICLES), ("?view=summary", SUMMARIES)],
    ids=["none", "default", "summary"],
)
def test_a_client_chooses_a_view_in_the_url(
    client: Open, query: str, messages: list[dict[str, Any]]
) -> None:
    with client(f"articles/{query}") as articles:
        found = all_of(articles, 2)
        assert found == messages
        assert [list(each) for each in found] == [list(each) for each in messages]
        assert ended(articles).code == 1000


@pytest.mark.parametrize("path", ["articles/", "desk/"])
def test_a_view_that_there_is_not(uvicorn: int, path: str) -> None:
    assert refused(uvicorn, f"{path}?view=text") == NO_SUCH_VIEW


def test_a_client_chooses_a_view_later_and_a_group_is_sent_to_in_all(
    shop: Shop, client: Open
) -> None:
    with client("desk/") as whole, client("desk/?view=summary") as brief, client("desk/") as later:
        later.send({"type": "ws:view", "view": "summary"})
        assert later.request(PING) == PONG
        shop.shell(f"{PUBLISH}\n{OTHER}")
        assert all_of(whole, 2) == [ARTICLES[0], {"a": 1, "b": 2}]
        assert all_of(brief, 2) == all_of(later, 2) == [SUMMARIES[0], {"a": 1, "b": 2}]
        later.send({"type": "ws:view", "view": "text"})
        assert ended(later) == NO_SUCH_VIEW


async def test_the_python_client_chooses_again_after_a_reconnect(uvicorn: int) -> None:
    url = f"ws://127.0.0.1:{uvicorn}/ws/reader/"
    async with python_client.connect(url, backoff_cap_seconds=0.1) as socket:
        assert await socket.request("show") == ARTICLES[0]
        await socket.view("summary")
        assert await socket.request("show") == SUMMARIES[0]
        first = socket.client_id
        await socket.send({"type": "go away"})
        await aeventually(lambda: socket.client_id not in (None, first))
        assert await socket.request("show") == SUMMARIES[0]


def test_a_page_chooses_again_after_a_reconnect(tab: Page) -> None:
    use_socket(tab, "/ws/reader/")
    show = "() => socket.request('show')"
    assert tab.evaluate(show) == ARTICLES[0]
    tab.evaluate("socket.view('summary')")
    assert tab.evaluate(show) == SUMMARIES[0]
    tab.evaluate("socket.reconnect()")
    assert tab.evaluate(show) == SUMMARIES[0]


def use_socket(tab: Page, path: str) -> None:
    """Connect as any page does; `got` is what has arrived."""
    tab.add_script_tag(
        type="module",
        content=f"""
            import {{ connect }} from "wsadapter";
            window.got = [];
            window.socket = connect("{path}");
            socket.on("ws:message", (message) => got.push(message));
        """,
    )
    tab.wait_for_function("window.socket?.clientId || window.got?.length")


def test_what_is_declared_about_views() -> None:
    @with_views(brief=("y",))
    class Tagged(msgspec.Struct, tag="tagged"):
        x: int
        y: int

    assert view_names(Tagged) == ("default", "brief")
    tagged = Tagged(1, 2)
    assert to_json(project(tagged, "default")) == '{"type":"tagged","x":1,"y":2}'
    assert to_json(project(tagged, "brief")) == '{"type":"tagged","y":2}'


def test_a_stream_may_limit_its_views(uvicorn: int, client: Open) -> None:
    for query in ("", "?view=summary"):
        with client(f"summaries/{query}") as summaries:
            assert summaries.receive() == SUMMARIES[0]
    refusal = "There is no such view; there are summary."
    assert refused(uvicorn, "summaries/?view=default") == Closed(3501, refusal)


class Counted(Mapping[str, int]):
    """Counts how often it is encoded."""

    def __init__(self) -> None:
        self.encodings = 0

    def __iter__(self) -> Iterator[str]:
        self.encodings += 1
        return iter(["n"])

    def __len__(self) -> int:
        return 1

    def __getitem__(self, key: str) -> int:
        return 1


@with_views(summary=("body",))
@dataclass
class Paper:
    title: str
    body: Counted


async def test_in_group_sends_each_view_is_encoded_once() -> None:
    class Desk(AdapterConsumer):
        groups = ["desk"]
        views = ("default", "summary")

    clients = [Browser(Desk, path) for path in ("/ws/", "/ws/?view=summary") * 3]
    for each in clients:
        await each.open()
    paper = Paper("News", Counted())
    await asend_to_group("desk", paper)
    arrived = [await each.receive() for each in clients]
    assert arrived == [{"title": "News", "body": {"n": 1}}, {"body": {"n": 1}}] * 3
    assert paper.body.encodings == len(view_names(Paper)) == 2
    for each in clients:
        await each.leave()


# Sequences


def announce(shop: Shop, *texts: str) -> None:
    shop.shell(
        "import asyncio\n"
        "from shop.clock import announce\n"
        "async def main():\n"
        f"    for text in {texts!r}:\n"
        "        await announce(text)\n"
        "asyncio.run(main())"
    )


def lose_memory(redis_server: RedisServer) -> None:
    with redis_server.client(database=REDIS_DATABASE) as redis:
        redis.flushdb()


def test_the_messages_of_a_stream_are_numbered(client: Open) -> None:
    before = time.time_ns() // 1_000_000
    for _ in range(2):  # they begin anew
        with client("countdown/?start=3") as countdown:
            messages = all_of(countdown, 3)
        times = [message.pop("timestamp") for message in messages]
        assert messages == [{"left": 4 - n, "sequence": n} for n in (1, 2, 3)]
        assert before <= times[0] <= times[1] <= times[2] <= time.time_ns() // 1_000_000


def test_the_messages_of_a_group_are_numbered(
    shop: Shop, redis_server: RedisServer, client: Open, daphne: int
) -> None:
    with client("desk/") as one, opened(f"ws://127.0.0.1:{daphne}", "desk/") as other:
        announce(shop, "a", "b")
        announce(shop, "c")
        messages = all_of(one, 3)
        assert all_of(other, 3) == messages
        assert [message["text"] for message in messages] == ["a", "b", "c"]
        first, second, third = (message["sequence"] for message in messages)
        assert (second, third) == (first + 1, first + 2)
        assert all(isinstance(message["timestamp"], int) for message in messages)
        lose_memory(redis_server)
        announce(shop, "d")
        last = one.receive()
        assert last["sequence"] > third + 1
        sequence = python_client.Sequence()
        assert [sequence.take(each) for each in messages] == [(0, False)] * 3
        assert sequence.take(last) == (last["sequence"] - third - 1, False)


def test_a_page_notices_a_gap(shop: Shop, redis_server: RedisServer, tab: Page) -> None:
    tab.evaluate(
        """() => {
            Object.assign(window, { shown: [], loads: 0 });
            window.socket = follow(() => (loads += 1), (text) => shown.push(text));
        }"""
    )
    tab.wait_for_function("socket.clientId")
    announce(shop, "a", "b")
    tab.wait_for_function("shown.length === 2")
    assert tab.evaluate("loads") == 0
    lose_memory(redis_server)
    announce(shop, "c")
    tab.wait_for_function("shown.length === 3")
    assert tab.evaluate("[loads, ...shown]") == [1, "a", "b", "c"]


# Priorities


def test_what_is_told_by_type(client: Open) -> None:
    with client("support/") as support:
        support.send({"type": "ask", "id": 1, "text": "rain"})
        messages = all_of(support, 2)
    assert {"type": "agent.typing"} in messages
    assert {"type": "ws:reply", "id": 1, "result": "About rain: yes."} in messages


@pytest.mark.parametrize(
    ("subprotocols", "order"),
    [([], [4, 1, 2, 3]), (["wsadapter.priority"], [3, 4, 2, 1])],
    ids=["as declared", "as asked for"],
)
def test_in_which_order_messages_are_handled(
    client: Open, go: Callable[[], None], subprotocols: Any, order: list[int]
) -> None:
    with client("busysupport/", subprotocols=subprotocols or None) as support:
        for message in (
            {"type": "wait"},
            {"type": "ask", "id": 1, "text": "rain"},
            {"type": "ask", "id": 2, "text": "snow", "priority": "high"},
            {"type": "ask", "id": 3, "text": "hail", "priority": 0},
            {"type": "stop", "id": 4, "priority": "low"},
        ):
            support.send(message)
        assert support.request(PING) == PONG  # all are there
        go()
        answers = [message for message in all_of(support, 7) if message["type"] == "ws:reply"]
        assert [answer["id"] for answer in answers] == order


def test_who_sends_too_much_of_a_type_is_told_and_then_closed(client: Open) -> None:
    with client("support/") as support:
        support.flood({"type": "note", "id": 1}, 100)
        messages = iter(support.receive, None)
        error = next(each for each in messages if each["type"] == "ws:error")
        assert (error["code"], error["kind"]) == ("rate_limited", "exhausted")
        assert error["retry_after"] > 0
        assert support.closed() == Closed(3013, "too many messages")


# Batches


def test_a_batch_looks_as_the_page_says(client: Open) -> None:
    [example] = [json.loads(block.text) for block in PAGE.blocks if block.language == "json"]
    before = time.time_ns() // 1_000_000
    with client("pairs/?count=2") as pairs:
        batch = pairs.receive()
        assert list(batch) == list(example)
        assert before <= batch["sent_at"] <= time.time_ns() // 1_000_000
        assert batch | {"sent_at": example["sent_at"]} == example


def test_a_batch_leaves_before_it_has_too_many_bytes(client: Open) -> None:
    with client("pairs/?count=5") as pairs:
        batches = all_of(pairs, 3)
        assert [(batch["id"], batch["size"]) for batch in batches] == [(1, 2), (2, 2), (3, 1)]
        assert ended(pairs).code == 1000


def test_a_batch_has_so_many_messages_and_no_more(client: Open) -> None:
    with client("ticker/?count=120") as ticker:
        found: list[Any] = []
        while len(found) < 120:
            batch = ticker.receive()
            assert (batch["type"], batch["size"]) == ("ws:batch", len(batch["messages"]))
            assert batch["size"] <= 50
            found += batch["messages"]
    assert found == [{"number": number} for number in range(120)]


async def test_the_python_client_unpacks_batches(uvicorn: int) -> None:
    url = f"ws://127.0.0.1:{uvicorn}/ws/ticker/?count=120"
    async with python_client.connect(url) as socket:
        assert [message["number"] async for message in socket] == list(range(120))


def test_a_page_unpacks_batches(tab: Page) -> None:
    use_socket(tab, "/ws/ticker/?count=120")
    tab.wait_for_function("got.length === 120")
    assert tab.evaluate("got.map(({ number }) => number)") == list(range(120))


def test_what_is_collected_and_what_is_not(client: Open) -> None:
    """Its batches would wait for a minute: what it sends has been sent once it is collected."""
    with client("parcels/") as parcels:
        frames = all_of(parcels, 5)
        assert ended(parcels).code == 1000
    batches = [frame.pop("messages", None) for frame in frames if isinstance(frame, dict)]
    assert batches == [None, [{"number": 1}], [{"number": 2}], [{"type": "some day"}]]
    assert frames[0] == {"type": "now"}
    assert frames[2] == b"binary"


def test_pushes_are_collected_too(shop: Shop, client: Open) -> None:
    with client("board/") as board:
        shop.shell(
            "from wsadapter import broadcast, bulk\n"
            "with bulk():\n"
            "    for number in range(3):\n"
            "        broadcast({'number': number})"
        )
        found: list[Any] = []
        while len(found) < 3:
            batch = board.receive()
            assert batch["type"] == "ws:batch"
            found += batch["messages"]
    assert found == [{"number": number} for number in range(3)]


def test_a_lane_has_room_for_a_batch() -> None:
    with pytest.raises(EndpointError, match="has lane_size=99; give as many messages as a batch"):

        @stream(lane_size=99, batch=Batch())
        async def cramped() -> AsyncIterator[int]:
            yield 1


# Failures


def test_the_three_kinds_are_those_of_the_table() -> None:
    told = {codes_in(row[0])[0]: row[2:] for row in ERRORS.table("kind")}
    assert list(told) == list(FailureKind)
    for kind, (raised, code, close_code) in told.items():
        treatment = TREATMENTS[FailureKind(kind)]
        assert codes_in(raised) == [kind.capitalize()]
        assert (codes_in(code), int(close_code)) == ([treatment.error_code], treatment.close_code)


def test_a_payment_is_tried_again_and_then_given_up(client: Open) -> None:
    with client("bank/") as bank:
        begun = time.monotonic()
        bank.send({"type": "pay", "id": 1, "order": 7})
        bank.send({"type": "decline", "id": 2})
        assert bank.request(PING) == PONG, "a heartbeat does not wait"
        error = bank.receive()
        assert time.monotonic() - begun >= 0.1 + 0.2 + 0.4
        assert f"`{error.pop('message')}`" in " ".join(ERRORS.text.split())
        assert error == {"type": "ws:error", "id": 1, "code": "exhausted", "kind": "exhausted"}
        assert bank.receive()["id"] == 2
    assert list(Retry(attempts=3, first_delay_seconds=0.1, factor=2).delays_seconds()) == [
        0.1,
        0.2,
        0.4,
    ]


def test_what_the_bank_says_has_its_meaning(client: Open) -> None:
    with client("bank/") as bank:
        declined = bank.request({"type": "decline", "id": 1})
        assert (declined["kind"], declined["message"]) == ("fatal", Fatal.sentence)
        busy = bank.request({"type": "ask", "id": 2})
        assert (busy["kind"], busy["message"]) == ("exhausted", "The bank is busy.")
        assert busy["retry_after"] == 30


def test_what_needs_no_declaration() -> None:
    [sentence] = [
        line.text for line in ERRORS.prose if line.text.startswith("Without being told, wsadapter")
    ]
    assert codes_in(sentence) == [error.__name__ for error in _KNOWN]


def test_what_a_client_makes_of_a_close_code() -> None:
    assert kind_of_close(1000) is None
    assert kind_of_close(3013) is FailureKind.EXHAUSTED
    assert {kind_of_close(code) for code in (1001, 1006, 3008, 4000)} == {FailureKind.TRANSIENT}
    assert {kind_of_close(code) for code in (1009, 3501, 4500)} == {FailureKind.FATAL}
