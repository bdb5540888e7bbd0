from __future__ import annotations

from xml.etree import ElementTree

import pytest

from benchmarks.chart import bursts, chart, fan_outs, short
from benchmarks.results import Report, Result
from tests.benchmarks.reports import report

SVG = "{http://www.w3.org/2000/svg}"


def texts(made: Report) -> list[str]:
    return [
        element.text or "" for element in ElementTree.fromstring(chart(made)).iter(f"{SVG}text")
    ]


def test_the_chart_is_well_formed_and_names_every_system() -> None:
    shown = texts(report())
    for name in ("wsadapter, uvicorn", "a fast <peer>", "C loop"):
        assert shown.count(name) == 2


def test_the_fastest_is_on_top() -> None:
    assert [row.name for row in bursts(report()).rows][:2] == ["C loop", "wsadapter, uvicorn"]
    assert [row.name for row in fan_outs(report()).rows][:2] == ["C loop", "wsadapter, uvicorn"]


def test_both_sizes_are_shown_beside_each_other() -> None:
    assert [bar.label for bar in bursts(report()).rows[0].bars] == ["200 k", "200 k"]
    assert [bar.label for bar in fan_outs(report()).rows[0].bars] == ["5.0 ms", "25.0 ms"]
    assert "A burst of messages to 1 000 and 5 000 connections" in texts(report())


def test_variants_are_left_to_the_tables() -> None:
    made = report()
    values = made.results[0].values
    made.results.append(Result("uvicorn, not joined", "wsadapter", "burst", 1000, values))
    assert "uvicorn, not joined" not in texts(made)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7.4, "7.4"),
        (3012.0, "3.01 k"),
        (265_432.0, "265 k"),
        (999_999.0, "1 M"),
        (2.845e6, "2.85 M"),
    ],
)
def test_large_numbers_are_short(value: float, text: str) -> None:
    assert short(value) == text


def test_bars_are_as_long_as_their_values() -> None:
    root = ElementTree.fromstring(chart(report()))
    bars = [bar for bar in root.iter(f"{SVG}rect") if bar.get("fill")][0:4:2]
    longest, half = (float(bar.get("width", "0")) for bar in bars)
    assert half == longest / 2


def test_the_machine_and_the_way_to_repeat_it_are_said() -> None:
    assert texts(report())[-1] == (
        "A processor, server on one core, 2025-01-31. Repeat it: sh scripts/bench"
    )


def test_without_results_there_is_an_empty_chart() -> None:
    made = report()
    made.results = []
    assert len(texts(made)) == 1
