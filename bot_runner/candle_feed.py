"""Closed candles in memory: warmed up over REST, then fed by the listener's events, never with a gap."""

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Protocol

import numpy as np

from alpha.bybit.client import Gateway
from alpha.bybit.rate_limiter import Priority
from alpha.concurrency import gather_bounded
from alpha.errors import Rejected, Retry
from alpha.live_state.client import TextRedis
from alpha.live_state.connect import REDIS_UNAVAILABLE
from alpha.live_state.read import read_candles
from alpha.logs import logger
from alpha.model.interval import INTERVAL_MS
from alpha.strategy.bars import Bars, FloatArray, IntArray

log = logger(__name__)
_COLUMNS = 5
_PAGE = 1_000


class CandleRow(Protocol):
    """The values of a candle, whatever its source. Amounts print as decimal text."""

    @property
    def start_ms(self) -> int: ...
    @property
    def open(self) -> object: ...
    @property
    def high(self) -> object: ...
    @property
    def low(self) -> object: ...
    @property
    def close(self) -> object: ...
    @property
    def volume(self) -> object: ...


class Window:
    """The newest closed candles of one symbol, each following the one before."""

    def __init__(self, symbol: str, interval_ms: int, size: int) -> None:
        self.symbol = symbol
        self.interval_ms = interval_ms
        self.size = size
        self._starts: IntArray = np.empty(size * 2, dtype=np.int64)
        self._values: FloatArray = np.empty((_COLUMNS, size * 2))
        self._end = 0

    @property
    def last_ms(self) -> int | None:
        """Start of the newest candle, None while empty."""
        return int(self._starts[self._end - 1]) if self._end else None

    def add(self, candle: CandleRow) -> bool:
        """Append the next candle. True when it is the next or already here, False when candles before it are missing."""
        last_ms = self.last_ms
        if last_ms is not None and candle.start_ms <= last_ms:
            return True
        if last_ms is not None and candle.start_ms != last_ms + self.interval_ms:
            return False
        if self._end == len(self._starts):
            self._starts[: self.size] = self._starts[-self.size :]
            self._values[:, : self.size] = self._values[:, -self.size :]
            self._end = self.size
        self._starts[self._end] = candle.start_ms
        texts = (candle.open, candle.high, candle.low, candle.close, candle.volume)
        self._values[:, self._end] = [float(str(text)) for text in texts]
        self._end += 1
        return True

    def restart(self, candles: Iterable[CandleRow]) -> None:
        """Restart with these consecutive candles."""
        self._end = 0
        for candle in candles:
            if not self.add(candle):
                self._end = 0
                self.add(candle)

    def bars(self, last_ms: int, count: int) -> Bars | None:
        """The last `count` candles (or as many as there are) that end with the one that starts at `last_ms`."""
        newest = self.last_ms
        if newest is None or last_ms > newest:
            return None
        end = self._end - (newest - last_ms) // self.interval_ms
        begin = max(0, end - count)
        if end <= 0 or begin >= end:
            return None
        values = self._values[:, begin:end]
        return Bars(self.symbol, self.interval_ms, self._starts[begin:end], *(values[row] for row in range(_COLUMNS)))


class CandleFeed:
    """The windows of all followed symbols."""

    def __init__(
        self, gateway: Gateway, shared_db: TextRedis, interval: str, history: int, references: Sequence[str] = ()
    ) -> None:
        """`references` are followed too, and shown as bars of their own only where they are followed otherwise."""
        self._references = tuple(references)
        self._only_references: set[str] = set()
        self._gateway = gateway
        self._redis = shared_db
        self.interval = interval
        self.interval_ms = INTERVAL_MS[interval]
        self._history = history
        self.windows: dict[str, Window] = {}

    @property
    def newest_ms(self) -> int | None:
        """Start of the newest candle of any symbol."""
        starts = [window.last_ms for window in self.windows.values() if window.last_ms is not None]
        return max(starts, default=None)

    @property
    def symbols(self) -> list[str]:
        """The followed symbols."""
        return list(self.windows)

    @property
    def traded(self) -> list[str]:
        """The followed symbols without those that are looked at by others alone."""
        return [symbol for symbol in self.windows if symbol not in self._only_references]

    def references(self, bar_ms: int) -> dict[str, Bars]:
        """The history of each reference that has candles, up to the candle that starts at `bar_ms`."""
        found = {symbol: self.windows[symbol].bars(bar_ms, self._history) for symbol in self._references}
        return {symbol: bars for symbol, bars in found.items() if bars is not None}

    def has(self, symbol: str, bar_ms: int) -> bool:
        """True when the candle that starts at `bar_ms` is here."""
        last_ms = self.windows[symbol].last_ms
        return last_ms is not None and last_ms >= bar_ms

    def bars(self, symbol: str, bar_ms: int) -> Bars | None:
        """The history of a symbol up to and with the candle that starts at `bar_ms`, None when it is not here."""
        return self.windows[symbol].bars(bar_ms, self._history)

    async def follow(self, symbols: Sequence[str]) -> None:
        """Follow exactly these symbols, in this order; new ones are warmed up over REST.

        Raises Retry or Rejected as soon as a history cannot be read: those read by then are followed, the next call
        goes on with the others.
        """
        self._only_references = set(self._references) - set(symbols)
        symbols = [*symbols, *(name for name in self._references if name in self._only_references)]
        known = {symbol: self.windows[symbol] for symbol in symbols if symbol in self.windows}
        new = [symbol for symbol in symbols if symbol not in known]
        now_ms = await self._gateway.server_time_ms(rank=Priority.ENTRY) if new else 0

        async def warm_up(symbol: str) -> None:
            window = Window(symbol, self.interval_ms, self._history + 600)
            await self._from_exchange(window, now_ms)
            known[symbol] = window

        try:
            await gather_bounded(partial(warm_up, symbol) for symbol in new)
        finally:
            self.windows = {symbol: known[symbol] for symbol in symbols if symbol in known}

    def offer(self, symbol: str, candle: CandleRow) -> bool:
        """A closed candle has arrived. False when earlier ones are missing: `fill` then."""
        window = self.windows.get(symbol)
        return True if window is None else window.add(candle)

    async def fill(self, symbol: str, bar_ms: int) -> bool:
        """Fetch what is missing up to the closed candle that starts at `bar_ms`: from Redis, else over REST."""
        window = self.windows[symbol]
        try:
            await self._from_redis(window, bar_ms)
        except REDIS_UNAVAILABLE:
            log.warning("candles_not_in_redis", symbol=symbol)
        if not self.has(symbol, bar_ms):
            await self._from_exchange(window, bar_ms + self.interval_ms)
        return self.has(symbol, bar_ms)

    async def fetch(self, bar_ms: int) -> None:
        """Bring every symbol up to the closed candle that starts at `bar_ms`, over REST alone.

        A symbol that cannot be read stays behind and holds up no other.
        """
        behind = [window for symbol, window in self.windows.items() if not self.has(symbol, bar_ms)]
        await asyncio.gather(*(self._try(window, bar_ms + self.interval_ms) for window in behind))

    async def _try(self, window: Window, now_ms: int) -> None:
        try:
            await self._from_exchange(window, now_ms)
        except (Retry, Rejected) as fault:
            log.warning("candle_not_read", symbol=window.symbol, why=str(fault))

    async def _from_redis(self, window: Window, bar_ms: int) -> None:
        last_ms = window.last_ms
        if last_ms is None:
            return
        missing = (bar_ms - last_ms) // window.interval_ms
        for candle in await read_candles(self._redis, window.symbol, self.interval, last=missing + 5):
            if not window.add(candle):
                return

    async def _from_exchange(self, window: Window, now_ms: int) -> None:
        """Read the candles since the last one here, or the whole history, up to business time `now_ms`, oldest first."""
        last_ms = window.last_ms
        oldest = now_ms - now_ms % window.interval_ms - window.size * window.interval_ms
        begin = oldest if last_ms is None else max(oldest, last_ms + window.interval_ms)
        found: list[CandleRow] = []
        while begin + window.interval_ms <= now_ms:
            end = begin + (_PAGE - 1) * window.interval_ms
            page = await self._gateway.kline(
                window.symbol, self.interval, start_ms=begin, end_ms=end, limit=_PAGE, rank=Priority.ENTRY
            )
            found.extend(candle for candle in page if candle.closed and candle.start_ms >= begin)
            begin = end + window.interval_ms
        if last_ms is None or (found and found[0].start_ms != last_ms + window.interval_ms):
            window.restart(found)
            return
        for candle in found:
            if not window.add(candle):
                window.restart([row for row in found if row.start_ms >= candle.start_ms])
                return
