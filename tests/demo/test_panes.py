"""The views of the buttons: whose they are, and what they answer when something is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.test import RequestFactory

from demo_project.panes import for_breakers, from_pane
from demo_project.tokens import sign, user_for
from wsadapter import StoreUnavailable

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada() -> AbstractBaseUser:
    return get_user_model().objects.create_user("ada")


@from_pane
def whoami(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"name": request.user.get_username()})


@from_pane
def redis_is_away(request: HttpRequest) -> HttpResponse:
    raise StoreUnavailable("Redis at redis://127.0.0.1:1/0 did not answer.")


@for_breakers
def break_something(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"broken": True})


def post(view: Any, token: str = "", **extra: str) -> tuple[int, dict[str, Any]]:
    request = RequestFactory().post("/", headers={"Authorization": f"Demo {token}"}, **extra)
    response = view(request)
    return response.status_code, json.loads(response.content)


def test_a_token_makes_the_request_its_users(ada: AbstractBaseUser) -> None:
    assert post(whoami, sign(ada)) == (200, {"name": "ada"})


@pytest.mark.parametrize("token", ["", "forged", "MQ:1xUku3:cuAgk5mNq5AfexGM9GRIhtS2l40nsMar7L"])
def test_a_forged_token_is_nobodys(ada: AbstractBaseUser, token: str) -> None:
    assert user_for(token) is None
    status, answer = post(whoami, token)
    assert status == 401
    assert "Reload" in answer["error"]


def test_a_deactivated_users_token_is_nobodys(ada: AbstractBaseUser) -> None:
    token = sign(ada)
    get_user_model().objects.update(is_active=False)
    assert user_for(token) is None


def test_a_button_is_pressed_with_post(ada: AbstractBaseUser) -> None:
    assert whoami(RequestFactory().get("/")).status_code == 405


def test_without_redis_the_answer_is_503_and_says_why(ada: AbstractBaseUser) -> None:
    status, answer = post(redis_is_away, sign(ada))
    assert status == 503
    assert "redis://127.0.0.1:1/0" in answer["error"]


def test_breaking_is_refused_to_other_machines(settings: Any) -> None:
    settings.DEBUG = settings.SUPERVISED = True
    assert post(break_something, REMOTE_ADDR="127.0.0.1") == (200, {"broken": True})
    status, answer = post(break_something, REMOTE_ADDR="192.168.1.7")
    assert status == 403
    assert "this machine" in answer["error"]
