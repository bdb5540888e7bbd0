"""tests/project in real processes: servers, a Celery worker and commands that share a Redis.

deployment.server("daphne")          a DjangoServer that answers
deployment.worker()                  a CeleryWorker that is ready
deployment.command("send_many", …)   what the command printed, as JSON
"""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, Literal

from celery import Celery

from tests.processes import ROOT, Process, free_port
from tests.redis_server import RedisServer

Layer = Literal[
    "wsadapter-redis", "wsadapter-memory", "channels-pubsub", "channels-core", "channels-memory"
]
#: "uvicorn-frames" is uvicorn with wsadapter's own protocol, which takes ready frames.
#: "uvicorn-workers" is a supervisor with two of them, "hypercorn-workers" with one, which is what
#: hypercorn has by itself; "hypercorn" has none. "gunicorn" is WSGI.
ServerKind = Literal[
    "daphne",
    "uvicorn",
    "uvicorn-frames",
    "uvicorn-workers",
    "hypercorn",
    "hypercorn-workers",
    "granian",
    "gunicorn",
    "gunicorn-asgi",
]

APPLICATION = "tests.project.asgi:application"

# As in the tests themselves, a warning is an error.
PYTHON = (sys.executable, "-W", "error")


@dataclass(frozen=True)
class Certificate:
    """For 127.0.0.1: what a server shows to TLS clients, and they are told to trust."""

    path: Path
    key_path: Path

    def client_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.path))


def server_command(
    kind: ServerKind, port: int, certificate: Certificate | None, asgi: str = APPLICATION
) -> list[str]:
    wsgi = "tests.project.wsgi:application"
    if kind == "daphne":
        command = ["daphne", *daphne_address(port, certificate), asgi]
    elif kind in ("gunicorn", "gunicorn-asgi"):
        assert certificate is None, "no test needs gunicorn with TLS"
        served = ["--worker-class", "asgi", asgi] if kind == "gunicorn-asgi" else [wsgi]
        command = ["gunicorn", "--bind", f"127.0.0.1:{port}", "--no-control-socket", *served]
    elif kind in ("hypercorn", "hypercorn-workers"):
        assert certificate is None, "no test needs hypercorn with TLS"
        workers = ["--workers", "0"] if kind == "hypercorn" else []
        command = ["hypercorn", *workers, "--bind", f"127.0.0.1:{port}", asgi]
    elif kind == "granian":
        assert certificate is None, "no test needs granian with TLS"
        command = ["granian", "--interface", "asgi", "--port", str(port), asgi]
    else:
        frames = kind == "uvicorn-frames"
        protocol = "wsadapter.uvicorn:WebSocketProtocol" if frames else "websockets-sansio"
        options = ["--port", str(port), *uvicorn_tls(certificate)]
        workers = ["--workers", "2"] if kind == "uvicorn-workers" else []
        command = ["uvicorn", "--ws", protocol, *options, *workers, asgi]
    # Twisted's TLS calls what pyOpenSSL deprecates, and granian what Python does; gunicorn closes
    # its event loop before what waits for that is told. Their warnings stay warnings.
    strict = kind not in ("granian", "gunicorn-asgi") and (kind != "daphne" or certificate is None)
    return [*(PYTHON if strict else [sys.executable]), "-m", *command]


def daphne_address(port: int, certificate: Certificate | None) -> list[str]:
    if certificate is None:
        endpoint = f"tcp:port={port}:interface=127.0.0.1:backlog=4096"
        return ["--endpoint", endpoint, "--websocket_connect_timeout", "60"]
    keys = f"privateKey={certificate.key_path}:certKey={certificate.path}"
    return ["--endpoint", f"ssl:{port}:{keys}:interface=127.0.0.1"]


def uvicorn_tls(certificate: Certificate | None) -> list[str]:
    if certificate is None:
        return []
    return ["--ssl-keyfile", str(certificate.key_path), "--ssl-certfile", str(certificate.path)]


class Deployment:
    """What the processes of one site share: settings, a database, a Redis.

    Args:
        directory: for the database and the logs.
        database: a migrated SQLite database, to be copied.
        redis_url: None for a site without Redis.
        layer: the channel layer, by the name it has in tests/project/settings.py.
        adapter: the setting WSADAPTER.
        application: the ASGI application that its servers serve.
    """

    def __init__(
        self,
        directory: Path,
        *,
        database: Path,
        redis_url: str | None,
        layer: Layer = "wsadapter-redis",
        adapter: Mapping[str, Any] | None = None,
        application: str = APPLICATION,
    ) -> None:
        self.directory = directory
        self.application = application
        self.redis_url = redis_url
        self.environment = {
            "DJANGO_SETTINGS_MODULE": "tests.project.settings",
            "DATABASE": str(shutil.copy(database, directory / "database.sqlite3")),
            "LAYER": layer,
            "REDIS_URL": redis_url or "",
            "WSADAPTER": json.dumps(adapter or {}),
        }
        self._started: list[Process] = []

    def server(
        self,
        kind: ServerKind = "daphne",
        *,
        port: int | None = None,
        certificate: Certificate | None = None,
    ) -> DjangoServer:
        """Start a server; with a certificate it speaks TLS only."""
        server = self._start(kind, port=port or free_port(), certificate=certificate)
        server.until_ready(server.answers)
        return server

    def servers(
        self, kind: ServerKind, environments: Sequence[Mapping[str, str]]
    ) -> list[DjangoServer]:
        """Start several servers at once.

        Args:
            environments: for each, what it has on top of the environment of the site.
        """
        servers = [
            self._start(kind, port=free_port(), environment=environment)
            for environment in environments
        ]
        for server in servers:
            server.until_ready(server.answers)
        return servers

    def _start(
        self,
        kind: ServerKind,
        *,
        port: int,
        certificate: Certificate | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> DjangoServer:
        server = DjangoServer(
            kind,
            port,
            certificate=certificate,
            application=self.application,
            log_path=self._log_path(kind),
            environment={**self.environment, **(environment or {})},
        )
        self._started.append(server)
        return server

    def worker(self) -> CeleryWorker:
        assert self.redis_url, "a Celery worker needs a deployment with a Redis: it is the broker"
        worker = CeleryWorker(
            self.redis_url, log_path=self._log_path("celery"), environment=self.environment
        )
        self._started.append(worker)
        worker.until_ready(worker.is_ready)
        return worker

    def command(self, *arguments: str, within_seconds: float = 60.0) -> Any:
        """Run a management command of tests/project in a process of its own."""
        output = run_django(*arguments, environment=self.environment, within_seconds=within_seconds)
        return json.loads(output)

    def stop(self) -> None:
        """End what still runs; print every log, which pytest shows beside a failure."""
        for process in self._started:
            process.kill()
            print(f"--- {process.log_path.name}\n{process.log()}")

    def _log_path(self, name: str) -> Path:
        return self.directory / f"{len(self._started)}-{name}.log"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


@dataclass(frozen=True)
class Login:
    """A user of tests/project with a session; ``headers`` log a request or a WebSocket in."""

    user_id: str
    session_key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Cookie": f"sessionid={self.session_key}"}


class DjangoServer(Process):
    """One server process."""

    def __init__(
        self,
        kind: ServerKind,
        port: int,
        *,
        certificate: Certificate | None = None,
        application: str = APPLICATION,
        log_path: Path,
        environment: Mapping[str, str],
    ) -> None:
        command = server_command(kind, port, certificate, application)
        super().__init__(command, log_path=log_path, environment=environment)
        self.kind = kind
        self.port = port
        #: For clients; None without TLS.
        self.tls = None if certificate is None else certificate.client_context()
        secure = "" if certificate is None else "s"
        self.base_url = f"http{secure}://127.0.0.1:{port}"
        self.ws_url = f"ws{secure}://127.0.0.1:{port}"

    def answers(self) -> bool:
        try:
            return self.get("/pid/").status == 200
        except (OSError, HTTPException):
            return False

    def get(self, path: str, *, headers: Mapping[str, str] | None = None) -> Answer:
        return self.request("GET", path, headers=headers)

    def post(
        self, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """POST the body as JSON."""
        return self.request("POST", path, body=json.dumps(body), headers=headers)

    def login(self, name: str) -> Login:
        """Log the user in, who is created when there is none of that name."""
        return Login(**self.post("/login/", {"name": name}).json())

    def request(
        self,
        method: str,
        path: str,
        *,
        body: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = 30.0,
    ) -> Answer:
        connection = self._http_connection(timeout_seconds)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            return Answer(response.status, dict(response.headers), response.read().decode())
        finally:
            connection.close()

    def _http_connection(self, timeout_seconds: float) -> HTTPConnection:
        if self.tls is None:
            return HTTPConnection("127.0.0.1", self.port, timeout=timeout_seconds)
        return HTTPSConnection("127.0.0.1", self.port, timeout=timeout_seconds, context=self.tls)


class CeleryWorker(Process):
    """A prefork worker with one child, and a way to have it run a task."""

    def __init__(self, broker: str, *, log_path: Path, environment: Mapping[str, str]) -> None:
        command = ["celery", "--app", "tests.project.celery", "worker"]
        options = ["--pool", "prefork", "--concurrency", "1", "--loglevel", "INFO"]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        super().__init__(
            # Celery calls what redis-py deprecates, and warns root: its warnings stay warnings.
            [sys.executable, "-m", *command, *options, *quiet],
            log_path=log_path,
            environment=environment,
        )
        self._broker = broker

    def is_ready(self) -> bool:
        return " ready." in self.log()

    def run(self, task: str, *arguments: Any, within_seconds: float = 30.0, **options: Any) -> Any:
        """Have a task of tests/project/tasks.py run, and return its result."""
        with Celery(broker=self._broker, backend=self._broker) as app:
            result = app.send_task(f"tests.project.tasks.{task}", arguments, options)
            return result.get(timeout=within_seconds)


def migrated_database(path: Path) -> Path:
    """A SQLite database with the tables of tests/project."""
    environment = {"DJANGO_SETTINGS_MODULE": "tests.project.settings", "DATABASE": str(path)}
    run_django("migrate", "--verbosity", "0", environment=environment)
    return path


def run_django(
    *arguments: str, environment: Mapping[str, str], within_seconds: float = 60.0
) -> str:
    """What the command wrote to its standard output; its log goes where pytest's own does."""
    done = subprocess.run(
        [*PYTHON, "-m", "django", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        timeout=within_seconds,
        check=True,
    )
    return done.stdout


def one_server(
    kind: ServerKind, directory: Path, database: Path, redis_server: RedisServer
) -> Iterator[DjangoServer]:
    """A server alone on an empty Redis; a fixture has it with ``yield from``."""
    redis_server.flush()
    deployment = Deployment(directory, database=database, redis_url=redis_server.url)
    try:
        yield deployment.server(kind)
    finally:
        deployment.stop()
