"""The coin in which a contract settles. The SQL counterpart is `trading.settle_coin`."""

USDT, USDC = "USDT", "USDC"
SETTLE_COINS = (USDT, USDC)


def settle_coin(symbol: str) -> str:
    """The settle coin of a linear contract, from its name: BTCUSDT, BTCUSDT-25DEC26; BTCPERP and BTC-25DEC26 in USDC."""
    return USDT if symbol.endswith(USDT) or f"{USDT}-" in symbol else USDC


def fee_coin(symbol: str, fee_currency: str | None) -> str:
    """The coin of a fee: the settle coin, unless the execution says another (MNT)."""
    coin = settle_coin(symbol)
    return coin if not fee_currency or fee_currency in SETTLE_COINS else fee_currency
