"""What a whole run replaces in the documentation, and what a script of its own does."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import shown
from benchmarks.results import Report, Result
from tests.benchmarks.reports import report


def scripts(milliseconds: float) -> Result:
    """A result of a script of its own."""
    phases = ("joins", "groups", "beats", "pages", "reap", "due", "restore")
    ranks = {"scripts": 3.0, "p50_ms": 1.0, "p99_ms": 1.5, "max_ms": milliseconds}
    values = {f"{phase}.{rank}": value for phase in phases for rank, value in ranks.items()}
    return Result("wsadapter, a lease per process", "wsadapter", "presence_scripts", 20, values)


@pytest.fixture
def documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One that shows nothing yet."""
    monkeypatch.setattr(shown, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(shown, "IMAGE", tmp_path / "benchmark.svg")
    monkeypatch.setattr(shown, "PAGE", tmp_path / "performance.md")
    shown.PAGE.write_text(f"# Performance\n\n{shown.BEGIN}\n\nnothing\n\n{shown.END}\n\nThe end.\n")
    return tmp_path


@pytest.mark.usefixtures("documentation")
def test_a_whole_run_is_written_and_its_tables_are_on_the_page() -> None:
    shown.replace(report())
    assert Report.read(shown.RESULTS) == report()
    assert shown.IMAGE.read_text().startswith("<svg")
    page = shown.PAGE.read_text()
    assert page.startswith(f"# Performance\n\n{shown.BEGIN}\n\n2025-01-31: A processor")
    assert page.endswith(f"{shown.END}\n\nThe end.\n")
    assert "| a slow peer | 40 000 |" in page
    assert "nothing" not in page


@pytest.mark.usefixtures("documentation")
def test_what_a_script_finds_stands_beside_a_whole_run() -> None:
    shown.replace(report())
    shown.add([scripts(1.25)])
    assert Report.read(shown.RESULTS).results == [*report().results, scripts(1.25)]
    assert "| 1.25 |" in shown.PAGE.read_text()


@pytest.mark.usefixtures("documentation")
def test_a_script_replaces_what_it_found_before() -> None:
    shown.replace(report())
    shown.add([scripts(1.25)])
    shown.add([scripts(1.75)])
    assert Report.read(shown.RESULTS).of("presence_scripts") == [scripts(1.75)]
    assert "| 1.25 |" not in shown.PAGE.read_text()


@pytest.mark.usefixtures("documentation")
def test_a_whole_run_leaves_what_scripts_have_found() -> None:
    shown.replace(report())
    shown.add([scripts(1.25)])
    shown.replace(report())
    assert Report.read(shown.RESULTS).results == [*report().results, scripts(1.25)]
