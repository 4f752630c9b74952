"""One PostgreSQL 17 for the tests of all services, as in the containers, with fresh databases on request."""

import asyncio
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from alpha.config.loader import load
from alpha.postgres.database import connect
from alpha.postgres.migrate import MigrateSettings
from alpha.postgres.migrate import run as migrate
from tests.history.roles import PASSWORDS
from tests.support.docker_env import ROOT, DockerEnv, each_second, port_of

OWNER_PASSWORD = 'the "owner": of\\this'


@dataclass(frozen=True)
class Seventeen:
    """A PostgreSQL 17 with alias `postgres` in the network of `room`, with a migrated `trading_db`."""

    room: DockerEnv
    settings: MigrateSettings

    async def renew(self) -> None:
        """Replace `trading_db` with a new one, discarding all data."""
        server = await connect(self.settings.model_copy(update={"postgres_db": "postgres"}), "tests")
        left = "SELECT datname FROM pg_database WHERE datname LIKE 'trading_db%'"
        for row in await server.fetch(left):
            await server.execute(f'DROP DATABASE "{row["datname"]}" WITH (FORCE)')
        await server.execute("CREATE DATABASE trading_db")
        await server.close()
        await migrate(self.settings)


@pytest.fixture(scope="session")
def _seventeen() -> Iterator[Seventeen]:
    if subprocess.run(["docker", "info"], check=False, capture_output=True, timeout=60).returncode != 0:
        pytest.skip("no Docker engine answers")
    with DockerEnv() as room:
        postgres = room.run(
            "postgres:17",
            "postgres",
            {"POSTGRES_USER": "trading_user", "POSTGRES_DB": "trading_db", "POSTGRES_PASSWORD": OWNER_PASSWORD},
            healthcheck=each_second("pg_isready", "-h", "127.0.0.1", "-U", "trading_user", "-d", "trading_db"),
            port=5432,
        )
        settings = load(
            MigrateSettings,
            env_file=None,
            postgres_host="127.0.0.1",
            postgres_port=port_of(postgres, 5432),
            postgres_db="trading_db",
            postgres_user="trading_user",
            postgres_password=OWNER_PASSWORD,
            bots_file=ROOT / "bots.toml",
            **{f"{role}_db_password": password for role, password in PASSWORDS.items()},
        )
        yield Seventeen(room, settings)


@pytest.fixture
def fresh_seventeen(_seventeen: Seventeen) -> Seventeen:
    """With a fresh database for each test."""
    asyncio.run(_seventeen.renew())
    return _seventeen


@pytest.fixture(scope="module")
def seventeen(_seventeen: Seventeen) -> Seventeen:
    """With a fresh database for each module."""
    asyncio.run(_seventeen.renew())
    return _seventeen
