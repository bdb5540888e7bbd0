"""The words that the other system tests are written in mean what they say."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from playwright.sync_api import Browser
from websockets.sync.client import connect

from tests.deployment import CeleryWorker, Deployment, ServerKind
from tests.processes import ROOT, is_free
from tests.redis_server import RedisServer
from tests.waiting import eventually


def test_a_stopped_redis_forgets_and_keeps_its_port(own_redis: RedisServer) -> None:
    with own_redis.client() as client:
        client.set("key", "value")
    own_redis.stop()
    with own_redis.client() as client, pytest.raises(redis.ConnectionError):
        client.ping()
    own_redis.start()
    with own_redis.client() as client:
        assert client.get("key") is None


@pytest.mark.parametrize("kind", ["daphne", "uvicorn", "gunicorn"])
def test_a_server_answers_until_it_is_told_to_end(deployment: Deployment, kind: ServerKind) -> None:
    server = deployment.server(kind)
    login = server.login("anna")
    assert server.get("/pid/").json()["pid"]
    assert login.session_key in login.headers["Cookie"]
    server.terminate()
    assert not server.is_running


@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
def test_a_killed_server_is_gone_and_another_takes_its_port(
    deployment: Deployment, kind: ServerKind
) -> None:
    killed = deployment.server(kind)
    killed.kill()
    assert not killed.answers()
    successor = deployment.server(kind, port=killed.port)
    assert successor.get("/pid/").json()["pid"] == successor.pid != killed.pid


@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
def test_a_websocket_reaches_the_project(deployment: Deployment, kind: ServerKind) -> None:
    server = deployment.server(kind)
    login = server.login("anna")
    with connect(f"{server.ws_url}/ws/echo/", additional_headers=login.headers) as client:
        client.send("hello")
        assert eventually(lambda: client.recv(timeout=5) == "hello")


def test_a_worker_runs_a_task_in_a_child_of_its_own(celery_worker: CeleryWorker) -> None:
    assert celery_worker.run("pid") != celery_worker.pid


def test_a_command_reports_in_json(deployment: Deployment) -> None:
    assert deployment.command("send_many", "3")["sent"] == 3


def test_a_site_without_redis_starts(deploy: Callable[..., Deployment]) -> None:
    server = deploy(redis_url=None, layer="wsadapter-memory").server("uvicorn")
    assert server.post("/send/all/", {"data": "hello"}).status == 200


def test_a_browser_opens_a_page(chromium: Browser, deployment: Deployment) -> None:
    page = chromium.new_page()
    page.goto(f"{deployment.server().base_url}/pid/")
    assert '"pid"' in page.inner_text("body")


KILLED_WITH_A_REDIS = """
import os, pathlib, sys
from tests.redis_server import RedisServer
print(RedisServer(pathlib.Path(sys.argv[1])).start().port, flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_killed_pytest_leaves_no_process_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED_WITH_A_REDIS, str(tmp_path)]
    killed = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert killed.returncode == -9
    eventually(lambda: is_free(int(killed.stdout)))
