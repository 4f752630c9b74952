"""The strategy's own indicators at each bar, kept in Redis for charts: write-behind, it neither delays nor breaks trading."""

import asyncio
import math
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta

import msgspec
from redis.exceptions import RedisError

from alpha.live_state import keys
from alpha.live_state.client import TextRedis
from alpha.live_state.connect import REDIS_UNAVAILABLE
from alpha.live_state.read import BarIndicators
from alpha.logs import logger
from alpha.strategy.bars import BarView

log = logger(__name__)
#: A bot that follows more symbols keeps the values of those that it traded last.
SYMBOLS_KEPT = 20
EXPIRES = timedelta(days=30)
_WRITE_S = 5.0
_DIGITS = 10
Rows = list[BarIndicators]


def rows_of(view: BarView, after_ms: int) -> Rows:
    """The indicators at this bar and at earlier ones that began after `after_ms`, oldest first; finite values only.

    Those of further timeframes are named with theirs: `rsi 60`.
    """
    series, end = view.series, view.index + 1
    starts = series.bars.start_ms[:end]
    first = max(int((starts <= after_ms).sum()), end - keys.INDICATORS_KEPT)
    columns = {name: values[first:end].tolist() for name, values in series.indicators.items()}
    for interval, frame in series.frames.items():
        for name in frame.indicators:
            columns[f"{name} {interval}"] = series.at_frame(interval, name)[first:end].tolist()
    rows = []
    for place, start_ms in enumerate(starts[first:].tolist()):
        finite = {name: values[place] for name, values in columns.items() if math.isfinite(values[place])}
        if finite:
            short = {name: float(f"{value:.{_DIGITS}g}") for name, value in finite.items()}
            rows.append(BarIndicators(start_ms, series.bars.interval_ms, short))
    return rows


class IndicatorLog:
    """Writes `indicators:<bot>:<symbol>`. A write that fails is logged once; the next bar brings what it lacked."""

    def __init__(self, redis: TextRedis, bot_id: str) -> None:
        self._redis = redis
        self._bot_id = bot_id
        self._traded: dict[str, None] = {}
        #: The newest bar of each symbol that was taken, and of those that Redis has.
        self._taken: dict[str, int] = {}
        self._written: dict[str, int] = {}
        self._waiting: dict[str, Rows] = {}
        self._task: asyncio.Task[None] | None = None
        self._failing = False

    def due(self, followed: Collection[str], traded: Iterable[str]) -> dict[str, int]:
        """The symbols whose values are kept, each with the start of the newest bar that was taken; -1 for none."""
        for symbol in traded:
            self._traded.pop(symbol, None)
            self._traded[symbol] = None
        while len(self._traded) > SYMBOLS_KEPT:
            del self._traded[next(iter(self._traded))]
        kept = followed if len(followed) <= SYMBOLS_KEPT else [each for each in self._traded if each in followed]
        return {symbol: self._taken.get(symbol, -1) for symbol in kept}

    def take(self, found: Mapping[str, Rows]) -> None:
        """Keep these rows. Returns at once; they are written by a task of their own."""
        for symbol, rows in found.items():
            if rows:
                self._taken[symbol] = rows[-1].start_ms
                self._waiting[symbol] = [*self._waiting.get(symbol, ()), *rows][-keys.INDICATORS_KEPT :]
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._write_all())

    def failed(self, fault: BaseException) -> None:
        """Log a failure, once until something was written again."""
        if not self._failing:
            log.warning("indicators_not_kept", why=f"{type(fault).__name__}: {fault}"[:300])
        self._failing = True

    async def close(self) -> None:
        """Write what waits; no longer than a write may take."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=_WRITE_S)
            self._task.cancel()

    async def _write_all(self) -> None:
        while self._waiting:
            symbol = next(iter(self._waiting))
            rows = self._waiting.pop(symbol)
            try:
                async with asyncio.timeout(_WRITE_S):
                    await self._write(symbol, rows)
                self._failing = False
            except (*REDIS_UNAVAILABLE, RedisError, TimeoutError) as fault:
                self.failed(fault)
                self._forget(symbol)

    async def _write(self, symbol: str, rows: Rows) -> None:
        key = keys.indicators(self._bot_id, symbol)
        known_ms = self._written.get(symbol)
        if known_ms is None:
            known_ms = await self._newest(key, rows[-1].interval_ms)
        fresh = [row for row in rows if row.start_ms > known_ms]
        if not fresh:
            self._written[symbol] = known_ms
            return
        async with self._redis.pipeline() as pipe:
            pipe.rpush(key, *(msgspec.json.encode(row).decode() for row in fresh))
            pipe.ltrim(key, -keys.INDICATORS_KEPT, -1)
            pipe.expire(key, int(EXPIRES.total_seconds()))
            length = (await pipe.execute())[0]
        self._written[symbol] = fresh[-1].start_ms
        if symbol in self._taken and known_ms >= 0 and length == len(fresh):
            # Redis was emptied: the next bar brings the history again.
            await self._redis.delete(key)
            self._forget(symbol)

    async def _newest(self, key: str, interval_ms: int) -> int:
        """The newest bar that Redis has. Values of another interval or form are deleted."""
        found = await self._redis.lrange(key, -1, -1)
        if not found:
            return -1
        try:
            row = msgspec.json.decode(found[0], type=BarIndicators)
        except msgspec.MsgspecError:
            row = None
        if row is not None and row.interval_ms == interval_ms:
            return row.start_ms
        await self._redis.delete(key)
        return -1

    def _forget(self, symbol: str) -> None:
        self._waiting.pop(symbol, None)
        self._written.pop(symbol, None)
        self._taken.pop(symbol, None)
