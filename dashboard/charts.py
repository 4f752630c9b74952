"""Figures as SVG: bars, and the frame of all figures. Time series are drawn by Lightweight Charts (`charts.js`)."""

import json
from html import escape

from operations.page import BarChart, Curve, Gauges

WIDTH, HEIGHT, LEFT = 900, 300, 10


def curve_html(curve: Curve) -> str:
    """Equity and drawdown of a page, its points inside the page; `charts.js` draws them."""
    if len(curve.times_ms) < 2:
        return "<p class=dim>Not enough points for a curve yet.</p>"
    seconds = [ms // 1000 for ms in curve.times_ms]
    points = {
        "curves": {"equity": sorted(dict(zip(seconds, curve.equity, strict=True)).items())},
        "drawdown": sorted(dict(zip(seconds, curve.drawdown_pct, strict=True)).items()),
    }
    return (
        f"<figure><figcaption>{escape(curve.title)}</figcaption>"
        f'<div class=chart data-chart=equity role=img aria-label="{escape(curve.title)}" '
        f'data-points="{escape(json.dumps(points))}"></div></figure>'
    )


def chart_html(kind: str, source: str, label: str, *, tall: bool = False) -> str:
    """The place of a chart whose data come from `source`."""
    size = '"chart tall"' if tall else "chart"
    return (
        f'<div class={size} data-chart={kind} role=img aria-label="{escape(label)}" data-src="{escape(source)}"></div>'
    )


def bars_svg(bars: BarChart) -> str:
    """One signed bar per label."""
    if not bars.values:
        return "<p class=dim>Nothing to draw yet.</p>"
    high, low = max(*bars.values, 0.0), min(*bars.values, 0.0)
    y = Scale(high, low if low < high else high - 1, 30, HEIGHT - 35)
    # Leave room for the scale labels.
    first = 8 * LEFT
    slot = (WIDTH - first - 10) / len(bars.values)
    every = max(1, -(-len(bars.labels) // 6))
    parts = [f'<line class="axis" x1="{LEFT}" x2="{WIDTH - 10}" y1="{y(0):.1f}" y2="{y(0):.1f}"/>']
    for number, (label, value) in enumerate(zip(bars.labels, bars.values, strict=True)):
        left, top, bottom = first + number * slot, min(y(value), y(0)), max(y(value), y(0))
        kind = "gain" if value >= 0 else "loss"
        parts.append(
            f'<rect class="{kind}" x="{left + slot * 0.15:.1f}" width="{min(slot * 0.7, 80):.1f}" y="{top:.1f}" '
            f'height="{max(bottom - top, 1):.1f}"><title>{escape(label)}: {value:,.2f}</title></rect>'
        )
        if number % every == 0:
            parts.append(f'<text x="{left + slot * 0.15:.1f}" y="{HEIGHT - 8}">{escape(_short_day(label))}</text>')
    return _svg(bars.title, "".join(parts) + _label(y(high), f"{high:,.0f}") + _label(y(low), f"{low:,.0f}"))


def gauges_svg(gauges: Gauges) -> str:
    """A horizontal bar from -1 to 1 per label."""
    first, slot = 110, (HEIGHT - 40) / max(1, len(gauges.values))
    x = Scale(-1.0, 1.0, first, WIDTH - 60)
    parts = [
        f'<line class="axis" x1="{x(level):.1f}" x2="{x(level):.1f}" y1="5" y2="{HEIGHT - 35}"/>'
        f'<text x="{x(level):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{level:+g}</text>'
        for level in (-1.0, -0.5, 0.0, 0.5, 1.0)
    ]
    for number, (label, value) in enumerate(zip(gauges.labels, gauges.values, strict=True)):
        top = 5 + number * slot
        parts.append(f'<text x="{LEFT}" y="{top + slot * 0.65:.1f}">{escape(label)}</text>')
        if value is None:
            continue
        left, right = sorted((x(0.0), x(value)))
        kind = "gain" if value >= 0 else "loss"
        parts.append(
            f'<rect class="{kind}" x="{left:.1f}" width="{max(right - left, 2):.1f}" y="{top + slot * 0.2:.1f}" '
            f'height="{slot * 0.6:.1f}"><title>{escape(label)}: {value:+.2f}</title></rect>'
        )
    return _svg(gauges.title, "".join(parts))


def _short_day(label: str) -> str:
    """`2025-11-22` without its year."""
    return label[5:] if len(label) == 10 and label[4] == "-" else label


class Scale:
    """Maps a range of values to a range of pixels."""

    def __init__(self, first: float, last: float, start: float, end: float) -> None:
        self._first, self._start = first, start
        self._factor = (end - start) / (last - first) if last != first else 0.0

    def __call__(self, value: float) -> float:
        return self._start + (value - self._first) * self._factor


def _label(y: float, text: str) -> str:
    return f'<text class="level" x="4" y="{y - 5:.1f}">{escape(text)}</text>'


def svg(label: str, inner: str) -> str:
    """One figure without a caption, described by `label`."""
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">{inner}</svg>'


def _svg(title: str, inner: str) -> str:
    return f"<figure><figcaption>{escape(title)}</figcaption>{svg(title, inner)}</figure>"
