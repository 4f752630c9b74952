"""Business time: base bars walked point by point, funding at its times.

A bar has four points: its open, two extremes, its close. At a bar's open the price of every symbol jumps there (stops
in the gap fire at the open), then funding is charged, then `on_open` tells that the bars before have closed. Between
points prices run through everything that waits.
"""

from collections.abc import Callable

from exchange_simulator.engine import delivery, funding, price_moves
from exchange_simulator.engine.account import Account
from exchange_simulator.engine.book import Book
from exchange_simulator.engine.state import Engine
from exchange_simulator.market.model import Bar, Market, Path, walk

CHUNK = 512
MINUTE_MS = 60_000
_LONGEST_CLOSED_MS = 4 * 24 * 60 * MINUTE_MS


class Timeline:
    """Moves an engine along a market. `start_ms` is cut to the start of a base bar."""

    def __init__(
        self,
        engine: Engine,
        market: Market,
        path: Path,
        start_ms: int,
        on_open: Callable[[int], None],
        on_point: Callable[[], None],
    ) -> None:
        self.engine = engine
        self.market = market
        self.path: Path = path
        self.base_ms = market.base_ms
        self._on_open = on_open
        self._on_point = on_point
        self._offsets = (0, self.base_ms // 3, self.base_ms * 2 // 3, self.base_ms - 1)
        self._chunks: dict[str, dict[int, Bar]] = {}
        self._chunk_ends: dict[str, int] = {}
        self._symbols = list(market.instruments)
        self.bar_start = start_ms // self.base_ms * self.base_ms
        self.point = 0
        self.points_done = 0
        self.bars: dict[str, Bar] = {}
        self._ways: dict[str, tuple[int, int, int, int]] = {}
        self.ended = False
        self._funded_to = 0
        self._delivered: set[str] = set()
        shortest = min(instrument.funding_interval_min for instrument in market.instruments.values()) * MINUTE_MS
        self._funding_inside = shortest < self.base_ms

    def begin(self, resume_ms: int | None = None) -> None:
        """Takes the first point; with `resume_ms`, goes on in the middle of the bar that holds that time."""
        if resume_ms is not None:
            self.bar_start = resume_ms // self.base_ms * self.base_ms
            within = resume_ms - self.bar_start
            self.point = max(number for number, offset in enumerate(self._offsets) if offset <= within)
        else:
            self.engine.now_ms = self.bar_start
        self._funded_to = self.engine.now_ms
        self._load_bar()
        for symbol, way in self._ways.items():
            book = self.engine.books[symbol]
            if not book.last:
                book.set_last(book.instrument.price(way[self.point]))
        self._fill_unpriced()

    def _fill_unpriced(self) -> None:
        """A symbol whose bars begin later shows no price; one whose bars have a hole keeps its last."""
        for symbol in self._symbols:
            book = self.engine.books[symbol]
            # a market that is closed had its last bar up to a weekend ago
            for back_ms in (10 * self.base_ms, _LONGEST_CLOSED_MS) if not book.last else ():
                if earlier := self.market.bars(symbol, self.bar_start - back_ms, self.bar_start):
                    book.set_last(book.instrument.price(earlier[-1].close))
                    break

    @property
    def next_time(self) -> int:
        """Business time of the next point."""
        if self.point < 3:
            return self.bar_start + self._offsets[self.point + 1]
        return self.bar_start + self.base_ms

    def advance(self, to_ms: int, fine: bool = True) -> None:
        """Takes every point up to `to_ms`; with `fine`, prices then move along to where they are at `to_ms`."""
        while not self.ended and self.next_time <= to_ms:
            if self.point == 0 and self.bar_start + self.base_ms - 1 <= to_ms:
                self._whole_bar()
            else:
                self.step()
        if fine and not self.ended and to_ms > self.engine.now_ms:
            self._between(to_ms)

    def step(self) -> None:
        """Takes the next point."""
        if self.ended:
            return
        time_ms = self.next_time
        opens = self.point == 3
        if opens and self.market.end_ms is not None and time_ms >= self.market.end_ms:
            self.ended = True
            self._settle_funding(time_ms - 1)
            self._on_open(time_ms)
            return
        self._settle_funding(time_ms - 1)
        self.engine.now_ms = time_ms
        if opens:
            self.bar_start = time_ms
            self.point = 0
            self._load_bar()
        else:
            self.point += 1
        engine, point = self.engine, self.point
        for symbol, way in self._ways.items():
            price_moves.move(engine, symbol, engine.instruments[symbol].price(way[point]), jump=opens)
        self._deliver()
        if opens:
            self._settle_funding(time_ms)
            self._on_open(time_ms)
        self.points_done += 1
        self._on_point()

    def _whole_bar(self) -> None:
        """The rest of a bar at once: symbols in which nothing can happen jump to the close."""
        engine = self.engine
        busy: list[str] = []
        safe = {account.uid for account in engine.accounts.values() if self._safe(account)}
        for symbol, bar in self.bars.items():
            book = engine.books[symbol]
            if self._idle(book, bar, safe):
                price = book.instrument.price(bar.close)
                if price != book.last:
                    book.set_last(price)
            else:
                busy.append(symbol)
        for point in (1, 2, 3) if busy else (3,):
            time_ms = self.bar_start + self._offsets[point]
            self._settle_funding(time_ms)
            engine.now_ms = time_ms
            self.point = point
            for symbol in busy:
                price_moves.move(engine, symbol, engine.instruments[symbol].price(self._ways[symbol][point]))
        self._deliver()
        self.points_done += 3
        self._on_point()

    def _between(self, to_ms: int) -> None:
        """Prices on the straight line from the last point to the next, at `to_ms`."""
        self._settle_funding(to_ms)
        engine = self.engine
        engine.now_ms = to_ms
        if self.point == 3:
            return
        start, end = self.bar_start + self._offsets[self.point], self.next_time
        for symbol, way in self._ways.items():
            first, last = way[self.point], way[self.point + 1]
            if first != last:
                ticks = first + (last - first) * (to_ms - start) // (end - start)
                price = engine.instruments[symbol].price(ticks)
                if price != engine.books[symbol].last:
                    price_moves.move(engine, symbol, price)
        self._on_point()

    def _settle_funding(self, to_ms: int) -> None:
        """Charges funding at every funding time not settled yet, up to and with `to_ms`."""
        since = self._funded_to
        if to_ms <= since:
            return
        self._funded_to = to_ms
        if to_ms // MINUTE_MS == since // MINUTE_MS:
            return
        now = self.engine.now_ms
        for symbol in self._symbols:
            if not self.engine.books[symbol].holders:
                continue
            interval = self.engine.instruments[symbol].funding_interval_min * MINUTE_MS
            due = (since // interval + 1) * interval
            while due <= to_ms:
                self.engine.now_ms = due
                funding.charge(self.engine, symbol, self.market.funding_rate(symbol, due))
                due += interval
        self.engine.now_ms = now

    def _deliver(self) -> None:
        """Settles every symbol whose delivery time has come."""
        for symbol in self._symbols:
            due = self.engine.books[symbol].instrument.delivery_ms
            if due and due <= self.engine.now_ms and symbol not in self._delivered:
                self._delivered.add(symbol)
                delivery.deliver(self.engine, symbol)

    def _load_bar(self) -> None:
        start = self.bar_start
        self.bars = {}
        self._ways = {}
        for number, symbol in enumerate(self._symbols):
            if start >= self._chunk_ends.get(symbol, 0):
                self._load_chunk(number, symbol)
            bar = self._chunks[symbol].get(start)
            if bar is not None:
                self.bars[symbol] = bar
                self._ways[symbol] = walk(bar, self.path)

    def _load_chunk(self, number: int, symbol: str) -> None:
        """Fetches the bars of a symbol for a while. First chunks differ in length, so that later ones come one by one."""
        length = CHUNK if symbol in self._chunk_ends else CHUNK * (number + 1) // len(self._symbols) + 1
        end = self.bar_start + length * self.base_ms
        self._chunks[symbol] = {bar.start_ms: bar for bar in self.market.bars(symbol, self.bar_start, end)}
        self._chunk_ends[symbol] = end

    def forming(self, symbol: str) -> Bar | None:
        """The base bar that is under way, as far as it has come."""
        bar = self.bars.get(symbol)
        if bar is None:
            return None
        if self.ended:
            return bar
        instrument = self.engine.instruments[symbol]
        last = instrument.ticks(self.engine.books[symbol].last)
        seen = (*self._ways[symbol][: self.point + 1], last)
        elapsed = self.engine.now_ms - self.bar_start + 1
        volume = bar.volume if elapsed >= self.base_ms else bar.volume * elapsed // self.base_ms
        return Bar(bar.start_ms, bar.open, max(seen), min(seen), last, volume)

    def _idle(self, book: Book, bar: Bar, safe: set[int]) -> bool:
        """True when nothing can happen in the symbol while the bar is walked; `safe` accounts cannot be liquidated in it."""
        if book.trailing or book.index_waiting or (book.holders and self._funding_inside):
            return False
        low, high = book.instrument.price(bar.low), book.instrument.price(bar.high)
        fall, rise = book.next_falling(), book.next_rising()
        if (fall is not None and fall[0] >= low) or (rise is not None and rise[0] <= high):
            return False
        return all(account.uid in safe for account in book.holders.values())

    def _safe(self, account: Account) -> bool:
        """True when no position of the account can be liquidated in the bars under way."""
        for position in account.held():
            bar = self.bars.get(position.symbol)
            if bar is None:
                continue
            low, high = self.engine.safe_between(account, position.symbol)
            if not low < bar.low <= bar.high < high:
                account.safe.clear()
                return False
        return True
