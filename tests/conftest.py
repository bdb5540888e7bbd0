"""What every test may ask for by name; the vocabulary itself is in the modules beside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.dependencies import chromium_executable
from tests.deployment import CeleryWorker, Deployment, migrated_database
from tests.redis_server import RedisServer

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",  # it does not start as root otherwise
    "--disable-gpu",
    "--no-first-run",
    # Nothing but the pages of the test may reach for the network.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
]


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real Redis for all tests of this pytest process: neither stop it nor expect it empty."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A real Redis for this test alone, to be stopped and started at will."""
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture(scope="session")
def project_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrated_database(tmp_path_factory.mktemp("database") / "migrated.sqlite3")


@pytest.fixture
def deploy(tmp_path: Path, project_database: Path) -> Iterator[Callable[..., Deployment]]:
    """Make a `Deployment`; its processes end with the test."""
    deployments: list[Deployment] = []

    def make(**options: Any) -> Deployment:
        directory = tmp_path / f"deployment-{len(deployments)}"
        directory.mkdir()
        deployments.append(Deployment(directory, database=project_database, **options))
        return deployments[-1]

    yield make
    for deployment in deployments:
        deployment.stop()


@pytest.fixture
def deployment(deploy: Callable[..., Deployment], redis_server: RedisServer) -> Deployment:
    """tests/project on the shared Redis, flushed, with the layer and settings of most sites."""
    redis_server.flush()
    return deploy(redis_url=redis_server.url)


@pytest.fixture
def celery_worker(deployment: Deployment) -> CeleryWorker:
    """A real prefork worker of the `deployment`."""
    return deployment.worker()


@pytest.fixture
def chromium() -> Iterator[Browser]:
    """A headless Chromium, for synchronous tests of other processes.

    Playwright keeps an event loop running in this thread, so that the ORM and the synchronous
    helpers refuse to work here while it is open.
    """
    executable = chromium_executable()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()
