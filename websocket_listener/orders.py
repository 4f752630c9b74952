"""Orders over REST after a gap: what became of those we hold as open, and those that came and went unseen."""

import time

from alpha.bybit.client import Gateway
from alpha.bybit.errors import Refused, UnreadableRow
from alpha.logs import logger
from alpha.model.timestamp import at
from alpha.postgres.database import Pool
from alpha.postgres.sql import queries
from websocket_listener.dispatcher import Dispatcher
from websocket_listener.postgres_writer import PostgresWriter
from websocket_listener.store import open_orders_stored

SQL = queries(__file__)

log = logger(__name__)

#: Bybit keeps the history of orders that were never filled for a day; further back only fills matter.
_MOST_BACK_MS = 24 * 3_600_000
#: So many orders are looked up one by one in one audit; the rest in the next.
_MOST_LOOKUPS = 50
_BUFFER_WAIT_S = 5.0


class OrderHistory:
    """Brings `trading.orders` up to date with the exchange."""

    def __init__(self, feed: Dispatcher, gateway: Gateway, pool: Pool, database: PostgresWriter) -> None:
        self._feed = feed
        self._database = database
        self._gateway = gateway
        self._pool = pool

    async def read(self, since_ms: int, listed: set[str]) -> bool:
        """Store the orders that changed since `since_ms`; `listed` are the ids the exchange lists as open now.

        False when there are more to look up than one audit may ask for, or when states from before still wait in the buffer.
        """
        now_ms = await self._gateway.server_time_ms()
        async for page in self._gateway.order_history(max(since_ms, now_ms - _MOST_BACK_MS), now_ms):
            for order in sorted(page.rows, key=lambda row: row.updated_ms):
                self._feed.take_order(order, known_before=True)
        return await self._close_stored(listed)

    async def _close_stored(self, listed: set[str]) -> bool:
        # an order whose opening still waits in the buffer, and whose end was dropped, would be open for ever
        settled = await self._database.stored_until(time.monotonic(), _BUFFER_WAIT_S)
        async with self._pool.acquire(timeout=5.0) as connection:
            stored = await open_orders_stored(connection, self._feed.account.id)
        gone = [(order_id, row) for order_id, row in stored.items() if order_id not in listed]
        for order_id, (symbol, known_ms) in gone[:_MOST_LOOKUPS]:
            if self._feed.holds_open(order_id):
                continue
            try:
                order = await self._gateway.order_by_id(symbol, order_id)
            except UnreadableRow as fault:
                log.warning("order_unreadable", order=order_id, why=str(fault)[:300])
                continue
            except Refused as fault:
                # a symbol that was delivered, or that a spoiled message named: the exchange lists no such order as open
                log.warning("order_refused", order=order_id, symbol=symbol, why=str(fault)[:300])
                order = None
            if order is None:
                log.info("order_forgotten", order=order_id, last_known=at(known_ms).isoformat())
                await self._forget(order_id)
            elif not order.is_open:
                self._feed.store_order(order)
        return settled and len(gone) <= _MOST_LOOKUPS

    async def _forget(self, order_id: str) -> None:
        """The exchange keeps unfilled orders for a day only: one it does not know any more was cancelled."""
        async with self._pool.acquire(timeout=5.0) as connection:
            await connection.execute(
                SQL["forget"],
                self._feed.account.id,
                order_id,
            )
