"""Starting and stopping the demo, and what goes wrong on the way."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo_project import redis_server
from demo_project.child import Child, ChildFailed
from demo_project.port import DEFAULT, PortUnusable, wanted
from tests.demo.demo import Demo, descendants, is_alive
from tests.processes import ROOT
from tests.waiting import eventually


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    process = Demo(tmp_path)
    yield process
    if process.is_running:
        process.terminate()


def test_ctrl_c_leaves_no_process_and_no_file_behind(demo: Demo) -> None:
    demo.until_started()
    started, directory = descendants(demo.pid), demo.directory
    assert len(started) >= 8  # Redis, two servers, the worker with three children, beat
    assert directory.is_dir()
    demo.signal(signal.SIGINT)
    assert demo.wait() == 0
    assert [pid for pid in started if is_alive(pid)] == []
    assert not directory.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_it_starts_stops_it_all_the_same(demo: Demo, number: int) -> None:
    demo.until_said("Servers")
    started = eventually(lambda: descendants(demo.pid))
    demo.signal(number)
    assert demo.wait() == 0
    assert [pid for pid in started if is_alive(pid)] == []


def test_a_taken_port_is_named_with_another_to_choose() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = subprocess.run(
            ["sh", "scripts/demo", "--port", str(port)], cwd=ROOT, capture_output=True, text=True
        )
    assert done.returncode != 0
    assert f"Port {port} is taken" in done.stderr
    assert "sh scripts/demo --port 9000" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "port"),
    [([], 8000), (["--port", "9000"], 9000), (["--port=9001"], 9001)],
)
def test_the_port_is_chosen_on_the_command_line(
    arguments: list[str], port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PORT", raising=False)
    assert wanted(arguments) == port


def test_the_port_is_chosen_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "9002")
    assert wanted([]) == 9002 != DEFAULT


@pytest.mark.parametrize("arguments", [["--port"], ["--port", "many"], ["9000"], ["--port=70000"]])
def test_other_arguments_are_answered_with_the_usage(arguments: list[str]) -> None:
    with pytest.raises(PortUnusable, match="Usage: sh scripts/demo"):
        wanted(arguments)


async def test_a_process_that_dies_early_is_named_and_its_log_shown(tmp_path: Path) -> None:
    child = Child(
        "celery-worker",
        [sys.executable, "-c", "print('the broker is on fire'); raise SystemExit(3)"],
        ready="ready",
        log=tmp_path / "worker.log",
        environment={},
    )
    with pytest.raises(ChildFailed) as failure:
        await child.start()
    assert "celery-worker ended with exit code 3" in str(failure.value)
    assert "the broker is on fire" in str(failure.value)
    await child.stop()


def test_without_any_redis_the_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(redis_server, "find_spec", lambda name: None)
    with pytest.raises(redis_server.NoRedis, match="apt-get install redis-server"):
        redis_server.find_binary()
