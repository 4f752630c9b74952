"""Locks that keep others out, without letting anybody queue behind them for long."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

from alpha.errors import Retry
from alpha.postgres.database import Connection

T = TypeVar("T")

#: How long the lock is waited for, how often, and the pause in which the others go on.
WAIT = "500ms"
TRIES = 120
PAUSE_S = 0.5


async def briefly(connection: Connection, table: str, work: Callable[[], Awaitable[T]]) -> T:
    """Run `work` in a transaction that gives up a lock it cannot have soon, and tries again: nobody queues behind it for long."""
    for _ in range(TRIES):
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = '{WAIT}'; SET LOCAL search_path = pg_catalog")
                return await work()
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            await asyncio.sleep(PAUSE_S)
    raise Retry(
        f"The lock on {table} could not be had within a minute: a long transaction reads or writes it. "
        "Run the command again; it continues where it was."
    )
