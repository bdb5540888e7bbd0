"""The systems that wsadapter is measured against: what they need, say and receive."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess

import msgspec
import pytest

from benchmarks.processes import DidNotStart
from benchmarks.publishing import USER
from benchmarks.system import Place, System, text_frame
from benchmarks.systems import nchan, node_peers, python_peers
from benchmarks.systems.c_loop import CLoop
from benchmarks.systems.nchan import Nchan, NchanUsers
from benchmarks.systems.node_peers import NodeSocketIO, NodeWs
from benchmarks.systems.python_peers import Picows, PythonSocketIO

PEERS: Sequence[System] = [*python_peers.SYSTEMS, *node_peers.SYSTEMS, *nchan.SYSTEMS]

each_peer = pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, redis_port=1, port=2)


@pytest.fixture
def on_path(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have only these programs installed."""

    def only(*programs: str) -> None:
        def which(program: str, path: str | None = None) -> str | None:
            return f"/bin/{program}" if program in programs else None

        monkeypatch.setattr("shutil.which", which)

    return only


# What every system has to keep to


def test_no_two_peers_have_one_name() -> None:
    names = [peer.name for peer in PEERS]
    assert len(set(names)) == len(names)


@each_peer
def test_clients_belong_to_the_user_that_is_sent_to(peer: System) -> None:
    if "targeted" in peer.measures:
        assert peer.path.endswith(f"user={USER}")


@each_peer
def test_frames_of_payloads_of_one_length_have_one_length(peer: System) -> None:
    assert len(peer.frame("1" * 200)) == len(peer.frame("2" * 200))


@each_peer
def test_a_frame_says_its_length(peer: System) -> None:
    for length in (20, 200, 70_000):
        frame = peer.frame("x" * length)
        assert frame == text_frame(frame[-frame_length(frame) :].decode())


def frame_length(frame: bytes) -> int:
    if frame[1] < 126:
        return frame[1]
    return int.from_bytes(frame[2:4] if frame[1] == 126 else frame[2:10])


# Socket.IO


@pytest.mark.parametrize("peer", [PythonSocketIO(), NodeSocketIO()], ids=lambda peer: peer.name)
def test_socketio_sends_an_event_with_one_argument(peer: System) -> None:
    assert peer.frame('{"a":1}') == b'\x81\x1342["m","{\\"a\\":1}"]'


def test_socketio_in_python_escapes_what_is_not_ascii() -> None:
    assert PythonSocketIO().frame("é") == b'\x81\x1042["m","\\u00e9"]'


def test_socketio_in_node_escapes_only_what_it_must() -> None:
    assert NodeSocketIO().frame("é") == text_frame('42["m","é"]')


def test_a_message_to_the_adapter_of_socketio_names_its_event_and_its_room() -> None:
    uid, packet, recipients = msgspec.msgpack.decode(
        node_peers.adapter_message("hello", rooms=["user:1"])
    )
    assert packet == {"type": 2, "data": ["m", "hello"], "nsp": "/"}
    assert recipients == {"rooms": ["user:1"], "except": [], "flags": {}}
    assert uid  # the adapter leaves out what it has sent itself


# What is missing


@pytest.mark.parametrize("peer", python_peers.SYSTEMS, ids=lambda peer: peer.name)
def test_a_python_peer_names_the_modules_that_it_lacks(
    peer: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(python_peers, "find_spec", lambda module: None)
    message = peer.missing()
    assert message is not None
    assert "redis" in message
    assert "pip install -r benchmarks/requirements.txt" in message


def test_a_python_peer_with_all_its_modules_lacks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python_peers, "find_spec", lambda module: object())
    assert Picows().missing() is None


def test_a_node_peer_asks_for_node(on_path: Callable[..., None]) -> None:
    on_path()
    assert NodeWs().missing() == "node is not on the PATH: install Node 20 or newer."


def test_a_node_peer_asks_for_npm(on_path: Callable[..., None]) -> None:
    on_path("node")
    assert NodeWs().missing() == "npm is not on the PATH: install Node 20 or newer."


def test_a_node_peer_asks_for_a_newer_node(
    on_path: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path("node", "npm")
    monkeypatch.setattr(node_peers, "node_version", lambda: 18)
    assert NodeWs().missing() == "node is version 18: install Node 20 or newer."


def test_nchan_asks_for_nginx(on_path: Callable[..., None]) -> None:
    on_path()
    message = Nchan().missing()
    assert message is not None
    assert "apt-get install nginx libnginx-mod-nchan" in message


def test_nchan_asks_for_its_module(
    on_path: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path("nginx")
    monkeypatch.setattr(nchan, "MODULES", ())
    message = Nchan().missing()
    assert message is not None
    assert "apt-get install libnginx-mod-nchan" in message


# Node's packages


def test_node_packages_have_exact_versions() -> None:
    package = json.loads((node_peers.SERVERS / "package.json").read_text())
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", it) for it in package["dependencies"].values())


def test_node_packages_stay_out_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert node_peers.packages_directory().is_relative_to(tmp_path / "wsadapter-bench")


# nginx


def test_nginx_is_told_its_port_and_keeps_its_files_together(place: Place) -> None:
    Nchan().prepare(place)
    configuration = nchan.configuration_path(place).read_text()
    assert "listen 127.0.0.1:2 " in configuration
    assert str(place.directory / "nginx.pid") in configuration


def test_nginx_pings_only_when_heartbeats_are_asked_for(place: Place) -> None:
    for heartbeats, seconds in ((False, 0), (True, 30)):
        Nchan().prepare(replace(place, heartbeats=heartbeats))
        configuration = nchan.configuration_path(place).read_text()
        assert configuration.count(f"nchan_websocket_ping_interval {seconds};") == 2


def test_only_the_second_nchan_is_measured_with_users() -> None:
    assert not Nchan.measures & NchanUsers.measures


def test_a_request_to_nchan_carries_the_payload() -> None:
    assert nchan.request("user:1", "é").endswith(b"Content-Length: 2\r\n\r\n\xc3\xa9")


RESPONSE = b"HTTP/1.1 201 Created\r\nContent-Type: text/plain\r\ncontent-length: 2\r\n\r\nok"


def test_a_response_in_pieces_is_waited_for() -> None:
    for end in range(len(RESPONSE)):
        assert nchan.split_response(RESPONSE[:end]) is None


def test_a_response_ends_where_the_next_one_begins() -> None:
    assert nchan.split_response(RESPONSE + RESPONSE[:10]) == (201, RESPONSE[:10])


# The C loop


def test_what_a_compiler_says_is_in_the_failure(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: Sequence[str], **options: object) -> CompletedProcess[str]:
        assert options["capture_output"]
        return CompletedProcess(command, 1, "", "c_loop.c:1: it cannot be")

    monkeypatch.setattr("subprocess.run", run)
    with pytest.raises(DidNotStart, match=r"c_loop\.c:1: it cannot be"):
        CLoop().prepare(place)
