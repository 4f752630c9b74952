"""MACD, stochastic, CCI, money flow, on-balance volume and z-score.

All take float64 of shape (..., n), the last axis being time, of consecutive bars and give the same shape, NaN until there is enough history.
"""

from typing import NamedTuple

import numpy as np

from alpha.indicators.ranges import highest, lowest
from alpha.indicators.recursive import bars_of_history, ema, ema_warm_up
from alpha.indicators.rolling import Floats, deviation, first_known, in_order, ratio, rolling_sum, sma


class Macd(NamedTuple):
    """`histogram` is line - signal."""

    line: Floats
    signal: Floats
    histogram: Floats


class Stochastic(NamedTuple):
    """Smoothed %K and its average %D, 0 to 100."""

    k: Floats
    d: Floats


def macd(close: Floats, fast: int, slow: int, signal: int, first_ms: int, interval_ms: int) -> Macd:
    """Fast less slow exponential average, and the exponential average of that (Gerald Appel)."""
    line = ema(close, fast, first_ms, interval_ms) - ema(close, slow, first_ms, interval_ms)
    smoothed = np.full(close.shape, np.nan)
    first = first_known(line)
    if first is not None:
        smoothed[..., first:] = ema(line[..., first:], signal, first_ms + first * interval_ms, interval_ms)
    return Macd(line, smoothed, line - smoothed)


def macd_history(fast: int, slow: int, signal: int, interval_ms: int) -> int:
    """Closed bars that `macd` may need for the newest one."""
    longest = bars_of_history(ema_warm_up(max(fast, slow)), interval_ms)
    return longest + bars_of_history(ema_warm_up(signal), interval_ms)


def stochastic(high: Floats, low: Floats, close: Floats, n: int, smooth: int = 3, d: int = 3) -> Stochastic:
    """Where the close lies in the range of n bars (George Lane), averaged over `smooth` bars; 50 in a range of nothing."""
    top, bottom = highest(high, n), lowest(low, n)
    span = top - bottom
    fast = np.where(span == 0.0, 50.0, ratio(close - bottom, span) * 100.0)
    k = sma(np.where(np.isnan(span), np.nan, fast), smooth)
    return Stochastic(k, sma(k, d))


def cci(high: Floats, low: Floats, close: Floats, n: int) -> Floats:
    """Commodity channel index (Donald Lambert): the typical price's distance from its average in 0.015 mean deviations."""
    typical = (high + low + close) / 3.0
    mean = sma(typical, n)
    result = np.full(close.shape, np.nan)
    count = close.shape[-1] - n + 1
    if count <= 0:
        return result
    centre = mean[..., n - 1 :]
    away = np.zeros(centre.shape)
    if count <= 4:
        for place in range(count):
            away[..., place] = in_order(np.abs(typical[..., place : place + n] - centre[..., place, None]))
    else:
        for place in range(n):
            away += np.abs(typical[..., place : place + count] - centre)
    scale = 0.015 * away / n
    result[..., n - 1 :] = np.where(scale == 0.0, 0.0, ratio(typical[..., n - 1 :] - centre, scale))
    return result


def money_flow_index(high: Floats, low: Floats, close: Floats, volume: Floats, n: int) -> Floats:
    """Money flow index, 0 to 100: the share of turnover on rising typical prices over n bars; 50 where none moved."""
    typical = (high + low + close) / 3.0
    flow = typical * volume
    moves = np.full(close.shape, np.nan)
    moves[..., 1:] = np.diff(typical)
    rising = rolling_sum(np.where(np.isnan(moves), np.nan, np.where(moves > 0.0, flow, 0.0)), n)
    falling = rolling_sum(np.where(np.isnan(moves), np.nan, np.where(moves < 0.0, flow, 0.0)), n)
    both = rising + falling
    return np.where(np.isnan(both), np.nan, np.where(both == 0.0, 50.0, ratio(rising, both) * 100.0))


def on_balance_volume(close: Floats, volume: Floats, n: int) -> Floats:
    """The change of on-balance volume (Joseph Granville) over n bars: volume of rising less that of falling closes.

    The running total itself depends on where the data begin; its change over n bars does not.
    """
    signed = np.full(close.shape, np.nan)
    signed[..., 1:] = np.sign(np.diff(close)) * volume[..., 1:]
    return rolling_sum(signed, n)


def z_score(values: Floats, n: int) -> Floats:
    """How many sample standard deviations a value lies from the mean of n values; NaN where they are all alike."""
    mean = sma(values, n)
    return ratio(values - mean, deviation(values, n, mean))
