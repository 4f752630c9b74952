"""Wilder's RSI and ADX, from anchored averages (see `recursive`)."""

from typing import NamedTuple

import numpy as np

from alpha.indicators.memo import memoised
from alpha.indicators.ranges import true_range
from alpha.indicators.recursive import bars_of_history, wilder, wilder_warm_up
from alpha.indicators.rolling import Floats, first_known, ratio


class Directional(NamedTuple):
    """Wilder's +DI, -DI and ADX, each 0 to 100."""

    plus: Floats
    minus: Floats
    adx: Floats


@memoised
def rsi(close: Floats, n: int, first_ms: int, interval_ms: int) -> Floats:
    """Relative strength index, 0 to 100: 100 - 100 / (1 + average gain / average loss); 50 without any change.

    `close` (float64, shape (..., n)) holds closes of consecutive bars, the first starting at `first_ms`. NaN until warm.
    """
    if close.shape[-1] < 2:
        return np.full(close.shape, np.nan)
    moves = np.diff(close)
    both = np.array((np.maximum(moves, 0.0), np.maximum(-moves, 0.0)))
    gain, loss = wilder(both, n, first_ms + interval_ms, interval_ms)
    total = gain + loss
    share = np.where(total == 0.0, 50.0, ratio(gain, total) * 100.0)
    result = np.full(close.shape, np.nan)
    result[..., 1:] = np.where(np.isnan(total), np.nan, share)
    return result


def rsi_history(n: int, interval_ms: int) -> int:
    """Number of closed bars `rsi` may need for the latest value."""
    return bars_of_history(wilder_warm_up(n), interval_ms) + 1


@memoised
def adx(high: Floats, low: Floats, close: Floats, n: int, first_ms: int, interval_ms: int) -> Floats:
    """Average directional index, 0 to 100 (Wilder 1978): the smoothed DX of +DI and -DI; DX is 0 where both are 0."""
    return directional(high, low, close, n, first_ms, interval_ms).adx


def directional(high: Floats, low: Floats, close: Floats, n: int, first_ms: int, interval_ms: int) -> Directional:
    """+DI, -DI and ADX of n bars; float64, shape (..., n) of consecutive bars, the first starting at `first_ms` (UTC)."""
    plus_di, minus_di, result = (np.full(close.shape, np.nan) for _ in range(3))
    if close.shape[-1] < 2:
        return Directional(plus_di, minus_di, result)
    up, down = np.diff(high), -np.diff(low)
    plus = np.where((up > down) & (up > 0), up, 0.0)
    minus = np.where((down > up) & (down > 0), down, 0.0)
    second = first_ms + interval_ms
    ranges = true_range(high, low, close)[..., 1:]
    span, up_moves, down_moves = wilder(np.array((ranges, plus, minus)), n, second, interval_ms)
    rising, falling = ratio(up_moves, span), ratio(down_moves, span)
    both = rising + falling
    plus_di[..., 1:], minus_di[..., 1:] = rising * 100.0, falling * 100.0
    dx = np.where(both == 0.0, 0.0, ratio(np.abs(rising - falling), both) * 100.0)
    first = first_known(both)
    if first is not None:
        result[..., 1 + first :] = wilder(dx[..., first:], n, second + first * interval_ms, interval_ms)
    return Directional(plus_di, minus_di, result)


def adx_history(n: int, interval_ms: int) -> int:
    """Number of closed bars `adx` may need for the latest value."""
    return 2 * bars_of_history(wilder_warm_up(n), interval_ms) + 1
