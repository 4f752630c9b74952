"""Business time on real prices: points are pushed by a `LiveMarket` instead of derived from bars.

The mark price is upstream's and moves with its ticker, not with the last price.
"""

from exchange_simulator.engine import price_moves
from exchange_simulator.market.model import Bar, LiveMarket, Minute, Moment, Quote
from exchange_simulator.timeline import Timeline

LATE_MS = 3_000  # a minute counts as closed after this delay even if upstream has not closed it


class LiveTimeline(Timeline):
    """A timeline whose points are pushed. `begin` takes the current prices, `take` one moment at a time."""

    market: LiveMarket

    def begin(self, resume_ms: int | None = None) -> None:
        """Takes the current prices. Orders that waited across a restart see them as a jump."""
        quotes = [self.market.quote(symbol) for symbol in self._symbols]
        now = max(quote.time_ms for quote in quotes)
        self.engine.now_ms = max(now, resume_ms or 0)
        self._funded_to = self.engine.now_ms
        self.bar_start = now // self.base_ms * self.base_ms
        self._closed: set[str] = set()
        for quote in quotes:  # all of them before any account is checked
            self.engine.books[quote.symbol].mark = quote.mark_price
        for quote in quotes:
            price_moves.set_mark_price(self.engine, quote.symbol, quote.mark_price)
        for quote in quotes:
            price_moves.move(
                self.engine, quote.symbol, self.engine.instruments[quote.symbol].price(quote.last), jump=True
            )

    @property
    def next_time(self) -> int:
        """Unknown: time comes from upstream."""
        raise AssertionError("a live market has no next point")

    def advance(self, to_ms: int, fine: bool = True) -> None:
        """Does nothing: time comes only from upstream."""

    def take(self, moment: Moment) -> None:
        """Advances time and moves one price."""
        engine = self.engine
        now = max(engine.now_ms, moment.time_ms)
        end = self.bar_start + self.base_ms
        if isinstance(moment, Minute) and moment.closed and moment.bar.start_ms == self.bar_start:
            self._closed.add(moment.symbol)
        if now >= end and (len(self._closed) == len(self._symbols) or now >= end + LATE_MS):
            self._settle_funding(now)
            engine.now_ms = now
            self.bar_start = now // self.base_ms * self.base_ms
            self._closed = set()
            self._on_open(self.bar_start)
        self._settle_funding(now)
        engine.now_ms = now
        if not isinstance(moment, Minute):
            ticks = moment.last if isinstance(moment, Quote) else moment.price
            price_moves.move(engine, moment.symbol, engine.instruments[moment.symbol].price(ticks))
            if isinstance(moment, Quote):
                price_moves.set_mark_price(engine, moment.symbol, moment.mark_price)
        self.points_done += 1

    def forming(self, symbol: str) -> Bar | None:
        """The forming minute as reported by upstream, updated with the last price."""
        last = self.engine.instruments[symbol].ticks(self.engine.books[symbol].last)
        bar = self.market.bar(symbol, self.bar_start) or Bar(self.bar_start, last, last, last, last, 0)
        return bar._replace(high=max(bar.high, last), low=min(bar.low, last), close=last)
