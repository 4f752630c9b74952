"""Executions of inverse contracts, spot and options: recorded, outside the figures, said once per account, not more."""

import asyncio
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from alpha.bybit.rate_limiter import IP_PER_SECOND, Priority, share
from alpha.clock import wall_ms
from alpha.live_state.connect import RedisClients
from tests.support.world import Simulator, until
from websocket_listener import other_categories
from websocket_listener.other_categories import OtherCategories
from websocket_listener.tests.conftest import ListenerMaker
from websocket_listener.tests.test_process import buy, synced

NUMBER = 15
OUTSIDE = {"inverse": "BTCUSD", "spot": "BTCUSDT", "option": "BTC-25DEC26-100000-C"}


async def test_they_are_recorded_outside_every_figure_and_said_once(
    exchange: Simulator, listener: ListenerMaker, links: RedisClients, database: Any
) -> None:
    process = listener({"SHORTSELLER": f"key-{NUMBER}"})
    await synced(links)
    uid = str((await exchange.account(f"key-{NUMBER}"))["uid"])
    account = await database.fetchval("SELECT account_id FROM trading.accounts WHERE user_id = $1", uid)

    async def stored() -> dict[str, set[str]]:
        rows = await database.fetch("SELECT category, symbol FROM trading.fills WHERE account_id = $1", account)
        found: dict[str, set[str]] = {}
        for row in rows:
            found.setdefault(row["category"], set()).add(row["symbol"])
        return found

    async def issues() -> list[Any]:
        found: list[Any] = await database.fetch(
            "SELECT kind, state, explanation FROM trading.reconciliation_issues WHERE account_id = $1", account
        )
        return found

    async with httpx.AsyncClient(base_url=exchange.url) as client:
        for category, symbol in OUTSIDE.items():
            # the next pushed execution is one of another category, as Bybit pushes them all on one topic
            changed = {
                "category": category,
                "symbol": symbol,
                "execId": f"{category}-1",
                "orderId": f"order-{category}",
            }
            for field, value in changed.items():
                body = {"kind": "drift", "topic": "execution", "key": f"key-{NUMBER}", "field": field, "value": value}
                assert (await client.post("/_sim/faults", json={**body, "times": 1})).status_code == 200
            await buy(exchange, NUMBER, "0.1")

            async def there(category: str = category, symbol: str = symbol) -> bool:
                return symbol in (await stored()).get(category, set())

            await until(there, 30, f"the execution of {category}")
        await client.delete("/_sim/faults")

    async def all_told() -> bool:
        told = [row for row in await issues() if row["kind"] == "outside_figures"]
        return bool(told) and all(category in str(told[0]["explanation"]) for category in OUTSIDE)

    await until(all_told, 30, "the issue")
    await buy(exchange, NUMBER, "-0.3")
    await synced(links, since_ms=wall_ms())
    # a restart says nothing again
    process.kill()
    process = listener({"SHORTSELLER": f"key-{NUMBER}"})
    await synced(links, since_ms=wall_ms())
    await asyncio.sleep(3)
    assert [(row["kind"], row["state"]) for row in await issues()] == [("outside_figures", "explained")], await issues()
    assert set(await stored()) == {"linear", *OUTSIDE}
    # the figures are those of the linear contract alone, whose executions came over REST
    rows = await database.fetch(
        "SELECT category, sum(fills) AS fills FROM trading.daily_totals WHERE account_id = $1 GROUP BY 1", account
    )
    assert {row["category"] for row in rows} == {"linear"}
    trips = await database.fetch(
        "SELECT category, symbol, gross - fees + funding AS net FROM trading.round_trips WHERE account_id = $1", account
    )
    assert [(row["category"], row["symbol"]) for row in trips] == [("linear", "ETHUSDT")]
    ledger = (await exchange.account(f"key-{NUMBER}"))["wallet_balance"]
    assert trips[0]["net"] == Decimal(ledger) - 100_000


async def test_an_account_is_synced_while_back_fills_take_all_they_can_get(
    exchange: Simulator, listener: ListenerMaker, links: RedisClients
) -> None:
    """These lists wait behind every back-fill of the address, for hours if it must be; whether an account is synced does not."""
    process = listener({"SHORTSELLER": "key-17"})
    await synced(links)
    process.kill()
    calls = [f"a back-fill {number}" for number in range(share(IP_PER_SECOND, Priority.BACKFILL))]
    redis: Any = links.shared

    async def take_the_budget() -> None:
        while True:
            await redis.zadd("throttle:ip", dict.fromkeys(calls, wall_ms()))
            await asyncio.sleep(0.1)

    taking = asyncio.create_task(take_the_budget())
    try:
        listener({"SHORTSELLER": "key-17"})
        await synced(links, since_ms=wall_ms())
    finally:
        taking.cancel()


async def test_a_fault_that_nobody_foresaw_ends_neither_the_reading_nor_the_recording(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unused: Any = SimpleNamespace(account=SimpleNamespace(bot_id="lxalgo_001"))
    others = OtherCategories(unused, unused, unused, unused)
    reads: list[int] = []
    again = asyncio.Event()

    async def settle() -> None:
        reads.append(len(reads))
        if len(reads) == 1:
            raise KeyError("a field of a row")
        again.set()

    monkeypatch.setattr(others, "settle", settle)
    monkeypatch.setattr(other_categories, "_BEAT_S", 0.0)
    running = asyncio.create_task(others.run())
    async with asyncio.timeout(10):
        await again.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
