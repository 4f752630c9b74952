"""Tickers and the visible order book of every symbol."""

from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal

from exchange_simulator.engine.model import ZERO
from exchange_simulator.engine.state import Engine
from exchange_simulator.market.model import Market, turnover
from exchange_simulator.render import text

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
SHOWN_DEPTH = Decimal(50_000)  # value shown per level when matching depth is unlimited
Level = tuple[Decimal, Decimal]


@dataclass(frozen=True, slots=True)
class Day:
    """The 24 hours before the full hour."""

    first: Decimal
    hour_ago: Decimal
    high: Decimal
    low: Decimal
    volume: Decimal
    turnover: Decimal


class Quotes:
    """Market figures for `market/tickers`, `market/orderbook` and their topics."""

    def __init__(self, engine: Engine, market: Market) -> None:
        self.engine = engine
        self.market = market
        self._days: dict[str, tuple[int, Day]] = {}

    def next_funding_ms(self, symbol: str) -> int:
        interval = self.market.instruments[symbol].funding_interval_min * 60_000
        return (self.engine.now_ms // interval + 1) * interval

    def _day(self, symbol: str) -> Day:
        unit = max(HOUR_MS, self.market.base_ms)
        hour = self.engine.now_ms // unit * unit
        kept = self._days.get(symbol)
        if kept is not None and kept[0] == hour:
            return kept[1]
        instrument = self.market.instruments[symbol]
        interval = {HOUR_MS: "60", 2 * HOUR_MS: "120", 4 * HOUR_MS: "240"}.get(unit, "D")
        bars = self.market.candles(symbol, interval, hour - DAY_MS, hour)
        last = self.engine.books[symbol].last
        if bars:
            day = Day(
                instrument.price(bars[0].open),
                instrument.price(bars[-1].close),
                instrument.price(max(bar.high for bar in bars)),
                instrument.price(min(bar.low for bar in bars)),
                instrument.qty(sum(bar.volume for bar in bars)),
                sum((turnover(bar, instrument) for bar in bars), ZERO),
            )
        else:
            day = Day(last, last, last, last, ZERO, ZERO)
        self._days[symbol] = (hour, day)
        return day

    def ticker(self, symbol: str) -> dict[str, str]:
        """A row of `market/tickers`."""
        book, instrument = self.engine.books[symbol], self.market.instruments[symbol]
        day = self._day(symbol)
        index = self.engine.index_of(symbol)
        funding_ms = self.next_funding_ms(symbol)
        interest = self.market.open_interest(symbol, self.engine.now_ms)
        bids, asks = self.levels(symbol, 1)
        change = (book.last / day.first - 1) if day.first else ZERO
        return {
            "symbol": symbol,
            "lastPrice": text(book.last),
            "indexPrice": text(index),
            "markPrice": text(book.mark),
            "prevPrice24h": text(day.first),
            "price24hPcnt": text(change.quantize(Decimal("1e-6"))),
            "highPrice24h": text(max(day.high, book.last)),
            "lowPrice24h": text(min(day.low, book.last)),
            "prevPrice1h": text(day.hour_ago),
            "openInterest": text(interest),
            "openInterestValue": text((interest * book.mark).quantize(Decimal("1e-2"))),
            "singleOpenInterest": text(interest),
            "singleOpenInterestValue": text((interest * book.mark).quantize(Decimal("1e-2"))),
            "turnover24h": text(day.turnover.quantize(Decimal("1e-4"))),
            "volume24h": text(day.volume),
            "fundingRate": text(self.market.funding_rate(symbol, funding_ms)),
            "nextFundingTime": str(funding_ms),
            "predictedDeliveryPrice": "",
            "basisRate": "",
            "basis": "",
            "basisRateYear": "",
            "deliveryFeeRate": "",
            "deliveryTime": str(instrument.delivery_ms),
            "bid1Price": text(bids[0][0]) if bids else "",
            "bid1Size": text(bids[0][1]) if bids else "",
            "ask1Price": text(asks[0][0]) if asks else "",
            "ask1Size": text(asks[0][1]) if asks else "",
            "preOpenPrice": "",
            "preQty": "",
            "curPreListingPhase": "ContinuousTrading" if instrument.pre_market else "",
            "fundingIntervalHour": str(instrument.funding_interval_min // 60),
            "fundingCap": text(instrument.upper_funding_rate),
        }

    def levels(self, symbol: str, depth: int) -> tuple[list[Level], list[Level]]:
        """Visible bids and asks, best first. Never locked: the best ask is at least one tick above the best bid.

        A recorded best bid and offer are shown as they were; a side that was empty is empty.
        """
        book = self.engine.books[symbol]
        tick, step = book.instrument.tick_size, book.instrument.qty_step
        bid, ask = book.bid, max(book.ask, book.bid + tick)
        gap = max(int(book.last / tick / 20_000), 1) * tick
        limited = book.rules.depth_usdt > 0
        bids: list[Level] = []
        asks: list[Level] = []
        best = book.best
        for number in range(depth):
            for side, price in ((bids, bid - number * gap), (asks, ask + number * gap)):
                shown = None if best is None else best.bid if side is bids else best.ask
                if price < tick or (best is not None and shown is None):
                    continue
                if shown is not None and not number:
                    size = shown[1]
                elif limited:
                    size = book.level_size(price)
                else:
                    share = 500 + (int(price / tick) * 2654435761 >> 7) % 1000
                    size = (SHOWN_DEPTH * share / 1000 / price / step).to_integral_value(rounding=ROUND_FLOOR) * step
                side.append((price, max(size, step)))
        return bids, asks
