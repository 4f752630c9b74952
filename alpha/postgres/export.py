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
from alpha.postgres.sql import queries

SQL = queries(__file__)

#: File to query. Parameters: the bot, the first instant (inclusive) and the end (exclusive).
QUERIES = {
    "fills.csv": SQL["fills"],
    "round_trips.csv": SQL["round_trips"],
    "funding.csv": SQL["funding"],
    "transfers.csv": SQL["transfers"],
}


async def export_year(connection: Connection, bot_id: str, year: int, zone: ZoneInfo, folder: Path) -> dict[Path, int]:
    """Write the four files into `folder`, readable by their owner only; returns the number of rows per file.

    The year is the calendar year in `zone`. A round trip belongs to the year of its last exit. All files show one
    snapshot. Raises Rejected for an unknown bot, Misconfigured when the folder cannot be written.
    """
    if not await connection.fetchval(SQL["is_known"], bot_id):
        known = await connection.fetch(SQL["bots"])
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
