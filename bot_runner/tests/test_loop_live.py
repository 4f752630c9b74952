"""A look at the universe that fails is made again at the next tick; the parts of the bot are scripted."""

from decimal import Decimal
from unittest.mock import AsyncMock, MagicMock

import pytest

from alpha.bybit.request_plan import bot_beats
from alpha.clock import BusinessClock, monotonic_ms
from alpha.errors import Retry
from alpha.strategy.base import Universe
from bot_runner import loop_live
from bot_runner.context import BotContext

HOUR_MS = 3_600_000


async def test_a_look_at_the_universe_that_failed_is_made_again_at_the_next_tick(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crew = MagicMock(spec_set=BotContext)
    crew.clock = BusinessClock()
    crew.beats = bot_beats(1)
    crew.clock.saw(HOUR_MS)
    crew.strategy.universe = Universe((), Decimal(1), HOUR_MS)
    crew.beat, crew.tell_symbols, crew.follow = AsyncMock(), AsyncMock(), AsyncMock()
    crew.trader.tick = crew.trader.journal.alerts.flush = crew.trader.journal.keep_up = AsyncMock()
    crew.trader.journal.over = AsyncMock()
    crew.broker.refresh_instruments = AsyncMock(side_effect=[Retry("The exchange is away."), None])
    monkeypatch.setattr(loop_live, "followed", AsyncMock(return_value=("BTCUSDT",)))
    loop = loop_live.LiveLoop(crew)

    crew.clock.saw(2 * HOUR_MS)
    await loop._tick(monotonic_ms())
    crew.follow.assert_not_awaited()
    await loop._tick(monotonic_ms())
    crew.follow.assert_awaited_once_with(("BTCUSDT",))
    await loop._tick(monotonic_ms())
    crew.follow.assert_awaited_once()
