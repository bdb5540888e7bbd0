"""The demo on both of its servers; a test's module says what its ``whole_demo`` is."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.processes import Process, free_port, is_free


@pytest.fixture(scope="module")
def runserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory, port = tmp_path_factory.mktemp("runserver"), free_port()
    process = Process(
        [sys.executable, "manage.py", "runserver", "--noreload", str(port)],
        log_path=directory / "runserver.log",
        environment={
            "DJANGO_SETTINGS_MODULE": "demo_project.settings",
            "DEMO_DATABASE": str(directory / "demo.sqlite3"),
        },
    )
    process.until_ready(lambda: not is_free(port))
    yield f"http://127.0.0.1:{port}/"
    process.kill()


@pytest.fixture(params=["whole_demo", "runserver"])
def address(request: pytest.FixtureRequest) -> str:
    """Of two processes of uvicorn with Redis, and of daphne alone."""
    return str(request.getfixturevalue(request.param))
