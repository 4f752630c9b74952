"""What a command will do, shown before it is confirmed: sizes, sides, P&L, halts. What is impossible is refused here.

Rejected means that there is nothing to confirm. Any other fault means that the consequences are unknown for now; the
command may still be confirmed.
"""

import asyncio
from dataclasses import replace
from decimal import Decimal

from alpha.errors import AlphaError, Rejected
from alpha.live_state import keys
from alpha.live_state.read import read_status
from alpha.registry import Bot
from operations import history, models
from operations.coins import said
from operations.context import Operations, redis_faults
from operations.formatting import full_moment, number, usdt
from operations.history import DesiredState, HaltRow
from operations.positions import PositionRow, open_order, orders, positions, trusted, unrealised_by_coin
from operations.risk import risk_of

#: How long a warning may read positions: a panic must not wait.
LOOK_S = 1.0


def position_line(row: PositionRow) -> str:
    """One position: `BTCUSDT short 0.5: +500.00 USDT`."""
    return f"{row.symbol} {row.direction} {number(row.size).text}: {usdt(row.unrealised_pnl).text} {row.coin}"


async def at_stake(platform: Operations, bot: Bot | None = None, symbol: str | None = None) -> str:
    """Return what would be closed, one line per position; empty if it cannot be read in time."""
    try:
        async with asyncio.timeout(LOOK_S):
            rows = await positions(platform, bot)
    except (AlphaError, TimeoutError):
        return ""
    held = [row for row in rows if symbol in (None, row.symbol)]
    if not held:
        return "No open position is known."
    return "\n".join([*map(position_line, held), f"Open P&L {said(unrealised_by_coin(held))}."])


async def of_flatten(platform: Operations, bot: Bot, symbol: str | None) -> str:
    """Raises Rejected if, by trusted live state, the bot neither holds nor follows the symbol nor has orders in it."""
    if symbol is not None:
        await _refuse_unknown(platform, bot, symbol)
    what = f"its position in {symbol}" if symbol else "all its positions"
    asked = f"Flatten {bot.id}: cancel its orders, close {what} at market, and halt its entries?"
    return f"{asked} {await at_stake(platform, bot, symbol)}".strip()


async def _refuse_unknown(platform: Operations, bot: Bot, symbol: str) -> None:
    try:
        async with asyncio.timeout(LOOK_S), redis_faults(platform.live):
            redis = platform.live.of(bot)
            vouched = trusted(await read_status(redis, bot.id))
            held = {row.symbol for row in await positions(platform, bot)}
            known = (
                held | {row.symbol for row in await orders(platform, bot)} | await redis.smembers(keys.symbols(bot.id))
            )
    except (AlphaError, TimeoutError):
        return
    if vouched and symbol not in known:
        raise Rejected(f"{bot.id} neither holds nor follows {symbol}. {_holds(held)}")


def _holds(symbols: set[str]) -> str:
    return f"It holds: {', '.join(sorted(symbols))}." if symbols else "It holds no position."


async def of_adopt(platform: Operations, bot: Bot, symbol: str) -> str:
    """Raises Rejected if the bot's account has no such position."""
    rows = await positions(platform, bot)
    held = [row for row in rows if row.symbol == symbol]
    if not held:
        raise Rejected(f"{bot.id} has no position in {symbol}. {_holds({row.symbol for row in rows})}")
    guards = f"stop {number(held[0].stop_loss).text}" if held[0].stop_loss else "NO STOP"
    return (
        f"Adopt {symbol} for {bot.id}? The bot manages from then on what it did not open itself: "
        f"{position_line(held[0])}, {guards}."
    )


async def of_start(platform: Operations, bot: Bot) -> str:
    """Who stopped it, and which halts stay in force."""
    desired = await history.desired_state_of(platform, bot)
    parts = [f"Start {bot.id}?"]
    if desired is not None and desired.wish != "running":
        parts.append(f"It lifts that it was {desired.wish}{_by(desired, platform)}.")
    held = await _halts(platform, bot)
    if held:
        parts.append("It starts halted: no entries until /resume:\n" + _halt_lines(held, platform))
    return " ".join(parts)


async def of_resume(platform: Operations, bot: Bot) -> str:
    """What is lifted. Raises Rejected if the bot is stopped."""
    desired = await history.desired_state_of(platform, bot)
    if desired is not None and desired.wish == "stopped":
        raise Rejected(f"{bot.id} was stopped by an operator: /start it first, then /resume it.")
    held = await _halts(platform, bot)
    parts = [f"Resume entries of {bot.id}?"]
    if held:
        parts.append("This lifts:\n" + _halt_lines(held, platform))
    if desired is not None and desired.wish == "paused":
        parts.append(f"{'And the' if held else 'This lifts the'} pause{_by(desired, platform)}.")
    elif not held:
        parts.append("It is not paused and no halt is in force.")
    return " ".join(parts)


def _by(desired: DesiredState, platform: Operations) -> str:
    by = f" by {desired.by}" if desired.by else ""
    return f"{by}, {full_moment(desired.at, platform.zone)}" if desired.at is not None else by


async def _halts(platform: Operations, bot: Bot) -> list[HaltRow]:
    return [
        halt
        for halt in await history.halts(platform, bot)
        if halt.bot in ("", bot.id) and halt.kind != history.BLACKLIST
    ]


def _halt_lines(halts: list[HaltRow], platform: Operations) -> str:
    return "\n".join(
        f"HALT {halt.kind}{f' {halt.symbol}' if halt.symbol else ''} since {full_moment(halt.since, platform.zone)}: "
        f"{halt.reason.rstrip('.')}."
        for halt in halts
    )


async def of_pause(platform: Operations, bot: Bot) -> str:
    """What stays open and managed."""
    return f"Pause entries of {bot.id}? {await _kept(platform, bot, 'stay managed')}"


async def of_restart(platform: Operations, bot: Bot) -> str:
    """What stays open during the restart, and that a stopped bot is started."""
    desired = await history.desired_state_of(platform, bot)
    more = (
        " It was stopped by an operator: it will be started."
        if desired is not None and desired.wish == "stopped"
        else ""
    )
    return f"Restart {bot.id}? {await _kept(platform, bot, 'stay open meanwhile')}{more}"


async def _kept(platform: Operations, bot: Bot, how: str) -> str:
    rows = await positions(platform, bot)
    if not rows:
        return "It holds no position."
    return "\n".join([f"Its positions {how}:", *map(position_line, rows)])


async def _position(platform: Operations, bot: Bot, symbol: str) -> PositionRow:
    """The open position of this symbol. Raises Rejected if there is none."""
    rows = await positions(platform, bot)
    for row in rows:
        if row.symbol == symbol:
            return row
    raise Rejected(f"{bot.id} has no position in {symbol}. {_holds({row.symbol for row in rows})}")


async def of_close(platform: Operations, bot: Bot, symbol: str, percent: int) -> str:
    """What is closed and what is left. Raises Rejected if there is no such position."""
    row = await _position(platform, bot, symbol)
    what = "all" if percent == 100 else f"{percent} %"
    left = "" if percent == 100 else " The rest keeps its stop."
    return f"Close {what} of {bot.id} {symbol} at market? {position_line(row)}.{left} The bot goes on."


async def of_move_stop(platform: Operations, bot: Bot, symbol: str, price: Decimal | None) -> str:
    """Where the stop is and what it would cost then. Raises Rejected if there is no such position."""
    row = await _position(platform, bot, symbol)
    if price is None:
        raise Rejected("Say where the stop shall be.")
    moved = risk_of(replace(row, stop_loss=price))
    mark, sign = row.mark_price, 1 if row.direction == "long" else -1
    if mark is not None and (mark - price) * sign <= 0:
        beyond = "below" if sign > 0 else "above"
        raise Rejected(
            f"A stop of this position must be {beyond} the market at {number(mark).text}, got {number(price).text}."
        )
    at_stop = "" if moved.at_stop is None else f" If it is hit: {usdt(moved.at_stop).text} USDT against the entry."
    before = number(row.stop_loss).text if row.stop_loss else "none"
    return (
        f"Move the stop of {bot.id} {symbol} to {number(price).text}? Now: {before}.{at_stop} "
        "It binds until the position is flat; the bot may only tighten it."
    )


async def of_cancel_order(platform: Operations, bot: Bot, order_id: str) -> str:
    """Which order. Raises Rejected if it is not open."""
    row = await open_order(platform, bot, order_id)
    price = number(row.trigger_price or row.price).text
    return f"Cancel the order {row.side} {number(row.qty).text} {row.symbol} at {price} of {bot.id}?"


async def of_cancel(bot: Bot, symbol: str | None) -> str:
    """What remains after cancelling a closing."""
    what = f" of {symbol}" if symbol else ""
    return (
        f"Take back the closing{what} for {bot.id}? What is closed stays closed, what is open stays open; "
        "the halt stays until /resume."
    )


async def of_promote(platform: Operations, name: str, version: str | None) -> str:
    """What promoting a model lets trade, and how its shadow compares with training."""
    row = await models.find_model(platform, name, version)
    seen = await models.model_detail(platform, name, row.version)
    auc = seen.metrics["auc"]
    trained = f"training said AUC {float(auc['value']):.3f} [{float(auc['low']):.3f}, {float(auc['high']):.3f}]"
    shadow = "too few labels are ripe to compare" if seen.live.auc is None else f"its shadow has {seen.live.auc:.3f}"
    outside = " OUTSIDE the interval." if seen.agrees is False else "."
    verdict = " It is null and will be refused." if row.is_null else ""
    return (
        f"Let {name} {row.version[:12]} trade from the next bar? {row.shadow.total_seconds() / 86_400:.1f} of "
        f"{row.shadow_days} shadow days; {trained}, {shadow}{outside}{verdict}"
    )
