"""Servers that the guard's tests share, and a harness of its own for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.bot_harness import BotHarness, Servers


@pytest.fixture
async def stage(tmp_path: Path, servers: Servers) -> AsyncIterator[BotHarness]:
    """An exchange and a database of this test's own."""
    made = BotHarness(tmp_path, speed="1", servers=servers)
    await made.open()
    yield made
    made.close()
