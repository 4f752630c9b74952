"""True range, Wilder's average of it, and the channels of highs, lows and ranges.

All take float64 of shape (..., n), the last axis being time, of consecutive bars and give the same shape, NaN until there is enough history.
"""

from typing import NamedTuple

import numpy as np

from alpha.indicators.memo import memoised
from alpha.indicators.recursive import (
    bars_a_day,
    bars_of_history,
    ema,
    ema_warm_up,
    wilder,
    wilder_warm_up,
)
from alpha.indicators.rolling import Floats, first_known


class Channel(NamedTuple):
    """A channel around the price."""

    upper: Floats
    middle: Floats
    lower: Floats


class Supertrend(NamedTuple):
    """The line below (`direction` 1) or above (-1) the price."""

    line: Floats
    direction: Floats


@memoised
def highest(values: Floats, n: int) -> Floats:
    """The highest of each value and the n - 1 before it."""
    return _extreme(values, n, np.maximum)


@memoised
def lowest(values: Floats, n: int) -> Floats:
    """The lowest of each value and the n - 1 before it."""
    return _extreme(values, n, np.minimum)


def donchian(high: Floats, low: Floats, n: int) -> Channel:
    """Donchian's channel: the highest high and the lowest low of n bars, and their mean."""
    upper, lower = highest(high, n), lowest(low, n)
    return Channel(upper, (upper + lower) / 2.0, lower)


def true_range(high: Floats, low: Floats, close: Floats) -> Floats:
    """The range of a bar and the gap before it (Wilder 1978); NaN at the first bar."""
    result = np.full(close.shape, np.nan)
    if close.shape[-1] > 1:
        before = close[..., :-1]
        result[..., 1:] = np.maximum(high[..., 1:], before) - np.minimum(low[..., 1:], before)
    return result


@memoised
def atr(high: Floats, low: Floats, close: Floats, n: int, first_ms: int, interval_ms: int) -> Floats:
    """Average true range: Wilder's average of the true range. The first bar starts at `first_ms` (UTC)."""
    result = np.full(close.shape, np.nan)
    if close.shape[-1] > 1:
        ranges = true_range(high, low, close)[..., 1:]
        result[..., 1:] = wilder(ranges, n, first_ms + interval_ms, interval_ms)
    return result


def atr_history(n: int, interval_ms: int) -> int:
    """Closed bars that `atr` may need for the newest one."""
    return bars_of_history(wilder_warm_up(n), interval_ms) + 1


def keltner(
    high: Floats,
    low: Floats,
    close: Floats,
    n: int,
    multiple: float,
    first_ms: int,
    interval_ms: int,
    *,
    atr_n: int = 10,
) -> Channel:
    """Keltner's channel: the exponential average of n closes, and `multiple` average true ranges around it."""
    middle = ema(close, n, first_ms, interval_ms)
    away = atr(high, low, close, atr_n, first_ms, interval_ms) * multiple
    return Channel(middle + away, middle, middle - away)


def keltner_history(n: int, interval_ms: int, *, atr_n: int = 10) -> int:
    """Closed bars that `keltner` may need for the newest one."""
    return max(bars_of_history(ema_warm_up(n), interval_ms), atr_history(atr_n, interval_ms))


def supertrend(
    high: Floats, low: Floats, close: Floats, n: int, multiple: float, first_ms: int, interval_ms: int
) -> Supertrend:
    """Supertrend (Olivier Seban): bands of `multiple` average true ranges that only tighten until the close breaks one.

    It remembers its side, so like the averages it starts afresh for each UTC day, 10 n bars before its first bar, on the
    lower side.
    """
    length = close.shape[-1]
    line, side = np.full(close.shape, np.nan), np.full(close.shape, np.nan)
    middle = (high + low) / 2.0
    away = atr(high, low, close, n, first_ms, interval_ms) * multiple
    known = first_known(away)
    if known is None:
        return Supertrend(line, side)
    warm_up, block = wilder_warm_up(n), bars_a_day(interval_ms)
    start = -(first_ms // interval_ms) % block
    while start - warm_up < known:
        start += block
    upper, lower = (middle + away).reshape(-1, length).tolist(), (middle - away).reshape(-1, length).tolist()
    closes, lines, sides = (each.reshape(-1, length) for each in (close, line, side))
    for row, closed in enumerate(closes.tolist()):
        for first in range(start, length, block):
            last = min(first + block, length)
            lines[row, first:last], sides[row, first:last] = _supertrend_day(
                upper[row][first - warm_up : last],
                lower[row][first - warm_up : last],
                closed[first - warm_up : last],
                warm_up,
            )
    return Supertrend(line, side)


def _supertrend_day(
    upper: list[float], lower: list[float], closes: list[float], warm_up: int
) -> tuple[list[float], list[float]]:
    """Line and side of a UTC day's bars, `warm_up` bars before which the arguments begin."""
    line: list[float] = []
    side: list[float] = []
    top, bottom, up, before = upper[0], lower[0], True, closes[0]
    for at in range(1, len(closes)):
        above, below, now = upper[at], lower[at], closes[at]
        if above < top or before > top:
            top = above
        if below > bottom or before < bottom:
            bottom = below
        up = now >= bottom if up else now > top
        before = now
        if at >= warm_up:
            line.append(bottom if up else top)
            side.append(1.0 if up else -1.0)
    return line, side


def supertrend_history(n: int, interval_ms: int) -> int:
    """Closed bars that `supertrend` may need for the newest one."""
    return atr_history(n, interval_ms) + bars_of_history(wilder_warm_up(n), interval_ms)


def _extreme(values: Floats, n: int, of: np.ufunc) -> Floats:
    if n < 1:
        raise ValueError(f"a window needs at least one value, not {n}")
    result = np.full(values.shape, np.nan)
    count = values.shape[-1] - n + 1
    if count <= 0:
        return result
    if count <= 4:
        for place in range(count):
            result[..., n - 1 + place] = of.reduce(values[..., place : place + n], axis=-1)
        return result
    found = values[..., :count].copy()
    for place in range(1, n):
        of(found, values[..., place : place + count], out=found)
    result[..., n - 1 :] = found
    return result
