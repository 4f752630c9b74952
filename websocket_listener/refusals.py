"""What the exchange refuses or garbles of one symbol is that symbol's: the rest of the account goes on, the operator hears.

A symbol that was delivered is refused from then on: that is known from the stored fills, and no news.
"""

from collections.abc import Iterable

from alpha.alert_batcher import AlertBatcher
from alpha.alerts import Alert, Level
from alpha.model.account import Account
from alpha.postgres.database import Pool
from websocket_listener.store import delivered_symbols


class Refusals:
    """Tells the operator, in groups, what of one account the exchange does not answer."""

    def __init__(self, account: Account, pool: Pool, alerts: AlertBatcher) -> None:
        self._account = account
        self._pool = pool
        self._alerts = alerts

    async def delivered(self, symbols: Iterable[str]) -> set[str]:
        """Those of these symbols whose last stored fill is a delivery or settlement. Raises asyncpg's errors."""
        async with self._pool.acquire(timeout=5.0) as connection:
            return await delivered_symbols(connection, self._account.id, list(symbols))

    def symbol(self, symbol: str, what: str) -> None:
        """The exchange does not answer for this symbol; `what` says what is taken instead, and its words."""
        bot = self._account.bot_id

        def alert(count: int, about: list[str]) -> Alert:
            text = f"The exchange gives no answer for {', '.join(about)} of {bot}; the last: {what[:400]}"
            remedy = f"Compare {', '.join(about)} with the exchange. Everything else of {bot} is recorded as usual."
            return Alert(Level.WARNING, f"symbol:{bot}", text, remedy, bot)

        self._alerts.note(f"symbol:{bot}", alert, about=[symbol])

    def audit(self, why: str) -> None:
        """Audits of this account fail again and again, for a reason that does not pass by itself."""
        bot = self._account.bot_id

        def alert(count: int, about: list[str]) -> Alert:
            text = f"The account of {bot} cannot be compared with the exchange, so its live state is stale: {why}"
            return Alert(Level.WARNING, f"audit:{bot}", text, "Look at the listener's log.", bot)

        self._alerts.note(f"audit:{bot}", alert)


def refused_key(bot: str, why: str) -> Alert:
    """The exchange does not accept this bot's key, or its account is another bot's."""
    return Alert(Level.CRITICAL, f"key:{bot}", why, "Look at this bot's key.", bot, lasting=True)
