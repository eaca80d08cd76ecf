"""Geometry of the report's charts: numbers in, coordinates and labels out. templates/chart.html draws them as SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from stages.report.inputs import Curves
from stages.report.numbers import minus, number
from stages.report.terms import title

WIDTH, HEIGHT = 440, 240
LEFT, RIGHT, TOP, BOTTOM = 54, 22, 10, 36
COLOURS = 6  # of style.css: s0 to s5
POINTS = 200  # a line keeps at most about this many; the whole curve is in the CSV file
LOG_FROM = 30  # a positive curve whose largest value is this many times its smallest is drawn on a log scale


@dataclass(frozen=True)
class Line:
    label: str
    style: str  # classes of style.css
    points: list[tuple[float, float]]  # on the picture
    data: list[tuple[float, float]]  # (step, value)
    summary: str


@dataclass(frozen=True)
class Chart:
    title: str
    lines: list[Line]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    log: bool
    across: str = "step"  # what the horizontal axis is
    path: bool = False  # the points are places in the plane, in the order in which they were visited
    meaning: str = ""

    @property
    def description(self) -> str:
        scale = " The vertical axis is logarithmic." if self.log else ""
        return " ".join(line.summary for line in self.lines) + scale


@dataclass(frozen=True)
class Scale:
    """A straight map of values (or of their logarithms) onto pixels."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        a, b, v = (math.log10(x) if self.log else x for x in (self.low, self.high, value))
        return round(self.start + (v - a) / (b - a) * (self.stop - self.start), 1)


def curve_charts(curves: Curves) -> list[Chart]:
    """One chart a term, one line a seed; `valid_x` is drawn beside `x`, dashed in the same colour."""
    charts = []
    for term, seeds in curves.terms.items():
        if term == "loss" and any(seeds == found for name, found in curves.terms.items() if name != "loss"):
            continue  # the loss of the last phase, which stands there under its own name
        held = curves.terms.get(f"valid_{term}", {})
        if term.startswith("valid_") and term.removeprefix("valid_") in curves.terms:
            continue
        several, series = len(seeds) > 1, []
        for i, (seed, data) in enumerate(seeds.items()):
            series.append((f"seed {seed}" if several else "training" if held else title(term)[0], f"s{i % COLOURS}", data))
            if seed in held:
                series.append((f"seed {seed}, validation" if several else "validation", f"s{i % COLOURS} held", held[seed]))
        name, meaning = title(term)
        charts.append(replace(line_chart(name, series), meaning=meaning))
    return charts


def line_chart(title: str, series: list[tuple[str, str, list[tuple[float, float]]]], across: str = "step", log_x: bool = False,
               path: bool = False) -> Chart:
    """A chart of (label, style, [(step, value)]) lines; `across` names the horizontal axis. Every line needs at least one finite point."""
    steps = [step for *_, data in series for step, _ in data]
    values = [value for *_, data in series for _, value in data]
    log = not path and min(values) > 0 and max(values) > LOG_FROM * min(values)
    x_low, x_high = margins(min(steps), max(steps)) if path else widened(min(steps), max(steps))
    log_x = log_x and x_low > 0
    y_low, y_high = (min(values) / 1.1, max(values) * 1.1) if log else margins(min(values), max(values))
    x, y = Scale(x_low, x_high, LEFT, WIDTH - RIGHT, log_x), Scale(y_low, y_high, HEIGHT - BOTTOM, TOP, log)
    lines = []
    for label, style, data in series:
        kept = thinned(data)
        lines.append(Line(label, style, [(x(step), y(value)) for step, value in kept], kept, summary(label, data, across, path)))
    return Chart(
        title,
        lines,
        [(x(t), tick(t)) for t in (log_ticks if log_x else linear_ticks)(x_low, x_high)],
        [(y(t), tick(t)) for t in (log_ticks if log else linear_ticks)(y_low, y_high)],
        log,
        across,
        path,
    )


def summary(label: str, data: list[tuple[float, float]], across: str = "step", path: bool = False) -> str:
    (first, start), (last, end) = data[0], data[-1]
    if path:
        return f"{label}: from ({number(first)}, {number(start)}) to ({number(last)}, {number(end)}) in {len(data) - 1} steps."
    low_at, low = min(data, key=lambda point: point[1])
    return (
        f"{label}: {number(start)} at {across} {tick(first)}, {number(end)} at {across} {tick(last)}; lowest {number(low)} at {across} "
        f"{tick(low_at)}."
    )


def thinned(data: list[tuple[float, float]], points: int = POINTS) -> list[tuple[float, float]]:
    """At most `points` of `data`, evenly spaced, first and last among them."""
    if len(data) <= points:
        return data
    return [data[round(i * (len(data) - 1) / (points - 1))] for i in range(points)]


def widened(low: float, high: float) -> tuple[float, float]:
    """A range that is never empty."""
    return (low, high) if high > low else (low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1))


def margins(low: float, high: float) -> tuple[float, float]:
    low, high = widened(low, high)
    return low - 0.05 * (high - low), high + 0.05 * (high - low)


def linear_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) inside the range."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten inside the range, with 2 and 5 between them where it spans few."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    wide = math.log10(high / low)
    steps = (1, 2, 5) if wide < 2.5 else (1,)
    every = max(1, math.ceil(wide / 6))
    return [m * 10.0**d for d in decades if d % every == 0 for m in steps if low <= m * 10.0**d <= high]


def tick(value: float) -> str:
    """A short label: 2k for 2,000, 0.25 as it is."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return minus(f"{value / (1000 if letter == 'k' else size):.4g}") + letter
    return minus(f"{value:,.0f}") if value == int(value) else minus(f"{value:.4g}") if abs(value) >= 1e-3 else number(value, 1)


@dataclass(frozen=True)
class Bar:
    label: str
    kind: str  # run, baseline or reference
    text: str
    start: float  # percent of the width
    width: float


def bars(entries: list[tuple[str, str, float | None, str]]) -> list[Bar]:
    """Horizontal bars from zero for (label, kind, value, text); an entry without value has an empty bar."""
    values = [value for _, _, value, _ in entries if value is not None]
    low, high = min([0.0, *values]), max([0.0, *values])
    width = (high - low) or 1.0
    return [
        Bar(
            label,
            kind,
            text,
            *((round((min(value, 0) - low) / width * 100, 2), round(abs(value) / width * 100, 2)) if value is not None else (0, 0)),
        )
        for label, kind, value, text in entries
    ]
