"""Orders that carry this bot's tag and that it did not send: somebody trades with its key and its ids."""

from collections.abc import Mapping

from alpha.logs import logger
from alpha.order_link import parse_order_link_id
from alpha.registry import Bot
from alpha.runtime.journal import Journal

log = logger(__name__)


class Intruders:
    """Watches the order events of one account."""

    def __init__(self, bot: Bot, journal: Journal, since_ms: int) -> None:
        """Orders made before `since_ms` (business time) belong to earlier processes."""
        self._bot = bot
        self._journal = journal
        self._since_ms = since_ms

    async def see(self, row: Mapping[str, object]) -> None:
        """One order as the exchange sent it. An unknown one of our tag pauses the bot."""
        link_id = str(row.get("orderLinkId") or "")
        link = parse_order_link_id(link_id)
        if link is None or link.tag != self._bot.tag or link_id in self._journal.runtime.sent:
            return
        if int(str(row.get("createdTime") or 0)) < self._since_ms or self._journal.runtime.paused:
            return
        await self._journal.pause(
            f"an order with its tag that it did not send ({link_id}, {row.get('symbol')})",
            "Look for a second instance with the same key, then /resume the bot.",
        )
