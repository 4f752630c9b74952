"""Bybit's candle intervals and aggregation of bars into them. Days, weeks (from Monday) and months are UTC."""

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from exchange_simulator.market.model import DAY_MS, MINUTE_MS, Bar

Rows = NDArray[np.int64]  # shape (n, 6): the columns of Bar

_MINUTES = ("1", "3", "5", "15", "30", "60", "120", "240", "360", "720")
INTERVALS = (*_MINUTES, "D", "W", "M")
FIXED_MS = {name: int(name) * MINUTE_MS for name in _MINUTES} | {"D": DAY_MS, "W": 7 * DAY_MS}
_FIRST_MONDAY_MS = 4 * DAY_MS  # 1970-01-05


def bucket_start(interval: str, time_ms: int) -> int:
    """Start of the candle of `interval` that contains `time_ms`. Raises `KeyError` for an interval
    Bybit does not have.
    """
    if interval == "M":
        moment = datetime.fromtimestamp(time_ms // 1000, UTC)
        return int(datetime(moment.year, moment.month, 1, tzinfo=UTC).timestamp()) * 1000
    length = FIXED_MS[interval]
    if interval == "W":
        return (time_ms - _FIRST_MONDAY_MS) // length * length + _FIRST_MONDAY_MS
    return time_ms // length * length


def bucket_end(interval: str, start_ms: int) -> int:
    """Start of the candle after the one that starts at `start_ms`."""
    if interval == "M":
        moment = datetime.fromtimestamp(start_ms // 1000, UTC)
        year, month = (moment.year + 1, 1) if moment.month == 12 else (moment.year, moment.month + 1)
        return int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1000
    return start_ms + FIXED_MS[interval]


def bucket_starts(interval: str, from_ms: int, to_ms: int) -> list[int]:
    """Starts of the candles with `from_ms <= start < to_ms`, oldest first."""
    start = bucket_start(interval, from_ms)
    if start < from_ms:
        start = bucket_end(interval, start)
    if interval != "M":
        return list(range(start, to_ms, FIXED_MS[interval]))
    starts = []
    while start < to_ms:
        starts.append(start)
        start = bucket_end(interval, start)
    return starts


def join(rows: Rows, interval: str) -> Rows:
    """Aggregates bars, oldest first, into candles of `interval`; the first and last may be incomplete."""
    if not len(rows):
        return rows
    times = rows[:, 0]
    if interval == "M":
        labels = times.astype("datetime64[ms]").astype("datetime64[M]").astype("datetime64[ms]").astype(np.int64)
    else:
        length, offset = FIXED_MS[interval], _FIRST_MONDAY_MS if interval == "W" else 0
        labels = (times - offset) // length * length + offset
    firsts = np.flatnonzero(np.concatenate(([True], labels[1:] != labels[:-1])))
    lasts = np.concatenate((firsts[1:], [len(rows)])) - 1
    return np.column_stack(
        (
            labels[firsts],
            rows[firsts, 1],
            np.maximum.reduceat(rows[:, 2], firsts),
            np.minimum.reduceat(rows[:, 3], firsts),
            rows[lasts, 4],
            np.add.reduceat(rows[:, 5], firsts),
        )
    )


def to_bars(rows: Rows) -> list[Bar]:
    """Converts rows to bars of Python ints."""
    return [Bar(*row) for row in rows.tolist()]
