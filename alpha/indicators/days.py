"""Completed UTC days aggregated from shorter bars."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alpha.indicators.memo import memoised
from alpha.indicators.recursive import DAY_MS
from alpha.indicators.rolling import Floats


class Days(NamedTuple):
    """Whole UTC days, oldest first, and for each bar the latest day complete at its close (-1: none)."""

    first_ms: int
    high: Floats
    low: Floats
    close: Floats
    known: NDArray[np.int64]


@memoised
def completed_days(high: Floats, low: Floats, close: Floats, first_ms: int, interval_ms: int) -> Days:
    """Aggregate consecutive bars (float64, shape (n,); the first starts at `first_ms`) into UTC days.

    Partial days at the beginning and end of the data are omitted. Raises ValueError when a day
    is not a multiple of the interval.
    """
    if DAY_MS % interval_ms:
        raise ValueError(f"bars of {interval_ms} ms do not divide a day evenly")
    block = DAY_MS // interval_ms
    skip = -(first_ms // interval_ms) % block
    count = max(0, (len(close) - skip) // block)
    end = skip + count * block
    closed = (np.arange(len(close)) + 1 - skip) // block - 1
    return Days(
        first_ms=first_ms + skip * interval_ms,
        high=high[skip:end].reshape(count, block).max(axis=1) if count else np.empty(0),
        low=low[skip:end].reshape(count, block).min(axis=1) if count else np.empty(0),
        close=close[skip:end].reshape(count, block)[:, -1] if count else np.empty(0),
        known=np.maximum(closed, -1),
    )
