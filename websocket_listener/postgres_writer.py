"""From arrival to commit: a bounded buffer and one writer that takes what has arrived in one transaction.

Without load a row is committed at once; under load batches grow while the transaction before is on its way. While
PostgreSQL is away rows wait; when the buffer is full, new rows are dropped and reported, to be read from the exchange
again. A row that PostgreSQL can never take does not hold up the others.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from alpha.clock import SYSTEM_CLOCK, Backoff, Clock
from alpha.logs import logger
from alpha.postgres.database import Connection, Pool, PooledConnection
from alpha.postgres.errors import POSTGRES_ERRORS, passes
from alpha.postgres.fills import Fill, insert_fills
from websocket_listener.rows import OrderRow
from websocket_listener.store import upsert_orders

log = logger(__name__)

MOST_ROWS = 5_000


_BACKOFF = Backoff(0.1, 2.0)
#: A row and when it came, on the monotonic clock. A plain tuple, which the garbage collector does not walk.
Waiting = tuple[Fill | OrderRow, float]


@dataclass(slots=True)
class WriterCounts:
    """Counters of the writer since start."""

    committed: int = 0
    duplicates: int = 0
    batches: int = 0
    dropped: int = 0
    refused: int = 0
    failures: int = 0
    lag_s: float = 0.0


class PostgresWriter:
    """The buffer and its writer. `dropped(account_id)` and `refused(row, fault)` are called for rows that were not stored."""

    def __init__(
        self,
        pool: Pool,
        most_rows: int,
        *,
        dropped: Callable[[int], None],
        refused: Callable[[Fill | OrderRow, str], Awaitable[None]],
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.counts = WriterCounts()
        self.failing_since_s: float | None = None
        self._pool = pool
        self._most_rows = most_rows
        self._dropped = dropped
        self._refused = refused
        self._clock = clock
        #: By account: rows that wait, and from arrival to commit in the last batch that had rows of it.
        self.waiting: dict[int, int] = {}
        self.lags_s: dict[int, float] = {}
        self._rows: deque[Waiting] = deque()
        self._taken: list[Waiting] = []
        self._connection: PooledConnection | None = None
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._rows) + len(self._taken)

    @property
    def oldest_s(self) -> float | None:
        """When the oldest row that is not yet committed came; None when all are."""
        if self._taken:
            return self._taken[0][1]
        return self._rows[0][1] if self._rows else None

    async def stored_until(self, moment_s: float, wait_s: float) -> bool:
        """Wait, at most so long, until nothing that came before this moment (monotonic) waits; False when it still does."""
        deadline_s = self._clock.monotonic_s() + wait_s
        while self.oldest_s is not None and self.oldest_s < moment_s:
            if self._clock.monotonic_s() > deadline_s:
                return False
            await asyncio.sleep(0.05)
        return True

    def put(self, row: Fill | OrderRow) -> None:
        """Store this row soon. When the buffer is full it is dropped and reported."""
        if len(self) >= self._most_rows:
            self.counts.dropped += 1
            self._dropped(row.account_id)
            return
        self._rows.append((row, self._clock.monotonic_s()))
        self.waiting[row.account_id] = self.waiting.get(row.account_id, 0) + 1
        self._idle.clear()
        self._wake.set()

    async def drained(self) -> None:
        """Wait until everything that was put is committed."""
        await self._idle.wait()

    async def run(self) -> None:
        """Write until cancelled. A batch that fails for a passing reason is tried again until it is stored."""
        try:
            await self._write()
        finally:
            await self._let_go()

    async def _let_go(self) -> None:
        """Give up the connection: it failed, or it is needed no more."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*POSTGRES_ERRORS):
                connection.terminate()
                await self._pool.release(connection, timeout=1.0)

    async def _write(self) -> None:
        failures = 0
        while True:
            if not self._taken:
                if not self._rows:
                    self._idle.set()
                    self._wake.clear()
                    await self._wake.wait()
                    # what this turn of the loop has for Redis goes out first: Redis works while the batch is encoded
                    await asyncio.sleep(0)
                count = min(len(self._rows), MOST_ROWS)
                self._taken = [self._rows.popleft() for _ in range(count)]
            try:
                await self._store(self._taken)
            except POSTGRES_ERRORS as fault:
                await self._let_go()
                failures += 1
                self.counts.failures += 1
                if self.failing_since_s is None:
                    self.failing_since_s = self._clock.monotonic_s()
                    log.warning("database_away", fault=f"{type(fault).__name__}: {fault}")
                await self._clock.sleep(_BACKOFF.pause_s(failures, self._clock.random()))
                continue
            if self.failing_since_s is not None:
                log.info("database_back", away_s=round(self._clock.monotonic_s() - self.failing_since_s, 1))
            failures, self.failing_since_s = 0, None
            self._note_commit()

    def _note_commit(self) -> None:
        taken, self._taken = self._taken, []
        now_s = self._clock.monotonic_s()
        self.counts.lag_s = now_s - taken[0][1]
        of_batch: dict[int, float] = {}
        for row, arrived_s in taken:
            self.waiting[row.account_id] -= 1
            of_batch.setdefault(row.account_id, now_s - arrived_s)
        self.lags_s |= of_batch

    async def _store(self, waiting: list[Waiting]) -> None:
        rows = [row for row, _ in waiting]
        try:
            await self._commit(rows)
        except Exception as fault:
            if passes(fault):
                raise
            if len(waiting) == 1:
                self.counts.refused += 1
                await self._refused(rows[0], f"{type(fault).__name__}: {fault}")
                return
            # one of them cannot be stored: halves find it, and the others are stored
            middle = len(waiting) // 2
            await self._store(waiting[:middle])
            await self._store(waiting[middle:])

    async def _commit(self, rows: list[Fill | OrderRow]) -> None:
        fills = [row for row in rows if isinstance(row, Fill)]
        orders = [row for row in rows if isinstance(row, OrderRow)]
        connection = self._connection
        if connection is None:
            # kept for as long as it works: giving it back to the pool costs a round trip a batch
            connection = self._connection = await self._pool.acquire(timeout=5.0)
        if not orders:
            inserted, duplicates = await insert_fills(connection, fills)
        else:
            inserted, duplicates = await _both(connection, fills, orders)
        self.counts.batches += 1
        self.counts.committed += inserted
        self.counts.duplicates += duplicates


async def _both(connection: Connection, fills: list[Fill], orders: list[OrderRow]) -> tuple[int, int]:
    async with connection.transaction():
        await upsert_orders(connection, orders)
        return await insert_fills(connection, fills) if fills else (0, 0)
