"""Orders that carry this bot's tag and that it did not send: somebody trades with its key and its ids.

The listener's events show them at once. They are hints: the listener may have been away, or events may have been trimmed.
So the exchange's own lists are read on a beat, and at once where events may have been missed; in a task of its own, so
that no exit waits for it.
"""

import asyncio
from collections.abc import Mapping

from alpha.bybit.client import Gateway
from alpha.bybit.rate_limiter import Priority
from alpha.clock import BusinessClock, is_set_within
from alpha.errors import Rejected, Retry
from alpha.logs import logger
from alpha.model.order import Order
from alpha.model.order_link import parse_order_link_id
from alpha.registry import Bot
from bot_runner.state_persistence import StatePersistence

log = logger(__name__)
#: The history of orders may lag behind; so far back in business time it is read again.
_OVERLAP_MS = 30_000


class ForeignOrders:
    """Watches the orders of one account. Those made before it began, or while those of an earlier holder of the lease may
    still arrive, belong to earlier processes.
    """

    def __init__(
        self, bot: Bot, journal: StatePersistence, gateway: Gateway, clock: BusinessClock, beat_s: float
    ) -> None:
        self._bot = bot
        self._journal = journal
        self._gateway = gateway
        self._clock = clock
        self._beat_s = beat_s
        self._since_ms = self._read_to_ms = clock.now_ms()
        self._found: list[Order] = []
        self._told: set[str] = set()
        self._doubted = asyncio.Event()

    def doubt(self) -> None:
        """Events may have been missed: the exchange is asked now."""
        self._doubted.set()

    async def watch(self) -> None:
        """Read the exchange's lists on a beat until cancelled; `judge` looks at what they held."""
        while True:
            self._doubted.clear()
            try:
                await self._read()
            except (Retry, Rejected) as fault:
                log.warning("orders_not_read", why=str(fault))
            await is_set_within(self._doubted, self._beat_s)

    async def see(self, row: Mapping[str, object]) -> None:
        """One order of an event, as the exchange sent it."""
        created_ms = int(str(row.get("createdTime") or 0))
        await self._look_at(str(row.get("orderLinkId") or ""), str(row.get("symbol")), created_ms)

    async def judge(self) -> None:
        """Look at the orders that were read. Called by the task that trades, which also saves."""
        found, self._found = self._found, []
        for order in found:
            await self._look_at(order.order_link_id, order.symbol, order.created_ms)

    async def _read(self) -> None:
        now_ms = self._clock.now_ms()
        orders = await self._gateway.open_orders(rank=Priority.RECONCILE)
        begin_ms = max(self._since_ms, self._read_to_ms - _OVERLAP_MS)
        async for page in self._gateway.order_history(begin_ms, now_ms + 1, rank=Priority.RECONCILE):
            orders += page.rows
        self._found += orders
        self._read_to_ms = now_ms

    async def _look_at(self, link_id: str, symbol: str, created_ms: int) -> None:
        """An order of our tag that this process does not know pauses the bot."""
        link = parse_order_link_id(link_id)
        if link is None or link.tag != self._bot.tag or self._journal.has_sent(link_id):
            return
        if created_ms < self._since_ms or link_id in self._told or self._journal.runtime.paused:
            return
        self._told.add(link_id)
        if self._journal.lease.settles_in_ms:
            log.warning("order_of_an_earlier_holder", link_id=link_id, symbol=symbol)
            return
        await self._journal.pause(
            f"an order with its tag that it did not send ({link_id}, {symbol})",
            "Look for a second instance with the same key, then /resume the bot.",
        )
