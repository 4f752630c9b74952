"""Closed candles of one symbol on every interval. Pure: reports what is missing, which is fetched elsewhere."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from alpha.model.interval import INTERVAL_MS
from alpha.timeframes import Columns, aggregate, frame_start, from_place

#: Candles a window may hold beyond what it keeps before it is compacted.
_SLACK = 128


class Row(NamedTuple):
    """One closed candle; `start_ms` in UTC milliseconds, volume in base coin."""

    start_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class Added(StrEnum):
    """What became of a candle."""

    NEXT = "next"
    KNOWN = "known"
    GAP = "gap"


class Window:
    """The newest closed candles of one interval, each following the one before; the last `keep` at least."""

    def __init__(self, interval_ms: int, keep: int) -> None:
        self.interval_ms = interval_ms
        self.keep = keep
        #: True when no older candle belongs before the oldest one here: the listing of the symbol, or a hole.
        self.from_the_first = False
        self._starts = np.empty(keep + _SLACK, dtype=np.int64)
        self._values = np.empty((5, keep + _SLACK))
        self._end = 0

    @property
    def last_ms(self) -> int | None:
        """Start of the newest candle, None while empty."""
        return int(self._starts[self._end - 1]) if self._end else None

    @property
    def columns(self) -> Columns:
        """All candles held, oldest first. Views: valid until the next candle is added."""
        values = self._values[:, : self._end]
        return Columns(self._starts[: self._end], values[0], values[1], values[2], values[3], values[4])

    def __len__(self) -> int:
        return self._end

    def tail(self, first_ms: int) -> Columns:
        """The candles that start at or after this time."""
        place = int(np.searchsorted(self._starts[: self._end], first_ms))
        return from_place(self.columns, place)

    def add(self, row: Row) -> Added:
        """Append the next candle."""
        last_ms = self.last_ms
        if last_ms is not None:
            if row.start_ms <= last_ms:
                return Added.KNOWN
            if row.start_ms != last_ms + self.interval_ms:
                return Added.GAP
        if self._end == len(self._starts):
            self._make_room()
        self._starts[self._end] = row.start_ms
        self._values[:, self._end] = row[1:]
        self._end += 1
        return Added.NEXT

    def restart(self, rows: Iterable[Row], *, from_the_first: bool) -> None:
        """Begin anew with these; where they have a hole, with what follows it."""
        self._end, self.from_the_first = 0, from_the_first
        for row in rows:
            if self.add(row) is Added.GAP:
                self._end, self.from_the_first = 0, True
                self.add(row)

    def _make_room(self) -> None:
        self._starts = np.concatenate((self._starts[-self.keep :], np.empty(_SLACK, dtype=np.int64)))
        self._values = np.concatenate((self._values[:, -self.keep :], np.empty((5, _SLACK))), axis=1)
        if self._end > self.keep:
            self._end, self.from_the_first = self.keep, False


class SymbolCandles:
    """The windows of one symbol: candles of the base interval come in, those of longer ones are made of them."""

    def __init__(self, intervals: tuple[str, ...], keep: Mapping[str, int]) -> None:
        """`intervals` are shortest first; `keep` is how many candles of each are needed."""
        self.base = intervals[0]
        self.windows = {interval: Window(INTERVAL_MS[interval], keep[interval]) for interval in intervals}
        self._parts = {
            interval: next(
                shorter for shorter in reversed(intervals[:place]) if INTERVAL_MS[interval] % INTERVAL_MS[shorter] == 0
            )
            for place, interval in enumerate(intervals)
            if place
        }

    def grow(self, keep: Mapping[str, int]) -> None:
        """From now on keep so many: more where a longer absence is to be made up for."""
        for interval, count in keep.items():
            self.windows[interval].keep = max(self.windows[interval].keep, count)

    def add(self, row: Row) -> tuple[Added, list[str], list[str]]:
        """A closed base candle: what became of it, the intervals that closed, and those whose candle cannot be made."""
        added = self.windows[self.base].add(row)
        if added is not Added.NEXT:
            return added, [], []
        end_ms = row.start_ms + INTERVAL_MS[self.base]
        closed, missing = [self.base], []
        for interval, source in self._parts.items():
            length = INTERVAL_MS[interval]
            if frame_start(length, end_ms) != end_ms:
                continue
            parts = self.windows[source].tail(end_ms - length)
            made = aggregate(parts, INTERVAL_MS[source], length)
            window = self.windows[interval]
            whole = len(made.start_ms) == 1 and int(made.start_ms[0]) == end_ms - length
            if whole and len(window) and window.add(_row(made)) is not Added.GAP:
                closed.append(interval)
            else:
                missing.append(interval)
        return added, closed, missing

    def behind(self, interval: str, now_ms: int) -> int:
        """How many closed candles of an interval are missing at this time of the market; -1 for an empty window."""
        window = self.windows[interval]
        if window.last_ms is None:
            return -1
        newest = frame_start(window.interval_ms, now_ms) - window.interval_ms
        return max(0, (newest - window.last_ms) // window.interval_ms)


def _row(candles: Columns) -> Row:
    return Row(
        int(candles.start_ms[0]),
        float(candles.open[0]),
        float(candles.high[0]),
        float(candles.low[0]),
        float(candles.close[0]),
        float(candles.volume[0]),
    )
