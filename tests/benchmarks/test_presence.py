"""A real run, of four hundred connections."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks import shown
from benchmarks.cluster import EVERYBODY
from benchmarks.leases import BEAT_SECONDS, LEASE_SECONDS, WAYS
from benchmarks.machine import Cores
from benchmarks.meter import Meter
from benchmarks.presence import (
    Extent,
    Trial,
    WrongAnswer,
    check_answers,
    empty_redis,
    questions,
    results,
)
from benchmarks.presence_table import OURS, PHASES, QUESTIONS
from benchmarks.results import Report, Result
from tests.dependencies import redis_executable
from wsadapter.conf import settings
from wsadapter.store.operations import MemberCount, OnlineCount

TINY = Extent(connections=400, leases=4, calls=2)


@pytest.fixture
def trial() -> Iterator[Trial]:
    redis_executable()
    with empty_redis(Cores.split()) as made:
        yield made


def test_everybody_renews_as_often_as_wsadapter_does_by_default() -> None:
    assert settings.beat_seconds == BEAT_SECONDS
    assert settings.lease_seconds == LEASE_SECONDS


@pytest.fixture(scope="module")
def report() -> Report:
    redis_executable()
    return Report({}, {}, "", results(TINY, Cores.split()))


def cost(report: Report, system: str) -> Result:
    return next(each for each in report.of("presence_cost") if each.system == system)


def test_a_lease_for_each_connection_costs_a_command_for_each(report: Report) -> None:
    for way in (WAYS[0], WAYS[1], WAYS[3], WAYS[4]):
        assert cost(report, way.name).values["commands"] == pytest.approx(12, rel=0.01)
    assert cost(report, OURS).values["commands"] < 1.5  # of four hundred connections


def test_a_lease_for_each_connection_costs_more_bytes_whatever_the_way(report: Report) -> None:
    for way in WAYS:
        assert cost(report, way.name).values["bytes"] > 2 * cost(report, OURS).values["bytes"]


def test_every_question_is_asked_and_every_phase_is_gone_through(report: Report) -> None:
    cost, asked, held = shown.tables(report)
    assert len(cost.rows) == 1 + len(WAYS)
    assert [row[0] for row in asked.rows] == list(QUESTIONS.values())
    assert all(row[1] != "–" for row in asked.rows)
    assert [row[0] for row in held.rows] == list(PHASES.values())
    assert all(int(row[1]) > 0 for row in held.rows)


def test_scripts_are_timed_by_redis(trial: Trial) -> None:
    slow = "local n = 0; for i = 1, 3000000 do n = n + i end; return n"
    held = Meter(trial.client).held(lambda: [trial.client.eval(slow, 0), trial.client.ping()])
    assert held.scripts == 1
    assert 1 < held.p50_ms <= held.p99_ms <= held.max_ms


def test_what_the_questions_take_is_not_in_what_they_find_out(trial: Trial) -> None:
    meter = Meter(trial.client)
    assert meter.usage(lambda: None).commands == 0
    usage = meter.usage(lambda: [trial.client.set("key", "x" * 1000) for _ in range(3)])
    assert usage.commands == 3
    assert 3000 < usage.bytes_in < 3300
    assert usage.times(2).commands == 6


def test_those_whose_lease_ends_are_gone_until_they_are_put_back(trial: Trial) -> None:
    cluster = trial.cluster(TINY)
    cluster.fill()
    cluster.join_groups(range(4))
    cluster.kill([0, 1])
    assert trial.store.run(OnlineCount()) == trial.store.run(MemberCount(EVERYBODY)) == 200
    cluster.reap()
    # Each of these users had a connection on either, both of them in one group.
    assert len(cluster.take_due()) == 100 * len(["offline", EVERYBODY, "one room", "another"])
    cluster.restore([0, 1])
    cluster.join_groups([0, 1])
    assert trial.store.run(OnlineCount()) == trial.store.run(MemberCount(EVERYBODY)) == 400


def test_an_answer_that_is_wrong_ends_the_run(trial: Trial) -> None:
    cluster = trial.cluster(TINY)
    cluster.fill()
    cluster.join_groups(range(4))
    answers = {name: cluster.store.run(op) for name, op in questions(cluster).items()}
    check_answers(cluster, answers)
    with pytest.raises(WrongAnswer, match=r"400.* 399"):
        check_answers(cluster, answers | {"online_count": 399})
