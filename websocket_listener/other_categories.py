"""Executions of inverse contracts, spot and options: recorded, outside the figures, said once per account.

No bot trades them. Pushed ones are stored as they come; a list per category is read at the start and hourly, from its own
watermark. What was traded more than a week before the first start is not read.
"""

import asyncio
import time

import asyncpg

from alpha.bybit.client import Gateway
from alpha.bybit.errors import NotSupported, Refused
from alpha.bybit.rate_limiter import Priority
from alpha.clock import wall_ms
from alpha.errors import AlphaError, Rejected
from alpha.lease import LeaseLost
from alpha.logs import logger
from alpha.model.execution import Execution
from alpha.model.fill_order import oldest_first
from alpha.model.timestamp import at, ms_of
from alpha.postgres.database import POSTGRES_ERRORS, Pool
from alpha.postgres.fills import insert_fills
from alpha.postgres.sql import queries
from websocket_listener.dispatcher import Dispatcher
from websocket_listener.rows import check_execution, fill_of
from websocket_listener.store import OnlyHolder, move_watermark, read_watermark

SQL = queries(__file__)

log = logger(__name__)

CATEGORIES = ("inverse", "option", "spot")
_FIRST_MS = 7 * 86_400_000 - 60_000
_OVERLAP_MS = 120_000
_EVERY_S = 3_600.0
#: What was pushed, and what could not be read, is looked at so often.
_BEAT_S = 10.0


class OtherCategories:
    """Records what one account trades outside linear contracts."""

    def __init__(self, feed: Dispatcher, gateway: Gateway, pool: Pool, only_holder: OnlyHolder) -> None:
        self._feed = feed
        self._gateway = gateway
        self._pool = pool
        self._only_holder = only_holder
        self._read_s: float | None = None
        self._refused: set[str] = set()
        self._noted: list[str] = []
        self._pushed = 0

    async def run(self) -> None:
        """Read on a beat until cancelled, beside the audits: these lists wait behind every back-fill, and synced says nothing
        about them. Raises LeaseLost when another listener has the account."""
        while True:
            try:
                await self.settle()
            except LeaseLost:
                raise
            except (AlphaError, *POSTGRES_ERRORS) as fault:
                why = f"{type(fault).__name__}: {fault}"[:200]
                log.info("categories_not_read", bot=self._feed.account.bot_id, why=why)
            except Exception:
                # whatever it is concerns these lists: the account is recorded all the same
                log.exception("categories_fault", bot=self._feed.account.bot_id)
            await asyncio.sleep(_BEAT_S)

    async def settle(self) -> None:
        """Read when it is time, and say what there is. Raises the gateway's passing errors and asyncpg's."""
        due = self._read_s is None or time.monotonic() - self._read_s >= _EVERY_S
        if not due and self._pushed == self._feed.outside:
            return
        self._pushed = self._feed.outside
        if due:
            for category in CATEGORIES:
                if category not in self._refused:
                    await self._read(category)
            self._read_s = time.monotonic()
        await self._note()

    async def _read(self, category: str) -> None:
        account = self._feed.account
        end_ms = await self._gateway.server_time_ms()
        async with self._pool.acquire(timeout=5.0) as connection:
            mark = await read_watermark(connection, account.id, category)
        start_ms = end_ms - _FIRST_MS if mark is None else ms_of(mark) - _OVERLAP_MS
        rows: list[Execution] = []
        try:
            pages = self._gateway.executions(start_ms, end_ms, category=category, rank=Priority.BACKFILL)
            async for page in pages:
                rows += [row for row in page.rows if _sound(row)]
        except (Refused, NotSupported) as fault:
            # a key without the right to read it, or a site without it
            log.info("category_not_read", bot=account.bot_id, category=category, why=str(fault)[:200])
            self._refused.add(category)
            return
        received_at = at(wall_ms())
        fills = [fill_of(row, account, self._feed.reason(row), received_at) for row in oldest_first(rows)]
        async with self._pool.acquire(timeout=5.0) as connection, connection.transaction():
            if fills:
                await insert_fills(connection, fills)
            await move_watermark(connection, account.id, category, at(end_ms), self._only_holder)

    async def _note(self) -> None:
        account = self._feed.account
        async with self._pool.acquire(timeout=5.0) as connection:
            present = [row[0] for row in await connection.fetch(SQL["present"], account.id, list(CATEGORIES))]
            if not present or present == self._noted:
                return
            why = (
                f"Executions of {', '.join(present)} are recorded in trading.fills and are outside every figure: "
                "P&L, positions and reconciliation are those of linear contracts."
            )
            try:
                await connection.execute(SQL["note"], account.id, {"categories": ", ".join(present)}, why)
            except asyncpg.UndefinedFunctionError:
                return
        self._noted = present


def _sound(row: Execution) -> bool:
    try:
        check_execution(row)
    except Rejected as fault:
        log.warning("execution_unreadable", category=row.category, exec_id=row.exec_id, why=str(fault)[:200])
        return False
    return True
