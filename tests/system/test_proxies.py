"""The server commands and the proxies of docs/deployment.md, run as they stand.

Only ports, names and paths are replaced, and the times are shorter.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, closing
from http.client import HTTPSConnection
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.dependencies import proxy_executable
from tests.deployment import PYTHON, Certificate
from tests.markdown import DOCS, README, Block
from tests.processes import Process, free_port
from tests.redis_server import RedisServer
from tests.shop import Shop, answers
from tests.system.test_prepared_frames import self_signed
from tests.waiting import aeventually, eventually
from wsadapter import client
from wsadapter.redis_pool import RedisPool
from wsadapter.store import RedisStore
from wsadapter.store.operations import FindClient, LiveNodes, OnlineCount

pytestmark = pytest.mark.xdist_group("deployment page")  # its project is made once

PAGE = DOCS["deployment"]
COMMANDS = {row[0]: row[1].strip("`") for row in PAGE.table("server")}

PATIENCE_SECONDS = 15.0
HEARTBEAT_SECONDS = 0.2
#: nginx's read timeout here: above the heartbeat's two times, as the page says.
READ_TIMEOUT_SECONDS = 1
CROWD = 20

#: What the tests add to the reader's project.
SHORTER_TIMES = """# shop/settings.py, at its end
import json, os
WSADAPTER |= json.loads(os.environ.get("SHORTER_TIMES", "{}"))
"""
RARE_HEARTBEAT = """# shop/routing.py, at its end
class Rare(AdapterConsumer):
    heartbeat_interval = 60


websocket_urlpatterns += [path("ws/rare/", Rare.as_asgi())]
"""


def python(text: str) -> Block:
    return Block("", "python", text)


def as_here(block: Block) -> Block:
    return Block(block.section, block.language, block.text.replace("shop.example", "127.0.0.1"))


@pytest.fixture(scope="module")
def redis_url(redis_server: RedisServer) -> str:
    redis_server.flush()
    return f"redis://127.0.0.1:{redis_server.port}/9"


@pytest.fixture(scope="module")
def store(redis_url: str) -> RedisStore:
    return RedisStore(RedisPool({"address": redis_url}))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Shop:
    """A reader's project, with the first sections of README and the page typed into it."""
    shop = Shop(tmp_path_factory.mktemp("deployed"), redis_url=redis_url)
    basics = ("Five minutes into an existing project", "With Redis")
    shop.type(block for block in README.blocks if block.section in basics)
    shop.type(map(as_here, PAGE.blocks))
    shop.type([python(SHORTER_TIMES), python(RARE_HEARTBEAT)])
    shop.manage("migrate")
    return shop


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("certificate"))


Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a process; all of them end with the test, and their logs are printed."""
    started: list[Process] = []

    def start_process(
        command: list[str], name: str, environment: Mapping[str, str] | None = None
    ) -> Process:
        log = tmp_path / f"{len(started)}-{name}.log"
        started.append(Process(command, log_path=log, environment=environment))
        return started[-1]

    yield start_process
    for process in started:
        process.kill()
        print(f"--- {process.log_path.name}\n{process.log()}")


Serve = Callable[..., tuple[Process, int]]


@pytest.fixture
def serve(start: Start, shop: Shop) -> Serve:
    """Start a server by a command of the page; gives it with its port before it answers."""

    def start_server(command: str, **adapter: float) -> tuple[Process, int]:
        port = free_port()
        times = {
            "HEARTBEAT_INTERVAL": HEARTBEAT_SECONDS,
            "HEARTBEAT_TIMEOUT": HEARTBEAT_SECONDS,
            "DRAIN_SECONDS": 0.3,
        }
        environment = {
            **shop.environment,
            "HOME": str(shop.directory),  # where gunicorn puts a socket
            "SHORTER_TIMES": json.dumps({**times, **adapter}),
        }
        words = with_few_workers(command).replace("8001", str(port)).split()
        # Gunicorn closes its event loop before what waits for that is told, and granian calls what
        # Python deprecates: their warnings stay so.
        interpreter = [sys.executable] if words[0] in ("gunicorn", "granian") else PYTHON
        return start([*interpreter, "-m", *words], words[0], environment), port

    return start_server


def with_few_workers(command: str) -> str:
    # A worker of gunicorn's that has not started yet loses the signal: it has one, which answers.
    workers = 1 if command.startswith("gunicorn") else 2
    return command.replace("--workers 4", f"--workers {workers}")


def until_it_answers(server: Process, port: int) -> None:
    server.until_ready(lambda: answers(port))


def end_of(connection: ClientConnection) -> int:
    """Read to the end: the close code."""
    try:
        while True:
            connection.recv(PATIENCE_SECONDS)
    except ConnectionClosed as error:
        return error.rcvd.code if error.rcvd else 1006


# The servers


def test_every_server_drains_as_the_table_says(serve: Serve) -> None:
    rows = {row[0]: row[2] for row in PAGE.table("server")}
    drain = {name for name, at_sigterm in rows.items() if "drain" in at_sigterm}
    assert set(rows) - drain == {"runserver"}
    servers = [serve(COMMANDS[name]) for name in drain]  # all start at once
    for server, port in servers:
        until_it_answers(server, port)
        with connect(f"ws://127.0.0.1:{port}/ws/") as connection:
            connection.recv(PATIENCE_SECONDS)
            server.signal(signal.SIGTERM)
            assert end_of(connection) == 3001
        assert server.wait() in (0, -signal.SIGTERM)


def test_sighup_replaces_one_worker_after_the_other(serve: Serve) -> None:
    (command,) = (COMMANDS[row[0]] for row in PAGE.table("server") if "SIGHUP" in row[2])
    server, port = serve(command)
    until_it_answers(server, port)
    with connect(f"ws://127.0.0.1:{port}/ws/") as connection:
        connection.recv(PATIENCE_SECONDS)
        server.signal(signal.SIGHUP)
        assert end_of(connection) == 3001
    assert server.is_running
    with connect(f"ws://127.0.0.1:{port}/ws/"):  # whichever takes it, somebody does
        pass


# The proxies


def block_of(language: str) -> str:
    """The block of that language that is a whole configuration."""
    return next(block.text for block in PAGE.blocks if block.language == language)


class Proxy:
    """A proxy with the page's configuration, and the servers behind it.

    Args:
        start: to start processes with.
        ports: of the two servers that the configuration names.
    """

    name: str
    signal_to_reload: int | None = None

    def __init__(
        self, start: Start, directory: Path, ports: list[int], certificate: Certificate
    ) -> None:
        self.port = free_port()
        self._directory = directory
        self.certificate = certificate
        self.tls = certificate.client_context()
        text = self._configuration()
        for told, port in zip((8001, 8002), ports, strict=True):
            text = text.replace(f"127.0.0.1:{told}", f"127.0.0.1:{port}")
        path = directory / f"{self.name}.conf"
        path.write_text(text)
        self.process = start(self._command(path), self.name, {"HOME": str(directory)})
        self.process.until_ready(lambda: answers(self.port))

    def _configuration(self) -> str:
        raise NotImplementedError

    def _command(self, configuration: Path) -> list[str]:
        raise NotImplementedError

    @property
    def origin(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def open(
        self, path: str = "/ws/", *, origin: str | None = None, address: str = "127.0.0.1"
    ) -> ClientConnection:
        """Connect as a page of the site does, from a local address."""
        own = socket.create_connection(
            ("127.0.0.1", self.port), PATIENCE_SECONDS, source_address=(address, 0)
        )
        return connect(
            f"wss://127.0.0.1:{self.port}{path}",
            sock=own,
            ssl=self.tls,
            origin=Origin(origin or self.origin),
            additional_headers={"X-Forwarded-For": "203.0.113.9"},  # forged
            compression=None,
        )

    def status(self, path: str) -> int:
        """Of plain HTTP on that path."""
        connection = HTTPSConnection(
            "127.0.0.1", self.port, timeout=PATIENCE_SECONDS, context=self.tls
        )
        with closing(connection):
            connection.request("GET", path)
            return connection.getresponse().status


class Nginx(Proxy):
    name = "nginx"
    signal_to_reload = signal.SIGHUP

    def _configuration(self) -> str:
        site = block_of("nginx")
        for told, here in {
            "listen 443": f"listen 127.0.0.1:{self.port}",
            "/etc/ssl/shop/certificate.pem": str(self.certificate.path),
            "/etc/ssl/shop/key.pem": str(self.certificate.key_path),
            "proxy_read_timeout 60s": f"proxy_read_timeout {READ_TIMEOUT_SECONDS}s",
        }.items():
            assert told in site
            site = site.replace(told, here)
        temporary = "".join(
            f"{kind}_temp_path {self._directory / kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (limits,) = re.findall(r"worker_rlimit_nofile.*\n +events.*\n", PAGE.text)
        own = f"daemon off;\npid {self._directory}/nginx.pid;\nerror_log stderr;\n"
        return f"{own}{limits}http {{\naccess_log off;\n{temporary}{site}}}\n"

    def _command(self, configuration: Path) -> list[str]:
        options = ["-e", "stderr", "-p", str(self._directory), "-c", str(configuration)]
        return [proxy_executable("nginx"), *options]


class Caddy(Proxy):
    name = "caddy"

    def _configuration(self) -> str:
        site = block_of("caddyfile").replace("shop.example", "127.0.0.1")
        keys = f"tls {self.certificate.path} {self.certificate.key_path}"
        site = site.replace("127.0.0.1 {\n", f"https://127.0.0.1:{self.port} {{\n{keys}\n", 1)
        return f"{{\nadmin off\nauto_https disable_redirects\n}}\n{site}"

    def _command(self, configuration: Path) -> list[str]:
        options = ["--config", str(configuration), "--adapter", "caddyfile"]
        return [proxy_executable("caddy"), "run", *options]


@pytest.fixture(params=[Nginx, Caddy], ids=lambda kind: kind.name)
def proxied(
    request: pytest.FixtureRequest,
    serve: Serve,
    start: Start,
    tmp_path: Path,
    certificate: Certificate,
) -> tuple[Proxy, list[Process]]:
    """A proxy, and the two servers behind it."""
    servers = [serve(COMMANDS[name]) for name in ("uvicorn", "daphne")]
    for server, port in servers:
        until_it_answers(server, port)
    proxy = request.param(start, tmp_path, [port for _, port in servers], certificate)
    return proxy, [server for server, _ in servers]


async def test_a_site_behind_a_proxy(
    proxied: tuple[Proxy, list[Process]], store: RedisStore
) -> None:
    """One start of three processes for all that is said of them."""
    proxy, servers = proxied
    eventually(lambda: proxy.status("/ready/") == 200)
    assert proxy.status("/metrics/") == 404
    assert_that_only_pages_of_the_site_connect(proxy, store)
    assert_that_a_silent_client_stays(proxy, servers)
    await assert_that_everybody_comes_back(proxy, servers, store)


def assert_that_only_pages_of_the_site_connect(proxy: Proxy, store: RedisStore) -> None:
    with proxy.open(address="127.0.0.2") as one, proxy.open(address="127.0.0.2") as other:
        found = [store.run(FindClient(client_id(connection))) for connection in (one, other)]
        assert len({client.process for client in found if client}) == 2
        assert [client and client.address for client in found] == ["127.0.0.2"] * 2, "not forged"
    with pytest.raises(InvalidStatus) as refused, proxy.open(origin="https://other.example"):
        pass
    assert refused.value.response.status_code == 403


def client_id(connection: ClientConnection) -> str:
    """Of the welcome."""
    welcome = json.loads(connection.recv(PATIENCE_SECONDS))
    return str(welcome["client"])


def assert_that_a_silent_client_stays(proxy: Proxy, servers: list[Process]) -> None:
    """It says nothing for longer than the proxy waits, and is asked by the server meanwhile."""
    with proxy.open() as connection:
        connection.recv(PATIENCE_SECONDS)  # the welcome
        if proxy.signal_to_reload is not None:
            proxy.process.signal(proxy.signal_to_reload)
        for _ in range(int(2 * READ_TIMEOUT_SECONDS / HEARTBEAT_SECONDS)):
            assert json.loads(connection.recv(PATIENCE_SECONDS)) == {"type": "ws:ping"}
    if isinstance(proxy, Nginx):
        with proxy.open("/ws/rare/") as connection:  # whose heartbeat is slower than that
            assert end_of(connection) == 1006
        cut = re.compile(r"ended with code 1006 after \d")
        eventually(lambda: any(cut.search(server.log()) for server in servers))


async def assert_that_everybody_comes_back(
    proxy: Proxy, servers: list[Process], store: RedisStore
) -> None:
    """One of two servers is told to stop; its clients find the other one."""
    url = f"wss://127.0.0.1:{proxy.port}/ws/"
    async with AsyncExitStack() as stack:
        for _ in range(CROWD):
            await stack.enter_async_context(client.connect(url, ssl=proxy.tls))
        await aeventually(lambda: store.run(OnlineCount()) == CROWD)  # those before have left
        nodes = store.run(LiveNodes())
        assert {node.pid for node in nodes} == {server.pid for server in servers}, "spread"
        servers[0].signal(signal.SIGTERM)
        await aeventually(lambda: not servers[0].is_running, within_seconds=PATIENCE_SECONDS)
        await aeventually(lambda: store.run(OnlineCount()) == CROWD, within_seconds=30)
        assert [node.pid for node in store.run(LiveNodes())] == [servers[1].pid]
    os.kill(servers[1].pid, signal.SIGTERM)
    await aeventually(lambda: not servers[1].is_running, within_seconds=PATIENCE_SECONDS)
