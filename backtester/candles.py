"""Closed candles of a back-test: sound, without gaps, and named by a fingerprint."""

import hashlib
from collections.abc import Iterable

import numpy as np

from alpha.errors import Misconfigured
from alpha.indicators import Floats
from alpha.model.timestamp import at
from alpha.strategy.bars import Bars

COLUMNS = ("open", "high", "low", "close", "volume")


def column(bars: Bars, name: str) -> Floats:
    """One of open, high, low, close, volume."""
    values: Floats = getattr(bars, name)
    return values


def first_ms(bars: Bars) -> int:
    """Start of the first candle, UTC milliseconds."""
    return int(bars.start_ms[0])


def end_ms(bars: Bars) -> int:
    """End of the last candle, exclusive."""
    return int(bars.start_ms[-1]) + bars.interval_ms


def between(bars: Bars, from_ms: int, to_ms: int) -> Bars:
    """The candles that start within `from_ms <= start < to_ms`."""
    low, high = np.searchsorted(bars.start_ms, (from_ms, to_ms))
    part = slice(int(low), int(high))
    columns = (column(bars, name)[part] for name in COLUMNS)
    return Bars(bars.symbol, bars.interval_ms, bars.start_ms[part], *columns, auxiliary=bars.auxiliary)


def fingerprint(series: Iterable[Bars]) -> str:
    """Sixteen hex digits that name exactly these candles, whatever file format they were read from."""
    digest = hashlib.sha256()
    for candles in sorted(series, key=lambda one: one.symbol):
        digest.update(f"{candles.symbol} {candles.interval_ms} {len(candles)}\n".encode())
        digest.update(candles.start_ms.tobytes())
        for name in COLUMNS:
            digest.update(column(candles, name).tobytes())
    return digest.hexdigest()[:16]


def check(candles: Bars, source: str) -> None:
    """Raise Misconfigured, naming `source`, the candle and the fault, unless these are sound candles; gaps are none."""
    if len(candles) == 0:
        raise Misconfigured(f"{source} holds no candle: download it again.")
    steps = np.diff(candles.start_ms)
    for place in np.flatnonzero(steps <= 0)[:1]:
        here, after = int(candles.start_ms[place]), int(candles.start_ms[place + 1])
        raise Misconfigured(
            f"{source}: the candle after {moment(here)} starts {'again then' if after == here else 'before it'}: "
            "candles run oldest first, each once."
        )
    if first_ms(candles) % candles.interval_ms:
        raise Misconfigured(
            f"{source}: a candle starts at {moment(first_ms(candles))}, which is not a multiple of its length of "
            f"{candles.interval_ms // 1000} s."
        )
    for name in COLUMNS:
        if (bad := np.flatnonzero(~np.isfinite(column(candles, name)))).size:
            raise Misconfigured(f"{source}: {name} of {moment(int(candles.start_ms[bad[0]]))} is not a number.")
    faults = (
        (candles.low <= 0, "a price that is not above zero"),
        (candles.low > np.minimum(candles.open, candles.close), "its low above its open or close"),
        (candles.high < np.maximum(candles.open, candles.close), "its high below its open or close"),
        (candles.volume < 0, "a volume below zero"),
    )
    for wrong, what in faults:
        if wrong.any():
            raise Misconfigured(
                f"{source}: the candle of {moment(int(candles.start_ms[np.argmax(wrong)]))} has {what}."
            )


def gaps(candles: Bars) -> list[tuple[int, int]]:
    """Each gap: the start of the candle before it and the start of the one after it, UTC milliseconds."""
    places = np.flatnonzero(np.diff(candles.start_ms) != candles.interval_ms)
    return [(int(candles.start_ms[place]), int(candles.start_ms[place + 1])) for place in places]


def longest(candles: Bars, from_ms: int | None = None) -> Bars:
    """The longest part without a gap; of parts that reach into the range from `from_ms` on, where it is given."""
    holes = gaps(candles)
    starts = [first_ms(candles), *(after for _, after in holes)]
    ends = [*(before + candles.interval_ms for before, _ in holes), end_ms(candles)]
    parts = list(zip(starts, ends, strict=True))
    if from_ms is not None:
        parts = [(first, last) for first, last in parts if last > from_ms] or parts
    low = from_ms or 0
    first, last = max(parts, key=lambda part: part[1] - max(part[0], low))
    return between(candles, first, last)


def moment(ms: int) -> str:
    """A UTC time as people write it: 2025-07-02 17:00."""
    return at(ms).strftime("%Y-%m-%d %H:%M")
