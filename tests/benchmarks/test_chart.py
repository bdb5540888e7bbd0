from __future__ import annotations

from xml.etree import ElementTree

from benchmarks.chart import bursts, chart, fan_outs
from benchmarks.results import Report
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
    assert [bar.label for bar in bursts(report()).bars][:2] == ["200 000", "100 000"]
    assert [bar.label for bar in fan_outs(report()).bars][:2] == ["5.0 ms", "10.0 ms"]


def test_bars_are_as_long_as_their_values() -> None:
    root = ElementTree.fromstring(chart(report()))
    bars = [bar for bar in root.iter(f"{SVG}rect") if bar.get("fill")][:2]
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
