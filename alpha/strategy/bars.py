"""Closed candles as arrays, indicators beside them, and one bar as a view.

Signals compare floats, made the same way live and in the back-test. Money is Decimal: `to_decimal` gives back the decimal
number that a candle's text had, because a float of at most 15 digits prints as the text it was read from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

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

    def __len__(self) -> int:
        return len(self.start_ms)


@dataclass(frozen=True, slots=True)
class Series:
    """Bars with the strategy's indicators: arrays of the bars' length, NaN where history is too short.

    `ready` says at which bars every indicator has a value.
    """

    bars: Bars
    indicators: Mapping[str, FloatArray]
    ready: BoolArray

    @classmethod
    def of(cls, bars: Bars, indicators: Mapping[str, FloatArray]) -> "Series":
        """The series of these bars; ValueError when an indicator's length differs from theirs."""
        ready = np.ones(len(bars), dtype=np.bool_)
        for name, values in indicators.items():
            if len(values) != len(bars):
                raise ValueError(f"indicator {name!r} has {len(values)} values for {len(bars)} bars")
            ready &= ~np.isnan(values)
        return cls(bars, indicators, ready)

    def view(self, index: int) -> "BarView":
        """Bar number `index` (0 to len - 1)."""
        return BarView(self, index)


class BarView:
    """One closed bar of a series: its prices, its indicators, and those of earlier bars."""

    __slots__ = ("index", "series")

    def __init__(self, series: Series, index: int) -> None:
        self.series = series
        self.index = index

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
        """The bar `back` bars earlier, or None before the first."""
        return BarView(self.series, self.index - back) if self.index >= back else None

    @property
    def ready(self) -> bool:
        """True when every indicator has a value at this bar."""
        return self.series.ready.item(self.index)
