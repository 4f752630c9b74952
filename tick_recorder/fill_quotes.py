"""Stores the quotes around each of our fills in `trading.fill_quotes`, from the files, as soon as they hold them.

What is missing is asked for again and again, so nothing is lost by a restart, an outage of PostgreSQL, or fills that are
read from the exchange's history days later. A fill waits while the quotes after it are not stored yet or a gap is open.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from alpha.errors import Rejected
from alpha.logs import logger
from alpha.model.account import Environment
from alpha.model.timestamp import at, ms_of
from alpha.postgres.database import Pool
from alpha.postgres.errors import POSTGRES_ERRORS
from alpha.postgres.sql import queries
from tick_recorder.read import read_gaps, read_ticks
from tick_recorder.recorder import Recorder
from tick_recorder.schema import TS, Kind, hour_of
from tick_recorder.slippage import HORIZONS, quotes_around
from tick_recorder.store import TickStore, hour_start

SQL = queries(__file__)
log = logger(__name__)

PAUSE_S = 15.0
#: Fills of so many hours of exchange time are looked for each time; all that have ticks at the start, and once an hour.
RECENT_H = 48
EVERYTHING_S = 3_600.0
#: How far apart the streams of two symbols may be.
_APART_MS = 5_000
_AT_ONCE = 1_000
#: How much older than its fill a quote may be.
_BEFORE = timedelta(hours=1)
_AFTER_MS = max(HORIZONS) * 1_000


class FillQuotes:
    """The job. `stored_ms()` is the exchange time up to which everything received is in files."""

    def __init__(
        self,
        store: TickStore,
        recorder: Recorder,
        environment: Environment,
        stored_ms: Callable[[], int],
        *,
        pause_s: float = PAUSE_S,
    ) -> None:
        self.measured = 0
        self._store = store
        self._recorder = recorder
        self._environments = markets_of(environment)
        self._stored_ms = stored_ms
        self._pause_s = pause_s
        self._everything_s = float("-inf")

    async def run(self, pool: Pool) -> None:
        """Measure until cancelled; while PostgreSQL is unavailable fills wait."""
        while True:
            try:
                more = await self.measure(pool)
            except POSTGRES_ERRORS as fault:
                log.info("fills_not_measured", why=str(fault) or type(fault).__name__)
                more = False
            await asyncio.sleep(0 if more else self._pause_s)

    async def measure(self, pool: Pool) -> bool:
        """Measure what can be measured now; True if there is more."""
        now_s = time.monotonic()
        everything = now_s - self._everything_s > EVERYTHING_S
        spans = await asyncio.to_thread(self._spans, everything)
        if not spans:
            return False
        symbols, since, until = zip(*spans, strict=True)
        async with pool.acquire(timeout=5.0) as connection:
            found = await connection.fetch(
                SQL["unmeasured"], self._environments, symbols, since, until, _AT_ONCE, timeout=60.0
            )
        by_hour: dict[tuple[str, int], list[Any]] = defaultdict(list)
        for row in found:
            by_hour[(row["symbol"], hour_of(ms_of(row["exec_time"])))].append(row)
        stored = 0
        for (symbol, _), rows in by_hour.items():
            values = await asyncio.to_thread(self._values, symbol, rows)
            async with pool.acquire(timeout=5.0) as connection:
                await connection.executemany(SQL["keep"], values)
            stored += len(values)
        self.measured += stored
        full = len(found) == _AT_ONCE and stored > 0
        if everything and not full:
            self._everything_s = now_s
        return full

    def _spans(self, everything: bool) -> list[tuple[str, datetime, datetime]]:
        """Of each symbol with quotes, from when to when fills can be measured."""
        ends_ms = self._stored_ms() - _AFTER_MS - _APART_MS
        spans = []
        for symbol in self._store.symbols(Kind.BBO):
            until_ms = ends_ms
            gap = self._recorder.gaps.find(Kind.BBO, symbol)
            if gap is not None and symbol in self._recorder.symbols:
                # whether quotes are missing there is known when it ends
                until_ms = min(until_ms, gap.ts - _AFTER_MS)
            files = self._store.every_file(Kind.BBO, symbol)
            if not files:
                continue
            first = files[0].hour if everything else max(files[0].hour, hour_of(max(ends_ms, 0)) - RECENT_H)
            if ms_of(hour_start(first)) < until_ms:
                spans.append((symbol, hour_start(first), at(until_ms)))
        return spans

    def _values(self, symbol: str, rows: list[Any]) -> list[tuple[Any, ...]]:
        """The rows to store."""
        times = [row["exec_time"] for row in rows]
        start, end = min(times) - _BEFORE, max(times) + timedelta(milliseconds=_AFTER_MS + 1)
        quotes = self._quotes(symbol, start, end)
        gaps = read_gaps(self._store.root, symbol, Kind.BBO, start, end)
        found = quotes_around(pl.DataFrame({"ts": pl.Series(times, dtype=TS)}), quotes, gaps)
        names = ("mid", "spread", *(f"mid_{seconds}s" for seconds in HORIZONS))
        columns = (found[name].to_list() for name in names)
        return [
            (row["account_id"], symbol, row["exec_id"], *values) for row, *values in zip(rows, *columns, strict=True)
        ]

    def _quotes(self, symbol: str, start: datetime, end: datetime) -> pl.DataFrame | None:
        """The quotes; None where a file is damaged, which must not hold up other fills."""
        try:
            return read_ticks(self._store.root, Kind.BBO, symbol, start, end)
        except Rejected:
            # parts may have been merged in this moment
            try:
                return read_ticks(self._store.root, Kind.BBO, symbol, start, end)
            except Rejected as fault:
                log.warning("fills_without_quotes", why=str(fault))
                return None


def markets_of(environment: Environment) -> list[str]:
    """The environments of accounts that trade at the prices of this one: the demo exchange has those of the live one."""
    shared = {Environment.LIVE, Environment.DEMO}
    return sorted(one.value for one in (shared if environment in shared else {environment}))
