"""Finds out over PostgreSQL and REST what `Legs` does not know, and stores what it found out later."""

from collections import OrderedDict
from collections.abc import Iterable

import asyncpg

from alpha.bybit.client import Gateway
from alpha.bybit.errors import Refused, UnreadableRow
from alpha.bybit.rate_limiter import Priority
from alpha.logs import logger
from alpha.model.account import Account
from alpha.model.execution import Execution
from alpha.model.leg import LONG, SHORT
from alpha.model.side import BUY
from alpha.postgres.database import Pool
from alpha.postgres.fills import recompute_pending
from alpha.postgres.sql import queries
from websocket_listener.legs import LINEAR, LegIssue, Legs

SQL = queries(__file__)

log = logger(__name__)

#: Orders whose executions say their leg themselves are looked up for confirmation: so many per read, and the rest by
#: as many per audit, so that a long history is neither delayed nor left unconfirmed.
_MOST_CONFIRMED = 50
_UNCONFIRMED_KEPT = 20_000
#: Of a symbol that was switched, each order must be asked for.
_MOST_LOOKED_UP = 2_000


def once_hedged(rows: Iterable[Execution]) -> set[str]:
    """The symbols of these executions, oldest first, that cannot have been in one-way mode all the time.

    There, what opens a short while a long is held closes the long first: two executions that only open, of opposite sides,
    with nothing closed between them, are two legs.
    """
    opened: dict[str, str] = {}
    found = set()
    for row in rows:
        if not row.changes_size or row.closed_size is None:
            continue
        if row.closed_size:
            opened.pop(row.symbol, None)
        elif opened.setdefault(row.symbol, row.side) != row.side:
            found.add(row.symbol)
    return found


class LegKeeper:
    """The legs of one account's executions, with what must be asked for."""

    def __init__(self, legs: Legs, account: Account, gateway: Gateway, pool: Pool) -> None:
        self._legs = legs
        self._account = account
        self._gateway = gateway
        self._pool = pool
        #: Symbols in one-way mode now whose executions show that they were in hedge mode.
        self._once_hedged: set[str] = set()
        #: Orders that wait for confirmation, oldest first: order id to symbol.
        self._unconfirmed: OrderedDict[str, str] = OrderedDict()

    async def legs_of(self, rows: Iterable[Execution]) -> list[str]:
        """The leg of each of these executions, in their order. Raises the gateway's and asyncpg's errors."""
        found = list(rows)
        linear = [row for row in found if row.category == LINEAR]
        for symbol in sorted({row.symbol for row in linear} - self._legs.hedged.keys()):
            await self._read_mode(symbol)
        await self._read_orders([row for row in linear if self._legs.hedged[row.symbol]], _MOST_CONFIRMED)
        self._once_hedged |= once_hedged(row for row in linear if not self._legs.hedged[row.symbol])
        await self._read_orders([row for row in linear if row.symbol in self._once_hedged], _MOST_LOOKED_UP)
        return [self._leg(row) for row in found]

    async def settle(self) -> None:
        """Confirm some more orders, correct the executions whose order says another leg than was stored, enter the issues.

        Raises the gateway's and asyncpg's errors.
        """
        for order_id in list(self._unconfirmed)[:_MOST_CONFIRMED]:
            symbol = self._unconfirmed[order_id]
            if not self._legs.knows_order(order_id):
                await self._ask(symbol, order_id, Priority.BACKFILL)
            del self._unconfirmed[order_id]
        if not self._legs.issues:
            return
        async with self._pool.acquire(timeout=5.0) as connection:
            while self._legs.issues:
                issue = self._legs.issues[0]
                try:
                    await connection.execute(SQL["correct"], self._account.id, *_values(issue))
                except asyncpg.UndefinedFunctionError:
                    log.warning("leg_not_corrected", why="the database waits for its migration")
                    return
                self._legs.issues.remove(issue)
            await recompute_pending(connection)

    async def _read_mode(self, symbol: str) -> None:
        """One-way or hedge mode, from the symbol's position: it is listed even when flat."""
        try:
            rows = await self._gateway.positions(symbol)
        except (Refused, UnreadableRow) as fault:
            log.info("mode_not_told", symbol=symbol, why=str(fault)[:200])
            rows = []
        for row in rows:
            self._legs.position(row)
        # a delisted symbol has no position any more; what was traded in it counts as one-way
        self._legs.hedged.setdefault(symbol, False)

    async def _read_orders(self, rows: list[Execution], most: int) -> None:
        unknown = (row for row in rows if row.order_id and not self._legs.knows_order(row.order_id))
        missing = {row.order_id: row for row in unknown if row.changes_size}
        if not missing:
            return
        async with self._pool.acquire(timeout=5.0) as connection:
            for stored in await connection.fetch(SQL["legs"], self._account.id, list(missing)):
                self._legs.order_is(stored["order_id"], stored["leg"])
                del missing[stored["order_id"]]
        confirmed = 0
        for order_id, row in missing.items():
            if row.closed_size is not None:
                confirmed += 1
                if confirmed > most:
                    self._unconfirmed[order_id] = row.symbol
                    if len(self._unconfirmed) > _UNCONFIRMED_KEPT:
                        self._unconfirmed.popitem(last=False)
                    continue
            await self._ask(row.symbol, order_id, Priority.RECONCILE)

    async def _ask(self, symbol: str, order_id: str, rank: Priority) -> None:
        """Learn an order's leg from the exchange, which may no longer know the order."""
        try:
            order = await self._gateway.order_by_id(symbol, order_id, rank=rank)
        except (Refused, UnreadableRow) as fault:
            log.info("order_not_told", order=order_id, symbol=symbol, why=str(fault)[:200])
            return
        if order is not None:
            self._legs.order_is(order_id, order.leg)

    def _leg(self, row: Execution) -> str:
        leg = self._legs.of(row)
        if leg is not None:
            return leg
        # hedge mode, an order that the exchange no longer knows, and no closedSize: most executions open
        log.warning("leg_not_told", symbol=row.symbol, exec_id=row.exec_id)
        return LONG if row.side == BUY else SHORT


def _values(issue: LegIssue) -> tuple[str, str, str, str, str]:
    return issue.symbol, issue.exec_id, issue.order_id, issue.by_order, issue.by_fields
