"""A general-purpose client library (ccxt) trades on the simulated exchange; only its URLs are changed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import ccxt
import ccxt.pro
import pytest

from exchange_simulator.tests.clients.process import KEY, SECRET, Simulator

Row = dict[str, Any]
SYMBOL = "ETH/USDT:USDT"


def pointed_at(client: Any, simulator: Simulator) -> Any:
    """Rewrites every URL of a ccxt client."""
    for name in ("spot", "futures", "v2", "public", "private"):
        client.urls["api"][name] = simulator.rest_url
    if "ws" in client.urls["api"]:
        public = {name: f"{simulator.ws_url}/v5/public/{name}" for name in ("spot", "linear", "inverse", "option")}
        client.urls["api"]["ws"] = {"public": public, "private": {"contract": f"{simulator.ws_url}/v5/private"}}
    return client


@pytest.fixture(scope="module")
def client(simulator: Simulator) -> Any:
    made = pointed_at(ccxt.bybit({"apiKey": KEY, "secret": SECRET, "options": {"defaultType": "swap"}}), simulator)
    made.load_markets()
    return made


def last(client: Any) -> float:
    price: float = client.fetch_ticker(SYMBOL)["last"]
    return price


def test_markets_are_loaded_with_their_filters(client: Any) -> None:
    market = client.market(SYMBOL)
    assert (market["linear"], market["contract"], market["active"]) == (True, True, True)
    assert market["precision"] == {"amount": 0.01, "price": 0.01}
    assert market["limits"]["leverage"]["max"] == 100


def test_market_data_is_read(client: Any) -> None:
    candles = client.fetch_ohlcv(SYMBOL, "5m", limit=20)
    assert len(candles) == 20
    assert [candle[0] for candle in candles] == sorted(candle[0] for candle in candles)
    book = client.fetch_order_book(SYMBOL, 10)
    assert book["bids"][0][0] < book["asks"][0][0]
    assert client.fetch_trades(SYMBOL, limit=5)
    assert client.fetch_funding_rate(SYMBOL)["fundingRate"] is not None
    assert client.fetch_funding_rate_history(SYMBOL, limit=3)
    assert client.fetch_open_interest_history(SYMBOL, "1h", limit=3)
    assert client.fetch_market_leverage_tiers(SYMBOL)[0]["maxLeverage"] == 100
    assert client.fetch_time() > 1_500_000_000_000


def test_the_account_is_read(client: Any) -> None:
    assert client.fetch_balance()["USDT"]["total"] > 0
    assert client.fetch_trading_fee(SYMBOL)["taker"] == 0.00055
    assert isinstance(client.fetch_ledger("USDT"), list)


def test_leverage_is_set(client: Any) -> None:
    client.set_leverage(4, SYMBOL)
    assert client.fetch_leverage(SYMBOL)["longLeverage"] == 4


def test_a_limit_order_rests_is_edited_and_cancelled(client: Any) -> None:
    price = last(client)
    order = client.create_order(SYMBOL, "limit", "buy", 0.5, round(price * 0.97, 2))
    assert client.fetch_open_order(order["id"], SYMBOL)["status"] == "open"
    client.edit_order(order["id"], SYMBOL, "limit", "buy", 0.6, round(price * 0.96, 2))
    edited = client.fetch_open_order(order["id"], SYMBOL)
    assert (edited["amount"], edited["price"]) == (0.6, round(price * 0.96, 2))
    assert [row["id"] for row in client.fetch_open_orders(SYMBOL)] == [order["id"]]
    client.cancel_order(order["id"], SYMBOL)
    assert client.fetch_open_orders(SYMBOL) == []
    assert order["id"] in {row["id"] for row in client.fetch_canceled_orders(SYMBOL)}


def test_a_position_is_opened_with_stops_closed_and_accounted(client: Any) -> None:
    price = last(client)
    stops = {
        "stopLoss": {"triggerPrice": round(price * 0.9, 2)},
        "takeProfit": {"triggerPrice": round(price * 1.2, 2)},
    }
    opening = client.create_order(SYMBOL, "market", "buy", 0.5, None, stops)
    (position,) = client.fetch_positions([SYMBOL])
    assert (position["side"], position["contracts"]) == ("long", 0.5)
    assert position["stopLossPrice"] == round(price * 0.9, 2)
    waiting = client.fetch_open_orders(SYMBOL, None, None, {"trigger": True})
    assert sorted(row["triggerPrice"] for row in waiting) == [round(price * 0.9, 2), round(price * 1.2, 2)]
    closing = client.create_order(SYMBOL, "market", "sell", 0.5, None, {"reduceOnly": True})
    assert [row for row in client.fetch_positions([SYMBOL]) if row["contracts"]] == []
    fills = client.fetch_my_trades(SYMBOL)
    assert {opening["id"], closing["id"]} <= {fill["order"] for fill in fills}
    assert client.fetch_closed_order(opening["id"], SYMBOL)["filled"] == 0.5
    assert closing["id"] in {row["info"]["orderId"] for row in client.fetch_positions_history([SYMBOL])}


def test_a_refused_order_raises_the_clients_own_error(client: Any) -> None:
    with pytest.raises(ccxt.InsufficientFunds):
        client.create_order(SYMBOL, "market", "buy", 900)
    with pytest.raises(ccxt.OrderNotFound):
        client.cancel_order("00000000-0000-4000-8000-000000000000", SYMBOL)


def test_a_wrong_secret_raises_the_clients_own_error(simulator: Simulator) -> None:
    stranger = pointed_at(ccxt.bybit({"apiKey": KEY, "secret": "another-secret"}), simulator)
    with pytest.raises(ccxt.AuthenticationError):
        stranger.fetch_balance()


@pytest.fixture
async def streaming(simulator: Simulator) -> AsyncIterator[Any]:
    made = ccxt.pro.bybit({"apiKey": KEY, "secret": SECRET, "options": {"defaultType": "swap"}})
    pointed_at(made, simulator)
    await made.load_markets()
    yield made
    await made.close()


async def until(watch: Callable[[], Awaitable[Any]], wanted: Callable[[Any], bool]) -> Any:
    """Watches until a matching item arrives."""
    async with asyncio.timeout(20):
        while not wanted(seen := await watch()):
            pass
        return seen


async def test_public_streams_are_watched(streaming: Any) -> None:
    assert (await until(lambda: streaming.watch_ticker(SYMBOL), lambda row: row["last"] is not None))["last"] > 0
    assert await until(lambda: streaming.watch_ohlcv(SYMBOL, "1m"), bool)
    book = await until(lambda: streaming.watch_order_book(SYMBOL, 50), lambda seen: bool(seen["bids"]))
    assert book["bids"][0][0] < book["asks"][0][0]
    assert await until(lambda: streaming.watch_trades(SYMBOL), bool)


async def test_private_streams_are_watched(streaming: Any) -> None:
    watched = {
        "orders": asyncio.create_task(streaming.watch_orders(SYMBOL)),
        "fills": asyncio.create_task(streaming.watch_my_trades(SYMBOL)),
        "positions": asyncio.create_task(streaming.watch_positions([SYMBOL])),
        "balance": asyncio.create_task(streaming.watch_balance()),
    }
    done: set[asyncio.Task[Any]] = set()
    placed = 0
    async with asyncio.timeout(30):
        # Watches start listening at different times: trade until all of them have received something.
        while len(done) < len(watched):
            side = "buy" if placed % 2 == 0 else "sell"
            await streaming.create_order(SYMBOL, "market", side, 0.1)
            placed += 1
            done, _ = await asyncio.wait(watched.values(), timeout=0.5)
    if placed % 2:
        await streaming.create_order(SYMBOL, "market", "sell", 0.1, None, {"reduceOnly": True})
    assert (await watched["orders"])[-1]["symbol"] == SYMBOL
    assert (await watched["fills"])[-1]["amount"] == 0.1
    assert (await watched["balance"])["USDT"]["total"] > 0
