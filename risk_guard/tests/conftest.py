"""Servers that the guard's tests share, and a harness of its own for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from alpha.config.loader import load
from risk_guard.app import GuardApp
from risk_guard.settings import GuardSettings
from tests.support.bot_harness import BotHarness, Servers
from tests.support.world import BOTS


@pytest.fixture
async def stage(tmp_path: Path, servers: Servers) -> AsyncIterator[BotHarness]:
    """An exchange and a database of this test's own."""
    made = BotHarness(tmp_path, speed="1", servers=servers)
    await made.open()
    yield made
    made.close()


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> GuardApp:
    """A guard of all bots that reaches neither exchange nor store."""
    for bot in BOTS:
        for name, value in bot.environment().items():
            monkeypatch.setenv(name, value)
    settings = load(
        GuardSettings,
        env_file=None,
        bybit_rest_url="http://127.0.0.1:9",
        bybit_ws_url="ws://127.0.0.1:9",
        postgres_port=9,
        redis_port=9,
        postgres_password="unused",
        redis_password="unused",
        bot_control_url="unix:///no/such/socket",
    )
    return GuardApp(settings)
