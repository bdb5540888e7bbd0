"""What a load balancer asks."""

from __future__ import annotations

import logging

import pytest
from django.test import Client

from wsadapter import draining
from wsadapter.draining import Drain


@pytest.fixture
def drains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "_drain", Drain(8))


def test_a_process_is_ready(client: Client) -> None:
    response = client.get("/ready/")
    assert response.status_code == 200
    assert response.json() == {"ready": True}
    assert "no-store" in response["Cache-Control"]


@pytest.mark.usefixtures("drains")
def test_one_that_drains_is_not(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "django.request"):
        response = client.get("/ready/")
    assert response.status_code == 503
    assert response.json() == {"ready": False, "reason": "draining"}
    assert "no-store" in response["Cache-Control"]
    assert not caplog.records, "it is asked again and again, and no error"


@pytest.mark.usefixtures("drains")
def test_without_a_body(client: Client) -> None:
    response = client.head("/ready/")
    assert (response.status_code, response.content) == (503, b"")


def test_there_is_nothing_to_post(client: Client) -> None:
    assert client.post("/ready/").status_code == 405
