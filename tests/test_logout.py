"""A logout closes the connections of its session, and never fails because of it."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth import alogout, login, logout
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.auth.signals import user_logged_out
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.test import RequestFactory, override_settings

from tests.test_conf import redis_layer
from wsadapter.auth import LOGIN_NAME, session_digests
from wsadapter.close_codes import CloseCode, should_reconnect
from wsadapter.errors import StoreUnavailable
from wsadapter.groups import EVERYONE, SILENT, digest, silent_group, user_group
from wsadapter.layers.publishing import Post
from wsadapter.logout import name_login
from wsadapter.wire.orders import Kick


class Publisher:
    """Takes what would go onto the channel layer."""

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.error: Exception | None = None

    def publish(self, posts: list[Post]) -> None:
        if self.error is not None:
            raise self.error
        self.posts.extend(posts)


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Publisher:
    publisher = Publisher()
    monkeypatch.setattr("wsadapter.broadcasting._publisher", lambda: publisher)
    return publisher


def session_of(key: str) -> SessionStore:
    """A session that is loaded, with nothing in it."""
    session = SessionStore(key)
    session._session_cache = {}
    return session


def request_of(user: Any, key: str = "session-key") -> Any:
    request = RequestFactory().post("/logout/")
    request.session = session_of(key)
    request.user = user
    return request


def the_kick(publisher: Publisher) -> Kick:
    pushed, silent = publisher.posts
    assert (pushed.group, silent.group) == (user_group(7), silent_group(7))
    assert isinstance(pushed.order, Kick) and pushed.order is silent.order
    return pushed.order


def test_the_sessions_connections_are_kicked_and_told_not_to_come_back(
    publisher: Publisher,
) -> None:
    request = request_of(User(pk=7))
    [session] = session_digests(request.session)
    logout(request)
    kick = the_kick(publisher)
    assert kick == Kick(CloseCode.UNAUTHENTICATED, "logged out", session=session)
    assert not should_reconnect(kick.code)


def test_other_sessions_of_the_user_stay(publisher: Publisher) -> None:
    request = request_of(User(pk=7))
    own = session_digests(request.session)
    other = session_digests(session_of("another-key"))
    logout(request)
    kick = the_kick(publisher)
    assert kick.concerns("serial", own)
    assert not kick.concerns("serial", other)
    assert not kick.concerns("serial", frozenset())


def test_a_login_names_its_session_once(publisher: Publisher) -> None:
    request = request_of(AnonymousUser())
    name_login(request=request, user=User(pk=7))
    name = request.session[LOGIN_NAME]
    name_login(request=request, user=User(pk=7))
    assert request.session[LOGIN_NAME] == name
    assert publisher.posts == []


def test_a_logout_closes_what_was_opened_before_the_session_got_a_new_key(
    publisher: Publisher,
) -> None:
    request = request_of(User(pk=7), key="first-key")
    request.session[LOGIN_NAME] = "login"
    of_the_socket = session_digests(request.session)
    request.session._session_key = "second-key"  # as after a change of the password
    logout(request)
    kicks = [post.order for post in publisher.posts]
    assert any(isinstance(kick, Kick) and kick.concerns("s", of_the_socket) for kick in kicks)


def test_another_users_login_closes_what_its_session_had_open(publisher: Publisher) -> None:
    request = request_of(User(pk=8), key="second-key")  # flushed by Django: nothing is left in it
    request.COOKIES[settings.SESSION_COOKIE_NAME] = "first-key"
    name_login(request=request, user=request.user)
    post, silent = publisher.posts
    assert (post.group, silent.group) == (EVERYONE, SILENT) and post.order is silent.order
    assert isinstance(post.order, Kick)
    assert post.order.concerns("serial", session_digests(session_of("first-key")))
    assert not post.order.concerns("serial", {digest("second-key")})


async def test_an_asynchronous_logout_does_the_same(publisher: Publisher) -> None:
    request = request_of(User(pk=7))

    async def auser() -> User:
        return User(pk=7)

    request.auser = auser
    await alogout(request)
    assert the_kick(publisher).code == CloseCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    "request_",
    [request_of(AnonymousUser()), request_of(User(pk=7), key=""), RequestFactory().post("/"), None],
    ids=["nobody", "no session key", "no session", "no request"],
)
def test_without_a_login_there_is_nothing_to_close(request_: Any, publisher: Publisher) -> None:
    user = getattr(request_, "user", None)
    if user is not None and user.is_anonymous:
        user = None  # as Django sends it
    user_logged_out.send(sender=User, request=request_, user=user)
    assert publisher.posts == []


@pytest.mark.parametrize(
    "error", [StoreUnavailable("away"), RuntimeError("broken"), ValueError("odd")], ids=repr
)
def test_a_logout_does_not_fail_when_nothing_can_be_published(
    error: Exception, publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    publisher.error = error
    logout(request_of(User(pk=7)))
    [record] = caplog.records
    assert record.name == "wsadapter.connection"
    assert record.exc_info and record.exc_info[1] is error


@override_settings(CHANNEL_LAYERS={})
def test_a_logout_does_not_fail_where_no_layer_is_configured(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logout(request_of(User(pk=7)))
    assert "CHANNEL_LAYERS has no 'default'" in caplog.text


@override_settings(
    CHANNEL_LAYERS=redis_layer(["redis://:secret@127.0.0.1:1/0"]), WSADAPTER={"REDIS_TIMEOUT": 0.5}
)
def test_a_logout_does_not_fail_while_redis_is_away(caplog: pytest.LogCaptureFixture) -> None:
    logout(request_of(User(pk=7)))
    assert "could not be closed" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.django_db
def test_a_login_over_a_login_is_no_logout(publisher: Publisher) -> None:
    user = User.objects.create_user("ann")
    request = request_of(AnonymousUser())
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    assert publisher.posts == []
