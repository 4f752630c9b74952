"""The exchange on real prices: a clock driven by a `LiveMarket`, and history fetched on demand."""

import asyncio
import time
from collections.abc import Callable

from exchange_simulator.candles import DAY_MS
from exchange_simulator.engine.model import Refused
from exchange_simulator.exchange import Exchange
from exchange_simulator.live_timeline import LiveTimeline
from exchange_simulator.market.intervals import FIXED_MS, INTERVALS, bucket_start
from exchange_simulator.market.model import LiveMarket, MarketError
from exchange_simulator.rest.args import Args

PUBLISH_S = 0.1


class LiveClock:
    """Feeds a `LiveTimeline` until the market closes."""

    def __init__(self, exchange: Exchange, market: LiveMarket, clock: Callable[[], float] = time.monotonic) -> None:
        self.exchange = exchange
        self.market = market
        self._clock = clock

    async def run(self) -> None:
        """Processes moments as they arrive; after each batch the events are stored and pushed."""
        exchange, timeline = self.exchange, self.exchange.timeline
        if not isinstance(timeline, LiveTimeline):
            raise AssertionError("a live clock needs a live timeline")
        published = self._clock()
        async for moment in self.market.moments():
            timeline.take(moment)
            exchange.commit()
            if self._clock() - published >= PUBLISH_S:
                published = self._clock()
                exchange.feed.refresh()
                await asyncio.sleep(0)


CANDLES = frozenset(f"/v5/market/{name}kline" for name in ("", "mark-price-", "index-price-", "premium-index-price-"))


async def load_candles(market: LiveMarket, now_ms: int, args: Args) -> None:
    """Fetches the candles a request needs. Raises `Refused` when upstream does not provide them."""
    symbol, interval = args.text("symbol"), args.text("interval")
    if symbol not in market.instruments or interval not in INTERVALS:
        return
    start, end = args.maybe_integer("start"), args.maybe_integer("end")
    span = (args.integer("limit") + 1) * FIXED_MS.get(interval, 31 * DAY_MS)
    last = min(end if end is not None else now_ms, now_ms)
    first = start if start is not None else bucket_start(interval, max(last - span, 0))
    if end is None and start is not None:
        last = min(start + span, now_ms)
    try:
        await market.load(symbol, interval, max(first, last - span), last + 1)
    except MarketError as error:
        raise Refused(10016, str(error)) from None
