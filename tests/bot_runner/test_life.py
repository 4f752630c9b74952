"""Restarts, crashes, second instances, pauses: what outlives the process, and what a bot refuses to do."""

import asyncio
import signal
from decimal import Decimal

import pytest

from tests.support.bot_harness import BotHarness, trades
from tests.support.world import BOTS, Trader, until

#: A crowded machine is no fault of the bot's.
pytestmark = pytest.mark.timeout(400)

CREATE = "/v5/order/create"


async def test_a_restart_in_mid_position_with_an_empty_redis_changes_nothing(stage: BotHarness) -> None:
    bot = stage.toy(SHORTSELLER_ENTRIES="1", SHORTSELLER_HOLD_BARS="3")
    await stage.play(bot)
    await stage.bars(2)
    before = await stage.state_row("positions")
    assert bot.stop(wait_s=10) == 0  # -9 where it had to be killed after ten seconds
    held = await stage.position()
    assert held is not None
    assert Decimal(held["stopLoss"]) > 0
    await stage.empty_redis()
    await stage.play(bot)
    after = await stage.state_row("positions")
    assert after["BTCUSDT"]["opened_ms"] == before["BTCUSDT"]["opened_ms"]
    await stage.bars(1)
    assert await stage.position() is not None
    await stage.bars(1)
    assert await stage.position() is None
    assert [row["reason"] for row in trades(bot)] == ["entry", "time_limit"]
    assert len(await stage.fills()) == 2


async def test_a_crash_before_the_first_evaluation_forgets_no_bar(stage: BotHarness) -> None:
    bot = stage.toy()
    await stage.play(bot)
    began = (await stage.state_row("core"))["last_bar_ms"]
    assert began > 0
    bot.kill()
    await stage.absent()
    await stage.bars(4)
    await stage.play(bot)
    (summary,) = await stage.alerts("was_away")
    assert "4 bars" in summary
    assert (await stage.state_row("core"))["last_bar_ms"] == began + 4 * 300_000


async def test_a_bot_killed_between_sending_an_entry_and_its_answer_takes_the_position_up(stage: BotHarness) -> None:
    bot = stage.toy(SHORTSELLER_ENTRIES="1", SHORTSELLER_HOLD_BARS="3")
    await stage.play(bot)
    await stage.fault(kind="answer", path=CREATE, after=True, ms=5_000, times=1)
    passing = asyncio.create_task(stage.bars(1))

    async def filled() -> bool:
        return len(await stage.fills()) == 1

    await until(filled, 10, "the entry to be filled")
    bot.kill()
    await stage.play(bot)
    await passing
    assert list(await stage.state_row("positions")) == ["BTCUSDT"]
    held = await stage.position()
    assert held is not None
    assert Decimal(held["stopLoss"]) == Decimal((await stage.state_row("positions"))["BTCUSDT"]["stop_loss"])
    await stage.bars(3)
    assert await stage.position() is None
    assert len(await stage.fills()) == 2


async def test_a_bot_killed_between_sending_an_exit_and_its_answer_closes_once(stage: BotHarness) -> None:
    bot = stage.toy(SHORTSELLER_ENTRIES="1", SHORTSELLER_HOLD_BARS="1")
    await stage.play(bot)
    await stage.bars(1)
    await stage.fault(kind="answer", path=CREATE, after=True, ms=5_000, times=1)
    passing = asyncio.create_task(stage.bars(1))

    async def closed() -> bool:
        return len(await stage.fills()) == 2

    await until(closed, 10, "the exit to be filled")
    bot.kill()
    await stage.play(bot)
    await passing
    await stage.bars(1)
    assert await stage.position() is None
    assert len(await stage.fills()) == 2
    assert await stage.state_row("positions") == {}
    assert (await stage.state_row("runtime"))["exits"] == {}


async def test_after_an_hour_offline_exits_come_first_and_late_entries_never(stage: BotHarness) -> None:
    bot = stage.toy(SHORTSELLER_HOLD_BARS="3")
    await stage.play(bot)
    await stage.bars(1)
    assert bot.stop() == 0
    await stage.absent()
    await stage.bars(12)
    await stage.play(bot)
    assert await stage.position() is None
    assert [row["reason"] for row in trades(bot)] == ["entry", "time_limit"]
    (summary,) = await stage.alerts("was_away")
    assert "12 bars" in summary
    assert "BTCUSDT" in summary
    await stage.bars(1)
    assert len(await stage.fills()) == 3


async def test_a_second_instance_waits_and_takes_over_when_the_first_is_killed(stage: BotHarness) -> None:
    first, second = stage.toy(SHORTSELLER_HOLD_BARS="2"), stage.toy("second", SHORTSELLER_HOLD_BARS="2")
    await stage.play(first)
    second.start()

    async def waits() -> bool:
        return "lease_held" in second.said()

    await until(waits, 20, "the second instance to wait")
    await stage.bars(2)
    assert len(await stage.fills()) == 1
    assert trades(second) == []
    first.kill()

    async def took_over() -> bool:
        return '"started"' in second.said()

    await until(took_over, 20, "the second instance to take over")
    await stage.bars(1)
    assert [row["reason"] for row in trades(second)] == ["time_limit"]


async def test_a_holder_that_slept_through_its_lease_can_write_nothing_any_more(stage: BotHarness) -> None:
    first, second = stage.toy(), stage.toy("second")
    await stage.play(first)
    first.signal(signal.SIGSTOP)
    second.start()

    async def took_over() -> bool:
        return '"started"' in second.said()

    await until(took_over, 20, "the second instance to take over")
    first.signal(signal.SIGCONT)

    async def ended() -> bool:
        return not first.running

    await until(ended, 20, "the first instance to end")
    assert first.exit_code() == 70
    assert second.running


async def test_a_bot_whose_account_changed_starts_paused(stage: BotHarness) -> None:
    bot = stage.toy()
    await stage.play(bot)
    await stage.bars(1)
    bot.stop()
    other = stage.toy("other", key=BOTS[1])
    await stage.play(other)
    await stage.bars(3)
    assert trades(other) == []
    assert (await stage.heartbeat())["state"] == "paused"
    assert (await stage.command("resume")).outcome == "done"
    await stage.bars(1)
    assert len(await stage.fills(BOTS[1])) == 1


async def test_an_account_that_traded_before_and_has_no_state_starts_paused(stage: BotHarness) -> None:
    hand = Trader(stage.simulator.url, BOTS[0])
    await hand.order("ETHUSDT", "Buy", "1")
    await hand.order("ETHUSDT", "Sell", "1", reduceOnly=True)
    await hand.close()
    bot = stage.toy()
    await stage.play(bot)
    await stage.bars(2)
    assert trades(bot) == []
    assert (await stage.heartbeat())["state"] == "paused"


async def test_three_crashes_within_ten_minutes_and_it_comes_up_paused(stage: BotHarness) -> None:
    bot = stage.toy()
    await stage.play(bot)
    for _ in range(3):
        bot.kill()
        await stage.play(bot)
    assert (await stage.state_row("runtime"))["paused"] != ""
    await stage.bars(2)
    assert await stage.fills() == []


async def test_a_pause_outlives_the_process_and_ends_with_resume(stage: BotHarness) -> None:
    bot = stage.toy()
    await stage.play(bot)
    assert (await stage.command("pause")).outcome == "done"
    await stage.bars(1)
    bot.stop()
    await stage.empty_redis()
    await stage.play(bot)
    await stage.bars(1)
    assert await stage.fills() == []
    assert await stage.told("shortseller_001:paused") == ["warning"], "it starts paused"
    assert await stage.lasting("shortseller_001:paused")
    assert (await stage.command("resume")).outcome == "done"
    assert await stage.told("shortseller_001:paused") == ["warning", "over"]
    await stage.bars(1)
    assert len(await stage.fills()) == 1


async def test_a_paused_bot_still_closes_what_it_holds(stage: BotHarness) -> None:
    bot = stage.toy(SHORTSELLER_HOLD_BARS="2")
    await stage.play(bot)
    await stage.bars(1)
    await stage.command("pause")
    await stage.bars(4)
    assert await stage.position() is None
    assert [row["reason"] for row in trades(bot)] == ["entry", "time_limit"]


async def test_an_adopted_position_follows_the_rules_and_one_without_a_stop_is_not_adopted(stage: BotHarness) -> None:
    bot = stage.toy(SHORTSELLER_ENTRIES="0", SHORTSELLER_HOLD_BARS="3")
    await stage.play(bot)
    hand = Trader(stage.simulator.url, BOTS[0])
    await hand.order("BTCUSDT", "Buy", "0.05")
    await stage.bars(1)
    assert (await stage.command("adopt", symbol="BTCUSDT")).outcome == "refused"
    held = await stage.position()
    assert held is not None
    stop = str((Decimal(held["avgPrice"]) * Decimal("0.9")).quantize(Decimal("0.1")))
    await hand.post(
        "/v5/position/trading-stop",
        {"category": "linear", "symbol": "BTCUSDT", "tpslMode": "Full", "positionIdx": 0, "stopLoss": stop},
    )
    await hand.close()
    await stage.bars(1)
    assert (await stage.command("adopt", symbol="BTCUSDT")).outcome == "done"
    await stage.bars(2)
    assert await stage.position() is None
    assert [row["reason"] for row in trades(bot)] == ["time_limit"]


async def test_a_bot_that_the_operator_stopped_stays_idle_until_it_is_wished_to_run(stage: BotHarness) -> None:
    await stage.sql("UPDATE trading.bots SET wish = 'stopped' WHERE bot_id = 'shortseller_001'")
    bot = stage.toy()
    bot.start()

    async def idle() -> bool:
        return (await stage.heartbeat()).get("state") == "stopped"

    await until(idle, 20, "the bot to say that it is stopped")
    await stage.bars(1)
    assert await stage.fills() == []
    await stage.sql("UPDATE trading.bots SET wish = 'running' WHERE bot_id = 'shortseller_001'")

    async def started() -> bool:
        return '"started"' in bot.said()

    await until(started, 20, "the bot to start")


async def test_a_halt_bars_entries_at_the_last_moment_and_no_exit(stage: BotHarness) -> None:
    bot = stage.toy(SHORTSELLER_HOLD_BARS="2")
    await stage.play(bot)
    await stage.bars(1)
    await stage.sql(
        "INSERT INTO trading.halts (bot_id, kind, reason, created_by) VALUES ('shortseller_001', 'no_entries', 'a test', 'test')"
    )
    await stage.bars(4)
    assert await stage.position() is None
    assert len(await stage.fills()) == 2
    await stage.sql("UPDATE trading.halts SET lifted_at = now()")
    await stage.bars(1)
    assert len(await stage.fills()) == 3


async def test_money_taken_out_is_no_loss(stage: BotHarness) -> None:
    bot = stage.toy(SHORTSELLER_DAY_LOSS="0.02", SHORTSELLER_HOLD_BARS="1")
    await stage.play(bot)
    await stage.bars(1)
    hand = Trader(stage.simulator.url, BOTS[0])
    answer = await hand.post(
        "/v5/account/demo-apply-money",
        {"adjustType": 1, "utaDemoApplyMoney": [{"coin": "USDT", "amountStr": "50000"}]},
    )
    await hand.close()
    assert answer["retCode"] == 0, answer
    await stage.bars(4)
    limits = await stage.state_row("limits")
    assert limits["blocks"] == {}
    assert Decimal(limits["references"]["day"]) < 51_000
    assert len(await stage.fills()) >= 4
