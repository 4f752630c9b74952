"""What a bot's market orders really cost, by symbol, as the file that a back-test reads."""

import asyncio
import csv
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from alpha.config.services import DatabaseSettings
from alpha.errors import Misconfigured
from alpha.postgres.database import connect

#: The mean over value: a large order counts for what it is.
_QUERY = """
SELECT symbol, round(sum(slippage_bps * filled_qty * avg_price) / sum(filled_qty * avg_price), 2) AS bps, count(*) AS orders
FROM trading.order_intent_results
WHERE bot_id = $1 AND decided_at >= $2 AND decided_at < $3 AND order_kind = 'market' AND slippage_bps IS NOT NULL
GROUP BY symbol ORDER BY symbol"""


def write_measured(settings: DatabaseSettings, bot: str, days: int, now: datetime, path: Path) -> int:
    """Write `symbol,bps,orders`; how many symbols. Misconfigured when nothing was measured or nothing can be written."""
    with ThreadPoolExecutor(1) as worker:
        rows = worker.submit(asyncio.run, _rows(settings, bot, now - timedelta(days=days), now)).result()
    if not rows:
        raise Misconfigured(f"{bot} has no executed market order with a recorded decision in the last {days} days.")
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("symbol", "bps", "orders"))
            writer.writerows((row["symbol"], row["bps"], row["orders"]) for row in rows)
    except OSError as fault:
        raise Misconfigured(f"{path} cannot be written: {fault.strerror or fault}.") from None
    return len(rows)


async def _rows(settings: DatabaseSettings, bot: str, since: datetime, until: datetime) -> list[Any]:
    connection = await connect(settings, "slippage")
    try:
        return list(await connection.fetch(_QUERY, bot, since, until))
    finally:
        await connection.close()
