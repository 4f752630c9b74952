"""The exact result of a compiled walk: every amount in Decimal, and each decision of the kernel checked on the way.

The kernel says what happens when; here it happens to a real `Venue`. A quantity, a price or an order that differs from what
the exact numbers give raises `Differs`, and the back-test is walked slowly instead.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np

from alpha.model.money import ZERO
from alpha.model.reason import Reason
from alpha.model.sizing import TooSmall, fit_qty
from alpha.strategy.arrays import ArrayRules
from alpha.strategy.bars import Series, to_decimal
from alpha.strategy.base import Strategy
from alpha.strategy.intents import OfEquity
from alpha.strategy.positions import protection_of
from backtester import kernel
from backtester.compiled import Span, Walk
from backtester.equity import Equity
from backtester.ledger import Ledger
from backtester.market import MarketData
from backtester.parts import HOLE
from backtester.result import LimitHit, OpenAtEnd, Result
from backtester.venue import ClosedPosition, Venue

REASONS = {
    kernel.STOPPED: Reason.STOP_LOSS,
    kernel.TARGET: Reason.TAKE_PROFIT,
    kernel.TRAILED: Reason.TRAILING_STOP,
    kernel.SETTLED: Reason.SETTLEMENT,
}
WORDS = {
    kernel.COOLDOWN: "cooldown after the last exit",
    kernel.NO_ROOM: "no room is left under the exposure limit",
    kernel.TOO_SMALL: "it is below the least order",
    kernel.NO_BAR: "the symbol has no next bar",
    kernel.TOO_LATE: "the market had passed the stop",
    kernel.NO_MARGIN: "not enough margin",
}


class Differs(Exception):
    """The exact numbers decide otherwise than the kernel did."""


@dataclass(slots=True)
class _Books:
    """State of a rebuild under way."""

    venue: Venue
    ledger: Ledger = field(default_factory=Ledger)
    wallets: list[tuple[int, float]] = field(default_factory=list)
    limit_hits: list[LimitHit] = field(default_factory=list)
    seen: dict[tuple[int, int, int], Decimal] = field(default_factory=dict)


class Rebuild:
    """One exact result from one walk."""

    def __init__(
        self, strategy: Strategy[Any, Any], data: MarketData, series: dict[str, Series], span: Span, walk: Walk
    ) -> None:
        self.strategy, self.data, self.series, self.span, self.walk = strategy, data, series, span, walk
        self.rules: ArrayRules = walk.rules
        self.interval_ms, self.grid_ms = data.interval_ms, data.first_ms
        venue = Venue(span.cash, span.costs, data.instruments, strategy.rules.leverage)
        venue.endangered = False
        self.books = _Books(venue)
        self.rates = {symbol: self._rates(symbol) for symbol in series}
        self.ticks = {symbol: walk.market.units[place] for place, symbol in enumerate(walk.market.symbols)}

    def result(self) -> Result:
        """Carry out every event, in order."""
        books, venue = self.books, self.books.venue
        rows = self.walk.events.tolist()
        wanted: dict[int, list[tuple[int, int]]] = {}
        for row in rows:
            if row[0] == kernel.BREACHED:
                wanted.setdefault(row[6], []).append((row[4], row[5]))
        before = venue.wallet
        bar = rows[0][1] if rows else 0
        for number, row in enumerate(rows):
            for place in wanted.get(number, ()):
                books.seen[(*place, number)] = self._equity_at(*place)
            if row[1] != bar:
                if venue.wallet is not before:
                    books.wallets.append((bar, float(venue.wallet)))
                    before = venue.wallet
                bar = row[1]
            self._event(row)
        if venue.wallet is not before and bar < self.span.end:
            books.wallets.append((bar, float(venue.wallet)))
        return self._sum_up()

    def _event(self, row: list[int]) -> None:
        kind = row[0]
        if kind == kernel.FUNDED:
            self._fund(row[1], row[3])
        elif kind == kernel.OPENED:
            self._open(row)
        elif kind == kernel.CLOSED:
            self._close(row)
        elif kind == kernel.BREACHED:
            self._breach(row)
        else:
            self._resume(row)

    # --- events ---------------------------------------------------------------------------------------------------

    def _fund(self, bar: int, s: int) -> None:
        symbol = self.walk.market.symbols[s]
        held = self.books.venue.holdings[symbol]
        price = self._price(symbol, bar, 0)
        received = -held.size * price * self.rates[symbol][bar] * held.sign
        self.books.venue.wallet += received
        held.funding += received

    def _open(self, row: list[int]) -> None:
        _, bar, _, s, _, steps, _, got = row
        symbol, venue = self.walk.market.symbols[s], self.books.venue
        quotes = self.data.bars[symbol]
        place = bar - int(self.walk.market.offset[s])
        view = self.series[symbol].view(place - 1)
        enter = self.rules.enter(view)
        instrument = self.data.instruments[symbol]
        qty = steps * instrument.qty_step
        self._check_size(enter.size, qty, quotes.close.item(place - 1), symbol, bar)
        for other in venue.holdings:
            venue.last[other] = self._float(other, bar, 0)
        venue.last[symbol] = quotes.open.item(place)
        held = venue.open(symbol, enter.direction, qty, self._ms(bar, 0))
        if held.entry_price != got * self.ticks[symbol]:
            raise Differs(f"{symbol}: entered at {held.entry_price}")
        held.protect(protection_of(enter, held.entry_price, instrument), held.entry_price)
        self.books.ledger.whys[symbol] = enter.why
        self.books.ledger.opened(held, bar)

    def _check_size(self, size: Any, qty: Decimal, close: float, symbol: str, bar: int) -> None:
        """The kernel's quantity must be what the exact equity gives; under an exposure limit, at most what is left of it."""
        venue, price, most = self.books.venue, to_decimal(close), self.strategy.rules.max_exposure
        key = (bar, 0, -1)
        if key not in self.books.seen and (isinstance(size, OfEquity) or most is not None):
            for other in venue.holdings:
                venue.last[other] = self._float(other, bar, 0)
            self.books.seen[key] = venue.equity()
        notional = size.fraction * self.books.seen[key] if isinstance(size, OfEquity) else size.usdt
        for scale in (Decimal(1), Decimal("0.5")):
            try:
                if fit_qty(notional * scale / price, price, self.data.instruments[symbol], market=True) == qty:
                    return
            except TooSmall:
                continue
        if most is None:
            raise Differs(f"{symbol}: a quantity of {qty}")
        # What was sized before it and then not entered has taken room as well, so this is the most and not the amount.
        room = most * self.books.seen[key]
        for held in venue.holdings.values():
            room -= held.size * to_decimal(self._close_before(held.symbol, bar))
        if qty > min(room, notional) / price:
            raise Differs(f"{symbol}: a quantity of {qty} under the exposure limit")

    def _close(self, row: list[int]) -> None:
        _, bar, point, s, why, _, price, further = row
        symbol, venue, ledger = self.walk.market.symbols[s], self.books.venue, self.books.ledger
        held = venue.holdings[symbol]
        if why == kernel.OPEN_END:
            venue.last[symbol] = float(price * self.ticks[symbol])
            return
        at_price, in_hole = price * self.ticks[symbol], False
        time_ms = self._ms(bar, point)
        venue.last[symbol] = float(at_price)
        if why == kernel.SETTLED:
            departure: ClosedPosition = venue._leave(held, at_price, time_ms, Reason.SETTLEMENT)
            in_hole = bar - int(self.walk.market.offset[s]) < len(self.data.bars[symbol])
        else:
            departure = venue.close(symbol, time_ms, Reason.SIGNAL)
        reason, words = REASONS.get(why), HOLE if in_hole else ""
        raises = self.rules.raises
        if why == kernel.LEFT:
            exit_ = self.rules.leave(further, self.series[symbol].view(bar - 1 - int(self.walk.market.offset[s])))
            reason, words = exit_.reason, exit_.why
        elif raises is not None and why == kernel.RAISED_STOP:
            reason = raises.meaning
        elif raises is not None and why == kernel.MOVED_STOP:
            reason, words = raises.meaning, raises.why
        if reason is None:
            raise Differs(f"{symbol}: an exit of kind {why}")
        if point > 0:
            self._check_level(held, why, at_price)
        ledger.book(departure, bar, reason, words)

    def _check_level(self, held: Any, why: int, at_price: Decimal) -> None:
        """A level that does not move is the exact one."""
        exact = {kernel.STOPPED: held.stop, kernel.TARGET: held.target}.get(why)
        if exact is not None and exact != at_price:
            raise Differs(f"{held.symbol}: left at {at_price}, not at {exact}")

    def _breach(self, row: list[int]) -> None:
        _, bar, point, number, ref_bar, ref_point, ref_events, _ = row
        limit = self.strategy.rules.loss_limits[number]
        reference = self.books.seen[(ref_bar, ref_point, ref_events)]
        equity = self._equity_at(bar, point)
        if reference <= 0 or equity > reference * (1 - limit.fraction):
            raise Differs(f"the limit {limit.name} is not met")
        loss = (reference - equity) / reference * 100
        text = f"Equity {equity:.2f} USDT is {loss:.2f} % below the {limit.window} reference {reference:.2f}: {limit.action}."
        self.books.limit_hits.append(LimitHit(self._ms(bar, point), text))

    def _resume(self, row: list[int]) -> None:
        names, code = [], row[4]
        while code:
            names.append(self.strategy.rules.loss_limits[code % 16 - 1].name)
            code //= 16
        text = f"The operator resumes: {', '.join(reversed(names))}."
        self.books.limit_hits.append(LimitHit(self._ms(row[1], 0), text))

    # --- prices and times -----------------------------------------------------------------------------------------

    def _rates(self, symbol: str) -> dict[int, Decimal]:
        funding = self.data.funding[symbol]
        found: dict[int, Decimal] = {}
        numbers = (funding.time_ms - self.grid_ms) // self.interval_ms
        for number, rate in zip(numbers.tolist(), funding.rate, strict=True):
            found[number] = found[number] + rate if number in found else rate
        return found

    def _float(self, symbol: str, bar: int, point: int) -> float:
        """The price of a symbol at a point of a bar."""
        bars = self.data.bars[symbol]
        place = bar - (int(bars.start_ms[0]) - self.grid_ms) // self.interval_ms
        low_first = self.strategy.rules.adverse_first != "high-first"
        column = (bars.open, bars.low if low_first else bars.high, bars.high if low_first else bars.low, bars.close)[
            point
        ]
        return column.item(place)

    def _price(self, symbol: str, bar: int, point: int) -> Decimal:
        return to_decimal(self._float(symbol, bar, point))

    def _close_before(self, symbol: str, bar: int) -> float:
        return self._float(symbol, bar - 1, 3)

    def _equity_at(self, bar: int, point: int) -> Decimal:
        venue = self.books.venue
        profit = sum((held.profit(self._price(held.symbol, bar, point)) for held in venue.holdings.values()), ZERO)
        return venue.wallet + profit

    def _ms(self, bar: int, point: int) -> int:
        offsets = (0, self.interval_ms // 3, self.interval_ms * 2 // 3, self.interval_ms - 1)
        return self.grid_ms + bar * self.interval_ms + offsets[point]

    # --- the sum --------------------------------------------------------------------------------------------------

    def _skipped(self) -> dict[str, int]:
        rules, found = self.strategy.rules, {}
        for kind, count in enumerate(self.walk.refused.tolist()):
            if count and kind in WORDS:
                found[WORDS[kind]] = count
            elif count and kind == kernel.NO_SLOT:
                found[f"{rules.max_positions} positions are open"] = count
            elif count and kind == kernel.PER_DAY:
                found[f"{rules.entries_per_day} entries today"] = count
        for number, count in enumerate(self.walk.limit_refused.tolist()):
            if count:
                found[f"the limit {rules.loss_limits[number].name} is in force"] = count
        return found

    def _sum_up(self) -> Result:
        span, books, venue = self.span, self.books, self.books.venue
        open_at_end = []
        for held in venue.holdings.values():
            books.ledger.end_span(held.symbol, span.end)
            mark = venue.price(held.symbol)
            open_at_end.append(
                OpenAtEnd(
                    held.symbol, held.direction, held.size, held.opened_ms, held.entry_price, mark, held.profit(mark)
                )
            )
        marked = Equity(self.data.bars, self.grid_ms, span.first, span.end)
        return Result(
            interval_ms=self.interval_ms,
            from_ms=self.grid_ms + span.first * self.interval_ms,
            to_ms=self.grid_ms + span.end * self.interval_ms,
            cash=span.cash,
            end_equity=venue.equity(),
            trades=books.ledger.trades,
            open_at_end=open_at_end,
            close_ms=self.grid_ms + (np.arange(span.first, span.end, dtype=np.int64) + 1) * self.interval_ms,
            equity=marked.at_closes(float(span.cash), books.wallets, books.ledger.spans),
            exposed=marked.exposed(books.ledger.spans),
            limit_hits=books.limit_hits,
            skipped=self._skipped(),
            fills=venue.fills,
        )
