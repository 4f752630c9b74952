"""How far each bot's history has been read, from the database only."""

from datetime import datetime

from msgspec import Struct

from alpha.config.services import DatabaseSettings
from alpha.postgres.database import POSTGRES_ERRORS, connect, explained
from alpha.postgres.sql import queries

SQL = queries(__file__)


class BotStatus(Struct, frozen=True):
    """One account of one bot. `gaps` counts unread ranges between the first and last moment read."""

    bot: str
    environment: str
    covered_from: datetime | None
    covered_to: datetime | None
    gaps: int
    trades: int
    last_run_at: datetime | None
    last_outcome: str | None
    last_detail: str | None
    open_differences: int


async def read_status(settings: DatabaseSettings, bots: list[str]) -> list[BotStatus]:
    """The status of every account of these bots. Raises Retry or Misconfigured when the database is unavailable."""
    connection = await connect(settings, "trade_sync_service")
    try:
        rows = await connection.fetch(SQL["status"], bots)
    except POSTGRES_ERRORS as fault:
        raise explained(fault, settings) from fault
    finally:
        await connection.close(timeout=5)
    return [BotStatus(**dict(row)) for row in rows]
