"""Bybit's candle intervals, and when a candle ends."""

from datetime import UTC, datetime

from alpha.errors import Rejected
from alpha.model.timestamp import at, ms_of

_MINUTE_MS = 60_000
#: Length of every fixed-length interval, in milliseconds. A month ("M") has none.
INTERVAL_MS = {
    **{str(minutes): minutes * _MINUTE_MS for minutes in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720)},
    "D": 1_440 * _MINUTE_MS,
    "W": 7 * 1_440 * _MINUTE_MS,
}


def end_of(start_ms: int, interval: str) -> int:
    """When the candle that starts at `start_ms` ends (exclusive). Raises Rejected for an unknown interval."""
    length = INTERVAL_MS.get(interval)
    if length is not None:
        return start_ms + length
    if interval == "M":
        start = at(start_ms)
        year, month = (start.year + 1, 1) if start.month == 12 else (start.year, start.month + 1)
        return ms_of(datetime(year, month, 1, tzinfo=UTC))
    raise Rejected(f"Bybit has no candle interval {interval!r}; it has {', '.join([*INTERVAL_MS, 'M'])}.")
