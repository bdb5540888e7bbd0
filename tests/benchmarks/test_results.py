from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.measures import BURST, SMALLEST_BURST, Effort, Round, burst_size, parts
from benchmarks.results import Report, percentile
from benchmarks.running import PAYLOAD_BYTES, payload
from benchmarks.variants import json_payloads
from tests.benchmarks.reports import report


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = report()
    written.write(tmp_path / "results.json")
    assert Report.read(tmp_path / "results.json") == written


def test_results_are_found_by_measure_and_size() -> None:
    found = report().of("burst", 1000)
    assert [result.system for result in found][:1] == ["wsadapter, uvicorn"]
    assert {result.connections for result in found} == {1000}
    assert report().sizes("burst") == [1000, 5000]


@pytest.mark.parametrize(("percent", "value"), [(50, 50), (99, 99), (100, 100), (1, 1)])
def test_percentiles_are_values_that_occurred(percent: float, value: float) -> None:
    assert percentile(list(range(100, 0, -1)), percent) == value


def test_the_percentile_of_one_number_is_that_number() -> None:
    assert percentile([3.5], 99) == 3.5


def test_payloads_have_one_length_and_a_number_of_their_own() -> None:
    payloads = [payload(number) for number in (1, 2, 999_999)]
    assert {len(text) for text in payloads} == {PAYLOAD_BYTES}
    assert len(set(payloads)) == 3


def test_json_payloads_differ() -> None:
    assert len(set(json_payloads(50))) == 50


@pytest.mark.parametrize(
    ("seconds", "messages"),
    [(0.001, BURST), (8.0, SMALLEST_BURST), (100.0, SMALLEST_BURST), (2.0, 20)],
)
def test_a_slow_system_is_given_a_smaller_burst(seconds: float, messages: int) -> None:
    assert burst_size(seconds) == messages


def test_a_crowd_arrives_in_equal_parts() -> None:
    assert parts(20, 1020, 5) == [220, 420, 620, 820, 1020]


@pytest.mark.parametrize(("least", "most", "seconds", "played"), [(3, 9, 0, 3), (1, 9, 1e9, 9)])
def test_rounds_go_on_until_time_or_number_are_over(
    least: int, most: int, seconds: float, played: int
) -> None:
    rounds = Effort(least, most, seconds).rounds(lambda: Round(1.0, 0.0, 0.0))
    assert len(rounds) == played
