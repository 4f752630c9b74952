"""One reconciliation of one account over a range: reads both sides, compares, records and reports."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple, TypeVar

from alpha.alerts import Alert, Level
from alpha.bybit.client import Gateway
from alpha.bybit.models import TransactionLogRow
from alpha.bybit.rate_limiter import Priority
from alpha.errors import AlphaError, Rejected, Retry
from alpha.model.coin import SETTLE_COINS
from alpha.model.execution import Execution
from alpha.model.timestamp import ms_of
from trade_sync_service.context import AccountSession, ServiceContext
from trade_sync_service.domain.closed_trades import Trip, closed_at, compare_closes, compare_trades, compare_trips
from trade_sync_service.domain.coverage import Interval, cut
from trade_sync_service.domain.difference import Difference, Kind, told_as_by_hand
from trade_sync_service.domain.fills import ClosingFill, CoinDay, FillBooks, compare_fills
from trade_sync_service.domain.positions import compare_positions
from trade_sync_service.domain.trade_rows import Trade, trades_of
from trade_sync_service.domain.wallet import (
    change_elsewhere,
    compare_transfers,
    compare_wallet,
    trading_change,
    transfers_of,
)
from trade_sync_service.io.closed_pnl_reader import read_window
from trade_sync_service.io.reconciliation_reader import ReconciliationReader
from trade_sync_service.io.store import CLOSED_PNL, EXECUTIONS, AccountStore
from trade_sync_service.settings import DAY_MS

K = TypeVar("K")
ZERO = Decimal(0)
WINDOWS_AT_ONCE = 6
LOOKS = 3
#: Delay between a closing fill and Bybit showing its closed trade.
LAG_MS = 60_000


class Report(NamedTuple):
    """The result of a reconciliation. `open` counts all open differences of the account, including earlier runs'."""

    differences: list[Difference]
    new: list[Difference]
    open: int
    fills: int
    trades: int

    def line(self) -> str:
        """One line for a person."""
        explained = sum(1 for difference in self.differences if not difference.open)
        found = f"{len(self.differences)} differences ({len(self.new)} new, {explained} explained)"
        compared = f"{self.fills} executions and {self.trades} closed trades compared"
        return f"{compared}; {found if self.differences else 'no difference'}; {self.open} open."


class WindowBooks(NamedTuple):
    """The result of one window."""

    span: Interval
    fills: FillBooks
    executions: int
    trade_differences: list[Difference]
    trades: list[Trade]
    transfer_differences: list[Difference]
    changed: dict[CoinDay, Decimal]
    elsewhere: dict[CoinDay, Decimal]


async def reconcile_account(link: AccountSession, house: ServiceContext, span: Interval) -> Report:
    """Reconcile one account over `span` and record the differences; the caller holds the account's lock or runs alone.

    A difference that could be due to our own delay is checked again after the grace period.
    """
    reconciliation = Reconciliation(link.gateway, link.store, grace_s=house.settings.sync_grace_s)
    report = await reconciliation.run(span)
    if any(difference.open for difference in report.new):
        await house.alert(_alert(link.bot.id, report))
    return report


class Reconciliation:
    """Compares the records of one account with the exchange's."""

    def __init__(self, gateway: Gateway, store: AccountStore, *, grace_s: float, lag_ms: int = LAG_MS) -> None:
        """`grace_s` is the time allowed to the listener to store a fill, `lag_ms` to Bybit to show a closed trade."""
        self._lag_ms = lag_ms
        self._gateway = gateway
        self._store = store
        self._books = ReconciliationReader(store)
        self._grace_s = grace_s
        self._hedged: frozenset[str] = frozenset()

    async def run(self, span: Interval) -> Report:
        """Run all comparisons over `span`, as far as the closed trades have been read.

        Raises Rejected when nothing was read yet, and the gateway's and database's errors: then nothing was recorded.
        """
        covered = await self._store.coverage(CLOSED_PNL)
        if not covered:
            raise Rejected(f"{self._store.bot_id}: no closed trade has been read yet. Run 'alpha sync' first.")
        span = Interval(span.start_ms, min(span.end_ms, covered[-1].end_ms - self._lag_ms))
        begins_ms = await self._books.record_begins_ms()
        self._hedged = await self._books.hedged_symbols()
        room = asyncio.Semaphore(WINDOWS_AT_ONCE)

        async def one(window: Interval) -> WindowBooks:
            async with room:
                return await self._window(window, begins_ms, span.end_ms)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(window)) for window in cut(span)]
        except* AlphaError as faults:
            raise _first(faults) from None
        windows = [task.result() for task in tasks]
        windows = await self._without_late_fills(windows, begins_ms, span.end_ms)
        differences = [
            *(d for window in windows for d in window.fills.differences),
            *(d for window in windows for d in window.trade_differences),
            *(d for window in windows for d in window.transfer_differences),
            *await self._across(windows, span),
        ]
        by_hand = {order for window in windows for order in window.fills.by_hand}
        differences = [told_as_by_hand(difference, by_hand) for difference in differences]
        now = datetime.now(UTC)
        new, count = await self._books.note(differences, span, [kind.value for kind in Kind], now)
        await self._store.cover(EXECUTIONS, span, now)
        return Report(
            differences,
            new,
            count,
            sum(window.executions for window in windows),
            sum(len(window.trades) for window in windows),
        )

    async def _window(self, window: Interval, begins_ms: int | None, until_ms: int) -> WindowBooks:
        theirs = await self._executions(window)
        fills = compare_fills(await self._books.fills(window), theirs, begins_ms, self._hedged)
        reading = await read_window(self._gateway, window, rank=Priority.RECONCILE)
        if reading.unreadable:
            raise Retry(f"{reading.unreadable[0]} The window cannot be reconciled.")
        trades = trades_of(reading.rows)
        stored = await self._store.trades_of_window(window)
        log = await self._log(window)
        transfers = compare_transfers(await self._books.transfers(window), transfers_of(log))
        differences = [d for d in compare_trades(stored, trades) if not _read_too_early(d, until_ms)]
        return WindowBooks(
            window, fills, len(theirs), differences, trades, transfers, trading_change(log), change_elsewhere(log)
        )

    async def _executions(self, window: Interval) -> list[Execution]:
        rows: list[Execution] = []
        pages = self._gateway.executions(window.start_ms, window.end_ms - 1, rank=Priority.RECONCILE)
        async for page in pages:
            if page.unreadable:
                raise Retry(f"{page.unreadable[0]} The window cannot be reconciled.")
            rows += page.rows
        return rows

    async def _log(self, window: Interval) -> list[TransactionLogRow]:
        rows: dict[tuple[str, str, str, str], TransactionLogRow] = {}
        pages = self._gateway.transaction_log(
            window.start_ms, window.end_ms - 1, currency=None, rank=Priority.RECONCILE
        )
        async for page in pages:
            if page.unreadable:
                raise Retry(f"{page.unreadable[0]} The window cannot be reconciled.")
            rows.update({(row.id, row.trade_id, row.type, row.currency): row for row in page.rows})
        return list(rows.values())

    async def _without_late_fills(
        self, windows: list[WindowBooks], begins_ms: int | None, until_ms: int
    ) -> list[WindowBooks]:
        """Recheck windows in which we lack executions: the listener may be about to store them."""
        late = [
            index
            for index, window in enumerate(windows)
            if any(d.kind is Kind.MISSING_FILL and d.open for d in window.fills.differences)
        ]
        if not late:
            return windows
        await asyncio.sleep(self._grace_s)
        again = list(windows)
        for index in late:
            keys = [_exec_key(d) for d in windows[index].fills.differences if d.kind is Kind.MISSING_FILL]
            if await self._books.have(keys):
                again[index] = await self._window(windows[index].span, begins_ms, until_ms)
        return again

    async def _across(self, windows: list[WindowBooks], span: Interval) -> list[Difference]:
        """The comparisons that span all windows: closes, round trips, the wallet, positions."""
        closes: list[ClosingFill] = [close for window in windows for close in window.fills.closes]
        trades = await self._trades(windows, span)
        closed = closed_at(trades, closes)
        first_error: dict[str, int] = {}
        error: dict[str, Decimal] = {}
        fees: dict[CoinDay, Decimal] = {}
        funding: dict[CoinDay, Decimal] = {}
        changed: dict[CoinDay, Decimal] = {}
        elsewhere: dict[CoinDay, Decimal] = {}
        for window in windows:
            for symbol, at_ms in window.fills.first_error_ms.items():
                first_error[symbol] = min(at_ms, first_error.get(symbol, at_ms))
            _add(error, window.fills.position_error)
            _add(fees, window.fills.fees)
            _add(funding, window.fills.funding)
            _add(changed, window.changed)
            _add(elsewhere, window.elsewhere)
        unbooked = compare_closes(closes, trades, span.start_ms, span.end_ms)
        trips = _untouched(await self._books.trips(span), unbooked)
        return [
            *unbooked,
            *compare_trips(trips, closed, first_error, span.start_ms),
            *_untouched_days(
                compare_wallet(changed, closed, fees, funding, elsewhere, span.start_ms, span.end_ms), unbooked
            ),
            *await self._positions(error),
        ]

    async def _trades(self, windows: list[WindowBooks], span: Interval) -> list[Trade]:
        """The closed trades of the range: Bybit's for the range that was read, ours for orders created before it."""
        read = {trade.key: trade for window in windows for trade in window.trades}
        before = {
            trade.key: trade
            for trade in await self._books.trades_closed(Interval(span.start_ms, span.end_ms + DAY_MS))
            if trade.created_ms < span.start_ms
        }
        return list({**before, **read}.values())

    async def _positions(self, error: dict[str, Decimal]) -> list[Difference]:
        """Positions that differ in the same way in several reads: trading continues meanwhile."""
        found = compare_positions(
            await self._books.positions(), await self._gateway.positions(coins=SETTLE_COINS), error
        )
        for _ in range(LOOKS - 1):
            if not found:
                return []
            await asyncio.sleep(self._grace_s / (LOOKS - 1))
            again = compare_positions(
                await self._books.positions(), await self._gateway.positions(coins=SETTLE_COINS), error
            )
            same = {(d.subject, _gap(d)) for d in found}
            found = [d for d in again if (d.subject, _gap(d)) in same]
        return found


def _add(total: dict[K, Decimal], part: Mapping[K, Decimal]) -> None:
    for key, value in part.items():
        total[key] = total.get(key, ZERO) + value


def _untouched(trips: list[Trip], unbooked: list[Difference]) -> list[Trip]:
    """The round trips without a close that is known to lack its closed trade."""
    return [
        trip
        for trip in trips
        if not any(
            trip.symbol == d.symbol and d.time_ms is not None and trip.opened_ms <= d.time_ms <= trip.closed_ms
            for d in unbooked
        )
    ]


def _untouched_days(days: list[Difference], unbooked: list[Difference]) -> list[Difference]:
    """The days without a close that is known to lack its closed trade."""
    known = {d.time_ms // DAY_MS for d in unbooked if d.time_ms is not None}
    return [day for day in days if day.time_ms is None or day.time_ms // DAY_MS not in known]


def _read_too_early(difference: Difference, until_ms: int) -> bool:
    """True for a trade in a read window that closed only after our last read (a stop created at entry)."""
    closed = (difference.theirs or {}).get("updated_at")
    return closed is not None and ms_of(datetime.fromisoformat(closed)) >= until_ms


def _gap(difference: Difference) -> Decimal:
    ours, theirs = difference.ours or {}, difference.theirs or {}
    return Decimal(ours.get("signed_size") or 0) - Decimal(theirs.get("signed_size") or 0)


def _exec_key(difference: Difference) -> tuple[str, str]:
    symbol, _, exec_id = difference.subject.partition(":")
    return symbol, exec_id


def _first(faults: BaseExceptionGroup[AlphaError]) -> AlphaError:
    first = faults.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _alert(bot: str, report: Report) -> Alert:
    unexplained = [difference for difference in report.new if difference.open]
    kinds = ", ".join(sorted({difference.kind.value for difference in unexplained}))
    return Alert(
        Level.WARNING,
        f"reconciliation:{bot}",
        f"The books of {bot} differ from the exchange's in {len(unexplained)} new places: {kinds}.",
        "trading.reconciliation_issues has both sides of each.",
        bot,
    )
