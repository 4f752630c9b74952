"""Business time on recorded ticks: every trade and every quote is a point, and so is the open of a minute."""

from collections.abc import Callable, Iterator
from typing import Any

from exchange_simulator.engine import price_moves
from exchange_simulator.engine.book import Best
from exchange_simulator.market.model import Bar
from exchange_simulator.market.ticks import Print, Shown, TickMarket
from exchange_simulator.timeline import Timeline


class TickTimeline(Timeline):
    """A timeline of what was recorded; `on_trade` and `on_quote` are told of each."""

    market: TickMarket
    on_trade: Callable[[Print], None] | None = None
    on_quote: Callable[[str], None] | None = None

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._events: Iterator[Print | Shown] = iter(())
        self._next: Print | Shown | None = None
        for symbol in self.market.quoted:
            self.engine.books[symbol].follow_quotes()

    def begin(self, resume_ms: int | None = None) -> None:
        """Takes the prices before the start, or the first ones where nothing is before; with `resume_ms`, goes on after everything up to that time."""
        engine, market = self.engine, self.market
        if resume_ms is not None:
            self.bar_start = resume_ms // self.base_ms * self.base_ms
        else:
            engine.now_ms = self.bar_start
        self._funded_to = engine.now_ms
        for symbol in self._symbols:
            book = engine.books[symbol]
            before = market.bar(symbol, self.bar_start - self.base_ms)
            bar = market.bar(symbol, self.bar_start)
            if not book.last and (before or bar):
                book.set_last(book.instrument.price(before.close if before else bar.open if bar else 0))
            quote = market.quote_before(symbol, self.bar_start) or market.first_quote(symbol)
            if quote is not None:
                book.best = self._best(quote)
        self._events = market.events(self.bar_start)
        self._next = next(self._events, None)
        while resume_ms is not None and self._next is not None and self._next.time_ms <= resume_ms:
            if isinstance(self._next, Shown):
                engine.books[self._next.symbol].best = self._best(self._next)
            else:
                self._add(self._next)
            self._next = next(self._events, None)

    @property
    def next_time(self) -> int:
        """Business time of the next point."""
        opens = self.bar_start + self.base_ms
        return opens if self._next is None else min(opens, self._next.time_ms)

    def advance(self, to_ms: int, fine: bool = True) -> None:
        """Takes every point up to `to_ms`; with `fine`, the clock then stands at `to_ms`."""
        while not self.ended and self.next_time <= to_ms:
            self.step()
        if fine and not self.ended and to_ms > self.engine.now_ms:
            self._settle_funding(to_ms)
            self.engine.now_ms = to_ms

    def step(self) -> None:
        """Takes the next point."""
        if self.ended:
            return
        if self._next is None or self._next.time_ms >= self.bar_start + self.base_ms:
            self._open_minute(self.bar_start + self.base_ms)
            return
        event, self._next = self._next, next(self._events, None)
        self._settle_funding(event.time_ms - 1)
        self.engine.now_ms = max(self.engine.now_ms, event.time_ms)
        if isinstance(event, Shown):
            price_moves.quoted(self.engine, event.symbol, self._best(event))
            if self.on_quote is not None:
                self.on_quote(event.symbol)
        else:
            self._add(event)
            price_moves.traded(self.engine, event.symbol, self.engine.instruments[event.symbol].price(event.price))
            if self.on_trade is not None:
                self.on_trade(event)
        self.points_done += 1
        self._on_point()

    def forming(self, symbol: str) -> Bar | None:
        """The minute that is under way, from its trades; flat at the last price before the first of them."""
        if symbol in self.bars:
            return self.bars[symbol]
        book = self.engine.books[symbol]
        if not book.last:
            return None
        last = book.instrument.ticks(book.last)
        return Bar(self.bar_start, last, last, last, last, 0)

    def _open_minute(self, time_ms: int) -> None:
        self._settle_funding(time_ms - 1)
        if self.market.end_ms is not None and time_ms >= self.market.end_ms:
            self.ended = True
            self.engine.now_ms = time_ms - 1
            self._on_open(time_ms)
            return
        self.engine.now_ms = time_ms
        self.bar_start = time_ms
        self.bars = {}
        self._deliver()
        self._settle_funding(time_ms)
        self._on_open(time_ms)
        self.points_done += 1
        self._on_point()

    def _add(self, trade: Print) -> None:
        bar, price = self.bars.get(trade.symbol), trade.price
        if bar is None:
            bar = Bar(self.bar_start, price, price, price, price, 0)
        self.bars[trade.symbol] = Bar(
            bar.start_ms, bar.open, max(bar.high, price), min(bar.low, price), price, bar.volume + trade.qty
        )

    def _best(self, quote: Shown) -> Best:
        instrument = self.engine.instruments[quote.symbol]
        price, qty = instrument.price, instrument.qty
        bid = None if quote.bid is None or not quote.bid_size else (price(quote.bid), qty(quote.bid_size))
        ask = None if quote.ask is None or not quote.ask_size else (price(quote.ask), qty(quote.ask_size))
        return Best(bid, ask)
