"""What is away, full, missing or changed: exits go on, entries wait, and nothing is invented."""

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from alpha.model.order_link import order_link_id
from alpha.model.reason import Reason
from tests.bot_runner.conftest import STEP
from tests.support.bot_harness import BotHarness, Servers, sim, trades
from tests.support.world import BOTS, Trader, until

#: A crowded machine is no fault of the bot's.
pytestmark = pytest.mark.timeout(400)

LIVE = ("--path", "high-first", "--symbols", "BTCUSDT,ETHUSDT")


@pytest.mark.parametrize("ending", ["fast", pytest.param("immediate", marks=pytest.mark.long)])
async def test_with_postgresql_away_exits_go_on_and_entries_wait(tmp_path: Path, ending: str) -> None:
    stage = BotHarness(tmp_path, options=STEP)
    await stage.open()
    try:
        bot = stage.toy(SHORTSELLER_HOLD_BARS="2")
        await stage.play(bot)
        await stage.bars(1)
        stage.servers.postgres.stop(ending)
        await stage.bars(3)
        assert await stage.position() is None
        assert [row["reason"] for row in trades(bot)] == ["entry", "time_limit"]
        stage.servers.postgres.start()

        async def entered_again() -> bool:
            await stage.bars(1)
            return len(await stage.fills()) > 2

        await until(entered_again, 30, "entries after PostgreSQL came back")
        known = (await stage.state_row("positions")).get("BTCUSDT")
        held = await stage.position()
        assert (held is None) == (known is None)
    finally:
        stage.close()


async def test_with_redis_away_exits_go_on_over_rest_and_entries_wait(tmp_path: Path) -> None:
    stage = BotHarness(tmp_path, speed="150", options=LIVE)
    await stage.open()
    try:
        listener = stage.listener()
        listener.start()
        bot = stage.toy(step=False, SHORTSELLER_HOLD_BARS="2", ALPHA_CANDLE_GRACE_MS="200")
        bot.start()

        async def entered() -> bool:
            return len(trades(bot)) == 1

        await until(entered, 60, "an entry with Redis")
        stage.servers.redis.kill()

        async def left() -> bool:
            return [row["event"] for row in trades(bot)] == ["entered", "exited"]

        await until(left, 60, "the exit without Redis")
        assert trades(bot)[1]["reason"] == "time_limit"
        before = len(await stage.fills())
        await asyncio.to_thread(stage.servers.redis.start)

        async def entered_again() -> bool:
            return len(await stage.fills()) > before

        assert before == 2
        await until(entered_again, 90, "entries after Redis came back")
        assert bot.running
    finally:
        stage.close()


async def test_an_order_with_the_bots_tag_that_it_did_not_send_pauses_it(tmp_path: Path, servers: Servers) -> None:
    stage = BotHarness(tmp_path, speed="60", options=LIVE, servers=servers)
    await stage.open()
    hand = Trader(stage.simulator.url, BOTS[0])

    async def says(state: str, *words: str) -> bool:
        beat = await stage.heartbeat()
        return beat.get("state") == state and all(word in beat["waits_for"] for word in words)

    async def forge(bar_ms: int) -> str:
        link_id = order_link_id("ss", Reason.ENTRY, account="x", symbol="ETHUSDT", bar_ms=bar_ms, intent="enter")
        answer = await hand.order("ETHUSDT", "Buy", "1", orderLinkId=link_id)
        assert answer["retCode"] == 0, answer
        return link_id

    async def synced() -> bool:
        return await stage.status() == "synced"

    try:
        bot = stage.toy(step=False, SHORTSELLER_ENTRIES="0")
        bot.start()
        # Without a listener there are no events: the exchange's own list shows the order.
        await until(lambda: says("running", "live state is not synced"), 60, "the bot to run and say what it waits for")
        unheard = await forge(1)
        await until(lambda: says("paused", unheard), 60, "the bot to pause itself")
        listener = stage.listener()
        listener.start()
        assert (await stage.command("resume")).outcome == "done"
        await until(synced, 60, "the listener")
        # Without the exchange's list there are only events.
        for path in ("/v5/order/history", "/v5/order/realtime"):
            await stage.fault(kind="answer", path=path, ret_code=10016, ret_msg="server error")
        heard = await forge(2)
        await until(lambda: says("paused", heard), 60, "the bot to pause itself again")
        assert heard in (await stage.state_row("runtime"))["paused"]
        # The listener stamps its own events with the wall clock; the bot's days are those of the exchange.
        now_ms = (await sim(stage, "GET", "/_sim/state"))["now_ms"]
        assert (await stage.state_row("limits"))["started_ms"]["day"] <= now_ms
    finally:
        await hand.close()
        stage.close()


async def test_a_full_disk_for_logs_stops_nothing(stage: BotHarness) -> None:
    logs = stage.folder / "logs"
    logs.mkdir()
    (logs / "shortseller.log").symlink_to("/dev/full")
    bot = stage.toy(SHORTSELLER_HOLD_BARS="1", LOG_DIR=str(logs))
    await stage.play(bot)
    await stage.bars(4)
    assert len(await stage.fills()) >= 3


async def test_a_delivery_date_announced_while_it_runs_bars_entries_and_no_exit(stage: BotHarness) -> None:
    bot = stage.toy(SHORTSELLER_SYMBOLS='["BTCUSDT", "ETHUSDT"]', SHORTSELLER_HOLD_BARS="2")
    await stage.play(bot)
    await sim(stage, "POST", "/_sim/instrument", symbol="ETHUSDT", delivery_ms=4_000_000_000_000)
    await stage.bars(1)
    assert {row["symbol"] for row in await stage.fills()} == {"BTCUSDT"}
    await sim(stage, "POST", "/_sim/instrument", symbol="BTCUSDT", delivery_ms=4_000_000_000_000)
    await stage.bars(2)
    assert await stage.position() is None


async def test_a_step_that_changed_while_it_ran_is_kept_to(stage: BotHarness) -> None:
    bot = stage.toy(SHORTSELLER_ENTRIES="1", SHORTSELLER_NOTIONAL="33333", SHORTSELLER_HOLD_BARS="9")
    await stage.play(bot)
    await sim(stage, "POST", "/_sim/instrument", symbol="BTCUSDT", qty_step="0.05")
    await stage.bars(1)
    held = await stage.position()
    assert held is not None
    assert Decimal(held["size"]) % Decimal("0.05") == 0
    assert Decimal(held["stopLoss"]) > 0


async def test_a_coarser_tick_is_read_anew_and_entries_and_moved_stops_keep_to_it(stage: BotHarness) -> None:
    bot = stage.toy(
        SHORTSELLER_ENTRIES="1",
        SHORTSELLER_HOLD_BARS="9",
        SHORTSELLER_MOVE_STOP_AFTER="1",
        SHORTSELLER_MOVE_STOP_TO="0.02",
    )
    await stage.play(bot)
    await sim(stage, "POST", "/_sim/instrument", symbol="BTCUSDT", tick_size="7")
    await stage.bars(1)
    held = await stage.position()
    assert held is not None
    assert Decimal(held["stopLoss"]) % 7 == 0
    await sim(stage, "POST", "/_sim/instrument", symbol="BTCUSDT", tick_size="55")
    await stage.bars(1)
    moved = await stage.position()
    assert moved is not None
    assert Decimal(moved["stopLoss"]) % 55 == 0
    assert Decimal(moved["stopLoss"]) < Decimal(held["stopLoss"])
    saved = (await stage.state_row("positions"))["BTCUSDT"]
    assert Decimal(saved["stop_loss"]) == Decimal(moved["stopLoss"])
    assert [row["event"] for row in trades(bot)] == ["entered"]


async def test_one_symbols_missing_candle_holds_up_no_other_and_is_no_entry_later(stage: BotHarness) -> None:
    bot = stage.toy(SHORTSELLER_SYMBOLS='["BTCUSDT", "ETHUSDT"]', SHORTSELLER_HOLD_BARS="9")
    await stage.play(bot)
    begin_ms = (await sim(stage, "GET", "/_sim/state"))["now_ms"] // 300_000 * 300_000
    await stage.fault(kind="answer", path="/v5/market/kline", symbol="ETHUSDT", ret_code=10016, ret_msg="server error")
    await stage.bars(1)
    assert {row["symbol"] for row in await stage.fills()} == {"BTCUSDT"}
    await sim(stage, "DELETE", "/_sim/faults")
    await stage.bars(1)
    entered = {row["symbol"]: row["time_ms"] for row in trades(bot)}
    # Its own next bar brings the entry, not the one that was missing.
    assert entered == {"BTCUSDT": begin_ms + 300_000, "ETHUSDT": begin_ms + 600_000}


async def test_a_bar_that_could_not_be_read_is_caught_up_without_an_entry(stage: BotHarness) -> None:
    bot = stage.toy(SHORTSELLER_ENTRIES="2", SHORTSELLER_HOLD_BARS="9")
    await stage.play(bot)
    await stage.fault(kind="answer", path="/v5/market/kline", ret_code=10016, ret_msg="server error")
    await stage.bars(1)
    await sim(stage, "DELETE", "/_sim/faults")
    await stage.bars(1)
    # The late bar has used up one of two entries without sending it; the newest bar sends the other.
    assert (await stage.state_row("strategy"))["entries"] == 2
    assert [row["event"] for row in trades(bot)] == ["entered"]
    state = await sim(stage, "GET", "/_sim/state")
    assert trades(bot)[0]["time_ms"] == state["now_ms"]


async def test_a_stop_that_is_refused_once_is_set_again_by_the_filters_of_that_moment(stage: BotHarness) -> None:
    bot = stage.toy(SHORTSELLER_ENTRIES="1", SHORTSELLER_HOLD_BARS="9")
    await stage.play(bot)
    await stage.fault(kind="answer", path="/v5/position/trading-stop", ret_code=10001, ret_msg="tick size", times=1)
    await stage.bars(1)
    held = await stage.position()
    assert held is not None
    saved = (await stage.state_row("positions"))["BTCUSDT"]
    assert Decimal(held["stopLoss"]) == Decimal(saved["stop_loss"])
