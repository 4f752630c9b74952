"""A bot that is killed at any moment, again and again, while it trades."""

import asyncio
import random
from decimal import Decimal
from itertools import pairwise

import pytest

from tests.support.bot_harness import BotHarness
from tests.support.world import until

KILLS = 8
SYMBOLS = ("BTCUSDT", "ETHUSDT")


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2])
async def test_a_bot_killed_at_any_moment_never_holds_what_it_does_not_know_and_never_sends_twice(
    stage: BotHarness, seed: int
) -> None:
    draw = random.Random(seed)
    bot = stage.toy(SHORTSELLER_SYMBOLS='["BTCUSDT", "ETHUSDT"]', SHORTSELLER_HOLD_BARS="2")
    await stage.play(bot)
    for _ in range(KILLS):
        passing = asyncio.create_task(stage.bars(3))
        await asyncio.sleep(draw.uniform(0.0, 1.5))
        bot.kill()
        # A crash every few seconds would pause it: here the crashes are the test, not a fault.
        await stage.sql(
            "UPDATE trading.strategy_state SET state = state || '{\"starts_ms\": []}' WHERE name = 'runtime'"
        )
        await stage.play(bot)
        await passing
    await stage.bars(1)
    known = await stage.state_row("positions")
    for symbol in SYMBOLS:
        held = await stage.position(symbol)
        assert (symbol in known) == (held is not None), symbol
        if held is not None:
            assert Decimal(held["size"]) == Decimal(known[symbol]["size"])
            assert Decimal(held["stopLoss"]) == Decimal(known[symbol]["stop_loss"])
    fills = await stage.fills()
    links = [row["orderLinkId"] for row in fills]
    assert len(links) == len(set(links))
    for symbol in SYMBOLS:
        sides = [row["side"] for row in fills if row["symbol"] == symbol]
        assert all(side != after for side, after in pairwise(sides)), sides
    assert (await stage.state_row("runtime"))["entries"] == {}

    async def quiet() -> bool:
        return bool((await stage.state_row("runtime"))["exits"] == {})

    await until(quiet, 10, "every exit to be done")
