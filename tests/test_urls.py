"""Plain HTTP on a WebSocket path is told what is spoken there."""

from __future__ import annotations

import pytest
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import include, path, re_path

urlpatterns = [
    path("ws/", include("wsadapter.urls")),
    path("ws/rooms/<str:room>/", include("wsadapter.urls")),
    re_path(r"^exact/$", include("wsadapter.urls")),
    path("page/", lambda request: HttpResponse("page")),
]

pytestmark = pytest.mark.urls(__name__)


@pytest.mark.parametrize("path", ["/ws/", "/ws/deeper/", "/ws/rooms/7/", "/exact/", "/ws/?a=1"])
def test_plain_http_gets_426_and_the_name_of_the_protocol(path: str) -> None:
    response = Client().get(path)
    assert response.status_code == 426
    assert response["Upgrade"] == "websocket"
    assert response["Connection"] == "Upgrade"
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert b"new WebSocket(url)" in response.content


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
def test_every_method_gets_it_and_no_csrf_error(method: str) -> None:
    response = Client(enforce_csrf_checks=True).generic(method, "/ws/")
    assert response.status_code == 426


@override_settings(DEBUG=True)
def test_with_debug_there_is_no_page_of_an_error() -> None:
    response = Client().get("/ws/", headers={"upgrade": "junk", "connection": "Upgrade"})
    assert response.status_code == 426
    assert b"Traceback" not in response.content


def test_other_paths_are_none_of_its_business() -> None:
    assert Client().get("/page/").status_code == 200
    assert Client().get("/other/").status_code == 404
