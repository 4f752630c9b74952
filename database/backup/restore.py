"""Restores a backup: into a separate database, compared, then swapped in for the current one."""

import asyncio
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alpha.errors import Fatal
from alpha.postgres.database import POSTGRES_ERRORS, Connection, connect, explained
from alpha.postgres.migrate import ROLES
from alpha.postgres.sql import queries
from database.backup.dump import checksum, run
from database.backup.fingerprint import Fingerprint, differences, fingerprint
from database.backup.retention import Backup
from database.backup.settings import BackupSettings

SQL = queries(__file__)


@dataclass(frozen=True, slots=True)
class Restored:
    """The result: rows compared, and the name under which the former database is kept (None when there was none)."""

    rows: int
    former: str | None


def read_card(backup: Backup) -> dict[str, Any] | None:
    """The backup's expected contents; None when its manifest is missing."""
    try:
        card: dict[str, Any] = json.loads(backup.manifest.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return card


async def rehearse(settings: BackupSettings, backup: Backup) -> int:
    """Restore into a scratch database, compare, drop it; returns the rows compared. Raises Fatal on any difference."""
    scratch = f"{settings.postgres_db}_rehearsal"
    server = await _server(settings)
    try:
        await server.execute(f"DROP DATABASE IF EXISTS {_quoted(scratch)} WITH (FORCE)")
        try:
            return await _fill(settings, server, backup, scratch)
        finally:
            await server.execute(f"DROP DATABASE IF EXISTS {_quoted(scratch)} WITH (FORCE)")
    except POSTGRES_ERRORS as fault:
        raise explained(fault, settings) from None
    finally:
        await server.close()


async def restore(settings: BackupSettings, backup: Backup, now: datetime) -> Restored:
    """Replace the current database with the backup; the current one is kept under another name.

    Nothing changes for clients until the last step: all connections are terminated and the databases renamed in one
    transaction. Raises Fatal when the backup does not match its manifest; the current database then stays in place.
    """
    stamp = now.strftime("%Y%m%d_%H%M%S")
    present, fresh, former = (
        settings.postgres_db,
        f"{settings.postgres_db}_restored_{stamp}",
        f"{settings.postgres_db}_before_{stamp}",
    )
    server = await _server(settings)
    try:
        try:
            rows = await _fill(settings, server, backup, fresh)
        except BaseException:
            await server.execute(f"DROP DATABASE IF EXISTS {_quoted(fresh)} WITH (FORCE)")
            raise
        exists = await server.fetchval(SQL["database_exists"], present)
        if exists:
            await _empty(server, present)
        async with server.transaction():
            if exists:
                await server.execute(f"ALTER DATABASE {_quoted(present)} RENAME TO {_quoted(former)}")
            await server.execute(f"ALTER DATABASE {_quoted(fresh)} RENAME TO {_quoted(present)}")
        if exists:
            await server.execute(f"ALTER DATABASE {_quoted(former)} WITH ALLOW_CONNECTIONS true")
        return Restored(rows, former if exists else None)
    except POSTGRES_ERRORS as fault:
        raise explained(fault, settings) from None
    finally:
        await server.close()


async def _server(settings: BackupSettings) -> Connection:
    return await connect(settings.model_copy(update={"postgres_db": "postgres"}), "postgres_backup")


async def _fill(settings: BackupSettings, server: Connection, backup: Backup, database: str) -> int:
    """Create `database`, restore into it and compare; returns the rows compared."""
    card = read_card(backup)
    if card is not None and await asyncio.to_thread(checksum, backup.path) != card["sha256"]:
        raise Fatal(f"{backup.name} is not the file that was written: its checksum differs. Use another backup.")
    for role in ROLES:
        if not await server.fetchval(SQL["role_exists"], role):
            await server.execute(f"CREATE ROLE {role} LOGIN NOINHERIT")
    await server.execute(f"CREATE DATABASE {_quoted(database)} TEMPLATE template0")
    await server.execute(f"REVOKE ALL ON DATABASE {_quoted(database)} FROM PUBLIC")
    await server.execute(f"GRANT CONNECT ON DATABASE {_quoted(database)} TO {', '.join(ROLES)}")
    await run(settings, "pg_restore", "--exit-on-error", "--no-owner", f"--dbname={database}", str(backup.path))
    connection = await connect(settings.model_copy(update={"postgres_db": database}), "postgres_backup")
    try:
        expected: Fingerprint = card["figures"] if card is not None else {}
        with_sums = any(set(figures) - {"rows"} for figures in expected.values())
        found = await fingerprint(connection, sums=with_sums)
        wrong = differences(expected, found)
        if wrong:
            raise Fatal(f"{backup.name} was restored, but {wrong[0]} ({len(wrong)} differences). Use another backup.")
        await connection.execute("ANALYZE")
    finally:
        await connection.close()
    return sum(int(figures["rows"]) for figures in found.values())


async def _empty(server: Connection, database: str) -> None:
    """Terminate every connection to the database and refuse new ones."""
    await server.execute(f"ALTER DATABASE {_quoted(database)} WITH ALLOW_CONNECTIONS false")
    for _ in range(100):
        await server.execute(SQL["disconnect"], database)
        if not await server.fetchval(SQL["connections"], database):
            return
        await asyncio.sleep(0.05)
    await server.execute(f"ALTER DATABASE {_quoted(database)} WITH ALLOW_CONNECTIONS true")
    raise Fatal(f"The connections to {database} do not end. Stop the services and restore again.")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
