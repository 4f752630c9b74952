"""What can happen to an order, each on the real exchange and in the real process."""

from decimal import Decimal
from pathlib import Path

import pytest

from tests.support.bot_harness import BotHarness, Servers, trades
from tests.support.world import BOTS, Trader, until

#: A crowded machine is no fault of the bot's.
pytestmark = pytest.mark.timeout(400)

CREATE = "/v5/order/create"
STOP = "/v5/position/trading-stop"


async def test_an_entry_is_protected_and_leaves_with_its_reason(stage: BotHarness) -> None:
    bot = stage.toy(SHORTSELLER_ENTRIES="1", SHORTSELLER_HOLD_BARS="2")
    await stage.play(bot)
    await stage.bars(1)
    held = await stage.position()
    assert held is not None
    assert held["side"] == "Sell"
    assert Decimal(held["stopLoss"]) > Decimal(held["avgPrice"]) * Decimal("1.049")
    await stage.bars(2)
    assert await stage.position() is None
    assert [row["reason"] for row in trades(bot)] == ["entry", "time_limit"]
    assert len(await stage.fills()) == 2


async def test_an_entry_whose_answer_was_lost_is_found_and_not_sent_again(stage: BotHarness) -> None:
    bot = stage.toy(SHORTSELLER_ENTRIES="1")
    await stage.play(bot)
    await stage.fault(kind="answer", path=CREATE, after=True, nothing=True, times=1)
    await stage.bars(1)
    assert len(await stage.fills()) == 1
    held = await stage.position()
    assert held is not None
    assert Decimal(held["stopLoss"]) > 0
    assert "BTCUSDT" in await stage.state_row("positions")


async def test_an_entry_that_never_arrived_is_sent_with_the_same_id_once(stage: BotHarness) -> None:
    bot = stage.toy(SHORTSELLER_ENTRIES="1")
    await stage.play(bot)
    await stage.fault(kind="answer", path=CREATE, nothing=True, times=1)
    await stage.bars(1)
    assert len(await stage.fills()) == 1


async def test_an_exit_whose_answer_was_lost_closes_once(stage: BotHarness) -> None:
    bot = stage.toy(SHORTSELLER_ENTRIES="1", SHORTSELLER_HOLD_BARS="1")
    await stage.play(bot)
    await stage.bars(1)
    await stage.fault(kind="answer", path=CREATE, after=True, nothing=True, times=1)
    await stage.bars(1)
    assert await stage.position() is None
    assert len(await stage.fills()) == 2
    assert [row["event"] for row in trades(bot)] == ["entered", "exited"]


async def test_a_rejected_entry_leaves_nothing_behind_and_the_next_bar_tries_anew(stage: BotHarness) -> None:
    bot = stage.toy()
    await stage.play(bot)
    await stage.fault(kind="answer", path=CREATE, ret_code=110007, ret_msg="ab not enough", times=1)
    await stage.bars(1)
    assert await stage.fills() == []
    assert (await stage.state_row("runtime"))["entries"] == {}
    await stage.bars(1)
    assert len(await stage.fills()) == 1


async def test_a_rejected_exit_is_tried_until_the_position_is_gone(stage: BotHarness) -> None:
    bot = stage.toy(SHORTSELLER_ENTRIES="1", SHORTSELLER_HOLD_BARS="1")
    await stage.play(bot)
    await stage.bars(1)
    await stage.fault(kind="answer", path=CREATE, ret_code=10001, ret_msg="no", times=2)
    await stage.bars(2)
    assert await stage.position() is None
    assert [row["reason"] for row in trades(bot)] == ["entry", "time_limit"]


async def test_a_partly_filled_entry_is_held_and_protected_at_its_actual_size(tmp_path: Path, servers: Servers) -> None:
    thin = BotHarness(tmp_path, options=("--step", "--depth-usdt", "40", "--symbols", "BTCUSDT"), servers=servers)
    await thin.open()
    try:
        bot = thin.toy(SHORTSELLER_ENTRIES="1", SHORTSELLER_NOTIONAL="50000", SHORTSELLER_HOLD_BARS="1")
        await thin.play(bot)
        await thin.bars(1)
        held = await thin.position()
        assert held is not None
        known = (await thin.state_row("positions"))["BTCUSDT"]
        assert Decimal(known["size"]) == Decimal(held["size"])
        assert 0 < Decimal(held["size"]) * Decimal(held["avgPrice"]) < 49_000
        assert Decimal(held["stopLoss"]) > 0
        await thin.bars(4)
        assert await thin.position() is None
    finally:
        thin.close()


async def test_a_position_whose_stop_is_refused_is_closed_again_at_once(stage: BotHarness) -> None:
    bot = stage.toy(SHORTSELLER_ENTRIES="1")
    await stage.play(bot)
    await stage.fault(kind="answer", path=STOP, ret_code=10001, ret_msg="StopLoss refused")
    await stage.bars(1)
    assert await stage.position() is None
    assert len(await stage.fills()) == 2


async def test_a_stop_whose_price_has_passed_means_close_with_the_stops_meaning(stage: BotHarness) -> None:
    bot = stage.toy(
        SHORTSELLER_ENTRIES="1",
        SHORTSELLER_HOLD_BARS="9",
        SHORTSELLER_MOVE_STOP_AFTER="1",
        SHORTSELLER_MOVE_STOP_TO="-0.01",
    )
    await stage.play(bot)
    await stage.bars(2)
    assert await stage.position() is None
    assert [row["reason"] for row in trades(bot)] == ["entry", "trailing_stop"]


async def test_a_moved_stop_keeps_the_meaning_it_was_moved_with(stage: BotHarness) -> None:
    bot = stage.toy(
        SHORTSELLER_ENTRIES="1",
        SHORTSELLER_HOLD_BARS="999",
        SHORTSELLER_MOVE_STOP_AFTER="1",
        SHORTSELLER_MOVE_STOP_TO="0.0005",
    )
    await stage.play(bot)
    await stage.bars(2)
    saved = (await stage.state_row("positions"))["BTCUSDT"]
    assert saved["stop_meaning"] == "trailing_stop"
    for _ in range(30):
        if await stage.position() is not None:
            await stage.bars(1)
    assert [row["reason"] for row in trades(bot)] == ["entry", "trailing_stop"]


async def test_a_moved_stop_whose_sending_failed_is_sent_again(stage: BotHarness) -> None:
    bot = stage.toy(
        SHORTSELLER_ENTRIES="1",
        SHORTSELLER_HOLD_BARS="9",
        SHORTSELLER_MOVE_STOP_AFTER="1",
        SHORTSELLER_MOVE_STOP_TO="0.02",
    )
    await stage.play(bot)
    await stage.bars(1)
    first = await stage.position()
    assert first is not None
    await stage.fault(kind="answer", path=STOP, ret_code=10016, ret_msg="server error")
    await stage.bars(1)
    unmoved = await stage.position()
    assert unmoved is not None
    assert unmoved["stopLoss"] == first["stopLoss"]
    assert list((await stage.state_row("runtime"))["stops"]) == ["BTCUSDT"]
    bot.kill()
    await stage.fault_free()
    await stage.play(bot)

    async def done() -> bool:
        return bool((await stage.state_row("runtime"))["stops"] == {})

    await until(done, 30, "the stop to be moved after all")
    moved = await stage.position()
    assert moved is not None
    saved = (await stage.state_row("positions"))["BTCUSDT"]
    assert Decimal(moved["stopLoss"]) == Decimal(saved["stop_loss"]) < Decimal(first["stopLoss"])


async def test_a_close_by_hand_is_noticed_and_called_manual(stage: BotHarness) -> None:
    bot = stage.toy(SHORTSELLER_ENTRIES="1", SHORTSELLER_HOLD_BARS="99")
    await stage.play(bot)
    await stage.bars(1)
    held = await stage.position()
    assert held is not None
    hand = Trader(stage.simulator.url, BOTS[0])
    await hand.order("BTCUSDT", "Buy", held["size"], reduceOnly=True)
    await hand.close()
    await stage.bars(1)
    assert [row["reason"] for row in trades(bot)] == ["entry", "manual"]
    assert await stage.state_row("positions") == {}


async def test_a_liquidation_is_noticed_and_called_so(stage: BotHarness) -> None:
    bot = stage.toy(SHORTSELLER_ENTRIES="1", SHORTSELLER_HOLD_BARS="99")
    await stage.play(bot)
    await stage.bars(1)
    await stage.liquidate()
    await stage.bars(1)
    assert [row["reason"] for row in trades(bot)] == ["entry", "liquidation"]
    assert await stage.state_row("positions") == {}


async def test_an_unknown_position_is_left_alone(stage: BotHarness) -> None:
    bot = stage.toy(SHORTSELLER_ENTRIES="5", SHORTSELLER_HOLD_BARS="1")
    await stage.play(bot)
    hand = Trader(stage.simulator.url, BOTS[0])
    await hand.order("BTCUSDT", "Buy", "0.05")
    await hand.order("ETHUSDT", "Buy", "0.5")
    await hand.close()
    await stage.bars(4)
    assert trades(bot) == []
    assert "0.05 BTCUSDT" in (await stage.alerts("unknown_position:BTCUSDT"))[0]
    held = await stage.position()
    assert held is not None
    assert Decimal(held["size"]) == Decimal("0.05")
