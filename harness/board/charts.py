"""Accuracy against time, as the harness saw it, drawn as SVG.

The SVG is written here, element by element, and not by a plotting library: the audit compares the charts
byte for byte on whatever machine it runs, and matplotlib 3.10 and 3.11 already disagree on where a tick
label stands (text positions follow font metrics). Only + - * / and fixed-point formatting decide a byte
below, text stays text in the reader's font, and no position depends on how wide a string came out.

Colours are Okabe and Ito's (safe with every common colour blindness), each with a lighter twin for dark
mode; the background is painted, so a chart stays legible where the viewer's mode and the page's differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from harness.board.curves import WINDOW, Point, Post, median, smooth, thin

GRID = 200  # points along a line
WIDTH = 976  # of a drawing
LABELLED = 7  # records drawn in colour on a track's chart; the rest are grey

GENERATED = "Generated from records/ by `nano-r1 leaderboard`; edits are overwritten."

STYLE = """
text { font: 12px system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; fill: #57606a }
.title { font-size: 17px; font-weight: 600; fill: #1f2328 }
.panel { font-size: 13px; font-weight: 600; fill: #1f2328 }
.name { font-size: 13px; font-weight: 600 }
.rank { font-size: 11px; font-weight: 700; fill: #ffffff; text-anchor: middle }
.middle { text-anchor: middle }
.end { text-anchor: end }
.paper { fill: #ffffff }
.frame { fill: none; stroke: #d0d7de }
.grid { stroke: #eaeef2 }
.gate { stroke: #1f2328; stroke-dasharray: 5 4 }
.halo { fill: #1f2328; paint-order: stroke; stroke: #ffffff; stroke-width: 4px; stroke-linejoin: round }
.run, .line { fill: none; stroke-linejoin: round; stroke-linecap: round }
.run { stroke-width: 1; opacity: 0.45 }
.line { stroke-width: 2.4 }
.other { fill: none; stroke: #afb8c1; stroke-width: 1.2 }
.dot { stroke: #ffffff; stroke-width: 1.2 }
""".strip()

DARK = """
text { fill: #9198a1 }
.title, .panel { fill: #f0f6fc }
.rank { fill: #0d1117 }
.paper { fill: #0d1117 }
.frame { stroke: #3d444d }
.grid { stroke: #21262d }
.gate { stroke: #f0f6fc }
.halo { fill: #f0f6fc; stroke: #0d1117 }
.other { stroke: #59636e }
.dot { stroke: #0d1117 }
""".strip()

# (light, dark) twins: blue, vermilion, green, purple, orange, sky, olive.
COLOURS = [
    ("#0072b2", "#56a8e0"),
    ("#d55e00", "#ff8a3d"),
    ("#008060", "#2ec4a0"),
    ("#b0558a", "#e39ac4"),
    ("#b97a00", "#f0b429"),
    ("#2f9fd0", "#8fd3f4"),
    ("#6b6b00", "#d8d34a"),
]


@dataclass(frozen=True)
class Outcome:
    """What the weights of one run were worth: seconds on the clock, held-out accuracy by panel."""

    seconds: float
    heldout: dict[str, float]


@dataclass(frozen=True)
class Series:
    """One record on a track's chart. `note` stands behind its name in the list."""

    name: str
    note: str
    runs: list[list[Post]]


@dataclass(frozen=True)
class Panel:
    """A rectangle of the drawing, which turns seconds and accuracies into coordinates."""

    x: float
    y: float
    width: float
    height: float
    seconds: float  # at the right edge

    def place(self, point: Point) -> str:
        return f"{self.px(point[0]):.1f},{self.py(point[1]):.1f}"

    def px(self, seconds: float) -> float:
        return self.x + self.width * seconds / self.seconds

    def py(self, accuracy: float) -> float:
        return self.y + self.height * (1 - accuracy)

    def axes(self, *, bottom: bool, left: bool, every: int) -> list[str]:
        """Frame and grid lines; tick labels below and to the left where asked for."""
        parts = []
        for percent in (0, 25, 50, 75, 100):
            y = self.py(percent / 100)
            parts.append(f'<path class="grid" d="M{self.x:.1f} {y:.1f}h{self.width:.1f}"/>')
            if left:
                parts.append(f'<text class="end" x="{self.x - 7:.1f}" y="{y + 4:.1f}">{percent}%</text>')
        for second in range(0, int(self.seconds) + 1, every):
            x = self.px(second)
            parts.append(f'<path class="grid" d="M{x:.1f} {self.y:.1f}v{self.height:.1f}"/>')
            if bottom:
                parts.append(f'<text class="middle" x="{x:.1f}" y="{self.y + self.height + 17:.1f}">{second}</text>')
        size = f'width="{self.width:.1f}" height="{self.height:.1f}"'
        return [*parts, f'<rect class="frame" x="{self.x:.1f}" y="{self.y:.1f}" {size}/>']

    def line(self, points: Sequence[Point], style: str) -> list[str]:
        if not points:
            return []
        return [f'<polyline class="{style}" points="{" ".join(map(self.place, points))}"/>']

    def gate(self, accuracy: float, label: str) -> list[str]:
        y = self.py(accuracy)
        path = f'<path class="gate" d="M{self.x:.1f} {y:.1f}h{self.width:.1f}"/>'
        return [path, f'<text class="halo" x="{self.x + 6:.1f}" y="{y - 5:.1f}">{label}</text>']


def record_chart(
    name: str, track: str, runs: list[list[Post]], gates: dict[str, float], outcomes: list[Outcome]
) -> bytes:
    """One record: each run thin, the median thick, all tasks together and each task for itself.

    gates: accuracy by panel, "mean" for all tasks together. Task panels are those of `gates`, and any
    other task the curves or the held-out results name.
    """
    tasks = sorted({*gates, *(task for outcome in outcomes for task in outcome.heldout)} - {"mean"})
    ends = [outcome.seconds for outcome in outcomes]
    seconds, every = axis([*(post.t_ms / 1000 for posts in runs for post in posts), *ends])
    rows = max(2, (len(tasks) + 1) // 2)
    small, gap = (190.0, 140.0), (26.0, 48.0)
    height = rows * small[1] + (rows - 1) * gap[1]
    top, bottom = 108.0, 108.0 + height
    main = Panel(64, top, 410, height, seconds)
    count = f"{len(runs)} run{'s' * (len(runs) != 1)}"
    legend = f"over the last {WINDOW:,} completions."
    parts = [
        text(64, 32, f"{name} · {track}", "title"),
        text(64, 50, f"Accuracy of the sampled training answers, graded by the harness, {legend}"),
        text(64, 67, f"Thin: {count}. Thick: the median. Dots: held-out accuracy of each run's weights."),
    ]

    def draw(panel: Panel, task: str | None, axes: list[str]) -> None:
        """`task`: None for all together."""
        key = task or "mean"
        lines = [smooth(posts, task) for posts in runs]
        parts.extend([*axes, text(panel.x, panel.y - 8, task or "all tasks", "panel")])
        for line in lines:
            parts.extend(panel.line(thin(line, seconds / GRID), "run c0"))
        parts.extend(panel.line(median(lines, seconds / GRID), "line c0"))
        if key in gates:
            parts.extend(panel.gate(gates[key], f"gate {percent(gates[key])}"))
        for outcome in outcomes:
            if key in outcome.heldout:
                x, y = panel.px(outcome.seconds), panel.py(outcome.heldout[key])
                parts.append(f'<circle class="dot f1" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>')

    draw(main, None, main.axes(bottom=True, left=True, every=every))
    for i, task in enumerate(tasks):
        x = 64 + 410 + 72 + (i % 2) * (small[0] + gap[0])
        panel = Panel(x, top + (i // 2) * (small[1] + gap[1]), small[0], small[1], seconds)
        draw(panel, task, panel.axes(bottom=i + 2 >= len(tasks), left=i % 2 == 0, every=every * 2))
    parts.append(text(main.x + main.width / 2, bottom + 38, "seconds on the harness's clock", "middle"))
    parts.append(text(64 + 410 + 72 + small[0] + gap[0] / 2, bottom + 38, "seconds", "middle"))
    parts.append(accuracy_label(top + height / 2))
    description = f"Training accuracy against seconds for {name} on {track}: {count}."
    return svg(bottom + 56, f"{name} on {track}", description, parts)


def track_chart(track: str, series: list[Series], gate: float) -> bytes:
    """The median curves of a track's ranked records (best first) on one chart. gate: mean accuracy."""
    curves = [[smooth(posts, None) for posts in record.runs] for record in series]
    seconds, every = axis([point[0] for runs in curves for run in runs for point in run[-1:]])
    lines = [median(runs, seconds / GRID) for runs in curves]
    top, height, width = 92.0, 330.0, 600.0
    panel = Panel(64, top, width, height, seconds)
    parts = [
        text(64, 32, f"{track}: every valid record", "title"),
        text(64, 52, "Accuracy of the sampled training answers, as graded by the harness: the median of a record's "
             f"runs, over the last {WINDOW:,} completions."),
        *panel.axes(bottom=True, left=True, every=every),
    ]  # fmt: skip
    for line in lines[LABELLED:]:
        parts += panel.line(line, "other")
    for i in reversed(range(min(LABELLED, len(lines)))):  # the best on top
        parts += panel.line(lines[i], f"line c{i}")
    parts += panel.gate(gate, f"gate {percent(gate)}, held-out")
    parts += _markers(panel, lines[:LABELLED])
    for i, record in enumerate(series[:LABELLED]):
        y = top + 16 + i * 42
        parts.append(f'<circle class="f{i}" cx="{64 + width + 30:.1f}" cy="{y - 4:.1f}" r="9"/>')
        parts.append(text(64 + width + 30, y, str(i + 1), "rank"))
        parts.append(text(64 + width + 48, y, clip(record.name), f"name f{i}"))
        parts.append(text(64 + width + 48, y + 16, record.note))
    if len(series) > LABELLED:
        parts.append(text(64 + width + 48, top + 16 + LABELLED * 42, f"grey: {len(series) - LABELLED} more"))
    parts.append(text(64 + width / 2, top + height + 38, "seconds on the harness's clock", "middle"))
    parts.append(accuracy_label(top + height / 2))
    description = f"Training accuracy against seconds on {track}: {', '.join(record.name for record in series)}."
    return svg(top + height + 56, track, description, parts)


def _markers(panel: Panel, lines: Sequence[Sequence[Point]]) -> list[str]:
    """Each line's rank at its end. Markers that would cover each other step down, on a string."""
    parts: list[str] = []
    taken: list[tuple[float, float]] = []
    for i, line in enumerate(lines):
        if line:
            x, y = panel.px(line[-1][0]), panel.py(line[-1][1])
            end = y
            while any(abs(x - other_x) < 20 and abs(y - other_y) < 20 for other_x, other_y in taken):
                y += 4
            taken.append((x, y))
            parts.append(f'<path class="frame" d="M{x:.1f} {end:.1f}V{y:.1f}"/>')
            parts.append(f'<circle class="dot f{i}" cx="{x:.1f}" cy="{y:.1f}" r="9"/>')
            parts.append(text(x, y + 4, str(i + 1), "rank"))
    return parts


def axis(seconds: Iterable[float]) -> tuple[float, int]:
    """Where the time axis ends, and the whole seconds between its ticks: four to eight of them."""
    longest = max([1.0, *seconds]) * 1.03
    every = next(base * 10**power for power in range(12) for base in (1, 2, 5) if longest / (base * 10**power) <= 8)
    return longest, every


def percent(accuracy: float) -> str:
    return f"{accuracy * 100:.1f}".removesuffix(".0") + "%"


def clip(name: str) -> str:
    return name if len(name) <= 30 else name[:29] + "…"


def text(x: float, y: float, words: str, style: str = "") -> str:
    kind = f' class="{style}"' if style else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


def accuracy_label(y: float) -> str:
    """Of the vertical axis, whose middle is at `y`."""
    return f'<text class="middle" transform="translate(18.0 {y:.1f}) rotate(-90)">training accuracy</text>'


def svg(height: float, title: str, description: str, parts: list[str]) -> bytes:
    """The whole document. Series i is drawn with classes c{i} (stroke) and f{i} (fill)."""
    light = "\n".join(f".c{i} {{ stroke: {c[0]} }} .f{i} {{ fill: {c[0]} }}" for i, c in enumerate(COLOURS))
    dark = "\n".join(f".c{i} {{ stroke: {c[1]} }} .f{i} {{ fill: {c[1]} }}" for i, c in enumerate(COLOURS))
    style = f"{STYLE}\n{light}\n@media (prefers-color-scheme: dark) {{\n{DARK}\n{dark}\n}}"
    size = f'width="{WIDTH}" height="{height:.0f}" viewBox="0 0 {WIDTH} {height:.0f}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f"<!-- {GENERATED} -->",
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(description)}</desc>",
        f"<style>\n{style}\n</style>",
        f'<rect class="paper" width="{WIDTH}" height="{height:.0f}" rx="8"/>',
        *parts,
        "</svg>",
    ]
    return ("\n".join(lines) + "\n").encode()
