"""Charts as SVG: equity and drawdown, bars, candles with entries and exits. Colours follow the page's theme."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from alpha.model.timestamp import at
from operations.page import BarChart, Curve

WIDTH, HEIGHT, LEFT = 900, 300, 10
#: More points than this cannot be told apart on a screen.
MOST_POINTS = 600


@dataclass(frozen=True, slots=True)
class Mark:
    """A fill on a candle chart."""

    time_ms: int
    price: float
    buys: bool
    text: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One candle, in floats: charts need no exact amounts."""

    start_ms: int
    open: float
    high: float
    low: float
    close: float


def curve_svg(curve: Curve) -> str:
    """Equity as a line, drawdown as an area below it."""
    count = len(curve.times_ms)
    if count < 2:
        return "<p class=dim>Not enough points for a curve yet.</p>"
    step = max(1, count // MOST_POINTS)
    times, equity, drawdown = curve.times_ms[::step], curve.equity[::step], curve.drawdown_pct[::step]
    x = Scale(times[0], times[-1], LEFT, WIDTH - 10)
    y = Scale(max(equity), min(equity), 25, 180)
    d = Scale(0.0, min(*drawdown, -0.01), 200, HEIGHT - 30)
    line = " ".join(f"{x(t):.1f},{y(e):.1f}" for t, e in zip(times, equity, strict=True))
    area = " ".join(f"{x(t):.1f},{d(v):.1f}" for t, v in zip(times, drawdown, strict=True))
    edge = f"{x(times[0]):.1f},200 {area} {x(times[-1]):.1f},200"
    return _svg(
        curve.title,
        f'<polyline class="line" points="{line}"/><polygon class="fall" points="{edge}"/>'
        + _label(y(max(equity)), f"{max(equity):,.0f}")
        + _label(y(min(equity)), f"{min(equity):,.0f}")
        + _label(HEIGHT - 34, f"{min(drawdown):.1f} %")
        + _dates(times[0], times[-1]),
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


def _short_day(label: str) -> str:
    """`2025-11-22` without its year."""
    return label[5:] if len(label) == 10 and label[4] == "-" else label


def candles_svg(title: str, bars: Sequence[Bar], marks: Sequence[Mark]) -> str:
    """Candles with a triangle for each fill: upwards buys, downwards sells."""
    if not bars:
        return "<p class=dim>No candles of this symbol are at hand yet.</p>"
    x = Scale(bars[0].start_ms, max(bars[-1].start_ms, bars[0].start_ms + 1), LEFT, WIDTH - 12)
    y = Scale(max(b.high for b in bars), min(b.low for b in bars), 25, HEIGHT - 40)
    body = max(1.0, (WIDTH - LEFT) / len(bars) * 0.6)
    parts = []
    for bar in bars:
        kind = "gain" if bar.close >= bar.open else "loss"
        top, bottom = min(y(bar.open), y(bar.close)), max(y(bar.open), y(bar.close))
        parts.append(
            f'<line class="{kind}" x1="{x(bar.start_ms):.1f}" x2="{x(bar.start_ms):.1f}" y1="{y(bar.high):.1f}" y2="{y(bar.low):.1f}"/>'
            f'<rect class="{kind}" x="{x(bar.start_ms) - body / 2:.1f}" width="{body:.1f}" y="{top:.1f}" height="{max(bottom - top, 1):.1f}"/>'
        )
    for mark in marks:
        if bars[0].start_ms <= mark.time_ms:
            at_x, at_y, tip = x(min(mark.time_ms, bars[-1].start_ms)), y(mark.price), -8 if mark.buys else 8
            parts.append(
                f'<path class="{"entry" if mark.buys else "exit"}" d="M{at_x - 5:.1f} {at_y - tip:.1f} h10 l-5 {tip} z">'
                f"<title>{escape(mark.text)}</title></path>"
            )
    high, low = max(b.high for b in bars), min(b.low for b in bars)
    return _svg(
        title,
        "".join(parts)
        + _label(y(high), f"{high:,.6g}")
        + _label(y(low), f"{low:,.6g}")
        + _dates(bars[0].start_ms, bars[-1].start_ms),
    )


class Scale:
    """Maps a range of values to a range of pixels."""

    def __init__(self, first: float, last: float, start: float, end: float) -> None:
        self._first, self._start = first, start
        self._factor = (end - start) / (last - first) if last != first else 0.0

    def __call__(self, value: float) -> float:
        return self._start + (value - self._first) * self._factor


def _label(y: float, text: str) -> str:
    return f'<text class="level" x="4" y="{y - 5:.1f}">{escape(text)}</text>'


def _dates(first_ms: int, last_ms: int) -> str:
    return (
        f'<text x="{LEFT}" y="{HEIGHT - 8}">{at(first_ms):%Y-%m-%d %H:%M}</text>'
        f'<text x="{WIDTH - 10}" y="{HEIGHT - 8}" text-anchor="end">{at(last_ms):%Y-%m-%d %H:%M}</text>'
    )


def _svg(title: str, inner: str) -> str:
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">{inner}</svg></figure>'
    )
