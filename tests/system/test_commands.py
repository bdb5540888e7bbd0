"""The commands in processes of their own, beside a server with connections."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.commands.conftest import Ran, run
from tests.deployment import PYTHON, Deployment, DjangoServer
from tests.processes import ROOT
from tests.redis_server import RedisServer
from tests.sites import REDIS
from tests.system.client import Closed, connected
from tests.waiting import eventually


@pytest.fixture(scope="module")
def deployment(
    tmp_path_factory: pytest.TempPathFactory, project_database: Path, redis_server: RedisServer
) -> Iterator[Deployment]:
    redis_server.flush()
    directory = tmp_path_factory.mktemp("commands")
    deployment = Deployment(directory, database=project_database, redis_url=redis_server.url)
    yield deployment
    deployment.stop()


@pytest.fixture(scope="module")
def server(deployment: Deployment) -> DjangoServer:
    return deployment.server("uvicorn")


def django(deployment: Deployment, *arguments: str, text: str = "") -> Ran:
    """Run a command as an operator does."""
    done = subprocess.run(
        [*PYTHON, "-m", "django", *arguments],
        cwd=ROOT,
        env={**os.environ, **deployment.environment},
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return Ran(done.stdout, done.stderr, done.returncode)


def test_who_is_online_is_told_sent_to_and_disconnected(
    deployment: Deployment, server: DjangoServer
) -> None:
    anna = server.login("anna")
    with ExitStack() as stack:
        hers = stack.enter_context(connected(server, "/ws/", headers=anna.headers))
        other = stack.enter_context(connected(server, "/ws/"))
        seen = json.loads(django(deployment, "wsadapter_online", "--json").out)
        assert {client["client"]: client["user"] for client in seen["clients"]} == {
            hers.id: anna.user_id,
            other.id: None,
        }
        assert [node["pid"] for node in seen["nodes"]] == [server.pid]

        data = '{"type": "deploy"}\n'
        ran = django(deployment, "wsadapter_send", "--username", "anna", "-", text=data)
        assert ran == Ran("Reached 1 server process.\n", "", 0)
        assert hers.receive() == {"type": "deploy"}

        ran = django(deployment, "wsadapter_disconnect", "--all", "--yes", "--reason", "night")
        assert ran.out == "Disconnected 2 connections, not to come back.\n"
        assert hers.closed() == other.closed() == Closed(3503, "night")
        gone = hers.id
    ran = django(deployment, "wsadapter_send", "--client", gone, data)
    assert (ran.out, ran.code) == ("", 1)
    assert ran.err == "CommandError: The client is not connected.\n"


def test_watching_in_a_terminal_until_ctrl_c(deployment: Deployment, server: DjangoServer) -> None:
    ours, theirs = pty.openpty()
    watch = subprocess.Popen(
        [*PYTHON, "-m", "django", "wsadapter_online", "--watch", "--interval", "0.1"],
        cwd=ROOT,
        env={**os.environ, **deployment.environment, "COLUMNS": "100", "LINES": "24"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    shown = bytearray()

    def shows(text: str) -> bool:
        try:
            shown.extend(os.read(ours, 1 << 20))
        except BlockingIOError:
            pass
        return text.encode() in shown

    try:
        eventually(lambda: shows("0 connections"), within_seconds=30)
        with connected(server, "/ws/") as browser:
            eventually(lambda: shows(browser.id))
        watch.send_signal(signal.SIGINT)
        eventually(lambda: shows("\x1b[?25h"))
        assert watch.wait(15) == 0
        assert b"Traceback" not in shown
    finally:
        watch.kill()
        watch.wait()
        os.close(ours)


def test_the_doctor_on_a_running_site(deployment: Deployment, server: DjangoServer) -> None:
    ran = django(deployment, "wsadapter_doctor", "--url", f"{server.ws_url}/ws/")
    assert ran.code == 0, ran.out
    assert ran.err == ""
    assert "✗" not in ran.out
    assert [line[2:17].strip() for line in ran.lines if line.startswith("✓")][-2:] == [
        "server",
        "server, back",
    ]


class TestTheDoctorFindsWhatDiffers:
    """Run here, with settings that are not those of the server."""

    def examine(self, settings: Any, url: str, *, redis_url: str, **adapter: Any) -> Any:
        hosts = {"hosts": [redis_url]}
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": REDIS, "CONFIG": hosts}}
        settings.WSADAPTER = adapter
        ran = run("wsadapter_doctor", "--json", "--url", url)
        return json.loads(ran.out)["findings"][-1]

    def test_the_prefix_of_the_keys(
        self, settings: Any, server: DjangoServer, redis_server: RedisServer
    ) -> None:
        other = f"{{{uuid4().hex}}}"
        url = f"{server.ws_url}/ws/"
        found = self.examine(settings, url, redis_url=redis_server.url, KEY_PREFIX=other)
        assert (found["subject"], found["verdict"]) == ("server, back", "error")
        assert "KEY_PREFIX" in found["advice"]

    def test_a_route_that_is_not_there(
        self, settings: Any, server: DjangoServer, redis_server: RedisServer
    ) -> None:
        found = self.examine(settings, f"{server.ws_url}/nowhere/", redis_url=redis_server.url)
        assert (found["subject"], found["verdict"]) == ("server", "error")
        assert "HTTP status" in found["found"]
