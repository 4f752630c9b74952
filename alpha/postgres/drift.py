"""Stores what the exchange sent beyond its documents in `audit.venue_drift`: each thing once, by whoever saw it first."""

import asyncio

from alpha.config.services import DatabaseSettings
from alpha.drift import NOTES, Drift, DriftNotes
from alpha.errors import AlphaError
from alpha.logs import logger
from alpha.postgres.database import POSTGRES_ERRORS, Connection, connect
from alpha.postgres.sql import queries

SQL = queries(__file__)

log = logger(__name__)
#: New things are rare, and nobody waits for them.
EVERY_S = 5.0
#: A connection that hangs must not keep the next try from coming.
LIMIT_S = 15.0


async def keep_drift(
    settings: DatabaseSettings, service: str, notes: DriftNotes = NOTES, *, every_s: float = EVERY_S
) -> None:
    """Store what is noted, until cancelled. A connection is opened only when there is something to store."""
    while True:
        await asyncio.sleep(every_s)
        await flush_drift(settings, service, notes)


async def flush_drift(settings: DatabaseSettings, service: str, notes: DriftNotes = NOTES) -> None:
    """Store what was noted so far; what PostgreSQL does not take now is tried again with the next call."""
    found = notes.take()
    if not found:
        return
    for note in found:
        log.info("venue_drift", kind=note.kind.value, place=note.place, name=note.name, example=note.example)
    stored = False
    try:
        async with asyncio.timeout(LIMIT_S):
            connection = await connect(settings, service)
            try:
                await _store(connection, found, service)
                stored = True
            finally:
                await connection.close()
    except (AlphaError, TimeoutError, OSError, *POSTGRES_ERRORS) as fault:
        log.info("drift_not_stored", why=type(fault).__name__)
    finally:
        if not stored:
            notes.give_back(found)


async def _store(connection: Connection, notes: list[Drift], service: str) -> None:
    columns: list[list[str]] = [[], [], [], [], []]
    for note in notes:
        values = (note.kind.value, note.place, note.name, service, note.example)
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    await connection.execute(SQL["note"], *columns)
