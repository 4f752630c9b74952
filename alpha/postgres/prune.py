"""Retention: what may be deleted after a while, and only on request.

Fills, orders with fills, closed trades, transfers and what is computed from them are the permanent record and stay.
Data that is superseded (snapshots by their daily row) or of temporary interest can be deleted.
"""

from datetime import datetime

from alpha.postgres.database import Connection
from alpha.postgres.sql import queries

SQL = queries(__file__)

#: Prunable data: display name to statement. Each statement takes the time before which rows are deleted.
PRUNABLE = {
    "orders without a fill": SQL["orders"],
    "equity snapshots (their daily rows stay)": SQL["equity_snapshots"],
    "sync runs": SQL["sync_runs"],
    "alerts": SQL["alerts"],
    "rejected messages": SQL["rejected_messages"],
    "lifted halts": SQL["halts"],
    "links to the dashboard": SQL["dashboard_links"],
    "sessions of the dashboard": SQL["dashboard_sessions"],
}


async def prune(connection: Connection, before: datetime) -> dict[str, int]:
    """Delete what is older than `before`, in one transaction; returns the number of deleted rows per kind."""
    gone: dict[str, int] = {}
    async with connection.transaction():
        for name, statement in PRUNABLE.items():
            gone[name] = int((await connection.execute(statement, before)).removeprefix("DELETE "))
    return gone
