"""Executions over REST: from the watermark, with an overlap, to the end, oldest first, committed before it moves.

The watermark says: every execution before it is in `trading.fills`. It moves here and nowhere else.
"""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

from alpha.bybit.client import Gateway
from alpha.bybit.errors import UnreadableRow
from alpha.bybit.pagination import WINDOW_MS
from alpha.bybit.rate_limiter import Priority
from alpha.clock import wall_ms
from alpha.errors import Rejected
from alpha.logs import logger
from alpha.model.account import Environment
from alpha.model.execution import Execution
from alpha.model.fill_order import chunks, oldest_first
from alpha.model.reason import Reason
from alpha.model.timestamp import at, ms_of
from alpha.postgres.database import Pool
from alpha.postgres.errors import POSTGRES_ERRORS, passes
from alpha.postgres.fills import Fill, insert_fills, recompute_pending
from alpha.postgres.rejected import RejectedMessage, RejectedMessages
from websocket_listener.dispatcher import Dispatcher
from websocket_listener.leg_keeper import LegKeeper
from websocket_listener.legs import LINEAR
from websocket_listener.rows import check_execution, fill_of, reason_of_execution
from websocket_listener.store import OnlyHolder, move_watermark, moved_stops, read_watermark
from websocket_listener.windows import Windows, holds_too_much, narrower

log = logger(__name__)

DAY_MS = 24 * 3_600_000
#: How long the exchange keeps executions: two years, of which an hour is left for the read itself; 7 days on demo.
KEPT_MS = 730 * DAY_MS - 3_600_000
KEPT_IN_DEMO_MS = 7 * DAY_MS
#: A long read begins with windows of a day at most.
LONG_SPAN_MS = DAY_MS
_CHUNK = 1_000
#: A row that cannot be read holds the watermark for so many reads, then it is given up: kept whole, with an alert.
_TRIES = 3


class RowUnreadable(Rejected):
    """A row of the list cannot be read: nothing from there on is stored yet."""


@dataclass(slots=True)
class BackfillCounts:
    """Counters of reads since start."""

    reads: int = 0
    rows: int = 0
    inserted: int = 0
    unseen: int = 0


@dataclass(frozen=True, slots=True)
class Read:
    """One read to the end. `unseen` were not known from the stream; `first` says that nothing was read before it."""

    rows: int
    inserted: int
    unseen: list[Execution]
    first: bool
    began_ms: int


class Backfill:
    """Reads one account's executions."""

    def __init__(
        self,
        feed: Dispatcher,
        gateway: Gateway,
        pool: Pool,
        rejected: RejectedMessages,
        *,
        history_days: int,
        only_holder: OnlyHolder,
        too_late: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        """`too_late(what)` is called when the exchange does not keep any more what was never read."""
        self.counts = BackfillCounts()
        self.progress = ""
        self._feed = feed
        self._gateway = gateway
        self._pool = pool
        self._rejected = rejected
        self._history_ms = history_days * DAY_MS
        self._too_late = too_late
        self._only_holder = only_holder
        self.legs = LegKeeper(feed.legs, feed.account, gateway, pool)
        #: What must be looked at after each read.
        self.follow_ups: list[Callable[[], Awaitable[None]]] = [self.legs.settle]
        self._reported_ms: int | None = None
        self._unreadable_reads = 0

    async def read(self, overlap_ms: int, *, announce: bool = True) -> Read:
        """Read from the watermark less `overlap_ms` to now, store what is missing, move the watermark.

        The first read of an account goes back as far as the setting says, and announces nothing; nor does one that goes on
        with it after a restart (`announce` False). Raises the gateway's errors and asyncpg's; what was stored until then
        stays, and the watermark says how far.
        """
        try:
            return await self._read(overlap_ms, announce=announce)
        except RowUnreadable:
            self._unreadable_reads += 1
            raise

    async def settle(self) -> None:
        """Do what follows from what was read: legs corrected, corporate actions adjusted. Raises as `read`."""
        for follow_up in self.follow_ups:
            await follow_up()

    async def _read(self, overlap_ms: int, *, announce: bool) -> Read:
        end_ms = await self._gateway.server_time_ms()
        account = self._feed.account
        async with self._pool.acquire(timeout=5.0) as connection:
            mark = await read_watermark(connection, account.id, LINEAR)
        first = mark is None
        start_ms = end_ms - self._history_ms if mark is None else ms_of(mark) - overlap_ms
        if mark is not None:
            await self._check_kept(ms_of(mark), end_ms)
        start_ms = max(start_ms, end_ms - KEPT_MS)
        long_ago = end_ms - start_ms > DAY_MS
        began_ms, began_s = start_ms, time.monotonic()
        rows = inserted = 0
        unseen: list[Execution] = []
        rank = Priority.BACKFILL if long_ago else Priority.RECONCILE
        async with aclosing(self._windows(start_ms, end_ms, rank)) as windows:
            async for found, stop_ms in windows:
                new, fresh = await self._store(found, stop_ms, announce=announce and not first)
                rows, inserted = rows + len(found), inserted + new
                # of a history that is read for the first time nobody asks what was new
                unseen = fresh if long_ago else unseen + fresh
                if long_ago:
                    self.progress = f"{at(stop_ms):%Y-%m-%d %H:%M} of {at(end_ms):%Y-%m-%d %H:%M}, {rows} executions"
                    log.info(
                        "history", bot=account.bot_id, read_to=self.progress, seconds=int(time.monotonic() - began_s)
                    )
        self.progress = ""
        self._unreadable_reads = 0
        if inserted:
            async with self._pool.acquire(timeout=5.0) as connection:
                await recompute_pending(connection)
        self.counts.reads += 1
        self.counts.rows += rows
        return Read(rows, inserted, unseen, first, began_ms)

    async def _check_kept(self, mark_ms: int, end_ms: int) -> None:
        """History older than the exchange's retention is reported, never invented."""
        account = self._feed.account
        kept_from_ms = end_ms - KEPT_IN_DEMO_MS if account.environment is Environment.DEMO else end_ms - KEPT_MS
        if mark_ms < kept_from_ms and mark_ms != self._reported_ms and self._too_late is not None:
            self._reported_ms = mark_ms
            await self._too_late(
                f"The executions of {account} from {at(mark_ms):%Y-%m-%d %H:%M} to {at(kept_from_ms):%Y-%m-%d %H:%M} UTC were "
                "never read, and the exchange does not keep them so long."
            )

    async def read_order(self, order_id: str) -> list[Execution]:
        """Read and store the executions of one order; returns those that were not known."""
        rows = await self._gateway.executions_of_order(order_id)
        return (await self._store(oldest_first(self._readable(rows)), None, announce=True))[1]

    async def _windows(
        self, start_ms: int, end_ms: int, rank: Priority
    ) -> AsyncGenerator[tuple[list[Execution], int], None]:
        """All executions between two times, a window at a time, oldest first, with the last instant of each window."""
        span_ms = WINDOW_MS
        if end_ms - start_ms > LONG_SPAN_MS:
            span_ms = await self._first_span(start_ms, min(start_ms + LONG_SPAN_MS, end_ms), rank)
        windows = Windows(lambda begin, stop: self._window(begin, stop, rank), start_ms, end_ms, span_ms)
        async with aclosing(windows.in_order()) as found:
            async for rows, stop_ms in found:
                yield rows, stop_ms

    async def _first_span(self, start_ms: int, end_ms: int, rank: Priority) -> int:
        """How long a window may be, by one page: windows that turn out to hold too much are read in vain."""
        async for page in self._gateway.executions(start_ms, end_ms, rank=rank):
            return narrower(page.rows, start_ms, end_ms) if page.cursor and page.rows else LONG_SPAN_MS
        return LONG_SPAN_MS

    async def _window(self, start_ms: int, end_ms: int, rank: Priority) -> tuple[list[Execution], bool]:
        """All executions of a window, oldest first; False when there are too many for one window."""
        found: list[Execution] = []
        unreadable: list[UnreadableRow] = []
        async for page in self._gateway.executions(start_ms, end_ms, rank=rank):
            found += page.rows
            unreadable += page.unreadable
            if page.cursor and end_ms > start_ms and holds_too_much(found, start_ms, end_ms):
                return found, False
        readable = self._readable(found)
        if (len(readable) < len(found) or unreadable) and not self._gives_up:
            raise RowUnreadable("The exchange's list of executions has a row that cannot be read; it is read again.")
        for fault in unreadable:
            self._reject(repr(fault.row), str(fault))
        return oldest_first(readable), True

    def _readable(self, rows: list[Execution]) -> list[Execution]:
        readable = []
        for row in rows:
            try:
                check_execution(row)
            except Rejected as fault:
                if self._gives_up:
                    self._reject(repr(row), str(fault))
                continue
            readable.append(row)
        return readable

    @property
    def _gives_up(self) -> bool:
        """True when what cannot be read was tried often enough."""
        return self._unreadable_reads >= _TRIES - 1

    def _reject(self, message: str, fault: str) -> None:
        account = self._feed.account
        self._rejected.put(RejectedMessage("execution/list", message, fault, account.id, account.bot_id))

    async def _store(
        self, rows: list[Execution], read_to_ms: int | None, *, announce: bool
    ) -> tuple[int, list[Execution]]:
        """Store, oldest first; the last chunk moves the watermark in the same transaction. (how many inserted, not known)"""
        feed = self._feed
        inserted = 0
        unseen: list[Execution] = []
        await self._read_meanings(rows)
        stored = 0
        for chunk in list(chunks(rows, _CHUNK, _unit)) or [rows]:
            stored += len(chunk)
            received_at = at(wall_ms())
            legs = await self.legs.legs_of(chunk)
            fills: list[Fill] = [
                fill_of(row, feed.account, feed.reason(row), received_at, leg)
                for row, leg in zip(chunk, legs, strict=True)
            ]
            end_ms = read_to_ms if stored == len(rows) else None
            try:
                inserted += await self._commit(fills, end_ms)
            except POSTGRES_ERRORS as fault:
                if passes(fault) or not fills:
                    raise
                inserted += await self._commit_each(fills, end_ms)
            unseen += [row for row in chunk if feed.learn(row, pushed=False, announce=announce)]
        self.counts.inserted += inserted
        self.counts.unseen += len(unseen)
        return inserted, unseen

    async def _commit(self, fills: list[Fill], read_to_ms: int | None) -> int:
        """Store these and move the watermark, both or neither; returns how many were new."""
        async with self._pool.acquire(timeout=5.0) as connection, connection.transaction():
            inserted = (await insert_fills(connection, fills)).inserted if fills else 0
            if read_to_ms is not None:
                await move_watermark(connection, self._feed.account.id, LINEAR, at(read_to_ms), self._only_holder)
        return inserted

    async def _commit_each(self, fills: list[Fill], read_to_ms: int | None) -> int:
        """PostgreSQL can never take one of these: it is kept as a rejected message, and holds up none of the others."""
        inserted = 0
        for fill in fills:
            try:
                inserted += await self._commit([fill], None)
            except POSTGRES_ERRORS as fault:
                if passes(fault):
                    raise
                self._reject(repr(fill), f"{type(fault).__name__}: {fault}")
        return inserted + await self._commit([], read_to_ms)

    async def _read_meanings(self, rows: list[Execution]) -> None:
        """A stop that was moved while we saw it means what it meant then, although nobody may remember it now."""
        feed = self._feed
        stops = {row.order_id for row in rows if _is_stop(row) and not feed.knows(row)}
        if stops:
            async with self._pool.acquire(timeout=5.0) as connection:
                feed.order_meanings |= await moved_stops(connection, feed.account.id, stops)


def _unit(row: Execution) -> tuple[int, int | None]:
    return row.exec_time_ms, row.seq


def _is_stop(row: Execution) -> bool:
    return bool(row.order_id) and reason_of_execution(row, None) is Reason.STOP_LOSS
