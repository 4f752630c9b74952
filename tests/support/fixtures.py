"""Shared fixtures. Servers are started once per session; each test gets isolated data."""

import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from alpha.live_state.connect import RedisClients
from alpha.registry import Registry, load_registry
from demo.postgres import EmbeddedPostgres
from demo.redis import EmbeddedRedis
from tests.support import forkserver
from tests.support.influx import EmbeddedInflux, program

if TYPE_CHECKING:
    from tests.support.bot_harness import Servers

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "a-password-of-the-tests"
#: How a database is copied from a template: files, which costs less than a write-ahead log of every page.
COPY = "STRATEGY FILE_COPY"


def pytest_configure() -> None:
    """Processes of tests are forked with their modules imported; `ALPHA_TESTS_FORK=0` starts interpreters instead."""
    forkserver.enabled = os.environ.get("ALPHA_TESTS_FORK", "1") != "0" and sys.platform == "linux"


def pytest_unconfigure() -> None:
    """End the fork server of this worker."""
    forkserver.SERVER.close()


@pytest.fixture(scope="session")
def registry() -> Registry:
    """The bots of the repository's `bots.toml`."""
    return load_registry(ROOT / "bots.toml")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """One Redis for the session. Tests that stop or kill it make their own EmbeddedRedis instead."""
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis"), PASSWORD)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def redis_links(redis_server: EmbeddedRedis) -> AsyncIterator[RedisClients]:
    """Clients of an emptied Redis."""
    links = RedisClients(redis_server.settings())
    await links.shared.eval("return redis.call('FLUSHALL')", 0)
    yield links
    await links.close()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """One PostgreSQL for the session, with the empty database `trading_db`.

    Tests that stop or kill it make their own EmbeddedPostgres instead.
    """
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), PASSWORD, durable=False)
    server.start()
    yield server
    server.stop("immediate")


@pytest.fixture(scope="session")
def servers() -> Iterator["Servers"]:
    """PostgreSQL and Redis for bot harnesses, one pair per worker. A test that stops one starts it again."""
    from tests.support.bot_harness import Servers  # imports much that few tests need

    both = Servers()
    both.start()
    yield both
    both.stop()


@pytest.fixture
def influx(tmp_path: Path) -> Iterator[EmbeddedInflux]:
    """An InfluxDB of its own with user and database; skipped with the reason where it cannot be had."""
    influxd, why = program()
    if influxd is None:
        pytest.skip(why)
    server = EmbeddedInflux(tmp_path / "influx", influxd)
    server.start()
    server.set_up()
    yield server
    server.kill()
