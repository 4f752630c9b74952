"""Turns closed candles into analyses and hands them on: each candle of each interval once, in order."""

import asyncio
import time
from contextlib import suppress
from typing import NamedTuple

from redis.exceptions import RedisError

from alpha.alert_batcher import AlertBatcher
from alpha.alerts import Alert, Level
from alpha.analysis import Analysis, Definition, analyse, analyse_together, label_of
from alpha.live_state.connect import REDIS_UNAVAILABLE
from alpha.logs import logger
from alpha.model.interval import INTERVAL_MS
from analysis_service.candles import SymbolCandles, Window
from analysis_service.store import History, LivePublisher, Said, Series

log = logger(__name__)
#: The most candles of each interval that are backfilled after an outage.
MOST_CATCH_UP = 3_000
#: A start reads as much history as an absence of this length needs, until PostgreSQL has said more.
_WAIT_FOR_HISTORY_S = 5.0
#: Candles of many symbols close in the same moment: those that arrive within this time are analysed together, which needs a
#: fraction of the processor time that one symbol after the other does.
_TOGETHER_S = 0.05


class _Closed(NamedTuple):
    """Intervals of a symbol that have new candles."""

    symbol: str
    candles: SymbolCandles
    intervals: set[str]


class _Due(NamedTuple):
    """A series whose `last` newest candles are to be analysed; the newest ends at `end_ms`."""

    symbol: str
    window: Window
    last: int
    end_ms: int


class Analyst:
    """What is computed, up to when. `begin` says what is stored already."""

    def __init__(
        self,
        definition: Definition,
        live: LivePublisher,
        history: History,
        alerts: AlertBatcher,
        *,
        backfill: int,
        alert_on: tuple[str, ...],
    ) -> None:
        self.definition = definition
        self.analysed = 0
        self.cpu_s = 0.0
        self._live = live
        self._history = history
        self._alerts = alerts
        self._backfill = backfill
        self._alert_on = alert_on
        #: End of the newest candle handed to the history, by series.
        self._done: dict[Series, int] = {}
        self._newest: dict[str, dict[str, Analysis]] = {}
        self._unpublished: dict[str, set[str]] = {}
        self._closed: list[_Closed] = []
        self._round: asyncio.Task[None] | None = None
        self._begun = asyncio.Event()
        self._begin_by_s = time.monotonic() + _WAIT_FOR_HISTORY_S

    def follow(self, symbols: set[str]) -> None:
        """Forget what is no longer followed."""
        for gone in set(self._newest) - symbols:
            self._newest.pop(gone)
            self._unpublished.pop(gone, None)

    def begin(self, stored: dict[Series, int], lost: set[Series] | None = None) -> None:
        """These are stored, up to these ends of candles; of `lost` some rows are not. What follows is computed again."""
        for series in lost or set():
            self._done.pop(series, None)
        self._done = {**self._done, **stored}
        self._begun.set()

    async def keep(self, symbol: str, now_ms: int) -> dict[str, int]:
        """How many candles of each interval are needed at this time, so that what was missed can be computed too."""
        if not self._begun.is_set():
            # wait briefly at the start, to learn what was missed; without PostgreSQL, continue
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._begin_by_s - time.monotonic())):
                    await self._begun.wait()
        found = {}
        for interval in self.definition.intervals:
            done = self._done.get((symbol, interval))
            missed = self._backfill if done is None else max(0, now_ms - done) // INTERVAL_MS[interval]
            found[interval] = self.definition.history(interval) + min(MOST_CATCH_UP, missed) + 2
        return found

    async def closed(self, symbol: str, candles: SymbolCandles, intervals: set[str]) -> None:
        """Analyse the new candles of a symbol's intervals, and publish the newest. An unavailable Redis is not an error here.

        The symbol's candles must not change meanwhile.
        """
        self._closed.append(_Closed(symbol, candles, intervals))
        if self._round is None:
            self._round = asyncio.create_task(self._analyse_closed())
        await self._round
        await self._publish(symbol)

    async def publish_again(self) -> None:
        """Publish what Redis did not take. Raises REDIS_UNAVAILABLE while it is still unavailable."""
        for symbol in list(self._unpublished):
            await self._publish(symbol)

    async def _analyse_closed(self) -> None:
        """Analyse what has closed until now and in the next moment."""
        await asyncio.sleep(_TOGETHER_S)
        closed, self._closed, self._round = self._closed, [], None
        for interval in self.definition.intervals:
            due = [self._due(each.symbol, interval, each.candles) for each in closed if interval in each.intervals]
            began_s = time.thread_time()
            found = self._analyse([each for each in due if each is not None], interval)
            self.cpu_s += time.thread_time() - began_s
            for each, rows in found:
                self._keep(each, interval, rows)
            await asyncio.sleep(0)

    def _due(self, symbol: str, interval: str, candles: SymbolCandles) -> _Due | None:
        window, length = candles.windows[interval], INTERVAL_MS[interval]
        if window.last_ms is None:
            return None
        end_ms = window.last_ms + length
        done = self._done.get((symbol, interval))
        count = self._backfill + 1 if done is None else min(MOST_CATCH_UP, (end_ms - done) // length)
        if count < 1:
            # everything is stored; the newest is needed for Redis after a start
            count = 0 if interval in self._newest.get(symbol, {}) else 1
        if not window.from_the_first:
            # an older one would lack the history that it had, or that a recomputation has
            count = min(count, max(1, len(window) - self.definition.history(interval) + 1))
        return _Due(symbol, window, count, end_ms) if count else None

    def _analyse(self, due: list[_Due], interval: str) -> list[tuple[_Due, list[Analysis]]]:
        length = INTERVAL_MS[interval]
        newest = [each for each in due if each.last == 1]
        found = list(
            zip(
                newest, analyse_together([each.window.columns for each in newest], length, self.definition), strict=True
            )
        )
        # a backfill is long: one symbol at a time bounds the memory it takes
        found += [
            (each, analyse(each.window.columns, length, self.definition, each.last)) for each in due if each.last > 1
        ]
        return found

    def _keep(self, due: _Due, interval: str, rows: list[Analysis]) -> None:
        """Hand the analyses of a series on."""
        symbol = due.symbol
        self.analysed += len(rows)
        self._done[symbol, interval] = max(due.end_ms, self._done.get((symbol, interval), 0))
        newest = self._newest.setdefault(symbol, {})
        self._tell(symbol, interval, newest.get(interval), rows[-1])
        newest[interval] = rows[-1]
        self._unpublished.setdefault(symbol, set()).add(interval)
        self._history.put([Said(symbol, interval, row) for row in rows])

    async def _publish(self, symbol: str) -> None:
        changed = self._unpublished.get(symbol)
        if not changed or symbol not in self._newest:
            return
        try:
            await self._live.publish(symbol, self._newest[symbol], set(changed))
        except (*REDIS_UNAVAILABLE, RedisError) as fault:
            log.info("analysis_not_published", symbol=symbol, why=str(fault)[:200])
            return
        self._unpublished.pop(symbol, None)

    def _tell(self, symbol: str, interval: str, before: Analysis | None, now: Analysis) -> None:
        if interval not in self._alert_on or before is None:
            return
        was, is_now = label_of(before.rating), label_of(now.rating)
        if was == is_now or was is None or is_now is None:
            return
        key = f"analysis:rating:{symbol}:{interval}"
        text = f"{symbol} {interval}: rating changed from {was} ({before.rating:.2f}) to {is_now} ({now.rating:.2f})."
        self._alerts.note(key, lambda _, __: Alert(Level.INFO, key, text))
