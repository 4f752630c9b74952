"""Whether the candles of further timeframes, which are made of base candles, are the exchange's own: asked hourly."""

from collections.abc import Awaitable, Callable

from alpha.bybit.client import Gateway
from alpha.bybit.models import Kline
from alpha.bybit.rate_limiter import Priority
from alpha.clock import SYSTEM_CLOCK, Clock
from alpha.errors import Rejected, Retry
from alpha.logs import logger
from alpha.strategy.bars import Bars
from alpha.timeframes import Columns, aggregate, disagreements, frame_ms
from bot_runner.candle_feed import CandleFeed

log = logger(__name__)
EVERY_S = 3_600.0
#: The newest candles of each timeframe that are compared.
COMPARED = 20

#: Called with the number of differences and the first of them.
Report = Callable[[int, str], Awaitable[None]]


class CandleCheck:
    """Compares open, high, low, close and volume. Without further timeframes there is nothing to compare."""

    def __init__(
        self,
        feed: CandleFeed,
        timeframes: tuple[str, ...],
        gateway: Gateway,
        report: Report,
        *,
        every_s: float = EVERY_S,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._feed = feed
        self._timeframes = timeframes
        self._gateway = gateway
        self._report = report
        self._every_s = every_s
        self._clock = clock

    async def run(self) -> None:
        """Compare again and again until cancelled; a difference is reported, and nothing is changed."""
        while self._timeframes:
            await self._clock.sleep(self._every_s)
            try:
                found = await self.differences()
            except (Retry, Rejected, OSError, TimeoutError) as fault:
                log.info("candles_not_compared", why=str(fault)[:200])
                continue
            if found:
                await self._report(len(found), found[0])

    async def differences(self) -> list[str]:
        """One text per differing value, over all symbols and timeframes."""
        found: list[str] = []
        for symbol, window in list(self._feed.windows.items()):
            newest = window.last_ms
            bars = None if newest is None else window.bars(newest, window.size)
            if bars is None:
                continue
            for timeframe in self._timeframes:
                theirs = await self._gateway.kline(symbol, timeframe, limit=COMPARED + 1, rank=Priority.BACKFILL)
                closed = [candle for candle in theirs if candle.closed]
                found += [f"{symbol} {timeframe}: {text}" for text in compared(bars, timeframe, closed)]
        return found


def compared(bars: Bars, timeframe: str, theirs: list[Kline]) -> list[str]:
    """Differences between candles built from base bars and the exchange's own."""
    if not theirs:
        return []
    base = Columns(bars.start_ms, bars.open, bars.high, bars.low, bars.close, bars.volume)
    ours = aggregate(base, bars.interval_ms, frame_ms(timeframe, bars.interval_ms))
    return disagreements(
        ours, Columns.of([(row.start_ms, row.open, row.high, row.low, row.close, row.volume) for row in theirs])
    )
