"""Recursive averages, exponential and Wilder's, anchored so that they do not depend on where the data begin.

A recursive average has a seed, and two processes that started at different times differ by its remainder. Here the
value at a bar is computed anew from a fixed number of bars before its UTC day: the average of a bar of day D starts
`warm-up` bars before the first bar of D and runs up to the bar. So it depends on those bars only, is the
same to the last bit however much history is available, and the seed has decayed to e^-10 (5 n bars for an
exponential average, whose time constant is n / 2 bars; 10 n for Wilder's, whose time constant is n).

All days of all series are computed in parallel, one vector operation per step; a few days run sequentially, which is the
same arithmetic and therefore gives the same bits.
"""

import numpy as np

from alpha.indicators.memo import memoised
from alpha.indicators.rolling import Floats

DAY_MS = 86_400_000
_FEW_DAYS = 24  # of all series together, up to which plain floats are faster than vectors


def ema_warm_up(n: int) -> int:
    """Warm-up of an exponential average of period n, in bars before the day."""
    return 5 * n


def wilder_warm_up(n: int) -> int:
    """Warm-up of Wilder's average of period n, in bars before the day."""
    return 10 * n


def bars_of_history(warm_up: int, interval_ms: int) -> int:
    """How many closed bars the latest value may need: the warm-up and a whole UTC day."""
    return warm_up + bars_a_day(interval_ms)


def bars_a_day(interval_ms: int) -> int:
    """Bars per block: those of a UTC day, or one if a bar is a day or longer."""
    return max(1, DAY_MS // interval_ms)


@memoised
def ema(values: Floats, n: int, first_ms: int, interval_ms: int) -> Floats:
    """The exponential moving average, smoothing 2 / (n + 1).

    `values` (float64, shape (..., n)) belong to consecutive bars, the first starting at `first_ms` (UTC). NaN where the
    warm-up before the bar's day is missing.
    """
    return _anchored(values, 2.0 / (n + 1), ema_warm_up(n), first_ms, interval_ms)


@memoised
def wilder(values: Floats, n: int, first_ms: int, interval_ms: int) -> Floats:
    """Wilder's smoothed average, smoothing 1 / n (J. Welles Wilder, New Concepts in Technical Trading Systems, 1978).

    Arguments as for `ema`.
    """
    return _anchored(values, 1.0 / n, wilder_warm_up(n), first_ms, interval_ms)


def _anchored(values: Floats, weight: float, warm_up: int, first_ms: int, interval_ms: int) -> Floats:
    """One average per series of `values` (shape (..., n))."""
    block = bars_a_day(interval_ms)
    length = values.shape[-1]
    result = np.full(values.shape, np.nan)
    number = first_ms // interval_ms  # index of the first bar since 1970; days begin at multiples of `block`
    start = -number % block  # index of the first day's first bar
    while start < warm_up:
        start += block
    if start >= length:
        return result
    days = -(-(length - start) // block)
    rest = 1.0 - weight
    series = values.reshape(-1, length)
    if days * len(series) <= _FEW_DAYS:
        for row, into in zip(series, result.reshape(-1, length), strict=True):
            into[start:] = _one_by_one(row, row * weight, rest, warm_up, start, block)[: length - start]
        return result
    # what one step needs lies side by side in memory: the series where they are many, otherwise the days
    many = len(series) > days
    base = start - warm_up
    bars = np.full((start + days * block - base, len(series)), np.nan, order="C" if many else "F")
    bars[: length - base] = series[:, base:].T  # the last day may be incomplete
    out = np.empty((block, days, len(series))) if many else np.empty((block, len(series), days)).swapaxes(1, 2)
    into = out
    if len(series) == 1:
        bars, into = bars[:, 0], out[..., 0]  # over a single axis NumPy is quicker
    weighted = bars * weight
    reach = (days - 1) * block + 1
    average = bars[:reach:block].copy(order="K")
    for at in range(1, warm_up + block):
        np.multiply(average, rest, out=average)
        np.add(average, weighted[at : at + reach : block], out=average)
        if at >= warm_up:
            into[at - warm_up] = average
    found = out.transpose(2, 1, 0).reshape(*values.shape[:-1], -1)
    result[..., start:] = found[..., : length - start]
    return result


def _one_by_one(values: Floats, weighted: Floats, rest: float, warm_up: int, start: int, block: int) -> list[float]:
    """The same for a few days, sequentially: for so few, plain floats are faster than vectors."""
    values = values[start - warm_up :]
    seeds, terms, start = values.tolist(), weighted[-len(values) :].tolist(), warm_up
    result: list[float] = []
    for first in range(start, len(terms), block):
        average = seeds[first - warm_up]
        for term in terms[first - warm_up + 1 : first]:
            average = average * rest + term
        for term in terms[first : first + block]:
            average = average * rest + term
            result.append(average)
    return result
