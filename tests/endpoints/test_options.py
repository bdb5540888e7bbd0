"""Each option of an endpoint, by what it changes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from channels.exceptions import DenyConnection
from pytest_django import Settings

from tests.consumers.browser import Browser, Closed
from tests.consumers.conftest import Log
from tests.waiting import aeventually
from wsadapter import (
    Batch,
    Connection,
    EndpointError,
    Exhausted,
    HealthPolicy,
    Overflow,
    Priority,
    RateLimit,
    abroadcast,
    adisconnect_user,
    aonline_count,
    asend_to_group,
    asend_to_user,
    periodic,
    websocket,
    with_views,
)
from wsadapter.endpoints import Options
from wsadapter.outlet import ITEM_BYTES
from wsadapter.wire.priorities import SUBPROTOCOL

Connect = Callable[..., Browser]

PARTNER = "https://partner.example"


@with_views(brief=("id",))
class Article(msgspec.Struct):
    id: int
    text: str


async def echo(connection: Connection) -> None:
    async for frame in connection:
        await connection.send(frame)


async def wait(connection: Connection) -> None:
    await asyncio.Event().wait()


def user(pk: int) -> Any:
    return SimpleNamespace(pk=pk, is_anonymous=False)


# Being given


def test_options_are_optional() -> None:
    assert websocket(echo).options == websocket()(echo).options == {}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("origin", r"Did you mean origins\?"),
        ("heartbeat", r"Did you mean heartbeat_"),
        ("max_mesage_size", r"Did you mean max_message_size\?"),
        ("xyzzy", r"There are origins, authenticate, .*groups\."),
    ],
)
def test_an_option_that_does_not_exist_is_refused_with_a_hint(name: str, hint: str) -> None:
    options: Any = {name: 1}
    with pytest.raises(EndpointError, match=rf"^The endpoint \w+ has no option '{name}'\. {hint}"):
        websocket(**options)(echo)
    with pytest.raises(EndpointError, match=hint):
        periodic(dict, interval=1, **options)


async def test_none_is_as_if_it_was_not_given(browser: Connect) -> None:
    options: Any = dict.fromkeys(Options.__annotations__)
    client = browser(websocket(**options)(echo).as_asgi())
    await client.open()
    assert await client.request_raw("echo") == "echo"


async def test_options_of_one_endpoint_are_those_of_no_other(browser: Connect) -> None:
    small = websocket(max_message_size=1)(echo).as_asgi()
    other = browser(websocket(echo).as_asgi())
    await browser(small).open()
    await other.open()
    assert await other.request_raw("a longer one") == "a longer one"


# Who may connect


@pytest.mark.parametrize(
    "origins",
    [[PARTNER], {"https://*.example"}, "*", lambda origin, scope: origin == PARTNER],
    ids=["list", "wildcard", "any", "rule"],
)
async def test_origins_may_connect_from_elsewhere(browser: Connect, origins: Any) -> None:
    client = browser(websocket(origins=origins)(echo).as_asgi(), headers={"origin": PARTNER})
    await client.open()


@pytest.mark.parametrize("origins", [None, [], ["https://another.example"]])
async def test_other_origins_may_not(browser: Connect, log: Log, origins: Any) -> None:
    client = browser(websocket(origins=origins)(echo).as_asgi(), headers={"origin": PARTNER})
    assert (await client.connect())[0] is False
    assert PARTNER in log.lines("handshake")[0]


async def by_token(scope: Any) -> int | None:
    return 7 if scope["query_string"] == b"token=right" else None


class Tokens:
    """Anything that can be called may authenticate."""

    async def __call__(self, scope: Any) -> int:
        return 7

    async def check(self, scope: Any) -> int:
        return 7


AUTHENTICATING: dict[str, Callable[[Any], Any]] = {
    "async": by_token,
    "sync": lambda scope: 7,
    "async method": Tokens().check,
    "async object": Tokens(),
    "sync, with an awaitable as its answer": lambda scope: by_token(scope),
    "partial": partial(by_token),
}


@pytest.mark.parametrize("authenticate", AUTHENTICATING.values(), ids=AUTHENTICATING)
async def test_authenticate_says_who_it_is(browser: Connect, authenticate: Any) -> None:
    endpoint = websocket(authenticate=authenticate)(echo)
    client = browser(endpoint.as_asgi(), "/ws/?token=right", user=user(8))
    await client.open()
    await asend_to_user(8, "for another")
    await asend_to_user(7, "for the one with the token")
    assert await client.receive() == "for the one with the token"


async def test_a_sync_authenticate_does_not_run_on_the_event_loop(browser: Connect) -> None:
    threads: list[int] = []

    def authenticate(scope: Any) -> None:
        threads.append(threading.get_ident())

    await browser(websocket(authenticate=authenticate)(echo).as_asgi()).open()
    assert len(threads) == 1 and threads != [threading.get_ident()]


def deny(scope: Any) -> None:
    raise DenyConnection


def fail(scope: Any) -> None:
    raise LookupError("a secret")


async def test_authenticate_may_refuse_the_handshake(browser: Connect, log: Log) -> None:
    client = browser(websocket(authenticate=deny)(echo).as_asgi())
    assert (await client.connect())[0] is False
    assert not log.tracebacks


async def test_authenticate_that_fails_closes_with_3004(browser: Connect, log: Log) -> None:
    client = browser(websocket(authenticate=fail)(echo).as_asgi())
    assert await client.refused() == Closed(3004, "internal error")
    assert len(log.tracebacks) == 1


async def test_the_user_who_was_found_is_the_connections(browser: Connect) -> None:
    @websocket(authenticate=by_token)
    async def who(connection: Connection) -> None:
        await connection.send({"user": connection.user, "id": connection.user_id})

    client = browser(who.as_asgi(), "/ws/?token=right")
    await client.open()
    assert await client.receive() == {"user": 7, "id": "7"}


@pytest.mark.parametrize(("query", "found"), [("?token=right", 7), ("?user=9", None)])
async def test_the_user_who_was_found_is_the_argument(
    browser: Connect, query: str, found: int | None
) -> None:
    """Neither that of the session nor what the query string says."""

    @websocket(authenticate=by_token)
    async def who(connection: Connection, user: Any, scope: Any) -> None:
        await connection.send({"user": user, "of the scope": scope["user"]})

    client = browser(who.as_asgi(), f"/ws/{query}", user=user(8))
    await client.open()
    assert await client.receive() == {"user": found, "of the scope": found}


@pytest.mark.parametrize("setting", [True, False])
async def test_allow_anonymous_stands_in_for_the_setting(
    browser: Connect, settings: Settings, setting: bool
) -> None:
    settings.WSADAPTER = {"ALLOW_ANONYMOUS": setting}
    open_to_all, members = (websocket(allow_anonymous=it)(echo).as_asgi() for it in (True, False))
    await browser(open_to_all).open()
    assert await browser(members).refused() == Closed(3500, "log in first")
    await browser(members, user=user(7)).open()


# Subprotocols


@pytest.mark.parametrize(
    ("spoken", "offered", "chosen"),
    [
        (["v2", "v1"], ["v1", "v2"], "v2"),
        (["v2", "v1"], ["v0", "v1"], "v1"),
        (["v2", "v1"], [], None),
        ([], ["v1"], None),
    ],
)
async def test_the_first_subprotocol_that_both_speak_is_chosen(
    browser: Connect, spoken: list[str], offered: list[str], chosen: str | None
) -> None:
    @websocket(subprotocols=spoken)
    async def tell(connection: Connection) -> None:
        await connection.send(f"speaking {connection.subprotocol}")
        await connection.receive()

    client = browser(tell.as_asgi(), subprotocols=offered)
    assert await client.connect() == (True, chosen)
    assert (await client.receive())["type"] == "ws:welcome"
    assert await client.receive() == f"speaking {chosen}"


async def test_who_speaks_none_of_them_is_told_which_there_are(browser: Connect, log: Log) -> None:
    endpoint = websocket(subprotocols=["v2", "v1"])(echo)
    client = browser(endpoint.as_asgi(), subprotocols=["v0", "v3"])
    assert await client.connect() == (True, "v0"), "or a browser would see no close code"
    event = await client.event()
    assert (event["code"], event["reason"]) == (3501, "subprotocols here: v2, v1")
    assert "3501" in log.lines("handshake")[0]
    await client.leave(3501)


# The heartbeat


async def test_heartbeat_interval_and_timeout(browser: Connect) -> None:
    endpoint = websocket(heartbeat_interval=0.01, heartbeat_timeout=0.01, heartbeat_mode="always")
    client = browser(endpoint(echo).as_asgi())
    await client.open()
    assert await client.receive() == {"type": "ws:ping"}
    assert await client.closed() == Closed(3012, "no pong")


async def test_heartbeat_mode_never_asks_for_no_pong(browser: Connect) -> None:
    endpoint = websocket(heartbeat_interval=0.01, heartbeat_timeout=0.01, heartbeat_mode="never")
    client = browser(endpoint(echo).as_asgi())
    await client.open()
    await client.send_json_to({"type": "ws:pong"})
    assert [await client.receive() for _ in range(4)] == [{"type": "ws:ping"}] * 4


async def test_heartbeats_are_not_for_the_function(browser: Connect) -> None:
    client = browser(websocket(echo).as_asgi())
    await client.open()
    await client.send_json_to({"type": "ws:pong"})
    assert await client.request(type="ws:ping") == {"type": "ws:pong"}
    assert await client.request_raw("echo") == "echo"


# Sizes


async def test_max_message_size(browser: Connect) -> None:
    client = browser(websocket(max_message_size=4)(echo).as_asgi())
    await client.open()
    assert await client.request_raw("four") == "four"
    await client.frame("fives")
    assert await client.closed() == Closed(3501, "a message may have 4 bytes")


async def unread(client: Browser) -> None:
    """Connect, and leave the welcome unread, so that nothing can leave any more."""
    await client.connect()
    await aeventually(client.output_queue.full)


async def four_pushes() -> None:
    """Of ten bytes each: one is on its way, and the others wait."""
    for number in range(4):
        await abroadcast(f"push {number}...")
        await asyncio.sleep(0)


TWO_MESSAGES = 2 * (10 + ITEM_BYTES)


async def test_max_outbox_size(browser: Connect) -> None:
    small = browser(websocket(max_outbox_size=TWO_MESSAGES)(wait).as_asgi(), takes=1)
    large = browser(websocket(max_outbox_size=2 * TWO_MESSAGES)(wait).as_asgi(), takes=1)
    await unread(small)
    await unread(large)
    await four_pushes()
    assert (await small.closed()).code == 3008
    assert (await large.receive())["type"] == "ws:welcome"
    assert [await large.receive() for _ in range(4)] == [f"push {n}..." for n in range(4)]


@pytest.mark.parametrize(
    ("overflow", "kept"), [(Overflow.DROP_OLDEST, [0, 2, 3]), (Overflow.DROP_NEWEST, [0, 1, 2])]
)
async def test_overflow(browser: Connect, overflow: Overflow, kept: list[int]) -> None:
    endpoint = websocket(max_outbox_size=TWO_MESSAGES, overflow=overflow)(wait)
    client = browser(endpoint.as_asgi(), takes=1)
    await unread(client)
    await four_pushes()
    assert (await client.receive())["type"] == "ws:welcome"
    assert [await client.receive() for _ in kept] == [f"push {n}..." for n in kept]


async def test_what_the_function_sends_is_neither_dropped_nor_bounded(browser: Connect) -> None:
    @websocket(max_outbox_size=1, overflow=Overflow.DROP_NEWEST)
    async def talkative(connection: Connection) -> None:
        for number in range(20):
            await connection.send(number)

    client = browser(talkative.as_asgi(), takes=1)
    await client.open()
    assert [await client.receive() for _ in range(20)] == list(range(20))


# What a client may do


async def test_rate_limit(browser: Connect) -> None:
    client = browser(websocket(rate_limit=RateLimit(0.001, burst=2))(echo).as_asgi())
    await client.open()
    assert [await client.request_raw(word) for word in ("one", "two")] == ["one", "two"]
    refused = await client.request(type="chat.say", id=7)
    assert (refused["type"], refused["id"], refused["code"]) == ("ws:error", 7, "rate_limited")
    assert 0 < refused["retry_after"] <= 1000


async def test_rate_limits_of_single_types(browser: Connect) -> None:
    limits = {"chat.say": RateLimit(0.001, burst=1)}
    client = browser(websocket(rate_limits=limits)(echo).as_asgi())
    await client.open()
    assert (await client.request(type="chat.say", id=7))["type"] == "chat.say"
    refused = await client.request(type="chat.say", id=8)
    assert (refused["type"], refused["id"], refused["code"]) == ("ws:error", 8, "rate_limited")
    assert (await client.request(type="chat.look"))["type"] == "chat.look"
    assert await client.request_raw("no JSON") == "no JSON"


async def test_an_endpoint_that_speaks_of_priorities_reads_the_urgent_first(
    browser: Connect,
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    @websocket(subprotocols=[SUBPROTOCOL])
    async def slow(connection: Connection) -> None:
        begun.set()
        await go_on.wait()
        await echo(connection)

    client = browser(slow.as_asgi(), subprotocols=[SUBPROTOCOL])
    await client.open()
    await begun.wait()
    for priority in ("low", "normal", "high", "urgent"):
        await client.send_json_to({"type": "it", "priority": priority})
    assert (await client.request(type="it", id=7, priority="none"))["path"] == "$.priority"
    go_on.set()
    read = [(await client.receive())["priority"] for _ in range(4)]
    assert read == ["urgent", "high", "normal", "low"]


async def test_other_endpoints_read_in_the_order_of_arrival(browser: Connect) -> None:
    client = browser(websocket(echo).as_asgi(), subprotocols=[SUBPROTOCOL])
    assert await client.connect() == (True, None)
    assert (await client.receive())["type"] == "ws:welcome"
    for priority in ("low", "nonsense", "urgent"):
        assert (await client.request(priority=priority))["priority"] == priority


async def test_health(browser: Connect, log: Log) -> None:
    policy = HealthPolicy(max_silence_seconds=0.001, check_interval_seconds=0.01)
    client = browser(websocket(health=policy)(wait).as_asgi())
    client_id = await client.open()
    closed = await client.closed()
    assert closed.code == 3012 and "silent" in closed.reason
    [line] = log.lines("health")
    assert client_id in line and closed.reason in line


@pytest.mark.parametrize(
    ("compression", "level"), [(False, 0), (True, 1), (6, 6), (None, 0)], ids=repr
)
async def test_the_server_is_told_how_to_compress(
    browser: Connect, monkeypatch: pytest.MonkeyPatch, compression: bool | int | None, level: int
) -> None:
    told: list[int] = []
    monkeypatch.setattr("wsadapter.servers.set_compression", lambda _, level: told.append(level))
    await browser(websocket(compression=compression)(echo).as_asgi()).open()
    assert told == [level]


# What it gets


async def test_without_a_welcome_the_function_has_the_first_word(browser: Connect) -> None:
    @websocket(welcome=False)
    async def first(connection: Connection) -> None:
        await connection.send("first")

    client = browser(first.as_asgi())
    await client.connect()
    assert await client.receive() == "first"
    assert (await client.closed()).code == 1000


async def test_without_pushes_nothing_for_all_or_for_the_user_arrives(browser: Connect) -> None:
    client = browser(websocket(pushes=False)(echo).as_asgi(), user=user(7))
    await client.open()
    assert await aonline_count() == 1
    await abroadcast("for all")
    await asend_to_user(7, "for the user")
    assert await client.request_raw("echo") == "echo"
    assert await adisconnect_user(7) == 1
    assert (await client.closed()).code == 3503


async def test_priorities_of_types_stand_in_for_the_setting(
    browser: Connect, settings: Settings
) -> None:
    settings.WSADAPTER = {"PRIORITIES": {"typing": Priority.LOW, "alarm": Priority.LOW}}

    async def tell(connection: Connection) -> None:
        for word in ("taken", "on its way"):
            connection.post(word)
        await connection.receive()
        async with asyncio.TaskGroup() as group:
            for kind in ("typing", "alarm", "news"):
                group.create_task(connection.send({"type": kind}))
            await asyncio.sleep(0)  # they begin now
            all_wait.set()

    all_wait = asyncio.Event()

    own = websocket(priorities={"alarm": Priority.URGENT})(tell)
    orders = [["alarm", "typing", "news"], ["news", "typing", "alarm"]]
    for endpoint, order in zip((own, websocket(tell)), orders, strict=True):
        client = browser(endpoint.as_asgi(), takes=1)
        await client.open()
        await aeventually(client.output_queue.full)
        all_wait.clear()
        await client.frame("go")
        await all_wait.wait()
        assert [await client.receive(), await client.receive()] == ["taken", "on its way"]
        assert [(await client.receive())["type"] for _ in range(3)] == order


async def test_views_are_chosen_by_the_client(browser: Connect) -> None:
    @websocket(views=["default", "brief"])
    async def articles(connection: Connection) -> None:
        async for _ in connection:
            await connection.send(Article(7, "long"))

    endpoint = articles.as_asgi()
    client = browser(endpoint, "/ws/?view=brief")
    await client.open()
    await abroadcast(Article(8, "a push"))
    assert await client.receive() == {"id": 8}
    assert await client.request_raw("read") == {"id": 7}
    await client.send_json_to({"type": "ws:view", "view": "default"})
    assert await client.request_raw("read") == {"id": 7, "text": "long"}
    refused = await browser(endpoint, "/ws/?view=other").refused()
    assert refused == Closed(3501, "There is no such view; there are default, brief.")


async def test_what_is_sent_leaves_in_batches(browser: Connect) -> None:
    @websocket(batch=Batch(max_items=3, max_delay=60))
    async def talkative(connection: Connection) -> None:
        for number in range(5):
            await connection.send(number)

    client = browser(talkative.as_asgi())
    await client.open()
    frames = [await client.receive(), await client.receive()]
    assert [frame["messages"] for frame in frames] == [[0, 1, 2], [3, 4]]
    assert (await client.closed()).code == 1000


async def test_errors_of_the_project_are_told(browser: Connect, log: Log) -> None:
    @websocket(errors={LookupError: Exhausted})
    async def missing(connection: Connection) -> None:
        raise KeyError("a secret")

    client = browser(missing.as_asgi())
    await client.open()
    assert await client.receive() == {
        "type": "ws:error",
        "id": None,
        "code": "exhausted",
        "kind": "exhausted",
        "message": Exhausted.sentence,
    }
    assert await client.closed() == Closed(3013, Exhausted.sentence)
    assert len(log.tracebacks) == 1


@pytest.mark.parametrize("pushes", [True, False])
async def test_groups_are_joined_before_the_function_runs(browser: Connect, pushes: bool) -> None:
    @websocket(groups=["red", "a room of any name"], pushes=pushes)
    async def members(connection: Connection) -> None:
        await asend_to_group("red", "for the red")
        await asend_to_group("a room of any name", "for the others")
        await connection.receive()

    client = browser(members.as_asgi())
    await client.open()
    assert [await client.receive(), await client.receive()] == ["for the red", "for the others"]
