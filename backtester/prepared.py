"""The data of a back-test as one strategy sees them: which bars are tested, its series, where it may enter, what a bar shows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alpha.errors import Misconfigured
from alpha.model.interval import INTERVAL_MS
from alpha.strategy.bars import BarView, BoolArray, SomeViews
from alpha.strategy.base import Strategy
from backtester.candles import moment
from backtester.market import MarketData, OhlcSeries, UniverseMembership
from backtester.parts import may_enter, parted_series
from backtester.venue import Costs

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class BacktestConfig:
    """What one back-test is run with. Bars that start within `from_ms <= start < to_ms` are traded; earlier ones warm up.

    A limit that holds until the operator resumes holds to the end, or for `resume_after_ms`, rounded up to a UTC day.
    """

    from_ms: int
    to_ms: int
    cash: Decimal
    costs: Costs
    resume_after_ms: int | None = None


def bars_tested(strategy: Strategy[Any, Any], data: MarketData, terms: BacktestConfig) -> tuple[int, int]:
    """The first bar of the grid that is tested and the end, exclusive. Misconfigured when data and range do not fit."""
    interval_ms = data.interval_ms
    if INTERVAL_MS.get(strategy.interval) != interval_ms:
        raise Misconfigured(
            f"The strategy trades {strategy.interval}-minute bars and the data are of {interval_ms / 60_000:g} "
            "minutes: give a folder with the right candles."
        )
    first = max(0, -(-(terms.from_ms - data.first_ms) // interval_ms))
    end = -(-(min(terms.to_ms, data.end_ms) - data.first_ms) // interval_ms)
    if end - first < 2:
        raise Misconfigured(
            f"There is nothing to test between {moment(terms.from_ms)} and {moment(terms.to_ms)}: the data reach "
            f"from {moment(data.first_ms)} to {moment(data.end_ms)}."
        )
    return first, end


def check_leverage(strategy: Strategy[Any, Any], data: MarketData, symbols: Iterable[str]) -> None:
    """Misconfigured when a symbol does not allow the strategy's leverage."""
    for symbol in symbols:
        most = data.instruments[symbol].max_leverage
        if strategy.rules.leverage > most:
            raise Misconfigured(
                f"The leverage is {strategy.rules.leverage:f}, and {symbol} allows {most:f} at most. Choose {most:f} or less."
            )


class BarPrices(NamedTuple):
    """Prices by symbol at the points of one bar."""

    open: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]
    close: dict[str, float]


class PreparedMarket:
    """A market prepared for one strategy. Bars are counted on the market's grid. Misconfigured when the two do not fit."""

    def __init__(self, strategy: Strategy[Any, Any], data: MarketData, config: BacktestConfig) -> None:
        self.data = data
        self.interval_ms = data.interval_ms
        self.grid_ms = data.first_ms
        self.first, self.end = bars_tested(strategy, data, config)
        self.members = UniverseMembership(strategy.universe, data)
        self.symbols = self.members.all_symbols
        self.quotes = {symbol: OhlcSeries(data.bars[symbol], self.grid_ms) for symbol in self.symbols}
        self.series = {symbol: parted_series(strategy, data.shown(strategy, symbol)) for symbol in self.symbols}
        check_leverage(strategy, data, self.symbols)
        #: Which symbols may be entered, by bar; None where nearly all bars have one or the universe changes.
        self.signalled: dict[int, list[str]] | None = None
        #: At which bars of the grid an entry is possible in any symbol.
        self.signals = self._signals(strategy)
        self._funded: dict[str, dict[int, Decimal]] = {}

    def _signals(self, strategy: Strategy[Any, Any]) -> BoolArray:
        signals = np.zeros(self.end + 1, dtype=np.bool_)
        places: list[NDArray[np.int64]] = []
        owners: list[NDArray[np.int64]] = []
        for owner, (symbol, series) in enumerate(self.series.items()):
            may = may_enter(strategy, series)
            offset = self.quotes[symbol].offset
            count = min(len(may), self.end - offset)
            if count > 0:
                signals[offset : offset + count] |= may[:count]
                found = np.flatnonzero(may[:count]) + offset
                places.append(found)
                owners.append(np.full(len(found), owner))
        total = sum(map(len, places))
        if not self.members.changes and total * 4 < self.end * len(self.symbols):
            at, who = np.concatenate(places), np.concatenate(owners)
            order = np.lexsort((who, at))
            self.signalled = {}
            for number, owner in zip(at[order].tolist(), who[order].tolist(), strict=True):
                self.signalled.setdefault(number, []).append(self.symbols[owner])
        return signals

    def waking(self) -> list[int]:
        """The bars that are looked at even with nothing held: the first, each day's first, each after a possible entry."""
        starts = self.grid_ms + np.arange(self.end, dtype=np.int64) * self.interval_ms
        wakes = starts % DAY_MS < self.interval_ms
        wakes[1:] |= self.signals[: self.end - 1]
        wakes[: self.first] = False
        wakes[self.first] = True
        found: list[int] = np.flatnonzero(wakes).tolist()
        return found

    def rates_of(self, symbol: str) -> dict[int, Decimal]:
        """Funding rates of a symbol by the bar at whose open they are charged; made when it is first held."""
        found = self._funded.get(symbol)
        if found is None:
            funding, found = self.data.funding[symbol], {}
            numbers = (funding.time_ms - self.grid_ms) // self.interval_ms
            for number, rate in zip(numbers.tolist(), funding.rate, strict=True):
                found[number] = found[number] + rate if number in found else rate
            self._funded[symbol] = found
        return found

    def prices(self, symbols: Iterable[str], number: int, last: Mapping[str, float]) -> BarPrices:
        """The four prices of a bar for these symbols; the last price where a symbol has no such bar."""
        found = BarPrices({}, {}, {}, {})
        for symbol in symbols:
            quotes = self.quotes[symbol]
            place = quotes.place(number)
            if place is not None:
                found.open[symbol] = quotes.open.item(place)
                found.low[symbol], found.high[symbol] = quotes.low.item(place), quotes.high.item(place)
                found.close[symbol] = quotes.close.item(place)
            else:
                price = last[symbol]
                found.open[symbol] = found.low[symbol] = found.high[symbol] = found.close[symbol] = price
        return found

    def views(self, number: int, now_ms: int, held: Iterable[str], waiting: Iterable[str]) -> Mapping[str, BarView]:
        """The bar of every symbol that is followed or held; those alone that are held or signal, where that is known."""
        if self.signalled is not None:
            shown = self.signalled.get(number, [])
            busy = {*held, *waiting}
            if busy:
                wanted = busy.union(shown)
                shown = [symbol for symbol in self.symbols if symbol in wanted] if len(wanted) > 1 else list(wanted)
            return SomeViews(self._views(shown, number), lambda symbol: self._view(symbol, number))
        symbols: Iterable[str] = self.members.at(now_ms)
        if self.members.changes:
            symbols = dict.fromkeys((*symbols, *held))
        return self._views(symbols, number)

    def _views(self, symbols: Iterable[str], number: int) -> dict[str, BarView]:
        views = {}
        for symbol in symbols:
            view = self._view(symbol, number)
            if view is not None:
                views[symbol] = view
        return views

    def _view(self, symbol: str, number: int) -> BarView | None:
        quotes = self.quotes.get(symbol)
        if quotes is None:
            return None
        place = quotes.place(number)
        return None if place is None else self.series[symbol].view(place)
