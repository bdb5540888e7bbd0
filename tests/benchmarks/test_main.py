"""What becomes of a report once it is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import __main__ as main
from benchmarks import shown
from benchmarks.__main__ import PARTIAL, default_output, keep, parser
from benchmarks.results import Report
from tests.benchmarks.reports import report


def output(*arguments: str, made: Report | None = None, whole: bool = True) -> Path | None:
    return default_output(parser().parse_args(arguments), made or report(), whole=whole)


def test_a_whole_run_is_what_the_documentation_shows() -> None:
    assert output() is None


def test_systems_that_are_not_installed_may_be_missing_from_it() -> None:
    made = report()
    made.missing["nginx nchan"] = "nginx is not installed."
    assert output(made=made) is None


@pytest.mark.parametrize(
    "arguments",
    [
        ["--quick"],
        ["--profile"],
        ["--only", "daphne"],
        ["--measure", "burst"],
        ["--connections", "100"],
    ],
)
def test_less_than_everything_is_not(arguments: list[str]) -> None:
    assert output(*arguments) == PARTIAL


def test_a_run_that_failed_or_was_interrupted_is_not() -> None:
    made = report()
    made.failures["daphne, burst"] = "Lost: nothing came"
    assert output(made=made) == PARTIAL
    assert output(whole=False) == PARTIAL


def test_what_is_shown_is_replaced_by_a_whole_run(monkeypatch: pytest.MonkeyPatch) -> None:
    replaced: list[Report] = []
    monkeypatch.setattr(shown, "replace", replaced.append)
    keep(report(), None)
    assert replaced == [report()]


def test_what_is_shown_stays_otherwise_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    partial = tmp_path / "build" / "benchmark"
    monkeypatch.setattr(main, "PARTIAL", partial)
    before = shown.RESULTS.read_bytes(), shown.PAGE.read_bytes()
    keep(report(), partial)
    assert Report.read(partial / "results.json") == report()
    assert (partial / "benchmark.svg").read_text().startswith("<svg")
    assert (shown.RESULTS.read_bytes(), shown.PAGE.read_bytes()) == before
    said = capsys.readouterr().out
    assert str(partial / "results.json") in said
    assert "as they were" in said
