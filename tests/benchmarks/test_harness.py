"""A real run, of twenty connections."""

from __future__ import annotations

import pytest

from benchmarks.__main__ import chosen, installed
from benchmarks.benchmark import Benchmark, Extent
from benchmarks.lanes import MESSAGES
from benchmarks.machine import Cores
from benchmarks.measures import Effort
from benchmarks.results import Report
from benchmarks.systems import SYSTEMS, adapter, echoes, stock
from benchmarks.table import STOCK, remarks
from tests.dependencies import redis_executable

TINY = Extent(
    sizes=(20,),
    idle_connections=20,
    closed=Effort(2, 2, 0),
    burst=Effort(2, 2, 0),
    targeted_seconds=0,
    idle_seconds=0,
    echo=Effort(1, 1, 0),
    echo_sizes=(3,),
)


class Silent:
    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)


def empty_report() -> Report:
    return Report({}, {}, "today")


#: On every server that is installed here.
SITES = [
    system.name
    for system in [*adapter.SYSTEMS, *stock.SYSTEMS]
    if not system.missing() and system.measures >= {"closed", "burst", "idle"}
]


@pytest.mark.parametrize("name", SITES)
def test_every_byte_of_a_fan_out_arrives(name: str) -> None:
    redis_executable()
    system = next(system for system in SYSTEMS if system.name == name)
    report, silent = empty_report(), Silent()
    benchmark = Benchmark(TINY, Cores.split(), report, wanted={"closed", "burst"})
    benchmark.run(system, silent)
    assert remarks(report) == ""
    assert len(silent.steps) == benchmark.steps(system) == 2
    closed, burst = report.of("closed", 20), report.of("burst", 20)
    assert closed[0].values["rounds"] == burst[0].values["rounds"] == 2
    assert burst[0].values["messages"] == 50
    assert burst[0].values["deliveries_per_second"] > 0


def run_beside(name: str, measure: str) -> Report:
    """A measure that has a start of its own, of a system."""
    redis_executable()
    report, silent = empty_report(), Silent()
    system = next(system for system in SYSTEMS if system.name == name)
    benchmark = Benchmark(TINY, Cores.split(), report, wanted={measure})
    benchmark.run(system, silent)
    assert remarks(report) == ""
    assert len(silent.steps) == benchmark.steps(system) == 1
    return report


def test_everybody_gets_in_at_once_while_one_is_answered() -> None:
    (result,) = run_beside(STOCK, "storm").results
    assert result.values["accepted"] == result.connections == 20
    assert 0 < result.values["p50_ping_ms"] <= result.values["worst_ping_ms"]


def test_every_lane_of_a_bulk_arrives_in_order() -> None:
    (result,) = run_beside("wsadapter, uvicorn, prepared, large outbox", "lanes").results
    assert result.values["messages"] == MESSAGES


#: One of each path, on the first server that has it.
ECHOES = {system.path: system.name for system in reversed(echoes.SYSTEMS) if not system.missing()}


@pytest.mark.parametrize("name", ECHOES.values(), ids=ECHOES.keys())
def test_every_byte_of_an_echo_is_heard(name: str) -> None:
    (result,) = run_beside(name, "echo").results
    assert result.connections == 3
    assert result.values["rounds"] == 1
    assert result.values["messages_per_second"] > 0


def test_a_server_that_does_not_start_is_a_failure_in_the_report() -> None:
    redis_executable()

    class Broken(type(SYSTEMS[0])):  # type: ignore[misc]
        def command(self, place: object) -> list[str]:
            return ["false"]

        def prepare(self, place: object) -> None: ...

    report = empty_report()
    broken = Broken("broken", server="uvicorn")
    Benchmark(TINY, Cores.split(), report, wanted={"closed"}).run(broken, Silent())
    assert "DidNotStart" in report.failures["broken, its start or fan-out"]


def test_without_node_nginx_and_a_compiler_the_others_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.which", lambda *arguments, **options: None)
    report = empty_report()
    names = {system.name for system in installed(SYSTEMS, report)}
    assert {"wsadapter, uvicorn", STOCK} <= names
    assert {"C loop", "node ws", "node socket.io"} <= report.missing.keys()
    assert all(text.endswith(".") for text in report.missing.values())


def test_systems_are_chosen_by_parts_of_their_names() -> None:
    assert chosen(None) == SYSTEMS
    assert [system.name for system in chosen(["c LOOP", "pub/sub layer, uvi"])] == [STOCK, "C loop"]


def test_every_system_has_a_name_of_its_own() -> None:
    names = [system.name for system in SYSTEMS]
    assert len(set(names)) == len(names)
