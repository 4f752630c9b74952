"""A symbol whose candles have holes: sound parts on one grid of bars, each with its own warm-up.

A bar of a hole is there without prices (NaN) and is never seen by a strategy; nothing is carried over a hole.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alpha.strategy.bars import Bars, BarView, BoolArray, FloatArray, Series
from alpha.strategy.base import Strategy
from alpha.strategy.frames import series_of
from backtester.candles import COLUMNS, column, end_ms, first_ms, gaps, moment

#: Why a position is closed at the last price before a hole, and a resting entry cancelled.
HOLE = "its candles have a hole"
_NAMED = 5


def on_grid(bars: Bars) -> Bars:
    """The same candles with a bar of NaN for each that is missing."""
    if not gaps(bars):
        return bars
    start_ms = np.arange(first_ms(bars), end_ms(bars), bars.interval_ms, dtype=np.int64)
    places = (bars.start_ms - first_ms(bars)) // bars.interval_ms
    filled = []
    for name in COLUMNS:
        values = np.full(len(start_ms), np.nan)
        values[places] = column(bars, name)
        filled.append(values)
    return Bars(bars.symbol, bars.interval_ms, start_ms, *filled, auxiliary=bars.auxiliary)


def traded(bars: Bars) -> BoolArray | None:
    """Which bars have prices; None when all do."""
    found: BoolArray = ~np.isnan(bars.close)
    return None if found.all() else found


def sound(bars: Bars) -> Bars:
    """The bars that have prices."""
    keep = traded(bars)
    return bars if keep is None else _cut(bars, keep)


def named(bars: Bars) -> str:
    """The holes of candles: how many are missing, and when the first of them start and end."""
    found = gaps(bars)
    missing = sum((after - before) // bars.interval_ms - 1 for before, after in found)
    spans = [f"{moment(before + bars.interval_ms)} to {moment(after)}" for before, after in found[:_NAMED]]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"{bars.symbol}: {missing} candles that are missing, {', '.join(spans)}{more}, and the warm-up after each"


@dataclass(frozen=True, slots=True)
class PartedSeries(Series):
    """A series over all parts: NaN and not ready in holes. A bar is shown as its own part's, and sees no other."""

    #: The place of each part's first bar, and its series.
    starts: NDArray[np.int64] | None = None
    parts: tuple[Series, ...] = ()

    def view(self, index: int) -> BarView:
        """Bar number `index` of all."""
        assert self.starts is not None
        part = int(np.searchsorted(self.starts, index, side="right")) - 1
        return BarView(self.parts[part], index - int(self.starts[part]))


def parted_series(strategy: Strategy[Any, Any], bars: Bars) -> Series:
    """The series of bars on a grid; each part's indicators and timeframes are those of the part alone."""
    have = traded(bars)
    if have is None:
        return series_of(strategy, bars)
    edges = np.diff(np.concatenate(([0], have.astype(np.int8), [0])))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    slices = [slice(first, end) for first, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    parts = tuple(series_of(strategy, _cut(bars, one)) for one in slices)
    ready = np.zeros(len(bars), dtype=np.bool_)
    known = {name: np.full(len(bars), -1, dtype=np.int64) for name in parts[0].known}
    for one, part in zip(slices, parts, strict=True):
        ready[one] = part.ready
    for name, places in known.items():
        before = 0
        for one, part in zip(slices, parts, strict=True):
            places[one] = np.where(part.known[name] >= 0, part.known[name] + before, -1)
            before += len(part.frames[name].bars)
    indicators = _spread(parts, slices, len(bars))
    frames = {name: _joined([part.frames[name] for part in parts]) for name in parts[0].frames}
    return PartedSeries(bars, indicators, ready, frames, known, starts=starts.astype(np.int64), parts=parts)


def may_enter(strategy: Strategy[Any, Any], series: Series) -> BoolArray:
    """At which bars the strategy may want an entry; asked for each part by itself."""
    if not isinstance(series, PartedSeries) or series.starts is None:
        return strategy.may_enter(series) & series.ready
    found = np.zeros(len(series.bars), dtype=np.bool_)
    for start, part in zip(series.starts.tolist(), series.parts, strict=True):
        found[start : start + len(part.bars)] = strategy.may_enter(part) & part.ready
    return found


def _cut(bars: Bars, which: BoolArray | slice) -> Bars:
    columns = (column(bars, name)[which] for name in COLUMNS)
    return Bars(bars.symbol, bars.interval_ms, bars.start_ms[which], *columns, auxiliary=bars.auxiliary)


def _spread(parts: tuple[Series, ...], slices: list[slice], count: int) -> Mapping[str, FloatArray]:
    found = {}
    for name in parts[0].indicators:
        values = np.full(count, np.nan)
        for one, part in zip(slices, parts, strict=True):
            values[one] = part.indicators[name]
        found[name] = values
    return found


def _joined(frames: list[Series]) -> Series:
    """The bars of a further timeframe of all parts, one after the other."""
    first = frames[0].bars
    columns = [np.concatenate([column(one.bars, name) for one in frames]) for name in COLUMNS]
    start_ms = np.concatenate([one.bars.start_ms for one in frames])
    indicators = {name: np.concatenate([one.indicators[name] for one in frames]) for name in frames[0].indicators}
    ready = np.concatenate([one.ready for one in frames])
    return Series(Bars(first.symbol, first.interval_ms, start_ms, *columns), indicators, ready)
