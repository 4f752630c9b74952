"""Closed candles as arrays, indicators beside them, and one bar as a view.

Signals compare floats, made the same way live and in the back-test. Money is Decimal: `to_decimal` gives back the decimal
number that a candle's text had, because a float of at most 15 digits prints as the text it was read from.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from alpha.model.score import Score
from alpha.model.timestamp import at
from alpha.strategy.auxiliary import Auxiliary, Rows
from alpha.timeframes.aggregate import Columns, aggregate, known_at, newest_start

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]


def to_decimal(value: float) -> Decimal:
    """The decimal number of at most 15 digits that `value` was read from. Prices of candles are such numbers."""
    return Decimal(repr(float(value)))


@dataclass(frozen=True, slots=True)
class Bars:
    """Closed candles of one symbol, oldest first, without gaps: arrays of the same length.

    `start_ms` is each bar's start (UTC milliseconds), `interval_ms` their length, volume is in base coin.
    """

    symbol: str
    interval_ms: int
    start_ms: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    #: What the strategy named beside these candles; None where it named nothing.
    auxiliary: Auxiliary | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self.start_ms)

    def reference(self, symbol: str) -> "Bars":
        """The bars of another symbol that the strategy names in `references`, at the same starts; NaN where one is missing.

        On a further timeframe these are its bars. KeyError for a symbol that is not named.
        """
        base = self._auxiliary.references[symbol]
        columns = Columns(base.start_ms, base.open, base.high, base.low, base.close, base.volume)
        if base.interval_ms != self.interval_ms:
            columns = aggregate(columns, base.interval_ms, self.interval_ms)
        places = np.searchsorted(columns.start_ms, self.start_ms)
        found = places < len(columns.start_ms)
        places = np.where(found, places, 0)
        if len(columns.start_ms):
            found &= columns.start_ms[places] == self.start_ms
        values = (
            np.where(found, one[places], np.nan) if len(one) else np.full(len(self), np.nan) for one in columns[1:]
        )
        return Bars(symbol, self.interval_ms, self.start_ms, *values)

    def column(self, name: str) -> FloatArray:
        """A column that the strategy names: at each bar the newest value that is known by its end, NaN where there is none."""
        auxiliary = self._auxiliary
        return auxiliary.rows_of(name).at(auxiliary.columns[name], self.start_ms + self.interval_ms)

    def rows(self, name: str) -> Rows:
        """The rows of a column as they are, their delay not applied: for who counts rows and not bars."""
        return self._auxiliary.rows_of(name)

    @property
    def _auxiliary(self) -> Auxiliary:
        return Auxiliary() if self.auxiliary is None else self.auxiliary

    def last(self, count: int) -> "Bars":
        """The newest `count` bars, or as many as there are."""
        part = slice(max(0, len(self) - count), None)
        prices = (self.open, self.high, self.low, self.close, self.volume)
        columns = (column[part] for column in prices)
        return Bars(self.symbol, self.interval_ms, self.start_ms[part], *columns, auxiliary=self.auxiliary)


@dataclass(frozen=True, slots=True)
class ScoreColumn:
    """Scores of one model at each bar (NaN: none); for those, `codes` says which of `texts` is the reason."""

    values: FloatArray
    codes: IntArray
    texts: tuple[str, ...]

    def at(self, index: int) -> Score:
        """The score at bar number `index`."""
        value = self.values.item(index)
        return Score(value) if value == value else Score(None, self.texts[self.codes.item(index)])

    @classmethod
    def newest(cls, length: int, score: Score) -> "ScoreColumn":
        """The column of `length` bars of which only the newest has a score."""
        values, codes = np.full(length, np.nan), np.zeros(length, dtype=np.int64)
        if score.value is not None:
            values[-1] = score.value
        codes[-1] = 1
        return cls(values, codes, ("it was not asked for", score.why))


@dataclass(frozen=True, slots=True)
class Series:
    """Bars with the strategy's indicators: arrays of the bars' length, NaN where history is too short.

    `ready` says at which bars every indicator has a value, those of the further timeframes too. `frames` holds those by
    interval, `known` for each bar the place of the newest bar of a frame that had ended by its end, -1 for none. `scores`
    holds those of the models that the strategy names.
    """

    bars: Bars
    indicators: Mapping[str, FloatArray]
    ready: BoolArray
    frames: Mapping[str, "Series"] = field(default_factory=dict)
    known: Mapping[str, IntArray] = field(default_factory=dict)
    scores: Mapping[str, ScoreColumn] = field(default_factory=dict)

    @classmethod
    def of(
        cls, bars: Bars, indicators: Mapping[str, FloatArray], frames: Mapping[str, "Series"] | None = None
    ) -> "Series":
        """The series of these bars; ValueError when an indicator's length differs from theirs."""
        ready = np.ones(len(bars), dtype=np.bool_)
        for name, values in indicators.items():
            if len(values) != len(bars):
                raise ValueError(f"indicator {name!r} has {len(values)} values for {len(bars)} bars")
            ready &= ~np.isnan(values)
        known: dict[str, IntArray] = {}
        for name, frame in (frames or {}).items():
            places = known_at(bars.start_ms + bars.interval_ms, frame.bars.start_ms, frame.bars.interval_ms)
            known[name] = places
            ready &= (places >= 0) & (frame.ready[places] if len(frame.bars) else False)
        return cls(bars, indicators, ready, frames or {}, known)

    def at_frame(self, interval: str, name: str) -> FloatArray:
        """The indicator `name` of a further timeframe as it was known at the end of each bar, NaN where it was not."""
        frame, places = self.frames[interval], self.known[interval]
        if not len(frame.bars):
            return np.full(len(self.bars), np.nan)
        return np.where(places >= 0, frame.indicators[name][places], np.nan)

    def view(self, index: int) -> "BarView":
        """Bar number `index` (0 to len - 1)."""
        return BarView(self, index)


class LookAhead(ValueError):
    """A strategy asked for what is not known yet."""


class BarView:
    """One closed bar of a series: its prices, its indicators, and those of earlier bars."""

    __slots__ = ("index", "past", "series")

    def __init__(self, series: Series, index: int, *, past: bool = False) -> None:
        self.series = series
        self.index = index
        self.past = past

    @property
    def symbol(self) -> str:
        """The symbol."""
        return self.series.bars.symbol

    @property
    def start_ms(self) -> int:
        """When the bar started."""
        return self.series.bars.start_ms.item(self.index)

    @property
    def end_ms(self) -> int:
        """When the bar closed: the start of the next."""
        return self.start_ms + self.series.bars.interval_ms

    @property
    def open(self) -> float:
        """First price."""
        return self.series.bars.open.item(self.index)

    @property
    def high(self) -> float:
        """Highest price."""
        return self.series.bars.high.item(self.index)

    @property
    def low(self) -> float:
        """Lowest price."""
        return self.series.bars.low.item(self.index)

    @property
    def close(self) -> float:
        """Last price."""
        return self.series.bars.close.item(self.index)

    @property
    def volume(self) -> float:
        """Base-coin volume."""
        return self.series.bars.volume.item(self.index)

    def __getitem__(self, name: str) -> float:
        """The indicator `name` at this bar."""
        return self.series.indicators[name].item(self.index)

    def before(self, back: int = 1) -> "BarView | None":
        """The bar `back` bars earlier, or None before the first. LookAhead for a later one."""
        if back < 0:
            raise LookAhead(f"{self.symbol}: before({back}) asks for a bar that has not closed yet.")
        return BarView(self.series, self.index - back, past=back > 0) if self.index >= back else None

    def frame(self, interval: str) -> "BarView | None":
        """The newest bar of a further timeframe that ended at or before this bar's end; None where it is missing.

        KeyError for a timeframe that the strategy does not name. `frame_gap` says why there is none.
        """
        place = int(self.series.known[interval][self.index])
        return None if place < 0 else BarView(self.series.frames[interval], place)

    def frame_gap(self, interval: str) -> str:
        """Why `frame` gives no bar, in a sentence; "" where it gives one."""
        if self.series.known[interval][self.index] >= 0:
            return ""
        frame = self.series.frames[interval].bars
        start = at(newest_start(self.end_ms, frame.interval_ms))
        return (
            f"{self.symbol}: the {interval} candle of {start:%Y-%m-%d %H:%M} UTC is not complete: "
            "base candles of it are missing."
        )

    def score(self, model: str) -> Score:
        """The score of a model that the strategy names in `models`, or the reason why there is none.

        Only the bar that is evaluated has scores: ValueError for an earlier one. KeyError for another model.
        """
        if self.past:
            raise ValueError(f"{self.symbol}: only the evaluated bar has a score; keep an earlier one in the state.")
        return self.series.scores[model].at(self.index)

    def without_score(self) -> str:
        """The first model of the strategy that gives no score here, with the reason; an empty text when all do."""
        for name, column in self.series.scores.items():
            score = column.at(self.index)
            if not score:
                return f"{name} gives no score: {score.why}"
        return ""

    @property
    def ready(self) -> bool:
        """True when every indicator has a value at this bar."""
        return self.series.ready.item(self.index)


class SomeViews(dict[str, BarView]):
    """Some symbols' bars of a moment, and by their names those of all others: what is gone through is short."""

    __slots__ = ("_look_up",)

    def __init__(self, shown: Mapping[str, BarView], look_up: Callable[[str], BarView | None]) -> None:
        super().__init__(shown)
        self._look_up = look_up

    def get(self, key: str, default: Any = None) -> Any:
        """The bar of any symbol, shown or not; `default` when there is none."""
        found = dict.get(self, key)
        if found is None:
            found = self._look_up(key)
        return default if found is None else found

    def __missing__(self, key: str) -> BarView:
        found = self._look_up(key)
        if found is None:
            raise KeyError(key)
        return found

    def __contains__(self, key: object) -> bool:
        return self.get(str(key)) is not None

    def narrowed(self, shown: Mapping[str, BarView]) -> "SomeViews":
        """The same with fewer shown; a symbol without all its indicators is then not found either, unless shown."""
        look_up = self._look_up

        def ready(symbol: str) -> BarView | None:
            view = look_up(symbol)
            return view if view is not None and view.ready else None

        return SomeViews(shown, ready)
