"""Charts as inline SVG: lines over time with axes, and trades drawn into a price."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

import numpy as np
from numpy.typing import NDArray

from alpha.indicators import Floats
from alpha.model.side import Direction
from alpha.model.timestamp import at
from backtester.candles import moment
from backtester.result import Trade

WIDTH = 1000
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 12, 10, 22
_HALF_LABEL = 28
_POINTS = 900
_DAY_MS = 86_400_000
_STEPS_DAYS = (1, 2, 7, 14)
_STEPS_MONTHS = (1, 2, 3, 6, 12, 24)


@dataclass(frozen=True, slots=True)
class Frame:
    """Where times and values lie on a chart of `WIDTH` by `height` pixels."""

    from_ms: int
    to_ms: int
    low: float
    high: float
    height: int

    def x(self, time_ms: float) -> float:
        """Pixels from the left."""
        span = max(self.to_ms - self.from_ms, 1)
        return _LEFT + (time_ms - self.from_ms) / span * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        span = self.high - self.low or 1.0
        return _TOP + (self.high - value) / span * (self.height - _TOP - _BOTTOM)

    @property
    def floor(self) -> float:
        """The lower edge of the drawing, in pixels."""
        return self.height - _BOTTOM


def line_chart(
    title: str,
    times: NDArray[np.int64],
    values: Floats,
    *,
    height: int = 260,
    base: float | None = None,
    kind: str = "line",
) -> str:
    """One line over time; with `base`, the area between the line and that value is filled."""
    frame = _frame(times, values, height, base)
    x, y = _thinned(times, values)
    points = _points(frame, x, y)
    parts = [_axes(frame)]
    if base is not None:
        level = frame.y(base)
        area = f"{frame.x(float(x[0])):.1f},{level:.1f} {points} {frame.x(float(x[-1])):.1f},{level:.1f}"
        parts.append(f'<polygon class="area {kind}" points="{area}"/>')
        parts.append(f'<line class="base" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{level:.1f}" y2="{level:.1f}"/>')
    parts.append(f'<polyline class="{kind}" points="{points}"/>')
    return _svg(title, height, parts)


def price_chart(
    title: str, times: NDArray[np.int64], closes: Floats, trades: Sequence[Trade], *, height: int = 240
) -> str:
    """A price with every trade: a line from entry to exit, green for a net profit, red for a loss."""
    traded = [float(price) for trade in trades for price in (trade.entry_price, trade.exit_price)]
    frame = _frame(times, np.append(closes, traded), height, None)
    x, y = _thinned(times, closes)
    parts = [_axes(frame), f'<polyline class="price" points="{_points(frame, x, y)}"/>']
    for trade in trades:
        good = "win" if trade.net > 0 else "loss"
        x1, y1 = frame.x(trade.entry_ms), frame.y(float(trade.entry_price))
        x2, y2 = frame.x(trade.exit_ms), frame.y(float(trade.exit_price))
        point = 4.5 if trade.direction is Direction.LONG else -4.5
        told = (
            f"{trade.symbol} {trade.direction.name.lower()} {moment(trade.entry_ms)} at {trade.entry_price} to "
            f"{moment(trade.exit_ms)} at {trade.exit_price}: {trade.reason}, {trade.net:+,.2f} USDT"
        )
        parts.append(
            f'<g class="{good}"><title>{escape(told)}</title>'
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
            f'<path d="M{x1 - 4:.1f} {y1 + point:.1f} L{x1 + 4:.1f} {y1 + point:.1f} L{x1:.1f} {y1 - point:.1f}Z"/>'
            f'<circle cx="{x2:.1f}" cy="{y2:.1f}" r="2.6"/></g>'
        )
    return _svg(title, height, parts)


def _frame(times: NDArray[np.int64], values: Floats, height: int, base: float | None) -> Frame:
    low, high = float(values.min()), float(values.max())
    if base is not None:
        low, high = min(low, base), max(high, base)
    if low == high:
        low, high = low - 1.0, high + 1.0
    room = (high - low) * 0.04
    return Frame(int(times[0]), int(times[-1]), low - room, high + room, height)


def _thinned(times: NDArray[np.int64], values: Floats) -> tuple[NDArray[np.int64], Floats]:
    """At most about `_POINTS` points that keep every bucket's lowest and highest value."""
    if len(values) <= _POINTS:
        return times, values
    edges = np.linspace(0, len(values), _POINTS // 2 + 1).astype(np.int64)
    keep = {0, len(values) - 1}
    for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part = values[first:last]
        keep |= {first + int(part.argmin()), first + int(part.argmax())}
    places = np.array(sorted(keep))
    return times[places], values[places]


def _points(frame: Frame, x: NDArray[np.int64], y: Floats) -> str:
    return " ".join(
        f"{frame.x(time):.1f},{frame.y(value):.1f}" for time, value in zip(x.tolist(), y.tolist(), strict=True)
    )


def _axes(frame: Frame) -> str:
    parts = []
    for value in _round_values(frame.low, frame.high):
        y = frame.y(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_short(value)}</text>')
    for time_ms, name in _round_times(frame.from_ms, frame.to_ms):
        x = frame.x(time_ms)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{frame.floor:.1f}"/>')
        if x <= WIDTH - _HALF_LABEL:
            parts.append(f'<text class="tick" x="{x:.1f}" y="{frame.height - 6}" text-anchor="middle">{name}</text>')
    return "".join(parts)


def _round_values(low: float, high: float, wanted: int = 5) -> list[float]:
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw)
    first = math.ceil(low / step)
    return [number * step for number in range(first, math.floor(high / step) + 1)]


def _round_times(from_ms: int, to_ms: int, wanted: int = 9) -> list[tuple[int, str]]:
    days = (to_ms - from_ms) / _DAY_MS
    for step in _STEPS_DAYS:
        if days / step <= wanted:
            first = -(-from_ms // (_DAY_MS * step)) * _DAY_MS * step
            return [(ms, at(ms).strftime("%d %b")) for ms in range(first, to_ms + 1, _DAY_MS * step)]
    months = next((step for step in _STEPS_MONTHS if days / 30.4 / step <= wanted), _STEPS_MONTHS[-1])
    start = at(from_ms)
    number = start.year * 12 + start.month - 1
    found: list[tuple[int, str]] = []
    while True:
        year, month = divmod(number, 12)
        ms = int(datetime(year, month + 1, 1, tzinfo=UTC).timestamp() * 1000)
        if ms > to_ms:
            return found
        if ms >= from_ms and number % months == 0:
            found.append((ms, at(ms).strftime("%Y" if months >= 12 else "%b %Y")))
        number += 1


def _short(value: float) -> str:
    size = abs(value)
    if size >= 1000 or (value == int(value) and size >= 1):
        return f"{value:,.0f}"
    return f"{value:.6g}"


def _svg(title: str, height: int, parts: list[str]) -> str:
    name = escape(title)
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{name}">{"".join(parts)}</svg>'
