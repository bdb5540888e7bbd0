"""What docs/performance.md shows is what was measured."""

from __future__ import annotations

from benchmarks.results import Report
from benchmarks.shown import BEGIN, END, PAGE, RESULTS, as_markdown


def test_the_page_has_the_tables_of_the_results() -> None:
    tables = PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip()
    assert tables == as_markdown(Report.read(RESULTS)).strip()
