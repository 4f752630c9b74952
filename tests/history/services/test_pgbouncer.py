"""The pooler in its container, in front of a real PostgreSQL 17."""

import asyncio
import subprocess
from dataclasses import dataclass

import asyncpg
import pytest
from pydantic import SecretStr

from alpha.config.loader import load
from alpha.config.services import DatabaseSettings
from alpha.errors import Misconfigured
from alpha.postgres.database import connect, create_pool
from tests.history.roles import PASSWORDS
from tests.history.services.conftest import OWNER_PASSWORD, Seventeen
from tests.support.docker_env import ROOT, docker, each_second, port_of

pytestmark = [pytest.mark.containers, pytest.mark.timeout(600)]
IMAGE = "alpha/pgbouncer:test"
CLIENTS = 500


@dataclass(frozen=True)
class Pooler:
    """The pooler's container, and its port on this host."""

    container: str
    port: int

    def through_pooler(self, role: str) -> DatabaseSettings:
        """Connection settings of a role through the pooler."""
        return load(
            DatabaseSettings,
            env_file=None,
            postgres_host="127.0.0.1",
            postgres_port=self.port,
            postgres_db="trading_db",
            postgres_user=role,
            postgres_password=PASSWORDS.get(role, OWNER_PASSWORD),
        )


@pytest.fixture(scope="module")
def pooler(seventeen: Seventeen) -> Pooler:
    """The pooler in front of PostgreSQL 17."""
    docker("build", "--quiet", "--tag", IMAGE, str(ROOT / "pgbouncer"))
    secrets = {f"{role}_DB_PASSWORD".upper(): password for role, password in PASSWORDS.items()}
    container = seventeen.room.run(
        IMAGE,
        "pgbouncer",
        {"POSTGRES_PASSWORD": OWNER_PASSWORD, **secrets},
        healthcheck=each_second(),
        port=6432,
        read_only=True,
        tmpfs={"/tmp": "mode=1777"},
        cap_drop=["ALL"],
    )
    return Pooler(container.get_container_id(), port_of(container, 6432))


async def test_500_clients_with_cached_statements_share_25_connections(pooler: Pooler) -> None:
    settings = pooler.through_pooler("alpha_strategy")

    async def client(number: int, ready: asyncio.Event) -> list[int]:
        connection = await asyncpg.connect(
            host="127.0.0.1",
            port=settings.postgres_port,
            database="trading_db",
            user="alpha_strategy",
            password=settings.postgres_password.get_secret_value(),
            timeout=60,
        )
        await ready.wait()
        # The same statement repeatedly: asyncpg prepares it once and reuses its name, whichever connection serves it.
        answers = [await connection.fetchval("SELECT $1::int + $2::int", number, turn, timeout=60) for turn in range(5)]
        await connection.close()
        return answers

    ready = asyncio.Event()
    # the observer connects before the crowd
    watcher = await create_pool(pooler.through_pooler("alpha_readonly"), "watch", max_size=1)
    tasks = [asyncio.create_task(client(number, ready)) for number in range(CLIENTS)]
    async with watcher.acquire() as connection:
        ready.set()
        results = await asyncio.gather(*tasks)
        servers = await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE usename = 'alpha_strategy'")
    await watcher.close()
    assert results == [[number + turn for turn in range(5)] for number in range(CLIENTS)]
    assert 1 <= servers <= 25


@pytest.mark.parametrize("role", ["trading_user", *PASSWORDS])
async def test_every_role_logs_in_through_the_pooler_with_its_password(pooler: Pooler, role: str) -> None:
    pool = await create_pool(pooler.through_pooler(role), "tests", max_size=1)
    assert await pool.fetchval("SELECT current_user") == role
    await pool.close()


async def test_a_wrong_password_is_refused(pooler: Pooler) -> None:
    settings = pooler.through_pooler("alpha_c2").model_copy(update={"postgres_password": SecretStr("wrong")})
    with pytest.raises(Misconfigured, match="refuses the user alpha_c2"):
        await connect(settings, "tests")


def test_the_statistics_are_readable_to_the_command_centre(pooler: Pooler) -> None:
    said = docker(
        "exec", "--env=PGPASSWORD=" + PASSWORDS["alpha_c2"], pooler.container,
        "psql", "-h", "127.0.0.1", "-p", "6432", "-U", "alpha_c2", "-d", "pgbouncer", "-Atc", "SHOW CONFIG",
    )  # fmt: skip
    rows = dict(line.split("|")[:2] for line in said.splitlines())
    assert rows["pool_mode"] == "transaction"
    assert rows["max_client_conn"] == "1000"
    assert rows["default_pool_size"] == "25"


def test_it_is_unhealthy_when_postgresql_does_not_answer(pooler: Pooler) -> None:
    check = ["docker", "exec", "--env=POSTGRES_DB=no_such_database", pooler.container, "sh", "/opt/pgbouncer/check.sh"]
    assert subprocess.run(check, check=False, capture_output=True).returncode != 0
    assert subprocess.run([*check[:2], *check[3:]], check=False, capture_output=True).returncode == 0


def test_without_a_password_it_ends_with_one_sentence(pooler: Pooler) -> None:
    result = subprocess.run(["docker", "run", "--rm", IMAGE], check=False, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.strip().splitlines() == [
        "POSTGRES_PASSWORD is not set. Put it into .env, or run 'alpha init'."
    ]
