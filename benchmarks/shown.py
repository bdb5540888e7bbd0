"""What the documentation shows: results, a chart, and the tables in docs/performance.md.

A whole run of ``python -m benchmarks`` makes all of it anew. What has a script of its own is put
in place of what that script has found before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks import deploy_table, presence_table, table
from benchmarks.chart import chart
from benchmarks.processes import ROOT
from benchmarks.results import Report, Result
from benchmarks.table import Table, heading, remarks

RESULTS = ROOT / "benchmarks" / "results.json"
IMAGE = ROOT / "docs" / "images" / "benchmark.svg"
PAGE = ROOT / "docs" / "performance.md"

#: Between these the page has the tables.
BEGIN, END = "<!-- benchmark: begin -->", "<!-- benchmark: end -->"

#: The tables of measures that have a script of their own.
OF_SCRIPTS = {**presence_table.MAKERS, **deploy_table.MAKERS}


def tables(report: Report) -> Iterator[Table]:
    """All tables for which the report has results."""
    return table.tables(report, {**table.MAKERS, **OF_SCRIPTS})


def as_text(report: Report, bold: Callable[[str], str] = str) -> str:
    return _assembled(report, [table.as_text(bold=bold) for table in tables(report)])


def as_markdown(report: Report) -> str:
    """The tables as the page has them."""
    return _assembled(report, [table.as_markdown() for table in tables(report)])


def _assembled(report: Report, parts: Sequence[str]) -> str:
    return "\n\n".join(filter(None, [heading(report), *parts, remarks(report)]))


def replace(report: Report) -> None:
    """Show a whole run; what scripts of their own have found stays beside it."""
    report.put(of_scripts(Report.read(RESULTS)) if RESULTS.exists() else [])
    _show(report)


def add(results: Sequence[Result]) -> None:
    """Show what a script has found, in place of what it had found before."""
    report = Report.read(RESULTS)
    report.put(results)
    _show(report)


def of_scripts(report: Report) -> list[Result]:
    return [result for result in report.results if result.measure in OF_SCRIPTS]


def _show(report: Report) -> None:
    write(report, RESULTS, IMAGE)
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{as_markdown(report)}\n\n{END}{after}")
    print(f"\nKept in {RESULTS}, {IMAGE} and {PAGE}.")


def write(report: Report, results: Path, image: Path) -> None:
    for file in (results, image):
        file.parent.mkdir(parents=True, exist_ok=True)
    report.write(results)
    image.write_text(chart(report))
