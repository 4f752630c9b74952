"""Shared fixtures. Servers are started once a session; what a test gets from them is its own."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from alpha.live.connect import RedisLinks
from alpha.registry import Registry, load_registry
from tests.stack.redis_server import RedisServer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def registry() -> Registry:
    """The house's own bots."""
    return load_registry(ROOT / "bots.toml")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One Redis for the session. Tests that stop or kill it make their own RedisServer instead."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def redis_links(redis_server: RedisServer) -> AsyncIterator[RedisLinks]:
    """Connections to an emptied Redis."""
    links = RedisLinks(redis_server.settings())
    await links.shared.eval("return redis.call('FLUSHALL')", 0)
    yield links
    await links.close()
