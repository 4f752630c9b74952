"""Bollinger bands and relative volume."""

from typing import NamedTuple

from alpha.indicators.memo import memoised
from alpha.indicators.rolling import Floats, deviation, lagged, ratio, sma


class Bands(NamedTuple):
    """Bollinger bands; `width` is (upper - lower) / middle."""

    middle: Floats
    upper: Floats
    lower: Floats
    width: Floats


@memoised
def bollinger(close: Floats, n: int, deviations: float) -> Bands:
    """Bands `deviations` sample standard deviations around the simple average of n closes (float64, shape (..., n))."""
    middle = sma(close, n)
    away = deviation(close, n, middle) * deviations
    upper, lower = middle + away, middle - away
    return Bands(middle, upper, lower, ratio(upper - lower, middle))


@memoised
def relative_volume(volume: Floats, n: int) -> Floats:
    """Volume divided by the mean volume of the previous n bars; NaN where that mean is zero."""
    return ratio(volume, lagged(sma(volume, n), 1))
