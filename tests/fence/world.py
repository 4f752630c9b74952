"""A PostgreSQL and an exchange at speed 1, whose window is exactly Bybit's, with one account for each pair of senders."""

import asyncio
import random
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import httpx

from alpha.postgres.database import connect
from tests.fence.rounds import Pair, Tally
from tests.support.bot_harness import BotHarness, Servers

_REPORT_S = 30.0


async def play(folder: Path, *, rounds: int, pairs: int, draw: random.Random, servers: Servers | None = None) -> Tally:
    """Play about `rounds` rounds (each pair the same number of them) in one world."""
    stage = BotHarness(folder, speed="1", options=("--symbols", "BTCUSDT"), servers=servers)
    await stage.open()
    tally = Tally()
    playing: list[asyncio.Task[None]] = []
    try:
        async with httpx.AsyncClient(base_url=stage.simulator.url) as client:
            accounts = []
            for number in range(pairs):
                key = f"fence-{number}"
                answer = await client.post("/_sim/keys", json={"account": f"{key}:{key}:1000000"})
                answer.raise_for_status()
                accounts.append((key, await _register(stage, key)))
        environment = stage.environment("alpha_strategy")
        share = -(-rounds // pairs)
        playing = [
            asyncio.create_task(
                _told(
                    Pair(stage.simulator, key, key, account, environment, random.Random(draw.random()), folder).play(
                        share, tally
                    )
                )
            )
            for key, account in accounts
        ]
        left = set(playing)
        while left:
            done, left = await asyncio.wait(left, timeout=_REPORT_S, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
            print(f"{tally.rounds} rounds, {tally.orders} orders, {len(tally.late)} late", flush=True)
    finally:
        for task in playing:
            task.cancel()
        await asyncio.gather(*playing, return_exceptions=True)
        stage.close()
    return tally


async def _told(playing: Coroutine[Any, Any, None]) -> None:
    """Say at once what ended a pair: the others end first, which takes a while."""
    try:
        await playing
    except Exception as fault:
        print(f"a pair has ended: {fault!r}", flush=True)
        raise


async def _register(stage: BotHarness, key: str) -> int:
    connection = await connect(stage.database(), "test")
    try:
        found: int = await connection.fetchval(
            "SELECT trading.register_account('simulated', $1, 'shortseller_001')", key
        )
        return found
    finally:
        await connection.close()
