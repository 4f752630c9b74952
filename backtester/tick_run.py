"""A back-test whose fills come from recorded ticks. See `backtester.ticks`."""

from typing import Any

from alpha.strategy.base import Strategy
from backtester.engine import Run
from backtester.market import MarketData
from backtester.prepared import BacktestConfig, BarPrices
from backtester.ticks import RecordedTicks, TickVenue


class TickRun(Run):
    """One back-test on ticks under way. `by_candle` counts the bars that were walked by their candle."""

    venue: TickVenue

    def __init__(
        self, strategy: Strategy[Any, Any], data: MarketData, terms: BacktestConfig, ticks: RecordedTicks
    ) -> None:
        super().__init__(strategy, data, terms)
        self.ticks = ticks
        self.by_candle = 0
        self.venue = TickVenue(terms.cash, terms.costs, data.instruments, strategy.rules.leverage).begin()

    def _is_quiet(self, now_ms: int, lows: dict[str, float], highs: dict[str, float]) -> bool:
        """Never: quotes reach further than candles, so that each bar in which something is held or waits is walked."""
        return False

    def _open_point(self, number: int, start_ms: int, prices: BarPrices) -> None:
        """Prices are those of the last trade before the bar; over a gap they jump to the open. Then funding is charged."""
        for symbol in prices.open:
            if not self._to_ticks(symbol, start_ms):
                self._move(symbol, prices.open[symbol], start_ms, jump=True)
        self._fund(number, start_ms)

    def _has_price(self, symbol: str, number: int) -> bool:
        if not super()._has_price(symbol, number):
            return False
        self._to_ticks(symbol, self.grid_ms + number * self.interval_ms)
        return True

    def _to_ticks(self, symbol: str, start_ms: int) -> bool:
        """Show price and quote before a bar; False, without a quote, where ticks are missing on one of its sides."""
        ticks = self.ticks.by_symbol[symbol]
        price, quote = ticks.before(start_ms)
        if price is None or ticks.gap(start_ms - self.interval_ms, start_ms + self.interval_ms):
            self.venue.best.pop(symbol, None)
            return False
        self.venue.last[symbol] = price
        if quote is not None:
            self.venue.best[symbol] = quote
        return True

    def _rest_of_bar(self, number: int, start_ms: int) -> None:
        """Every trade and quote of what is held or waits, in order."""
        venue, end_ms = self.venue, start_ms + self.interval_ms
        symbols = sorted({*venue.holdings, *venue.waiting})
        if any(self.ticks.by_symbol[symbol].gap(start_ms, end_ms) for symbol in symbols):
            self.by_candle += 1
            for symbol in symbols:
                venue.best.pop(symbol, None)
            super()._rest_of_bar(number, start_ms)
            return
        for event in self.ticks.events(symbols, start_ms, end_ms):
            ticks, symbol = self.ticks.by_symbol[event.symbol], event.symbol
            if event.quote:
                venue.quoted(symbol, ticks.quote_at(event.row), event.time_ms)
            else:
                venue.traded(symbol, float(ticks.price[event.row]), event.time_ms)
            self._settle(number, event.time_ms)
            self._see(number, event.time_ms)
            if not (venue.holdings or venue.waiting):
                return
