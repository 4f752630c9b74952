"""What is published: hashes and events in Redis, rows in PostgreSQL."""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from alpha.analysis import Analysis, Definition, combined, label_of
from alpha.errors import Misconfigured, Retry
from alpha.live_state import keys
from alpha.live_state.client import TextRedis
from alpha.logs import logger
from alpha.model.timestamp import at, ms_of
from alpha.postgres.database import POSTGRES_ERRORS, Connection, Pool
from alpha.postgres.sql import queries

SQL = queries(__file__)

log = logger(__name__)
Series = tuple[str, str]
#: Rows that may wait for PostgreSQL; beyond that the oldest are dropped and computed again later.
MOST_WAITING = 20_000
_BATCH = 500
_RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class Said:
    """One analysis of one symbol and interval."""

    symbol: str
    interval: str
    analysis: Analysis


class LivePublisher:
    """The newest analysis of each symbol and interval, in Redis database 15."""

    def __init__(self, shared_db: TextRedis, definition: Definition) -> None:
        self._redis = shared_db
        self._definition = definition
        self._indicators = [indicator.names[0] for indicator in definition.indicators]

    async def publish(self, symbol: str, found: Mapping[str, Analysis], changed: set[str]) -> None:
        """Write what `changed` of one symbol's newest analyses, and their mean. Raises REDIS_UNAVAILABLE."""
        ratings = {interval: found[interval].rating for interval in self._definition.intervals if interval in found}
        overall = combined(ratings.values())
        newest_ms = max(analysis.closed_ms for analysis in found.values())
        async with self._redis.pipeline(transaction=True) as pipe:
            for interval in self._definition.intervals:
                if interval not in changed:
                    continue
                fields = self._fields(found[interval])
                pipe.hset(keys.analysis(symbol, interval), mapping=fields)
                event = {"symbol": symbol, "interval": interval}
                event |= {name: fields[name] for name in ("closed_ms", "schema", "rating", "label")}
                pipe.xadd(keys.ANALYSIS_EVENTS, event, maxlen=keys.EVENTS_KEPT, approximate=True)
            pipe.hset(
                keys.analysis(symbol, keys.ALL_INTERVALS),
                mapping={
                    "closed_ms": str(newest_ms),
                    "schema": self._definition.schema,
                    "rating": _text(overall),
                    "label": label_of(overall) or "",
                    "ratings": msgspec.json.encode(ratings).decode(),
                },
            )
            pipe.sadd(keys.ANALYSIS_SYMBOLS, symbol)
            await pipe.execute()

    async def keep_only(self, symbols: set[str]) -> None:
        """Forget the symbols that are no longer followed."""
        for gone in await self._redis.smembers(keys.ANALYSIS_SYMBOLS) - symbols:
            intervals = (*self._definition.intervals, keys.ALL_INTERVALS)
            await self._redis.delete(*(keys.analysis(gone, interval) for interval in intervals))
            await self._redis.srem(keys.ANALYSIS_SYMBOLS, gone)

    def _fields(self, analysis: Analysis) -> dict[str, str]:
        votes = {name: vote for name, vote in zip(self._indicators, analysis.votes, strict=True) if vote is not None}
        values = dict(zip(self._definition.names, analysis.values, strict=True))
        return {
            "closed_ms": str(analysis.closed_ms),
            "schema": self._definition.schema,
            "close": repr(analysis.close),
            "rating": _text(analysis.rating),
            "label": label_of(analysis.rating) or "",
            "averages": _text(analysis.averages),
            "oscillators": _text(analysis.oscillators),
            "values": msgspec.json.encode(values).decode(),
            "votes": msgspec.json.encode(votes).decode(),
        }


class History:
    """`trading.analysis`: rows wait in memory while PostgreSQL is unavailable, a bounded number of them."""

    def __init__(self, definition: Definition, retention_days: int) -> None:
        self.written = 0
        self.dropped: set[Series] = set()
        self.fault: str | None = None
        self._definition = definition
        self._retention = timedelta(days=retention_days)
        self._waiting: deque[Said] = deque()
        self._wake = asyncio.Event()
        self._prepared: set[tuple[int, int]] = set()
        self._registered = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def waiting(self) -> int:
        """Rows that are not stored yet."""
        return len(self._waiting)

    def put(self, rows: list[Said]) -> None:
        """Keep these rows; returns at once."""
        self._waiting.extend(rows)
        while len(self._waiting) > MOST_WAITING:
            lost = self._waiting.popleft()
            self.dropped.add((lost.symbol, lost.interval))
        self._idle.clear()
        self._wake.set()

    async def latest(self, pool: Pool) -> dict[Series, int]:
        """End of the newest stored candle of each symbol and interval, in ms. POSTGRES_ERRORS, Retry or Misconfigured."""
        async with pool.acquire(timeout=5.0) as connection:
            rows = await connection.fetch(
                SQL["newest"],
                self._definition.schema,
            )
        return {(row["symbol"], row["interval"]): ms_of(row["closed_at"]) for row in rows}

    async def drained(self) -> None:
        """Wait until everything is stored."""
        await self._idle.wait()

    async def run(self, pool: Pool) -> None:
        """Store until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch = [self._waiting[place] for place in range(min(_BATCH, len(self._waiting)))]
                try:
                    async with pool.acquire(timeout=5.0) as connection:
                        await self._store(connection, batch)
                except (*POSTGRES_ERRORS, Retry, Misconfigured, ValueError) as fault:
                    if self.fault is None:
                        log.warning("analysis_not_stored", why=str(fault)[:300], waiting=len(self._waiting))
                    self.fault = f"PostgreSQL does not take the analyses: {str(fault)[:200]}"
                    await asyncio.sleep(_RETRY_S)
                    continue
                self.fault = None
                self.written += len(batch)
                for said in batch:
                    # a long outage may have pushed it out in the meantime
                    if self._waiting and self._waiting[0] is said:
                        self._waiting.popleft()
            self._idle.set()

    async def _store(self, connection: Connection, batch: list[Said]) -> None:
        times = [at(said.analysis.closed_ms) for said in batch]
        first, last = min(times), max(times)
        if not self._registered:
            await connection.execute(
                SQL["schema"],
                self._definition.schema,
                list(self._definition.names),
                self._definition.described(),
                first,
            )
            self._registered = True
        months = {(time.year, time.month) for time in times}
        if not months <= self._prepared:
            await connection.execute(SQL["prepare"], first, last)
            if self._retention:
                await connection.execute(SQL["prune"], self._oldest(last))
            self._prepared |= months
        await connection.executemany(
            SQL["insert"],
            [
                (
                    *(said.symbol, said.interval, time, self._definition.schema, said.analysis.close),
                    *(said.analysis.rating, said.analysis.averages, said.analysis.oscillators),
                    list(said.analysis.values),
                )
                for said, time in zip(batch, times, strict=True)
                if not self._retention or time > self._oldest(last)
            ],
        )

    def _oldest(self, newest: datetime) -> datetime:
        return newest - self._retention


def _text(value: float | None) -> str:
    return "" if value is None else repr(value)
