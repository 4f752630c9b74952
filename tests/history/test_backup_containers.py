"""The backup service in its container, with pg_dump 17 and a real PostgreSQL 17."""

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from alpha.db.fills import insert_fills
from alpha.db.migrate import MigrateSettings
from alpha.db.migrate import run as migrate
from alpha.db.pool import connect
from alpha.settings import load
from tests.history.build import new_account
from tests.history.containers import ROOT, Network, docker, engine_answers, port_of, wait_until_healthy
from tests.history.generator import some_fills

pytestmark = [
    pytest.mark.containers,
    pytest.mark.skipif(not engine_answers(), reason="no Docker engine answers"),
    pytest.mark.timeout(900),
]
IMAGE = "alpha/postgres_backup:test"
PASSWORD = "owner of this test"
USER = 10001


@dataclass(frozen=True)
class Stack:
    """PostgreSQL with history, the network it is in, and the folder of backups."""

    settings: MigrateSettings
    network: Network
    folder: Path

    def options(self) -> list[str]:
        """How the service is run in production."""
        return ["--read-only", "--cap-drop=ALL", "--tmpfs=/tmp", f"--volume={self.folder}:/backups"]

    def command(self, *words: str) -> str:
        """Run one of its commands, as `docker compose run --rm postgres_backup ...` does."""
        return docker(
            "run", "--rm", f"--network={self.network.name}", f"--env=POSTGRES_PASSWORD={PASSWORD}", *self.options(), IMAGE, *words
        )  # fmt: skip


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """PostgreSQL 17 with 3,000 fills."""
    arguments = ("--build-arg=GROUP=service", "--build-arg=FOLDER=database", "--build-arg=SERVICE=postgres_backup")
    docker(
        "build", "--quiet", "--tag", IMAGE, "--file", str(ROOT / "docker/Dockerfile"), "--target=backup", *arguments, str(ROOT)
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("backups")
    shutil.chown(folder, USER, USER)
    network = Network()
    try:
        postgres = network.run(
            "postgres:17",
            "postgres",
            {"POSTGRES_USER": "trading_user", "POSTGRES_DB": "trading_db", "POSTGRES_PASSWORD": PASSWORD},
            "--publish=127.0.0.1:0:5432",
            "--health-cmd=pg_isready -h 127.0.0.1 -U trading_user -d trading_db",
            "--health-interval=1s",
        )
        wait_until_healthy(postgres)
        settings = load(
            MigrateSettings,
            env_file=None,
            postgres_host="127.0.0.1",
            postgres_port=port_of(postgres, 5432),
            postgres_user="trading_user",
            postgres_db="trading_db",
            postgres_password=PASSWORD,
            bots_file=ROOT / "bots.toml",
        )

        async def fill() -> None:
            await migrate(settings)
            connection = await connect(settings, "tests")
            account = await new_account(connection)
            rows = some_fills(1, 3_000, account, "BTCUSDT")
            await insert_fills(connection, rows)
            await connection.close()

        asyncio.run(fill())
        yield Stack(settings, network, folder)
    finally:
        network.close()


async def test_the_service_backs_up_at_once_becomes_healthy_and_one_command_restores(stack: Stack) -> None:
    service = stack.network.run(
        IMAGE, "postgres_backup", {"POSTGRES_PASSWORD": PASSWORD}, *stack.options(), "--health-interval=1s"
    )
    wait_until_healthy(service)
    docker("stop", "--time=15", service)
    assert docker("inspect", "--format", "{{.State.ExitCode}}", service) == "0"
    listed = stack.command("list")
    assert [line.split("/")[0] for line in listed.splitlines()] == ["daily", "weekly", "monthly"]
    assert "all counts and sums are equal" in stack.command("rehearse", "latest")

    connection = await connect(stack.settings, "tests")
    kept = await connection.fetchval("SELECT count(*) FROM trading.round_trips")
    assert [tuple(row) for row in await connection.fetch("SELECT kind, ok FROM audit.backups ORDER BY 1 LIMIT 2")] == [
        ("backup", True),
        ("rehearsal", True),
    ]
    await connection.execute("TRUNCATE trading.fills, trading.round_trips")
    await connection.close()
    said = stack.command("restore", "latest")
    assert "The former database is kept as trading_db_before_" in said
    connection = await connect(stack.settings, "tests")
    assert await connection.fetchval("SELECT count(*) FROM trading.fills") == 3_000
    assert await connection.fetchval("SELECT count(*) FROM trading.round_trips") == kept
    await connection.close()
    await migrate(stack.settings)
