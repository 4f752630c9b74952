"""A migrated database of its own for every test, and the simulated exchange."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator

import pytest

from alpha.config.services import DatabaseSettings
from alpha.postgres.database import Connection, connect
from alpha.postgres.migrate import migrate, register_bots, set_passwords
from alpha.registry import Registry
from demo.postgres import EmbeddedPostgres
from tests.support.fixtures import COPY
from tests.support.sync_world import World, as_sync, world

TEMPLATE = "sync_template"
PASSWORD = "password-of-alpha_sync"
_numbers = itertools.count(1)


async def _run(settings: DatabaseSettings, *statements: str) -> None:
    connection = await connect(settings, "tests")
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


def _of(settings: DatabaseSettings, database: str) -> DatabaseSettings:
    return settings.model_copy(update={"postgres_db": database})


async def prepare(settings: DatabaseSettings, registry: Registry) -> None:
    """Migrate a database and set the password of the sync's role."""
    connection = await connect(settings, "tests")
    await migrate(connection)
    await register_bots(connection, registry)
    await set_passwords(connection, {"alpha_sync": PASSWORD})
    await connection.close()


@pytest.fixture(scope="session")
def sync_template(postgres_server: EmbeddedPostgres, registry: Registry) -> str:
    """The name of a migrated, empty database."""
    asyncio.run(_run(postgres_server.settings(), f"CREATE DATABASE {TEMPLATE}"))
    asyncio.run(prepare(_of(postgres_server.settings(), TEMPLATE), registry))
    return TEMPLATE


@pytest.fixture
def owner_settings(postgres_server: EmbeddedPostgres, sync_template: str) -> Iterator[DatabaseSettings]:
    """The owner's settings for a fresh, migrated database."""
    name = f"sync_{next(_numbers)}"
    asyncio.run(
        _run(
            postgres_server.settings(),
            f"CREATE DATABASE {name} TEMPLATE {sync_template} {COPY}",
            f"GRANT CONNECT ON DATABASE {name} TO alpha_sync",
        )
    )
    yield _of(postgres_server.settings(), name)
    asyncio.run(_run(postgres_server.settings(), f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def sync_settings(owner_settings: DatabaseSettings) -> DatabaseSettings:
    """The sync service's settings for it, with the service's own role."""
    return as_sync(owner_settings, PASSWORD)


@pytest.fixture
async def owner(owner_settings: DatabaseSettings) -> AsyncIterator[Connection]:
    """The owner's connection."""
    connection = await connect(owner_settings, "tests")
    yield connection
    await connection.close()


@pytest.fixture
async def simulated() -> AsyncIterator[World]:
    """A simulated exchange without history."""
    async with world() as running:
        yield running
