"""A migrated database for every test, copied from one template."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from alpha.config.services import DatabaseSettings
from alpha.postgres.database import Connection, connect
from alpha.postgres.migrate import migrate, register_bots, set_passwords
from alpha.postgres.partition import partition
from alpha.registry import Registry
from demo.postgres import EmbeddedPostgres
from tests.history.roles import PASSWORDS
from tests.support.fixtures import COPY

TEMPLATE = "history_template"
#: HISTORY_PARTITIONS=4 runs the tests of the history on the converted form of `trading.fills`.
PARTITIONS = int(os.environ.get("HISTORY_PARTITIONS", "0"))
plain_form = pytest.mark.skipif(PARTITIONS > 0, reason="names tables or indexes of the form that is not converted")
_numbers = itertools.count(1)


def of(settings: DatabaseSettings, database: str) -> DatabaseSettings:
    """Settings for another database on the same server."""
    return settings.model_copy(update={"postgres_db": database})


async def run(settings: DatabaseSettings, *statements: str) -> None:
    """Run statements, each in its own transaction."""
    connection = await connect(settings, "tests")
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


@pytest.fixture(scope="session")
def history_template(postgres_server: EmbeddedPostgres, registry: Registry) -> str:
    """The name of a migrated, empty database."""

    async def make() -> None:
        await run(postgres_server.settings(), f"CREATE DATABASE {TEMPLATE}")
        connection = await connect(of(postgres_server.settings(), TEMPLATE), "tests")
        await migrate(connection)
        await register_bots(connection, registry)
        await set_passwords(connection, PASSWORDS)
        await connection.close()
        if PARTITIONS:
            await partition(of(postgres_server.settings(), TEMPLATE), PARTITIONS, lambda share: None)

    asyncio.run(make())
    return TEMPLATE


@pytest.fixture
def history_source(history_template: str) -> str:
    """The database that each test's database is copied from; modules with other needs override this fixture."""
    return history_template


@pytest.fixture
def history_settings(postgres_server: EmbeddedPostgres, history_source: str) -> Iterator[DatabaseSettings]:
    """Connection settings of the owner for a fresh, migrated database."""
    name = f"history_{next(_numbers)}"
    server = postgres_server.settings()
    create = f"CREATE DATABASE {name} TEMPLATE {history_source} {COPY}"
    # Database-level settings are not copied with the template.
    revoke = f"REVOKE ALL ON DATABASE {name} FROM PUBLIC"
    grant = f"GRANT CONNECT ON DATABASE {name} TO {', '.join(PASSWORDS)}"
    asyncio.run(run(server, create, revoke, grant))
    yield of(server, name)
    asyncio.run(run(server, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def owner(history_settings: DatabaseSettings) -> AsyncIterator[Connection]:
    """A connection as the owner."""
    connection = await connect(history_settings, "tests")
    yield connection
    await connection.close()


@pytest.fixture
async def listener(history_settings: DatabaseSettings) -> AsyncIterator[Connection]:
    """A connection as the listener."""
    user, secret = "alpha_listener", PASSWORDS["alpha_listener"]
    connection = await asyncpg.connect(
        host=history_settings.postgres_host,
        port=history_settings.postgres_port,
        database=history_settings.postgres_db,
        user=user,
        password=secret,
    )
    yield connection
    await connection.close()
