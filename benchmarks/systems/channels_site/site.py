"""What all systems that run the site share: servers, environment, a database, a session."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from http.client import HTTPConnection
from typing import Any

from benchmarks.processes import ROOT, DidNotStart, child_environment
from benchmarks.system import Place, System

PACKAGE = "benchmarks.systems.channels_site"
APPLICATION = f"{PACKAGE}.asgi:application"

#: Seconds: longer than any run.
NEVER = 3600

#: Handshakes that may wait at the door. The default of every server is less.
BACKLOG = "4096"


class SiteSystem(System):
    """A system that is a server, a consumer and a channel layer.

    Args:
        name: as the table shows it.
        server: a key of `SERVERS`.
        layer: a key of the site's ``LAYERS``.
        adapter: the setting ``WSADAPTER``.
    """

    def __init__(
        self,
        name: str,
        *,
        server: str = "uvicorn",
        layer: str,
        adapter: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.layer = layer
        self._server = SERVERS[server]
        self._adapter = dict(adapter or {})

    def missing(self) -> str | None:
        return self._server.missing()

    def prepare(self, place: Place) -> None:
        (place.directory / "session").write_text(session_in_new_database(self, place))

    def command(self, place: Place) -> list[str]:
        return [sys.executable, "-m", *self._server.command(place)]

    def environment(self, place: Place) -> Mapping[str, str]:
        adapter = {"COMPRESSION": place.compression, **self._adapter}
        if not place.heartbeats:
            adapter |= {"HEARTBEAT_INTERVAL": NEVER}
        return {
            "DJANGO_SETTINGS_MODULE": f"{PACKAGE}.settings",
            "BENCHMARK_DATABASE": str(place.directory / "database.sqlite3"),
            "BENCHMARK_REDIS_URL": place.redis_url,
            "BENCHMARK_LAYER": self.layer,
            "BENCHMARK_WSADAPTER": json.dumps(adapter),
        }

    def headers(self, place: Place) -> Mapping[str, str]:
        return {"Cookie": f"sessionid={(place.directory / 'session').read_text()}"}

    def settle(self, place: Place) -> None:
        post(place, "/collect/")


class Server(ABC):
    """An ASGI server, by the package that it is in."""

    package: str

    def missing(self) -> str | None:
        if importlib.util.find_spec(self.package) is not None:
            return None
        return (
            f"{self.package} cannot be imported: run `pip install -r benchmarks/requirements.txt`."
        )

    @abstractmethod
    def command(self, place: Place) -> list[str]:
        """What comes after ``python -m``."""


class Uvicorn(Server):
    """Uvicorn with one of its WebSocket protocols: ``ws`` is the value of ``--ws``."""

    package = "uvicorn"

    def __init__(self, ws: str = "websockets-sansio") -> None:
        self._ws = ws

    def command(self, place: Place) -> list[str]:
        beats = "20" if place.heartbeats else str(NEVER)
        deflate = "true" if place.compression else "false"
        return [
            *("uvicorn", "--port", str(place.port), "--log-level", "warning", "--no-access-log"),
            *("--backlog", BACKLOG),
            *("--ws", self._ws, "--ws-per-message-deflate", deflate),
            *("--ws-ping-interval", beats, "--ws-ping-timeout", beats),
            *("--lifespan", "off", APPLICATION),
        ]


class PreparedUvicorn(Uvicorn):
    """Uvicorn with the protocol of wsadapter, which writes ready frames."""

    PROTOCOL = "wsadapter.uvicorn:WebSocketProtocol"

    def __init__(self) -> None:
        super().__init__(ws=self.PROTOCOL)


class Daphne(Server):
    package = "daphne"

    def command(self, place: Place) -> list[str]:
        beats = [] if place.heartbeats else ["--ping-interval", str(NEVER)]
        timeout = [] if place.heartbeats else ["--ping-timeout", str(NEVER)]
        endpoint = f"tcp:port={place.port}:interface=127.0.0.1:backlog={BACKLOG}"
        # It turns handshakes away that take 5 seconds, which is less than thousands at once need.
        patient = ["--websocket_connect_timeout", "60"]
        options = ["--verbosity", "0", *patient, *beats, *timeout]
        return ["daphne", "--endpoint", endpoint, *options, APPLICATION]


class Hypercorn(Server):
    package = "hypercorn"

    def command(self, place: Place) -> list[str]:
        # It sends no pings unless asked to. One worker serves in a child of the first process.
        address = f"127.0.0.1:{place.port}"
        options = ["--bind", address, "--worker-class", "uvloop", "--log-level", "WARNING"]
        return ["hypercorn", *options, "--backlog", BACKLOG, APPLICATION]


class Granian(Server):
    package = "granian"

    def command(self, place: Place) -> list[str]:
        # It sends no pings.
        address = ["--host", "127.0.0.1", "--port", str(place.port)]
        quiet = ["--log-level", "warning", "--no-access-log", "--loop", "uvloop"]
        asgi = ["--interface", "asginl", "--workers", "1", "--backlog", BACKLOG]
        return ["granian", *address, *quiet, *asgi, APPLICATION]


SERVERS: dict[str, Server] = {
    "uvicorn": Uvicorn(),
    "prepared": PreparedUvicorn(),
    "daphne": Daphne(),
    "hypercorn": Hypercorn(),
    "granian": Granian(),
}


def session_in_new_database(system: System, place: Place) -> str:
    """The key of a session in which the one user is logged in."""
    done = subprocess.run(
        [sys.executable, "-m", f"{PACKAGE}.database"],
        cwd=ROOT,
        env=child_environment(system.environment(place)),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise DidNotStart(f"the database could not be made:\n{done.stderr[-2000:]}")
    return done.stdout.strip()


def post(place: Place, path: str, body: bytes = b"") -> None:
    """Ask something of the running server."""
    connection = HTTPConnection("127.0.0.1", place.port, timeout=120)
    try:
        connection.request("POST", path, body=body)
        status = connection.getresponse().status
        assert status == 204, f"POST {path} was answered with {status}"
    finally:
        connection.close()
