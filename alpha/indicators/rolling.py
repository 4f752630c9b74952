"""Rolling statistics over the last n values, bit for bit equal for equal n values.

A running sum (add the new value, subtract the old one) carries rounding errors from wherever the data begin, so that
two processes with different histories disagree in the last digits. Here every window is summed independently, oldest
value first, for all windows at once: n compiled vector additions, without any state from earlier values.

All take float64 of shape (..., n), the last axis being time, and return float64 of the same shape, NaN where the window is
incomplete or has a NaN. Several series at once, one per row, get the bits that each gets by itself.
"""

import numpy as np
from numpy.typing import NDArray

from alpha.indicators.memo import memoised

Floats = NDArray[np.float64]
_FEW = 4  # windows up to which one after the other is faster than all at once


def rolling_sum(values: Floats, n: int) -> Floats:
    """The sum of each value and the previous n - 1."""
    _check(n)
    result = np.full(values.shape, np.nan)
    count = values.shape[-1] - n + 1
    if count <= 0:
        return result
    if count <= _FEW:
        for place in range(count):
            result[..., n - 1 + place] = in_order(values[..., place : place + n])
        return result
    total = np.zeros((*values.shape[:-1], count))
    for place in range(n):
        total += values[..., place : place + count]
    result[..., n - 1 :] = total
    return result


def in_order(values: Floats) -> Floats:
    """The sum over time, oldest value first: the bits of adding one by one, which `sum` does not promise."""
    total: Floats = np.add.accumulate(values, axis=-1)[..., -1] + 0.0
    return total


@memoised
def sma(values: Floats, n: int) -> Floats:
    """The simple moving average of n values."""
    return rolling_sum(values, n) / n


@memoised
def deviation(values: Floats, n: int, mean: Floats | None = None) -> Floats:
    """The sample standard deviation (divisor n - 1) of n values, from their own mean, in two passes.

    `mean` is `sma(values, n)` if the caller already has it.
    """
    if n < 2:
        raise ValueError(f"a sample deviation needs at least two values, not {n}")
    result = np.full(values.shape, np.nan)
    count = values.shape[-1] - n + 1
    if count <= 0:
        return result
    centre = (sma(values, n) if mean is None else mean)[..., n - 1 :]
    if count <= _FEW:
        for place in range(count):
            away = values[..., place : place + n] - centre[..., place, None]
            result[..., n - 1 + place] = np.sqrt(in_order(away * away) / (n - 1))
        return result
    squares = np.zeros((*values.shape[:-1], count))
    for place in range(n):
        away = values[..., place : place + count] - centre
        away *= away
        squares += away
    result[..., n - 1 :] = np.sqrt(squares / (n - 1))
    return result


@memoised
def share_below(values: Floats, n: int) -> Floats:
    """The share (0 to 1) of the previous n values that are strictly below each value."""
    _check(n)
    result = np.full(values.shape, np.nan)
    count = values.shape[-1] - n
    if count <= 0:
        return result
    newest = values[..., n:]
    below = np.zeros(newest.shape, dtype=np.int64)
    known = ~np.isnan(newest)
    for place in range(n):
        earlier = values[..., place : place + count]
        below += earlier < newest
        known &= ~np.isnan(earlier)
    result[..., n:] = np.where(known, below / n, np.nan)
    return result


def lagged(values: Floats, n: int) -> Floats:
    """The value n positions earlier."""
    _check(n)
    result = np.full(values.shape, np.nan)
    if n < values.shape[-1]:
        result[..., n:] = values[..., :-n]
    return result


@memoised
def change_pct(values: Floats, n: int) -> Floats:
    """The change over n positions, in percent of the earlier value; NaN where that is zero."""
    earlier = lagged(values, n)
    return ratio(values - earlier, earlier) * 100.0


def ratio(above: Floats, below: Floats) -> Floats:
    """above / below, NaN where below is zero."""
    result = np.full(above.shape, np.nan)
    np.divide(above, below, out=result, where=below != 0)
    return result


def first_known(values: Floats) -> int | None:
    """The first place at which any of the series has a value; None where none has."""
    known = ~np.isnan(values)
    places = np.flatnonzero(known if known.ndim == 1 else known.reshape(-1, known.shape[-1]).any(axis=0))
    return int(places[0]) if len(places) else None


def _check(n: int) -> None:
    if n < 1:
        raise ValueError(f"a window needs at least one value, not {n}")
