"""Orders that carry this bot's tag and that it did not send: somebody trades with its key and its ids.

The listener's events show them at once. They are hints: the listener may have been away, or events may have been trimmed.
So the exchange's own lists are read on a beat, and at once where events may have been missed.
"""

from collections.abc import Mapping

from alpha.bybit.gateway import Gateway
from alpha.bybit.throttle import Rank
from alpha.clock import monotonic_ms
from alpha.logs import logger
from alpha.order_link import parse_order_link_id
from alpha.registry import Bot
from alpha.runtime.journal import Journal

log = logger(__name__)
LOOK_MS = 10_000
#: The history of orders may lag behind; so far back in business time it is read again.
_OVERLAP_MS = 30_000


class Intruders:
    """Watches the orders of one account."""

    def __init__(self, bot: Bot, journal: Journal, gateway: Gateway, since_ms: int) -> None:
        """Orders made before `since_ms` (business time) belong to earlier processes."""
        self._bot = bot
        self._journal = journal
        self._gateway = gateway
        self._since_ms = since_ms
        self._read_to_ms = since_ms
        self._looked_ms: int | None = None

    async def see(self, row: Mapping[str, object]) -> None:
        """One order as the exchange sent it."""
        created_ms = int(str(row.get("createdTime") or 0))
        await self._judge(str(row.get("orderLinkId") or ""), str(row.get("symbol")), created_ms)

    def doubt(self) -> None:
        """Events may have been missed: the next `look` asks the exchange."""
        self._looked_ms = None

    async def look(self, now_ms: int) -> None:
        """Read the exchange's lists when that is due. `now_ms` is business time. Retry when they cannot be read."""
        wall_ms = monotonic_ms()
        if self._looked_ms is not None and wall_ms - self._looked_ms < LOOK_MS:
            return
        orders = await self._gateway.open_orders(rank=Rank.RECONCILE)
        begin_ms = max(self._since_ms, self._read_to_ms - _OVERLAP_MS)
        async for page in self._gateway.order_history(begin_ms, now_ms + 1, rank=Rank.RECONCILE):
            orders += page.rows
        for order in orders:
            await self._judge(order.order_link_id, order.symbol, order.created_ms)
        self._read_to_ms, self._looked_ms = now_ms, wall_ms

    async def _judge(self, link_id: str, symbol: str, created_ms: int) -> None:
        """An order of our tag that this process does not know pauses the bot."""
        link = parse_order_link_id(link_id)
        if link is None or link.tag != self._bot.tag or self._journal.has_sent(link_id):
            return
        if created_ms < self._since_ms or self._journal.runtime.paused:
            return
        await self._journal.pause(
            f"an order with its tag that it did not send ({link_id}, {symbol})",
            "Look for a second instance with the same key, then /resume the bot.",
        )
