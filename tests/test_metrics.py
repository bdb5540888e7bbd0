"""What Prometheus reads is what happened, whoever it was that happened to."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import RequestFactory
from prometheus_client import REGISTRY, CollectorRegistry

from tests.consumers.browser import Browser
from tests.consumers.conftest import browser, log
from tests.consumers.test_pushes import Bounded, full, six_pushes
from tests.markdown import DOCS
from tests.processes import ROOT
from tests.redis_server import RedisServer
from tests.waiting import aeventually
from wsadapter import abroadcast, handler, hooks, metrics, signals
from wsadapter.close_codes import CloseCode, ClosedBy
from wsadapter.consumers import AdapterConsumer
from wsadapter.errors import StoreUnavailable
from wsadapter.metrics import Cluster, Metrics, code_label, forget_dead
from wsadapter.outlet import Stats
from wsadapter.wire.outbox import Overflow

metrics.uninstall()  # importing it has switched it on, for all tests of this process

__all__ = ["browser", "log"]

Connect = Callable[..., Browser]


class Shown:
    """Metrics of a test's own, and what a registry shows of them."""

    def __init__(self) -> None:
        self.metrics = Metrics(shared=False)
        self.registry = CollectorRegistry()
        self.registry.register(self.metrics)
        self.metrics.observe()

    def __call__(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"wsadapter_{name}", labels)


@pytest.fixture
def shown() -> Iterator[Shown]:
    shown = Shown()
    yield shown
    shown.metrics.stop()


class Clerk(AdapterConsumer):
    @handler("ask")
    async def ask(self) -> str:
        return "answer"

    @handler("fail")
    async def fail(self) -> None:
        raise RuntimeError("a bug")

    @handler("end")
    async def end(self) -> None:
        await self.close(4321)


async def test_the_life_of_a_connection(browser: Connect, shown: Shown) -> None:
    client, other = browser(Clerk), browser(Clerk)
    await client.open()
    await other.open()
    assert shown("connections") == shown("connects_total") == 2
    await client.leave(1001)
    assert shown("connections") == 1
    assert shown("disconnects_total", code="1001") == 1
    await other.leave(4321)
    assert shown("connections") == 0
    assert shown("disconnects_total", code="4xxx") == 1


async def test_a_code_of_the_project_keeps_its_number_where_the_server_chose_it(
    browser: Connect, shown: Shown
) -> None:
    client, other = browser(Clerk), browser(Clerk)
    await client.open()
    await client.frame('{"type":"end"}')
    assert (await client.closed()).code == 4321
    await other.open()
    await other.leave(4321)
    assert shown("disconnects_total", code="4321") == 1
    assert shown("disconnects_total", code="4xxx") == 1


async def test_what_was_never_registered_is_no_disconnect(browser: Connect, shown: Shown) -> None:
    refuses = type("Refuses", (Clerk,), {"allow_anonymous": False})
    assert (await browser(refuses).refused()).code == CloseCode.UNAUTHENTICATED
    assert shown("connects_total") == 0
    assert shown("disconnects_total", code="3500") is None


async def test_messages_and_bytes_are_those_of_live_and_ended_connections(
    browser: Connect, shown: Shown
) -> None:
    client, other = browser(Clerk), browser(Clerk)
    frames_out, frames_in = [], []
    for each in (client, other):
        frames_out.append('{"type":"ws:welcome","client":"%s"}' % await each.open())
        frames_in.append('{"type":"ask","id":1}')
        assert await each.request_raw(frames_in[-1])
        frames_out.append('{"type":"ws:reply","id":1,"result":"answer"}')

    def check() -> None:
        assert shown("messages_total", direction="in") == len(frames_in)
        assert shown("messages_total", direction="out") == len(frames_out)
        assert shown("bytes_total", direction="in") == sum(map(len, frames_in))
        assert shown("bytes_total", direction="out") == sum(map(len, frames_out))

    check()
    await client.leave()
    check()  # what has ended is not forgotten
    await abroadcast("a push")
    assert await other.receive() == "a push"
    frames_out.append("a push")
    check()
    await other.leave()
    check()


async def test_fan_out_and_latency(browser: Connect, shown: Shown) -> None:
    for _ in range(3):
        await browser(Clerk).open()
    for _ in range(2):
        await abroadcast("a push")
    await aeventually(lambda: shown("fanout_seconds_count") == 2)
    assert shown("broadcast_latency_seconds_count") == 2
    assert shown("deliveries_total") == 6
    assert shown("publish_seconds_count", helper="broadcast") == 2
    assert 0 < shown("fanout_seconds_sum") < 60  # type: ignore[operator]


async def test_handlers_by_the_types_that_are_declared(browser: Connect, shown: Shown) -> None:
    client = browser(Clerk)
    await client.open()
    for number, type in enumerate(("ask", "fail", *(f"made up {n}" for n in range(20)))):
        await client.request(type=type, id=number)
    assert shown("handler_seconds_count", type="ask") == 1
    assert shown("handler_errors_total", type="fail", kind="internal_error") == 1
    assert shown("handler_errors_total", type="unknown", kind="unknown_type") == 20
    types = {
        sample.labels["type"]
        for family in shown.registry.collect()
        for sample in family.samples
        if "type" in sample.labels
    }
    assert types == {"ask", "fail", "unknown"}


def test_what_goes_wrong(shown: Shown) -> None:
    hooks.heartbeat_timed_out()
    signals.delivery_failed.send_robust(None, client_id="a", error=OSError())
    signals.message_dropped.send_robust(None, client_id="a", count=3, reason="drop-oldest")
    hooks.event_dropped("inbox")
    hooks.came_back("Redis at one")
    hooks.published("broadcast", 1, 0.5, StoreUnavailable("Redis is away."))
    hooks.ponged(0.02)
    assert shown("heartbeat_timeouts_total") == 1
    assert shown("dead_connections_total", reason="no_pong") == 1
    assert shown("dead_connections_total", reason="delivery_failed") == 1
    assert shown("dropped_total", reason="drop-oldest") == 3
    assert shown("dropped_total", reason="inbox") == 1
    assert shown("redis_reconnects_total") == 1
    assert shown("publish_failures_total", helper="broadcast") == 1
    assert shown("publish_seconds_sum", helper="broadcast") == 0.5
    assert shown("round_trip_seconds_sum") == 0.02


async def test_what_an_outbox_drops_is_told_by_its_policy(browser: Connect, shown: Shown) -> None:
    for overflow in (Overflow.DROP_NEWEST, Overflow.DROP_OLDEST):
        client = browser(type("Dropping", (Bounded,), {"overflow": overflow}), takes=1)
        await full(client)
        await six_pushes()
        await client.leave()
        assert shown("dropped_total", reason=overflow.value) == 2


def test_a_latency_below_zero_is_two_clocks(shown: Shown) -> None:
    hooks.fanned_out(1, 0.001, -3600.0)
    assert shown("broadcast_latency_seconds_sum") == 0
    assert shown("broadcast_latency_seconds_bucket", le="0.001") == 1


def nobodys(stats: Stats) -> Any:
    """A connection that was never registered."""
    return SimpleNamespace(stats=stats, serial="serial")


def test_what_waits_is_that_of_live_connections(shown: Shown) -> None:
    outbox = SimpleNamespace(queued_bytes=700)
    connections = [nobodys(Stats(outbox=outbox)) for _ in range(2)]  # type: ignore[arg-type]
    for connection in connections:
        hooks.connection_begins(connection)
    assert shown("outbox_bytes") == 1400
    hooks.connection_ended(connections[0])
    assert shown("outbox_bytes") == 700
    hooks.connection_ended(connections[1])
    assert shown("outbox_bytes") == 0


def test_who_began_before_is_no_loss_when_it_ends(shown: Shown) -> None:
    hooks.connection_ended(nobodys(Stats(messages_in=5)))
    assert shown("messages_total", direction="in") == 0


@pytest.mark.parametrize(
    ("code", "label"),
    [
        *((int(code), str(int(code))) for code in CloseCode),
        (1009, "1009"),
        (1999, "1xxx"),
        (3999, "3xxx"),
        (4000, "4xxx"),
        (4999, "4xxx"),
        (0, "other"),
        (5000, "other"),
        (123456789, "other"),
    ],
)
def test_a_client_cannot_make_series_of_close_codes(code: int, label: str) -> None:
    assert code_label(code, ClosedBy.CLIENT) == label


@pytest.mark.parametrize(
    ("code", "label"),
    [(3001, "3001"), (3999, "3xxx"), (4000, "4000"), (4999, "4999"), (5000, "other")],
)
def test_the_numbers_that_a_project_chooses_are_shown(code: int, label: str) -> None:
    assert code_label(code, ClosedBy.SERVER) == label


def test_no_metric_has_a_label_that_tells_who(shown: Shown) -> None:
    labels = {label for each in shown.metrics._instruments for label in each._labelnames}
    assert labels == {"code", "reason", "direction", "helper", "type", "kind"}


# What all processes know together


def cluster() -> Callable[[str], float | None]:
    registry = CollectorRegistry()
    registry.register(Cluster())
    return lambda name: registry.get_sample_value(f"wsadapter_{name}")


async def test_the_online_count_is_the_stores(browser: Connect) -> None:
    for user in (None, "1", "1"):
        await browser(type("Known", (Clerk,), {"authenticate": known_as(user)})).open()
    sample = cluster()
    assert sample("online_connections") == 3
    assert sample("online_users") == 1
    assert sample("nodes") == 1
    assert 0 <= sample("lease_age_seconds") < 15  # type: ignore[operator]
    assert sample("redis_up") is None, "there is none in a process of its own"


def known_as(user: str | None) -> Callable[..., Any]:
    async def authenticate(self: AdapterConsumer) -> str | None:
        return user

    return authenticate


def test_without_redis_there_are_no_numbers(own_redis: RedisServer, settings: Any) -> None:
    settings.WSADAPTER = {"REDIS_URL": own_redis.url, "REDIS_TIMEOUT": 1}
    sample = cluster()
    assert sample("redis_up") == 1
    assert sample("online_connections") == sample("nodes") == sample("lease_age_seconds") == 0
    own_redis.stop()
    assert sample("redis_up") == 0
    for name in Cluster.TEXTS.keys() - {"redis_up"}:
        assert sample(name) is None


# Switched on


@pytest.fixture
def installed() -> Iterator[CollectorRegistry]:
    registry = CollectorRegistry()
    metrics.install(registry)
    yield registry
    metrics.uninstall()


def test_installing_twice_changes_nothing(installed: CollectorRegistry) -> None:
    before = installed.get_sample_value("wsadapter_heartbeat_timeouts_total")
    metrics.install(installed)
    hooks.heartbeat_timed_out()
    assert installed.get_sample_value("wsadapter_heartbeat_timeouts_total") == before + 1  # type: ignore[operator]


def test_several_registries_show_the_same(installed: CollectorRegistry) -> None:
    other = CollectorRegistry()
    metrics.install(other)
    hooks.came_back("Redis")
    names = ["wsadapter_redis_reconnects_total"]
    assert [each.get_sample_value(names[0]) for each in (installed, other)] == [
        installed.get_sample_value(names[0])
    ] * 2
    metrics.uninstall()
    assert list(installed.collect()) == list(other.collect()) == []
    assert not hooks.came_back
    assert not signals.client_connected.has_listeners(AdapterConsumer)


def test_the_view_is_of_the_default_registry() -> None:
    metrics.install()
    try:
        response = metrics.view(RequestFactory().get("/metrics/"))
        text = response.content.decode()
    finally:
        metrics.uninstall()
    assert response.status_code == 200 and response["Content-Type"].startswith("text/plain")
    assert "wsadapter_connections 0.0" in text and "wsadapter_online_connections 0.0" in text
    assert metrics.view(RequestFactory().post("/metrics/")).status_code == 405
    assert "wsadapter_connections" not in {family.name for family in REGISTRY.collect()}


def test_importing_it_is_enough_and_asks_no_redis() -> None:
    code = (
        "import django; django.setup()\n"
        "from wsadapter import hooks\n"
        "assert not hooks.fanned_out\n"
        "import wsadapter.metrics\n"
        "assert hooks.fanned_out and hooks.connection_begins"
    )
    redis = {"WSADAPTER": '{"REDIS_URL": "redis://127.0.0.1:1/0"}', "DATABASE": ":memory:"}
    assert python(code, DJANGO_SETTINGS_MODULE="tests.project.settings", **redis) == ""


def test_without_prometheus_client_it_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "import django; django.setup()\n"
        "from django.core.exceptions import ImproperlyConfigured\n"
        "try:\n"
        "    import wsadapter.metrics\n"
        "except ImproperlyConfigured as error:\n"
        "    print(error, end='')\n"
    )
    sentence = 'wsadapter.metrics needs prometheus-client: pip install "wsadapter[prometheus]".'
    assert python(code, DJANGO_SETTINGS_MODULE="tests.settings") == sentence


def python(code: str, **environment: str) -> str:
    """What it prints, in a process of its own, with every warning an error."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# Several processes


def test_a_directory_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "missing"))
    with pytest.raises(ImproperlyConfigured, match="is no directory"):
        metrics.directory()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    assert metrics.directory() == tmp_path
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    assert metrics.directory() is None


def test_the_gauges_of_dead_processes_are_dropped_and_no_others(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    mine = f"gauge_livesum_{os.getpid()}.db"
    of_root = "gauge_livesum_1.db"  # alive, and mostly not ours to send signals to
    for name in (mine, of_root, f"gauge_livesum_{ended.pid}.db", f"counter_{ended.pid}.db"):
        (tmp_path / name).touch()
    forget_dead(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {mine, of_root, f"counter_{ended.pid}.db"}


def test_what_else_lies_there_is_left_alone(tmp_path: Path) -> None:
    names = {"gauge_livesum_rubbish.db", f"gauge_livesum_{10**30}.db"}
    for name in names:
        (tmp_path / name).touch()
    forget_dead(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == names


def test_a_killed_process_is_dead_before_its_parent_has_heard_of_it(tmp_path: Path) -> None:
    killed = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    gauge = tmp_path / f"gauge_livesum_{killed.pid}.db"
    with killed:
        gauge.touch()
        forget_dead(tmp_path)
        assert gauge.exists(), "it lives"
        killed.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie
        os.kill(killed.pid, 0)  # as one does that lives
        forget_dead(tmp_path)
        assert not gauge.exists()


@pytest.fixture
def shared() -> Iterator[Metrics]:
    shared = Metrics(shared=True)
    shared.observe()
    yield shared
    shared.stop()


def written(metrics: Metrics) -> float:
    """The frames sent to clients that other processes can read of."""
    return float(metrics.messages.labels("out")._value.get())


async def test_sums_are_written_while_anybody_is_connected(
    browser: Connect, shared: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsadapter.metrics.WRITE_SECONDS", 0.01)
    client = browser(Clerk)
    await client.open()
    await aeventually(lambda: written(shared) == 1)
    await abroadcast("a push")
    await aeventually(lambda: written(shared) == 2)
    await client.leave()
    await aeventually(lambda: not shared._writing)


async def test_with_the_last_connection_all_is_written(browser: Connect, shared: Metrics) -> None:
    client, other = browser(Clerk), browser(Clerk)
    await client.open()
    await other.open()
    await client.leave()
    assert written(shared) == 0, "not before its time, while somebody is left"
    await other.leave()
    assert written(shared) == 2


# The page


def test_the_page_lists_every_metric_with_its_type_and_its_labels() -> None:
    told = [
        (codes_in(name)[0], type, codes_in(labels))
        for name, type, labels, _ in DOCS["metrics"].table("metric")
    ]
    assert sorted(told) == sorted(each_metric())


def each_metric() -> Iterator[tuple[str, str, list[str]]]:
    for instrument in Metrics(shared=False)._instruments:
        (family,) = instrument.describe()
        ending = "_total" if family.type == "counter" else ""
        yield f"{family.name}{ending}", family.type, list(instrument._labelnames)
    for family in Cluster().describe():
        yield family.name, family.type, []


def codes_in(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", text)
