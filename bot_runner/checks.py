"""Preconditions for a bot to trade on an account."""

from collections.abc import Sequence
from decimal import Decimal
from functools import partial

from alpha.bybit.client import Gateway
from alpha.bybit.models import ApiKeyInfo
from alpha.concurrency import gather_bounded
from alpha.errors import Misconfigured, Rejected
from alpha.logs import logger
from alpha.model.position import Position
from alpha.registry import Bot
from bot_runner.broker import Broker

log = logger(__name__)
CROSS = "REGULAR_MARGIN"


def check_key(key: ApiKeyInfo, bot: Bot) -> None:
    """Raise Misconfigured, naming the variable, for a key that cannot trade or could take money out."""
    if key.can_withdraw:
        raise Misconfigured(
            f"{bot.key_variable} may withdraw money, or Bybit does not say that it may not. "
            "Make a key with Orders and Positions only."
        )
    if not key.can_trade:
        raise Misconfigured(f"{bot.key_variable} may not trade. Give the key Orders and Positions of derivatives.")


async def check_modes(gateway: Gateway, bot: Bot, symbols: Sequence[str]) -> None:
    """Raise Misconfigured unless each of these symbols is in one-way mode: the mode is per symbol, and shows when flat."""

    async def check(symbol: str) -> None:
        for row in await gateway.positions(symbol):
            _refuse_hedge_mode(bot, row)

    await gather_bounded(partial(check, symbol) for symbol in symbols)


def _refuse_hedge_mode(bot: Bot, row: Position) -> None:
    if row.position_idx != 0:
        raise Misconfigured(
            f"The account of {bot.id} is in hedge mode ({row.symbol}), and a bot trades one-way mode only. "
            "Close its positions and switch it to one-way mode on bybit.com; watching it works as it is."
        )


async def check_account(gateway: Gateway, broker: Broker, bot: Bot, symbols: Sequence[str], leverage: Decimal) -> None:
    """Cross margin, and in each of these symbols one-way mode and the leverage, which is set where nothing is held.

    Misconfigured for hedge mode, for a margin mode that cannot be changed and for a leverage above what an instrument allows.
    One that is refused is logged: an entry asks for it again.
    """

    for symbol in symbols:
        instrument = broker.instruments.get(symbol)
        if instrument is not None and leverage > instrument.max_leverage:
            raise Misconfigured(
                f"The leverage of {bot.id} is {leverage:f}, and {symbol} allows {instrument.max_leverage:f} at most. "
                f"Set {bot.prefix}_LEVERAGE to {instrument.max_leverage:f} or less."
            )

    async def check(symbol: str) -> None:
        for row in await gateway.positions(symbol):
            _refuse_hedge_mode(bot, row)
            if row.is_flat and row.leverage != leverage:
                try:
                    await broker.set_leverage(symbol, leverage)
                except Rejected as fault:
                    log.warning("leverage_not_set", symbol=symbol, why=str(fault))

    await gather_bounded(partial(check, symbol) for symbol in symbols)
    if (await gateway.account_info()).margin_mode == CROSS:
        return
    await gateway.set_margin_mode(CROSS)
    mode = (await gateway.account_info()).margin_mode
    if mode != CROSS:
        raise Misconfigured(
            f"The account of {bot.id} stays in margin mode {mode}. "
            "Close its positions and switch it to cross margin on bybit.com."
        )
