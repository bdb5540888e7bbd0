"""The report as a chart: an SVG without scripts, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.results import Report
from benchmarks.table import grouped

WIDTH, ROW, BAR = 860, 26, 16
NAMES, NUMBERS = 315, 90  # room left of the bars and right of them

COLOURS = {
    "wsadapter": "#0f8a5f",
    "channels": "#b3541e",
    "peer": "#7a8794",
    "limit": "#3b4450",
}

STYLE = """
    text { font: 13px system-ui, sans-serif; fill: #1d232a }
    .title { font-size: 16px; font-weight: 600 }
    .note { font-size: 12px; fill: #59636e }
    .ours { font-weight: 600 }
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
    name: str
    family: str
    value: float
    label: str


@dataclass(frozen=True)
class Panel:
    """Bars below a title, the best on top."""

    title: str
    note: str
    bars: Sequence[Bar]

    @property
    def height(self) -> int:
        return 62 + ROW * len(self.bars)

    def drawn(self, top: int) -> list[str]:
        longest = max((bar.value for bar in self.bars), default=1)
        room = WIDTH - NAMES - NUMBERS - 40
        lines = [
            f'  <text class="title" x="20" y="{top + 24}">{escape(self.title)}</text>',
            f'  <text class="note" x="20" y="{top + 42}">{escape(self.note)}</text>',
        ]
        for index, bar in enumerate(self.bars):
            y = top + 54 + ROW * index
            length = max(1.0, room * bar.value / longest)
            lines += _drawn_bar(bar, y, length)
        return lines


def _drawn_bar(bar: Bar, y: int, length: float) -> list[str]:
    start, middle = 20 + NAMES, y + BAR - 3
    kind = "ours" if bar.family == "wsadapter" else ""
    return [
        f'  <text class="{kind}" x="{start - 10}" y="{middle}" text-anchor="end">'
        f"{escape(bar.name)}</text>",
        f'  <rect class="{bar.family}" x="{start}" y="{y}" width="{length:.1f}" height="{BAR}" '
        f'rx="2" fill="{COLOURS[bar.family]}"/>',
        f'  <text class="{kind}" x="{start + length + 8:.1f}" y="{middle}">'
        f"{escape(bar.label)}</text>",
    ]


def chart(report: Report) -> str:
    """The bursts and the full fan-outs of the smallest size."""
    panels = [panel for panel in (bursts(report), fan_outs(report)) if panel.bars]
    height = sum(panel.height for panel in panels) + 40
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
    lines.append(f'  <text class="note" x="20" y="{top + 24}">{escape(_source(report))}</text>')
    return "\n".join([*lines, "</svg>", ""])


def bursts(report: Report) -> Panel:
    size = min(report.sizes("burst"), default=0)
    bars = [
        Bar(result.system, result.family, rate, grouped(rate))
        for result in report.of("burst", size)
        for rate in [result.values["deliveries_per_second"]]
    ]
    return Panel(
        f"A burst of messages to {grouped(size)} connections",
        "Deliveries per second; more is better.",
        sorted(bars, key=lambda bar: -bar.value),
    )


def fan_outs(report: Report) -> Panel:
    size = min(report.sizes("closed"), default=0)
    bars = [
        Bar(result.system, result.family, time, f"{time:.1f} ms")
        for result in report.of("closed", size)
        for time in [result.values["p50_ms"]]
    ]
    return Panel(
        f"One message to {grouped(size)} connections",
        "Milliseconds until the last one has it (median); less is better.",
        sorted(bars, key=lambda bar: bar.value),
    )


def _source(report: Report) -> str:
    machine = report.machine
    return f"{machine['processor']}, server on one core, {report.date}. Repeat it: sh scripts/bench"
