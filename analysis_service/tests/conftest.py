"""The service's process against the simulated exchange, with real Redis and PostgreSQL."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from alpha.config.loader import load
from alpha.live_state.connect import RedisClients
from alpha.postgres.database import Connection, connect
from alpha.postgres.migrate import MigrateSettings, run
from demo.ports import free_port
from demo.postgres import EmbeddedPostgres
from demo.redis import EmbeddedRedis
from tests.support.world import ROOT, Process, Simulator

ROLE_PASSWORD = "a-password-of-the-role"


@pytest.fixture
async def owner(postgres_server: EmbeddedPostgres) -> AsyncIterator[Connection]:
    """The owner's connection to the migrated database, without any analysis."""
    arguments = {name.lower(): value for name, value in postgres_server.environment().items()}
    await run(
        load(
            MigrateSettings,
            env_file=None,
            alpha_bots_file=ROOT / "bots.toml",
            alpha_analysis_db_password=ROLE_PASSWORD,
            **arguments,
        )
    )
    connection = await connect(postgres_server.settings(), "tests")
    await connection.execute("TRUNCATE trading.analysis, trading.analysis_schemas")
    yield connection
    await connection.close()


class Service:
    """Starts processes of the analysis service; all are killed at the end."""

    def __init__(self, folder: Path, redis: EmbeddedRedis, postgres: EmbeddedPostgres) -> None:
        self.folder = folder
        self.made: list[Process] = []
        self.health_port = free_port()
        self.definition = folder / "analysis.toml"
        self._stores = {**redis.environment(), **postgres.environment()}

    def __call__(self, exchange: dict[str, str], **settings: str) -> Process:
        """A started service; `settings` are variables in lower case."""
        environment = {
            **self._stores, **exchange,
            "POSTGRES_USER": "alpha_analysis", "POSTGRES_PASSWORD": ROLE_PASSWORD,
            "ANALYSIS_FILE": str(self.definition), "ANALYSIS_SYMBOLS": "BTCUSDT,ETHUSDT",
            "ALPHA_BOTS_FILE": str(ROOT / "bots.toml"), "LOG_FORMAT": "json", "HEALTH_PORT": str(self.health_port),
            **{name.upper(): value for name, value in settings.items()},
        }  # fmt: skip
        process = Process(f"analysis-{len(self.made)}", ["-m", "analysis_service"], environment, self.folder)
        self.made.append(process)
        process.start()
        return process

    async def health(self) -> tuple[int, str]:
        """The status and the text of /healthz; 0 while nothing answers."""
        return await self._ask("healthz")

    async def metrics(self) -> str:
        """The text of /metrics."""
        return (await self._ask("metrics"))[1]

    async def _ask(self, path: str) -> tuple[int, str]:
        async with httpx.AsyncClient() as client:
            try:
                answer = await client.get(f"http://127.0.0.1:{self.health_port}/{path}")
            except httpx.TransportError:
                return 0, ""
            return answer.status_code, answer.text


@pytest.fixture
def service(
    tmp_path: Path, redis_server: EmbeddedRedis, redis_links: RedisClients, postgres_server: EmbeddedPostgres
) -> Iterator[Service]:
    """Starts the service, with an emptied Redis."""
    maker = Service(tmp_path, redis_server, postgres_server)
    maker.definition.write_bytes((ROOT / "analysis_service" / "analysis.toml").read_bytes())
    yield maker
    for process in maker.made:
        process.kill()


@pytest.fixture
async def simulator(tmp_path: Path) -> AsyncIterator[Simulator]:
    """A simulated exchange on which an hour passes in two seconds."""
    found = Simulator(tmp_path, speed="1800", seed=5, options=("--no-rate-limits", "--faults"))
    await found.start()
    yield found
    found.process.kill()
