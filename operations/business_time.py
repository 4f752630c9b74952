"""Business time for the operator's tools: the newest timestamp that the exchange has sent."""

from datetime import datetime

from alpha.live_state import keys
from alpha.live_state.connect import REDIS_UNAVAILABLE
from alpha.model.timestamp import at
from alpha.postgres.sql import queries
from alpha.registry import Bot
from operations.context import Operations

SQL = queries(__file__)


async def business_now(platform: Operations, bot: Bot | None = None) -> datetime:
    """Return the newest exchange time of these bots: from their markets and wallets, else from their last fill.

    If the exchange has never sent anything, the wall clock: there is then no history to misread.
    """
    heard: int = 0
    try:
        for each in platform.bots(bot):
            database = platform.live.of(each)
            symbols = await database.smembers(keys.symbols(each.id))
            stamps = [await database.hget(keys.wallet(each.id), "updated_at")]
            stamps += [await platform.live.shared.hget(keys.market(symbol), "updated_at") for symbol in symbols]
            heard = max(heard, *(int(stamp or 0) for stamp in stamps))
    except REDIS_UNAVAILABLE:
        heard = 0
    if heard:
        return at(heard)
    newest: datetime | None = None
    for each in platform.bots(bot):
        last = await platform.history.value(SQL["newest_fill"], each.id)
        newest = last if newest is None or (last is not None and last > newest) else newest
    return newest if newest is not None else platform.wall_now()
