"""What the guard makes durable: each halt once, in order, whatever is lifted concurrently."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from alpha.config.services import DatabaseSettings
from alpha.errors import Retry
from risk_guard.store import GuardStore, Halt
from tests.support.bot_harness import BotHarness
from tests.support.guard_harness import BOT, halts
from tests.support.stalling import Stalling

PANIC = Halt(None, BOT.bot, None, "panic", "panic by operator:1", "operator:1")
CLOCK = Halt(None, BOT.bot, None, "no_entries", "the clock is off", "guard:clock")
OTHER = Halt(None, "lxalgo_001", None, "panic", "panic by operator:1", "operator:1")


def guard_settings(stage: BotHarness) -> DatabaseSettings:
    variables = stage.environment("alpha_guard")
    return stage.database().model_copy(
        update={
            "postgres_user": "alpha_guard",
            "postgres_password": type(stage.database().postgres_password)(variables["POSTGRES_PASSWORD"]),
        }
    )


@pytest.fixture
async def stores(stage: BotHarness) -> AsyncIterator[list[GuardStore]]:
    made = [GuardStore(guard_settings(stage)) for _ in range(4)]
    yield made
    for store in made:
        await store.close()


async def test_the_same_halt_made_by_many_at_once_is_in_force_once(stage: BotHarness, stores: list[GuardStore]) -> None:
    for _ in range(5):
        assert all(await asyncio.gather(*(store.halt(PANIC) for store in stores for _ in range(4))))
        assert await halts(stage) == [("panic", BOT.bot)]
        assert await stores[0].lift(BOT.bot, None, "operator:1") == 1
        assert await halts(stage) == []


async def test_halts_of_several_bots_whose_accounts_are_not_known_are_each_in_force(
    stage: BotHarness, stores: list[GuardStore]
) -> None:
    for halt in (PANIC, OTHER):
        assert await stores[0].halt(halt)
    assert await halts(stage) == [("panic", BOT.bot), ("panic", OTHER.bot_id)]
    assert await stores[0].lift(OTHER.bot_id, None, "operator:1") == 1
    assert await halts(stage) == [("panic", BOT.bot)], "a bot's halts are lifted, and no other's"


async def test_a_halt_that_waits_is_dropped_by_nothing_but_its_own_lifting(stage: BotHarness) -> None:
    async with Stalling(stage.servers.postgres.port) as way:
        store = GuardStore(guard_settings(stage).model_copy(update={"postgres_port": way.port}), timeout_s=1.0)
        await store.flush()
        way.stall()
        assert not any(await asyncio.gather(*(store.halt(halt) for halt in (PANIC, CLOCK, OTHER))))
        with pytest.raises(Retry):
            await store.lift(BOT.bot, "guard:clock", "guard")
        way.flow()
        # The clock is right again while the three halts are still unwritten.
        assert await store.lift(BOT.bot, "guard:clock", "guard") == 1
        assert await store.flush()
        assert await halts(stage) == [("panic", BOT.bot), ("panic", OTHER.bot_id)]
        await store.close()
