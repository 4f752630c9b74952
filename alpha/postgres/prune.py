"""Retention: what may be deleted after a time, and only when somebody asks for it.

Fills, orders with fills, closed trades, transfers and what is computed from them are the permanent record and stay. What
grows and is replaced by better (snapshots by their daily row) or is of passing interest can go.
"""

from datetime import datetime

from alpha.postgres.database import Connection

#: What is pruned: what people call it, and the statement. Each takes the time before which rows go.
PRUNABLE = {
    "orders without a fill": "DELETE FROM trading.orders WHERE cum_exec_qty = 0 AND updated_at < $1",
    "equity snapshots (their daily rows stay)": "DELETE FROM trading.equity_snapshots WHERE taken_at < $1",
    "sync runs": "DELETE FROM trading.sync_runs WHERE started_at < $1",
    "alerts": "DELETE FROM audit.alerts WHERE raised_at < $1",
    "rejected messages": "DELETE FROM audit.rejected_messages WHERE received_at < $1",
    "lifted halts": "DELETE FROM trading.halts WHERE lifted_at < $1",
}


async def prune(connection: Connection, before: datetime) -> dict[str, int]:
    """Delete what is older than `before`, in one transaction; returns how many rows of each kind went."""
    gone: dict[str, int] = {}
    async with connection.transaction():
        for name, statement in PRUNABLE.items():
            gone[name] = int((await connection.execute(statement, before)).removeprefix("DELETE "))
    return gone
