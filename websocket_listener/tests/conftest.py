"""A migrated PostgreSQL, a Redis and the simulated exchange, shared by the tests of the listener."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from alpha.config.loader import load
from alpha.live_state.connect import RedisClients
from alpha.postgres.database import create_pool
from alpha.postgres.migrate import MigrateSettings, run
from demo.postgres import EmbeddedPostgres
from demo.redis import EmbeddedRedis
from exchange_simulator.market.catalogue import DEFAULT_SYMBOLS
from tests.support.world import ROOT, Process, Simulator

PASSWORD = "password-of-the-owner"
ROLE_PASSWORD = "password-of-the-listener"


@dataclass(frozen=True, slots=True)
class Stores:
    """Where PostgreSQL and Redis are, and a folder for logs."""

    postgres: EmbeddedPostgres
    redis: EmbeddedRedis
    folder: Path


@pytest.fixture(scope="session")
def stores() -> Iterator[Stores]:
    """Both servers, migrated, for all tests of the listener."""
    folder = Path(tempfile.mkdtemp(prefix="alpha-listener-"))
    postgres = EmbeddedPostgres(folder / "postgres", PASSWORD, durable=False)
    redis = EmbeddedRedis(folder / "redis", PASSWORD)
    try:
        postgres.start()
        redis.start()
        arguments = {name.lower(): value for name, value in postgres.environment().items()}
        settings = load(
            MigrateSettings,
            env_file=None,
            bots_file=ROOT / "bots.toml",
            alpha_listener_db_password=ROLE_PASSWORD,
            **arguments,
        )
        asyncio.run(run(settings))
        yield Stores(postgres, redis, folder)
    finally:
        redis.kill()
        postgres.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def pool(stores: Stores) -> AsyncIterator[Any]:
    """A pool of connections to PostgreSQL."""
    found = await create_pool(stores.postgres.settings(), "test", max_size=4)
    yield found
    await found.close()


@pytest.fixture
async def database(stores: Stores) -> AsyncIterator[Any]:
    """One connection to PostgreSQL."""
    found = await asyncpg.connect(
        host="127.0.0.1", port=stores.postgres.port, user="trading_user", password=PASSWORD, database="trading_db"
    )
    yield found
    await found.close()


@pytest.fixture
async def links(stores: Stores) -> AsyncIterator[RedisClients]:
    """Connections to an emptied Redis."""
    found = RedisClients(stores.redis.settings())
    await found.shared.eval("return redis.call('FLUSHALL')", 0)
    yield found
    await found.close()


@pytest.fixture(scope="session")
def exchange(stores: Stores) -> Iterator[Simulator]:
    """The simulated exchange with one account for each test: key-1 to key-23, one read-only, one with two keys."""
    accounts = [text for n in range(1, 24) for text in ("--account", f"key-{n}:secret-{n}:100000")]
    accounts += ["--account", "key-watch:secret-watch:100000:of=key-1,read-only"]
    accounts += ["--account", "key-twin:secret-twin:100000:of=key-2"]
    for name, options in (("hedge", "hedge"), ("legs", "hedge"), ("usdc", "usdc=50000"), ("mnt", "mnt=1000")):
        accounts += ["--account", f"key-{name}:secret-{name}:100000:{options}"]
    accounts += ["--symbols", f"{','.join(DEFAULT_SYMBOLS)},BTCPERP,MNTUSDT"]
    simulator = Simulator(stores.folder, speed="120", seed=11, options=(*accounts, "--no-rate-limits", "--faults"))
    asyncio.run(simulator.start())
    yield simulator
    simulator.process.kill()


@pytest.fixture
def listener(stores: Stores, exchange: Simulator) -> Iterator["ListenerMaker"]:
    """Starts listeners with the keys that a test gives; they are ended with it."""
    maker = ListenerMaker(stores, exchange)
    yield maker
    for process in maker.made:
        process.kill()


class ListenerMaker:
    """Makes the listener's process."""

    def __init__(self, stores: Stores, exchange: Simulator) -> None:
        self.made: list[Process] = []
        self._stores = stores
        self._exchange = exchange

    def __call__(self, keys: dict[str, str], **settings: str) -> Process:
        """Start a listener: `keys` is prefix to key name; `settings` are further variables, in lower case."""
        environment = {
            **self._stores.postgres.environment(),
            "POSTGRES_USER": "alpha_listener",
            "POSTGRES_PASSWORD": ROLE_PASSWORD,
            **self._stores.redis.environment(),
            **self._exchange.environment(),
            "ALPHA_BOTS_FILE": str(ROOT / "bots.toml"),
            "LISTENER_AUDIT_S": "2",
            "LISTENER_START_WAIT_S": "1",
            "LOG_FORMAT": "json",
        }
        for prefix, key in keys.items():
            environment[f"{prefix}_BYBIT_API_KEY"] = key
            environment[f"{prefix}_BYBIT_API_SECRET"] = key.replace("key", "secret")
        environment |= {name.upper(): value for name, value in settings.items()}
        name = f"listener-{len(list(self._stores.folder.glob('listener-*')))}"
        process = Process(name, ["-m", "websocket_listener"], environment, self._stores.folder)
        process.start()
        self.made.append(process)
        return process
