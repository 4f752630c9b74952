"""The back-test: a market's bars through the decision core that trades live.

A bar is walked open, first extreme, second extreme, close, the side adverse to the strategy first. At its open the bar
before is evaluated and its orders are filled; at every point stops, funding and account limits do what they do on the
exchange. A bar in which nothing can happen, by bounds that are on the safe side, is not walked: same trades, less time.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from alpha.errors import Misconfigured
from alpha.model.instrument import Instrument
from alpha.model.interval import INTERVAL_MS
from alpha.model.money import ZERO
from alpha.model.reason import Reason
from alpha.strategy.bars import BarView, BoolArray, Series
from alpha.strategy.base import Strategy
from alpha.strategy.core import CloseOrder, DecisionCore, EntryOrder, Plan, StopUpdate
from alpha.strategy.positions import stop_passed
from alpha.strategy.risk_limits import Breach
from alpha.strategy.risk_rules import Until
from backtester.candles import moment
from backtester.equity import Equity, Span
from backtester.market import MarketData, OhlcSeries, UniverseMembership
from backtester.result import LimitHit, OpenAtEnd, Result, Trade
from backtester.venue import ClosedPosition, Costs, Venue

DAY_MS = 86_400_000
_NEAR = 1e-9  # floats nearer to a decision than this share of the amount leave it to Decimals


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


def run(strategy: Strategy[Any, Any], data: MarketData, terms: BacktestConfig) -> Result:
    """The back-test of `strategy` over `data`. Misconfigured when the two do not fit together."""
    return Run(strategy, data, terms).result()


class _Prices(NamedTuple):
    """Prices by symbol at the points of one bar."""

    open: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]
    close: dict[str, float]


class Run:
    """One back-test under way."""

    def __init__(self, strategy: Strategy[Any, Any], data: MarketData, terms: BacktestConfig) -> None:
        self.interval_ms = data.interval_ms
        if INTERVAL_MS.get(strategy.interval) != self.interval_ms:
            raise Misconfigured(
                f"The strategy trades {strategy.interval}-minute bars and the data are of {self.interval_ms / 60_000:g} "
                "minutes: give a folder with the right candles."
            )
        self.data = data
        self.terms = terms
        self.grid_ms = data.first_ms
        self.first = max(0, -(-(terms.from_ms - self.grid_ms) // self.interval_ms))
        self.end = min(terms.to_ms, data.end_ms) - self.grid_ms
        self.end = -(-self.end // self.interval_ms)
        if self.end - self.first < 2:
            raise Misconfigured(
                f"There is nothing to test between {moment(terms.from_ms)} and {moment(terms.to_ms)}: the data reach "
                f"from {moment(data.first_ms)} to {moment(data.end_ms)}."
            )
        self.members = UniverseMembership(strategy.universe, data)
        self.symbols = self.members.all_symbols
        self.quotes = {symbol: OhlcSeries(data.bars[symbol], self.grid_ms) for symbol in self.symbols}
        self.series = {
            symbol: Series.of(data.bars[symbol], strategy.indicators(data.bars[symbol])) for symbol in self.symbols
        }
        for symbol in self.symbols:
            most = data.instruments[symbol].max_leverage
            if strategy.rules.leverage > most:
                raise Misconfigured(
                    f"The leverage is {strategy.rules.leverage:f}, and {symbol} allows {most:f} at most. Choose {most:f} or less."
                )
        self.core = DecisionCore(strategy, self.interval_ms, self._instrument)
        self.venue = Venue(terms.cash, terms.costs, data.instruments, strategy.rules.leverage)
        self.low_first = strategy.rules.adverse_first != "high-first"
        self.signals = self._signals(strategy)
        self.funded = self._funding_times()
        self.worst_rate = max(
            0.5 / float(data.instruments[symbol].max_leverage) + float(terms.costs.taker_fee) for symbol in self.symbols
        )
        self.trades: list[Trade] = []
        self.whys: dict[str, str] = {}
        self.limit_hits: list[LimitHit] = []
        self.skipped: dict[str, int] = {}
        self.wallets: list[tuple[int, float]] = []
        self.spans: list[Span] = []
        self.seen: tuple[Decimal, Decimal, int] | None = None

    # --- before the first bar -----------------------------------------------------------------------------------

    def _signals(self, strategy: Strategy[Any, Any]) -> BoolArray:
        """At which bars of the grid an entry is possible in any symbol."""
        signals = np.zeros(self.end + 1, dtype=np.bool_)
        for symbol, series in self.series.items():
            may = strategy.may_enter(series) & series.ready
            offset = self.quotes[symbol].offset
            count = min(len(may), self.end - offset)
            if count > 0:
                signals[offset : offset + count] |= may[:count]
        return signals

    def _funding_times(self) -> dict[int, dict[str, Decimal]]:
        """Rates by symbol, by the bar at whose open they are charged."""
        times: dict[int, dict[str, Decimal]] = {}
        for symbol in self.symbols:
            funding = self.data.funding[symbol]
            for time_ms, rate in zip(funding.time_ms.tolist(), funding.rate, strict=True):
                number = (time_ms - self.grid_ms) // self.interval_ms
                rates = times.setdefault(number, {})
                rates[symbol] = rates.get(symbol, ZERO) + rate
        return times

    def _instrument(self, symbol: str) -> Instrument | None:
        return self.data.instruments.get(symbol)

    # --- the bars -----------------------------------------------------------------------------------------------

    def result(self) -> Result:
        """Walk all bars and sum up."""
        starts = self.grid_ms + np.arange(self.end, dtype=np.int64) * self.interval_ms
        wakes = starts % DAY_MS < self.interval_ms
        wakes[1:] |= self.signals[: self.end - 1]
        wakes[: self.first] = False
        wakes[self.first] = True
        waking: list[int] = np.flatnonzero(wakes).tolist()
        following, number = iter(waking), self.first
        upcoming = next(following)
        while number < self.end:
            if not self.venue.holdings and self.seen is not None and self.seen[:2] == (self.venue.wallet, ZERO):
                while upcoming < number:
                    later = next(following, None)
                    if later is None:
                        upcoming = self.end
                        break
                    upcoming = later
                number = upcoming
                if number >= self.end:
                    break
            self._bar(number)
            number += 1
        return self._sum_up()

    def _bar(self, number: int) -> None:
        venue = self.venue
        start_ms = self.grid_ms + number * self.interval_ms
        wallet = venue.wallet
        prices = self._prices(number) if venue.holdings else None
        quiet = prices is not None and number not in self.funded and self._is_quiet(start_ms, prices.low, prices.high)
        if prices is not None and quiet:
            venue.last.update(prices.open)
        elif prices is not None:
            self._open_point(number, start_ms, prices)
        if self.terms.resume_after_ms is not None and start_ms % DAY_MS < self.interval_ms:
            self._resume(start_ms, self.terms.resume_after_ms)
        if not quiet:
            self._see(number, start_ms)
        if number > self.first and (venue.holdings or self.signals[number - 1]) and self._decide(number, start_ms):
            quiet = False
        if prices is not None and quiet:
            venue.last.update(prices.close)
        elif venue.holdings:
            self._rest_of_bar(number, start_ms)
        elif self.seen is not None and self.seen[:2] != (venue.wallet, ZERO):
            self._see(number, start_ms + self.interval_ms // 3)
        if venue.wallet is not wallet:
            self.wallets.append((number, float(venue.wallet)))

    def _prices(self, number: int) -> "_Prices":
        """The four prices of a bar for all that is held; the last price where a symbol has no such bar."""
        found = _Prices({}, {}, {}, {})
        for symbol in self.venue.holdings:
            quotes = self.quotes[symbol]
            place = number - quotes.offset
            if 0 <= place < quotes.count:
                found.open[symbol] = quotes.open.item(place)
                found.low[symbol], found.high[symbol] = quotes.low.item(place), quotes.high.item(place)
                found.close[symbol] = quotes.close.item(place)
            else:
                last = self.venue.last[symbol]
                found.open[symbol] = found.low[symbol] = found.high[symbol] = found.close[symbol] = last
        return found

    def _is_quiet(self, now_ms: int, lows: dict[str, float], highs: dict[str, float]) -> bool:
        """True when no price between these meets a level, an account limit or the margin."""
        worst, best, value, meets = self.venue.bounds(lows, highs)
        self.venue.endangered = self._endangers(worst, value)
        return not meets and not self.venue.endangered and self._is_calm(now_ms, worst, best)

    def _open_point(self, number: int, start_ms: int, prices: "_Prices") -> None:
        """Prices jump to the open; then funding is charged."""
        venue = self.venue
        if self._is_quiet(start_ms, prices.open, prices.open):
            venue.last.update(prices.open)
        else:
            for symbol, price in prices.open.items():
                if symbol in venue.holdings:
                    self._gone(venue.jump(symbol, price, start_ms), number)
        rates = self.funded.get(number)
        if rates:
            for symbol in list(venue.holdings):
                if symbol in rates and symbol in venue.holdings:
                    self._gone(venue.fund(symbol, rates[symbol], start_ms), number)

    def _rest_of_bar(self, number: int, start_ms: int) -> None:
        """The two extremes and the close."""
        venue = self.venue
        prices = self._prices(number)
        if self._is_quiet(start_ms, prices.low, prices.high):
            venue.last.update(prices.close)
            return
        first, second = (prices.low, prices.high) if self.low_first else (prices.high, prices.low)
        offsets = (self.interval_ms // 3, self.interval_ms * 2 // 3, self.interval_ms - 1)
        for point, offset in zip((first, second, prices.close), offsets, strict=True):
            for symbol, price in point.items():
                if symbol in venue.holdings:
                    self._gone(venue.run(symbol, price, start_ms + offset), number)
                else:
                    venue.last[symbol] = price
            self._see(number, start_ms + offset)

    def _endangers(self, worst: float, value: float) -> bool:
        """True when positions worth `value` with this unrealised profit could use up the margin of the account."""
        return float(self.venue.wallet) + worst <= value * self.worst_rate * 1.1

    def _is_calm(self, now_ms: int, worst: float, best: float) -> bool:
        """True when no account limit changes while unrealised profit stays within these bounds."""
        calm = self.core.limits.calm(now_ms)
        if calm is None:
            return False
        above, up_to, profit_above, profit_up_to = calm
        wallet = float(self.venue.wallet)
        near = _NEAR * (abs(wallet) + 1.0)
        return (
            wallet + worst > above + near
            and wallet + best < up_to - near
            and worst > profit_above + near
            and best < profit_up_to - near
        )

    # --- decisions ----------------------------------------------------------------------------------------------

    def _see(self, number: int, now_ms: int) -> None:
        """Show equity to the account limits, and close what they want closed."""
        venue = self.venue
        if venue.holdings:
            profit = venue.open_profit()
            equity = venue.wallet + profit
        else:
            profit, equity = ZERO, venue.wallet
        day_ms = now_ms - now_ms % DAY_MS
        figures = (equity, profit, day_ms)
        if figures == self.seen:
            return
        self.seen = figures
        closes, breaches = self.core.see(now_ms, equity, profit)
        self._note(breaches, now_ms)
        self._close_all(closes, number, now_ms, None)

    def _resume(self, now_ms: int, after_ms: int) -> None:
        """The operator resumes what has waited for it long enough."""
        blocks = self.core.limits.state.blocks.values()
        waiting = [block.since_ms for block in blocks if block.until is Until.RESUMED]
        if waiting and now_ms >= max(waiting) + after_ms:
            names = self.core.limits.resume()
            self.limit_hits.append(LimitHit(now_ms, f"The operator resumes: {', '.join(names)}."))
            self.seen = None

    def _decide(self, number: int, now_ms: int) -> bool:
        """Evaluate the bar that has just closed and carry out what follows; True when that was anything."""
        views = self._views(number - 1, now_ms)
        plan = self.core.close_bar(now_ms - self.interval_ms, views)
        self._close_all(plan.closes, number, now_ms, plan)
        for stop in plan.stops:
            self._move_stop(stop, number, now_ms, plan)
        if plan.entries:
            for order in self.core.size(plan, self.venue.equity(), views):
                self._enter(order, number, now_ms)
        for skipped in plan.skipped:
            self._skip(skipped.why)
        return bool(plan.closes or plan.stops or plan.entries)

    def _views(self, number: int, now_ms: int) -> dict[str, BarView]:
        """The bar of every symbol that is followed or held."""
        views = {}
        symbols: Iterable[str] = self.members.at(now_ms)
        if self.members.changes:
            symbols = dict.fromkeys((*symbols, *self.venue.holdings))
        for symbol in symbols:
            place = number - self.quotes[symbol].offset
            if 0 <= place < self.quotes[symbol].count:
                views[symbol] = BarView(self.series[symbol], place)
        return views

    def _move_stop(self, stop: StopUpdate, number: int, now_ms: int, plan: Plan) -> None:
        held = self.venue.holdings[stop.symbol]
        if stop_passed(stop.direction, stop.price, self.venue.price(stop.symbol)):
            departure = self.venue.close(stop.symbol, now_ms, stop.meaning)
            self._book(departure, number, stop.meaning, stop.why)
            self.core.closed(stop.symbol, now_ms, decided_ms=plan.close_ms)
            return
        self.core.moved(stop)
        held.move_stop(stop.price)

    def _enter(self, order: EntryOrder, number: int, now_ms: int) -> None:
        venue, symbol = self.venue, order.enter.symbol
        quotes = self.quotes[symbol]
        place = quotes.place(number)
        if place is None:
            self._skip("the symbol has no next bar")
            return
        venue.last[symbol] = quotes.open.item(place)
        last = venue.price(symbol)
        if order.too_late(last):
            self._skip("the market had passed the stop")
        elif not venue.affords(symbol, order.enter.direction, order.qty):
            self._skip("not enough margin")
        else:
            held = venue.open(symbol, order.enter.direction, order.qty, now_ms)
            held.protect(self.core.opened(order, held.entry_price, order.qty, now_ms), last)
            self.whys[symbol] = order.enter.why

    def _skip(self, why: str) -> None:
        self.skipped[why] = self.skipped.get(why, 0) + 1

    # --- what happened ------------------------------------------------------------------------------------------

    def _close_all(self, closes: list[CloseOrder], number: int, now_ms: int, plan: Plan | None) -> None:
        for close in closes:
            departure = self.venue.close(close.symbol, now_ms, close.reason)
            self._book(departure, number, close.reason, close.why)
            self.core.closed(close.symbol, now_ms, decided_ms=None if plan is None else plan.close_ms)

    def _gone(self, departures: list[ClosedPosition], number: int) -> None:
        """The exchange closed these positions."""
        for departure in departures:
            symbol, reason = departure.holding.symbol, departure.reason
            if reason is Reason.STOP_LOSS:
                reason = self.core.positions[symbol].stop_meaning
            self._book(departure, number, reason, "")
            self.core.closed(symbol, departure.time_ms)

    def _book(self, departure: ClosedPosition, number: int, reason: Reason, why: str) -> None:
        held = departure.holding
        self.trades.append(
            Trade(
                symbol=held.symbol,
                direction=held.direction,
                size=held.size,
                entry_ms=held.opened_ms,
                entry_price=held.entry_price,
                exit_ms=departure.time_ms,
                exit_price=departure.price,
                reason=reason,
                gross=(departure.price * held.size - held.entry_value) * held.sign,
                fees=held.entry_fee + departure.fee,
                funding=held.funding,
                entry_why=self.whys.pop(held.symbol, ""),
                exit_why=why,
            )
        )
        entered = (held.opened_ms - self.grid_ms) // self.interval_ms
        self.spans.append(Span(held.symbol, entered, number, held.signed_f, held.entry_price_f))

    def _note(self, breaches: list[Breach], now_ms: int) -> None:
        self.limit_hits.extend(LimitHit(now_ms, breach.text) for breach in breaches)

    # --- the sum ------------------------------------------------------------------------------------------------

    def _sum_up(self) -> Result:
        open_at_end = []
        for held in self.venue.holdings.values():
            entered = (held.opened_ms - self.grid_ms) // self.interval_ms
            self.spans.append(Span(held.symbol, entered, self.end, held.signed_f, held.entry_price_f))
            mark = self.venue.price(held.symbol)
            open_at_end.append(
                OpenAtEnd(
                    held.symbol,
                    held.direction,
                    held.size,
                    held.opened_ms,
                    held.entry_price,
                    mark,
                    held.profit(mark),
                )
            )
        marked = Equity(self.data.bars, self.grid_ms, self.first, self.end)
        equity = marked.at_closes(float(self.terms.cash), self.wallets, self.spans)
        return Result(
            interval_ms=self.interval_ms,
            from_ms=self.grid_ms + self.first * self.interval_ms,
            to_ms=self.grid_ms + self.end * self.interval_ms,
            cash=self.terms.cash,
            end_equity=self.venue.equity(),
            trades=self.trades,
            open_at_end=open_at_end,
            close_ms=self.grid_ms + (np.arange(self.first, self.end, dtype=np.int64) + 1) * self.interval_ms,
            equity=equity,
            exposed=marked.exposed(self.spans),
            limit_hits=self.limit_hits,
            skipped=self.skipped,
        )
