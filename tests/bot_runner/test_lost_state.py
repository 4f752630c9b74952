"""PostgreSQL has lost what a bot saved last, as after a restore or a lossy failover: what it sent is on the exchange."""

import json
from decimal import Decimal
from typing import Any

import pytest

from alpha.clock import wall_ms
from alpha.model.order_link import order_link_id
from alpha.model.reason import Reason
from tests.support.bot_harness import BotHarness, sim, trades
from tests.support.world import BOTS, Process, Trader

#: A crowded machine is no fault of the bot's.
pytestmark = pytest.mark.timeout(400)
TOY = "tests.bot_runner.resting_toy:RestingToy"


async def saved(stage: BotHarness) -> list[dict[str, Any]]:
    """What is saved now."""
    return await stage.rows("SELECT name, state FROM trading.strategy_state")


async def restored(stage: BotHarness, rows: list[dict[str, Any]]) -> None:
    """PostgreSQL is as it was when these rows were read."""
    await stage.sql("ALTER TABLE trading.strategy_state DISABLE TRIGGER USER")
    await stage.sql("DELETE FROM trading.order_intents")
    if not rows:
        await stage.sql("DELETE FROM trading.strategy_state")
    for row in rows:
        state = row["state"] if isinstance(row["state"], str) else json.dumps(row["state"], default=str)
        await stage.sql("UPDATE trading.strategy_state SET state = $2::text::jsonb WHERE name = $1", row["name"], state)
    await stage.sql("ALTER TABLE trading.strategy_state ENABLE TRIGGER USER")


async def killed_and_restored(stage: BotHarness, bot: Process, rows: list[dict[str, Any]]) -> None:
    """The bot dies, PostgreSQL comes back older, the bot begins again."""
    bot.kill()
    await stage.absent()
    await restored(stage, rows)
    await stage.play(bot)


@pytest.mark.parametrize("everything", [False, True], ids=["what was saved last", "everything"])
async def test_an_entry_that_the_saved_state_has_lost_is_adopted_by_its_id(stage: BotHarness, everything: bool) -> None:
    bot = stage.toy(SHORTSELLER_ENTRIES="1", SHORTSELLER_HOLD_BARS="3")
    await stage.play(bot)
    before = [] if everything else await saved(stage)
    await stage.bars(1)
    entered = await stage.position()
    assert entered is not None
    await killed_and_restored(stage, bot, before)
    await stage.bars(1)
    own = (await stage.state_row("positions"))["BTCUSDT"]
    assert Decimal(own["size"]) == Decimal(entered["size"])
    assert Decimal(own["stop_loss"]) == Decimal(entered["stopLoss"])
    (told,) = await stage.alerts("adopted:BTCUSDT")
    assert "did not remember" in told
    assert await stage.alerts("unknown_position:BTCUSDT") == []
    assert bool(await stage.alerts("paused")) is everything
    while await stage.position() is not None:
        assert len(await stage.fills()) == 1, "it is doubled"
        await stage.bars(1)
    assert [row["reason"] for row in trades(bot)] == ["entry", "time_limit"]
    assert len(await stage.fills()) == 2
    (held_minutes,) = [row["held_minutes"] for row in trades(bot) if row["event"] == "exited"]
    assert held_minutes == 15


async def test_a_position_of_the_same_size_that_was_opened_anew_is_followed_as_it_is(stage: BotHarness) -> None:
    bot = stage.toy(SHORTSELLER_ENTRIES="2", SHORTSELLER_HOLD_BARS="2", SHORTSELLER_NOTIONAL="200")
    await stage.play(bot)
    await stage.bars(1)
    before = await saved(stage)
    await stage.bars(3)
    opened = [row for row in trades(bot) if row["event"] == "entered"]
    assert len(opened) == 2
    assert opened[0]["qty"] == opened[1]["qty"]
    await killed_and_restored(stage, bot, before)
    await stage.bars(1)
    own = (await stage.state_row("positions"))["BTCUSDT"]
    assert own["opened_ms"] == opened[1]["time_ms"]
    assert len(await stage.alerts("adopted:BTCUSDT")) == 1


async def test_an_id_that_only_looks_like_its_own_and_a_position_by_hand_are_not_adopted(stage: BotHarness) -> None:
    bot = stage.toy(SHORTSELLER_ENTRIES="0")
    await stage.play(bot)
    await stage.bars(1)
    bot.stop()
    await stage.absent()
    hand = Trader(stage.simulator.url, BOTS[0])
    strange = order_link_id(
        "ss", Reason.ENTRY, account="simulated:1", symbol="BTCUSDT", bar_ms=wall_ms(), intent="enter"
    )
    await hand.order("BTCUSDT", "Buy", "0.05", orderLinkId=strange, stopLoss="1000")
    await hand.close()
    await stage.play(bot)
    await stage.bars(1)
    assert await stage.state_row("positions") == {}
    assert len(await stage.alerts("unknown_position:BTCUSDT")) == 1
    assert await stage.alerts("adopted:BTCUSDT") == []


async def test_a_resting_entry_that_the_saved_state_has_lost_is_cancelled(stage: BotHarness) -> None:
    more: Any = {"SHORTSELLER_ENTRIES": "1"}
    bot = stage.toy(strategy=TOY, **more)
    await stage.play(bot)
    before = await saved(stage)
    await stage.bars(1)
    (order,) = await stage.orders()
    # As if its strategy had counted the entry elsewhere: otherwise it would at once send another one.
    for row in before:
        if row["name"] == "strategy":
            row["state"] = {"entries": 1, "halved": False}
    await killed_and_restored(stage, bot, before)
    await stage.bars(1)
    assert await stage.orders() == []
    (told,) = await stage.alerts("unknown_entry:BTCUSDT")
    assert order["price"].rstrip("0").rstrip(".") in told
    assert (await sim(stage, "GET", "/_sim/state"))["now_ms"] > 0
