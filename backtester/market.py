"""The market of a back-test: candles on one grid of bars, funding, instruments, and who belonged to it when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from alpha.errors import Misconfigured
from alpha.indicators import Floats, rolling_sum
from alpha.model.instrument import Instrument
from alpha.strategy.auxiliary import Rows, auxiliary_of
from alpha.strategy.bars import Bars
from alpha.strategy.base import Strategy, Universe
from backtester.candles import end_ms, first_ms
from backtester.funding import Funding
from backtester.parts import traded

_DAY_MS = 86_400_000
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class MarketData:
    """All that is known of a market, by symbol."""

    bars: Mapping[str, Bars]
    funding: Mapping[str, Funding]
    instruments: Mapping[str, Instrument]
    #: By the name of a column that a strategy names, and by symbol.
    columns: Mapping[str, Mapping[str, Rows]] = field(default_factory=dict)
    #: One-minute candles of some symbols: inside a bar they say which level was met first.
    minutes: Mapping[str, Bars] = field(default_factory=dict)
    #: What was computed from it once and does not change, by name.
    cache: dict[object, object] = field(default_factory=dict, init=False, compare=False, repr=False)

    def shown(self, strategy: Strategy[Any, Any], symbol: str) -> Bars:
        """The bars of a symbol with what the strategy named beside them. Misconfigured for a reference without candles."""
        bars = self.bars[symbol]
        if missing := [name for name in strategy.references if name not in self.bars]:
            raise Misconfigured(
                f"The strategy looks at {', '.join(missing)}, and the data have no candles of it: download them."
            )
        references = {name: self.bars[name] for name in strategy.references}
        rows = {name: found[symbol] for name, found in self.columns.items() if symbol in found}
        auxiliary = auxiliary_of(strategy, references, rows)
        return bars if auxiliary is None else replace(bars, auxiliary=auxiliary)

    @property
    def interval_ms(self) -> int:
        """Length of its bars."""
        return next(iter(self.bars.values())).interval_ms

    @property
    def first_ms(self) -> int:
        """Start of the earliest bar of any symbol."""
        return min(first_ms(bars) for bars in self.bars.values())

    @property
    def end_ms(self) -> int:
        """End of the latest bar of any symbol."""
        return max(end_ms(bars) for bars in self.bars.values())


class OhlcSeries:
    """Prices of one symbol, addressed by the number of the bar on the grid."""

    __slots__ = ("close", "count", "high", "low", "offset", "open", "traded")

    def __init__(self, bars: Bars, grid_ms: int) -> None:
        self.offset = (first_ms(bars) - grid_ms) // bars.interval_ms
        self.count = len(bars)
        self.open, self.high, self.low, self.close = bars.open, bars.high, bars.low, bars.close
        self.traded = traded(bars)

    def place(self, number: int) -> int | None:
        """Where bar `number` of the grid is in the columns; None when the symbol has no such bar."""
        place = number - self.offset
        if not 0 <= place < self.count or (self.traded is not None and not self.traded[place]):
            return None
        return place


class UniverseMembership:
    """Which symbols a strategy follows at a time, from what was known then."""

    def __init__(self, universe: Universe, data: MarketData) -> None:
        self._listed: Sequence[str] | None = universe.symbols or None
        if self._listed and (missing := [symbol for symbol in self._listed if symbol not in data.bars]):
            raise Misconfigured(
                f"The data have no candles of {', '.join(missing)}: download them, or name the symbols with --symbols."
            )
        self._least = float(universe.min_turnover_usdt)
        self._every_ms = universe.refresh_ms or _DAY_MS
        self._data = data
        self._turnover: dict[str, tuple[int, Floats]] = {}
        self._known: tuple[int, list[str]] = (-1, [])

    @property
    def all_symbols(self) -> list[str]:
        """Every symbol that may ever belong."""
        return list(self._listed or self._data.bars)

    @property
    def changes(self) -> bool:
        """False when the symbols are listed once and for all."""
        return not self._listed

    def at(self, now_ms: int) -> Sequence[str]:
        """The symbols at `now_ms`: the listed ones, or those with enough turnover at the last refresh."""
        if self._listed:
            return self._listed
        refreshed_ms = now_ms // self._every_ms * self._every_ms
        if self._known[0] != refreshed_ms:
            self._known = (
                refreshed_ms,
                [symbol for symbol in sorted(self._data.bars) if self._liquid(symbol, refreshed_ms)],
            )
        return self._known[1]

    def _liquid(self, symbol: str, now_ms: int) -> bool:
        bars = self._data.bars[symbol]
        if symbol not in self._turnover:
            self._turnover[symbol] = _turnover_of_a_day(bars)
        first, turnover = self._turnover[symbol]
        newest = (now_ms - first) // max(_HOUR_MS, bars.interval_ms) - 1
        return 0 <= newest < len(turnover) and bool(turnover[newest] > self._least)


def _turnover_of_a_day(bars: Bars) -> tuple[int, Floats]:
    """The start of the first whole hour, and for each hour the turnover of the 24 hours that end with it, in USDT.

    Candles carry no turnover: that of an hour is its volume at the mean of its four prices. Bars longer than an hour
    stand for themselves.
    """
    unit_ms = max(_HOUR_MS, bars.interval_ms)
    block = unit_ms // bars.interval_ms
    skip = -(first_ms(bars) // bars.interval_ms) % block
    count = (len(bars) - skip) // block
    if count <= 0:
        return first_ms(bars), np.empty(0)
    shape, part = (count, block), slice(skip, skip + count * block)
    high, low = bars.high[part].reshape(shape).max(axis=1), bars.low[part].reshape(shape).min(axis=1)
    mean = (bars.open[part].reshape(shape)[:, 0] + high + low + bars.close[part].reshape(shape)[:, -1]) / 4.0
    # An hour with a hole counts for nothing.
    turnover = np.nan_to_num(bars.volume[part].reshape(shape).sum(axis=1) * mean)
    day = rolling_sum(turnover, _DAY_MS // unit_ms)
    return first_ms(bars) + skip * bars.interval_ms, day
