"""permessage-deflate on real servers: on where an endpoint asks for it, and off everywhere else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings
from websockets.extensions.base import ClientExtensionFactory, Extension
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
)
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect
from websockets.typing import ExtensionParameter

import wsadapter
from tests.deployment import Deployment, DjangoServer
from tests.redis_server import RedisServer
from tests.system.client import Client
from wsadapter.wire.frames import frame_bytes

SERVERS = ["uvicorn-frames", "uvicorn", "daphne"]

#: The option of the endpoint behind each path.
BY_SETTING, ON, OFF = "/talk/echo/", "/talk/compressed/", "/talk/uncompressed/"
#: And what `ON` has it set to.
LEVEL = 9

#: What is worth compressing: levels differ in what they make of it.
TEXT = json.dumps([{"id": n, "left": n * n, "state": "sold" * (n % 3)} for n in range(200)])

#: Without pings there is nothing on the wire but what a test has sent.
ADAPTER = {"HEARTBEAT": "never"}


class Seen(PerMessageDeflate):
    """What websockets does, and every data frame as it came: RSV1, payload."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.frames: list[tuple[bool, bytes]] = []

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self.frames.append((frame.rsv1, bytes(frame.data)))
        return super().decode(frame, max_size=max_size)


class Offer(ClientPerMessageDeflateFactory):
    """As browsers offer it."""

    def process_response_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> Seen:
        agreed = super().process_response_params(params, accepted_extensions)
        return Seen(
            agreed.remote_no_context_takeover,
            agreed.local_no_context_takeover,
            agreed.remote_max_window_bits,
            agreed.local_max_window_bits,
        )


class Browser(Client):
    """A client, and what was negotiated with it."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        self.extensions = connection.response.headers.get("Sec-WebSocket-Extensions", "")
        self._seen = connection.protocol.extensions

    def seen(self) -> list[tuple[bool, bytes]]:
        """The frames since it was last asked, where compression is negotiated."""
        (seen,) = self._seen
        frames, seen.frames = seen.frames, []
        return list(frames)


@contextmanager
def browser(server: DjangoServer, path: str, *, offers: bool = True) -> Iterator[Browser]:
    extensions: list[ClientExtensionFactory] = [Offer()] if offers else []
    with connect(
        f"{server.ws_url}{path}",
        compression=None,
        extensions=extensions or None,
        close_timeout=5,
        max_size=None,
    ) as connection:
        yield Browser(connection)


Start = Callable[[str, Any], DjangoServer]


@pytest.fixture(scope="module")
def start(
    redis_server: RedisServer, project_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Start]:
    """Start a server with a value of the setting `COMPRESSION`, or find it started."""
    deployments: list[Deployment] = []
    servers: dict[tuple[str, Any], DjangoServer] = {}
    redis_server.flush()

    def started(kind: Any, setting: Any) -> DjangoServer:
        if (kind, setting) not in servers:
            given = {} if setting is None else {"COMPRESSION": setting}
            deployment = Deployment(
                tmp_path_factory.mktemp("compression"),
                database=project_database,
                redis_url=redis_server.url,
                adapter={**ADAPTER, **given},
            )
            deployments.append(deployment)
            servers[kind, setting] = deployment.server(kind)
        return servers[kind, setting]

    yield started
    for deployment in deployments:
        deployment.stop()


@pytest.fixture(params=SERVERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def publisher(redis_server: RedisServer) -> Iterator[None]:
    """The helpers called in this process, as a worker calls them."""
    backend = "wsadapter.layers.RedisChannelLayer"
    layers = {"default": {"BACKEND": backend, "CONFIG": {"hosts": [redis_server.url]}}}
    with override_settings(CHANNEL_LAYERS=layers):
        yield


@pytest.mark.parametrize(
    ("setting", "path", "on"),
    [
        (None, BY_SETTING, False),
        (None, ON, True),
        (None, OFF, False),
        (True, BY_SETTING, True),
        (True, OFF, False),
    ],
    ids=["default", "on", "off", "on by the setting", "off beside the setting"],
)
def test_each_endpoint_has_it_as_it_is_told(
    start: Start, kind: str, setting: Any, path: str, on: bool
) -> None:
    server = start(kind, setting)
    with browser(server, path) as client:
        assert ("permessage-deflate" in client.extensions) is on


def test_a_client_that_offers_none_has_none(start: Start, kind: str) -> None:
    with browser(start(kind, None), ON, offers=False) as client:
        assert client.extensions == ""
        assert client.request(TEXT) == json.loads(TEXT)
        wsadapter.send_to_client(client.id, TEXT)
        assert client.receive() == json.loads(TEXT)


def test_replies_and_pushes_arrive_compressed_and_in_order(start: Start, kind: str) -> None:
    with browser(start(kind, None), ON) as client:
        client.seen()
        expected = []
        for number in range(5):
            reply, push = (json.dumps([what, number, TEXT]) for what in ("reply", "push"))
            assert client.request(reply) == json.loads(reply)
            wsadapter.send_to_client(client.id, push)
            assert client.receive() == json.loads(push)
            expected += [reply, push]
        assert [rsv1 for rsv1, _ in client.seen()] == [True] * len(expected)


def test_ready_pushes_to_all_sorts_of_connections_arrive(start: Start, kind: str) -> None:
    """Beside one another: compressed at a level, and plain for two reasons."""
    server = start(kind, None)
    with (
        browser(server, ON) as on,
        browser(server, ON, offers=False) as silent,
        browser(server, OFF) as off,
    ):
        assert off.receive() == {"subprotocol": None}
        on.seen()
        texts = [f"push {number} {TEXT}" for number in range(20)] + ["short", "", "x" * 200_000]
        with wsadapter.bulk():
            for text in texts:
                for client in (on, silent):
                    wsadapter.send_to_client(client.id, text)
        assert [on.receive() for _ in texts] == texts
        assert [silent.receive() for _ in texts] == texts
        if kind != "uvicorn":  # which compresses each message after those before it
            assert on.seen() == [on_the_wire(text) for text in texts]


def on_the_wire(text: str) -> tuple[bool, bytes]:
    frame = frame_bytes(text, LEVEL)
    header = {126: 4, 127: 10}.get(frame[1], 2)
    return bool(frame[0] & 0x40), frame[header:]


def test_a_broadcast_is_compressed_once_at_the_level(start: Start, kind: str) -> None:
    with browser(start(kind, True), BY_SETTING) as one, browser(start(kind, True), ON) as other:
        one.seen()
        other.seen()
        wsadapter.broadcast(TEXT)
        for client in (one, other):
            assert client.receive() == json.loads(TEXT)
        ((_, fast),), ((_, small),) = one.seen(), other.seen()
        assert len(small) < len(fast) < len(TEXT) / 3


def test_a_small_message_that_swells_beyond_the_servers_limit_ends_the_connection(
    start: Start, kind: str
) -> None:
    """Nobody inflates it: daphne takes 1 MiB, uvicorn 16 MiB."""
    with browser(start(kind, None), ON) as client:
        client.send(b"\x00" * 17 * 1024 * 1024)
        assert client.closed().code in (1009, 1006)  # daphne only cuts it
