"""The backup service in its container, with pg_dump 17 and a real PostgreSQL 17."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from alpha.postgres.database import connect
from alpha.postgres.fills import insert_fills
from alpha.postgres.migrate import run as migrate
from tests.history.build import new_account
from tests.history.services.conftest import OWNER_PASSWORD, Seventeen
from tests.support.docker_env import ROOT, docker, each_second
from tests.support.fill_generator import some_fills

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]
IMAGE = "alpha/postgres_backup:test"
USER = 10001


@dataclass(frozen=True)
class Service:
    """The backup service next to PostgreSQL, and its backup folder."""

    postgres: Seventeen
    folder: Path

    def command(self, *words: str) -> str:
        """Run one of its commands, as with `docker compose run --rm postgres_backup ...`."""
        options = ["--read-only", "--cap-drop=ALL", "--tmpfs=/tmp", f"--volume={self.folder}:/backups"]
        return docker(
            "run", "--rm", f"--network={self.postgres.room.network}", f"--env=POSTGRES_PASSWORD={OWNER_PASSWORD}", *options, IMAGE, *words
        )  # fmt: skip


@pytest.fixture
async def service(fresh_seventeen: Seventeen, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """The service with its image, and 3,000 fills to back up."""
    arguments = ("--build-arg=GROUP=service", "--build-arg=FOLDER=database", "--build-arg=SERVICE=postgres_backup")
    docker(
        "build", "--quiet", "--tag", IMAGE, "--file", str(ROOT / "docker/Dockerfile"), "--target=backup", *arguments, str(ROOT)
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("backups")
    shutil.chown(folder, USER, USER)
    connection = await connect(fresh_seventeen.settings, "tests")
    await insert_fills(connection, some_fills(1, 3_000, await new_account(connection), "BTCUSDT"))
    await connection.close()
    return Service(fresh_seventeen, folder)


async def test_the_service_backs_up_at_once_becomes_healthy_and_one_command_restores(service: Service) -> None:
    settings = service.postgres.settings
    container = service.postgres.room.run(
        IMAGE,
        "postgres_backup",
        {"POSTGRES_PASSWORD": OWNER_PASSWORD},
        healthcheck=each_second(),
        read_only=True,
        cap_drop=["ALL"],
        tmpfs={"/tmp": ""},
        volumes=[(str(service.folder), "/backups", "rw")],
    )
    docker("stop", "--time=15", container.get_container_id())
    assert docker("inspect", "--format", "{{.State.ExitCode}}", container.get_container_id()) == "0"
    listed = service.command("list")
    assert [line.split("/")[0] for line in listed.splitlines()] == ["daily", "weekly", "monthly"]
    assert "all counts and sums are equal" in service.command("rehearse", "latest")

    connection = await connect(settings, "tests")
    kept = await connection.fetchval("SELECT count(*) FROM trading.round_trips")
    assert [tuple(row) for row in await connection.fetch("SELECT kind, ok FROM audit.backups ORDER BY 1 LIMIT 2")] == [
        ("backup", True),
        ("rehearsal", True),
    ]
    await connection.execute("TRUNCATE trading.fills, trading.round_trips")
    await connection.close()
    said = service.command("restore", "latest")
    assert "The former database is kept as trading_db_before_" in said
    connection = await connect(settings, "tests")
    assert await connection.fetchval("SELECT count(*) FROM trading.fills") == 3_000
    assert await connection.fetchval("SELECT count(*) FROM trading.round_trips") == kept
    await connection.close()
    await migrate(settings)
