"""PostgreSQL access of one account's sync, over one connection that also holds the account's lock."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

import asyncpg

from alpha.bybit.errors import UnreadableRow
from alpha.bybit.models import TransactionLogRow
from alpha.config.services import DatabaseSettings
from alpha.errors import Misconfigured, Retry
from alpha.model.timestamp import at, ms_of
from alpha.postgres.database import POSTGRES_ERRORS, Connection, connect, explained
from alpha.postgres.sql import queries
from trade_sync_service.domain.closed_trades import trade_difference
from trade_sync_service.domain.corrections import Changes
from trade_sync_service.domain.coverage import Interval
from trade_sync_service.domain.difference import Kind
from trade_sync_service.domain.trade_rows import Trade, TradeKey

SQL = queries(__file__)
CLOSED_PNL = "closed_pnl"
TRANSACTIONS = "transactions"
EXECUTIONS = "executions"
T = TypeVar("T")


class ClosedPnlRow(NamedTuple):
    """A closing order among our fills that the closed trades do not account for in full."""

    order_id: str
    symbol: str
    exec_ms: int
    closed_size: Decimal
    created_ms: int | None


class AccountStore:
    """The tables of the sync service, for one account. Calls may overlap; the connection serves them one by one."""

    def __init__(self, connection: Connection, settings: DatabaseSettings, bot_id: str) -> None:
        self._connection = connection
        self._settings = settings
        self._one = asyncio.Lock()
        self.bot_id = bot_id
        self.account_id = 0

    @classmethod
    async def open(cls, settings: DatabaseSettings, bot_id: str, environment: str, user_id: str) -> "AccountStore":
        """Connect and look up the account's database id.

        Raises Misconfigured when the account belongs to another bot or the login is refused, Retry on an outage.
        """
        store = cls(await connect(settings, "trade_sync_service"), settings, bot_id)
        try:
            store.account_id = await store._value("register_account", environment, user_id, bot_id)
        except BaseException:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """Close the connection, which releases the lock."""
        with suppress(*POSTGRES_ERRORS):
            await self._connection.close(timeout=5)

    async def lock(self) -> bool:
        """Take the account's run lock; False when another process holds it."""
        locked: bool = await self._value("lock_account", self.account_id)
        return locked

    async def unlock(self) -> None:
        """Release the account's run lock."""
        await self._value("unlock_account", self.account_id)

    async def roll_up_equity(self, back: timedelta | None) -> int:
        """Thin snapshots of equity older than a week, as far as `back` before that (None: all); returns how many went."""
        gone: int = await self._value("roll_up_equity", self.account_id, back)
        return gone

    async def coverage(self, kind: str) -> list[Interval]:
        """The ranges of one kind of history that have been read."""
        rows = await self._rows("coverage", self.account_id, kind)
        return [Interval(ms_of(row["from_time"]), ms_of(row["to_time"])) for row in rows]

    async def cover(self, kind: str, span: Interval, read_at: datetime) -> None:
        """Record that `span` was read completely, and nothing else; an empty one is nothing to record."""
        if span.length_ms <= 0:
            return
        await self._whole(lambda connection: self._cover(connection, kind, span, read_at))

    async def trades_of_orders(self, order_ids: Sequence[str]) -> list[Trade]:
        """The stored trades of these closing orders."""
        return trades_from(await self._rows("trades_of_orders", self.account_id, list(order_ids)))

    async def trades_of_window(self, window: Interval, symbol: str | None = None) -> list[Trade]:
        """The stored trades whose closing orders were created in a range."""
        return trades_from(
            await self._rows("trades_of_window", self.account_id, at(window.start_ms), at(window.end_ms), symbol)
        )

    async def apply(self, changes: Changes, read_at: datetime, window: Interval | None) -> None:
        """Store the changes of one window and, with `window`, that it was read completely: both or neither."""

        async def write(connection: Connection) -> None:
            for correction in changes.corrected:
                before, after = correction
                await connection.execute(
                    SQL["correct_trade"], self.account_id, *_key(before.key), *_key(after.key), *_figures(after)
                )
                told = trade_difference(Kind.CLOSED_PNL_DIFFERS, before, after)
                await connection.execute(
                    SQL["note_correction"],
                    *(self.account_id, self.bot_id, told.subject, after.symbol, told.ours, told.theirs, read_at),
                )
            if changes.new:
                rows = [(*_key(trade.key), *_figures(trade)) for trade in changes.new]
                columns = [list(column) for column in zip(*rows, strict=True)]
                await connection.execute(SQL["insert_trades"], self.account_id, self.bot_id, *columns)
            if changes.confirmed:
                keys = [list(column) for column in zip(*(_key(trade.key) for trade in changes.confirmed), strict=True)]
                await connection.execute(SQL["confirm_trades"], self.account_id, *keys, read_at)
            if window is not None:
                await self._cover(connection, CLOSED_PNL, window, read_at)

        await self._whole(write)

    async def join_fills(self, since_ms: int, again_ms: int) -> int:
        """Complete the trades from our fills; returns how many were changed."""
        tag = await self._execute("join_fills", self.account_id, at(since_ms), at(again_ms), self.bot_id)
        return int(tag.rsplit(" ", 1)[-1])

    async def closes_without_trade(self, span: Interval) -> list[ClosedPnlRow]:
        """Closing orders of our fills in `span` that the closed trades do not cover in full."""
        rows = await self._rows(
            "closes_without_trade", self.account_id, self.bot_id, at(span.start_ms), at(span.end_ms)
        )
        return [
            ClosedPnlRow(
                row["order_id"],
                row["symbol"],
                ms_of(row["exec_time"]),
                row["closed_size"],
                None if row["created_at"] is None else ms_of(row["created_at"]),
            )
            for row in rows
        ]

    async def add_transfers(self, rows: Iterable[TransactionLogRow], window: Interval, read_at: datetime) -> int:
        """Store the transfers of one window and that it was read; returns how many were new."""
        columns: list[list[object]] = [[] for _ in range(7)]
        for row in rows:
            values = (row.id, row.trade_id, row.type, row.currency, row.change, row.cash_balance, at(row.time_ms))
            for column, value in zip(columns, values, strict=True):
                column.append(value)

        async def write(connection: Connection) -> int:
            new = 0
            if columns[0]:
                tag = await connection.execute(SQL["insert_transfers"], self.account_id, *columns)
                new = int(tag.rsplit(" ", 1)[-1])
            await self._cover(connection, TRANSACTIONS, window, read_at)
            return new

        return await self._whole(write)

    async def reject(self, fault: UnreadableRow) -> None:
        """Keep a row that could not be read."""
        await self._execute(
            "reject_message", self.account_id, self.bot_id, fault.kind, str(fault)[:2_000], repr(fault.row)
        )

    async def begin_run(self, kind: str) -> int:
        """Record the start of a run and mark runs that were killed; returns the run's id. The lock must be held."""
        await self._execute("end_killed_runs", self.account_id)
        run: int = await self._value("begin_run", self.account_id, kind)
        return run

    async def end_run(self, run: int, rows_read: int, rows_new: int, outcome: str, detail: str | None) -> None:
        """Record how a run ended."""
        await self._execute("end_run", run, rows_read, rows_new, outcome, detail)

    async def transaction(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work` in one transaction of this account's connection."""
        return await self._whole(work)

    # -- one connection, one caller at a time ---------------------------------------------------------------------

    async def _cover(self, connection: Connection, kind: str, span: Interval, read_at: datetime) -> None:
        await connection.execute(SQL["cover"], self.account_id, kind, at(span.start_ms), at(span.end_ms), read_at)

    async def _rows(self, name: str, *values: object) -> list[asyncpg.Record]:
        async def ask(connection: Connection) -> list[asyncpg.Record]:
            rows: list[asyncpg.Record] = await connection.fetch(SQL[name], *values)
            return rows

        return await self._guarded(ask)

    async def _value(self, name: str, *values: object) -> Any:
        return await self._guarded(lambda connection: connection.fetchval(SQL[name], *values))

    async def _execute(self, name: str, *values: object) -> str:
        async def do(connection: Connection) -> str:
            tag: str = await connection.execute(SQL[name], *values)
            return tag

        return await self._guarded(do)

    async def _whole(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        async def do(connection: Connection) -> T:
            async with connection.transaction():
                return await work(connection)

        return await self._guarded(do)

    async def _guarded(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        async with self._one:
            try:
                return await work(self._connection)
            except asyncpg.PostgresError as fault:
                if fault.sqlstate == "AL001":
                    raise Misconfigured(str(fault)) from None
                if isinstance(fault, asyncpg.UniqueViolationError | asyncpg.QueryCanceledError):
                    raise Retry(f"PostgreSQL did not take a write: {fault}; it is tried again.") from fault
                raise explained(fault, self._settings) from fault
            except POSTGRES_ERRORS as fault:
                raise explained(fault, self._settings) from fault


def _key(key: TradeKey) -> tuple[object, ...]:
    return key.order_id, at(key.updated_ms), key.closed_size, key.exit_value, key.ordinal


def _figures(trade: Trade) -> tuple[object, ...]:
    return (*trade[1:-1], at(trade.created_ms))


def trades_from(rows: Iterable[asyncpg.Record]) -> list[Trade]:
    """Rows of trading.completed_trades, their columns in the order of `trades_of_window`."""
    return [
        Trade(
            key=TradeKey(row[0], ms_of(row[1]), row[2], row[3], row[4]),
            symbol=row[5],
            side=row[6],
            exec_type=row[7],
            order_type=row[8] or "",
            order_price=row[9] if row[9] is not None else Decimal(0),
            qty=row[10],
            entry_value=row[11],
            entry_price=row[12],
            exit_price=row[13],
            fill_count=row[14] if row[14] is not None else 0,
            leverage=row[15],
            gross=row[16],
            open_fee=row[17],
            close_fee=row[18],
            funding=row[19],
            closed_pnl=row[20],
            created_ms=ms_of(row[21]),
        )
        for row in rows
    ]
