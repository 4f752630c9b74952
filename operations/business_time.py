"""Business time for the operator's tools: the newest timestamp that the exchange has sent."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

from alpha.live_state import keys
from alpha.live_state.connect import REDIS_UNAVAILABLE
from alpha.live_state.read import once, read_heard
from alpha.model.timestamp import at
from alpha.postgres.sql import queries
from alpha.registry import Bot
from operations.context import Operations

SQL = queries(__file__)


async def business_now(platform: Operations, bot: Bot | None = None) -> datetime:
    """Return the newest exchange time of these bots: from their markets and wallets, else from their last fill.

    If the exchange has never sent anything, the wall clock: there is then no history to misread.
    """
    return await once("business time", "" if bot is None else bot.id, lambda: _business_now(platform, bot))


async def _business_now(platform: Operations, bot: Bot | None) -> datetime:
    try:
        heard = await _heard(platform, platform.bots(bot))
    except REDIS_UNAVAILABLE:
        heard = 0
    if heard:
        return at(heard)
    newest: datetime | None = await platform.history.value(SQL["newest_fill"], [each.id for each in platform.bots(bot)])
    return newest if newest is not None else platform.wall_now()


async def _heard(platform: Operations, bots: Sequence[Bot]) -> int:
    """The newest time, in milliseconds, that the exchange has sent to these bots or with their markets; 0 for none."""

    found = await asyncio.gather(*(read_heard(platform.live.of(bot), bot.id) for bot in bots))
    stamps: list[str | int | None] = [stamp for _, stamp in found]
    if symbols := set[str]().union(*(each for each, _ in found)):
        async with platform.live.shared.pipeline(transaction=False) as pipe:
            for symbol in symbols:
                pipe.hget(keys.market(symbol), "updated_at")
            stamps += await pipe.execute()
    return max((int(stamp or 0) for stamp in stamps), default=0)
