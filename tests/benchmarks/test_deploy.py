"""What is made of a deploy; tests/system/test_deploy.py has a real one."""

from __future__ import annotations

import math

import pytest

from benchmarks.deploy import Outcome
from benchmarks.deploy_table import ROWS
from benchmarks.moves import Client, Count, Stay
from benchmarks.results import Report, Result
from benchmarks.shown import tables


def client(*stays: Stay, missed: int = 0) -> Client:
    attempts = [stay.began - 0.25 for stay in stays]
    return Client(stays, attempts, missed=missed, repeated=0, slowest_seconds=0.125, failure=None)


#: Two stayed, one came back after half of a second, and one after one and a half.
OUTCOME = Outcome(
    clients=[
        client(Stay(1.0, math.inf, 81)),
        client(Stay(1.0, math.inf, 81)),
        client(Stay(1.0, 10.0, 80), Stay(10.5, math.inf, 82), missed=1),
        client(Stay(1.0, 14.0, 80), Stay(15.5, math.inf, 82), missed=4),
    ],
    told_at=10.0,
    counts=[Count(10.0, 10.0, 4), Count(14.5, 14.5, 3), Count(30.0, 30.0, 1)],
    final_count=4,
    announced_gone=[3],
    drain_seconds=8,
)


def test_what_became_of_the_clients_is_counted() -> None:
    values = OUTCOME.values()
    assert (values["moved"], values["attempts"], values["peak_per_second"]) == (2, 2, 1)
    assert values["back_seconds"] == 5.5
    assert (values["p50_away_seconds"], values["longest_away_seconds"]) == (1.0, 1.5)
    assert (values["missed_by_moved"], values["missed_by_others"]) == (2.5, 0)
    assert (values["gave_up"], values["announced_gone"]) == (0, 1)
    assert values["slowest_seconds"] == 0.125
    assert values["count_error"] == 3


def test_half_of_the_clients_are_told_and_the_promise_is_about_them() -> None:
    assert OUTCOME.promised_peak() == pytest.approx(2 * 1.4 / 8)


def test_each_number_has_a_row_and_each_deploy_a_column() -> None:
    names = ("with a drain", "without one")
    made = [Result(name, "wsadapter", "deploy", 4, OUTCOME.values()) for name in names]
    (table,) = tables(Report({}, {}, "", made))
    assert list(table.headings) == ["", *names]
    assert OUTCOME.values().keys() == {name for name, _, _ in ROWS}
    assert [row[1] for row in table.rows][:2] == ["2", "2"]
    assert all(row[1] == row[2] for row in table.rows)
