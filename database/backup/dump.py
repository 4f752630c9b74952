"""Takes a backup: one snapshot, dumped, counted, verified, then renamed into place."""

import asyncio
import hashlib
import json
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from alpha.errors import Fatal, Misconfigured
from alpha.postgres.database import POSTGRES_ERRORS, connect, explained
from alpha.postgres.sql import queries
from database.backup.fingerprint import fingerprint
from database.backup.retention import Backup, BackupStore
from database.backup.settings import BackupSettings

SQL = queries(__file__)

_CHUNK = 1 << 20


async def take(settings: BackupSettings, shelves: BackupStore, now: datetime) -> Backup:
    """Take one backup. Its manifest holds the figures of the same snapshot that was dumped.

    Sums are computed for the first backup of a week, the one that is rehearsed; for the others only rows are counted.
    Raises Retry or Misconfigured when PostgreSQL does not answer, Fatal when the dump is bad; nothing is kept then.
    """
    shelves.prepare()
    partial = shelves.partial(settings.postgres_db, now)
    connection = await connect(settings, "postgres_backup")
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            snapshot = await connection.fetchval(SQL["export_snapshot"])
            version = await connection.fetchval(SQL["schema_version"])
            await run(
                settings, "pg_dump", "--format=custom", "--compress=6", f"--snapshot={snapshot}", f"--file={partial}",
                f"--dbname={settings.postgres_db}",
            )  # fmt: skip
            figures = await fingerprint(connection, sums=shelves.first_of_week(now))
        partial.chmod(0o640)
        contents = await run(settings, "pg_restore", "--list", str(partial))
        missing = [table for table in figures if f"TABLE DATA {table.replace('.', ' ')} " not in contents]
        if missing:
            raise Fatal(f"The backup lacks the table {missing[0]}; it was deleted.")
        card = {
            "database": settings.postgres_db,
            "taken_at": now.isoformat(),
            "migration": version,
            "bytes": partial.stat().st_size,
            "sha256": await asyncio.to_thread(checksum, partial),
            "figures": figures,
        }
        return shelves.keep(partial, json.dumps(card, indent=1), now)
    except POSTGRES_ERRORS as fault:
        if isinstance(fault, OSError) and not isinstance(fault, ConnectionError | TimeoutError):
            raise Fatal(f"The backup cannot be written to {shelves.folder}: {fault.strerror}.") from None
        raise explained(fault, settings) from None
    finally:
        partial.unlink(missing_ok=True)
        await connection.close()


def checksum(path: Path) -> str:
    """The SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


async def run(settings: BackupSettings, program: str, *arguments: str, fine: Sequence[int] = (0,)) -> str:
    """Run a PostgreSQL program as the owner; returns its output. Raises Fatal, quoting the program, when it fails."""
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "LC_ALL": "C.UTF-8",
        "PGHOST": settings.postgres_host,
        "PGPORT": str(settings.postgres_port),
        "PGUSER": settings.postgres_user,
        "PGPASSWORD": settings.postgres_password.get_secret_value(),
        "PGAPPNAME": "postgres_backup",
    }
    try:
        process = await asyncio.create_subprocess_exec(
            settings.program(program), *arguments, env=environment, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    except OSError:
        raise Misconfigured(
            f"{settings.program(program)} cannot be run. Install PostgreSQL's client, or set BACKUP_PROGRAMS."
        ) from None
    try:
        said, complained = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode not in fine:
        raise Fatal(f"{program} failed: {' '.join(complained.decode(errors='replace').split())[-400:]}")
    return said.decode()
