"""A symbol's chart: its candles with the entries, stop and target of what is held in it."""

from dataclasses import dataclass
from datetime import datetime, tzinfo
from decimal import Decimal

from alpha.errors import AlphaError, Rejected
from alpha.model.timestamp import at
from alpha.registry import Bot
from operations import search
from operations.business_time import business_now
from operations.candles import INTERVALS, candles_of, intervals
from operations.context import Operations, redis_faults
from operations.formatting import number
from operations.page import Block, Candles, Cell, Facts, Page, Tone, Words
from operations.periods import Period
from operations.positions import PositionRow, positions
from operations.search import Filter

#: A phone shows no more candles than this apart.
CANDLES = 120
_FILLS = 200


@dataclass(frozen=True, slots=True)
class SymbolChart:
    """Candles of `symbol` (second, open, high, low, close), oldest first, what is held in it, and fills meanwhile.

    `fills` are (second, price, whether bought); `fault` says why they are missing.
    """

    symbol: str
    interval: str
    candles: list[tuple[int, float, float, float, float]]
    held: list[PositionRow]
    fills: list[tuple[int, float, bool]]
    fault: str = ""


async def chart(platform: Operations, bot: Bot | None, symbol: str | None, interval: str | None) -> SymbolChart | None:
    """The chart of `symbol`, else of the first open position; None if neither is there.

    Without an interval it is the shortest that shows an open position from its entry on. Retry while Redis is away.
    """
    if interval is not None and interval not in INTERVALS:
        raise Rejected(f"The interval must be one of {', '.join(INTERVALS)}, got {interval!r}.")
    held = await positions(platform, bot)
    if symbol is None:
        if not held:
            return None
        symbol = held[0].symbol
    held = [row for row in held if row.symbol == symbol]
    now = await business_now(platform)
    async with redis_faults(platform.live):
        name = interval or _fitting(await intervals(platform) or list(INTERVALS), held, now)
        rows = (await candles_of(platform, symbol, INTERVALS[name], CANDLES))[-CANDLES:]
    fills: list[tuple[int, float, bool]] = []
    fault = ""
    if rows:
        end = at((rows[-1][0] + INTERVALS[name] * 60) * 1000)
        shown = Period(at(rows[0][0] * 1000), max(end, now), name)
        try:
            found = await search.fills(platform, Filter(bot, shown, symbol, limit=_FILLS))
        except AlphaError as away:
            fault = str(away)
        else:
            fills = [
                (int(row.time.timestamp()), float(row.price), row.side == "buy")
                for row in reversed(found.rows)
                if row.exec_type != "Funding"
            ]
    return SymbolChart(symbol, name, [row[:5] for row in rows], held, fills, fault)


def _fitting(offered: list[str], held: list[PositionRow], now: datetime) -> str:
    """The shortest offered interval of which CANDLES reach back to the oldest entry, else the longest."""
    opened = [row.opened_at for row in held if row.opened_at is not None]
    minutes = (now - min(opened)).total_seconds() / 60 if opened else 0.0
    return next((name for name in offered if INTERVALS[name] * CANDLES * 0.9 >= minutes), offered[-1])


def chart_page(seen: SymbolChart | None, zone: tzinfo) -> Page:
    """The levels of each position in words, with the picture."""
    if seen is None:
        return Page("Chart", [Words("No position is open. Name a symbol: /chart BTCUSDT.", Tone.DIM)])
    title = f"Chart {seen.symbol}"
    blocks: list[Block] = [_levels_in_words(row) for row in seen.held]
    if not seen.held:
        blocks.append(Words(f"No position is open in {seen.symbol}.", Tone.DIM))
    if seen.fault:
        blocks.append(Words(f"Entries are missing in the picture: {seen.fault}", Tone.WARN))
    if len(seen.candles) < 2:
        blocks.append(Words(f"Redis has no candles of {seen.symbol}: no bot follows it, or the listener is starting."))
        return Page(title, blocks, seen)
    levels = [(kind, float(price)) for row in seen.held for kind, price in _levels(row) if price]
    picture = Candles(seen.symbol, seen.interval, INTERVALS[seen.interval] * 60, seen.candles, levels, seen.fills, zone)
    return Page(title, blocks, seen, picture)


def _levels(row: PositionRow) -> tuple[tuple[str, Decimal | None], ...]:
    return (
        ("entry", row.entry_price),
        ("stop", row.stop_loss),
        ("target", row.take_profit),
        ("liq", row.liq_price),
    )


def _levels_in_words(row: PositionRow) -> Facts:
    missing = {"stop": Cell("none", Tone.BAD)}
    rows = [("market", number(row.mark_price))]
    rows += [
        (kind, number(price) if price else missing.get(kind, Cell("none", Tone.DIM))) for kind, price in _levels(row)
    ]
    return Facts(rows, f"{row.bot} {row.direction} {number(row.size).text}")
