"""The admin's page of connections, without JavaScript: who may do what, and what it does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import unescape
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db import connection
from django.test import Client

from tests.connections import a_connection, record
from tests.processes import free_port
from tests.sites import MEMORY, site
from wsadapter.testing import SentList, capture_sent

pytestmark = pytest.mark.django_db

LIST = "/admin/wsadapter/connection/"
DISCONNECT = f"{LIST}disconnect/"
SEND = f"{LIST}send/"

HOSTILE = "<img src=x onerror=alert(1)>\"'&"

LogIn = Callable[..., Client]


@pytest.fixture(autouse=True)
def empty_store(settings: Any) -> None:
    for setting, value in site(MEMORY, []).items():
        setattr(settings, setting, value)


@pytest.fixture
def sent() -> Iterator[SentList]:
    with capture_sent() as sent:
        yield sent


def make_user(name: str, *permissions: str, **fields: Any) -> Any:
    user = get_user_model().objects.create(username=name, **fields)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


@pytest.fixture
def log_in() -> LogIn:
    """Somebody of the staff, with permissions on connections such as "view"."""

    def log_in(*actions: str, **options: Any) -> Client:
        staff = make_user("staff", *(f"{action}_connection" for action in actions), is_staff=True)
        client = Client(**options)
        client.force_login(staff)
        return client

    return log_in


@pytest.fixture
def operator(log_in: LogIn) -> Client:
    return log_in("view", "disconnect", "send")


def text_of(response: Any) -> str:
    """What the page says: without its tags, its templates, and what is hidden."""
    page = re.sub(r"<template.*?</template>", "", response.content.decode(), flags=re.DOTALL)
    page = re.sub(r"<(\w+)[^>]*\shidden>[^<]*</\1>", "", page)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


# Who may do what


def test_it_is_listed_for_those_who_may_see_it(log_in: LogIn) -> None:
    assert f'href="{LIST}"' in log_in("view").get("/admin/").content.decode()


def test_it_is_not_listed_for_others(log_in: LogIn) -> None:
    assert LIST not in log_in().get("/admin/").content.decode()


@pytest.mark.parametrize("url", [LIST, f"{DISCONNECT}?user=7", f"{SEND}?user=7"])
def test_a_visitor_is_asked_to_log_in(client: Client, url: str) -> None:
    response = client.get(url)
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("url", [LIST, f"{DISCONNECT}?user=7", f"{SEND}?user=7"])
def test_staff_without_any_permission_get_403(log_in: LogIn, url: str) -> None:
    client = log_in()
    assert client.get(url).status_code == 403
    assert client.post(url, {"user": "7"}).status_code == 403


def test_those_who_may_only_look_can_only_look(log_in: LogIn, sent: SentList) -> None:
    record([a_connection("c1", 7)])
    client = log_in("view")
    page = client.get(LIST)
    assert page.status_code == 200
    assert "Disconnect" not in text_of(page) and "Send" not in text_of(page)
    assert client.post(DISCONNECT, {"client": "c1"}).status_code == 403
    assert client.post(SEND, {"client": "c1", "kind": "text", "text": "hi"}).status_code == 403
    assert not sent and not sent.disconnected


@pytest.mark.parametrize(("action", "url", "other"), [("send", SEND, DISCONNECT)])
def test_each_action_has_its_permission(log_in: LogIn, action: str, url: str, other: str) -> None:
    client = log_in("view", action)
    assert client.get(f"{url}?user=7").status_code == 200
    assert client.get(f"{other}?user=7").status_code == 403


def test_a_superuser_may_everything(client: Client) -> None:
    client.force_login(make_user("root", is_staff=True, is_superuser=True))
    for url in (LIST, f"{DISCONNECT}?user=7", SEND):
        assert client.get(url).status_code == 200


@pytest.mark.parametrize("url", [DISCONNECT, SEND])
def test_without_the_token_nothing_is_done(log_in: LogIn, sent: SentList, url: str) -> None:
    client = log_in("view", "disconnect", "send", enforce_csrf_checks=True)
    fields = {"client": "c1", "kind": "text", "text": "hi"}
    assert client.post(url, fields).status_code == 403
    assert not sent and not sent.disconnected


def test_nothing_can_be_added_changed_or_deleted(client: Client) -> None:
    client.force_login(make_user("root", is_staff=True, is_superuser=True))
    for url in (f"{LIST}add/", f"{LIST}c1/change/", f"{LIST}c1/delete/"):
        assert client.get(url).status_code == 404


# The list


def test_it_shows_processes_and_connections(operator: Client) -> None:
    ada = make_user("ada")
    record([a_connection("c1", ada.pk, path="/ws/shop/", age_seconds=7300), a_connection("c2")])
    text = text_of(operator.get(LIST))
    assert "Server processes: 1 , with 2 connections" in text
    assert "web-1 4711 2 web-1:4711:token" in text
    assert "ada Send to all Disconnect all c1 /ws/shop/ on web-1:4711 Send Disconnect" in text
    assert "192.0.2.1 2 hours, 1 minute – – – –" in text
    assert "anonymous" in text and "No connections" not in text


def test_it_says_that_nobody_is_there(operator: Client) -> None:
    assert "No connections." in text_of(operator.get(LIST))
    assert "No connections found." in text_of(operator.get(f"{LIST}?q=ada"))


def test_it_holds_a_page_and_leads_to_the_next(operator: Client) -> None:
    record(a_connection(f"c{n:03}") for n in range(70))
    first = operator.get(LIST)
    assert len(first.context["listing"].rows) == 50
    (query,) = re.findall(r'data-next href="([^"]+)"', first.content.decode())
    second = operator.get(f"{LIST}{unescape(query)}")
    assert [row.client_id for row in second.context["listing"].rows] == [
        f"c{n:03}" for n in range(50, 70)
    ]
    assert 'data-next href="?cursor=" hidden' in second.content.decode()
    assert "First page" in text_of(second)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("c1", "This is a client id."),
        ("ada", "these are connections of users, by name or primary key."),
        ("192.0.2.9", "looked for in addresses and paths. Reload looks again"),
    ],
    ids=["client", "user", "address"],
)
def test_whatever_is_typed_is_found_and_the_page_says_where(
    operator: Client, text: str, note: str
) -> None:
    record([a_connection("c1", make_user("ada").pk, address="192.0.2.9"), a_connection("c2")])
    page = operator.get(f"{LIST}?q={text}")
    assert [row.client_id for row in page.context["listing"].rows] == ["c1"]
    assert note in text_of(page)


def test_a_search_can_be_narrowed(operator: Client) -> None:
    record([a_connection("ada"), a_connection("c1", make_user("ada").pk)])
    page = operator.get(f"{LIST}?by=user&q=ada")
    assert [row.client_id for row in page.context["listing"].rows] == ["c1"]
    assert '<option value="user" selected>' in page.content.decode()
    page = operator.get(f"{LIST}?q=ada")
    assert [row.client_id for row in page.context["listing"].rows] == ["ada"]
    assert '<option value="any" selected>' in page.content.decode()


def test_a_search_is_kept_on_the_way(operator: Client, sent: SentList) -> None:
    record([a_connection("c1", path="/ws/shop/")])
    page = operator.get(f"{LIST}?by=place&q=shop").content.decode()
    assert f'action="{DISCONNECT}?by=place&amp;q=shop"' in page
    done = operator.post(f"{DISCONNECT}?by=place&q=shop", {"client": "c1"})
    assert done["Location"] == f"{LIST}?by=place&q=shop"


def test_the_names_of_a_page_are_one_query(
    operator: Client, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(4) as alone:  # the session, the user, and what he may do
        operator.get(LIST)
    record(a_connection(f"c{n}", make_user(f"user{n}").pk) for n in range(30))
    with django_assert_num_queries(len(alone) + 1):
        operator.get(LIST)


def test_while_redis_is_away_it_says_so(operator: Client, settings: Any) -> None:
    settings.WSADAPTER = {"REDIS_URL": f"redis://127.0.0.1:{free_port()}/0", "REDIS_TIMEOUT": 1}
    page = operator.get(LIST)
    assert page.status_code == 503
    assert "cannot be reached" in text_of(page)
    for url in (DISCONNECT, SEND):
        fields = {"client": "c1", "kind": "text", "text": "hi"}
        assert "cannot be reached" in text_of(operator.post(url, fields, follow=True))


def test_what_clients_have_chosen_is_text(operator: Client) -> None:
    hostile = make_user(HOSTILE)
    record(
        [
            a_connection(HOSTILE, hostile.pk, path=HOSTILE, address=HOSTILE),
            a_connection("c2", HOSTILE),
        ]
    )
    for url in (
        LIST,
        f"{LIST}?by=place&q=%3Cimg",
        f"{DISCONNECT}?user={hostile.pk}",
        f"{DISCONNECT}?client=%3Cimg+src%3Dx%3E",
        f"{SEND}?user=%3Cimg+src%3Dx%3E",
    ):
        page = operator.get(url)
        assert "<img src=x" not in page.content.decode()
        assert "<img src=x" in text_of(page) or "<img" in unescape(page.content.decode())


# Disconnecting


def test_one_connection_is_disconnected_at_once(operator: Client, sent: SentList) -> None:
    done = operator.post(DISCONNECT, {"client": "c1"}, follow=True)
    (kick,) = sent.disconnected
    assert (kick.helper, kick.target, kick.code) == ("disconnect_client", "c1", 3503)
    assert "Disconnected the connection c1: 1 connection." in text_of(done)


def test_all_of_a_user_are_disconnected_after_a_question(operator: Client, sent: SentList) -> None:
    ada = make_user("ada")
    page = operator.get(f"{DISCONNECT}?user={ada.pk}")
    assert "Disconnect all connections of ada?" in text_of(page)
    assert not sent.disconnected
    done = operator.post(f"{DISCONNECT}?user={ada.pk}", {"user": ada.pk}, follow=True)
    (kick,) = sent.disconnected
    assert (kick.helper, kick.target) == ("disconnect_user", str(ada.pk))
    assert "Disconnected all connections of ada: 1 connection." in text_of(done)


@pytest.mark.parametrize("method", ["get", "post"])
def test_nobody_is_disconnected_by_a_request_that_names_nobody(
    operator: Client, sent: SentList, method: str
) -> None:
    assert getattr(operator, method)(DISCONNECT)["Location"] == LIST
    assert not sent.disconnected


def test_it_says_that_nobody_was_there_any_more(operator: Client) -> None:
    done = operator.post(DISCONNECT, {"client": "gone"}, follow=True)
    assert "Nobody was there any more: the connection gone." in text_of(done)


# Sending


@pytest.mark.parametrize(
    ("fields", "helper", "target"),
    [
        ({}, "broadcast", None),
        ({"client": "c1"}, "send_to_client", "c1"),
        ({"user": "7"}, "send_to_user", ("7",)),
    ],
    ids=["everybody", "client", "user"],
)
def test_a_message_is_sent(
    operator: Client, sent: SentList, fields: dict[str, str], helper: str, target: Any
) -> None:
    form = operator.get(SEND, fields)
    assert all(
        f'name="{name}" value="{value}"' in form.content.decode() for name, value in fields.items()
    )
    message = {"kind": "json", "text": '{"type": "test"}'}
    done = operator.post(SEND, {**fields, **message}, follow=True)
    assert done.redirect_chain == [(LIST, 302)]
    assert "Sent to" in text_of(done)
    (one,) = sent
    assert (one.helper, one.target, one.data) == (helper, target, {"type": "test"})


def test_text_is_sent_as_it_stands(operator: Client, sent: SentList) -> None:
    operator.post(SEND, {"kind": "text", "text": " {no JSON "})
    assert sent[0].frame == " {no JSON "


@pytest.mark.parametrize(
    ("kind", "text", "error"),
    [
        ("json", "{no JSON", "This is no JSON: "),
        ("json", "", "This field is required."),
        ("json", '{"type": "ws:ping"}', 'The type "ws:ping" cannot be sent'),
        ("text", '{"type": "ws:ping"}', 'The type "ws:ping" cannot be sent'),
        ("json", "NaN", "This is no JSON: "),
        pytest.param("json", "[" * 100_000, "This is no JSON: ", id="json-deep"),
        ("neither", "hi", "Select a valid choice."),
    ],
)
def test_a_message_that_cannot_be_sent_is_shown_with_the_reason(
    operator: Client, sent: SentList, kind: str, text: str, error: str
) -> None:
    page = operator.post(SEND, {"client": "c1", "kind": kind, "text": text})
    assert page.status_code == 200
    assert error in text_of(page)
    assert not sent


def test_it_says_that_nobody_got_the_message(operator: Client) -> None:
    done = operator.post(SEND, {"client": "gone", "kind": "text", "text": "hi"}, follow=True)
    assert "Nobody was there any more: the connection gone." in text_of(done)


# The model


def test_a_project_has_no_migrations_to_make() -> None:
    output = StringIO()
    call_command("makemigrations", "wsadapter", check=True, dry_run=True, stdout=output)
    assert "No changes" in output.getvalue()


def test_there_is_no_table() -> None:
    tables = connection.introspection.table_names()
    assert "django_admin_log" in tables
    assert not [table for table in tables if table.startswith("wsadapter")]
