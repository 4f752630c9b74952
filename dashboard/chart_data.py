"""What the charts draw, as JSON: candles with trades, levels and indicators, equity of all bots and of each, with drawdown.

Times are whole seconds since 1970 UTC, prices and amounts floats: charts need no exact amounts.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from alpha.errors import AlphaError, Rejected
from alpha.live_state import keys
from alpha.live_state.read import BarIndicators, read_indicators, read_symbols
from alpha.model.coin import USDT
from alpha.model.reason import Reason
from alpha.model.timestamp import ms_of
from alpha.registry import Bot
from dashboard.asked import Asked
from operations import analytics, history, positions, search
from operations.analytics import EquityPoint, TripRow
from operations.business_time import business_now
from operations.candles import INTERVALS, Row, candles_of, intervals
from operations.context import Operations, redis_faults
from operations.formatting import number, span, usdt
from operations.history import FillRow
from operations.pages import short
from operations.periods import Period
from operations.search import Filter, Rows
from operations.trade import stop_levels

_SYMBOL = re.compile("[A-Z0-9]{2,20}")
_TRADES = 400
#: Newest fills, of all bots together, whose symbols are offered first.
_LAST_FILLS = 600
#: So many indicators are drawn in one chart.
_INDICATORS = 24
#: The indicators of so many bots are read at once, until there are enough.
_READ_AT_ONCE = 8
#: So many symbols are named to somebody who asks for one that is none.
_NAMED = 12
Json = dict[str, object]


def read_symbol(text: str) -> str:
    """The symbol of an address, in capitals. Rejected if it cannot be one."""
    symbol = text.upper()
    if not _SYMBOL.fullmatch(symbol):
        raise Rejected(
            f"{text[:40]!r} is no symbol. Symbols are written like BTCUSDT; /chart lists those that there are."
        )
    return symbol


async def symbols(platform: Operations) -> list[str]:
    """Return all symbols that bots follow or recently traded, the last traded first."""
    followed: set[str] = set()
    bots = platform.registry.bots
    async with redis_faults(platform.live):
        for found in await asyncio.gather(*(read_symbols(platform.live.of(bot), bot.id) for bot in bots)):
            followed |= found
    try:
        # so many of each bot are looked at
        count = max(20, _LAST_FILLS // len(bots))
        traded = list(dict.fromkeys(row.symbol for row in await history.fills(platform, None, count)))
    except AlphaError:
        traded = []
    return [*traded, *sorted(followed - set(traded))]


async def require_symbol(platform: Operations, symbol: str) -> None:
    """Rejected for a symbol that no bot follows, that has no candles and that was never traded."""
    known = await symbols(platform)
    async with redis_faults(platform.live):
        has_candles = symbol in known or bool(await candles_of(platform, symbol, INTERVALS["D"], 1))
    if has_candles:
        return
    if (await search.fills(platform, Filter(None, None, symbol, limit=1))).rows:
        return
    offered = f"Symbols: {', '.join(sorted(known)[:_NAMED])}" if known else "No bot follows a symbol yet"
    raise Rejected(f"There is no symbol {symbol!r} here: no bot follows it or traded it. {offered}.")


async def candles(platform: Operations, symbol: str, asked: Asked, trip: TripRow | None = None) -> Json:
    """Return candles of one symbol with the trades in them and the levels of open positions; of one trade's life if given."""
    async with redis_faults(platform.live):
        offered = await intervals(platform)
    interval = asked.interval or (offered[0] if offered else "5")
    now = await business_now(platform)
    if trip is None:
        start, end = asked.period(now).start, now
    else:
        margin = max(trip.held / 2, (trip.closed_at - trip.opened_at) / 2)
        start, end = trip.opened_at - margin, trip.closed_at + margin
    minutes = INTERVALS[interval]
    bot = asked.bot if trip is None else platform.registry.find(trip.bot)
    # to the end of the millisecond: a period does not contain its end
    period = asked.period(now) if trip is None else Period(start, end + timedelta(milliseconds=1), "")
    rows, (closed, fills), levels, stops = await asyncio.gather(
        _candles(platform, symbol, minutes, start, now),
        _executed(platform, Filter(bot, period, symbol, limit=_TRADES), trip),
        _levels(platform, symbol, bot) if trip is None else _none(),
        _stops(platform, trip) if trip is not None else _none(),
    )
    if trip is None and not rows:
        await require_symbol(platform, symbol)
    shown = [row for row in rows if ms_of(start) - minutes * 60_000 <= row[0] * 1000 <= ms_of(end)]
    kept = [row for row in fills.rows if row.exec_type != "Funding" and start <= row.time <= end]
    return {
        "symbol": symbol,
        "interval": interval,
        "candles": [row[:5] for row in shown],
        "volume": [(row[0], row[5], row[4] >= row[1]) for row in shown],
        "marks": [_mark(row) for row in reversed(kept)],
        "trades": [_trade(row, platform) for row in closed],
        "levels": levels,
        "stops": stops,
        "indicators": await _indicators(platform, symbol, platform.bots(bot), shown, minutes * 60),
    }


async def _candles(platform: Operations, symbol: str, minutes: int, start: datetime, now: datetime) -> list[Row]:
    """At least the candles since `start`, as far as they are kept."""
    since = max(0, ms_of(now) - ms_of(start)) // (minutes * 60_000) + 2
    async with redis_faults(platform.live):
        return await candles_of(platform, symbol, minutes, min(since, keys.CANDLES_KEPT))


async def _executed(platform: Operations, asked: Filter, trip: TripRow | None) -> tuple[list[TripRow], Rows[FillRow]]:
    """The newest trades and the newest fills, `asked.limit` of each."""
    closed = [trip] if trip is not None else (await search.trips(platform, asked)).rows
    if trip is None and len(closed) == asked.limit and asked.period is not None:
        # each trade ended with a fill of its own, so the newest fills begin no earlier than these: years are not looked through
        asked = replace(asked, period=replace(asked.period, start=closed[-1].closed_at))
    return closed, await search.fills(platform, asked)


async def _none() -> list[Json]:
    """A trade that has ended has no levels; stops are followed over the life of one trade alone."""
    return []


def _mark(row: FillRow) -> Json:
    return {
        "time": ms_of(row.time) // 1000,
        "price": float(row.price),
        "buys": row.side == "buy",
        "text": f"{short(row.bot)} {row.side} {number(row.qty).text} at {number(row.price).text}, {row.reason}",
    }


def _trade(row: TripRow, platform: Operations) -> Json:
    won = usdt(row.net).text
    return {
        "id": row.trade_id,
        "from": [ms_of(row.opened_at) // 1000, float(row.entry_price)],
        "to": [ms_of(row.closed_at) // 1000, float(row.exit_price)],
        "won": row.net >= 0,
        "text": f"{short(row.bot)} {row.direction} {number(row.size).text}: {won} {row.coin} in {span(row.held).text}, {row.reason}",
    }


async def _levels(platform: Operations, symbol: str, bot: Bot | None) -> list[Json]:
    """Entry, stop, target and liquidation price of open positions in this symbol."""
    found: list[Json] = []
    for row in await positions.positions(platform, bot):
        if row.symbol != symbol:
            continue
        prices = (
            ("entry", row.entry_price),
            ("stop", row.stop_loss),
            ("target", row.take_profit),
            ("liq", row.liq_price),
        )
        found += [
            {"kind": kind, "price": float(price), "text": f"{short(row.bot)} {kind}"} for kind, price in prices if price
        ]
    return found


async def _stops(platform: Operations, trip: TripRow) -> list[Json]:
    """Each stop or target of a trade as it moved: points (second, price), the last at its end."""
    paths: dict[str, tuple[str, list[tuple[int, float]]]] = {}
    ends: dict[str, int] = {}
    opened = ms_of(trip.opened_at) // 1000
    for level in await stop_levels(platform, trip):
        kind = "target" if level.reason == Reason.TAKE_PROFIT else "stop"
        _, points = paths.setdefault(level.order_id, (kind, []))
        points.append((max(opened, ms_of(level.since) // 1000), float(level.trigger_price)))
        ends[level.order_id] = ms_of(level.until) // 1000
    return [
        {"kind": kind, "points": [*points, (max(ends[name], points[-1][0]), points[-1][1])]}
        for name, (kind, points) in paths.items()
    ]


async def _indicators(
    platform: Operations, symbol: str, bots: Sequence[Bot], shown: Sequence[Row], seconds: int
) -> list[Json]:
    """What each bot's strategy computed for this symbol, one value per candle: the last one known within it."""
    closes = {row[0]: row[4] for row in shown}
    found: list[Json] = []
    for first in range(0, len(bots), _READ_AT_ONCE):
        some = bots[first : first + _READ_AT_ONCE]
        async with redis_faults(platform.live):
            kept = await asyncio.gather(*(read_indicators(platform.live.of(bot), bot.id, symbol) for bot in some))
        for bot, rows in zip(some, kept, strict=True):
            found += _lines(bot, rows, closes, seconds)
        if len(found) >= _INDICATORS:
            break
    return found[:_INDICATORS]


def _lines(bot: Bot, rows: Sequence[BarIndicators], closes: Mapping[int, float], seconds: int) -> list[Json]:
    named: dict[str, dict[int, float]] = {}
    for row in rows:
        start = row.start_ms // 1000 // seconds * seconds
        if start in closes:
            for name, value in row.values.items():
                named.setdefault(name, {})[start] = value
    return [
        {"name": name, "bot": short(bot.id), "points": list(points.items()), "on_price": _on_price(points, closes)}
        for name, points in named.items()
    ]


def _on_price(points: Mapping[int, float], closes: Mapping[int, float]) -> bool:
    """Whether these values are prices: nine of ten are within a fifth of their candle's close."""
    near = sum(abs(value - closes[start]) <= closes[start] / 5 for start, value in points.items())
    return near >= 0.9 * len(points)


async def equity(platform: Operations, asked: Asked) -> Json:
    """Return the equity of all bots and of each over the range in one settle coin, and the drawdown of all in per cent."""
    coin = asked.coin or USDT
    now = await business_now(platform)
    period = asked.period(now)
    together, each = await analytics.equity_curves(platform, period, coin)
    latest = {row.bot: row for row in await positions.balance(platform) if row.true and row.coin == coin}
    named = {"all": _points(together)}
    with_coin = 0
    for bot in platform.registry.bots:
        points = _points(each.get(bot.id, []))
        with_coin += bool(points)
        live = latest.get(bot.id)
        if points and live is not None:
            points = _with_now(points, now, float(live.equity))
        named[short(bot.id)] = points
    if named["all"] and len(latest) >= with_coin:
        named["all"] = _with_now(named["all"], now, float(sum(row.equity for row in latest.values())))
    return {"curves": named, "drawdown": _drawdown(named["all"])}


def _points(curve: list[EquityPoint]) -> list[tuple[int, float]]:
    """One point per second at most, in order: the chart takes no two values for one time."""
    seconds = {ms_of(point.time) // 1000: float(point.equity) for point in curve}
    return sorted(seconds.items())


def _with_now(points: list[tuple[int, float]], now: datetime, value: float) -> list[tuple[int, float]]:
    second = ms_of(now) // 1000
    return [*points, (second, value)] if second > points[-1][0] else points


def _drawdown(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    highest, fallen = 0.0, []
    for second, value in points:
        highest = max(highest, value)
        fallen.append((second, round((value / highest - 1) * 100, 4) if highest > 0 else 0.0))
    return fallen
