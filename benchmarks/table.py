"""The report as tables: for a terminal, and in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.results import Report, Result

#: What everything is compared with.
STOCK = "Channels, pub/sub layer, uvicorn"
LIMIT = "C loop"
ABSENT = "–"


@dataclass(frozen=True)
class Table:
    """A title, a note below it, the headings and the rows; the first column holds names."""

    title: str
    note: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]

    def as_text(self, *, bold: Callable[[str], str] = str) -> str:
        widths = [max(map(len, column)) for column in zip(self.headings, *self.rows, strict=True)]
        rule = "─" * (sum(widths) + 3 * (len(widths) - 1))
        lines = [bold(self.title), self.note, rule, _line(self.headings, widths), rule]
        for row in self.rows:
            line = _line(row, widths)
            lines.append(bold(line) if row[0].startswith("wsadapter") else line)
        return "\n".join([*(line for line in lines if line), rule])

    def as_markdown(self) -> str:
        separators = ["---", *["---:"] * (len(self.headings) - 1)]
        grid = [self.headings, separators, *self.rows]
        lines = ["| " + " | ".join(row) + " |" for row in grid]
        return "\n".join([f"**{self.title}.** {self.note}".rstrip(), "", *lines])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    name, *numbers = (
        cell.ljust(width) if index == 0 else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "   ".join([name, *numbers]).rstrip()


def tables(report: Report) -> Iterator[Table]:
    """All tables for which the report has results."""
    for measure, make in MAKERS.items():
        for size in report.sizes(measure):
            yield make(report, report.of(measure, size), size)


def _closed(report: Report, results: Sequence[Result], size: int) -> Table:
    better = Comparison(results, "p50_ms", smaller_is_better=True)
    return Table(
        f"One message to {grouped(size)} connections",
        "Milliseconds until the last one has it; the next message follows then.",
        ["", "p50 ms", "p99 ms", "× stock", "× best peer", "÷ C loop", *CPU_HEADINGS],
        [
            [
                result.system,
                number(result, "p50_ms", 1),
                number(result, "p99_ms", 1),
                better.to_stock(result),
                better.to_peer(result),
                better.to_limit(result),
                *_cpu(result),
            ]
            for result in results
        ],
    )


def _burst(report: Report, results: Sequence[Result], size: int) -> Table:
    better = Comparison(results, "deliveries_per_second")
    return Table(
        f"A burst of {bursts(results)} messages to {grouped(size)} connections",
        "Deliveries a second, until the last connection has the last message.",
        ["", "deliveries/s", "× stock", "× best peer", "× C loop", *CPU_HEADINGS],
        [
            [
                result.system,
                number(result, "deliveries_per_second"),
                better.to_stock(result),
                better.to_peer(result),
                better.to_limit(result),
                *_cpu(result),
            ]
            for result in results
        ],
    )


CPU_HEADINGS = ("server CPU", "client CPU", "publisher CPU")


def _cpu(result: Result) -> list[str]:
    return [percent(result, name) for name in ("server_cpu", "client_cpu", "publisher_cpu")]


def bursts(results: Iterable[Result]) -> str:
    """How many messages: 50, and fewer where a system is too slow for so many."""
    sizes = sorted({int(result.values["messages"]) for result in results})
    if len(sizes) < 2:
        return "".join(map(str, sizes))
    return f"{sizes[-1]} ({sizes[0]} at the slowest)"


def _targeted(report: Report, results: Sequence[Result], size: int) -> Table:
    more = Comparison(results, "calls_per_second")
    return Table(
        "Sends to one user from synchronous code",
        "Every message is seen to arrive, in order.",
        ["", "calls/s", "p50 µs", "p99 µs", "× stock", "× best peer", "Redis connections opened"],
        [
            [
                result.system,
                number(result, "calls_per_second"),
                number(result, "p50_us"),
                number(result, "p99_us"),
                more.to_stock(result),
                more.to_peer(result),
                number(result, "redis_connections_opened"),
            ]
            for result in results
        ],
    )


def _connect(report: Report, results: Sequence[Result], size: int) -> Table:
    more = Comparison(results, "connects_per_second")
    return Table(
        f"Connecting, up to {grouped(size)}",
        "wsadapter and Channels load a Django session and its user; the others know nobody.",
        ["", "connects/s", "× stock", "client CPU"],
        [
            [
                result.system,
                number(result, "connects_per_second"),
                more.to_stock(result),
                percent(result, "client_cpu"),
            ]
            for result in results
        ],
    )


def _idle(report: Report, results: Sequence[Result], size: int) -> Table:
    return Table(
        f"{grouped(size)} idle connections",
        "With the heartbeats that each system has by default.",
        ["", "KiB per connection", "server CPU", "Redis commands per connection and minute"],
        [
            [
                result.system,
                number(result, "kib_per_connection", 1),
                percent(result, "cpu", 1),
                number(result, "redis_commands_per_connection_minute", 3),
            ]
            for result in results
        ],
    )


def _compressed(report: Report, results: Sequence[Result], size: int) -> Table:
    return Table(
        f"Compressed bursts to {grouped(size)} connections",
        "permessage-deflate without context takeover, beside the same messages uncompressed.",
        ["", "deliveries/s", "uncompressed", "of it", "bytes", "uncompressed", "client CPU"],
        [
            [
                result.system,
                number(result, "deliveries_per_second"),
                number(result, "plain_deliveries_per_second"),
                number(result, "of_plain", 2),
                number(result, "bytes_per_message"),
                number(result, "plain_bytes_per_message"),
                percent(result, "client_cpu"),
            ]
            for result in results
        ],
    )


def _scale(report: Report, results: Sequence[Result], size: int) -> Table:
    return Table(
        f"Bursts to {grouped(size)} connections from one and two server processes",
        "On two cores, the second process shares its core with Redis, publisher and load client.",
        ["", "one: deliveries/s", "two: deliveries/s", "two by one", "client CPU"],
        [
            [
                result.system,
                number(result, "one_deliveries_per_second"),
                number(result, "two_deliveries_per_second"),
                number(result, "two_by_one", 2),
                percent(result, "client_cpu"),
            ]
            for result in results
        ],
    )


MAKERS: dict[str, Callable[[Report, Sequence[Result], int], Table]] = {
    "closed": _closed,
    "burst": _burst,
    "targeted": _targeted,
    "connect": _connect,
    "idle": _idle,
    "compressed": _compressed,
    "scale": _scale,
}


class Comparison:
    """How many times better than stock Channels, the best peer and the limit a result is.

    Where smaller is better, the limit is the exception: how many times as long it takes.
    """

    def __init__(
        self, results: Iterable[Result], name: str, *, smaller_is_better: bool = False
    ) -> None:
        every = list(results)
        self._name = name
        self._smaller_is_better = smaller_is_better
        self._stock = next((self._of(one) for one in every if one.system == STOCK), None)
        self._limit = next((self._of(one) for one in every if one.system == LIMIT), None)
        peers = [self._of(one) for one in every if one.family == "peer"]
        self._peer = (min if smaller_is_better else max)(peers) if peers else None

    def _of(self, result: Result) -> float:
        return result.values[self._name]

    def to_stock(self, result: Result) -> str:
        return self._times_better(result, self._stock)

    def to_peer(self, result: Result) -> str:
        return self._times_better(result, self._peer)

    def to_limit(self, result: Result) -> str:
        return ratio(self._of(result) / self._limit) if self._limit else ABSENT

    def _times_better(self, result: Result, other: float | None) -> str:
        if not other:
            return ABSENT
        own = self._of(result)
        return ratio(other / own if self._smaller_is_better else own / other)


def ratio(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def number(result: Result, name: str, decimals: int = 0) -> str:
    return grouped(result.values[name], decimals)


def percent(result: Result, name: str, decimals: int = 0) -> str:
    return f"{100 * result.values[name]:.{decimals}f} %"


def grouped(value: float, decimals: int = 0) -> str:
    """Digits in groups of three: 1 234 567.8."""
    return f"{value:,.{decimals}f}".replace(",", " ")


def heading(report: Report) -> str:
    """The machine, the versions and the date, in a few lines."""
    machine = report.machine
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    return (
        f"{report.date}: {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {machine['system']}\n{versions}"
    )


def remarks(report: Report) -> str:
    """What was profiled, what did not run, and what failed."""
    lines = [
        f"Where the time of {what} went:\n{_indented(text)}"
        for what, text in report.profiles.items()
    ]
    lines += [f"Not measured: {name}. {what}" for name, what in report.missing.items()]
    lines += [f"FAILED: {what}\n{_indented(text)}" for what, text in report.failures.items()]
    return "\n".join(lines)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
