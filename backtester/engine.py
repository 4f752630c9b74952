"""The back-test: a market's bars through the decision core that trades live.

A bar is walked open, first extreme, second extreme, close, the side adverse to the strategy first. At its open the bar
before is evaluated and its orders are filled; at every point stops, funding and account limits do what they do on the
exchange. A bar in which nothing can happen, by bounds that are on the safe side, is not walked: same trades, less time.
"""

import sys
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import numpy as np

from alpha.model.money import ZERO
from alpha.model.reason import Reason
from alpha.strategy.base import Strategy
from alpha.strategy.core import CloseOrder, DecisionCore, EntryOrder, Plan, StopUpdate
from alpha.strategy.positions import OwnPosition, stop_passed
from alpha.strategy.resting import Phase, RestingOrder, Role
from alpha.strategy.risk_limits import Breach
from alpha.strategy.risk_rules import Until
from backtester.equity import Equity
from backtester.ledger import Ledger
from backtester.market import MarketData, UniverseMembership
from backtester.minutes import MinuteWalk
from backtester.parts import HOLE, parted_series
from backtester.prepared import DAY_MS, BacktestConfig, BarPrices, PreparedMarket, bars_tested, check_leverage
from backtester.resting import ENDED, Ended, Left, RestingFill, RestingVenue
from backtester.result import LimitHit, OpenAtEnd, Result
from backtester.venue import ClosedPosition

_MANY_BARS = 500_000
_NEAR = 1e-9  # floats nearer to a decision than this share of the amount leave it to Decimals


def run(strategy: Strategy[Any, Any], data: MarketData, terms: BacktestConfig, walk: str = "auto") -> Result:
    """The back-test of `strategy` over `data`. Misconfigured when the two do not fit together.

    `walk` changes the time and nothing else: "slow" looks at every bar in Python; "compiled" walks strategies that give
    their rules as arrays in machine code, where numba is installed; "auto" does so where numba is loaded already, and for data
    that take longer to walk than numba takes to load.
    """
    if walk == "compiled" or (walk == "auto" and ("numba" in sys.modules or _is_long(strategy, data))):
        fast = _compiled(strategy, data, terms)
        if fast is not None:
            return fast
    return Run(strategy, data, terms).result()


def _is_long(strategy: Strategy[Any, Any], data: MarketData) -> bool:
    """True for so many bars that loading numba (about 2 s) is paid back."""
    symbols = strategy.universe.symbols or data.bars
    return sum(len(data.bars[symbol]) for symbol in symbols if symbol in data.bars) > _MANY_BARS


def _compiled(strategy: Strategy[Any, Any], data: MarketData, terms: BacktestConfig) -> Result | None:
    """The same by `kernel` and `rebuild`; None where they do not apply."""
    try:
        from backtester.compiled import Span, unfit, walked
        from backtester.rebuild import Differs, Rebuild
    except ImportError:
        return None
    if data.minutes or unfit(strategy, data.interval_ms):
        return None
    first, end = bars_tested(strategy, data, terms)
    symbols = UniverseMembership(strategy.universe, data).all_symbols
    check_leverage(strategy, data, symbols)
    series = {symbol: parted_series(strategy, data.shown(strategy, symbol)) for symbol in symbols}
    resume = -1 if terms.resume_after_ms is None else terms.resume_after_ms
    span = Span(first, end, terms.cash, terms.costs, resume)
    walk = walked(strategy, data, series, span)
    if walk is None:
        return None
    try:
        return Rebuild(strategy, data, series, span, walk).result()
    except Differs:
        return None


class Run:
    """One back-test under way."""

    def __init__(self, strategy: Strategy[Any, Any], data: MarketData, terms: BacktestConfig) -> None:
        self.market = market = PreparedMarket(strategy, data, terms)
        self.interval_ms, self.grid_ms = market.interval_ms, market.grid_ms
        self.first, self.end = market.first, market.end
        self.symbols, self.quotes, self.signals = market.symbols, market.quotes, market.signals
        self.data = data
        self.terms = terms
        self.core = DecisionCore(strategy, self.interval_ms, data.instruments.get)
        self.venue = RestingVenue(terms.cash, terms.costs, data.instruments, strategy.rules.leverage).begin()
        self.low_first = strategy.rules.adverse_first != "high-first"
        self.minutes = MinuteWalk(data.minutes, self.interval_ms, low_first=self.low_first) if data.minutes else None
        self.worst_rate = max(
            0.5 / float(data.instruments[symbol].max_leverage) + float(terms.costs.taker_fee) for symbol in self.symbols
        )
        self.ledger = Ledger()
        self.limit_hits: list[LimitHit] = []
        self.skipped: dict[str, int] = {}
        self.wallets: list[tuple[int, float]] = []
        self.left: list[ClosedPosition] = []  # of symbols without resting orders, until those with are settled
        self.seen: tuple[Decimal, Decimal, int] | None = None

    # --- the bars -----------------------------------------------------------------------------------------------

    def result(self) -> Result:
        """Walk all bars and sum up."""
        following, number = iter(self.market.waking()), self.first
        upcoming = next(following)
        while number < self.end:
            idle = not self.venue.holdings and not self.venue.waiting
            if idle and self.seen is not None and self.seen[:2] == (self.venue.wallet, ZERO):
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
        wallet = self.venue.wallet
        prices, quiet = self._begin_bar(number)
        self._end_bar(number, prices, quiet=quiet)
        if self.venue.wallet is not wallet:
            self.wallets.append((number, float(self.venue.wallet)))

    def elsewhere(self) -> tuple[Decimal, Decimal]:
        """What other strategies on the same account have made so far, and their unrealised profit (USDT)."""
        return ZERO, ZERO

    def _begin_bar(self, number: int) -> tuple[BarPrices | None, bool]:
        """The open of a bar and the decisions of the bar before; what `_end_bar` needs."""
        venue = self.venue
        start_ms = self.grid_ms + number * self.interval_ms
        if venue.holdings or venue.waiting:
            self._end_contracts(number, start_ms)
        prices = self._prices(number) if venue.holdings or venue.waiting else None
        quiet = prices is not None and not self._is_funded(number) and self._is_quiet(start_ms, prices.low, prices.high)
        if prices is not None and quiet:
            venue.last.update(prices.open)
        elif prices is not None:
            self._open_point(number, start_ms, prices)
            self._settle(number, start_ms)
        if self.terms.resume_after_ms is not None and start_ms % DAY_MS < self.interval_ms:
            self._resume(start_ms, self.terms.resume_after_ms)
        if not quiet:
            self._see(number, start_ms)
        busy = venue.holdings or venue.waiting
        if number > self.first and (busy or self.signals[number - 1]) and self._decide(number, start_ms):
            quiet = False
        return prices, quiet

    def _end_bar(self, number: int, prices: BarPrices | None, *, quiet: bool) -> None:
        """What is left of a bar: its two extremes and its close."""
        venue, start_ms = self.venue, self.grid_ms + number * self.interval_ms
        if prices is not None and quiet:
            venue.last.update(prices.close)
        elif venue.holdings or venue.waiting:
            self._rest_of_bar(number, start_ms)
        elif self.seen is not None and self.seen[:2] != (venue.wallet, ZERO):
            self._see(number, start_ms + self.interval_ms // 3)

    def _end_contracts(self, number: int, now_ms: int) -> None:
        """A symbol whose candles have ended is settled at its last price, as the delivery of a contract would; so is one at a
        hole in its candles.
        """
        venue = self.venue
        for symbol in [*venue.holdings, *(one for one in venue.waiting if one not in venue.holdings)]:
            quotes = self.quotes[symbol]
            if quotes.place(number) is not None:
                continue
            why = HOLE if number < quotes.offset + quotes.count else ENDED
            if symbol in venue.holdings:
                self._gone([venue.settle(symbol, now_ms, why)], number, HOLE if why == HOLE else "")
            else:
                for one in list(venue.waiting.get(symbol, [])):
                    venue.cancel(one.order)
                    venue.events.append(Ended(one.order, why))
            self._settle(number, now_ms)

    def _prices(self, number: int) -> BarPrices:
        """The prices of a bar for all that is held or waits."""
        symbols: Iterable[str] = self.venue.holdings
        if self.venue.waiting:
            symbols = dict.fromkeys((*self.venue.holdings, *self.venue.waiting))
        return self.market.prices(symbols, number, self.venue.last)

    def _is_funded(self, number: int) -> bool:
        """True when something that is held is charged funding at this bar's open."""
        return any(number in self.market.rates_of(symbol) for symbol in self.venue.holdings)

    def _is_quiet(self, now_ms: int, lows: dict[str, float], highs: dict[str, float]) -> bool:
        """True when no price between these meets a level, a resting order, an account limit or the margin."""
        worst, best, value, meets = self.venue.bounds(lows, highs)
        self.venue.endangered = self._endangers(worst, value)
        if meets or self.venue.endangered or not self._is_calm(now_ms, worst, best):
            return False
        if not self.venue.waiting:
            return True
        self.venue.endangered = True  # a fill may come: what is held then is not known yet
        return not self.venue.meets_waiting(lows, highs)

    def _move(self, symbol: str, price: float, time_ms: int, *, jump: bool) -> None:
        """Take the price of a symbol to `price`."""
        venue = self.venue
        if symbol in venue.waiting:
            venue.walk(symbol, price, time_ms, jump=jump)
        elif symbol in venue.holdings:
            step = venue.jump if jump else venue.run
            self.left.extend(step(symbol, price, time_ms))
        else:
            venue.last[symbol] = price

    def _open_point(self, number: int, start_ms: int, prices: BarPrices) -> None:
        """Prices jump to the open; then funding is charged."""
        venue = self.venue
        if self._is_quiet(start_ms, prices.open, prices.open):
            venue.last.update(prices.open)
        else:
            for symbol, price in prices.open.items():
                self._move(symbol, price, start_ms, jump=True)
        self._fund(number, start_ms)

    def _fund(self, number: int, start_ms: int) -> None:
        """Charge the funding that is due at a bar's open."""
        venue = self.venue
        for symbol in list(venue.holdings):
            rate = self.market.rates_of(symbol).get(number)
            if rate is not None and symbol in venue.holdings:
                self.left.extend(venue.fund(symbol, rate, start_ms))

    def _rest_of_bar(self, number: int, start_ms: int) -> None:
        """The two extremes and the close."""
        venue = self.venue
        prices = self._prices(number)
        if self._is_quiet(start_ms, prices.low, prices.high):
            venue.last.update(prices.close)
            return
        steps = None if self.minutes is None else self.minutes.steps(start_ms, prices, prices.open)
        if steps is not None:
            for offset, moves in steps:
                for symbol, price in moves.items():
                    self._move(symbol, price, start_ms + offset, jump=False)
                self._settle(number, start_ms + offset)
                self._see(number, start_ms + offset)
            return
        first, second = (prices.low, prices.high) if self.low_first else (prices.high, prices.low)
        offsets = (self.interval_ms // 3, self.interval_ms * 2 // 3, self.interval_ms - 1)
        for point, offset in zip((first, second, prices.close), offsets, strict=True):
            for symbol, price in point.items():
                self._move(symbol, price, start_ms + offset, jump=False)
            self._settle(number, start_ms + offset)
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
        made, open_elsewhere = map(float, self.elsewhere())
        wallet = float(self.venue.wallet) + made - open_elsewhere
        worst, best = worst + open_elsewhere, best + open_elsewhere
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
        made, open_elsewhere = self.elsewhere()
        profit, equity = profit + open_elsewhere, equity + made
        day_ms = now_ms - now_ms % DAY_MS
        figures = (equity, profit, day_ms)
        if figures == self.seen:
            return
        self.seen = figures
        closes, breaches = self.core.see(now_ms, equity, profit)
        self._note(breaches, now_ms)
        self._close_all(closes, number, now_ms, None)
        self._settle(number, now_ms)

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
        views = self.market.views(number - 1, now_ms, self.venue.holdings, self.venue.waiting)
        venue, resting = self.venue, bool(self.core.resting)
        bar_ms = now_ms - self.interval_ms
        if self.core.strategy.sees_equity:
            profit, (made, open_elsewhere) = venue.open_profit(), self.elsewhere()
            plan = self.core.close_bar(bar_ms, views, venue.wallet + profit + made, profit + open_elsewhere)
        else:
            plan = self.core.close_bar(bar_ms, views)
        for stop in plan.stops:
            self.core.moved(stop)
        followed = self._settle(number, now_ms)
        self._close_all(plan.closes, number, now_ms, plan)
        for stop in plan.stops:
            self._move_stop(stop, number, now_ms, plan)
        self._settle(number, now_ms)
        if plan.entries:
            for order in self.core.size(plan, venue.equity() + self.elsewhere()[0], views):
                self._enter(order, number, now_ms)
            for waiting in plan.resting:
                self._rest(waiting, number, now_ms)
            self._settle(number, now_ms)
        for skipped in plan.skipped:
            self._skip(skipped.counted)
        return bool(plan.closes or plan.stops or plan.entries or resting or self.core.resting or followed)

    def _move_stop(self, stop: StopUpdate, number: int, now_ms: int, plan: Plan) -> None:
        held = self.venue.holdings.get(stop.symbol)
        if held is None:
            return
        if stop_passed(stop.direction, stop.price, self.venue.price(stop.symbol)):
            departure = self.venue.close(stop.symbol, now_ms, stop.meaning)
            self.ledger.book(departure, number, stop.meaning, stop.why)
            self.core.closed(stop.symbol, now_ms, decided_ms=plan.close_ms)
            return
        held.move_stop(stop.price)

    def _enter(self, order: EntryOrder, number: int, now_ms: int) -> None:
        venue, symbol = self.venue, order.enter.symbol
        if not self._has_price(symbol, number):
            return
        last = venue.price(symbol)
        if order.too_late(last):
            self._skip("the market had passed the stop")
        elif not venue.affords(symbol, order.enter.direction, order.qty):
            self._skip("not enough margin")
        elif symbol in venue.holdings:
            held = venue.holdings[symbol]
            price = venue.add(symbol, order.qty, order.stop_loss, now_ms)
            self.core.opened(order, price, order.qty, now_ms)
            self.ledger.resized(held, number)
        else:
            held = venue.open(symbol, order.enter.direction, order.qty, now_ms)
            held.stop_serial, held.target_serial = venue.next_serial(), venue.next_serial()
            held.protect(self.core.opened(order, held.entry_price, order.qty, now_ms), last)
            self.core.positions[symbol].trailing_due = False
            self.ledger.whys[symbol] = order.enter.why
            self.ledger.opened(held, number)

    def _rest(self, order: RestingOrder, number: int, now_ms: int) -> None:
        """A resting entry is sent."""
        if self._has_price(order.symbol, number):
            self.core.rest(order)
            order.phase = Phase.OPEN
            self.venue.place(order, now_ms)

    def _has_price(self, symbol: str, number: int) -> bool:
        """Let the symbol have its price at the bar's open; False, counted, when it has no such bar."""
        quotes = self.quotes[symbol]
        place = quotes.place(number)
        if place is None:
            self._skip("the symbol has no next bar")
            return False
        self.venue.last[symbol] = quotes.open.item(place)
        return True

    def _settle(self, number: int, now_ms: int) -> bool:
        """Tell the core what the market did to resting orders and positions; True when anything followed from it."""
        if not (self.venue.events or self.left or self.core.resting or self._levels_due()):
            return False
        followed = False
        while True:
            self._facts(number)
            work = self.core.upkeep()
            if not work:
                return followed
            followed = True
            for order in work.cancels:
                self.venue.cancel(order)
                self.core.order_ended(order.ref)
            for position in work.protects:
                self._protect(position, number, now_ms)
            for order in work.sends:
                if not order.leaving and order.ref in self.core.resting:
                    self.core.rest(order)
                    order.phase = Phase.OPEN
                    self.venue.place(order, now_ms)
            for order in work.amends:
                if not order.leaving and order.ref in self.core.resting:
                    order.sent_price, order.sent_qty = order.price, order.qty
                    self.venue.amend(order, now_ms)

    def _levels_due(self) -> bool:
        return any(position.levels_due for position in self.core.positions.values())

    def _facts(self, number: int) -> None:
        """What happened since the last point: symbol by symbol, each in its own order; then what closed without orders."""
        events, self.venue.events = self.venue.events, []
        for event in sorted(events, key=lambda one: _symbol_of(one)):
            if isinstance(event, RestingFill):
                self._resting_fill(event, number)
            elif isinstance(event, Ended):
                if event.order.role is Role.ENTRY:
                    self._skip(event.why)
                self.core.order_ended(event.order.ref)
            else:
                self._gone([event.departure], number)
        left, self.left = self.left, []
        self._gone(left, number)

    def _resting_fill(self, fill: RestingFill, number: int) -> None:
        order, symbol = fill.order, fill.order.symbol
        if order.role is Role.ENTRY:
            opens = symbol not in self.core.positions
            self.core.entry_filled(order.ref, fill.qty, fill.price, fill.time_ms)
            held = self.venue.holdings.get(symbol)
            if opens:
                self.ledger.whys[symbol] = order.why
                if held is not None:
                    self.ledger.opened(held, number)
            elif held is not None:
                self.ledger.resized(held, number)
        else:
            self.core.target_filled(order.ref, fill.qty, fill.price, fill.time_ms)
            if fill.departure is not None:
                self.ledger.book(fill.departure, number, order.reason, order.why)
            else:
                self.ledger.resized(self.venue.holdings.get(symbol), number)

    def _protect(self, position: OwnPosition, number: int, now_ms: int) -> None:
        """Set a position's levels; it is closed when the market has passed one."""
        venue, symbol = self.venue, position.symbol
        position.levels_due = False
        held = venue.holdings.get(symbol)
        if held is None:
            return
        levels = position.levels_at(venue.price(symbol))
        if isinstance(levels, Reason):
            self.ledger.book(venue.close(symbol, now_ms, levels), number, levels, "the market had passed the level")
            self.core.closed(symbol, now_ms)
            return
        if held.target is None and levels.take_profit is not None:
            held.target_serial = venue.next_serial()
        held.set_levels(levels, venue.price(symbol))
        position.trailing_due = False

    def _skip(self, why: str) -> None:
        self.skipped[why] = self.skipped.get(why, 0) + 1

    # --- what happened ------------------------------------------------------------------------------------------

    def _close_all(self, closes: list[CloseOrder], number: int, now_ms: int, plan: Plan | None) -> None:
        for close in closes:
            held = self.venue.holdings.get(close.symbol)
            if held is None:
                continue
            if close.part and close.size < held.size:
                self.venue.part(close.symbol, close.size, now_ms)
                self.core.reduced(close.symbol, close.size)
                self.ledger.resized(held, number)
                continue
            departure = self.venue.close(close.symbol, now_ms, close.reason)
            self.ledger.book(departure, number, close.reason, close.why)
            self.core.closed(close.symbol, now_ms, decided_ms=None if plan is None else plan.close_ms)

    def _gone(self, departures: list[ClosedPosition], number: int, why: str = "") -> None:
        """The exchange closed these positions."""
        for departure in departures:
            symbol, reason = departure.holding.symbol, departure.reason
            if reason is Reason.STOP_LOSS and symbol in self.core.positions:
                reason = self.core.positions[symbol].stop_meaning
            self.ledger.book(departure, number, reason, why)
            self.core.closed(symbol, departure.time_ms)

    def _note(self, breaches: list[Breach], now_ms: int) -> None:
        self.limit_hits.extend(LimitHit(now_ms, breach.text) for breach in breaches)

    # --- the sum ------------------------------------------------------------------------------------------------

    def _sum_up(self) -> Result:
        open_at_end = []
        for held in self.venue.holdings.values():
            self.ledger.end_span(held.symbol, self.end)
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
        equity = marked.at_closes(float(self.terms.cash), self.wallets, self.ledger.spans)
        return Result(
            interval_ms=self.interval_ms,
            from_ms=self.grid_ms + self.first * self.interval_ms,
            to_ms=self.grid_ms + self.end * self.interval_ms,
            cash=self.terms.cash,
            end_equity=self.venue.equity(),
            trades=self.ledger.trades,
            open_at_end=open_at_end,
            close_ms=self.grid_ms + (np.arange(self.first, self.end, dtype=np.int64) + 1) * self.interval_ms,
            equity=equity,
            exposed=marked.exposed(self.ledger.spans),
            limit_hits=self.limit_hits,
            skipped=self.skipped,
            fills=self.venue.fills,
        )


def _symbol_of(event: RestingFill | Ended | Left) -> str:
    return event.departure.holding.symbol if isinstance(event, Left) else event.order.symbol
