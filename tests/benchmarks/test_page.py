"""What docs/performance.md shows is what was measured."""

from __future__ import annotations

from benchmarks.__main__ import as_markdown
from benchmarks.processes import ROOT
from benchmarks.results import Report

BEGIN, END = "<!-- benchmark: begin -->", "<!-- benchmark: end -->"


def test_the_page_has_the_tables_of_the_results() -> None:
    page = (ROOT / "docs/performance.md").read_text()
    shown = page.partition(BEGIN)[2].partition(END)[0].strip()
    assert shown == as_markdown(Report.read(ROOT / "benchmarks/results.json")).strip()
