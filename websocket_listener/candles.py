"""Closed candles: a gapless list for each symbol and interval in Redis, and an event to every bot that follows it."""

import asyncio
from collections.abc import Awaitable, Callable

from redis.exceptions import RedisError

from alpha.bybit.client import Gateway
from alpha.bybit.decode import closed_klines
from alpha.bybit.messages import Envelope
from alpha.bybit.models import Kline
from alpha.clock import monotonic_ms
from alpha.errors import AlphaError, Rejected, Retry
from alpha.live_state import keys
from alpha.live_state.client import TextRedis
from alpha.live_state.read import Candle, decode_candle, encode_candle
from alpha.logs import logger
from alpha.model.interval import end_of
from websocket_listener import serialize
from websocket_listener.tickers import MayWrite

log = logger(__name__)

Series = tuple[str, str]
#: How many candles a new list begins with, in one request.
_FIRST = 1_000
_RETRY_S = 1.0
#: A candle is overdue when the market is so far into the candle after next; it is then looked for over REST.
_OVERDUE_MS = 5_000
_LOOK_MS = 5_000


class Candles:
    """All candle series. `closed(candle, end_ms)` is called after a candle is in its list, in order."""

    def __init__(
        self,
        shared_db: TextRedis,
        gateway: Gateway,
        closed: Callable[[Kline, int], None],
        told: Callable[[Series], Awaitable[int | None]],
        may_write: MayWrite,
        writes: Callable[[], bool] = lambda: True,
    ) -> None:
        """`writes` is False while another listener keeps the lists: candles are then only told. `told(series)` is the start of the last candle that every follower was told of; None for never."""
        self.filled = 0
        self._redis = shared_db
        self._gateway = gateway
        self._closed = closed
        self._told = told
        self._may_write = may_write
        self._writes = writes
        self._begun: set[Series] = set()
        self._last: dict[Series, int] = {}
        self._followed: set[Series] = set()
        self._pending: dict[Series, list[Kline]] = {}
        self._busy: set[Series] = set()
        self._again: set[Series] = set()
        self._looked_ms: dict[Series, int] = {}
        self._wake = asyncio.Event()

    def follow(self, series: set[Series]) -> None:
        """From now on exactly these. A new one is filled over REST first."""
        if series == self._followed:
            return
        for gone in self._followed - series:
            self._pending.pop(gone, None)
        for new in series - self._followed:
            self._again.add(new)
            self._pending.setdefault(new, [])
        self._followed = set(series)
        self._wake.set()

    def check_all(self) -> None:
        """Candles may have been missed (a reconnect, an emptied Redis): look at every series over REST."""
        for series in self._followed:
            self._again.add(series)
            self._pending.setdefault(series, [])
        self._wake.set()

    def kline(self, envelope: Envelope) -> None:
        """A frame of `kline.<interval>.<symbol>`; only closed candles count. Rejected when unreadable."""
        for candle in closed_klines(envelope):
            series = (candle.symbol, candle.interval)
            if series in self._followed:
                self._pending.setdefault(series, []).append(candle)
                self._wake.set()

    def overdue(self, market_ms: int) -> None:
        """Look over REST for candles that should have closed by `market_ms`, the newest time of the market."""
        now = monotonic_ms()
        for series in self._followed:
            last = self._last.get(series)
            if last is None or now - self._looked_ms.get(series, 0) < _LOOK_MS:
                continue
            next_end = end_of(end_of(last, series[1]), series[1])
            if market_ms > next_end + _OVERDUE_MS:
                self._looked_ms[series] = now
                self._again.add(series)
                self._pending.setdefault(series, [])
                self._wake.set()

    async def run(self) -> None:
        """Keep the lists until cancelled. Each series is worked on by itself: a slow one delays no other."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._wake.wait()
                self._wake.clear()
                for series in list(self._pending):
                    if series in self._busy:
                        continue
                    candles = self._pending.pop(series)
                    if series in self._followed:
                        self._busy.add(series)
                        tasks.create_task(self._work(series, candles))

    async def _work(self, series: Series, candles: list[Kline]) -> None:
        try:
            await self._take(series, candles)
        except (AlphaError, RedisError, OSError, TimeoutError) as fault:
            log.info("candles_delayed", series=series, why=f"{type(fault).__name__}: {fault}"[:200])
            # what is missed until then is filled over REST
            self._last.pop(series, None)
            self._pending.setdefault(series, [])
            await asyncio.sleep(_RETRY_S)
        finally:
            self._busy.discard(series)
            self._wake.set()

    async def _take(self, series: Series, candles: list[Kline]) -> None:
        if series not in self._last or series in self._again:
            self._again.discard(series)
            await self._begin(series)
        for candle in sorted(candles, key=lambda row: row.start_ms):
            expected = end_of(self._last[series], series[1])
            if candle.start_ms < expected:
                continue
            if candle.start_ms > expected:
                await self._fill(series, candle.start_ms - 1)
            if candle.start_ms == end_of(self._last[series], series[1]):
                await self._append(series, [candle], tell=True)

    async def _begin(self, series: Series) -> None:
        """Find the end of the list and bring it up to date."""
        symbol, interval = series
        recent = [row for row in await self._gateway.kline(symbol, interval, limit=_FIRST) if row.closed]
        if not recent:
            raise Rejected(f"The exchange has no closed candle of {symbol} at interval {interval} yet.")
        key = keys.candles(symbol, interval)
        rows = await self._redis.lrange(key, -1, -1)
        last = decode_candle(rows[0]).start_ms if rows else None
        oldest, newest = recent[0].start_ms, recent[-1].start_ms
        step = end_of(newest, interval) - newest
        if last is None or last > newest + 10 * step or last < oldest - keys.CANDLES_KEPT * step:
            # nothing there, the list of another market's time, or too far behind: begin anew
            if not self._writes():
                raise Retry("The listener that keeps the candles has not written them yet.")
            await self._may_write()
            await self._redis.delete(key)
            await self._append(series, recent, tell=False)
            return
        if series not in self._begun:
            # an earlier process may have ended between the list and the news
            told = await self._told(series)
            self._tell([row for row in recent if told is not None and told < row.start_ms <= last])
        self._begun.add(series)
        self._last[series] = last
        if last < oldest:
            await self._fill(series, newest)
        await self._append(series, [row for row in recent if row.start_ms > self._last[series]], tell=True)

    async def _fill(self, series: Series, end_ms: int) -> None:
        """Fetch the candles between the last one and `end_ms` (inclusive)."""
        symbol, interval = series
        while True:
            start_ms = end_of(self._last[series], interval)
            if start_ms > end_ms:
                return
            rows = await self._gateway.kline(symbol, interval, start_ms=start_ms, end_ms=end_ms)
            missing = [row for row in rows if row.closed and start_ms <= row.start_ms <= end_ms]
            if not missing or missing[0].start_ms != start_ms:
                # Bybit sends the newest of a long range: go on from the oldest piece that fits
                piece_end = start_ms + (end_of(start_ms, interval) - start_ms) * (_FIRST - 1)
                if piece_end >= end_ms or not missing:
                    raise Rejected(f"The exchange has no candle of {symbol} at interval {interval} from {start_ms}.")
                rows = await self._gateway.kline(symbol, interval, start_ms=start_ms, end_ms=piece_end)
                missing = [row for row in rows if row.closed and row.start_ms >= start_ms]
                if not missing:
                    raise Rejected(f"The exchange has no candle of {symbol} at interval {interval} from {start_ms}.")
            self.filled += len(missing)
            await self._append(series, missing, tell=True)

    async def _append(self, series: Series, candles: list[Kline], *, tell: bool) -> None:
        if not candles:
            return
        if self._writes():
            key = keys.candles(*series)
            texts_of = [encode_candle(_stored(candle)) for candle in candles]
            await self._may_write()
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.rpush(key, *texts_of)
                pipe.ltrim(key, -keys.CANDLES_KEPT, -1)
                await pipe.execute()
        self._last[series] = candles[-1].start_ms
        if tell:
            self._tell(candles)

    def _tell(self, candles: list[Kline]) -> None:
        for candle in candles:
            self._closed(candle, end_of(candle.start_ms, candle.interval))


def _stored(candle: Kline) -> Candle:
    return Candle(
        candle.start_ms,
        serialize.text(candle.open),
        serialize.text(candle.high),
        serialize.text(candle.low),
        serialize.text(candle.close),
        serialize.text(candle.volume),
    )
