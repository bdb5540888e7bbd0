"""What clients see of a deploy, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.results import Report, Result
from benchmarks.table import Table, grouped

DRAINED, UNDRAINED = "SIGTERM, DRAIN_SECONDS {:g}", "SIGTERM, DRAIN_SECONDS 0"

#: What is shown: its name, how the table says it, and with how many decimals.
ROWS = (
    ("moved", "clients that had to move", 0),
    ("attempts", "attempts to come back", 0),
    ("peak_per_second", "at most, in one second", 0),
    ("promised_peak", "at most, by what the spread promises", 0),
    ("back_seconds", "seconds until the last was back", 1),
    ("p50_away_seconds", "seconds away, median", 2),
    ("longest_away_seconds", "seconds away, longest", 2),
    ("missed_by_moved", "messages missed by each that moved, of one a second", 2),
    ("missed_by_others", "messages missed by all others together", 0),
    ("slowest_seconds", "seconds that a message took, longest", 2),
    ("gave_up", "clients that gave up", 0),
    ("count_error", "by how much a count was off", 0),
    ("announced_gone", "users announced as gone", 0),
)


def _deploy_table(report: Report, results: Sequence[Result], size: int) -> Table:
    return Table(
        f"A deploy under {grouped(size)} clients",
        "One of two server processes is replaced, while 50 messages are sent a second.",
        ["", *(result.system for result in results)],
        [
            [text, *(grouped(result.values[name], decimals) for result in results)]
            for name, text, decimals in ROWS
        ],
        [
            "Clients are those for Python; each message goes to one in 50 of them."
            " A count may be off by those who came or left within a second of it."
        ],
    )


MAKERS = {"deploy": _deploy_table}
