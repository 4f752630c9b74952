"""Fixtures: the real stores, a Bot API server, and a command centre that talks to it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from alpha.config.loader import load
from alpha.config.services import DatabaseSettings
from operations.access_code import hash_code
from operations.context import History, Operations
from telegram_manager.dispatcher import UpdateDispatcher
from telegram_manager.poller import Poller
from telegram_manager.rate_limit import RateLimit
from telegram_manager.session_commands import SessionCommands
from telegram_manager.settings import CommandCentreSettings
from telegram_manager.state_store import StateStore
from telegram_manager.wiring import Setup, first_offset, make_desk, make_poller, set_up
from tests.support.bot_api import TOKEN, BotApi
from tests.support.operations import as_role, house_database, house_template, platform, supervisor

__all__ = ["house_database", "house_template", "platform", "supervisor"]

ADMIN, SECOND_ADMIN, OPERATOR, VIEWER, STRANGER = 101, 102, 201, 301, 666
GROUP, TOPIC = -1001, 7
CODE = "open sesame"


def settings_for(api: BotApi, **more: Any) -> CommandCentreSettings:
    """Settings with one person per role and one topic of a group."""
    values = {
        "c2_telegram_bot_token": TOKEN,
        "c2_telegram_admin_ids": f"{ADMIN},{SECOND_ADMIN}",
        "c2_telegram_operator_ids": str(OPERATOR),
        "c2_telegram_viewer_ids": str(VIEWER),
        "c2_telegram_groups": f"{GROUP}:{TOPIC}",
        "c2_telegram_api_url": api.url,
        "c2_telegram_rate_per_minute": 600,
        "postgres_password": "unused-here",
        "redis_password": "unused-here",
        **more,
    }
    return load(CommandCentreSettings, env_file=None, **values)


@pytest.fixture
async def api() -> AsyncIterator[BotApi]:
    """A Bot API server for one test."""
    server = BotApi()
    await server.open()
    yield server
    await server.close()


@pytest.fixture
async def dashboard_platform(platform: Operations, house_database: DatabaseSettings) -> AsyncIterator[Operations]:
    """The same system with the dashboard's role."""
    history = History(as_role(house_database, "alpha_dashboard"), "tests")
    yield replace(platform, history=history)
    await history.close()


@dataclass
class Centre:
    """A running command centre."""

    api: BotApi
    platform: Operations
    setup: Setup
    desk: UpdateDispatcher
    poller: Poller
    polling: "asyncio.Task[None]"
    acknowledged: list[str]

    async def settle(self) -> None:
        """Wait until everything sent to the bot has been answered."""
        await self.api.until_idle()
        await self.desk.drain()

    async def end(self) -> None:
        """End it as a restart would."""
        self.polling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.polling
        await self.desk.close(0)
        await self.setup.close()


async def start_centre(api: BotApi, platform: Operations, **more: Any) -> Centre:
    """Start a command centre over the real stores and this server."""
    settings = settings_for(api, **more)
    memory = StateStore(platform)
    setup = await set_up(platform, settings, memory, RateLimit(chat_ms=0))
    await setup.bot.initialize()
    acknowledged: list[str] = []

    async def acknowledge(who: str, ids: tuple[str, ...] = ()) -> int:
        acknowledged.append(who)
        return 0

    async def gate_changed() -> None:
        await memory.save("gate", setup.gate.state)

    own = SessionCommands(
        platform,
        setup.letters,
        setup.gate,
        setup.audience,
        settings.c2_telegram_access_code_hash,
        acknowledge,
        gate_changed,
        settings,
    )
    desk = make_desk(platform, settings, setup, own)
    poller = make_poller(setup, desk)
    polling = asyncio.create_task(poller.run(await first_offset(setup)))
    return Centre(api, platform, setup, desk, poller, polling, acknowledged)


@pytest.fixture
async def centre(api: BotApi, platform: Operations) -> AsyncIterator[Centre]:
    """A command centre without an access code."""
    made = await start_centre(api, platform)
    yield made
    await made.end()


@pytest.fixture
async def guarded_centre(api: BotApi, platform: Operations) -> AsyncIterator[Centre]:
    """A command centre that requires an access code."""
    made = await start_centre(api, platform, c2_telegram_access_code_hash=hash_code(CODE))
    yield made
    await made.end()


@pytest.fixture
def make_centre(api: BotApi, platform: Operations) -> Callable[..., Any]:
    """Makes command centres, for tests that restart them."""

    async def make(**more: Any) -> Centre:
        return await start_centre(api, platform, **more)

    return make
