"""Exposure and open risk: how much is held against the equity, how far stops and liquidation are, what the stops would cost."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from alpha.model.coin import USDT, settle_coin
from alpha.model.money import ZERO
from alpha.registry import Bot
from operations.coins import coins_of, of_coin
from operations.context import Operations
from operations.positions import BalanceRow, PositionRow, balance, positions


@dataclass(frozen=True, slots=True)
class RiskRow:
    """One position. Distances are per cent of the mark price; None where there is no stop, liquidation or mark price.

    `at_risk` is what is lost from now on if the stop is hit at its price, in `coin`; `at_stop` the result against the entry
    then. Slippage and fees are not in it.
    """

    bot: str
    symbol: str
    direction: str
    value: Decimal | None
    stop_loss: Decimal | None
    to_stop_pct: Decimal | None
    liq_price: Decimal | None
    to_liquidation_pct: Decimal | None
    at_risk: Decimal | None
    at_stop: Decimal | None
    true: bool

    @property
    def coin(self) -> str:
        """The settle coin of the symbol."""
        return settle_coin(self.symbol)


@dataclass(frozen=True, slots=True)
class ExposureRow:
    """One settle coin of a bot's account. Amounts in `coin`; `leverage` is the held value against the equity.

    `open_risk` is what is lost from now on if every stop is hit; None while a position has no stop, which `bare` names.
    """

    bot: str
    equity: Decimal | None
    long: Decimal
    short: Decimal
    gross: Decimal
    net: Decimal
    leverage: Decimal | None
    margin_used: Decimal | None
    open_risk: Decimal | None
    bare: tuple[str, ...]
    coin: str = USDT


def risk_of(row: PositionRow) -> RiskRow:
    """Derive the risk of one position."""
    sign = 1 if row.direction == "long" else -1
    mark, stop, entry = row.mark_price, row.stop_loss, row.entry_price

    def distance(price: Decimal | None) -> Decimal | None:
        return (mark - price) * sign / mark * 100 if mark and price else None

    lost = max((mark - stop) * sign * row.size, ZERO) if mark and stop else None
    return RiskRow(
        bot=row.bot,
        symbol=row.symbol,
        direction=row.direction,
        value=row.value,
        stop_loss=stop,
        to_stop_pct=distance(stop),
        liq_price=row.liq_price,
        to_liquidation_pct=distance(row.liq_price),
        at_risk=lost,
        at_stop=(stop - entry) * sign * row.size if stop and entry else None,
        true=row.true,
    )


def exposures_of(bot: str, held: Sequence[PositionRow], wallets: Sequence[BalanceRow]) -> list[ExposureRow]:
    """Add up one bot's positions against its wallet, for each settle coin by itself."""
    by_coin = {row.coin: row for row in wallets if row.bot == bot}
    own = [row for row in held if row.bot == bot]
    return [
        exposure_of(bot, of_coin(own, coin), by_coin.get(coin), coin) for coin in coins_of([*by_coin.values(), *own])
    ]


def exposure_of(bot: str, held: Sequence[PositionRow], wallet: BalanceRow | None, coin: str = USDT) -> ExposureRow:
    """Add up one bot's positions in one settle coin against that line of its wallet."""
    sides = {
        side: sum((row.value or ZERO for row in held if row.direction == side), ZERO) for side in ("long", "short")
    }
    gross = sides["long"] + sides["short"]
    equity = None if wallet is None else wallet.equity
    free = None if wallet is None else wallet.available
    risks = [risk_of(row) for row in held]
    known = [row.at_risk for row in risks if row.at_risk is not None]
    return ExposureRow(
        bot=bot,
        equity=equity,
        long=sides["long"],
        short=sides["short"],
        gross=gross,
        net=sides["long"] - sides["short"],
        leverage=gross / equity if equity else None,
        margin_used=equity - free if equity is not None and free is not None else None,
        open_risk=sum(known, ZERO) if len(known) == len(risks) else None,
        bare=tuple(row.symbol for row in risks if row.stop_loss is None),
        coin=coin,
    )


async def risk(platform: Operations, bot: Bot | None = None) -> list[RiskRow]:
    """Return the risk of each open position. Raises Retry while Redis is unavailable."""
    return [risk_of(row) for row in await positions(platform, bot)]


async def exposure(platform: Operations, bot: Bot | None = None) -> list[ExposureRow]:
    """Return the exposure of each bot. Raises Retry while Redis is unavailable."""
    held, wallets = await asyncio.gather(positions(platform, bot), balance(platform, bot))
    return [row for each in platform.bots(bot) for row in exposures_of(each.id, held, wallets)]
