"""`python manage.py runserver` alone: no Redis, no Celery, and it says so."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.demo.page import DemoPage
from tests.processes import Process, free_port


def is_listening(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def runserver(tmp_path: Path, port: int) -> Iterator[Process]:
    process = Process(
        [sys.executable, "manage.py", "runserver", "--noreload", str(port)],
        log_path=tmp_path / "runserver.log",
        environment={
            "DJANGO_SETTINGS_MODULE": "demo_project.settings",
            "DEMO_DATABASE": str(tmp_path / "demo.sqlite3"),
        },
    )
    process.until_ready(lambda: is_listening(port))
    yield process
    process.kill()


def test_the_banner_says_one_process_only(runserver: Process) -> None:
    assert "one process only" in runserver.log()
    assert "sh scripts/demo" in runserver.log()


def test_the_page_works_without_redis_and_celery(
    runserver: Process, port: int, chromium: Browser
) -> None:
    page = DemoPage(chromium, f"http://127.0.0.1:{port}/")
    page.everything_before_has_arrived()
    assert page.arrivals("to-all") == {"Ada", "Grace", "bare socket"}
    for action in ("report", "kill", "stop-redis"):
        button = page.tab.locator(f'button[data-action="{action}"][data-person="ada"]')
        expect(button).to_be_disabled()
        expect(page.outcome(action)).to_contain_text("sh scripts/demo")
    assert page.problems == []
