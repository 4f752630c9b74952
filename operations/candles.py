"""Candles of live state for charts, joined to the interval that is asked for."""

import asyncio
from collections.abc import Iterable

from alpha.live_state import keys
from alpha.live_state.read import Candle, read_candles, read_intervals
from operations.context import Operations

#: Interval to minutes, in the order of the choice.
INTERVALS = {"1": 1, "5": 5, "15": 15, "60": 60, "240": 240, "D": 1440}
#: (second since 1970 UTC, open, high, low, close, volume)
Row = tuple[int, float, float, float, float, float]


async def intervals(platform: Operations) -> list[str]:
    """Return the intervals of INTERVALS that can be made of those which bots follow."""
    kept: set[str] = set()
    bots = platform.registry.bots
    for found in await asyncio.gather(*(read_intervals(platform.live.of(bot), bot.id) for bot in bots)):
        kept |= found
    bases = [INTERVALS[each] for each in kept if each in INTERVALS]
    return [name for name, minutes in INTERVALS.items() if any(minutes % base == 0 for base in bases)]


async def candles_of(platform: Operations, symbol: str, minutes: int, last: int = keys.CANDLES_KEPT) -> list[Row]:
    """Candles of `minutes`, joined from the longest base interval at hand that divides it; at most about `last`."""
    for base in sorted((each for each in INTERVALS.values() if minutes % each == 0), reverse=True):
        name = "D" if base == 1440 else str(base)
        wanted = min(keys.CANDLES_KEPT, last * (minutes // base))
        found = await read_candles(platform.live.shared, symbol, name, wanted)
        if found:
            return joined(found, minutes)
    return []


def joined(rows: Iterable[Candle], minutes: int) -> list[Row]:
    """Join candles into longer ones at multiples of `minutes` since 1970 UTC."""
    made: list[Row] = []
    for row in rows:
        start = row.start_ms // 60_000 // minutes * minutes * 60
        o, h, low, c, v = float(row.open), float(row.high), float(row.low), float(row.close), float(row.volume)
        if made and made[-1][0] == start:
            _, first, high, lowest, _, volume = made[-1]
            made[-1] = (start, first, max(high, h), min(lowest, low), c, volume + v)
        elif not made or start > made[-1][0]:
            made.append((start, o, h, low, c, v))
    return made
