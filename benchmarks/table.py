"""The report as tables: for a terminal, and in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.results import Report, Result

#: What everything is compared with.
STOCK = "Channels, pub/sub layer, uvicorn"
#: The same on the server that stands at the end of a name of wsadapter's.
STOCK_ON = {"uvicorn": STOCK, "daphne": "Channels, pub/sub layer, daphne"}
#: What echoes are compared with, on the same server: a heading, and a name without the server.
ECHO_RIVALS = {
    "× stock": "Channels, JSON, pydantic",
    "× stock, unchecked": "Channels, JSON, unchecked",
    "× chanx": "chanx",
}
LIMIT = "C loop"
ABSENT = "–"


@dataclass(frozen=True)
class Table:
    """A title, a note below it, the headings and the rows; the first column holds names.

    Attributes:
        footnotes: below the rows.
    """

    title: str
    note: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    footnotes: Sequence[str] = ()

    def as_text(self, *, bold: Callable[[str], str] = str) -> str:
        widths = [max(map(len, column)) for column in zip(self.headings, *self.rows, strict=True)]
        rule = "─" * (sum(widths) + 3 * (len(widths) - 1))
        lines = [bold(self.title), self.note, rule, _line(self.headings, widths), rule]
        for row in self.rows:
            line = _line(row, widths)
            lines.append(bold(line) if row[0].startswith("wsadapter") else line)
        return "\n".join([*(line for line in lines if line), rule, *self.footnotes])

    def as_markdown(self) -> str:
        separators = ["---", *["---:"] * (len(self.headings) - 1)]
        grid = [self.headings, separators, *self.rows]
        lines = ["| " + " | ".join(row) + " |" for row in grid]
        top = f"**{self.title}.** {self.note}".rstrip()
        below = ["", " ".join(self.footnotes)] if self.footnotes else []
        return "\n".join([top, "", *lines, *below])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    name, *numbers = (
        cell.ljust(width) if index == 0 else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "   ".join([name, *numbers]).rstrip()


def tables(report: Report, makers: Mapping[str, Maker] | None = None) -> Iterator[Table]:
    """All tables for which the report has results.

    Args:
        makers: by the names of measures; None: those of ``python -m benchmarks``.
    """
    for measure, make in (makers or MAKERS).items():
        for size in report.sizes(measure):
            yield make(report, report.of(measure, size), size)


def _closed(report: Report, results: Sequence[Result], size: int) -> Table:
    better = Comparison(results, "p50_ms", smaller_is_better=True)
    return Table(
        f"One message to {grouped(size)} connections",
        "Milliseconds until the last one has it; the next message follows then.",
        ["", "p50 ms", "p99 ms", "rounds", *RATIOS, "÷ C loop", *CPU_HEADINGS],
        [
            [
                result.system,
                number(result, "p50_ms", 1),
                number(result, "p99_ms", 1),
                number(result, "rounds"),
                *better.ratios(result),
                better.to_limit(result),
                *_cpu(result),
            ]
            for result in results
        ],
        _notes(results, FEW_ROUNDS, SAME_SERVER, METERED, PATIENT, NCHAN),
    )


def _burst(report: Report, results: Sequence[Result], size: int) -> Table:
    better = Comparison(results, "deliveries_per_second")
    return Table(
        f"A burst of {bursts(results)} messages to {grouped(size)} connections",
        "Deliveries a second, until the last connection has the last message.",
        ["", "deliveries/s", *RATIOS, "× C loop", *CPU_HEADINGS],
        [
            [
                result.system,
                number(result, "deliveries_per_second"),
                *better.ratios(result),
                better.to_limit(result),
                *_cpu(result),
            ]
            for result in results
        ],
        _notes(results, ONE_SEND, SAME_SERVER, SOCKETIO, METERED, PATIENT, NCHAN),
    )


RATIOS = ("× stock", "× stock, same server", "× best peer")
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
        _notes(results, NCHAN),
    )


def _connect(report: Report, results: Sequence[Result], size: int) -> Table:
    more = Comparison(results, "connects_per_second")
    return Table(
        f"Connecting, up to {grouped(size)}",
        "wsadapter and Channels load a Django session and its user; the others know nobody.",
        ["", "connects/s", *RATIOS, "client CPU"],
        [
            [
                result.system,
                number(result, "connects_per_second"),
                *more.ratios(result),
                percent(result, "client_cpu"),
            ]
            for result in results
        ],
        _notes(results, SAME_SERVER, PATIENT, NCHAN),
    )


def _idle(report: Report, results: Sequence[Result], size: int) -> Table:
    memory, cpu = Comparison(results, "kib_per_connection"), Comparison(results, "cpu")
    return Table(
        f"{grouped(size)} idle connections",
        "With the heartbeats that each system has by default, or that its README recommends.",
        [
            *("", "KiB per connection", "× stock, same server", "server CPU"),
            *("× stock, same server", "Redis commands per connection and minute"),
        ],
        [
            [
                result.system,
                number(result, "kib_per_connection", 1),
                memory.to_stock_on_same_server(result),
                percent(result, "cpu", 1),
                cpu.to_stock_on_same_server(result),
                number(result, "redis_commands_per_connection_minute", 3),
            ]
            for result in results
        ],
        _notes(results, LESS_IS_BETTER, NCHAN),
    )


def _storm(report: Report, results: Sequence[Result], size: int) -> Table:
    sooner = Comparison(results, "seconds", smaller_is_better=True)
    return Table(
        f"{grouped(size)} handshakes at once",
        "None waits for another; one client who is there already sends a ping every 50 ms.",
        [
            *("", "accepted", "seconds until the last", "× stock, same server"),
            *("ping, median ms", "ping, worst ms", "client CPU"),
        ],
        [
            [
                result.system,
                number(result, "accepted"),
                number(result, "seconds", 1),
                sooner.to_stock_on_same_server(result),
                number(result, "p50_ping_ms", 1),
                number(result, "worst_ping_ms", 1),
                percent(result, "client_cpu"),
            ]
            for result in results
        ],
        _notes(results, BACKLOG, SLOW_DAPHNE),
    )


def _lanes(report: Report, results: Sequence[Result], size: int) -> Table:
    return Table(
        f"Order in each lane, {grouped(size)} connections",
        "A bulk of four priorities: in every lane nothing was lost, doubled or out of order.",
        ["", "messages", "overtaken by a later one"],
        [
            [result.system, number(result, "messages"), number(result, "overtaken")]
            for result in results
        ],
    )


def _compressed(report: Report, results: Sequence[Result], size: int) -> Table:
    return Table(
        f"Compressed bursts to {grouped(size)} connections",
        "permessage-deflate without context takeover, beside the same messages plain.",
        ["", "deliveries/s", "plain", "share of plain", "bytes", "plain bytes", "client CPU"],
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
        ["", "one: deliveries/s", "two: deliveries/s", "two ÷ one", "client CPU"],
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


def _echo(report: Report, results: Sequence[Result], size: int) -> Table:
    rates = {result.system: result.values["messages_per_second"] for result in results}
    return Table(
        f"Echoes on {grouped(size)} connection{'s' if size > 1 else ''}",
        "Messages a second, there and back: JSON of 200 bytes and five fields.",
        ["", "messages/s", *ECHO_RIVALS, "server CPU", "client CPU"],
        [
            [
                result.system,
                number(result, "messages_per_second"),
                *(_times_rival(result.system, rival, rates) for rival in ECHO_RIVALS.values()),
                percent(result, "server_cpu"),
                percent(result, "client_cpu"),
            ]
            for result in results
        ],
        _notes(results, UNDER_WAY, RIVALS, UNCHECKED),
    )


def _times_rival(system: str, rival: str, rates: Mapping[str, float]) -> str:
    """How many times as fast as the rival on the server that stands in the system's name."""
    server = next((server for server in STOCK_ON if server in system), "")
    other = rates.get(f"{rival}, {server}")
    return ratio(rates[system] / other) if other else ABSENT


Maker = Callable[[Report, Sequence[Result], int], Table]

MAKERS: dict[str, Maker] = {
    "closed": _closed,
    "burst": _burst,
    "targeted": _targeted,
    "connect": _connect,
    "idle": _idle,
    "storm": _storm,
    "lanes": _lanes,
    "compressed": _compressed,
    "scale": _scale,
    "echo": _echo,
}


@dataclass(frozen=True)
class Footnote:
    """Stands below a table that has a system with this in its name."""

    text: str
    of: str = ""


FEW_ROUNDS = Footnote("p99 of fewer than a hundred rounds is that of the slowest one.")
SAME_SERVER = Footnote(
    '"× stock" is stock Channels on uvicorn; "same server" is wsadapter beside stock Channels '
    "on that server, where it was measured.",
    of="wsadapter",
)
LESS_IS_BETTER = Footnote("Here × is how much of what stock Channels takes: less is better.")
ONE_SEND = Footnote(
    "The C loop pays one send() for each frame; what joins frames passes it.", of=LIMIT
)
SOCKETIO = Footnote(
    "python-socketio has no batches: its burst is one emit() after another.", of="python-socketio"
)
BACKLOG = Footnote("All servers were started with a backlog of 4 096 handshakes.")
SLOW_DAPHNE = Footnote(
    "daphne by default refuses handshakes that take more than 5 seconds; here it had 60.",
    of="daphne",
)
NCHAN = Footnote("nchan keeps its messages in nginx's memory: it runs without Redis.", of="nchan")
METERED = Footnote(
    '"With metrics" counts for Prometheus, in the server and in the publisher.', of="with metrics"
)
PATIENT = Footnote(
    '"Patient collector" is a variant: no aim is read from it.', of="patient collector"
)

UNDER_WAY = Footnote("Of each connection 20 messages are under way at most.")
RIVALS = Footnote("Each is compared with the others on its own server.")
UNCHECKED = Footnote(
    '"Unchecked" takes any JSON; all others validate each message.', of="unchecked"
)


def _notes(results: Sequence[Result], *footnotes: Footnote) -> list[str]:
    return [
        footnote.text
        for footnote in footnotes
        if any(footnote.of in result.system for result in results)
    ]


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
        self._stock_on = {
            server: self._of(one)
            for server, stock in STOCK_ON.items()
            for one in every
            if one.system == stock
        }
        self._limit = next((self._of(one) for one in every if one.system == LIMIT), None)
        peers = [self._of(one) for one in every if one.family == "peer"]
        self._peer = (min if smaller_is_better else max)(peers) if peers else None

    def _of(self, result: Result) -> float:
        return result.values[self._name]

    def to_stock(self, result: Result) -> str:
        return self._times_better(result, self._stock)

    def to_stock_on_same_server(self, result: Result) -> str:
        """Of wsadapter's systems; the others have no counterpart in stock Channels."""
        if result.family != "wsadapter":
            return ABSENT
        server = next((server for server in STOCK_ON if server in result.system), "")
        return self._times_better(result, self._stock_on.get(server))

    def ratios(self, result: Result) -> list[str]:
        """As `RATIOS` has them."""
        return [
            self.to_stock(result),
            self.to_stock_on_same_server(result),
            self.to_peer(result),
        ]

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
    return f"{value:.2f}" if value < 10 else grouped(value)


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
