"""Joining candles into longer ones."""

from collections.abc import Sequence
from math import fsum
from typing import NamedTuple, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from alpha.timeframes.boundaries import frame_start, offset_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_DIGITS = 8  # of a volume: a sum of decimal numbers is the decimal number again


class Columns(NamedTuple):
    """Candles as arrays of one length, oldest first; `start_ms` are UTC milliseconds, volume is in base coin.

    Those of several symbols at the same times have one row per symbol, `start_ms` one for all.
    """

    start_ms: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    @classmethod
    def of(
        cls, rows: Sequence[tuple[int, SupportsFloat, SupportsFloat, SupportsFloat, SupportsFloat, SupportsFloat]]
    ) -> "Columns":
        """Rows of start (ms), open, high, low, close, volume as columns."""
        starts = np.array([row[0] for row in rows], dtype=np.int64)
        return cls(starts, *(np.array([float(row[place]) for row in rows]) for place in range(1, 6)))


def from_place(candles: Columns, first: int) -> Columns:
    """The candles from this place on, counted from the end where it is negative; views."""
    return Columns(
        candles.start_ms[first:],
        candles.open[..., first:],
        candles.high[..., first:],
        candles.low[..., first:],
        candles.close[..., first:],
        candles.volume[..., first:],
    )


def aggregate(candles: Columns, base_ms: int, interval_ms: int) -> Columns:
    """The candles of `interval_ms` of which every part of `base_ms` is there. ValueError when it is no multiple."""
    if interval_ms % base_ms:
        raise ValueError(f"{interval_ms} ms is not a multiple of {base_ms} ms")
    parts = interval_ms // base_ms
    if parts == 1:
        return candles
    starts = candles.start_ms
    labels = (starts - offset_of(interval_ms)) // interval_ms
    change = np.flatnonzero(np.diff(labels)) + 1
    first = np.concatenate(([0], change)).astype(np.int64) if len(starts) else np.empty(0, dtype=np.int64)
    count = np.diff(np.concatenate((first, [len(starts)])))
    first = first[count == parts]
    last = first + parts - 1
    if not len(first):
        empty = np.empty(0)
        return Columns(np.empty(0, dtype=np.int64), empty, empty, empty, empty, empty)
    places = first[:, None] + np.arange(parts)
    volumes = candles.volume[places]
    return Columns(
        start_ms=starts[first],
        open=candles.open[first],
        high=candles.high[places].max(axis=1),
        low=candles.low[places].min(axis=1),
        close=candles.close[last],
        volume=np.array([round(fsum(row), _DIGITS) for row in volumes.tolist()]),
    )


def known_at(end_ms: Ints, frame_starts: Ints, interval_ms: int) -> Ints:
    """For each time, the place of the candle that ended at or before it, and -1 where that candle is missing."""
    if not len(frame_starts):
        return np.full(len(end_ms), -1, dtype=np.int64)
    offset = offset_of(interval_ms)
    wanted = (end_ms - offset) // interval_ms * interval_ms + offset - interval_ms
    places = np.searchsorted(frame_starts, wanted)
    found = places < len(frame_starts)
    places = np.where(found, places, 0)
    return np.where(found & (frame_starts[places] == wanted), places, -1)


def newest_start(end_ms: int, interval_ms: int) -> int:
    """Start of the newest candle that ended at or before `end_ms`."""
    return frame_start(interval_ms, end_ms) - interval_ms
