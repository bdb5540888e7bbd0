"""The report as a chart: an SVG without scripts, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.results import Report
from benchmarks.table import grouped

WIDTH, BAR = 700, 14
NAMES, NUMBERS = 300, 74  # room left of the bars and right of them
MARGIN = 20

#: Variants of what is shown anyway; the tables have them.
VARIANTS = ("not joined", "with metrics", "patient collector")

COLOURS = {
    "wsadapter": "#0f8a5f",
    "channels": "#b3541e",
    "peer": "#7a8794",
    "limit": "#3b4450",
}

STYLE = """
    text { font: 14px system-ui, sans-serif; fill: #1d232a }
    .title { font-size: 18px; font-weight: 600 }
    .note { font-size: 13px; fill: #59636e }
    .ours { font-weight: 600 }
    .number { font-size: 13px }
    .more { opacity: 0.5 }
    .page { fill: #ffffff }
    @media (prefers-color-scheme: dark) {
      text { fill: #e8ecf0 }
      .note { fill: #a5afba }
      .page { fill: #14181d }
      .limit { fill: #c3ccd6 }
    }
"""


@dataclass(frozen=True)
class Bar:
    value: float
    label: str


@dataclass(frozen=True)
class Row:
    """A system, and a bar for each number of connections that it was measured at."""

    name: str
    family: str
    bars: Sequence[Bar]

    @property
    def height(self) -> int:
        return 12 + BAR * len(self.bars)

    def drawn(self, top: int, scale: float) -> list[str]:
        start = MARGIN + NAMES
        kind = "ours" if self.family == "wsadapter" else ""
        middle = top + BAR * len(self.bars) / 2 + 5
        lines = [
            f'  <text class="{kind}" x="{start - 10}" y="{middle:g}" text-anchor="end">'
            f"{escape(self.name)}</text>"
        ]
        for index, bar in enumerate(self.bars):
            lines += self._drawn_bar(bar, top + BAR * index, scale, more=index > 0)
        return lines

    def _drawn_bar(self, bar: Bar, y: int, scale: float, *, more: bool) -> list[str]:
        start, length = MARGIN + NAMES, max(1.0, bar.value * scale)
        shade = f"{self.family} more" if more else self.family
        return [
            f'  <rect class="{shade}" x="{start}" y="{y}" width="{length:.1f}" '
            f'height="{BAR - 2}" rx="2" fill="{COLOURS[self.family]}"/>',
            f'  <text class="number" x="{start + length + 6:.1f}" y="{y + BAR - 3}">'
            f"{escape(bar.label)}</text>",
        ]


@dataclass(frozen=True)
class Panel:
    """Rows below a title, the best on top."""

    title: str
    note: str
    rows: Sequence[Row]

    @property
    def height(self) -> int:
        return 76 + sum(row.height for row in self.rows)

    def drawn(self, top: int) -> list[str]:
        longest = max((bar.value for row in self.rows for bar in row.bars), default=1)
        scale = (WIDTH - NAMES - NUMBERS - 2 * MARGIN) / longest
        lines = [
            f'  <text class="title" x="{MARGIN}" y="{top + 32}">{escape(self.title)}</text>',
            f'  <text class="note" x="{MARGIN}" y="{top + 54}">{escape(self.note)}</text>',
        ]
        y = top + 72
        for row in self.rows:
            lines += row.drawn(y, scale)
            y += row.height
        return lines


def chart(report: Report) -> str:
    """The bursts and the full fan-outs, at all sizes."""
    panels = [panel for panel in (bursts(report), fan_outs(report)) if panel.rows]
    height = sum(panel.height for panel in panels) + 44
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" aria-label="Benchmark">',
        f"  <style>{STYLE}  </style>",
        f'  <rect class="page" width="{WIDTH}" height="{height}" rx="8"/>',
    ]
    top = 0
    for panel in panels:
        lines += panel.drawn(top)
        top += panel.height
    source = escape(_source(report))
    lines.append(f'  <text class="note" x="{MARGIN}" y="{top + 26}">{source}</text>')
    return "\n".join([*lines, "</svg>", ""])


def bursts(report: Report) -> Panel:
    return Panel(
        f"A burst of messages to {_sizes(report, 'burst')} connections",
        f"Deliveries per second; more is better.{_legend(report, 'burst')}",
        sorted(
            _rows(report, "burst", "deliveries_per_second", short),
            key=lambda row: -row.bars[0].value,
        ),
    )


def fan_outs(report: Report) -> Panel:
    return Panel(
        f"One message to {_sizes(report, 'closed')} connections",
        f"Median time until the last one has it; less is better.{_legend(report, 'closed')}",
        sorted(
            _rows(report, "closed", "p50_ms", milliseconds),
            key=lambda row: row.bars[0].value,
        ),
    )


def _rows(report: Report, measure: str, name: str, label: Callable[[float], str]) -> list[Row]:
    systems = {result.system: result.family for result in report.of(measure)}
    return [
        Row(
            system,
            family,
            [
                Bar(result.values[name], label(result.values[name]))
                for size in report.sizes(measure)
                for result in report.of(measure, size)
                if result.system == system
            ],
        )
        for system, family in systems.items()
        if not any(variant in system for variant in VARIANTS)
    ]


def _sizes(report: Report, measure: str) -> str:
    return " and ".join(map(grouped, report.sizes(measure)))


def _legend(report: Report, measure: str) -> str:
    sizes = report.sizes(measure)
    if len(sizes) != 2:
        return ""
    return f" Upper bar: {grouped(sizes[0])}, lower bar: {grouped(sizes[1])}."


def short(value: float) -> str:
    """Three digits that count, in millions or thousands where there are so many."""
    for unit, name in ((1e6, " M"), (1e3, " k")):
        if value >= 0.9995 * unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:.3g}"


def milliseconds(value: float) -> str:
    return f"{value:.1f} ms" if value < 100 else f"{grouped(value)} ms"


def _source(report: Report) -> str:
    machine = report.machine
    return f"{machine['processor']}, server on one core, {report.date}. Repeat it: sh scripts/bench"
