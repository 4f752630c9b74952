"""A market that closes makes nothing stale: a position in a stock, its candles followed, through the end of the session."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx

from alpha.clock import wall_ms
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.live_state.read import read_positions, read_status
from tests.support.world import BotKey, Simulator, Trader, until
from websocket_listener.tests.conftest import ListenerMaker, Stores
from websocket_listener.tests.test_process import BOT, DATABASE, synced

STOCK = "AAPLUSDT"
CLOSE_MS = 1_796_072_400_000  # Monday 2026-11-30, 21:00 UTC


async def test_the_live_state_stays_synced_while_the_market_is_closed(
    stores: Stores, tmp_path: Path, links: RedisClients, database: Any
) -> None:
    options = ("--symbols", f"BTCUSDT,{STOCK}", "--start", "2026-11-30T20:00", "--account", "key-22:secret-22:100000")
    exchange = Simulator(tmp_path, speed="60", options=(*options, "--no-rate-limits", "--faults"))
    await exchange.start()
    maker = ListenerMaker(stores, exchange)
    try:
        trader = Trader(exchange.url, BotKey("", "", "key-22", "secret-22"))
        assert (await trader.order(STOCK, "Buy", "100"))["retCode"] == 0
        await trader.close()
        redis = links.database(DATABASE[BOT])
        await redis.sadd(keys.symbols(BOT), STOCK)
        await redis.sadd(keys.intervals(BOT), "5")
        maker({"SHORTSELLER": "key-22"})
        async with httpx.AsyncClient(base_url=exchange.url) as client:
            await synced(links)
            (await client.post("/_sim/speed", json={"speed": 3600})).raise_for_status()

            async def well_after_the_close() -> bool:
                now: int = (await client.get("/_sim/state")).json()["now_ms"]
                return now > CLOSE_MS + 30 * 60_000

            await until(well_after_the_close, 30, "the close")
            (await client.post("/_sim/speed", json={"speed": 60})).raise_for_status()
        await synced(links, since_ms=wall_ms())
        ends = time.monotonic() + 6
        while time.monotonic() < ends:
            status = await read_status(redis, BOT)
            assert status is not None
            assert status.state == "synced", status
            await asyncio.sleep(0.2)
        (held,) = await read_positions(redis, BOT)
        assert held.symbol == STOCK
        assert held.mark_price
        assert "stale" not in json.dumps(await links.shared.xrange(keys.ALERTS))
    finally:
        for process in maker.made:
            process.kill()
        exchange.process.kill()
