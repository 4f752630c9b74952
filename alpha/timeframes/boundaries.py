"""When the candles of an interval begin."""

from alpha.errors import Misconfigured
from alpha.model.interval import INTERVAL_MS

_FIRST_MONDAY_MS = 4 * 86_400_000  # 1970-01-05
WEEK_MS = 7 * 86_400_000


def offset_of(interval_ms: int) -> int:
    """When the first candle of an interval began, in milliseconds since the epoch: weeks begin on Monday."""
    return _FIRST_MONDAY_MS if interval_ms == WEEK_MS else 0


def frame_start(interval_ms: int, time_ms: int) -> int:
    """Start of the candle of `interval_ms` that holds `time_ms` (UTC milliseconds)."""
    offset = offset_of(interval_ms)
    return (time_ms - offset) // interval_ms * interval_ms + offset


def frame_ms(interval: str, base_ms: int) -> int:
    """Length of a further timeframe in milliseconds. Misconfigured unless it is a longer multiple of the base."""
    length = INTERVAL_MS.get(interval)
    if length is None:
        raise Misconfigured(f"Timeframe {interval!r} does not exist. Bybit has {', '.join(INTERVAL_MS)}.")
    if length <= base_ms or length % base_ms:
        raise Misconfigured(
            f"Timeframe {interval!r} must be a multiple of the base interval of {base_ms // 60_000} minutes, and longer."
        )
    return length
