"""Closed candles of all followed symbols: streamed, gaps backfilled over REST, each symbol independently."""

import asyncio
from collections.abc import Awaitable, Callable

from alpha.analysis import Definition
from alpha.bybit.client import Gateway
from alpha.bybit.decode import closed_klines
from alpha.bybit.messages import Envelope
from alpha.bybit.models import Kline
from alpha.bybit.rate_limiter import Priority
from alpha.clock import monotonic_ms
from alpha.concurrency import AT_ONCE
from alpha.errors import AlphaError, Misconfigured, Rejected
from alpha.logs import logger
from alpha.model.interval import INTERVAL_MS
from alpha.timeframes import Columns, disagreements
from analysis_service.candles import Added, Row, SymbolCandles

log = logger(__name__)
_PAGE = 1_000
_RETRY_S = 2.0
#: A candle is overdue when the market is so far into the candle after next; it is then asked for over REST.
_OVERDUE_MS = 5_000
_ASK_AGAIN_MS = 5_000
#: Candles of each longer interval that are compared with the exchange's own.
_COMPARED = 20


#: Called with a symbol, its candles and the intervals that have new ones.
Closed = Callable[[str, SymbolCandles, set[str]], Awaitable[None]]


class CandleFeed:
    """All symbols. `closed(symbol, candles, intervals)` is called after every change, never twice at once for a symbol."""

    def __init__(
        self,
        gateway: Gateway,
        definition: Definition,
        keep: Callable[[str, int], Awaitable[dict[str, int]]],
        closed: Closed,
        unknown: Callable[[str, str], None],
    ) -> None:
        """`keep(symbol, now_ms)` returns how many candles of each interval are needed at this exchange time;
        `unknown(symbol, why)` is called for a symbol that the exchange has no candles of."""
        self.rest_requests = 0
        self.gaps = 0
        self.newest_ms = 0
        self.symbols: dict[str, SymbolCandles] = {}
        self._gateway = gateway
        self._definition = definition
        self._keep = keep
        self._closed = closed
        self._unknown = unknown
        self._followed: set[str] = set()
        self._pending: dict[str, list[Row]] = {}
        self._again: set[str] = set()
        self._busy: set[str] = set()
        self._touched: dict[str, set[str]] = {}
        self._refused: set[str] = set()
        self._asked_ms: dict[str, int] = {}
        #: Symbols of which the exchange has said that it has no newer candle than is here.
        self._up_to_date: set[str] = set()
        self._wake = asyncio.Event()
        self._room = asyncio.Semaphore(AT_ONCE)

    def topics(self) -> set[str]:
        """What has to be streamed."""
        return {f"kline.{self._definition.base}.{symbol}" for symbol in self._followed}

    def follow(self, symbols: set[str]) -> None:
        """From now on exactly these. A new one is read over REST first."""
        for gone in self._followed - symbols:
            self.symbols.pop(gone, None)
            self._pending.pop(gone, None)
            self._touched.pop(gone, None)
        for new in symbols - self._followed:
            self._renew(new)
        self._followed = set(symbols)

    def check_all(self) -> None:
        """Candles may have been missed: read every symbol's over REST."""
        for symbol in self._followed:
            self._renew(symbol)

    def touch(self, series: set[tuple[str, str]]) -> None:
        """Pass these on again, new candles or not."""
        for symbol, interval in series:
            if symbol in self._followed:
                self._touched.setdefault(symbol, set()).add(interval)
                self._renew(symbol)

    def kline(self, envelope: Envelope) -> None:
        """A frame of `kline.<interval>.<symbol>`; only closed candles count. Rejected when it cannot be read."""
        self.newest_ms = max(self.newest_ms, envelope.ts)
        for candle in closed_klines(envelope):
            if candle.interval == self._definition.base and candle.symbol in self._followed:
                self._pending.setdefault(candle.symbol, []).append(_row(candle))
                self._wake.set()

    def overdue(self) -> list[str]:
        """Ask over REST for candles that should have closed by now; returns the symbols that wait for one."""
        found = []
        for symbol, candles in self.symbols.items():
            late_ms = self.newest_ms - INTERVAL_MS[candles.base] - _OVERDUE_MS
            if not any(candles.behind(interval, late_ms) > 0 for interval in candles.windows):
                continue
            # a market that is closed has no candles: the exchange has been asked, and nothing is missing
            if not (symbol in self._up_to_date and symbol in self._gateway.with_sessions):
                found.append(symbol)
            if monotonic_ms() - self._asked_ms.get(symbol, 0) >= _ASK_AGAIN_MS:
                self._renew(symbol)
        return found

    @property
    def unread(self) -> list[str]:
        """Followed symbols whose history has not been read, although the exchange did not refuse it."""
        return sorted(self._followed - set(self.symbols) - self._refused)

    async def run(self) -> None:
        """Work until cancelled. Each symbol is worked on by itself: a slow one delays no other."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._wake.wait()
                self._wake.clear()
                for symbol in [*self._pending]:
                    if symbol not in self._busy:
                        self._busy.add(symbol)
                        tasks.create_task(self._work(symbol, self._pending.pop(symbol)))

    def _renew(self, symbol: str) -> None:
        self._again.add(symbol)
        self._pending.setdefault(symbol, [])
        self._asked_ms[symbol] = monotonic_ms()
        self._wake.set()

    async def _work(self, symbol: str, rows: list[Row]) -> None:
        try:
            if symbol in self._followed:
                await self._take(symbol, rows)
        except (AlphaError, OSError, TimeoutError) as fault:
            log.info("candles_delayed", symbol=symbol, why=f"{type(fault).__name__}: {fault}"[:200])
            if isinstance(fault, Rejected):
                self._refused.add(symbol)
                self._unknown(symbol, str(fault))
            await asyncio.sleep(_RETRY_S)
            if symbol in self._followed:
                self._renew(symbol)
        finally:
            self._busy.discard(symbol)
            self._wake.set()

    async def _take(self, symbol: str, rows: list[Row]) -> None:
        candles = self.symbols.get(symbol)
        # what a failure interrupts is analysed with the next candle
        touched = self._touched.setdefault(symbol, set())
        if candles is None or symbol in self._again:
            self._again.discard(symbol)
            candles = await self._from_exchange(symbol, candles, touched)
            self._up_to_date.add(symbol)
        for row in sorted(rows):
            self._up_to_date.discard(symbol)
            added, closed, missing = candles.add(row)
            if added is Added.GAP:
                self.gaps += 1
                await self._from_exchange(symbol, candles, touched)
                added, closed, missing = candles.add(row)
            touched.update(closed)
            for interval in missing:
                if await self._read(symbol, candles, interval, row.start_ms + INTERVAL_MS[candles.base]):
                    touched.add(interval)
        self._refused.discard(symbol)
        if touched:
            await self._closed(symbol, candles, set(touched))
            touched.clear()

    async def _from_exchange(self, symbol: str, candles: SymbolCandles | None, touched: set[str]) -> SymbolCandles:
        """Bring every interval up to now; adds those that have new candles to `touched`."""
        async with self._room:
            now_ms = await self._gateway.server_time_ms(rank=Priority.RECONCILE)
        keep = await self._keep(symbol, now_ms)
        if candles is None:
            async with self._room:
                await self._gateway.instruments(symbol)
            candles = SymbolCandles(self._definition.intervals, keep)
        else:
            candles.grow(keep)
        for interval in self._definition.intervals:
            if candles.behind(interval, now_ms) and await self._read(symbol, candles, interval, now_ms):
                touched.add(interval)
        if not len(candles.windows[candles.base]):
            raise Rejected(f"The exchange has no closed candle of {symbol} at interval {candles.base}.")
        if symbol in self._followed:
            self.symbols[symbol] = candles
        return candles

    async def _read(self, symbol: str, candles: SymbolCandles, interval: str, now_ms: int) -> bool:
        """Read one interval's candles since the last one here, or the whole history; True when there are new ones."""
        window = candles.windows[interval]
        length, last_ms = window.interval_ms, window.last_ms
        oldest = now_ms - (window.keep + 1) * length
        begin = oldest if last_ms is None else max(oldest, last_ms + length)
        found: list[Row] = []
        while begin + length <= now_ms:
            # the newest page of a range is what Bybit sends, so ranges are no longer than a page
            end = begin + (_PAGE - 1) * length
            async with self._room:
                page = await self._gateway.kline(symbol, interval, start_ms=begin, end_ms=end, limit=_PAGE)
            self.rest_requests += 1
            found += [_row(candle) for candle in page if candle.closed and candle.start_ms + length <= now_ms]
            begin = end + length
        new = [row for row in found if last_ms is None or row.start_ms > last_ms]
        if not new:
            return False
        if last_ms is None or new[0].start_ms != last_ms + length:
            window.restart(new, from_the_first=new[0].start_ms >= oldest + 2 * length)
            return True
        for place, row in enumerate(new):
            if window.add(row) is Added.GAP:
                window.restart(new[place:], from_the_first=True)
                break
        return True

    async def compare(self) -> list[str]:
        """Compare the newest longer candles, which were made of shorter ones, with the exchange's own. One text each."""
        found: list[str] = []

        async def one(symbol: str, interval: str, candles: SymbolCandles) -> None:
            async with self._room:
                page = await self._gateway.kline(symbol, interval, limit=_COMPARED + 1)
            theirs = Columns.of([_row(candle) for candle in page if candle.closed])
            differences = disagreements(candles.windows[interval].columns, theirs)
            found.extend(f"{symbol} {interval}: {text}" for text in differences)

        for symbol, candles in list(self.symbols.items()):
            for interval in self._definition.intervals[1:]:
                await one(symbol, interval, candles)
        return found


def _row(candle: Kline) -> Row:
    prices = (candle.open, candle.high, candle.low, candle.close, candle.volume)
    return Row(candle.start_ms, *(float(price) for price in prices))


async def check_symbols(gateway: Gateway, symbols: tuple[str, ...], interval: str) -> None:
    """Raise Misconfigured for a symbol of ANALYSIS_SYMBOLS that the exchange has no candle of."""
    for symbol in symbols:
        try:
            rows = await gateway.kline(symbol, interval, limit=2)
        except Rejected as fault:
            raise Misconfigured(
                f"ANALYSIS_SYMBOLS names {symbol}, which the exchange refuses: {fault} Check the spelling."
            ) from None
        if not rows:
            raise Misconfigured(
                f"ANALYSIS_SYMBOLS names {symbol}, of which the exchange has no candle. Remove it, or check the spelling."
            )
