"""ccxt over REST, with its own correction of the clock: market data, account, orders, positions, modes."""

import time

import ccxt

from tests.clients.checks import KEY, REST, SECRET, check, until

SYMBOL, OTHER = "BTC/USDT:USDT", "ETH/USDT:USDT"
exchange = ccxt.bybit(
    {
        "apiKey": KEY,
        "secret": SECRET,
        "options": {"defaultType": "swap", "adjustForTimeDifference": True},
        "urls": {"api": dict.fromkeys(("spot", "futures", "v2", "public", "private"), REST)},
    }
)


def last(symbol: str = SYMBOL) -> float:
    return float(exchange.fetch_ticker(symbol)["last"])


def size(symbol: str = SYMBOL) -> float:
    return sum(float(p["contracts"] or 0) for p in exchange.fetch_positions([symbol]))


def near(symbol: str, share: float) -> float:
    return float(exchange.price_to_precision(symbol, last(symbol) * share))


def resting() -> str:
    return str(exchange.create_order(SYMBOL, "limit", "buy", 0.01, near(SYMBOL, 0.97))["id"])


def rest_amend_cancel() -> None:
    order = resting()
    exchange.edit_order(order, SYMBOL, "limit", "buy", 0.02, near(SYMBOL, 0.96))
    assert exchange.fetch_open_order(order, SYMBOL)["amount"] == 0.02
    exchange.cancel_order(order, SYMBOL)
    until(lambda: exchange.fetch_closed_order(order, SYMBOL)["status"] == "canceled", "the order is cancelled")


def open_and_close() -> None:
    exchange.create_order(SYMBOL, "market", "buy", 0.02)
    until(lambda: size() == 0.02, "the position is open")
    assert exchange.fetch_my_trades(SYMBOL)
    exchange.create_order(SYMBOL, "market", "sell", 0.02, params={"reduceOnly": True})
    until(lambda: size() == 0, "the position is closed")
    assert exchange.fetch_positions_history([SYMBOL])


def stops() -> None:
    params = {"stopLoss": {"triggerPrice": near(SYMBOL, 0.9)}, "takeProfit": {"triggerPrice": near(SYMBOL, 1.1)}}
    exchange.create_order(SYMBOL, "market", "buy", 0.02, params=params)
    position = exchange.fetch_position(SYMBOL)
    assert position["stopLossPrice"], position
    assert position["takeProfitPrice"], position
    exchange.create_order(SYMBOL, "market", "sell", 0.02, params={"reduceOnly": True})


def trigger() -> None:
    params = {"triggerPrice": near(SYMBOL, 0.9), "triggerDirection": "below"}
    made = exchange.create_order(SYMBOL, "market", "sell", 0.01, params=params)
    assert made["id"] in [order["id"] for order in exchange.fetch_open_orders(SYMBOL, params={"trigger": True})]
    exchange.cancel_all_orders(SYMBOL, {"trigger": True})


def many() -> None:
    order = {"symbol": SYMBOL, "type": "limit", "side": "buy", "amount": 0.01, "price": near(SYMBOL, 0.96)}
    ids = [made["id"] for made in exchange.create_orders([order, dict(order)])]
    exchange.cancel_orders(ids, SYMBOL)


def hedge() -> None:
    exchange.set_position_mode(True, OTHER)
    exchange.create_order(OTHER, "market", "buy", 0.1, params={"positionIdx": 1})
    exchange.create_order(OTHER, "market", "sell", 0.2, params={"positionIdx": 2})
    sides = {p["side"]: p["contracts"] for p in exchange.fetch_positions([OTHER])}
    assert sides == {"long": 0.1, "short": 0.2}, sides
    exchange.create_order(OTHER, "market", "sell", 0.1, params={"positionIdx": 1, "reduceOnly": True})
    exchange.create_order(OTHER, "market", "buy", 0.2, params={"positionIdx": 2, "reduceOnly": True})
    until(lambda: size(OTHER) == 0, "both legs are closed")
    exchange.set_position_mode(False, OTHER)


def isolated() -> None:
    exchange.set_margin_mode("isolated", None)
    exchange.create_order(OTHER, "market", "buy", 0.1)
    try:
        assert exchange.fetch_position(OTHER)["liquidationPrice"]
        exchange.add_margin(OTHER, 10) if exchange.has.get(
            "addMargin"
        ) else exchange.private_post_v5_position_add_margin({"category": "linear", "symbol": "ETHUSDT", "margin": "10"})
    finally:
        exchange.create_order(OTHER, "market", "sell", 0.1, params={"reduceOnly": True})
        exchange.set_margin_mode("cross", None)


def clock_holds() -> None:
    """What was measured once signs for as long as the client runs."""
    for _ in range(10):
        time.sleep(1)
        exchange.fetch_balance()


for name, act in (
    ("markets", exchange.load_markets),
    ("time", exchange.fetch_time),
    ("ticker", lambda: exchange.fetch_ticker(SYMBOL)),
    ("tickers", exchange.fetch_tickers),
    ("candles", lambda: exchange.fetch_ohlcv(SYMBOL, "5m", limit=200)),
    ("weekly candles", lambda: exchange.fetch_ohlcv(SYMBOL, "1w", limit=50)),
    ("mark candles", lambda: exchange.fetch_mark_ohlcv(SYMBOL, "1h", limit=50)),
    ("order book", lambda: exchange.fetch_order_book(SYMBOL)),
    ("public trades", lambda: exchange.fetch_trades(SYMBOL)),
    ("funding rate", lambda: exchange.fetch_funding_rate(SYMBOL)),
    ("funding history", lambda: exchange.fetch_funding_rate_history(SYMBOL)),
    ("open interest", lambda: exchange.fetch_open_interest_history(SYMBOL)),
    ("leverage tiers", lambda: exchange.fetch_market_leverage_tiers(SYMBOL)),
    ("balance", exchange.fetch_balance),
    ("trading fee", lambda: exchange.fetch_trading_fee(SYMBOL)),
    ("currencies", exchange.fetch_currencies),
    ("unified account", lambda: exchange.is_unified_enabled()),
    ("leverage", lambda: exchange.set_leverage(7, SYMBOL)),
    ("one-way mode by coin", lambda: exchange.set_position_mode(False)),
    ("rest, amend, cancel", rest_amend_cancel),
    ("open, read, close", open_and_close),
    ("one-way mode by coin with a history", lambda: exchange.set_position_mode(False)),
    ("stops with an order", stops),
    ("trigger order", trigger),
    ("batch", many),
    ("hedge mode", hedge),
    ("isolated margin", isolated),
    ("ledger", lambda: exchange.fetch_ledger("USDT")),
    ("funding paid", lambda: exchange.fetch_funding_history(SYMBOL)),
    ("clock holds", clock_holds),
):
    check(name, act)
