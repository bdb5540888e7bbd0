"""A thousand sends from wherever Django code runs: all arrive, in order, over a few connections."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models.signals import post_save
from django.test import override_settings

from tests.deployment import Deployment, DjangoServer, Login, ServerKind
from tests.redis_server import RedisServer
from tests.system.client import Client, connected
from wsadapter import bulk, send_to_user
from wsadapter.conf import RULES

TIMES = 1_000
POOL_SIZE: int = RULES["REDIS_POOL_SIZE"].default
# The measuring itself opens connections: one for each look, and one for a task's own.
SLACK = 3

DATA = {"type": "order.paid"}


def numbers_received(browser: Client) -> list[int]:
    """The numbers of a thousand messages in the order of their arrival."""
    return [browser.receive()["number"] for _ in range(TIMES)]


@contextmanager
def few_connections_opened(redis_server: RedisServer) -> Iterator[None]:
    before = redis_server.connections_received()
    yield
    opened = redis_server.connections_received() - before
    assert opened <= POOL_SIZE + SLACK


@contextmanager
def browser_of_anna(server: DjangoServer) -> Iterator[tuple[Client, Login]]:
    login = server.login("anna")
    with connected(server, "/ws/", headers=login.headers) as browser:
        yield browser, login


@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
@pytest.mark.parametrize("view", ["send", "asend"])
def test_a_view_under_asgi(
    deployment: Deployment, redis_server: RedisServer, kind: ServerKind, view: str
) -> None:
    server = deployment.server(kind)
    with browser_of_anna(server) as (browser, login), few_connections_opened(redis_server):
        answer = server.post(f"/{view}/user/", {"to": login.user_id, "data": DATA, "times": TIMES})
        assert answer.json()["processes"] == 1
        assert numbers_received(browser) == list(range(TIMES))


def test_a_view_under_wsgi(deployment: Deployment, redis_server: RedisServer) -> None:
    sender = deployment.server("gunicorn")
    server = deployment.server("uvicorn")
    with browser_of_anna(server) as (browser, login), few_connections_opened(redis_server):
        sender.post("/send/user/", {"to": login.user_id, "data": DATA, "times": TIMES})
        assert numbers_received(browser) == list(range(TIMES))


def test_a_celery_prefork_worker(deployment: Deployment, redis_server: RedisServer) -> None:
    worker = deployment.worker()
    with browser_of_anna(deployment.server("uvicorn")) as (browser, login):
        opened = worker.run("connections_opened", "user", DATA, to=login.user_id, times=TIMES)
        assert numbers_received(browser) == list(range(TIMES))
    # Celery's own connections are to the same Redis, and are counted with it.
    assert opened <= POOL_SIZE


def test_a_management_command(deployment: Deployment) -> None:
    with browser_of_anna(deployment.server("uvicorn")) as (browser, login):
        report = deployment.command(
            "send_many", str(TIMES), "--target", "user", "--to", login.user_id
        )
        assert numbers_received(browser) == list(range(TIMES))
    assert report["connections_opened"] <= POOL_SIZE


@pytest.fixture
def this_process(redis_server: RedisServer) -> Iterator[None]:
    """The process of the test, as a part of the deployment."""
    layer = {
        "BACKEND": "wsadapter.layers.RedisChannelLayer",
        "CONFIG": {"hosts": [redis_server.url]},
    }
    with override_settings(CHANNEL_LAYERS={"default": layer}):
        yield


def in_a_thread(action: Callable[[], Any]) -> None:
    thread = threading.Thread(target=action)
    thread.start()
    thread.join()


@pytest.mark.usefixtures("this_process")
def test_a_thread(deployment: Deployment, redis_server: RedisServer) -> None:
    def send() -> None:
        for number in range(TIMES):
            send_to_user(login.user_id, {**DATA, "number": number})

    server = deployment.server("uvicorn")
    with browser_of_anna(server) as (browser, login), few_connections_opened(redis_server):
        in_a_thread(send)
        assert numbers_received(browser) == list(range(TIMES))


@pytest.mark.usefixtures("this_process")
def test_a_thousand_together(deployment: Deployment, redis_server: RedisServer) -> None:
    server = deployment.server("uvicorn")
    with browser_of_anna(server) as (browser, login), few_connections_opened(redis_server):
        with bulk():
            for number in range(TIMES):
                send_to_user(login.user_id, {**DATA, "number": number})
        assert numbers_received(browser) == list(range(TIMES))


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("this_process")
def test_a_signal_handler_inside_a_transaction(
    deployment: Deployment, redis_server: RedisServer
) -> None:
    def tell_anna(instance: Group, **kwargs: Any) -> None:
        message = {"type": "group.saved", "number": int(instance.name)}
        assert send_to_user(login.user_id, message, on_commit=True).pending

    def save_groups(names: range) -> None:
        for name in names:
            Group.objects.create(name=str(name))

    server = deployment.server("uvicorn")
    post_save.connect(tell_anna, sender=Group)
    try:
        with browser_of_anna(server) as (browser, login), few_connections_opened(redis_server):
            with transaction.atomic():
                save_groups(range(TIMES, 2 * TIMES))
                transaction.set_rollback(True)
            with transaction.atomic():
                save_groups(range(TIMES))
            assert numbers_received(browser) == list(range(TIMES))
    finally:
        post_save.disconnect(tell_anna, sender=Group)


@pytest.mark.parametrize("layer", ["wsadapter-memory", "channels-memory"])
@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
def test_one_process_with_everything_in_memory(
    deploy: Callable[..., Deployment], kind: ServerKind, layer: str
) -> None:
    server = deploy(redis_url=None, layer=layer).server(kind)
    # Channels' own layer keeps a hundred messages for each consumer and drops the rest.
    with browser_of_anna(server) as (browser, login):
        for _ in range(TIMES // 50):
            server.post("/send/user/", {"to": login.user_id, "data": DATA, "times": 50})
            assert [browser.receive()["number"] for _ in range(50)] == list(range(50))


def test_an_in_memory_layer_tells_a_worker_that_it_reaches_nobody(
    deploy: Callable[..., Deployment], redis_server: RedisServer
) -> None:
    worker = deploy(redis_url=redis_server.url, layer="wsadapter-memory").worker()
    for _ in range(2):
        assert worker.run("send", "all", DATA)["processes"] == 0
    assert worker.log().count("Nobody can be reached") == 1
