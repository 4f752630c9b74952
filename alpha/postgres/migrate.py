"""Migrations: numbered SQL files, each applied once, in order, in its own transaction (but for indexes that are built concurrently).

`python -m alpha.postgres.migrate` applies pending migrations, registers the bots of `bots.toml` and sets the
passwords of the services' roles. It can be repeated and run concurrently: an advisory lock serialises the runs.
"""

import asyncio
import hashlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from pydantic import Field, SecretStr

from alpha.config.loader import load
from alpha.config.services import DatabaseSettings, RegistrySettings
from alpha.errors import AlphaError, Fatal, Misconfigured
from alpha.postgres.concurrent_index import build, index_of
from alpha.postgres.database import Connection, connect
from alpha.postgres.scram import verifier
from alpha.postgres.sql import queries
from alpha.registry import Registry, load_registry

SQL = queries(__file__)

MIGRATIONS = Path(__file__).resolve().parents[2] / "database" / "migrations"
ROLES = (
    "alpha_readonly",
    "alpha_listener",
    "alpha_sync",
    "alpha_guard",
    "alpha_c2",
    "alpha_strategy",
    "alpha_ticks",
    "alpha_analysis",
    "alpha_api",
    "alpha_dashboard",
)
_LOCK = 4_157_250_001
_LOCK_PAUSE_S = 0.2
_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


class MigrateSettings(DatabaseSettings, RegistrySettings):
    """The owner's direct connection to PostgreSQL, and the passwords of the services' roles."""

    postgres_port: int = Field(5432, ge=1, le=65535, description="the port of PostgreSQL itself, not of PgBouncer")
    alpha_readonly_db_password: SecretStr | None = Field(None, description="the password of alpha_readonly")
    alpha_listener_db_password: SecretStr | None = Field(None, description="the password of alpha_listener")
    alpha_sync_db_password: SecretStr | None = Field(None, description="the password of alpha_sync")
    alpha_guard_db_password: SecretStr | None = Field(None, description="the password of alpha_guard")
    alpha_c2_db_password: SecretStr | None = Field(None, description="the password of alpha_c2")
    alpha_strategy_db_password: SecretStr | None = Field(None, description="the password of alpha_strategy")
    alpha_ticks_db_password: SecretStr | None = Field(None, description="the password of alpha_ticks")
    alpha_api_db_password: SecretStr | None = Field(None, description="the password of alpha_api")
    alpha_dashboard_db_password: SecretStr | None = Field(None, description="the password of alpha_dashboard")
    bots_file: Path | None = Field(None, description="the former name of ALPHA_BOTS_FILE; read for one more release")
    alpha_analysis_db_password: SecretStr | None = Field(None, description="the password of alpha_analysis")
    postgres_create_db: bool = Field(
        False,
        description="true to make the database where it is missing: a new cluster has none (docker-compose.ha.yml)",
    )
    migrate_only_simulated: bool = Field(
        False, description="true to refuse a database that holds other accounts than simulated ones; the demo's"
    )

    def passwords(self) -> dict[str, str]:
        """The passwords that are set, by role."""
        found = {role: getattr(self, f"{role}_db_password") for role in ROLES}
        return {role: secret.get_secret_value() for role, secret in found.items() if secret is not None}


@dataclass(frozen=True, slots=True)
class Migration:
    """One migration file: number, name, text and the SHA-256 of the text."""

    number: int
    name: str
    sql: str
    checksum: str


def read_migrations(folder: Path = MIGRATIONS) -> list[Migration]:
    """The folder's files in order. Raises Misconfigured for an invalid name, a duplicate number or an empty folder."""
    found: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise Misconfigured(f"{path.name} is not named like a migration. Call it NNNN_what_it_does.sql.")
        text = path.read_bytes()
        number = int(match.group(1))
        if found and found[-1].number == number:
            raise Misconfigured(f"{found[-1].name} and {path.name} have the same number. Renumber the newer one.")
        index_of(path.name, text.decode())
        found.append(Migration(number, path.name, text.decode(), hashlib.sha256(text).hexdigest()))
    if not found:
        raise Misconfigured(f"There are no migrations in {folder}. Restore the folder from the repository.")
    return found


async def migrate(connection: Connection, folder: Path = MIGRATIONS) -> list[str]:
    """Apply pending migrations; returns the names of the files applied now.

    A database newer than this version of Alpha is left as it is: after a rollback, older code works on it.
    Raises Misconfigured when an applied file was changed or deleted, Fatal when one fails; earlier ones stay applied.
    """
    migrations = read_migrations(folder)
    # asked again and again: who waits in a statement keeps a snapshot, for which an index built concurrently would wait for ever
    while not await connection.fetchval(SQL["lock"], _LOCK):  # noqa: ASYNC110 - of another process
        await asyncio.sleep(_LOCK_PAUSE_S)
    try:
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS public.schema_migrations (number integer PRIMARY KEY, name text NOT NULL, "
            "checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        rows = await connection.fetch(SQL["applied"])
        _refuse_changes({row["number"]: (row["name"], row["checksum"]) for row in rows}, migrations)
        last = rows[-1]["number"] if rows else 0
        missing = [migration for migration in migrations if migration.number > last]
        for migration in missing:
            await _apply(connection, migration)
        # JIT costs more than it saves for short, frequent queries. A database setting, so not part of a dump.
        await connection.execute(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET jit = off', current_database()); END $$"
        )
        return [migration.name for migration in missing]
    finally:
        if not connection.is_closed():
            await connection.execute(SQL["unlock"], _LOCK)


def _refuse_changes(applied: dict[int, tuple[str, str]], migrations: list[Migration]) -> None:
    files = {migration.number: migration for migration in migrations}
    known = max(files)
    for number, (name, checksum) in applied.items():
        if number > known:
            continue  # from a newer version that was rolled back
        if number not in files:
            raise Misconfigured(f"The migration {name} was applied but its file is missing. Restore it.")
        if files[number].checksum != checksum:
            raise Misconfigured(
                f"The migration {files[number].name} was changed after it was applied: "
                "another version of Alpha created this database. Use that version, or write the change as a new migration; "
                "the demo's data is removed by make clean."
            )
    newest = max(applied, default=0)
    for migration in migrations:
        if migration.number < newest and migration.number not in applied:
            raise Misconfigured(f"The migration {migration.name} is older than those applied. Give it the next number.")


async def _apply(connection: Connection, migration: Migration) -> None:
    entry = (migration.number, migration.name, migration.checksum)
    index = index_of(migration.name, migration.sql)
    try:
        if index is not None:
            # no transaction may hold it; what a crash leaves is built anew
            await build(connection, index)
            await connection.execute(SQL["record"], *entry)
            return
        async with connection.transaction():
            await connection.execute(migration.sql)
            await connection.execute(SQL["record"], *entry)
    except asyncpg.PostgresError as fault:
        raise Fatal(f"The migration {migration.name} failed and was undone: {fault}.") from None


async def register_bots(connection: Connection, registry: Registry) -> None:
    """Register the bots in `trading.bots`; unlisted ones stay, as inactive. Desired states are not touched."""
    async with connection.transaction():
        await connection.execute(SQL["deactivate_bots"], [bot.id for bot in registry.bots])
        await connection.executemany(
            SQL["register_bot"],
            [(bot.id, bot.name, bot.strategy, bot.tag, bot.redis_db, bot.container) for bot in registry.bots],
        )


async def set_passwords(connection: Connection, passwords: dict[str, str]) -> None:
    """Set the passwords of our roles. The server receives SCRAM verifiers, so that no password reaches its log."""
    for role, password in passwords.items():
        if role not in ROLES:
            raise Misconfigured(f"{role} is not a role of Alpha. The roles are: {', '.join(ROLES)}.")
        # Roles are cluster-wide; the lock prevents two databases from changing one concurrently.
        async with connection.transaction():
            await connection.execute("LOCK TABLE pg_catalog.pg_authid IN SHARE ROW EXCLUSIVE MODE")
            await connection.execute(f"ALTER ROLE {role} PASSWORD '{verifier(password)}'")


async def newer_than(connection: Connection, folder: Path = MIGRATIONS) -> str | None:
    """The newest applied migration if it is newer than any known to this version of Alpha, otherwise None."""
    row = await connection.fetchrow(SQL["newest"])
    return None if row is None or row["number"] <= read_migrations(folder)[-1].number else str(row["name"])


async def run(settings: MigrateSettings) -> list[str]:
    """Migrate the database, register bots and set passwords; returns the names of the files applied now."""
    registry = load_registry(settings.bots_file or settings.alpha_bots_file)
    if settings.postgres_create_db:
        await _create_database(settings)
    try:
        connection = await connect(settings, "migrate")
    except Misconfigured as fault:
        raise Misconfigured(
            f"{fault} An existing database keeps the password that it was made with, whatever the settings say now: "
            "put the old one back, then change it everywhere with 'alpha password rotate'."
        ) from None
    try:
        if settings.migrate_only_simulated:
            await _refuse_other_accounts(connection)
        applied = await migrate(connection)
        await register_bots(connection, registry)
        await set_passwords(connection, settings.passwords())
    finally:
        await connection.close()
    return applied


async def _create_database(settings: MigrateSettings) -> None:
    """Make the database where it does not exist."""
    connection = await connect(settings.model_copy(update={"postgres_db": "postgres"}), "migrate")
    try:
        if not await connection.fetchval(SQL["database_exists"], settings.postgres_db):
            name = settings.postgres_db.replace('"', '""')
            await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()


async def _refuse_other_accounts(connection: Connection) -> None:
    """Raise Misconfigured when the database holds accounts that are not simulated."""
    if await connection.fetchval(SQL["is_empty"]):
        return
    rows = await connection.fetch(SQL["other_accounts"])
    if rows:
        found = ", ".join(f"{row['number']} {row['environment']}" for row in rows)
        raise Misconfigured(
            f"This database holds other accounts than simulated ones ({found}), so it is not the demo's. "
            "Start the demo as a project of its own: leave out -p and COMPOSE_PROJECT_NAME."
        )


async def bring_up_to_date(settings: MigrateSettings) -> str:
    """Call `run`; returns the result as one sentence."""
    applied = await run(settings)
    if applied:
        return f"Applied {', '.join(applied)}."
    connection = await connect(settings, "migrate")
    try:
        newer = await newer_than(connection)
    finally:
        await connection.close()
    if newer is not None:
        return f"The database is of a newer version ({newer}); it is left as it is."
    return "The database is up to date."


def main() -> int:
    """Entry point of `python -m alpha.postgres.migrate`: prints one line of result or error; returns the exit code."""
    try:
        told = asyncio.run(bring_up_to_date(load(MigrateSettings)))
    except AlphaError as fault:
        sys.stderr.write(f"{fault}\n")
        return fault.exit_code
    sys.stdout.write(f"{told}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
