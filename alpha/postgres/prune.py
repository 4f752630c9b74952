"""Retention: what may be deleted after a while, and only on request.

Fills, orders with fills, closed trades, transfers and what is computed from them are the permanent record and stay.
Data that is superseded (snapshots by their daily row) or of temporary interest can be deleted.
"""

from datetime import datetime

from alpha.postgres.database import Connection

#: Prunable data: display name to statement. Each statement takes the time before which rows are deleted.
PRUNABLE = {
    "orders without a fill": "DELETE FROM trading.orders WHERE cum_exec_qty = 0 AND updated_at < $1",
    "equity snapshots (their daily rows stay)": "DELETE FROM trading.equity_snapshots WHERE taken_at < $1",
    "sync runs": "DELETE FROM trading.sync_runs WHERE started_at < $1",
    "alerts": "DELETE FROM audit.alerts WHERE raised_at < $1",
    "rejected messages": "DELETE FROM audit.rejected_messages WHERE received_at < $1",
    "lifted halts": "DELETE FROM trading.halts WHERE lifted_at < $1",
    "links to the dashboard": "DELETE FROM audit.dashboard_links WHERE expires_at < $1",
    "sessions of the dashboard": "DELETE FROM audit.dashboard_sessions WHERE expires_at < $1",
}


async def prune(connection: Connection, before: datetime) -> dict[str, int]:
    """Delete what is older than `before`, in one transaction; returns the number of deleted rows per kind."""
    gone: dict[str, int] = {}
    async with connection.transaction():
        for name, statement in PRUNABLE.items():
            gone[name] = int((await connection.execute(statement, before)).removeprefix("DELETE "))
    return gone
