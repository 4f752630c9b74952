"""What a bot's market orders really cost, by symbol, as the file that a back-test reads."""

import asyncio
import csv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from alpha.config.services import DatabaseSettings
from alpha.errors import Misconfigured, shown
from alpha.postgres.database import connect
from alpha.postgres.sql import queries

SQL = queries(__file__)


def write_measured(settings: DatabaseSettings, bot: str, days: int, path: Path) -> int:
    """Write `symbol,bps,orders` of the `days` before the bot's newest order; how many symbols.

    Misconfigured for a bot that the record does not know, and when nothing was measured or can be written.
    """
    with ThreadPoolExecutor(1) as worker:
        known, rows = worker.submit(asyncio.run, _rows(settings, bot, days)).result()
    if bot not in known:
        raise Misconfigured(f"There is no bot called {shown(bot)}. The bots are: {', '.join(known)}.")
    if not rows:
        raise Misconfigured(
            f"{bot} has no executed market order with a recorded decision yet. Let it trade, or give --slippage-bps a number."
        )
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("symbol", "bps", "orders"))
            writer.writerows((row["symbol"], row["bps"], row["orders"]) for row in rows)
    except OSError as fault:
        raise Misconfigured(f"{path} cannot be written: {fault.strerror or fault}.") from None
    return len(rows)


async def _rows(settings: DatabaseSettings, bot: str, days: int) -> tuple[list[str], list[Any]]:
    connection = await connect(settings, "slippage")
    try:
        known = await connection.fetch(SQL["bots"])
        return [row["bot_id"] for row in known], list(await connection.fetch(SQL["measured"], bot, days))
    finally:
        await connection.close()
