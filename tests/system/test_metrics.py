"""Two workers share a port and a directory: whichever is asked tells of both."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.deployment import Deployment, DjangoServer
from tests.redis_server import RedisServer
from tests.system.client import Client, connected
from tests.waiting import eventually

SETTINGS = """
from tests.project.settings import *
ROOT_URLCONF = "metered_urls"
INSTALLED_APPS = [*INSTALLED_APPS, "metered"]
"""
URLS = """
from django.urls import path
from tests.project.urls import urlpatterns as others
import wsadapter.metrics
urlpatterns = [*others, path("metrics/", wsadapter.metrics.view)]
"""
# As docs/metrics.md has it.
APP = """
from django.apps import AppConfig
class MeteredConfig(AppConfig):
    name = "metered"
    def ready(self) -> None:
        import wsadapter.metrics
"""
ADAPTER = {"HEARTBEAT_INTERVAL": 600, "BEAT_SECONDS": 0.5, "LEASE_SECONDS": 2, "REDIS_TIMEOUT": 1}

CLIENTS = 10
#: Sums are written every five seconds, and a killed process is counted for a lease.
PATIENCE_SECONDS = 15.0

Numbers = dict[tuple[str, ...], float]


@pytest.fixture
def workers(
    deploy: Callable[..., Deployment], own_redis: RedisServer, tmp_path: Path
) -> DjangoServer:
    """uvicorn with two workers that count into one directory."""
    site, shared = tmp_path / "site", tmp_path / "shared"
    (site / "metered").mkdir(parents=True)
    shared.mkdir()
    (site / "metered_settings.py").write_text(SETTINGS)
    (site / "metered_urls.py").write_text(URLS)
    (site / "metered/__init__.py").write_text("")
    (site / "metered/apps.py").write_text(APP)
    deployment = deploy(redis_url=own_redis.url, adapter=ADAPTER)
    deployment.environment |= {
        "DJANGO_SETTINGS_MODULE": "metered_settings",
        "PYTHONPATH": str(site),
        "PROMETHEUS_MULTIPROC_DIR": str(shared),
        "WEB_CONCURRENCY": "2",
    }
    server = deployment.server("uvicorn-frames")
    eventually(lambda: len(pids(server, times=20)) == 2, within_seconds=30)
    return server


def pids(server: DjangoServer, times: int = 1) -> set[int]:
    """Of the workers that have answered."""
    return {server.get("/pid/").json()["pid"] for _ in range(times)}


def scrape(server: DjangoServer) -> Numbers:
    """Samples by name and label values, in the order of the labels' names."""
    answer = server.get("/metrics/")
    assert answer.status == 200, answer.text
    return {
        (sample.name.removeprefix("wsadapter_"), *map(sample.labels.get, sorted(sample.labels))): (
            sample.value
        )
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name.startswith("wsadapter_")
    }


def until_all_tell(server: DjangoServer, truth: Numbers) -> None:
    """Wait until each of several answers in a row has the numbers."""

    def told() -> bool:
        nonlocal last
        for _ in range(6):
            numbers = scrape(server)
            last = {key: numbers.get(key) for key in truth}
            if last != truth:
                return False
        return True

    last: dict[Any, Any] = {}
    try:
        eventually(told, within_seconds=PATIENCE_SECONDS)
    except AssertionError:
        assert last == truth
        raise


def worker_of(server: DjangoServer) -> dict[str, int]:
    """Process ids by client id."""
    clients = server.get("/online/").json()["clients"]
    return {each["client_id"]: int(each["process"].rpartition(":")[2]) for each in clients}


def size(frame: Any) -> int:
    """Of a frame that the client has decoded, in bytes."""
    if not isinstance(frame, str):
        frame = json.dumps(frame, separators=(",", ":"), ensure_ascii=False)
    return len(frame.encode())


def test_whichever_worker_answers_the_numbers_are_the_truth(
    workers: DjangoServer, own_redis: RedisServer
) -> None:
    with ExitStack() as stack:

        def connect() -> Client:
            return stack.enter_context(connected(workers))

        clients = [connect() for _ in range(CLIENTS)]
        while len(set(worker_of(workers).values())) < 2:  # the kernel deals them out
            clients.append(connect())
            assert len(clients) < 100
        count = len(clients)
        frames_in = bytes_in = 0
        bytes_out = sum(len('{"type":"ws:welcome","client":""}' + each.id) for each in clients)
        for client in clients:
            for frame in ('{"type":"chat.say","id":1,"text":"hi"}', '{"type":"made.up","id":2}'):
                client.send(frame)
                frames_in, bytes_in = frames_in + 1, bytes_in + len(frame)
                bytes_out += size(client.receive())
        for client in clients[:4]:
            client.send(frame := '{"type":"chat.fail","id":3,"text":"?"}')
            frames_in, bytes_in = frames_in + 1, bytes_in + len(frame)
            bytes_out += size(client.receive())
        for _ in range(5):
            workers.post("/send/all/", {"data": "a push"})
        for client in clients:
            assert [client.receive() for _ in range(5)] == ["a push"] * 5
        bytes_out += 5 * len("a push") * count
        clients[0].close()
        clients[1].close(4001)
        leaver, *stayed = clients[2:]
        leaver.close(1001)
        truth: Numbers = {
            ("connections",): count - 3,
            ("online_connections",): count - 3,
            ("online_users",): 0,
            ("nodes",): 2,
            ("redis_up",): 1,
            ("connects_total",): count,
            ("disconnects_total", "1000"): 1,
            ("disconnects_total", "4xxx"): 1,
            ("disconnects_total", "1001"): 1,
            ("messages_total", "in"): frames_in,
            ("messages_total", "out"): count * 8 + 4,
            ("bytes_total", "in"): bytes_in,
            ("bytes_total", "out"): bytes_out,
            ("handler_seconds_count", "chat.say"): count,
            ("handler_errors_total", "internal_error", "chat.fail"): 4,
            ("handler_errors_total", "unknown_type", "unknown"): count,
            ("fanout_seconds_count",): 10,
            ("deliveries_total",): 5 * count,
            ("broadcast_latency_seconds_count",): 10,
            ("publish_seconds_count", "broadcast"): 5,
            ("outbox_bytes",): 0,
        }
        until_all_tell(workers, truth)
        owners = worker_of(workers)
        killed = owners[stayed[0].id]
        survivors = sum(owners[each.id] != killed for each in stayed)
        os.kill(killed, signal.SIGKILL)
        truth |= {
            ("connections",): survivors,
            ("online_connections",): survivors,
            ("nodes",): int(survivors > 0),
        }
        until_all_tell(workers, truth)
        own_redis.stop()
        away = scrape(workers)
        assert away["redis_up",] == 0 and away["connections",] == survivors
        assert ("online_connections",) not in away
        own_redis.start()
        truth |= {
            ("redis_reconnects_total",): int(survivors > 0),
            ("messages_total", "out"): count * 8 + 4 + survivors,  # each is told of the gap
            ("bytes_total", "out"): bytes_out + survivors * size({"type": "ws:gap"}),
        }
        until_all_tell(workers, truth)
