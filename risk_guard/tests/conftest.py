"""Servers that the guard's tests share, and a harness of its own for each test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.bot_harness import BotHarness, Servers


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """A PostgreSQL and a Redis; a test that stops one starts it again."""
    both = Servers()
    both.start()
    yield both
    both.stop()


@pytest.fixture
async def stage(tmp_path: Path, servers: Servers) -> AsyncIterator[BotHarness]:
    """An exchange and a database of this test's own."""
    made = BotHarness(tmp_path, speed="1", servers=servers)
    await made.open()
    yield made
    made.close()
