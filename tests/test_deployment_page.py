"""What docs/deployment.md says is so: its times fit together, and its figures were measured.

tests/system/test_proxies.py runs its servers and proxies.
"""

from __future__ import annotations

import ast
import configparser
import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import pytest
import yaml
from django.http import HttpResponse
from django.middleware.security import SecurityMiddleware
from django.test import RequestFactory, override_settings
from gunicorn.config import GracefulTimeout
from hypercorn.config import Config as HypercornConfig
from uvicorn.main import main as uvicorn_command

from benchmarks.processes import ROOT
from benchmarks.results import Report, Values
from tests.markdown import DOCS, README
from tests.redis_server import RedisServer
from tests.test_docs import codes_in
from wsadapter import ClientInfo
from wsadapter.conf import RULES
from wsadapter.draining import ENDING_SECONDS
from wsadapter.redis_pool import RedisPool
from wsadapter.signal_chain import SAME_SECONDS
from wsadapter.store import RedisStore
from wsadapter.store.operations import (
    BATCH_SIZE,
    RESTORE_SIZE,
    JoinAll,
    JoinGroups,
    Membership,
    OpenLease,
)

PAGE = DOCS["deployment"]
TEXT = " ".join(PAGE.text.split())

DRAIN_SECONDS = RULES["DRAIN_SECONDS"].default
#: Until the last client has left, and the lease has been given up.
DRAINED_SECONDS = DRAIN_SECONDS + ENDING_SECONDS


def configuration(name: str) -> str:
    """The block that begins with the name of its file."""
    (text,) = (each.text for each in PAGE.blocks if each.text.startswith(f"# {name}\n"))
    return text


def seconds(text: object) -> float:
    return float(str(text).removesuffix("s"))


# Times that have to fit


def test_a_proxy_waits_for_longer_than_a_silent_client_may_be_silent() -> None:
    (waits,) = re.findall(
        r"proxy_read_timeout (\d+)s;", configuration("/etc/nginx/conf.d/shop.conf")
    )
    interval = RULES["HEARTBEAT_INTERVAL"].default
    timeout = RULES["HEARTBEAT_TIMEOUT"].default
    assert int(waits) > interval + timeout
    assert f"which {waits} > {interval} + {timeout} is" in TEXT


def test_systemd_waits_for_the_drain() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(configuration("/etc/systemd/system/shop@.service"))
    service = unit["Service"]
    assert float(service["TimeoutStopSec"]) > DRAINED_SECONDS
    assert (service["KillSignal"], service["KillMode"]) == ("SIGTERM", "mixed")
    assert "twice within a second counts once" in TEXT and SAME_SECONDS == 1
    assert service["ExecStart"].partition("bin/")[2].replace("%i", "8001") in first_commands()


def first_commands() -> list[str]:
    return [codes_in(row[1])[0] for row in PAGE.table("server")]


def test_docker_waits_for_the_drain_which_fits_its_default_too() -> None:
    compose = yaml.safe_load(configuration("compose.yaml"))
    assert seconds(compose["services"]["web"]["stop_grace_period"]) > DRAINED_SECONDS
    assert DRAINED_SECONDS <= 10, "which Docker gives by itself"
    assert f"`DRAIN_SECONDS`, {DRAIN_SECONDS}, is made to fit" in TEXT


def test_the_container_runs_the_server_itself() -> None:
    (command,) = re.findall(r"^CMD (.+)$", configuration("Dockerfile"), re.MULTILINE)
    name, *arguments = ast.literal_eval(command)
    assert name == "uvicorn"
    uvicorn_command.make_context(name, arguments)  # which raises what it does not know


def test_kubernetes_waits_for_the_drain_and_drains_one_at_a_time() -> None:
    deployment = yaml.safe_load(configuration("shop.yaml"))["spec"]
    pod = deployment["template"]["spec"]
    (container,) = pod["containers"]
    (_, before) = container["lifecycle"]["preStop"]["exec"]["command"]
    assert pod["terminationGracePeriodSeconds"] > float(before) + DRAINED_SECONDS
    assert deployment["minReadySeconds"] >= float(before) + DRAINED_SECONDS
    probe = container["readinessProbe"]
    assert float(before) > probe["periodSeconds"] * probe["failureThreshold"]


def test_the_probe_gets_through_to_the_view() -> None:
    """By the name that ALLOWED_HOSTS has, and without being sent to https."""
    probe = yaml.safe_load(configuration("shop.yaml"))["spec"]["template"]["spec"]["containers"][0]
    request = probe["readinessProbe"]["httpGet"]
    (host,) = (each["value"] for each in request["httpHeaders"] if each["name"] == "Host")
    given = settings_of_the_page()
    assert host in given["ALLOWED_HOSTS"]
    assert redirect(request["path"], given) is None
    assert redirect(request["path"], {**given, "SECURE_REDIRECT_EXEMPT": []}) == 301


def settings_of_the_page() -> dict[str, Any]:
    (text,) = (each.text for each in PAGE.blocks if each.path == "shop/settings.py")
    given: dict[str, Any] = {}
    exec(text, given)
    return {name: value for name, value in given.items() if name.isupper()}


def redirect(path: str, given: Mapping[str, Any]) -> int | None:
    """The status that Django answers a plain request with, or None where the view is asked."""
    with override_settings(**given):
        answer = SecurityMiddleware(lambda request: HttpResponse()).process_request(
            RequestFactory().get(path, headers={"host": "shop.example"})
        )
    return None if answer is None else answer.status_code


def test_the_servers_own_times() -> None:
    rows = {row[0]: row[2] for row in PAGE.table("server")}
    (gunicorn,) = (says for name, says in rows.items() if name.startswith("gunicorn"))
    assert f"`--graceful-timeout`, {GracefulTimeout.default} s" in gunicorn
    assert GracefulTimeout.default > DRAINED_SECONDS
    assert f"its `--graceful-timeout` of {HypercornConfig().graceful_timeout:g} s" in TEXT


def test_the_options_of_uvicorn_exist() -> None:
    options = {name for each in uvicorn_command.params for name in each.opts}
    assert {"--forwarded-allow-ips", "--timeout-graceful-shutdown", "--backlog"} <= options


# Settings


def test_the_settings_are_those_that_exist() -> None:
    given = settings_of_the_page()["WSADAPTER"]
    assert all(RULES[key].valid(value) for key, value in given.items())
    rows = {codes_in(row[0])[0]: row[1] for row in PAGE.table("setting")}
    assert rows == {key: f"`{RULES[key].default}`" for key in rows}
    assert RULES["LEASE_SECONDS"].default == 3 * RULES["BEAT_SECONDS"].default


def test_the_connections_to_redis() -> None:
    (most,) = (codes_in(row[1])[0] for row in PAGE.table("Redis setting") if "maxclients" in row[0])
    assert int(most) > 1 + 2 * RULES["REDIS_POOL_SIZE"].default


# Figures

CAPACITY = {row[0]: row[1] for row in PAGE.table("what one process does on one core")}
SYSTEM = "wsadapter, uvicorn, prepared frames"

#: By how much a measurement moves from run to run, as docs/performance.md says.
DRIFT = 0.25


def measured(measure: str, connections: int) -> Values:
    report = Report.read(ROOT / "benchmarks/results.json")
    (values,) = (
        result.values for result in report.of(measure, connections) if result.system == SYSTEM
    )
    return values


def number(text: str) -> float:
    """ "118 000" is a number, and so is "33.7 KiB"."""
    found = re.match(r"[\d ]*\d(\.\d+)?", text)
    assert found, text
    return float(found[0].replace(" ", ""))


@pytest.mark.parametrize(
    ("told", "measure", "connections", "value", "scale"),
    [
        ("memory of an idle connection", "idle", 5000, "kib_per_connection", 1),
        ("time of its core for 5 000 idle connections", "idle", 5000, "cpu", 100),
        (
            "deliveries a second, one message at a time to 5 000 connections",
            "closed",
            5000,
            "deliveries_per_second",
            1,
        ),
        ("connections that it lets in, a second", "connect", 1000, "connects_per_second", 1),
    ],
    ids=["memory", "idle", "deliveries", "connects"],
)
def test_the_figures_are_those_of_the_benchmark(
    told: str, measure: str, connections: int, value: str, scale: float
) -> None:
    was = measured(measure, connections)[value] * scale
    assert number(CAPACITY[told]) == pytest.approx(was, rel=DRIFT)


def test_every_figure_has_its_row() -> None:
    assert len(CAPACITY) == 4
    (formula,) = (each.text for each in PAGE.blocks if "clients ×" in each.text)
    for figure in CAPACITY.values():
        assert figure in formula


SUM = re.compile(r"(?<![\w.])([\d(][\d .×/+()%]*)(KiB|KB)? = ([\d ]*\d(?:\.\d+)?)( MiB| MB)?")
UNITS = {"KiB": 1024, "KB": 1000, "": 1}


def test_every_sum_of_the_example_is_right() -> None:
    section = " ".join(line.text for line in PAGE.prose if line.section == "Capacity")
    sums = SUM.findall(section)
    assert len(sums) == 6
    for left, unit, right, _ in sums:
        terms = left.replace("×", "*").replace("%", "/ 100").replace(" ", "")
        digits = len(right.partition(".")[2])
        value = eval(terms, {}) / UNITS[unit]
        assert f"{value:.{digits}f}" == right.replace(" ", ""), f"{left} = {right}"


def test_the_example_has_the_figures_of_the_table() -> None:
    section = " ".join(line.text for line in PAGE.prose if line.section == "Capacity")
    example = section.partition("**An example.**")[2]
    assert all(figure in example for figure in CAPACITY.values())


MANY = 8000


def test_the_memory_of_redis(own_redis: RedisServer) -> None:
    ((per_connection, per_group),) = re.findall(
        r"about ([\d.]+) KB for each connection, and ([\d.]+) KB for each group", TEXT
    )
    store = RedisStore(RedisPool({"address": own_redis.url}))
    store.run(OpenLease(LEASE, 60))
    first = some_clients(1)
    record(store, first)  # scripts are loaded, and buffers made
    put_in_rooms(store, first)
    clients = some_clients(MANY)
    empty = used_bytes(own_redis)
    record(store, clients)
    recorded = used_bytes(own_redis)
    put_in_rooms(store, clients)
    in_rooms = used_bytes(own_redis)
    assert (recorded - empty) / MANY / 1000 == pytest.approx(float(per_connection), rel=DRIFT)
    assert (in_rooms - recorded) / MANY / 1000 == pytest.approx(float(per_group), rel=DRIFT)


LEASE = "web-1:41:0f3b5c1e"


def some_clients(count: int) -> list[ClientInfo]:
    """As long as they are: each of a user of its own, with a generated id."""
    return [
        ClientInfo(
            client_id=f"0f3b5c1e9a7d2468.{uuid4().hex[:16]}",
            user_id=str(number),
            lease=LEASE,
            serial=uuid4().hex[:16],
            connected_at=1792598400.123456,
            path="/ws/",
            address="203.0.113.7",
        )
        for number in range(count)
    ]


def record(store: RedisStore, clients: Sequence[ClientInfo]) -> None:
    for start in range(0, len(clients), BATCH_SIZE):
        batch = clients[start : start + BATCH_SIZE]
        store.run(JoinAll(LEASE, tuple((client, False) for client in batch)))


def put_in_rooms(store: RedisStore, clients: Sequence[ClientInfo]) -> None:
    """Twenty in each."""
    memberships = [
        Membership(each.client_id, each.user_id, each.serial, f"room {number // 20}")
        for number, each in enumerate(clients)
    ]
    for start in range(0, len(clients), RESTORE_SIZE):
        store.run(JoinGroups(LEASE, tuple(memberships[start : start + RESTORE_SIZE])))


def used_bytes(server: RedisServer) -> int:
    with server.client() as client:
        return int(client.info("memory")["used_memory"])


# Links


def test_the_pages_know_of_one_another() -> None:
    assert {"docs/deployment.md", "docs/troubleshooting.md"} <= set(README.links)
    assert "troubleshooting.md" in PAGE.links
    assert "deployment.md" in {link.partition("#")[0] for link in DOCS["troubleshooting"].links}
