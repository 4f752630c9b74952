"""A symbol that the exchange refuses is that symbol's trouble: its account is synced all the same."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import httpx
import pytest
from msgspec import structs

from alpha.clock import wall_ms
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.live_state.read import read_orders, read_position
from alpha.model.account import Account, Environment
from alpha.model.timestamp import at
from alpha.postgres.fills import insert_fills
from tests.support.alerts import raised_alerts
from tests.support.world import Simulator, until
from websocket_listener.restarted import first_line, restarted
from websocket_listener.rows import fill_of, order_row, reason_of_execution, reason_of_order
from websocket_listener.store import upsert_orders
from websocket_listener.tests.conftest import ListenerMaker
from websocket_listener.tests.rows import START_MS, execution, order
from websocket_listener.tests.test_process import BOT, buy, synced, trader

REFUSED = "SOLUSDT"


@asynccontextmanager
async def faults(exchange: Simulator, *asked: dict[str, object]) -> AsyncIterator[None]:
    """These faults of the exchange, for as long as the block runs."""
    async with httpx.AsyncClient(base_url=exchange.url) as client:
        made = [(await client.post("/_sim/faults", json=fault)).json() for fault in asked]
        yield
        for fault in made:
            await client.delete("/_sim/faults", params={"id": fault["id"]})


def never_came(key: str) -> list[dict[str, object]]:
    """What the stream of this key does not bring, and calls for one symbol that are refused."""
    topics: list[dict[str, object]] = [
        {"kind": "drop", "key": key, "topic": topic} for topic in ("position", "execution", "order")
    ]
    paths: list[dict[str, object]] = [
        {"kind": "answer", "key": key, "symbol": REFUSED, "path": path, "ret_code": 10001, "ret_msg": "symbol invalid"}
        for path in ("/v5/position/list", "/v5/order/")
    ]
    return [*topics, *paths]


async def alerts(links: RedisClients, key: str) -> list[str]:
    """The texts of all alerts of this key."""
    rows = await raised_alerts(links.shared)
    return [fields["text"] for fields in rows if fields["key"] == key]


async def test_a_held_symbol_that_is_refused_is_flat_and_the_account_is_synced(
    exchange: Simulator, listener: ListenerMaker, links: RedisClients
) -> None:
    listener({"SHORTSELLER": "key-10"})
    await synced(links)
    await buy(exchange, 10, "0.3")
    await buy(exchange, 10, "2", symbol=REFUSED)
    client = trader(exchange, 10)
    async with httpx.AsyncClient(base_url=exchange.url) as public:
        market = await public.get("/v5/market/tickers", params={"category": "linear", "symbol": REFUSED})
    price = (Decimal(market.json()["result"]["list"][0]["lastPrice"]) * Decimal("0.95")).quantize(Decimal("0.1"))
    answer = await client.order(REFUSED, "Buy", "1", orderType="Limit", price=str(price), timeInForce="GTC")
    assert answer["retCode"] == 0, answer
    redis = links.database(0)

    async def shown() -> bool:
        known = await read_position(redis, BOT, REFUSED)
        return known is not None and known.size == 2 and answer["result"]["orderId"] in await read_orders(redis, BOT)

    await until(shown, 30, "position and order")
    async with faults(exchange, *never_came("key-10")):
        await client.post("/v5/order/cancel-all", {"category": "linear", "symbol": REFUSED})
        await buy(exchange, 10, "-2", symbol=REFUSED)
        await synced(links, since_ms=wall_ms())
        gone, kept = await read_position(redis, BOT, REFUSED), await read_position(redis, BOT, "ETHUSDT")
        assert gone is not None
        assert kept is not None
        assert (str(gone.size), gone.side, str(kept.size)) == ("0", "", "0.3")
        assert await read_orders(redis, BOT) == {}
        assert REFUSED not in await redis.smembers(keys.positions(BOT))
        await until(_some(lambda: alerts(links, f"symbol:{BOT}")), 20, "the alert")
        assert REFUSED in (await alerts(links, f"symbol:{BOT}"))[0]
    await client.close()


async def test_stored_symbols_that_are_refused_hold_up_neither_openings_nor_orders(
    exchange: Simulator, listener: ListenerMaker, links: RedisClients, database: Any
) -> None:
    """GONEUSDT was delivered, SPOILEDUSDT came from a spoiled message: the exchange knows neither."""
    uid = str((await exchange.account("key-11"))["uid"])
    number = await database.fetchval("SELECT trading.register_account('simulated', $1, $2)", uid, BOT)
    account = Account(number, BOT, Environment.SIMULATED, uid)
    rows = [
        execution(symbol="GONEUSDT", execId="d-1", execQty="1", seq=1),
        execution(symbol="GONEUSDT", execId="d-2", execQty="3", seq=2, side="Sell", execType="Delivery"),
        execution(symbol="SPOILEDUSDT", execId="d-3", execQty="1", seq=3),
    ]
    fills = [fill_of(row, account, reason_of_execution(row, None), at(START_MS)) for row in rows]
    await insert_fills(database, fills)
    for symbol in ("GONEUSDT", "SPOILEDUSDT"):
        kept = structs.replace(order(symbol=symbol), order_id=f"order-{symbol}")
        await upsert_orders(database, [order_row(kept, account, reason_of_order(kept, None), at(START_MS))])
    await buy(exchange, 11, "0.3")
    listener({"SHORTSELLER": "key-11"})
    await synced(links)
    openings = await database.fetch(
        "SELECT symbol, side, qty::text FROM trading.opening_positions WHERE account_id = $1", number
    )
    assert [tuple(row) for row in openings] == [("GONEUSDT", "Buy", "2")]

    async def ended() -> bool:
        found = await database.fetch(
            "SELECT status FROM trading.orders WHERE account_id = $1 AND order_id LIKE 'order-%'", number
        )
        return {row["status"] for row in found} == {"Cancelled"}

    await until(ended, 30, "both orders to be ended")
    await until(_some(lambda: alerts(links, f"symbol:{BOT}")), 20, "the alert")
    (text,) = await alerts(links, f"symbol:{BOT}")
    assert ("SPOILEDUSDT" in text, "GONEUSDT" in text) == (True, False)


async def test_an_account_that_ends_in_a_fault_begins_anew_and_ends_only_when_cancelled() -> None:
    runs, faults_seen = asyncio.Event(), []
    left = [ValueError("first\nline"), ExceptionGroup("tasks", [KeyError("second")])]

    async def job() -> None:
        if left:
            raise left.pop(0)
        runs.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(restarted(job, lambda fault: faults_seen.append(first_line(fault)), 0.0))
    await asyncio.wait_for(runs.wait(), 20)
    assert faults_seen == ["ValueError: first", "KeyError: 'second'"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def _some(what: Callable[[], Any]) -> Any:
    async def look() -> bool:
        return bool(await what())

    return look
