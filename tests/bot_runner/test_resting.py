"""Resting entries and targets of a real process on the simulated exchange: durable, followed, cancelled."""

import asyncio
import random
from decimal import Decimal
from typing import Any

import pytest

from alpha.model.order_link import parse_order_link_id
from tests.support.bot_harness import BotHarness, sim, trades
from tests.support.world import BOTS, Process, Trader

#: A crowded machine is no fault of the bot's.
pytestmark = pytest.mark.timeout(400)

CREATE = "/v5/order/create"
CANCEL = "/v5/order/cancel"
TOY = "tests.bot_runner.resting_toy:RestingToy"
NEAR = {"SHORTSELLER_BELOW": "0.0003", "SHORTSELLER_TARGET": "0.1"}


def toy(stage: BotHarness, **more: str) -> Process:
    """A bot with one resting entry."""
    variables: Any = more
    return stage.toy(strategy=TOY, **variables)


async def filled(stage: BotHarness) -> None:
    """Let bars pass until the entry has been filled."""
    for _ in range(40):
        await stage.bars(1)
        if await stage.position() is not None:
            return
    raise AssertionError("the entry was never filled")


async def test_a_resting_entry_carries_its_stop_and_is_durable_before_it_is_sent(stage: BotHarness) -> None:
    bot = toy(stage)
    await stage.play(bot)
    await stage.bars(1)
    (order,) = await stage.orders()
    assert order["timeInForce"] == "PostOnly"
    assert Decimal(order["stopLoss"]) < Decimal(order["price"])
    ((ref, row),) = (await stage.state_row("resting")).items()
    assert ref.startswith("BTCUSDT:")
    assert row["phase"] == "open"
    (intent,) = await stage.rows("SELECT * FROM trading.order_intents")
    assert intent["order_link_id"] == order["orderLinkId"]
    assert (intent["intent"], intent["order_kind"], intent["tag"]) == ("enter", "limit", "dip")
    assert intent["why"] == "away from the market"
    assert intent["decision_price"] > intent["price"] == Decimal(order["price"])


async def test_it_leaves_when_its_bars_are_over(stage: BotHarness) -> None:
    bot = toy(stage, SHORTSELLER_VALID_BARS="2")
    await stage.play(bot)
    await stage.bars(2)
    assert len(await stage.orders()) == 1
    await stage.bars(1)
    assert await stage.orders() == []
    assert await stage.state_row("resting") == {}


@pytest.mark.parametrize("trigger", ["false", "true"])
async def test_a_pause_and_an_end_cancel_it(stage: BotHarness, trigger: str) -> None:
    bot = toy(stage, SHORTSELLER_TRIGGER=trigger, SHORTSELLER_ENTRIES="9")
    await stage.play(bot)
    await stage.bars(1)
    assert len(await stage.orders()) == 1
    await stage.command("pause")
    await stage.bars(1)
    assert await stage.orders() == []
    await stage.command("resume")
    await stage.bars(1)
    assert len(await stage.orders()) == 1
    await asyncio.to_thread(bot.stop)
    assert await stage.orders() == []


async def test_the_targets_come_with_the_fill_and_go_with_the_position(stage: BotHarness) -> None:
    bot = toy(stage, **NEAR)
    await stage.play(bot)
    await filled(stage)
    held = await stage.position()
    assert held is not None
    targets = await stage.orders()
    assert [row["reduceOnly"] for row in targets] == [True, True]
    assert sum(Decimal(row["qty"]) for row in targets) == Decimal(held["size"])
    assert {parse_order_link_id(row["orderLinkId"]).reason.value for row in targets} == {"take_profit"}  # type: ignore[union-attr]
    assert Decimal(held["stopLoss"]) > 0
    hand = Trader(stage.simulator.url, BOTS[0])
    await hand.order("BTCUSDT", "Sell", held["size"], reduceOnly=True)
    await hand.close()
    await stage.bars(1)
    assert await stage.orders() == []
    assert await stage.state_row("resting") == {}
    assert await stage.state_row("positions") == {}
    assert trades(bot)[-1]["reason"] == "manual"


async def test_a_partial_exit_leaves_targets_that_do_not_exceed_what_is_held(stage: BotHarness) -> None:
    bot = toy(stage, **NEAR, SHORTSELLER_HALVE_AFTER="3", SHORTSELLER_STOP="0.2")
    await stage.play(bot)
    await filled(stage)
    held = await stage.position()
    assert held is not None
    await stage.bars(3)
    halved = await stage.position()
    assert halved is not None
    assert Decimal(halved["size"]) * 2 == pytest.approx(Decimal(held["size"]), abs=Decimal("0.001"))
    assert sum(Decimal(row["qty"]) for row in await stage.orders()) <= Decimal(halved["size"])
    known = await stage.state_row("positions")
    assert Decimal(known["BTCUSDT"]["size"]) == Decimal(halved["size"])
    kinds = await stage.rows("SELECT intent, tag FROM trading.order_intents ORDER BY decided_at, intent")
    assert ("part", "half") in [(row["intent"], row["tag"]) for row in kinds]


@pytest.mark.parametrize("arrives", [True, False])
async def test_one_whose_answer_was_lost_is_found_or_sent_with_the_same_id_once(
    stage: BotHarness, arrives: bool
) -> None:
    bot = toy(stage)
    await stage.play(bot)
    await stage.fault(kind="answer", path=CREATE, after=arrives, nothing=True, times=1)
    await stage.bars(1)
    assert len(await stage.orders()) == 1
    assert [row["phase"] for row in (await stage.state_row("resting")).values()] == ["open"]


async def test_a_cancellation_that_was_lost_is_done_again(stage: BotHarness) -> None:
    bot = toy(stage, SHORTSELLER_VALID_BARS="1")
    await stage.play(bot)
    await stage.bars(1)
    await stage.fault(kind="answer", path=CANCEL, nothing=True, times=1)
    await stage.bars(2)
    assert await stage.orders() == []
    assert await stage.state_row("resting") == {}


async def test_a_killed_bot_finds_its_resting_entry_again_and_what_became_of_it(stage: BotHarness) -> None:
    bot = toy(stage, **NEAR)
    await stage.play(bot)
    await stage.bars(1)
    bot.kill()
    await stage.absent()
    for _ in range(30):
        await stage.bars(1)
        if await stage.position() is not None:
            break
    held = await stage.position()
    assert held is not None
    assert Decimal(held["stopLoss"]) > 0, "the stop came with the order"
    await stage.play(bot)
    await stage.bars(1)
    assert Decimal((await stage.state_row("positions"))["BTCUSDT"]["size"]) == Decimal(held["size"])
    assert len(await stage.orders()) == 2
    assert not await stage.alerts("unknown_position:BTCUSDT")


async def test_one_that_is_changed_or_cancelled_by_hand_is_noticed(stage: BotHarness) -> None:
    bot = toy(stage)
    await stage.play(bot)
    await stage.bars(1)
    (order,) = await stage.orders()
    hand = Trader(stage.simulator.url, BOTS[0])
    price = str(Decimal(order["price"]) - Decimal(100))
    body: dict[str, object] = {"category": "linear", "symbol": "BTCUSDT", "orderId": order["orderId"]}
    await hand.post("/v5/order/amend", {**body, "price": price})
    await stage.bars(1)
    assert len(await stage.alerts("order_amended:BTCUSDT")) == 1
    ((_, row),) = (await stage.state_row("resting")).items()
    assert Decimal(row["price"]) == Decimal(price)
    await hand.post(CANCEL, body)
    await hand.close()
    await stage.bars(1)
    assert len(await stage.alerts("order_cancelled:BTCUSDT")) == 1
    assert await stage.state_row("resting") == {}


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2])
async def test_a_random_strategy_killed_at_any_moment_knows_its_orders_and_sends_none_twice(
    stage: BotHarness, seed: int
) -> None:
    draw = random.Random(seed)
    bot = stage.toy(
        strategy="tests.parity.random_strategy:RandomStrategy",
        SHORTSELLER_SEED=str(seed + 2),
        SHORTSELLER_SYMBOLS='["BTCUSDT", "ETHUSDT"]',
        ALPHA_MAX_ORDERS_PER_MINUTE="100000",
    )
    await stage.play(bot)
    for _ in range(8):
        passing = asyncio.create_task(stage.bars(6))
        await asyncio.sleep(draw.uniform(0.0, 3.0))
        bot.kill()
        # A crash every few seconds would pause it: here the crashes are the test, not a fault.
        await stage.sql(
            "UPDATE trading.strategy_state SET state = state || '{\"starts_ms\": []}' WHERE name = 'runtime'"
        )
        await stage.play(bot)
        await passing
    await stage.bars(2)
    known = await stage.state_row("positions")
    for symbol in ("BTCUSDT", "ETHUSDT"):
        held = await stage.position(symbol)
        assert (symbol in known) == (held is not None), symbol
        if held is not None:
            assert Decimal(held["size"]) == Decimal(known[symbol]["size"])
            assert Decimal(held["stopLoss"]) == Decimal(known[symbol]["stop_loss"])
    resting = await stage.state_row("resting")
    there = {(row["symbol"], Decimal(row["qty"])) for row in await stage.orders()}
    assert {(row["symbol"], Decimal(row["qty"])) for row in resting.values()} == there
    state = await sim(stage, "GET", "/_sim/state")
    assert state["now_ms"] > 0
