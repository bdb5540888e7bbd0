"""Who is connecting, and who may not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.exceptions import DenyConnection
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.signals import user_logged_out
from pytest_django import Settings

from tests.consumers.browser import PATIENCE_SECONDS, Browser, Closed
from tests.consumers.conftest import Log
from tests.consumers.recorder import Recorder
from tests.processes import free_port
from wsadapter import aonline_clients, aonline_count, asend_to_user, conf
from wsadapter.auth import ORIGIN_CHECKED
from wsadapter.broadcasting import end_session
from wsadapter.consumers import AdapterConsumer
from wsadapter.errors import StoreUnavailable
from wsadapter.groups import digest
from wsadapter.layers import client_ids
from wsadapter.store import MemoryStore

Connect = Callable[..., Browser]


def user(pk: int | str) -> Any:
    return SimpleNamespace(pk=pk, is_anonymous=False)


async def ids_online() -> list[str | None]:
    return [client.user_id async for client in aonline_clients()]


# Users


@pytest.mark.parametrize("pk", [7, "anna@example.com", "9" * 300, "Ольга 🌷"])
async def test_what_is_sent_to_a_user_reaches_that_user(browser: Connect, pk: int | str) -> None:
    anna, ben, nobody = (
        browser(AdapterConsumer, user=user(pk)),
        browser(AdapterConsumer, user=user(8)),
        browser(AdapterConsumer),
    )
    for client in (anna, ben, nobody):
        await client.open()
    await asend_to_user(pk, "for one")
    assert await anna.receive() == "for one"
    assert ben.output_queue.empty() and nobody.output_queue.empty()


async def test_the_user_of_the_session_is_the_user(browser: Connect) -> None:
    await browser(AdapterConsumer, user=user(7)).open()
    assert await ids_online() == ["7"]


@pytest.mark.parametrize("source", ["query:user_id", "header:X-User-Id"])
async def test_a_trusted_gateway_names_the_user(
    browser: Connect, settings: Settings, source: str
) -> None:
    settings.WSADAPTER = {"USER_ID_FROM": source}
    client = browser(
        AdapterConsumer,
        "/ws/?user_id=42" if source.startswith("query") else "/ws/",
        headers={} if source.startswith("query") else {"x-user-id": "42"},
        user=user("not this one"),
    )
    await client.open()
    assert await ids_online() == ["42"]


@pytest.mark.parametrize("path", ["/ws/", "/ws/?user_id="])
async def test_without_a_name_from_the_gateway_the_visitor_is_anonymous(
    browser: Connect, settings: Settings, path: str
) -> None:
    settings.WSADAPTER = {"USER_ID_FROM": "query:user_id"}
    await browser(AdapterConsumer, path, user=user(7)).open()
    assert await ids_online() == [None]


@pytest.mark.parametrize("source", ["query:user_id", "header:X-User-Id"])
async def test_without_the_setting_a_request_names_nobody(browser: Connect, source: str) -> None:
    await browser(AdapterConsumer, "/ws/?user_id=42", headers={"x-user-id": "42"}).open()
    assert await ids_online() == [None]


@pytest.mark.parametrize(
    ("answer", "user_id"),
    [(user(7), "7"), (7, "7"), ("seven", "seven"), (None, None), (AnonymousUser(), None)],
    ids=["user", "pk", "text", "None", "AnonymousUser"],
)
async def test_authenticate_decides(browser: Connect, answer: Any, user_id: str | None) -> None:
    class Token(AdapterConsumer):
        async def authenticate(self) -> Any:
            return answer

    await browser(Token, user=user("not this one")).open()
    assert await ids_online() == [user_id]


async def test_connect_knows_who_is_connecting(browser: Connect) -> None:
    class Greeting(AdapterConsumer):
        async def authenticate(self) -> Any:
            return 7

        async def connect(self) -> None:
            await self.accept()
            await self.send(f"hello {self.connection.user_id}")

    client = browser(Greeting)
    await client.open()
    assert await client.receive() == "hello 7"


@pytest.mark.parametrize(
    "error", [LookupError("a secret"), TimeoutError("a secret"), ValueError("a secret")], ids=repr
)
async def test_authenticate_that_fails_closes_with_3004(
    browser: Connect, log: Log, error: Exception
) -> None:
    class Broken(Recorder):
        async def authenticate(self) -> Any:
            raise error

    assert await browser(Broken).refused() == Closed(3004, "internal error")
    assert len(log.tracebacks) == 1
    assert Broken.ends == [], "connect() was not called, so disconnect() is not either"


@pytest.mark.parametrize("unsaved", [user(None), True], ids=["unsaved user", "bool"])  # type: ignore[arg-type]
async def test_authenticate_that_names_nobody_is_an_error_of_the_server(
    browser: Connect, log: Log, unsaved: Any
) -> None:
    class Broken(AdapterConsumer):
        async def authenticate(self) -> Any:
            return unsaved

    assert (await browser(Broken).refused()).code == 3004
    assert len(log.tracebacks) == 1


async def test_authenticate_may_refuse_the_handshake(browser: Connect, log: Log) -> None:
    class Closed(Recorder):
        async def authenticate(self) -> Any:
            raise DenyConnection

    assert (await browser(Closed).connect())[0] is False
    assert not log.tracebacks


@pytest.mark.parametrize("how", ["setting", "class"])
async def test_anonymous_visitors_may_be_refused(
    browser: Connect, settings: Settings, log: Log, how: str
) -> None:
    class Members(AdapterConsumer):
        allow_anonymous = None if how == "setting" else False

    if how == "setting":
        settings.WSADAPTER = {"ALLOW_ANONYMOUS": False}
    assert await browser(Members).refused() == Closed(3500, "log in first")
    assert await aonline_count() == 0
    assert len(log.lines("handshake")) == 1
    assert "3500" in log.lines("handshake")[0]
    await browser(Members, user=user(7)).open()


async def test_a_class_may_allow_what_the_setting_does_not(
    browser: Connect, settings: Settings
) -> None:
    class Open(AdapterConsumer):
        allow_anonymous = True

    settings.WSADAPTER = {"ALLOW_ANONYMOUS": False}
    await browser(Open).open()


# Client ids


@pytest.fixture
def chosen_ids(settings: Settings) -> None:
    settings.WSADAPTER = {"CLIENT_ID_FROM": "query:client"}


@pytest.mark.usefixtures("chosen_ids")
@pytest.mark.parametrize("client_id", ["kitchen-1", "a" * 128, "anna@shop:tab+2=~._"])
async def test_a_browser_may_choose_its_id(browser: Connect, client_id: str) -> None:
    client = browser(AdapterConsumer, f"/ws/?client={client_id.replace('+', '%2B')}")
    assert await client.open() == client_id


@pytest.mark.usefixtures("chosen_ids")
@pytest.mark.parametrize(
    "client_id",
    ["", "a" * 129, "a b", "%00", "%D0%BA%D1%83", "a/b", "%F0%9F%8C%B7", "a%0A", "<b>"],
)
async def test_a_malformed_id_is_refused(browser: Connect, log: Log, client_id: str) -> None:
    closed = await browser(AdapterConsumer, f"/ws/?client={client_id}").refused()
    assert closed.code == 3501
    assert "malformed client id" in closed.reason
    assert "malformed client id" in log.lines("handshake")[0]


@pytest.mark.usefixtures("chosen_ids")
async def test_an_id_in_the_form_of_generated_ones_is_refused(browser: Connect) -> None:
    assert (
        await browser(AdapterConsumer, f"/ws/?client={client_ids.new()}").refused()
    ).code == 3501


@pytest.mark.usefixtures("chosen_ids")
async def test_without_a_choice_an_id_is_generated(browser: Connect) -> None:
    assert client_ids.is_generated(await browser(AdapterConsumer, "/ws/").open())


@pytest.mark.usefixtures("chosen_ids")
@pytest.mark.parametrize("who", [user(7), None], ids=["a user", "anonymous"])
async def test_a_newcomer_with_the_same_id_replaces_the_old_connection(
    browser: Connect, who: Any
) -> None:
    old = browser(Recorder, "/ws/?client=tab", user=who)
    new = browser(Recorder, "/ws/?client=tab", user=who)
    await old.open()
    await new.open()
    assert await old.closed() == Closed(3503, "replaced by a newer connection")
    assert await aonline_count() == 1


@pytest.mark.usefixtures("chosen_ids")
async def test_of_many_at_once_with_the_same_id_one_stays(browser: Connect) -> None:
    async def fate(rival: Browser) -> Any:
        """The code that it was closed with, or what was sent to whoever is left."""
        while "code" not in (event := await rival.event()):
            if event.get("text") == "who is there?":
                return event["text"]
        return event["code"]

    rivals = [browser(AdapterConsumer, "/ws/?client=tab", user=user(7)) for _ in range(20)]
    await asyncio.gather(*(rival.connect(PATIENCE_SECONDS) for rival in rivals))
    assert await aonline_count() == 1
    await asend_to_user(7, "who is there?")
    fates = [await fate(rival) for rival in rivals]
    assert sorted(fates, key=str) == [3503] * (len(rivals) - 1) + ["who is there?"]


@pytest.mark.usefixtures("chosen_ids")
async def test_the_late_clean_up_of_the_replaced_changes_nothing(browser: Connect) -> None:
    going_on = asyncio.Event()

    class Slow(AdapterConsumer):
        async def receive(self, text_data: str | None = None, bytes_data: Any = None) -> None:
            await going_on.wait()

    old = browser(Slow, "/ws/?client=tab", user=user(7))
    new = browser(Slow, "/ws/?client=tab", user=user(7))
    await old.open()
    await old.send_to("hold its clean-up up")
    await new.open()
    while (event := await old.event())["type"] != "websocket.close":
        pass
    assert event["code"] == 3503
    going_on.set()
    await old.leave(3503)
    assert await aonline_count() == 1
    await asend_to_user(7, "still there")
    assert await new.receive() == "still there"


@pytest.mark.usefixtures("chosen_ids")
async def test_an_id_of_another_user_is_refused(browser: Connect, log: Log) -> None:
    await (owner := browser(AdapterConsumer, "/ws/?client=tab", user=user(7))).open()
    for thief in (user(8), None):
        client = browser(AdapterConsumer, "/ws/?client=tab", user=thief)
        assert await client.refused() == Closed(3501, "this client id belongs to somebody else")
    assert await ids_online() == ["7"]
    assert owner.output_queue.empty()
    await owner.leave()
    await browser(AdapterConsumer, "/ws/?client=tab", user=user(8)).open()


# Logging out


def session(key: str) -> Any:
    return SimpleNamespace(session_key=key)


async def log_out(who: Any, key: str | None) -> None:
    request = SimpleNamespace(session=session(key)) if key else None
    await sync_to_async(user_logged_out.send)(sender=type(who), request=request, user=who)


async def test_a_logout_closes_the_connections_of_that_session_only(browser: Connect) -> None:
    anna = user(7)
    here, here_too = (browser(AdapterConsumer, user=anna, session=session("a")) for _ in "ab")
    elsewhere = browser(AdapterConsumer, user=anna, session=session("b"))
    by_token = browser(AdapterConsumer, user=anna)
    ben = browser(AdapterConsumer, user=user(8), session=session("c"))
    for client in (here, here_too, elsewhere, by_token, ben):
        await client.open()
    await log_out(anna, "a")
    assert await here.closed() == await here_too.closed() == Closed(3500, "logged out")
    assert await aonline_count() == 3


@pytest.mark.parametrize(
    ("who", "key"), [(user(7), None), (None, "a")], ids=["no request", "no user"]
)
async def test_a_logout_of_nobody_closes_nothing(
    browser: Connect, who: Any, key: str | None
) -> None:
    client = browser(AdapterConsumer, user=user(7), session=session("a"))
    await client.open()
    await log_out(who, key)
    assert await aonline_count() == 1


async def test_a_logout_closes_those_without_pushes_too(browser: Connect) -> None:
    class Quiet(AdapterConsumer):
        pushes = False

    anna = user(7)
    here = browser(Quiet, user=anna, session=session("a"))
    elsewhere = browser(Quiet, user=anna, session=session("b"))
    for client in (here, elsewhere):
        await client.open()
    await log_out(anna, "a")
    assert await here.closed() == Closed(3500, "logged out")
    assert await aonline_count() == 1


async def test_another_users_login_closes_those_without_pushes_too(browser: Connect) -> None:
    """Whose session it was is not known then, and everybody's connections are asked."""

    class Quiet(AdapterConsumer):
        pushes = False

    client = browser(Quiet, user=user(7), session=session("first-key"))
    await client.open()
    await sync_to_async(end_session)(digest("first-key"))
    assert await client.closed() == Closed(3500, "logged out")


# Origins of a consumer

PARTNER = "https://partner.example"
OWN = "http://testserver"


def allows_partners(origin: str, scope: Any) -> bool:
    return origin == PARTNER


class Partners(AdapterConsumer):
    origins = [PARTNER]


class Ruled(AdapterConsumer):
    origins = staticmethod(allows_partners)  # type: ignore[assignment]


class RuledByName(AdapterConsumer):
    origins = f"{__name__}.allows_partners"


class RuledByMethod(AdapterConsumer):
    """A function in a class body is no method here."""

    origins = allows_partners


class Anybody(AdapterConsumer):
    origins = "*"


class OwnOnly(AdapterConsumer):
    origins = []


async def let_in(client: Browser) -> bool:
    return bool((await client.connect())[0])


@pytest.mark.parametrize("consumer", [Partners, Ruled, RuledByName, RuledByMethod, Anybody])
@pytest.mark.parametrize("checked", [{}, {ORIGIN_CHECKED: True}], ids=["first", "checked before"])
async def test_a_consumer_may_let_other_origins_in(
    browser: Connect, consumer: type[AdapterConsumer], checked: dict[str, bool]
) -> None:
    for origin in (PARTNER, OWN):
        client = browser(consumer, headers={"host": "testserver", "origin": origin}, **checked)
        assert await let_in(client)


@pytest.mark.parametrize(
    "consumer", [Partners, Ruled, RuledByName, RuledByMethod, OwnOnly, AdapterConsumer]
)
async def test_and_refuses_the_others(
    browser: Connect, log: Log, consumer: type[AdapterConsumer]
) -> None:
    client = browser(consumer, headers={"host": "testserver", "origin": "https://evil.example"})
    assert not await let_in(client)
    [line] = log.lines("handshake")
    assert "'https://evil.example'" in line and "HTTP status 403" in line
    assert ("the origins of this path" in line) is (consumer is not AdapterConsumer)


async def test_the_origins_of_a_consumer_stand_in_for_the_setting(
    browser: Connect, settings: Settings
) -> None:
    settings.WSADAPTER = {"ALLOWED_ORIGINS": ["https://another.example"]}
    another = {"host": "testserver", "origin": "https://another.example"}
    assert await let_in(browser(AdapterConsumer, headers=another))
    for consumer in (Partners, OwnOnly):
        assert not await let_in(browser(consumer, headers=another))


async def test_what_has_been_checked_is_not_checked_again_without_own_origins(
    browser: Connect,
) -> None:
    headers = {"host": "testserver", "origin": "https://evil.example"}
    assert await let_in(browser(AdapterConsumer, headers=headers, **{ORIGIN_CHECKED: True}))
    assert not await let_in(browser(Partners, headers=headers, **{ORIGIN_CHECKED: True}))


# Without a layer, without Redis


async def test_without_a_channel_layer_the_log_says_what_is_missing(
    settings: Settings, log: Log
) -> None:
    settings.CHANNEL_LAYERS = {}
    assert (await Browser(AdapterConsumer).refused()).code == 3004
    assert len(log.tracebacks) == 1


class Away(MemoryStore):
    async def arun(self, op: Any) -> Any:
        raise StoreUnavailable("Redis at 127.0.0.1:1 did not answer.")


@pytest.fixture
def store_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    conf.store()
    monkeypatch.setitem(conf._stores, "store", Away())


async def test_with_the_store_away_a_connection_is_accepted_and_closed_with_3004(
    log: Log, store_is_away: None
) -> None:
    client = Browser(AdapterConsumer)
    assert await client.refused() == Closed(3004, "the server is not ready; come back")
    assert not log.tracebacks
    [line] = log.lines("handshake")
    assert "127.0.0.1:1" in line
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_with_the_layers_redis_away_too(settings: Settings, log: Log) -> None:
    url = f"redis://:a-secret@127.0.0.1:{free_port()}/0"
    config = {"hosts": [url], "timeout_seconds": 0.2}
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": "wsadapter.layers.RedisChannelLayer", "CONFIG": config}
    }
    settings.WSADAPTER = {"REDIS_TIMEOUT": 0.2}
    client = Browser(AdapterConsumer)
    assert (await client.refused()).code == 3004
    assert not log.tracebacks
    said = "".join(log.lines("handshake") + log.lines("outages"))
    assert "127.0.0.1" in said and "a-secret" not in said
