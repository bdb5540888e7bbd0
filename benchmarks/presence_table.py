"""What presence costs, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.leases import BEAT_SECONDS, WAYS
from benchmarks.results import Report, Result, Values
from benchmarks.table import ABSENT, Table, grouped, ratio
from wsadapter.store.operations import PAGE_SIZE

OURS = "wsadapter, a lease per process"
PEER = WAYS[0].name

#: What is asked, and how the table says it.
QUESTIONS = {
    "online_count": "how many connections",
    "online_user_count": "how many users",
    "is_online": "whether a user is online",
    "find_client": "the connection of a client id",
    "first_page": f"the first {PAGE_SIZE} connections",
    "middle_page": f"{PAGE_SIZE} connections from the middle",
    "member_count": "how many members of a group of everybody",
    "member_page": f"the first {PAGE_SIZE} members of it",
    "middle_members": f"{PAGE_SIZE} members from the middle",
}

#: What is done to the cluster, in this order, and how the table says it.
PHASES = {
    "joins": "everybody joins, 64 in a call",
    "groups": "each is put into two announced groups",
    "beats": "a minute of beats",
    "pages": "all pages of connections and of members",
    "reap": "half of the leases end: reaping their connections",
    "due": "taking the transitions that are due by that",
    "restore": "their connections are put back under new leases",
}


def _cost_table(report: Report, found: Sequence[Result], size: int) -> Table:
    ours = next((result.values for result in found if result.system == OURS), None)
    return Table(
        f"What {grouped(size)} connections cost Redis by being there",
        "For each connection and minute, while nobody comes, goes or asks.",
        ["", "commands", "× ours", "bytes both ways", "× ours", "Redis CPU µs", "× ours"],
        [[each.system, *_beside(each.values, ours)] for each in found],
        [
            f"Everybody renews every {BEAT_SECONDS:g} seconds. Commands inside of scripts count."
            " Bytes are those of the connections to Redis, both ways."
        ],
    )


def _beside(values: Values, ours: Values | None) -> Iterator[str]:
    for name, decimals in (("commands", 3), ("bytes", 1), ("cpu_us", 2)):
        yield grouped(values[name], decimals)
        # What takes less than the clock of Redis tells has no ratio.
        yield ratio(values[name] / ours[name]) if ours and ours[name] > 0 else ABSENT


def _question_table(report: Report, found: Sequence[Result], size: int) -> Table:
    by_system = {result.system: result.values for result in found}
    asked = [by_system.get(OURS, {}), by_system.get(PEER, {})]
    headings = [f"{name}, {rank} µs" for name in ("wsadapter", "ZADD") for rank in ("p50", "p99")]
    return Table(
        f"What it takes to ask about {grouped(size)} connections",
        "From synchronous code, one question after the other.",
        ["", *headings],
        [
            [text, *(cell for values in asked for cell in _times(values, name))]
            for name, text in QUESTIONS.items()
        ],
        [
            "Beside wsadapter stands the sorted set of the table above, whose pages have ids only."
            " What it cannot answer would need more sets, each of them renewed as often."
        ],
    )


def _times(values: Values, question: str) -> list[str]:
    names = [f"{question}.{rank}_us" for rank in ("p50", "p99")]
    return [grouped(values[name]) if name in values else ABSENT for name in names]


def _script_table(report: Report, found: Sequence[Result], size: int) -> Table:
    values = found[0].values
    return Table(
        f"For how long a script holds Redis, {grouped(size)} connections",
        "Milliseconds in which Redis serves nobody else.",
        ["", "scripts", "p50 ms", "p99 ms", "longest, ms"],
        [
            [
                text,
                grouped(values[f"{name}.scripts"]),
                grouped(values[f"{name}.p50_ms"], 2),
                grouped(values[f"{name}.p99_ms"], 2),
                grouped(values[f"{name}.max_ms"], 2),
            ]
            for name, text in PHASES.items()
        ],
        ["By the slow log of Redis; 0.00 is less than 0.05."],
    )


MAKERS = {
    "presence_cost": _cost_table,
    "presence_questions": _question_table,
    "presence_scripts": _script_table,
}
