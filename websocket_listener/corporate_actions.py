"""A split of a stock perpetual in the middle of a position: the size after it is what the exchange states, never guessed.

The position over REST, less the fills after the action, is recorded in `trading.position_adjustments`; the round trip
continues with the same cost. Until the exchange states a position that includes the action, the record waits.
"""

from decimal import Decimal
from typing import Any

import asyncpg

from alpha.alert_batcher import AlertBatcher
from alpha.alerts import Alert, Level
from alpha.bybit.client import Gateway
from alpha.bybit.errors import Refused, UnreadableRow
from alpha.logs import logger
from alpha.model.account import Account
from alpha.model.execution import CORPORATE_ACTION, SIZE_CHANGING
from alpha.model.leg import slot_of
from alpha.model.money import plain
from alpha.postgres.database import Connection, Pool
from alpha.postgres.fills import recompute_pending
from alpha.postgres.sql import queries

SQL = queries(__file__)

log = logger(__name__)

_TRADED = sorted(SIZE_CHANGING - {CORPORATE_ACTION})


class CorporateActions:
    """Records the adjustments of one account."""

    def __init__(self, account: Account, gateway: Gateway, pool: Pool, alerts: AlertBatcher) -> None:
        self._account = account
        self._gateway = gateway
        self._pool = pool
        self._alerts = alerts
        #: Actions in which nothing was held.
        self._without_position: set[str] = set()

    async def settle(self) -> None:
        """Record what is pending and can be told by now. Raises the gateway's passing errors and asyncpg's."""
        try:
            async with self._pool.acquire(timeout=5.0) as connection:
                pending = await connection.fetch(SQL["pending"], self._account.id, sorted(self._without_position))
        except asyncpg.UndefinedTableError:
            return
        for row in pending:
            await self._adjust(row)

    async def _adjust(self, row: Any) -> None:
        slot = slot_of(row["symbol"], row["leg"])
        try:
            positions = await self._gateway.positions(row["symbol"])
        except (Refused, UnreadableRow) as fault:
            log.warning("adjustment_waits", slot=slot, why=str(fault)[:300])
            return
        position = next((each for each in positions if each.slot == slot), None)
        if position is None or position.seq < row["seq"]:
            log.info("adjustment_waits", slot=slot, why="the exchange's position does not include the action yet")
            return
        async with self._pool.acquire(timeout=5.0) as connection:
            size = position.signed_size - await self._traded_since(connection, row, position.seq)
            if not size:
                self._without_position.add(row["exec_id"])
                return
            price = position.entry_price or row["price"]
            values = (row["symbol"], row["exec_id"], size > 0, abs(size), price)
            if await connection.fetchval(SQL["add"], self._account.id, *values):
                await recompute_pending(connection)
                known = await connection.fetchval(SQL["qty_before"], self._account.id, row["symbol"], row["exec_id"])
                self._tell(row, known, size, price)

    async def _traded_since(self, connection: Connection, row: Any, until_seq: int) -> Decimal:
        found: Decimal = await connection.fetchval(
            SQL["traded_since"],
            *(self._account.id, row["symbol"], row["leg"], _TRADED, row["exec_time"], row["seq"], until_seq),
        )
        return found

    def _tell(self, row: Any, before: Decimal | None, size: Decimal, price: Decimal) -> None:
        bot, symbol = self._account.bot_id, row["symbol"]
        held = "nothing known" if before is None else plain(before)
        text = (
            f"{symbol} had a corporate action (a split): {bot} held {held} and holds {plain(abs(size))} at {plain(price)} "
            "now, as the exchange states it. The round trip continues with the same cost."
        )

        def alert(count: int, about: list[str]) -> Alert:
            remedy = f"Its open orders were cancelled by the exchange: check the stop of {symbol}."
            return Alert(Level.WARNING, f"corporate_action:{bot}:{symbol}", text, remedy, bot)

        self._alerts.note(f"corporate_action:{bot}:{symbol}", alert)
