"""Exports a bot's year as CSV for the tax office: fills, round trips, funding and transfers.

Amounts are written as stored, without exponent; times are in the requested zone, with offset.
"""

import asyncio
import csv
import os
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from alpha.errors import Misconfigured, Rejected
from alpha.model.money import plain
from alpha.postgres.database import Connection

#: File to query. Parameters: the bot, the first instant (inclusive) and the end (exclusive).
QUERIES = {
    "fills.csv": """
SELECT f.exec_time AS time, a.environment, f.symbol, f.side, f.qty, f.price, f.price * f.qty AS value, f.fee,
    coalesce(nullif(f.fee_currency, ''), trading.settle_coin(f.symbol)) AS fee_currency, f.exec_type, f.reason, f.is_maker, f.order_id, f.exec_id
FROM trading.fills f JOIN trading.accounts a USING (account_id)
WHERE f.bot_id = $1 AND f.exec_time >= $2 AND f.exec_time < $3 AND f.exec_type <> 'Funding'
ORDER BY f.exec_time, f.seq, trading.fill_rank(f.closed_size, f.qty), f.exec_id""",
    "round_trips.csv": """
SELECT opened_at AS opened, closed_at AS closed, environment, symbol, direction, qty, entry_price, exit_price, entry_value,
    exit_value, gross, fees, funding, net, exit_reason
FROM trading.position_summaries
WHERE bot_id = $1 AND closed_at >= $2 AND closed_at < $3
ORDER BY closed_at""",
    "funding.csv": """
SELECT f.exec_time AS time, a.environment, f.symbol, f.side AS position, f.qty, -f.fee AS received,
    coalesce(nullif(f.fee_currency, ''), trading.settle_coin(f.symbol)) AS currency, f.exec_id
FROM trading.fills f JOIN trading.accounts a USING (account_id)
WHERE f.bot_id = $1 AND f.exec_time >= $2 AND f.exec_time < $3 AND f.exec_type = 'Funding'
ORDER BY f.exec_time, f.seq, trading.fill_rank(f.closed_size, f.qty), f.exec_id""",
    "transfers.csv": """
SELECT t.transferred_at AS time, a.environment, t.type, t.amount, t.currency, t.log_id
FROM trading.transfers t JOIN trading.accounts a USING (account_id)
WHERE a.bot_id = $1 AND t.transferred_at >= $2 AND t.transferred_at < $3
ORDER BY t.transferred_at, t.log_id""",
}


async def export_year(connection: Connection, bot_id: str, year: int, zone: ZoneInfo, folder: Path) -> dict[Path, int]:
    """Write the four files into `folder`, readable by their owner only; returns the number of rows per file.

    The year is the calendar year in `zone`. A round trip belongs to the year of its last exit. All files show one
    snapshot. Raises Rejected for an unknown bot, Misconfigured when the folder cannot be written.
    """
    if not await connection.fetchval("SELECT count(*) FROM trading.bots WHERE bot_id = $1", bot_id):
        known = await connection.fetch("SELECT bot_id FROM trading.bots ORDER BY 1")
        raise Rejected(f"There is no bot {bot_id!r}. The bots are: {', '.join(row['bot_id'] for row in known)}.")
    start, end = datetime(year, 1, 1, tzinfo=zone), datetime(year + 1, 1, 1, tzinfo=zone)
    written: dict[Path, int] = {}
    try:
        await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            for name, query in QUERIES.items():
                path = folder / name
                written[path] = await _write(connection, path, query, (bot_id, start, end), zone)
    except OSError as fault:
        raise Misconfigured(
            f"{folder} cannot be written: {fault.strerror}. Choose another folder with --output."
        ) from None
    return written


async def _write(connection: Connection, path: Path, query: str, arguments: Sequence[object], zone: ZoneInfo) -> int:
    rows = 0
    statement = await connection.prepare(query)
    with os.fdopen(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8", newline=""
    ) as file:
        writer = csv.writer(file)
        writer.writerow([attribute.name for attribute in statement.get_attributes()])
        async for row in statement.cursor(*arguments, prefetch=1_000):
            writer.writerow([_text(value, zone) for value in row])
            rows += 1
    return rows


def _text(value: object, zone: ZoneInfo) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return value.astimezone(zone).isoformat(timespec="milliseconds")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
