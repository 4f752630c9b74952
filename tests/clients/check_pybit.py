"""pybit: HTTP, WebSocket and WebSocketTrading."""

import threading
import time
from decimal import Decimal
from typing import Any

import pybit._websocket_trading as trading
from pybit import unified_trading
from pybit.unified_trading import HTTP, WebSocket, WebSocketTrading

from tests.clients.checks import KEY, REST, SECRET, WS, check, until

unified_trading.PRIVATE_WSS = f"{WS}/v5/private"
unified_trading.PUBLIC_WSS = WS + "/v5/public/{CHANNEL_TYPE}"
trading.TRADE_WSS = f"{WS}/v5/trade"

ON = {"category": "linear", "symbol": "SOLUSDT"}
http = HTTP(api_key=KEY, api_secret=SECRET)
http.endpoint = REST
seen: dict[str, list[Any]] = {}


def last() -> Decimal:
    return Decimal(http.get_tickers(**ON)["result"]["list"][0]["lastPrice"])


def near(share: str) -> str:
    return str((last() * Decimal(share)).quantize(Decimal("0.01")))


def size() -> Decimal:
    return sum((Decimal(p["size"]) for p in http.get_positions(**ON)["result"]["list"]), Decimal(0))


def keep(name: str) -> Any:
    return lambda message: seen.setdefault(name, []).append(message)


def rest_amend_cancel() -> None:
    made = http.place_order(**ON, side="Buy", orderType="Limit", qty="1", price=near("0.97"))["result"]
    http.amend_order(**ON, orderId=made["orderId"], qty="2")
    (row,) = http.get_open_orders(**ON, orderId=made["orderId"])["result"]["list"]
    assert row["qty"] == "2"
    http.cancel_order(**ON, orderId=made["orderId"])


def round_trip() -> None:
    http.place_order(**ON, side="Buy", orderType="Market", qty="1")
    until(lambda: size() == 1, "the position is open")
    http.set_trading_stop(**ON, tpslMode="Full", positionIdx=0, stopLoss=near("0.9"))
    http.place_order(**ON, side="Sell", orderType="Market", qty="1", reduceOnly=True)
    until(lambda: size() == 0, "the position is closed")
    assert http.get_closed_pnl(**ON)["result"]["list"]


def batch() -> None:
    order = {"symbol": "SOLUSDT", "side": "Buy", "orderType": "Limit", "qty": "1", "price": near("0.96")}
    made = http.place_batch_order(category="linear", request=[order, order])["result"]["list"]
    http.cancel_batch_order(category="linear", request=[{"symbol": "SOLUSDT", "orderId": o["orderId"]} for o in made])


def public_streams() -> None:
    stream = WebSocket(testnet=False, channel_type="linear")
    stream.ticker_stream("SOLUSDT", keep("ticker"))
    stream.kline_stream(1, "SOLUSDT", keep("kline"))
    stream.orderbook_stream(50, "SOLUSDT", keep("book"))
    stream.trade_stream("SOLUSDT", keep("trade"))
    until(lambda: {"ticker", "kline", "book", "trade"} <= set(seen), f"all four push, not only {sorted(seen)}")
    stream.unsubscribe("tickers.SOLUSDT")
    time.sleep(1)
    seen.pop("ticker", None)
    stream.ticker_stream("SOLUSDT", keep("ticker"))
    until(lambda: "ticker" in seen, "a topic pushes again after it was left")
    stream.exit()


def private_streams() -> None:
    stream = WebSocket(testnet=False, channel_type="private", api_key=KEY, api_secret=SECRET, private_auth_expire=10)
    names = ("order", "execution", "position", "wallet")
    for name in names:
        getattr(stream, f"{name}_stream")(keep(name))
    time.sleep(1)
    http.place_order(**ON, side="Buy", orderType="Market", qty="1")
    http.place_order(**ON, side="Sell", orderType="Market", qty="1", reduceOnly=True)
    until(lambda: set(names) <= set(seen), f"all four push, not only {sorted(seen)}")
    stream.exit()


def trading_stream() -> None:
    stream = WebSocketTrading(testnet=False, api_key=KEY, api_secret=SECRET)
    answers: list[Any] = []
    done = threading.Event()

    def take(message: Any) -> None:
        answers.append(message)
        done.set()

    def ask(act: Any, **params: Any) -> Any:
        done.clear()
        act(take, **params)
        assert done.wait(20), "no answer"
        assert answers[-1]["retCode"] == 0, answers[-1]
        return answers[-1]["data"]

    order = ask(stream.place_order, **ON, side="Buy", orderType="Limit", qty="1", price=near("0.97"))
    ask(stream.amend_order, **ON, orderId=order["orderId"], qty="2")
    ask(stream.cancel_order, **ON, orderId=order["orderId"])
    stream.exit()


def hedge() -> None:
    on = {**ON, "symbol": "XRPUSDT"}
    http.switch_position_mode(category="linear", symbol="XRPUSDT", mode=3)
    http.place_order(**on, side="Buy", orderType="Market", qty="100", positionIdx=1)
    http.place_order(**on, side="Sell", orderType="Market", qty="50", positionIdx=2)
    rows = http.get_positions(**on)["result"]["list"]
    assert [(row["positionIdx"], row["size"]) for row in rows] == [(1, "100"), (2, "50")], rows
    http.place_order(**on, side="Sell", orderType="Market", qty="100", positionIdx=1, reduceOnly=True)
    http.place_order(**on, side="Buy", orderType="Market", qty="50", positionIdx=2, reduceOnly=True)
    http.switch_position_mode(category="linear", symbol="XRPUSDT", mode=0)


for name, act in (
    ("server time", http.get_server_time),
    ("instruments", lambda: http.get_instruments_info(category="linear")),
    ("candles", lambda: http.get_kline(**ON, interval="5")),
    ("order book", lambda: http.get_orderbook(**ON)),
    ("funding", lambda: http.get_funding_rate_history(**ON)),
    ("open interest", lambda: http.get_open_interest(**ON, intervalTime="1h")),
    ("key", http.get_api_key_information),
    ("wallet", lambda: http.get_wallet_balance(accountType="UNIFIED")),
    ("account", http.get_account_info),
    ("fees", lambda: http.get_fee_rates(**ON)),
    ("margin mode as it is", lambda: http.set_margin_mode(setMarginMode="REGULAR_MARGIN")),
    ("leverage", lambda: http.set_leverage(**ON, buyLeverage="8", sellLeverage="8")),
    ("one-way mode by coin", lambda: http.switch_position_mode(category="linear", coin="USDT", mode=0)),
    ("rest, amend, cancel", rest_amend_cancel),
    ("round trip with a stop", round_trip),
    ("batch", batch),
    ("hedge mode", hedge),
    ("executions", lambda: http.get_executions(category="linear")),
    ("transaction log", lambda: http.get_transaction_log(accountType="UNIFIED")),
    ("public streams", public_streams),
    ("private streams", private_streams),
    ("WebSocketTrading", trading_stream),
):
    check(name, act)
