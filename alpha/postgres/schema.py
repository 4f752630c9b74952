"""Waits for the schema that a service needs, then executes that service. The entry point of the services' images.

    python -m alpha.postgres.schema COMMAND...

Nothing in compose depends on `migrate`, so that a failed one leaves everything running. Instead each service waits
inside its container and says for what. The listener, the guard and the command centre must work while an upgrade is
in progress or has failed: they run with every schema from OLDEST_SCHEMA on, because migrations only add.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from alpha.errors import AlphaError, Retry
from alpha.postgres.sql import queries
from alpha.services import SERVICES

if TYPE_CHECKING:
    from alpha.config.services import DatabaseSettings

SQL = queries(__file__)

#: The oldest schema that MUST_RUN services can work with: 18 has the leases without which two of them could act at once.
#: At a release, the newest migration of the previous release; docs/contributing.md says more.
OLDEST_SCHEMA = 18
#: Services that run with every schema from OLDEST_SCHEMA on, and also while PostgreSQL is unavailable.
MUST_RUN = frozenset(service.name for service in SERVICES if service.must_run)
#: Services that do not need the schema, or create it.
NEED_NONE = frozenset(
    {"", "base", "doctor", "exchange_simulator", "postgres_backup", *(one.name for one in SERVICES if not one.role)}
)
#: The image's record of its newest migration: the files themselves are only in the image of `migrate`.
IMAGE_NOTE = Path("/app/schema_version")
PAUSE_S = 1.0
#: How long the MUST_RUN services wait for their role in PostgreSQL: on a fresh host `migrate` creates it.
PATIENCE_S = 60.0
SAY_S = 30.0


def needed(service: str) -> int:
    """The number of the migration this service requires to start."""
    if service in MUST_RUN:
        return OLDEST_SCHEMA
    if IMAGE_NOTE.exists():
        return int(IMAGE_NOTE.read_text(encoding="ascii"))
    from alpha.postgres.migrate import read_migrations

    return read_migrations()[-1].number


async def present(settings: "DatabaseSettings | None" = None) -> int:
    """The number of the newest applied migration; 0 without a schema. Raises the errors of `connect`.

    Connects with `settings`, or with those of the environment.
    """
    import asyncpg

    from alpha.config.loader import load
    from alpha.config.services import DatabaseSettings
    from alpha.postgres.database import POSTGRES_ERRORS, connect, explained

    settings = settings or load(DatabaseSettings)
    connection = await connect(settings, "schema")
    try:
        return int(await connection.fetchval(SQL["schema_version"]) or 0)
    except (asyncpg.InvalidSchemaNameError, asyncpg.UndefinedFunctionError, asyncpg.InsufficientPrivilegeError):
        return 0
    except POSTGRES_ERRORS as fault:
        raise explained(fault, settings) from None
    finally:
        await connection.close()


async def wait(service: str, say: Callable[[str], None], *, patience_s: float = PATIENCE_S) -> None:
    """Wait until `service` may start; calls `say` with the reason, and again every 30 s."""
    wanted, must_run = needed(service), service in MUST_RUN
    began_s = time.monotonic()
    said, said_s = "", 0.0
    while True:
        try:
            found = await present()
            if found >= wanted:
                return
            why = (
                f"The database has schema {found}, {service} needs {wanted}. "
                "Run 'alpha upgrade', or look why it failed: docker compose logs migrate."
            )
        except Retry as fault:
            if must_run:
                return  # it handles outages itself and has much to do without PostgreSQL
            why = str(fault)
        except AlphaError as fault:
            if must_run and time.monotonic() - began_s > patience_s:
                return
            why = f"{fault} On a fresh host 'migrate' makes the roles: docker compose logs migrate."
        if why != said or time.monotonic() - said_s > SAY_S:
            say(f"{service} waits: {why}")
            said, said_s = why, time.monotonic()
        await asyncio.sleep(PAUSE_S)


def _say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()


def main() -> int:
    """Wait, then replace this process with the command in the arguments."""
    service, command = os.environ.get("ALPHA_SERVICE", ""), sys.argv[1:]
    if service not in NEED_NONE:
        try:
            asyncio.run(wait(service, _say))
        except KeyboardInterrupt:
            return 130
        except AlphaError as fault:
            sys.stderr.write(f"{fault}\n")
            return fault.exit_code
    if command:
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    sys.stderr.write("No command given. Usage: python -m alpha.postgres.schema COMMAND...\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
