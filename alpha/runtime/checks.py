"""What must be in order before a bot trades on an account."""

from alpha.bybit.gateway import Gateway
from alpha.bybit.rows import ApiKeyInfo
from alpha.errors import Misconfigured
from alpha.registry import Bot

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


async def check_account(gateway: Gateway, bot: Bot, symbol: str) -> None:
    """One-way mode and cross margin: Misconfigured for hedge mode; the margin mode is set where it differs."""
    for row in await gateway.positions(symbol):
        if row.position_idx != 0:
            raise Misconfigured(
                f"The account of {bot.id} is in hedge mode. Close its positions and switch it to one-way mode on bybit.com."
            )
    info = await gateway.account_info()
    if info.margin_mode != CROSS:
        await gateway.set_margin_mode(CROSS)
