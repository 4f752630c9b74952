"""Figures of one session: a UTC day."""

import numpy as np

from alpha.indicators.recursive import bars_a_day
from alpha.indicators.rolling import Floats, ratio


def session_vwap(high: Floats, low: Floats, close: Floats, volume: Floats, first_ms: int, interval_ms: int) -> Floats:
    """The average typical price since the UTC day began, weighted with volume (float64, shape (..., n)).

    The first bar starts at `first_ms`. NaN in the day that the data begin inside of, and while nothing was traded.
    """
    length, block = close.shape[-1], bars_a_day(interval_ms)
    result = np.full(close.shape, np.nan)
    start = -(first_ms // interval_ms) % block
    days = -(-(length - start) // block)
    if days <= 0:
        return result
    rows = close.shape[:-1]
    padding = np.zeros((*rows, start + days * block - length))

    def by_day(values: Floats) -> Floats:
        return np.concatenate((values, padding), axis=-1)[..., start:].reshape(*rows, days, block)

    traded = by_day(volume)
    typical = by_day((high + low + close) / 3.0)
    value, quantity = np.cumsum(typical * traded, axis=-1), np.cumsum(traded, axis=-1)
    result[..., start:] = ratio(value.reshape(*rows, -1), quantity.reshape(*rows, -1))[..., : length - start]
    return result


def session_history(interval_ms: int) -> int:
    """Closed bars that a session's figure may need for the newest one."""
    return bars_a_day(interval_ms)
