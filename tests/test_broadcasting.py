"""The helpers that send, on every kind of channel layer, from threads and from coroutines."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pydantic
import pytest
import redis
from asgiref.sync import async_to_sync
from channels.layers import channel_layers, get_channel_layer
from django.db import connections, transaction

import wsadapter
from tests.consumers.browser import Browser, Closed
from tests.processes import free_port
from tests.redis_server import RedisServer
from tests.sites import (
    CORE,
    MEMORY,
    PUBSUB,
    RECORDED,
    REDIS,
    SITES,
    STOCK_MEMORY,
    VARIANTS,
    Noting,
    Recorded,
    site,
)
from wsadapter import EncodeError, Priority, Receipt, broadcasting
from wsadapter.consumers import AdapterConsumer
from wsadapter.errors import AsyncContextError, ReservedType, StoreUnavailable
from wsadapter.layers import publishing
from wsadapter.signals import publish_failed
from wsadapter.wire import payload
from wsadapter.wire.views import with_views

HELPERS = ("broadcast", "send_to_user", "send_to_users", "send_to_client", "send_to_group")
DISCONNECTS = ("disconnect_user", "disconnect_client")

Call = Callable[..., Awaitable[Any]]
Connect = Callable[..., Awaitable[Browser]]


class Room(AdapterConsumer):
    groups = ["room 1"]  # no layer takes this name as it is


@pytest.fixture(scope="session")
def second_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("second-redis")) as server:
        yield server


@pytest.fixture
def configure(
    redis_server: RedisServer, request: pytest.FixtureRequest, settings: Any
) -> Callable[[str], None]:
    """Make the project one of tests/sites.py."""

    def to(name: str) -> None:
        urls = [redis_server.url]
        if VARIANTS.get(name, ("", {}, 0))[2] == 2:
            urls.append(request.getfixturevalue("second_redis").url)
        for setting, value in site(name, urls).items():
            setattr(settings, setting, value)

    return to


@pytest.fixture(params=[*SITES, *VARIANTS])
def any_site(request: pytest.FixtureRequest, configure: Callable[[str], None]) -> str:
    configure(request.param)
    return str(request.param)


@pytest.fixture(params=["thread", "coroutine"])
def call(request: pytest.FixtureRequest) -> Call:
    """Call a helper by its name: from a thread, or its twin on the event loop."""

    async def in_a_thread(helper: str, *args: Any, **options: Any) -> Any:
        return await asyncio.to_thread(getattr(wsadapter, helper), *args, **options)

    async def as_twin(helper: str, *args: Any, **options: Any) -> Any:
        return await getattr(wsadapter, f"a{helper}")(*args, **options)

    return in_a_thread if request.param == "thread" else as_twin


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Connect a browser, of a user or of nobody."""
    browsers: list[Browser] = []

    async def open_one(user: Any = None) -> Browser:
        browser = Browser(Room, user=user)
        browsers.append(browser)
        browser.client_id = await browser.open()
        return browser

    yield open_one
    for browser in browsers:
        await browser.leave()
    assert await wsadapter.aonline_count() == 0


async def heard(*browsers: Browser) -> list[Any]:
    return [await browser.receive() for browser in browsers]


async def heard_nothing(*browsers: Browser) -> bool:
    """Whether what is sent now to all is the next frame, so that nothing came before it."""
    await wsadapter.abroadcast("the end")
    return await heard(*browsers) == ["the end"] * len(browsers)


def test_a_layer_that_a_test_puts_in_place_is_sent_on(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": MEMORY}}
    wsadapter.broadcast("on the layer of the settings")
    Recorded.messages = []
    channel_layers.set("default", Recorded())
    wsadapter.broadcast("on the one in its place")
    assert [message["text"] for message in Recorded.messages] == ["on the one in its place"]


# The whole table, on every layer


async def test_the_table_of_helpers(any_site: str, call: Call, connect: Connect) -> None:
    anna, annas_phone, ben, nobody = [await connect(user) for user in (1, 1, 2, None)]
    everybody = (anna, annas_phone, ben, nobody)

    assert await call("broadcast", {"n": 1})
    assert await heard(*everybody) == [{"n": 1}] * 4

    assert await call("broadcast", {"n": 2}, authenticated_only=True)
    assert await heard(anna, annas_phone, ben) == [{"n": 2}] * 3

    assert await call("send_to_user", 1, {"n": 3})
    assert await heard(anna, annas_phone) == [{"n": 3}] * 2

    assert await call("send_to_users", [1, 2, 1], {"n": 4})
    assert await heard(anna, annas_phone, ben) == [{"n": 4}] * 3

    assert await call("send_to_client", nobody.client_id, {"n": 5})
    assert await heard(nobody) == [{"n": 5}]

    assert await call("send_to_group", "room 1", {"n": 6})
    assert await heard(*everybody) == [{"n": 6}] * 4

    assert await call("broadcast", {"n": 7}, exclude=[anna.client_id, ben.client_id])
    assert await heard(annas_phone, nobody) == [{"n": 7}] * 2

    assert await call("send_to_user", 1, {"n": 8}, exclude=anna.client_id)
    assert await heard(annas_phone) == [{"n": 8}]

    assert await heard_nothing(*everybody)


async def test_every_kind_of_frame(any_site: str, call: Call, connect: Connect) -> None:
    browser = await connect()
    for data, frame in [
        ("plain text", "plain text"),
        ("текст 🎉", "текст 🎉"),
        (b"\x00\xff binary", b"\x00\xff binary"),
        (bytearray(b"\xfe"), b"\xfe"),
        ({"ä": [1, None, 2.5]}, {"ä": [1, None, 2.5]}),
        ([], []),
    ]:
        await call("send_to_client", browser.client_id, data)
        assert await browser.receive() == frame


async def test_every_priority_arrives(any_site: str, call: Call, connect: Connect) -> None:
    browser = await connect()
    for priority in Priority:
        await call("broadcast", priority.name, priority=priority)
        assert await browser.receive() == priority.name


async def test_messages_arrive_in_the_order_of_their_sending(
    any_site: str, call: Call, connect: Connect
) -> None:
    browser = await connect(1)
    for number in range(50):
        await call("send_to_user", 1, number)
    assert [await browser.receive() for _ in range(50)] == list(range(50))


#: Layers whose `group_send` tells nobody how far it went.
CANNOT_COUNT = {
    CORE,
    *(name for name in VARIANTS if name.startswith("core")),
    *(f"subclass of {kind}" for kind in ("core", "pubsub", "redis", "memory")),
}


async def test_receipts(any_site: str, call: Call, connect: Connect) -> None:
    browser = await connect(1)
    here, nowhere = (None, None) if any_site in CANNOT_COUNT else (1, 0)
    assert await call("broadcast", "x") == Receipt(processes=here)
    assert await call("send_to_user", 1, "x") == Receipt(processes=here)
    assert await call("send_to_users", [1, 2], "x") == Receipt(processes=here)
    assert await call("send_to_user", 2, "x") == Receipt(processes=nowhere)
    assert await call("send_to_group", "empty", "x") == Receipt(processes=nowhere)
    there = await call("send_to_client", browser.client_id, "x")
    assert there == Receipt(processes=here, online=True) and there
    gone = await call("send_to_client", f"{'0' * 16}.{'0' * 16}", "x")
    assert gone == Receipt(processes=nowhere, online=False) and not gone


async def test_disconnecting(any_site: str, call: Call, connect: Connect) -> None:
    anna, annas_phone, ben, bens_phone = [await connect(user) for user in (1, 1, 2, 2)]
    assert await call("disconnect_user", 1, 4001, "bye") == 2
    assert [await anna.closed(), await annas_phone.closed()] == [Closed(4001, "bye")] * 2
    assert await call("disconnect_user", 1) == 0
    assert await call("disconnect_client", ben.client_id) == 1
    assert await ben.closed() == Closed(3503, "disconnected by the server")
    assert await call("disconnect_client", ben.client_id) == 0
    assert await call("disconnect_user", "nobody") == 0
    assert await heard_nothing(bens_phone)


async def test_a_chosen_client_id_is_reached(any_site: str, call: Call, settings: Any) -> None:
    settings.WSADAPTER = {**settings.WSADAPTER, "CLIENT_ID_FROM": "query:client"}
    browser = Browser(Room, "/ws/?client=annas-laptop")
    assert await browser.open() == "annas-laptop"
    assert (await call("send_to_client", "annas-laptop", "hello")).online is True
    assert await browser.receive() == "hello"
    assert await call("disconnect_client", "annas-laptop", 4001) == 1
    assert (await browser.closed()).code == 4001


@pytest.mark.parametrize("name", [name for name in VARIANTS if name.startswith("subclass")])
async def test_a_layer_of_ones_own_has_its_own_group_send_called(
    configure: Callable[[str], None], name: str, call: Call, connect: Connect
) -> None:
    configure(name)
    browser = await connect(1)
    await call("send_to_user", 1, "hello")
    await call("broadcast", "hello")
    assert await heard(browser, browser) == ["hello", "hello"]
    layer = get_channel_layer()
    assert isinstance(layer, Noting)
    assert layer.noted == [wsadapter.user_group(1), wsadapter.EVERYONE]


async def test_several_threads_send_at_once(any_site: str, connect: Connect) -> None:
    browser = await connect(1)
    sends = [asyncio.to_thread(wsadapter.send_to_user, 1, number) for number in range(40)]
    await asyncio.gather(*sends)
    assert sorted([await browser.receive() for _ in range(40)]) == list(range(40))


async def test_a_block_leaves_in_order(any_site: str, connect: Connect) -> None:
    anna, ben = await connect(1), await connect(2)

    def send_together() -> None:
        with wsadapter.bulk():
            wsadapter.broadcast(1)
            wsadapter.send_to_user(1, 2)
            wsadapter.send_to_client(anna.client_id, 3)
            wsadapter.send_to_users([1, 2], 4)

    await asyncio.to_thread(send_together)
    async with wsadapter.abulk():
        await wsadapter.asend_to_users([2, 1], 5)
        await wsadapter.asend_to_group("room 1", 6)
    # Two hosts deliver each in their order, and not one after the other.
    in_order = sorted if "two hosts" in any_site else list
    assert in_order(await heard(*[anna] * 6)) == [1, 2, 3, 4, 5, 6]
    assert in_order(await heard(*[ben] * 4)) == [1, 4, 5, 6]


# One round trip


class RoundTrips:
    """Counts what is written to Redis over pooled connections, and what Redis was told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.writes = 0
        self.commands: list[bytes] = []
        for home in (redis.connection.Connection, redis.asyncio.connection.Connection):
            self._count(monkeypatch, home)

    def _count(self, monkeypatch: pytest.MonkeyPatch, home: Any) -> None:
        original = home.send_packed_command

        def counted(connection: Any, command: Any, *args: Any, **options: Any) -> Any:
            self.writes += 1
            self.commands.append(command if isinstance(command, bytes) else b"".join(command))
            return original(connection, command, *args, **options)

        monkeypatch.setattr(home, "send_packed_command", counted)


@pytest.mark.parametrize("name", [REDIS, "redis, json", "redis, encrypted", PUBSUB])
async def test_whether_a_client_is_online_comes_with_the_same_round_trip(
    configure: Callable[[str], None],
    name: str,
    call: Call,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configure(name)
    browser = await connect()
    await call("send_to_client", browser.client_id, "the script is loaded, a connection open")
    trips = RoundTrips(monkeypatch)
    assert (await call("send_to_client", browser.client_id, "hello")).online is True
    assert trips.writes == 1
    assert b"PUBLISH" in trips.commands[0] and b"EVALSHA" in trips.commands[0]


async def test_online_is_known_although_redis_has_forgotten_the_script(
    configure: Callable[[str], None], call: Call, connect: Connect, redis_server: RedisServer
) -> None:
    configure(REDIS)
    browser = await connect()
    with redis_server.client() as client:
        client.script_flush()
    assert (await call("send_to_client", browser.client_id, "hello")).online is True
    assert await browser.receive() == "hello"


@pytest.mark.parametrize("helper", HELPERS)
async def test_a_send_is_one_round_trip(
    configure: Callable[[str], None], helper: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(REDIS)
    target = {"broadcast": (), "send_to_users": (list(range(50)),)}.get(helper, ("1",))
    await call(helper, *target, "a connection is open, scripts are loaded")
    await call(helper, *target, "and again")
    trips = RoundTrips(monkeypatch)
    await call(helper, *target, "hello")
    assert trips.writes == 1


@pytest.mark.parametrize("count", [1, 50])
async def test_a_place_in_a_sequence_is_one_more(
    configure: Callable[[str], None], call: Call, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    configure(REDIS)
    for _ in range(2):
        await call("send_to_group", "news", {"n": "a connection is open"}, sequence=True)
    trips = RoundTrips(monkeypatch)
    for _ in range(count):
        await call("send_to_group", "news", {"n": 1}, sequence=True)
    assert trips.writes == 2 * count


# What is refused in the caller


class Unknown:
    pass


@pytest.mark.parametrize("helper", HELPERS)
@pytest.mark.parametrize(
    ("data", "error"),
    [
        ({"a": [1, Unknown()]}, EncodeError),
        ("\ud800", EncodeError),
        ({"type": "ws:welcome"}, ReservedType),
        ('  {"n": 1, "type": "ws:ping"}', ReservedType),
        ({"type": "ws:anything"}, ReservedType),
    ],
    ids=["an object", "a lone surrogate", "ws:welcome", "ws: in a text", "ws:anything"],
)
async def test_what_cannot_be_sent_is_refused_and_nothing_is_sent(
    call: Call, helper: str, data: Any, error: type[Exception], settings: Any
) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "tests.sites.Noting"}}  # never touched
    target = {"broadcast": (), "send_to_users": ([1],)}.get(helper, ("1",))
    with pytest.raises(error):
        await call(helper, *target, data)


async def test_an_encode_error_names_type_and_place_and_keeps_its_cause(call: Call) -> None:
    with pytest.raises(EncodeError, match=r"Unknown.* at \$\.lines\[1\]") as caught:
        await call("broadcast", {"lines": [1, Unknown()]})
    assert caught.value.__cause__ is not None


async def test_types_that_only_look_reserved_are_sent(call: Call, connect: Connect) -> None:
    browser = await connect()
    for data in ({"text": "ws:ping"}, {"type": "wsx"}, ["ws:ping"], {"a": {"type": "ws:ping"}}):
        await call("broadcast", data)
        assert await browser.receive() == data


@pytest.mark.parametrize("helper", ["send_to_user", "disconnect_user"])
@pytest.mark.parametrize("user", [None, True], ids=repr)
async def test_a_user_without_a_key_is_refused(call: Call, helper: str, user: Any) -> None:
    with pytest.raises(ValueError, match="primary key"):
        await call(helper, user, *(["data"] if helper == "send_to_user" else []))


@pytest.mark.parametrize("helper", [*HELPERS, *DISCONNECTS])
async def test_a_sync_helper_on_an_event_loop_names_its_twin(helper: str) -> None:
    to: tuple[Any, ...] = {"broadcast": (), "send_to_users": (["1"],)}.get(helper, ("1",))
    data = () if helper in DISCONNECTS else ("data",)
    with pytest.raises(AsyncContextError, match=rf"\ba{helper}\(\)"):
        getattr(wsadapter, helper)(*to, *data)


@pytest.mark.parametrize("helper", [*HELPERS, *DISCONNECTS])
def test_twins_have_the_same_parameters(helper: str) -> None:
    sync, twin = getattr(wsadapter, helper), getattr(wsadapter, f"a{helper}")
    assert inspect.signature(sync) == inspect.signature(twin)
    assert inspect.iscoroutinefunction(twin) and not inspect.iscoroutinefunction(sync)


# At commit


@pytest.fixture
def sent(settings: Any, configure: Callable[[str], None]) -> Iterator[list[Any]]:
    """What reached the channel layer; `Recorded.failure` is what it fails with."""
    configure(RECORDED)
    Recorded.messages, Recorded.failure = [], None
    yield Recorded.messages
    Recorded.failure = None


@pytest.fixture
def failures() -> Iterator[list[Exception]]:
    """What `publish_failed` was sent with."""
    errors: list[Exception] = []

    def note(error: Exception, **kwargs: Any) -> None:
        errors.append(error)

    publish_failed.connect(note)
    yield errors
    publish_failed.disconnect(note)


def texts(sent: list[Any]) -> list[str]:
    return [message["text"] for message in sent]


@pytest.mark.django_db(transaction=True)
def test_at_commit_means_after_the_commit(sent: list[Any]) -> None:
    with transaction.atomic():
        receipt = wsadapter.broadcast("paid", on_commit=True)
        assert receipt == Receipt(pending=True) and receipt
        assert sent == []
    assert texts(sent) == ["paid"]


@pytest.mark.django_db(transaction=True)
def test_what_is_sent_at_commit_is_what_it_was_at_the_call(sent: list[Any]) -> None:
    order = {"state": "paid"}
    with transaction.atomic():
        wsadapter.broadcast(order, on_commit=True)
        order["state"] = "changed later"
    assert texts(sent) == ['{"state":"paid"}']


@pytest.mark.django_db(transaction=True)
def test_what_cannot_be_encoded_is_known_at_the_call(sent: list[Any]) -> None:
    with transaction.atomic(), pytest.raises(EncodeError):
        wsadapter.broadcast(Unknown(), on_commit=True)
    assert sent == []


@pytest.mark.django_db(transaction=True)
def test_a_rollback_sends_nothing(sent: list[Any]) -> None:
    with suppress(ZeroDivisionError), transaction.atomic():
        wsadapter.broadcast("never", on_commit=True)
        raise ZeroDivisionError
    with transaction.atomic():
        wsadapter.broadcast("never", on_commit=True)
        transaction.set_rollback(True)
    assert sent == []


@pytest.mark.django_db(transaction=True)
def test_a_savepoint_that_is_rolled_back_takes_its_own_along(sent: list[Any]) -> None:
    with transaction.atomic():
        wsadapter.broadcast("outer", on_commit=True)
        with suppress(ZeroDivisionError), transaction.atomic():
            wsadapter.broadcast("inner", on_commit=True)
            raise ZeroDivisionError
        with transaction.atomic():
            wsadapter.broadcast("second inner", on_commit=True)
    assert texts(sent) == ["outer", "second inner"]


@pytest.mark.django_db(transaction=True)
def test_without_a_transaction_it_is_sent_at_once(sent: list[Any]) -> None:
    assert wsadapter.broadcast("now", on_commit=True) == Receipt()
    assert wsadapter.send_to_client("nobody", "now", on_commit=True) == Receipt(online=False)
    assert texts(sent) == ["now", "now"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("helper", "to"),
    [
        ("broadcast", ()),
        ("send_to_user", ("1",)),
        ("send_to_users", (["1", "2"],)),
        ("send_to_client", ("1",)),
        ("send_to_group", ("news",)),
    ],
)
def test_every_helper_waits_for_the_commit(sent: list[Any], helper: str, to: Any) -> None:
    with transaction.atomic():
        assert getattr(wsadapter, helper)(*to, "paid", on_commit=True).pending
        assert sent == []
    assert set(texts(sent)) == {"paid"}


@pytest.fixture
def other_database(django_db_blocker: Any, tmp_path: Path) -> Iterator[str]:
    # A file: Django never closes a SQLite database in memory.
    connections.databases["other"] = {
        **connections.databases["default"],
        "NAME": str(tmp_path / "other.sqlite3"),
    }
    with django_db_blocker.unblock():
        yield "other"
        connections["other"].close()
    del connections["other"], connections.databases["other"]


@pytest.mark.django_db(transaction=True)
def test_the_transaction_may_be_that_of_another_database(
    sent: list[Any], other_database: str
) -> None:
    with transaction.atomic(using=other_database):
        with transaction.atomic():
            wsadapter.broadcast("other", on_commit=other_database)
            wsadapter.broadcast("default", on_commit=True)
        assert texts(sent) == ["default"]
    assert texts(sent) == ["default", "other"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("raised", "told"),
    [(ConnectionRefusedError("no Redis"), StoreUnavailable), (ValueError("a bug"), ValueError)],
    ids=["the layer is away", "the layer has a bug"],
)
def test_a_failure_at_commit_is_logged_and_signalled_and_harms_nobody(
    sent: list[Any],
    failures: list[Exception],
    caplog: pytest.LogCaptureFixture,
    raised: Exception,
    told: type[Exception],
) -> None:
    after: list[str] = []
    Recorded.failure = raised
    with transaction.atomic():
        wsadapter.send_to_user(1, "paid", on_commit=True)
        transaction.on_commit(lambda: after.append("the next hook"))
    assert after == ["the next hook"]
    assert [type(error) for error in failures] == [told]
    lines = [record for record in caplog.records if record.name == "wsadapter.publishing"]
    assert len(lines) == 1 and lines[0].exc_info
    assert "send_to_user" in lines[0].getMessage()


@pytest.mark.django_db(transaction=True)
def test_the_twin_waits_for_the_commit_in_djangos_own_thread(sent: list[Any]) -> None:
    with transaction.atomic():
        receipt = async_to_sync(wsadapter.asend_to_user)(1, "paid", on_commit=True)
        assert receipt.pending
        assert sent == []
    assert texts(sent) == ["paid"]


# Where nobody can be reached


@pytest.mark.parametrize("name", [STOCK_MEMORY, MEMORY])
def test_in_a_process_without_connections_the_first_call_says_that_nobody_can_be_reached(
    configure: Callable[[str], None],
    name: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publishing.nobody_here, "_said", False)
    configure(name)
    assert wsadapter.broadcast("x") == Receipt(processes=0)
    assert wsadapter.send_to_user(1, "x") == Receipt(processes=0)
    assert wsadapter.send_to_client("c", "x") == Receipt(processes=0, online=False)
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("wsa")]
    assert len(lines) == 1 and "Nobody can be reached" in lines[0]


@pytest.mark.parametrize("name", [STOCK_MEMORY, MEMORY])
async def test_somebody_who_is_not_there_is_no_reason_to_say_so(
    configure: Callable[[str], None],
    name: str,
    call: Call,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publishing.nobody_here, "_said", False)
    configure(name)
    await connect(1)
    assert await call("send_to_user", 2, "x") == Receipt(processes=0)
    assert await call("send_to_users", [], "x") == Receipt(processes=0)
    assert not caplog.records


# Views


@with_views(default=("id", "title", "text"), summary=("title", "id"), ids=("id",))
class Article(msgspec.Struct):
    id: int
    title: str
    text: Any


ARTICLE = Article(7, "Rain", "It rains.")
IN_VIEWS = {
    "text": '{"id":7,"title":"Rain","text":"It rains."}',
    "views": {"summary": {"text": '{"title":"Rain","id":7}'}, "ids": {"text": '{"id":7}'}},
}
TARGETS: dict[str, tuple[Any, ...]] = {"broadcast": (), "send_to_users": ([1],)}


@pytest.mark.parametrize("helper", HELPERS)
async def test_the_default_view_is_the_frame_and_the_others_travel_beside_it(
    sent: list[Any], call: Call, helper: str
) -> None:
    await call(helper, *TARGETS.get(helper, ("1",)), ARTICLE)
    assert sent == [{"type": "wsadapter.push", **IN_VIEWS}]


async def test_so_do_those_of_a_list(sent: list[Any], call: Call) -> None:
    await call("broadcast", [ARTICLE, Article(8, "Sun", "It shines.")])
    assert sent[0]["text"].startswith('[{"id":7,"title":"Rain","text":"It rains."},{"id":8,')
    assert sent[0]["views"] == {
        "summary": {"text": '[{"title":"Rain","id":7},{"title":"Sun","id":8}]'},
        "ids": {"text": '[{"id":7},{"id":8}]'},
    }


async def test_what_has_no_views_travels_alone(sent: list[Any], call: Call) -> None:
    for data in ([], {"article": ARTICLE}):
        await call("broadcast", data)
    assert all("views" not in message for message in sent)


class Counting(Mapping[str, Any]):
    """Counts how often it is encoded."""

    def __init__(self) -> None:
        self.times = 0

    def __getitem__(self, key: str) -> Any:
        return 1

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[str]:
        self.times += 1
        return iter(["n"])


async def test_each_view_is_encoded_once_however_many_get_it(call: Call, sent: list[Any]) -> None:
    text = Counting()
    await call("send_to_users", [1, 2, 3], Article(7, "Rain", text))
    assert len(sent) == 3
    assert text.times == 1, "one view of three has the text"


async def test_who_asks_for_no_view_gets_the_default(
    any_site: str, call: Call, connect: Connect
) -> None:
    browser = await connect()
    await call("broadcast", ARTICLE)
    assert await browser.receive() == {"id": 7, "title": "Rain", "text": "It rains."}


@with_views(default=("kind",), odd=("type",))
@dataclass
class OddInOneView:
    kind: str
    type: Any


@with_views(ids=("id",))
class Failing(pydantic.BaseModel):
    """A model whose own conversion fails."""

    id: int = 7

    def model_dump(self, **options: Any) -> Any:
        raise ZeroDivisionError("its own")


@pytest.mark.parametrize("helper", HELPERS)
@pytest.mark.parametrize(
    ("data", "error", "told"),
    [
        (OddInOneView("x", "ws:ping"), ReservedType, "ws:ping"),
        (OddInOneView("x", Unknown()), EncodeError, r"Unknown at \$\.type"),
        (Failing(), EncodeError, "its own"),
        ([OddInOneView("x", "y"), Unknown()], EncodeError, r"Unknown at \$\[1\]"),
    ],
    ids=["a reserved type", "an object", "a model that fails", "a list"],
)
async def test_no_view_may_hold_what_cannot_be_sent(
    call: Call,
    helper: str,
    data: Any,
    error: type[Exception],
    told: str,
    settings: Any,
) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "tests.sites.Noting"}}  # never touched
    with pytest.raises(error, match=told):
        await call(helper, *TARGETS.get(helper, ("1",)), data)


async def test_all_views_together_are_no_larger_than_a_frame_may_be(
    call: Call, sent: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len('{"id":7,"title":"Rain","text":"It rains."}{"title":"Rain","id":7}{"id":7}')
    for module in (payload, broadcasting):
        monkeypatch.setattr(module, "MAX_FRAME_SIZE", size)
    await call("broadcast", ARTICLE)
    with pytest.raises(EncodeError, match=rf"{size + 1} bytes in 3 views .* the {size} that"):
        await call("broadcast", Article(7, "Rain", "It rains!!"))
    assert len(sent) == 1


# Priorities by type


class Typing(msgspec.Struct, tag_field="type", tag="chat.typing"):
    who: str


@pytest.mark.parametrize("helper", HELPERS)
@pytest.mark.parametrize(
    ("data", "given", "lane"),
    [
        ({"type": "chat.typing"}, Priority.NORMAL, Priority.LOW),
        (Typing("anna"), Priority.NORMAL, Priority.LOW),
        ({"type": "chat.say"}, Priority.NORMAL, Priority.NORMAL),
        ({"type": "chat.typing"}, Priority.URGENT, Priority.URGENT),
        ("chat.typing", Priority.NORMAL, Priority.NORMAL),
        ({}, Priority.HIGH, Priority.HIGH),
    ],
    ids=["a dict", "a struct", "another type", "the call's own", "a text", "no type"],
)
async def test_the_lane_is_that_of_the_type(
    call: Call,
    sent: list[Any],
    settings: Any,
    helper: str,
    data: Any,
    given: Priority,
    lane: Priority,
) -> None:
    settings.WSADAPTER = {**settings.WSADAPTER, "PRIORITIES": {"chat.typing": Priority.LOW}}
    await call(helper, *TARGETS.get(helper, ("1",)), data, priority=given)
    assert [message.get("priority", Priority.NORMAL) for message in sent] == [lane]


async def test_a_number_is_a_priority_as_well(call: Call, sent: list[Any], settings: Any) -> None:
    settings.WSADAPTER = {**settings.WSADAPTER, "PRIORITIES": {"chat.typing": Priority.LOW}}
    await call("broadcast", {"type": "chat.typing"}, priority=0)
    await call("broadcast", {"type": "chat.typing"}, priority=2)
    assert [message["priority"] for message in sent] == [Priority.URGENT, Priority.LOW]
    with pytest.raises(ValueError, match="9 is not a valid Priority"):
        await call("broadcast", {}, priority=9)


# Sequences


def places(sent: list[Any]) -> list[int]:
    return [msgspec.json.decode(message["text"])["sequence"] for message in sent]


async def test_all_receivers_get_the_same_place(
    any_site: str, call: Call, connect: Connect
) -> None:
    anna, ben = await connect(1), await connect(2)
    received = []
    for number in range(3):
        began_ms = time.time() * 1000
        receipt = await call("send_to_group", "room 1", {"n": number}, sequence=True)
        assert not receipt.pending
        message, same = await heard(anna, ben)
        assert message == same
        assert list(message) == ["n", "sequence", "timestamp"]
        assert abs(message["timestamp"] - began_ms) < 60_000
        received.append(message)
    first = received[0]["sequence"]
    assert [(m["n"], m["sequence"]) for m in received] == [(n, first + n) for n in range(3)]
    await call("send_to_group", "room 1", {"n": "without"})
    assert await heard(anna, ben) == [{"n": "without"}] * 2


async def test_each_view_gets_the_same_place(sent: list[Any], call: Call) -> None:
    await call("send_to_group", "news", ARTICLE, sequence=True)
    [message] = sent
    stamp = message["text"].removeprefix(IN_VIEWS["text"][:-1])
    assert stamp.startswith(',"sequence":')
    assert message["views"] == {
        "summary": {"text": '{"title":"Rain","id":7' + stamp},
        "ids": {"text": '{"id":7' + stamp},
    }


async def test_nothing_else_of_the_message_changes(sent: list[Any], call: Call) -> None:
    await call(
        "send_to_group",
        "news",
        {"n": 1},
        priority=Priority.HIGH,
        sequence=True,
    )
    assert sent[0]["priority"] == Priority.HIGH


async def test_whoever_is_excluded_would_see_a_gap(sent: list[Any], call: Call) -> None:
    with pytest.raises(ValueError, match="the same for all receivers"):
        await call("send_to_group", "news", {"n": 1}, exclude=["tab-1"], sequence=True)
    assert not sent


async def test_each_group_is_counted_by_itself_whatever_it_is_called(
    sent: list[Any], call: Call
) -> None:
    groups = ("news", "Комната", "x" * 500, "x" * 501)
    for _ in range(2):
        for group in groups:
            await call("send_to_group", group, {}, sequence=True)
    first, second = places(sent[:4]), places(sent[4:])
    assert second == [place + 1 for place in first]


@pytest.mark.parametrize(
    "data",
    ["text", b"bytes", [1], 7, {"sequence": 1}, {"timestamp": 1}, '{"n":1}'],
    ids=repr,
)
async def test_what_cannot_have_a_place_is_refused_in_the_caller(
    call: Call, sent: list[Any], data: Any
) -> None:
    with pytest.raises(EncodeError):
        await call("send_to_group", "news", data, sequence=True)
    assert sent == []


async def test_several_who_send_at_once_share_one_row(sent: list[Any]) -> None:
    await asyncio.gather(
        *(asyncio.to_thread(wsadapter.send_to_group, "news", {}, sequence=True) for _ in range(20)),
        *(wsadapter.asend_to_group("news", {}, sequence=True) for _ in range(20)),
    )
    taken = sorted(places(sent))
    assert taken == list(range(taken[0], taken[0] + 40))


async def test_numbers_go_on_higher_when_redis_has_lost_its_memory(
    sent: list[Any], call: Call, own_redis: RedisServer, settings: Any
) -> None:
    settings.WSADAPTER = {**settings.WSADAPTER, "REDIS_URL": own_redis.url}
    for _ in range(5):
        await call("send_to_group", "news", {}, sequence=True)
        own_redis.flush()
    taken = places(sent)
    assert taken == sorted(set(taken))
    assert taken[-1] - taken[0] > 5


@pytest.fixture
def no_store(sent: list[Any], settings: Any) -> list[Any]:
    """What reaches the layer of a site whose layer works and whose Redis for the rest is away."""
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    settings.WSADAPTER = {**settings.WSADAPTER, "REDIS_URL": nowhere}
    return sent


async def test_without_a_number_nothing_is_sent(no_store: list[Any], call: Call) -> None:
    with pytest.raises(StoreUnavailable):
        await call("send_to_group", "news", {"n": 1}, sequence=True)
    assert no_store == []
    await call("send_to_group", "news", {"n": 1})
    assert len(no_store) == 1


@pytest.mark.django_db(transaction=True)
def test_a_number_that_is_not_to_be_had_at_commit_harms_nobody(
    no_store: list[Any], failures: list[Exception]
) -> None:
    with transaction.atomic():
        wsadapter.send_to_group("news", {"n": 1}, on_commit=True, sequence=True)
    assert [type(error) for error in failures] == [StoreUnavailable]
    assert no_store == []


@pytest.mark.django_db(transaction=True)
def test_a_place_is_given_at_the_commit(sent: list[Any]) -> None:
    def send(n: str, *, on_commit: bool) -> None:
        wsadapter.send_to_group("news", {"n": n}, on_commit=on_commit, sequence=True)

    with transaction.atomic():
        send("at commit", on_commit=True)
        with pytest.raises(EncodeError):
            wsadapter.send_to_group("news", "a text", on_commit=True, sequence=True)
        send("at once", on_commit=False)
    with suppress(ZeroDivisionError), transaction.atomic():
        send("never", on_commit=True)
        raise ZeroDivisionError
    send("after", on_commit=False)
    order = [msgspec.json.decode(text)["n"] for text in texts(sent)]
    assert order == ["at once", "at commit", "after"]
    first = places(sent)[0]
    assert places(sent) == [first, first + 1, first + 2], "what was rolled back takes no number"
