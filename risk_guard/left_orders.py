"""What a lost bot left resting: cancelled once nobody can hold its account's lease and nothing of it can still arrive.

A resting entry carries its stop, so it endangers nothing at once; but with nobody there to manage what it opens, it must
not open anything. A successor that takes the lease in time looks after it instead.
"""

from alpha.alerts import Alert, Alerts, Level
from alpha.bybit.rate_limiter import Priority
from alpha.clock import wall_ms
from alpha.lease import CLOCK_ERROR_MS, MOST_WINDOW_MS, STAMP_AHEAD_MS
from alpha.logs import logger
from alpha.model.order import Order
from alpha.model.order_link import parse_order_link_id
from alpha.postgres.sql import queries
from risk_guard.account import GuardedAccount
from risk_guard.store import GuardStore

SQL = queries(__file__)

log = logger(__name__)
#: After a lease has expired: until then what its holder signed may still be accepted, in seconds.
ARRIVING_S = (MOST_WINDOW_MS + STAMP_AHEAD_MS + CLOCK_ERROR_MS) / 1000


class LeftOrders:
    """Looks after one account."""

    def __init__(self, account: GuardedAccount, store: GuardStore, alerts: Alerts) -> None:
        self.cancelled = 0
        self._account = account
        self._store = store
        self._alerts = alerts

    async def clear(self) -> None:
        """Cancel the bot's resting entries when it is lost. Raises the gateway's and the store's errors."""
        account = self._account
        if account.observe or account.id is None:
            return
        rows = await self._store.rows(SQL["is_lost"], account.id, ARRIVING_S)
        if not rows or not rows[0]["lost"]:
            return
        left = [order for order in await account.gateway.open_orders(rank=Priority.STOP) if self._is_entry(order)]
        gone = [order for order in left if await account.gateway.cancel(order.symbol, order_id=order.order_id)]
        if not gone:
            return
        self.cancelled += len(gone)
        bot, symbols = account.bot, ", ".join(sorted({order.symbol for order in gone}))
        log.warning("left_orders_cancelled", bot=bot.id, links=[order.order_link_id for order in gone])
        entries = "1 resting entry" if len(gone) == 1 else f"{len(gone)} resting entries"
        text = f"{bot.name} is gone, and nobody looked after {entries} of it in {symbols}: cancelled."
        alert = Alert(
            Level.WARNING, f"guard:{bot.id}:left_orders", text, f"/logs {bot.container}, then /start.", bot.id
        )
        await self._alerts.raise_alert(alert, wall_ms())

    def _is_entry(self, order: Order) -> bool:
        link = parse_order_link_id(order.order_link_id)
        return link is not None and link.tag == self._account.bot.tag and not order.reduce_only
