"""Open positions, orders and wallets, from live state."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

import msgspec

from alpha.errors import Rejected, Retry
from alpha.live_state.read import (
    DataState,
    LivePosition,
    LiveStatus,
    read_orders,
    read_positions,
    read_status,
    read_wallets,
)
from alpha.model.coin import USDT, settle_coin
from alpha.model.leg import BOTH
from alpha.model.money import ZERO, amount_or_none
from alpha.model.timestamp import at
from alpha.registry import Bot
from operations.coins import sums
from operations.context import Operations, redis_faults

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PositionRow:
    """An open position. Sizes in base coin, amounts in `coin`; `true` is False if the data may be stale.

    `leg` is `both` in one-way mode, `long` or `short` in hedge mode; `margin` is its initial margin, the whole stake in
    isolated margin; `adl_rank` is 0 to 5, where 5 is deleveraged next.
    """

    bot: str
    symbol: str
    direction: str
    size: Decimal
    entry_price: Decimal | None
    mark_price: Decimal | None
    value: Decimal | None
    unrealised_pnl: Decimal | None
    pnl_pct: Decimal | None
    stop_loss: Decimal | None
    take_profit: Decimal | None
    trailing_stop: Decimal | None
    liq_price: Decimal | None
    leverage: Decimal | None
    opened_at: datetime | None
    true: bool
    leg: str = BOTH
    margin: Decimal | None = None
    adl_rank: int = 0

    @property
    def coin(self) -> str:
        """The settle coin of the symbol."""
        return settle_coin(self.symbol)


@dataclass(frozen=True, slots=True)
class OrderRow:
    """An open order. `price` is the limit price, `trigger_price` that of a conditional order; both in USDT."""

    bot: str
    order_id: str
    symbol: str
    side: str
    kind: str
    qty: Decimal | None
    filled: Decimal | None
    price: Decimal | None
    trigger_price: Decimal | None
    reduce_only: bool
    order_link_id: str
    created_at: datetime | None

    @property
    def is_stop(self) -> bool:
        """Whether it protects a position: no button offers to cancel it."""
        return "Stop" in self.kind and self.reduce_only


@dataclass(frozen=True, slots=True)
class BalanceRow:
    """One settle coin of a bot's wallet. Amounts in `coin`, `updated_at` in exchange time."""

    bot: str
    equity: Decimal
    wallet_balance: Decimal
    available: Decimal | None
    unrealised_pnl: Decimal
    updated_at: datetime
    true: bool
    coin: str = USDT


def trusted(status: LiveStatus | None) -> bool:
    """Whether the listener vouches for this live state."""
    return status is not None and status.state is DataState.SYNCED


async def positions(platform: Operations, bot: Bot | None = None) -> list[PositionRow]:
    """Return all open positions, by bot and symbol. Raises Retry while Redis is unavailable."""

    async def of(each: Bot) -> list[PositionRow]:
        database = platform.live.of(each)
        true = trusted(await read_status(database, each.id))
        return [_position(each, row, true) for row in await read_positions(database, each.id) if row.size]

    return await _of_each(platform, bot, of)


async def _of_each(platform: Operations, bot: Bot | None, read: Callable[[Bot], Awaitable[list[T]]]) -> list[T]:
    """What is read of each of these bots, all at once, in their order. Raises Retry while Redis is unavailable."""
    async with redis_faults(platform.live):
        found = await asyncio.gather(*map(read, platform.bots(bot)))
    return [row for rows in found for row in rows]


def _position(bot: Bot, row: LivePosition, true: bool) -> PositionRow:
    price = row.mark_price or row.entry_price
    cost = row.size * row.entry_price if row.entry_price else None
    return PositionRow(
        bot=bot.id,
        symbol=row.symbol,
        direction="long" if row.signed_size > 0 else "short",
        size=row.size,
        entry_price=row.entry_price,
        mark_price=row.mark_price,
        value=row.size * price if price else None,
        unrealised_pnl=row.unrealised_pnl,
        pnl_pct=row.unrealised_pnl / cost * 100 if cost and row.unrealised_pnl is not None else None,
        stop_loss=row.stop_loss,
        take_profit=row.take_profit,
        trailing_stop=row.trailing_stop,
        liq_price=row.liq_price,
        leverage=row.leverage,
        opened_at=row.opened_at,
        true=true,
        leg=row.leg,
        margin=row.margin,
        adl_rank=row.adl_rank,
    )


async def orders(platform: Operations, bot: Bot | None = None) -> list[OrderRow]:
    """Return all open orders, by bot and symbol. Raises Retry while Redis is unavailable."""

    async def of(each: Bot) -> list[OrderRow]:
        found = await read_orders(platform.live.of(each), each.id)
        return sorted((_order(each, order_id, row) for order_id, row in found.items()), key=lambda o: o.symbol)

    return await _of_each(platform, bot, of)


async def open_order(platform: Operations, bot: Bot, order_id: str) -> OrderRow:
    """Return the open order whose id begins so. Rejected if there is none, or more than one."""
    found = [row for row in await orders(platform, bot) if row.order_id.startswith(order_id)]
    if len(found) != 1:
        what = "no open order" if not found else f"{len(found)} open orders that begin with"
        raise Rejected(f"{bot.id} has {what} {order_id!r}. /orders lists them.")
    return found[0]


def _order(bot: Bot, order_id: str, row: dict[str, object]) -> OrderRow:
    def text(*names: str) -> str:
        """The first of these fields that is set: rows use the exchange's spelling or that of our tables."""
        return next((str(row[name]) for name in names if row.get(name) not in (None, "")), "")

    created = text("created_at", "createdTime")
    try:
        return OrderRow(
            bot=bot.id,
            order_id=order_id,
            symbol=text("symbol"),
            side=text("side").lower(),
            kind=text("stop_order_type", "stopOrderType") or text("order_type", "orderType"),
            qty=amount_or_none(text("qty"), "qty"),
            filled=amount_or_none(text("cum_exec_qty", "cumExecQty"), "cum_exec_qty"),
            price=_price(text("price"), "price"),
            trigger_price=_price(text("trigger_price", "triggerPrice"), "trigger_price"),
            reduce_only=text("reduce_only", "reduceOnly").lower() == "true",
            order_link_id=text("order_link_id", "orderLinkId"),
            created_at=_moment(created),
        )
    except (ValueError, msgspec.ValidationError):
        raise Retry(f"The order {order_id} of {bot.id} in Redis cannot be read; the listener renews it.") from None


def _price(text: str, name: str) -> Decimal | None:
    value = amount_or_none(text, name)
    return value if value else None


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    return at(int(text)) if text.isdigit() else datetime.fromisoformat(text)


async def balance(platform: Operations, bot: Bot | None = None) -> list[BalanceRow]:
    """Return the settle coins of each bot's wallet, USDT first. Raises Retry while Redis is unavailable."""

    async def of(each: Bot) -> list[BalanceRow]:
        database = platform.live.of(each)
        wallets = await read_wallets(database, each.id)
        true = bool(wallets) and trusted(await read_status(database, each.id))
        return [
            BalanceRow(
                each.id,
                wallet.equity,
                wallet.wallet_balance,
                wallet.available,
                wallet.unrealised_pnl,
                wallet.updated_at,
                true,
                wallet.coin,
            )
            for wallet in wallets
        ]

    return await _of_each(platform, bot, of)


def total_unrealised(rows: list[PositionRow]) -> Decimal:
    """The unrealised P&L of these positions that settle in USDT."""
    return unrealised_by_coin(rows).get(USDT, ZERO)


def unrealised_by_coin(rows: list[PositionRow]) -> dict[str, Decimal]:
    """The unrealised P&L of these positions per settle coin."""
    return sums(rows, lambda row: row.unrealised_pnl)
