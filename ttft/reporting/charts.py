"""Charts as SVG text: pure functions of the numbers, coloured by the CSS classes of style.py.

Series differ in colour (c0..c5), in dashes and in the shape of their points, so that they can be told apart in grey and
by colour-blind readers. All labels are escaped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape as html_escape

from ttft.visible import visible

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 46
COLOURS = 6
DASHES = ("", "7 4", "2 3", "9 3 2 3")
SHAPES = ("circle", "square", "triangle", "diamond")
MANY = 12  # values on the x axis
TICK_GAP = 24  # minimum distance between labels on the x axis


def escape(text: str) -> str:
    """Data as it may stand in HTML and SVG, in text and in quoted attributes; control characters are made visible."""
    return html_escape(visible(text))


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one run, with an interval at each point or none at all (empty low and high)."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


@dataclass(frozen=True, slots=True)
class Axes:
    """Data to pixels: x as log2(1 + x), so that step 0 is on the axis, or linear; y linear."""

    x_end: float
    y_low: float
    y_high: float
    linear: bool = False

    def x(self, value: float) -> float:
        if self.linear:
            return LEFT + (WIDTH - LEFT - RIGHT) * value / (self.x_end or 1)
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log2(1 + value) / (math.log2(1 + self.x_end) or 1)

    def y(self, value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (self.y_high - value) / (self.y_high - self.y_low)


def line_chart(
    series: list[Series], title: str, x_label: str, y_label: str, reference: float | None = None, *,
    linear: bool = False,
) -> str:  # fmt: skip
    """Lines with points over shaded intervals; x on a log scale that starts at 0, or a linear one; a dashed line at
    `reference`."""
    values = [v for s in series for v in [*s.y, *s.low, *s.high] if math.isfinite(v)]
    if not values:
        return ""
    if reference is not None:
        values.append(reference)
    ticks = nice_ticks(min(values), max(values))
    xs = sorted({x for s in series for x in s.x})
    axes = Axes(xs[-1], ticks[0], ticks[-1], linear)
    if linear:
        xs = [x for x in nice_ticks(0, xs[-1]) if x <= xs[-1]]
    parts = [_frame(axes, ticks, xs, x_label, y_label)]
    if reference is not None:
        y = axes.y(reference)
        parts.append(f'<line class="ref" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>')
    parts += [_band(s, i, axes) for i, s in enumerate(series)]
    parts += [_line(s, i, axes) for i, s in enumerate(series)]
    return _svg(HEIGHT, title, parts)


def _svg(height: float, title: str, parts: list[str]) -> str:
    name = escape(title)
    body = "".join(parts)
    return f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{name}"><title>{name}</title>{body}</svg>'


def _frame(axes: Axes, ticks: list[float], xs: list[float], x_label: str, y_label: str) -> str:
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    parts = []
    for tick in ticks:
        y = axes.y(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:.{digits}f}</text>')
    for x in spaced(xs, axes):
        parts.append(f'<text x="{axes.x(x):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{x:g}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_label)}</text>'
    )
    turn = f'transform="rotate(-90 13 {middle})"'
    parts.append(f'<text x="13" y="{middle}" text-anchor="middle" {turn}>{escape(y_label)}</text>')
    return "".join(parts)


def spaced(xs: list[float], axes: Axes) -> list[float]:
    """Values whose labels do not overlap, from the right, as the last step matters most; if many, 1, 2, 5, 10, ..."""
    if len(xs) > MANY:
        xs = [x for x in xs if x == xs[-1] or str(int(x)).rstrip("0") in ("", "1", "2", "5")]
    kept: list[float] = []
    for x in reversed(xs):
        if not kept or axes.x(kept[-1]) - axes.x(x) >= TICK_GAP:
            kept.append(x)
    return kept[::-1]


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values, evenly spaced, that enclose low and high; at least two of them."""
    span = (high - low) or max(abs(high), 1.0) * 0.1
    power = 10 ** math.floor(math.log10(span / about))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= span / about)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, max(last, first + 1) + 1)]


def _band(series: Series, index: int, axes: Axes) -> str:
    ends = [(x, lo, hi) for x, lo, hi in zip(series.x, series.low, series.high, strict=False) if math.isfinite(lo + hi)]
    if len(ends) < 2:
        return ""
    there = [f"{axes.x(x):.1f},{axes.y(hi):.1f}" for x, _, hi in ends]
    back = [f"{axes.x(x):.1f},{axes.y(lo):.1f}" for x, lo, _ in reversed(ends)]
    return f'<polygon class="band c{index % COLOURS}" points="{" ".join(there + back)}"/>'


def _line(series: Series, index: int, axes: Axes) -> str:
    points = [(x, y) for x, y in zip(series.x, series.y, strict=True) if math.isfinite(y)]
    path = " ".join(f"{axes.x(x):.1f},{axes.y(y):.1f}" for x, y in points)
    dash = DASHES[index % len(DASHES)]
    line = f'<polyline class="line c{index % COLOURS}" stroke-dasharray="{dash or "none"}" points="{path}"/>'
    shown = points if len(points) <= 16 else [*points[:: -(-len(points) // 12)], points[-1]]
    marks = [_mark(axes.x(x), axes.y(y), index, f"{series.label}: {y:.4g} at {x:g}") for x, y in shown]
    return line + "".join(marks)


def _mark(x: float, y: float, index: int, tip: str = "") -> str:
    shape, colour = SHAPES[index % len(SHAPES)], f'class="mark c{index % COLOURS}"'
    title = f"<title>{escape(tip)}</title>" if tip else ""
    if shape == "circle":
        return f'<circle {colour} cx="{x:.1f}" cy="{y:.1f}" r="3.5">{title}</circle>'
    if shape == "square":
        return f'<rect {colour} x="{x - 3.2:.1f}" y="{y - 3.2:.1f}" width="6.4" height="6.4">{title}</rect>'
    corners = {"triangle": [(0, -4.5), (4.2, 3.2), (-4.2, 3.2)], "diamond": [(0, -4.8), (4.2, 0), (0, 4.8), (-4.2, 0)]}
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners[shape])
    return f'<polygon {colour} points="{points}">{title}</polygon>'


def key(index: int) -> str:
    """The sample of a series for a legend: its line and point."""
    dash = DASHES[index % len(DASHES)] or "none"
    line = f'<line class="line c{index % COLOURS}" stroke-dasharray="{dash}" x1="0" y1="6" x2="34" y2="6"/>'
    return f'<svg class="key" viewBox="0 0 34 12" aria-hidden="true">{line}{_mark(17, 6, index)}</svg>'


# ---- seconds by stage ----------------------------------------------------------------------------------------------


def stage_bars(rows: list[tuple[str, dict[str, float]]], stages: list[str], title: str, unit: str = " s") -> str:
    """One bar per run, stacked from its seconds by stage; the run's label and total are above the bar. Without a unit,
    the parts are shares of a whole and no total is shown."""
    longest = max((sum(seconds.values()) for _, seconds in rows), default=0.0)
    if longest <= 0:
        return ""
    parts = []
    for number, (label, seconds) in enumerate(rows):
        y = 48 * number
        total = sum(seconds.values())
        parts.append(f'<text x="0" y="{y + 14}">{escape(shortened(label))}</text>')
        if unit:
            parts.append(f'<text x="{WIDTH}" y="{y + 14}" text-anchor="end">{total:.3g}{unit}</text>')
        left = 0.0
        for place, stage in enumerate(stages):
            value = seconds.get(stage, 0.0)
            width = WIDTH * value / longest
            box = f'class="s{place % 6}" x="{left:.2f}" y="{y + 20}" width="{width:.2f}" height="18"'
            parts.append(f"<rect {box}><title>{escape(f'{label}, {stage}: {value:.3g}{unit}')}</title></rect>")
            left += width
    return _svg(48 * len(rows), title, parts)


def shortened(label: str, most: int = 48) -> str:
    return label if len(label) <= most else label[: most - 1] + "…"
