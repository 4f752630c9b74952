"""One sync run for one account: reads what is missing, stores it and joins it with our fills."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from msgspec import Struct

from alpha.alerts import Alert, Level
from alpha.bybit.client import Gateway
from alpha.bybit.errors import Refused
from alpha.bybit.models import TransactionLogRow
from alpha.bybit.rate_limiter import Priority
from alpha.errors import AlphaError, Retry
from alpha.logs import logger
from trade_sync_service.domain.corrections import Changes, changes
from trade_sync_service.domain.coverage import Interval, cut, merged, missing, plan
from trade_sync_service.domain.trade_rows import FeesMissing, trades_of
from trade_sync_service.io.closed_pnl_reader import Reading, read_window
from trade_sync_service.io.store import CLOSED_PNL, TRANSACTIONS, AccountStore, ClosedPnlRow
from trade_sync_service.progress import Progress
from trade_sync_service.settings import DAY_MS, HOUR_MS

log = logger(__name__)
#: Types of transaction-log rows that are part of trading; every other type moves money without a trade.
TRADING_TYPES = frozenset({"TRADE", "SETTLEMENT", "DELIVERY", "LIQUIDATION", "ADL"})
#: Search window on each side of a closing order's creation time.
AROUND_MS = 60_000
#: Most closes a run reads one by one; more of them mean that a range is missing, and the next run continues.
CLOSES_A_RUN = 500
#: Every run looks for closes up to this age; a backfill looks for all of them.
CLOSES_LOOKED_BACK_MS = 30 * DAY_MS

RaiseAlert = Callable[[Alert], Awaitable[None]]


class RunResult(Struct):
    """What a run did. `gaps` are ranges that could not be read completely; `closes_left` still have no trade."""

    rows_read: int = 0
    rows_new: int = 0
    corrected: int = 0
    vanished: int = 0
    unreadable: int = 0
    joined: int = 0
    transfers: int = 0
    closes_left: int = 0
    faults: list[str] = []


class AccountSync:
    """Reads one account. The caller must hold the store's lock (`run` takes it)."""

    def __init__(
        self,
        gateway: Gateway,
        store: AccountStore,
        progress: Progress,
        raise_alert: RaiseAlert,
        *,
        overlap_ms: int = 48 * HOUR_MS,
        windows_at_once: int = 12,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`now` is the wall clock, for `read_at`."""
        self._gateway = gateway
        self._store = store
        self._progress = progress
        self._alert = raise_alert
        self._overlap_ms = overlap_ms
        self._windows_at_once = windows_at_once
        self._reading = asyncio.Semaphore(windows_at_once)
        self._now = now

    async def run(self, *, history_days: int, wanted: Interval | None = None) -> RunResult:
        """Read what is missing from the last `history_days` (or from `wanted`), and the overlap again.

        Windows that were read stay read whatever happens later. Raises Retry when another process syncs this account
        or a window could not be read, and any other error that ended the run; the result is then in `sync_runs`.
        """
        async with self.locked():
            run = await self._store.begin_run(CLOSED_PNL if wanted is None else "backfill")
            result = RunResult()
            try:
                await self._run(result, history_days, wanted)
            except asyncio.CancelledError:
                await asyncio.shield(self._end(run, result, "interrupted", "It was asked to stop."))
                raise
            except AlphaError as fault:
                await self._end(run, result, "failed", str(fault))
                raise
            await self._end(run, result, "done", None)
            return result

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Hold the account's lock; Retry when another process holds it."""
        if not await self._store.lock():
            raise Retry(f"{self._store.bot_id}: another process is at this account now; try again when it is done.")
        try:
            yield
        finally:
            try:
                await asyncio.shield(self._store.unlock())
            except AlphaError:
                log.warning("lock_lost", bot=self._store.bot_id)  # the lock ended with the session

    async def _run(self, result: RunResult, history_days: int, wanted: Interval | None) -> None:
        now_ms = await self._gateway.server_time_ms(rank=Priority.BACKFILL) + 1  # include rows created at this instant
        span = wanted or Interval(now_ms - history_days * DAY_MS, now_ms)
        span = Interval(span.start_ms, min(span.end_ms, now_ms))
        outcomes = await asyncio.gather(
            self._closed(result, span, now_ms, self._overlap_ms if wanted is None else 0),
            self._transfers(result, span),
            return_exceptions=True,
        )
        for outcome in outcomes:
            if outcome is not None:
                raise outcome
        if result.faults:
            raise Retry(f"{self._store.bot_id}: {len(result.faults)} windows could not be read; {result.faults[0]}")

    async def _closed(self, result: RunResult, span: Interval, now_ms: int, overlap_ms: int) -> None:
        """Read the missing closed trades of `span` and the overlap, look for late ones, then join our fills."""
        covered = await self._store.coverage(CLOSED_PNL)
        windows = plan(span, covered, overlap_ms)
        self._progress.plan(self._store.bot_id, len(windows))
        gaps = missing(span, covered)
        if await self._each(windows, lambda window: self._trades(window, result, gaps), result):
            await self._late_closes(result, span, now_ms)
            since_ms = span.start_ms if gaps else now_ms - CLOSES_LOOKED_BACK_MS
            result.joined = await self._store.join_fills(since_ms, now_ms - self._overlap_ms)

    async def _each(
        self, windows: Iterable[Interval], read: Callable[[Interval], Awaitable[None]], result: RunResult
    ) -> bool:
        """Read several windows concurrently; True when all were read.

        A transient error leaves its window to the next run and is recorded in `result`; any other ends the run.

        Twice as many are in flight as are read concurrently: while some are stored, the next are read. When the run
        ends, what has been read is stored.
        """
        room = asyncio.Semaphore(2 * self._windows_at_once)
        passing: list[Retry] = []
        final: list[AlphaError] = []

        async def one(window: Interval) -> None:
            async with room:
                if final or len(passing) > 2 * self._windows_at_once:
                    return  # the remaining windows would fail the same way
                try:
                    await read(window)
                except Retry as fault:
                    passing.append(fault)
                except AlphaError as fault:
                    final.append(fault)

        async with asyncio.TaskGroup() as group:
            for window in windows:
                group.create_task(one(window))
        result.faults += map(str, passing)
        if final:
            raise final[0]
        return not passing

    async def _trades(self, window: Interval, result: RunResult, gaps: list[Interval]) -> None:
        async with self._reading:
            reading = await read_window(self._gateway, window)
        await self._store_reading(reading, window, result, seen_before=not _within(window, gaps))
        self._progress.window(self._store.bot_id, window, len(reading.rows))

    async def _store_reading(self, reading: Reading, window: Interval, result: RunResult, *, seen_before: bool) -> None:
        """Store a window; Retry when some rows were unreadable, so that it does not count as read."""
        try:
            trades = trades_of(reading.rows)
        except FeesMissing as fault:
            raise Retry(f"{fault} The window stays unread.") from None
        if seen_before:
            stored = await self._store.trades_of_window(window)
        else:
            stored = await self._store.trades_of_orders(list({trade.key.order_id for trade in trades}))
        found = changes(stored, trades)
        for row in reading.unreadable:
            await self._store.reject(row)
        await self._store.apply(found, self._now(), None if reading.unreadable else window)
        result.rows_read += reading.fetched
        result.rows_new += len(found.new)
        result.corrected += len(found.corrected)
        result.vanished += len(found.vanished)
        result.unreadable += len(reading.unreadable)
        await self._tell(found, reading)
        if reading.unreadable:
            raise Retry(str(reading.unreadable[0]))

    async def _tell(self, found: Changes, reading: Reading) -> None:
        bot = self._store.bot_id
        for before, after in found.corrected:
            log.warning("trade_corrected", bot=bot, order_id=after.key.order_id, before=before, after=after)
        if found.corrected:
            orders = sorted({correction.after.key.order_id for correction in found.corrected})
            await self._alert(
                Alert(
                    Level.INFO,
                    f"sync-corrected:{bot}",
                    f"Bybit reports {len(found.corrected)} closed trades of {bot} differently now; they were corrected.",
                    f"The log has both sides. Orders: {', '.join(orders[:5])}.",
                    bot,
                )
            )
        if found.vanished:
            await self._alert(
                Alert(
                    Level.WARNING,
                    f"sync-vanished:{bot}",
                    f"Bybit no longer shows {len(found.vanished)} closed trades of {bot} that it showed before.",
                    f"Run: alpha sync reconcile --bot {bot}",
                    bot,
                )
            )
        if reading.unreadable:
            await self._alert(
                Alert(
                    Level.WARNING,
                    f"sync-unreadable:{bot}",
                    f"{len(reading.unreadable)} closed-P&L rows of {bot} cannot be read; their window stays unread.",
                    "They are kept whole in audit.rejected_messages.",
                    bot,
                )
            )

    async def _late_closes(self, result: RunResult, span: Interval, now_ms: int) -> None:
        """Look for the closes of our fills that have no trade, around the creation of their orders."""
        since = max(span.start_ms, now_ms - CLOSES_LOOKED_BACK_MS)
        closes = (await self._store.closes_without_trade(Interval(since, now_ms)))[:CLOSES_A_RUN]
        if not closes:
            return
        windows: list[Interval] = []
        for close in closes:
            created_ms = await self._created_ms(close)
            windows.append(Interval(created_ms - AROUND_MS, created_ms + AROUND_MS))
        spans = [window for whole in merged(windows) for window in cut(whole)]
        await self._each(spans, lambda window: self._look(window, result), result)
        result.closes_left = len(await self._store.closes_without_trade(Interval(since, now_ms)))

    async def _created_ms(self, close: ClosedPnlRow) -> int:
        if close.created_ms is not None:
            return close.created_ms
        try:
            order = await self._gateway.order_by_id(close.symbol, close.order_id, rank=Priority.BACKFILL)
        except Refused as fault:
            # a symbol the exchange no longer serves must not block the account's other closes
            log.info("order_refused", order=close.order_id, symbol=close.symbol, why=str(fault)[:300])
            return close.exec_ms
        return close.exec_ms if order is None else order.created_ms

    async def _look(self, window: Interval, result: RunResult) -> None:
        async with self._reading:
            reading = await read_window(self._gateway, window)
        trades = trades_of(reading.rows)
        stored = await self._store.trades_of_orders(list({trade.key.order_id for trade in trades}))
        found = changes(stored, trades)
        await self._store.apply(found, self._now(), None)
        result.rows_read += reading.fetched
        result.rows_new += len(found.new)

    async def _transfers(self, result: RunResult, span: Interval) -> None:
        """Read transfers, i.e. money that moved without a trade, from the transaction log."""
        windows = plan(span, await self._store.coverage(TRANSACTIONS), HOUR_MS)
        self._progress.plan(self._store.bot_id, len(windows))
        await self._each(windows, lambda window: self._log(window, result), result)

    async def _log(self, window: Interval, result: RunResult) -> None:
        moved: list[TransactionLogRow] = []
        count = 0
        pages = self._gateway.transaction_log(window.start_ms, window.end_ms - 1, currency=None, rank=Priority.BACKFILL)
        async with self._reading:
            async for page in pages:
                if page.unreadable:
                    for fault in page.unreadable:
                        await self._store.reject(fault)
                    raise Retry(f"{page.unreadable[0]} The window of the transaction log stays unread.")
                count += len(page.rows)
                moved += (row for row in page.rows if row.type not in TRADING_TYPES)
        result.transfers += await self._store.add_transfers(moved, window, self._now())
        self._progress.window(self._store.bot_id, window, count)

    async def _end(self, run: int, result: RunResult, outcome: str, detail: str | None) -> None:
        try:
            await self._store.end_run(run, result.rows_read, result.rows_new, outcome, detail and detail[:1_000])
        except AlphaError as fault:
            log.warning("run_not_noted", bot=self._store.bot_id, outcome=outcome, why=str(fault))


def _within(window: Interval, gaps: list[Interval]) -> bool:
    return any(gap.start_ms <= window.start_ms and window.end_ms <= gap.end_ms for gap in gaps)
