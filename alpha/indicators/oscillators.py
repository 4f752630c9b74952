"""Wilder's RSI and ADX, from anchored averages (see `recursive`)."""

import numpy as np

from alpha.indicators.memo import memoised
from alpha.indicators.recursive import bars_of_history, wilder, wilder_warm_up
from alpha.indicators.rolling import Floats, ratio


@memoised
def rsi(close: Floats, n: int, first_ms: int, interval_ms: int) -> Floats:
    """Relative strength index, 0 to 100: 100 - 100 / (1 + average gain / average loss); 50 without any change.

    `close` (float64, shape (n,)) holds closes of consecutive bars, the first starting at `first_ms`. NaN until warm.
    """
    if len(close) < 2:
        return np.full(len(close), np.nan)
    moves = np.diff(close)
    gain = wilder(np.maximum(moves, 0.0), n, first_ms + interval_ms, interval_ms)
    loss = wilder(np.maximum(-moves, 0.0), n, first_ms + interval_ms, interval_ms)
    total = gain + loss
    share = np.where(total == 0.0, 50.0, ratio(gain, total) * 100.0)
    result = np.full(len(close), np.nan)
    result[1:] = np.where(np.isnan(total), np.nan, share)
    return result


def rsi_history(n: int, interval_ms: int) -> int:
    """Number of closed bars `rsi` may need for the latest value."""
    return bars_of_history(wilder_warm_up(n), interval_ms) + 1


@memoised
def adx(high: Floats, low: Floats, close: Floats, n: int, first_ms: int, interval_ms: int) -> Floats:
    """Average directional index, 0 to 100 (Wilder 1978): the smoothed DX of +DI and -DI; DX is 0 where both are 0."""
    if len(close) < 2:
        return np.full(len(close), np.nan)
    up, down = np.diff(high), -np.diff(low)
    plus = np.where((up > down) & (up > 0), up, 0.0)
    minus = np.where((down > up) & (down > 0), down, 0.0)
    before = close[:-1]
    true_range = np.maximum(high[1:], before) - np.minimum(low[1:], before)
    second = first_ms + interval_ms
    span = wilder(true_range, n, second, interval_ms)
    rising = ratio(wilder(plus, n, second, interval_ms), span)
    falling = ratio(wilder(minus, n, second, interval_ms), span)
    both = rising + falling
    dx = np.where(both == 0.0, 0.0, ratio(np.abs(rising - falling), both) * 100.0)
    known = np.flatnonzero(~np.isnan(both))
    result = np.full(len(close), np.nan)
    if len(known):
        first = int(known[0])
        result[1 + first :] = wilder(dx[first:], n, second + first * interval_ms, interval_ms)
    return result


def adx_history(n: int, interval_ms: int) -> int:
    """Number of closed bars `adx` may need for the latest value."""
    return 2 * bars_of_history(wilder_warm_up(n), interval_ms) + 1
