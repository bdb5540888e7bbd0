"""Every symptom of docs/troubleshooting.md is provoked, and what it says there is what is said.

Of each section, all that stands in its blocks of text has to be said by a server or a command,
and the close codes and checks that its text names are those that came, no more and no less.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.core import checks
from django.test import override_settings
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from tests.deployment import PYTHON, Deployment, DjangoServer
from tests.markdown import DOCS, Markdown
from tests.processes import ROOT
from tests.redis_server import RedisServer
from tests.sites import CORE, REDIS
from tests.system.client import connected
from tests.system.stubborn_client import stubborn
from tests.system.troubled_site import UNSENDABLE
from tests.test_docs import codes_in
from tests.waiting import eventually
from wsadapter.checks import check_deployment, check_layer, check_settings

pytestmark = pytest.mark.xdist_group("troubleshooting")  # one server for most of it

PAGE = DOCS["troubleshooting"]

LEASE_SECONDS = 2
MAX_CONNECTIONS = 12
#: What a slow client gets, and how often: more than its outbox and the kernel's buffers take.
LARGE, MANY = "x" * 200_000, 60

ADAPTER: dict[str, Any] = {
    "LEASE_SECONDS": LEASE_SECONDS,
    "BEAT_SECONDS": 0.5,
    "REDIS_TIMEOUT": 1,
    "DRAIN_SECONDS": 0.2,
    "MAX_OUTBOX_SIZE": 100_000,
    "MAX_CONNECTIONS": MAX_CONNECTIONS,
}


# What the page says of a symptom


def lines_of(page: Markdown, symptom: str) -> list[str]:
    """What is said, line by line; a finding of the doctor is one, however it is wrapped."""
    blocks = (each for each in page.blocks if each.section == symptom)
    texts = [each.text for each in blocks if each.language == "text"]
    return [line for text in texts for line in ([text] if text[0] in "✗!" else text.splitlines())]


def named_in(page: Markdown, symptom: str, pattern: str) -> set[str]:
    prose = (line.text for line in page.prose if line.section == symptom)
    return {code for text in prose for code in codes_in(text) if re.fullmatch(pattern, code)}


def pattern_of(line: str) -> re.Pattern[str]:
    """``…`` is anything within a line, and so is how the line is wrapped."""
    parts = [re.escape(unwrapped(part)) for part in line.strip().split("…")]
    return re.compile(".+?".join(parts))


def unwrapped(text: str) -> str:
    return re.sub(r"[ \n]+", " ", text)


# What is said


class Scene:
    """One server of a site, and all that is said while a symptom is provoked.

    Args:
        redis: of this site alone; it may be stopped, and has to be started again.
        elsewhere: a Redis that the site does not know.
    """

    def __init__(
        self,
        deployment: Deployment,
        server: DjangoServer,
        redis: RedisServer,
        elsewhere: RedisServer,
    ) -> None:
        self.deployment = deployment
        self.server = server
        self.redis = redis
        self.elsewhere = elsewhere
        self.codes: set[int] = set()
        self.checks: set[str] = set()
        self._begins = len(server.log())
        self._said: list[str] = []

    def say(self, text: str) -> None:
        """Note what somebody has said elsewhere than in the server's log."""
        self._said.append(text)

    def hears(self, line: str) -> bool:
        heard = [self.server.log()[self._begins :], *self._said]
        return any(pattern_of(line).search(unwrapped(text)) for text in heard)

    def refuses(self, path: str, *, code: int | None = None, **options: Any) -> None:
        """Connect, and see that it is the end: with a close code, or with HTTP status 403."""
        end = end_of(f"{self.server.ws_url}{path}", **options)
        assert end == (code or 403)
        if code is not None:
            self.codes.add(code)

    def sends(self, path: str, data: Any, **options: Any) -> None:
        """Have a view send; what it raises is noted as a traceback has it."""
        answer = self.server.post(path, {"data": data, **options}).json()
        if "error" in answer:
            self.say(f"wsadapter.errors.{answer['error']}: {answer['message']}")

    def runs(self, *arguments: str, **environment: str) -> None:
        """Run a command on this site, or on one whose environment differs."""
        done = subprocess.run(
            [*PYTHON, "-m", "django", *arguments],
            cwd=ROOT,
            env={**os.environ, **self.deployment.environment, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.say(done.stdout + done.stderr)

    def examines(self, check: Callable[..., Sequence[checks.CheckMessage]], **given: Any) -> None:
        """Run a system check on settings."""
        with override_settings(**given):
            self.checks |= {str(message.id) for message in check(None)}


def end_of(url: str, **options: Any) -> int:
    """The close code of a connection, or the status of a handshake that was refused."""
    try:
        with connect(url, compression=None, **options) as connection:
            while True:
                connection.recv(15)
    except InvalidStatus as refusal:
        return refusal.response.status_code
    except ConnectionClosed as end:
        return end.rcvd.code if end.rcvd else 1006


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("troubled-redis")) as server:
        yield server


@pytest.fixture(scope="module")
def deployment(
    tmp_path_factory: pytest.TempPathFactory, project_database: Path, redis: RedisServer
) -> Iterator[Deployment]:
    deployment = Deployment(
        tmp_path_factory.mktemp("troubled"),
        database=project_database,
        redis_url=redis.url,
        adapter=ADAPTER,
        application="tests.system.troubled_site:application",
    )
    yield deployment
    deployment.stop()


@pytest.fixture(scope="module")
def server(deployment: Deployment) -> DjangoServer:
    return deployment.server("uvicorn-frames")


@pytest.fixture
def scene(
    deployment: Deployment, server: DjangoServer, redis: RedisServer, redis_server: RedisServer
) -> Scene:
    return Scene(deployment, server, redis, redis_server)


# The symptoms

Provoke = Callable[[Scene], None]

SYMPTOMS: dict[str, Provoke] = {}


def symptom(heading: str) -> Callable[[Provoke], Provoke]:
    def note(provoke: Provoke) -> Provoke:
        SYMPTOMS[heading] = provoke
        return provoke

    return note


@symptom("The handshake fails")
def not_welcome(scene: Scene) -> None:
    scene.refuses("/talk/tokens/", code=3500)
    with connected(scene.server):  # somebody notices that Redis goes and comes
        scene.redis.stop()
        scene.refuses("/ws/", code=3004)
        scene.redis.start()
        eventually(lambda: scene.hears("WARNING wsadapter.outages: Redis at … is back."))
    scene.examines(check_layer, CHANNEL_LAYERS={})


@symptom("The origin is refused")
def foreign(scene: Scene) -> None:
    scene.refuses("/ws/", origin=Origin("https://other.example"))
    anybody = {"ALLOWED_ORIGINS": "*", "ALLOW_ANONYMOUS": True}
    layer = {"default": {"BACKEND": REDIS, "CONFIG": {"hosts": [scene.redis.url]}}}
    scene.examines(check_deployment, WSADAPTER=anybody, CHANNEL_LAYERS=layer)


@symptom("A path answers 403")
def forbidden(scene: Scene) -> None:
    scene.refuses("/nowhere/")
    scene.refuses("/troubled/refusing/")


@symptom("It works locally, and not behind the proxy")
def proxied(scene: Scene) -> None:
    answer = scene.server.get("/ws/")  # as it arrives without the header
    assert answer.status == 426
    scene.say(answer.text)
    scene.refuses("/ws/", origin=Origin("https://shop.example"))  # Host is the server's own
    with connected(scene.server) as client:
        client.reset()
    eventually(lambda: scene.hears("ended with code 1006 after"))
    scene.codes.add(1006)


@symptom("A send fails")
def unsent(scene: Scene) -> None:
    scene.sends("/send/all/", {"type": "ws:mine"})
    with connected(scene.server, "/troubled/wrapped/"):
        scene.sends("/send/all/", UNSENDABLE)
        eventually(lambda: scene.hears("the connection is removed."))
    eventually(lambda: scene.hears("ended with code 1006 after"))
    scene.codes.add(1006)
    scene.redis.stop()
    scene.sends("/send/all/", "hello")
    scene.sends("/transaction/commit/all/", "hello", on_commit=True)
    scene.redis.start()


@symptom("Nothing arrives")
def unheard(scene: Scene) -> None:
    scene.runs("wsadapter_send", "--all", "{}", LAYER="wsadapter-memory")
    with connected(scene.server), scene.redis.client() as redis:
        scene.runs("wsadapter_send", "--all", "{}", REDIS_URL=scene.elsewhere.url)
        (everyone,) = redis.pubsub_channels("*everyone")
        redis.publish(everyone, b"\xc1 is nothing in msgpack")
    memory = {"default": {"BACKEND": "wsadapter.layers.InMemoryChannelLayer"}}
    decided = {"ALLOW_ANONYMOUS": True}
    scene.examines(check_deployment, CHANNEL_LAYERS=memory, WSADAPTER=decided)


@symptom("The heartbeat fails")
def silent(scene: Scene) -> None:
    scene.refuses("/ws/held/", code=3012)


@symptom("It is slow")
def slow(scene: Scene) -> None:
    with (
        stubborn(scene.server, "/ws/") as closed,
        stubborn(scene.server, "/troubled/patient/") as kept,
    ):
        scene.sends("/send/all/", {"text": LARGE}, times=MANY)
        eventually(lambda: scene.hears("pushes to it are dropped."))
        while kept.receive()["number"] != MANY - 1:  # which is never dropped: all is handed out
            pass
        scene.codes.add(closed.closed().code)
    core = {"default": {"BACKEND": CORE, "CONFIG": {"hosts": [scene.redis.url]}}}
    scene.examines(check_layer, CHANNEL_LAYERS=core)


@symptom("Clients come back for ever")
def returning(scene: Scene) -> None:
    scene.refuses("/troubled/broken/", code=3004)
    scene.refuses("/talk/failing/", code=1011)


@symptom("Too many connections")
def full(scene: Scene) -> None:
    with ExitStack() as stack:
        for _ in range(MAX_CONNECTIONS):
            stack.enter_context(connected(scene.server))
        for _ in range(2):  # the second one is counted, and told of a second later
            scene.refuses("/ws/", code=3013)
    with connected(scene.server, "/talk/limited/") as client:
        client.flood("x", 1000)
        assert client.closed().code == 3013


@symptom("Counts are wrong")
def miscounted(scene: Scene) -> None:
    victim = scene.deployment.server("uvicorn-frames")
    with connected(victim):
        victim.kill()
        scene.runs("wsadapter_online")
    eventually(lambda: scene.server.get("/counts/").json()["clients"] == 0)
    scene.runs("wsadapter_online")
    other_prefix = json.dumps({**ADAPTER, "KEY_PREFIX": "{other}"})
    url = f"{scene.server.ws_url}/ws/"
    scene.runs("wsadapter_doctor", "--url", url, WSADAPTER=other_prefix)
    layer = {"default": {"BACKEND": "shop.layers.Own"}}
    scene.examines(check_layer, CHANNEL_LAYERS=layer)
    scene.examines(check_settings, WSADAPTER={"LEASE_SECONDS": 5, "BEAT_SECONDS": 5})


@symptom("A drain does not end")
def undrained(scene: Scene) -> None:
    stopping = scene.deployment.server("uvicorn-frames")
    with stubborn(stopping, "/ws/stubborn/") as mute, connected(stopping, "/ws/stubborn/") as other:
        mute.send('{"type": "end.hang"}')
        eventually(lambda: "hanging: " in stopping.log())
        stopping.signal(signal.SIGTERM)
        scene.codes.add(other.closed().code)
        assert stopping.wait() == -signal.SIGTERM
    scene.say(stopping.log())


@pytest.mark.parametrize("heading", SYMPTOMS)
def test_what_the_page_says_is_said(heading: str, scene: Scene) -> None:
    SYMPTOMS[heading](scene)
    for line in lines_of(PAGE, heading):
        eventually(lambda line=line: scene.hears(line))  # type: ignore[misc]
    assert named_in(PAGE, heading, r"\d{4}") == {str(code) for code in scene.codes}
    assert named_in(PAGE, heading, r"wsadapter\.[EW]\d{3}") == scene.checks
