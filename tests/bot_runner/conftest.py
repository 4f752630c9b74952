"""A stage for each test, with a database of its own; the servers are shared by tests that do not touch them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.bot_harness import BotHarness, Servers

STEP = ("--step", "--path", "high-first", "--symbols", "BTCUSDT,ETHUSDT")


@pytest.fixture
async def stage(tmp_path: Path, servers: Servers) -> AsyncIterator[BotHarness]:
    """A simulated exchange whose time stands still between steps, and an empty database and Redis."""
    made = BotHarness(tmp_path, options=STEP, servers=servers)
    await made.open()
    yield made
    made.close()
