"""Candles of every interval at the current time: closed ones from market history, the forming one from the timeline."""

from collections.abc import Iterator
from decimal import Decimal

from exchange_simulator.engine.model import Refused
from exchange_simulator.market.intervals import FIXED_MS, INTERVALS, bucket_end, bucket_start
from exchange_simulator.market.model import Bar, BuiltMarket, LiveMarket, Market, merge, turnover
from exchange_simulator.render import text
from exchange_simulator.timeline import Timeline

DAY_MS = 86_400_000


class Candles:
    """Candles for `market/kline` and the `kline` topic."""

    def __init__(self, market: Market, timeline: Timeline) -> None:
        self.market = market
        self.timeline = timeline

    def check(self, interval: str) -> None:
        """Refuses an interval that Bybit does not have or that is finer than the market's own bars."""
        if interval not in INTERVALS:
            raise Refused(10001, f"Invalid period! interval {interval}")
        if interval != "M" and (FIXED_MS[interval] < self.market.base_ms or FIXED_MS[interval] % self.market.base_ms):
            minutes = self.market.base_ms // 60_000
            raise Refused(10001, f"Invalid period! this market's own candles are {minutes} minutes long")

    def page(self, symbol: str, interval: str, start: int | None, end: int | None, limit: int) -> list[Bar]:
        """Candles with `start <= start_ms <= end`, newest first; with only `start`, the first `limit` from there."""
        self.check(interval)
        now = self.timeline.engine.now_ms
        current = bucket_start(interval, now)
        first, last = self._span(interval, start, end, limit)
        bars = [
            bar
            for bar in self.market.candles(symbol, interval, first, last + 1)
            if bar.start_ms < current and bar.start_ms <= last
        ]
        if self.timeline.ended:
            bars = [bar for bar in bars if bucket_end(interval, bar.start_ms) <= now + 1]
        if first <= current <= last:
            forming = self.forming(symbol, interval)
            if forming is not None:
                bars.append(forming)
        bars = bars[:limit] if start is not None and end is None else bars[-limit:]
        return bars[::-1]

    def _span(self, interval: str, start: int | None, end: int | None, limit: int) -> tuple[int, int]:
        """First and last candle start of a page."""
        now = self.timeline.engine.now_ms
        last = min(end if end is not None else now, now)
        length = FIXED_MS.get(interval, 31 * DAY_MS)
        if start is not None and end is None:
            first, last = start, min(start + (limit + 1) * length, now)
        else:
            first = max(start if start is not None else 0, bucket_start(interval, last) - limit * length)
        return max(first, self.market.first_ms - length), last

    def build(self, symbol: str, interval: str, start: int | None, end: int | None, limit: int) -> Iterator[None]:
        """Generates the history a page needs, in small steps, on markets that generate their history."""
        market = self.market
        if isinstance(market, BuiltMarket) and symbol in market.instruments and interval in INTERVALS:
            first, last = self._span(interval, start, end, limit)
            yield from market.build(symbol, interval, first, last + 1)

    def forming(self, symbol: str, interval: str) -> Bar | None:
        """The forming candle up to now."""
        now = self.timeline.engine.now_ms
        start = bucket_start(interval, now)
        base = self.timeline.forming(symbol)
        if isinstance(self.market, LiveMarket) and base is not None:
            fetched = self.market.candles(symbol, interval, start, start + 1)
            if fetched:
                whole = fetched[0]
                return whole._replace(high=max(whole.high, base.high), low=min(whole.low, base.low), close=base.close)
        done = self._done(symbol, start) if start < self.timeline.bar_start else []
        if base is not None:
            done.append(base)
        return merge(done, start)

    def _done(self, symbol: str, start: int) -> list[Bar]:
        """Bars from `start` to the forming one; past whole days as one bar each."""
        today = self.timeline.bar_start // DAY_MS * DAY_MS
        days: list[Bar] = []
        whole = start % DAY_MS == 0 and DAY_MS % self.market.base_ms == 0
        if start < today and whole and not isinstance(self.market, LiveMarket):
            days = self.market.candles(symbol, "D", start, today)
            start = today
        return [*days, *self.market.bars(symbol, start, self.timeline.bar_start)]

    def closed(self, symbol: str, interval: str, end_ms: int) -> Bar | None:
        """The candle that ends exactly at `end_ms`; None when no candle of this interval does."""
        start = bucket_start(interval, end_ms - 1)
        if bucket_end(interval, start) != end_ms:
            return None
        bars = self.market.candles(symbol, interval, start, start + 1)
        return bars[0] if bars else None

    def row(self, symbol: str, bar: Bar) -> list[str]:
        """A candle as REST sends it: start, open, high, low, close, volume, turnover."""
        instrument = self.market.instruments[symbol]
        return [
            str(bar.start_ms),
            *(text(instrument.price(ticks)) for ticks in bar[1:5]),
            text(instrument.qty(bar.volume)),
            text(turnover(bar, instrument)),
        ]

    def topic_row(self, symbol: str, interval: str, bar: Bar, confirm: bool, now_ms: int) -> dict[str, object]:
        """A candle as the `kline` topic sends it."""
        row = self.row(symbol, bar)
        return {
            "start": bar.start_ms,
            "end": bucket_end(interval, bar.start_ms) - 1,
            "interval": interval,
            "open": row[1],
            "close": row[4],
            "high": row[2],
            "low": row[3],
            "volume": row[5],
            "turnover": row[6],
            "confirm": confirm,
            "timestamp": now_ms,
        }

    def index_row(self, symbol: str, bar: Bar) -> list[str]:
        """A candle of the index price: the market's candle with each price converted to the index at that time."""
        ticks = (bar.open, bar.high, bar.low, bar.close)
        prices = [self.market.index_price(symbol, bar.start_ms, tick) for tick in ticks]
        return [str(bar.start_ms), *(text(price) for price in prices)]

    def premium_row(self, symbol: str, bar: Bar) -> list[str]:
        """A candle of the premium: last / index - 1."""
        instrument = self.market.instruments[symbol]
        shares: list[Decimal] = []
        for tick in (bar.open, bar.high, bar.low, bar.close):
            index = self.market.index_price(symbol, bar.start_ms, tick)
            shares.append((instrument.price(tick) / index - 1).quantize(Decimal("1e-6")))
        return [str(bar.start_ms), *(text(part) for part in (shares[0], max(shares), min(shares), shares[3]))]
