"""On the simulated exchange: every closed trade once, with correct signs, times and reasons, after repeated runs."""

from collections import Counter
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal

import pytest

from alpha.config.services import DatabaseSettings
from alpha.errors import Misconfigured, Retry
from alpha.model.timestamp import at
from alpha.postgres.database import Connection, fetch_one
from exchange_simulator.engine.model import Refused
from exchange_simulator.engine.settings import TradingStop, set_trading_stop
from tests.support.sync_world import DAY_MS, World, open_store, store_fills
from trade_sync_service.domain.coverage import Interval
from trade_sync_service.io.store import CLOSED_PNL, AccountStore

BOT = "shortseller_001"


async def _synced(world: World, settings: DatabaseSettings, bot: str = BOT, days: int = 60) -> None:
    store = await open_store(settings, world, bot)
    try:
        async with world.gateway(bot) as gateway:
            await world.sync(gateway, store).run(history_days=days)
    finally:
        await store.close()


async def _table(owner: Connection, bot: str = BOT) -> Counter[tuple[object, ...]]:
    rows = await owner.fetch(
        "SELECT order_id, updated_at, closed_size, exit_value, side, entry_value, closed_pnl, open_fee, close_fee "
        "FROM trading.completed_trades WHERE bot_id = $1",
        bot,
    )
    return Counter(tuple(row) for row in rows)


def _ledger(world: World, bot: str = BOT) -> Counter[tuple[object, ...]]:
    return Counter(
        (
            row.order_id,
            at(row.updated_ms),
            row.closed_size,
            row.exit_value,
            row.closing_side,
            row.entry_value,
            row.closed_pnl,
            row.open_fee,
            row.close_fee,
        )
        for row in world.closed(bot)
    )


async def test_every_closed_trade_is_stored_once_for_every_bot(
    simulated: World, sync_settings: DatabaseSettings, owner: Connection
) -> None:
    simulated.trade(1, days=5, per_day=40)
    for bot in simulated.keys:
        await _synced(simulated, sync_settings, bot)
        assert sum(_ledger(simulated, bot).values()) > 40
        assert await _table(owner, bot) == _ledger(simulated, bot)


async def test_running_again_reads_the_new_and_changes_nothing_else(
    simulated: World, sync_settings: DatabaseSettings, owner: Connection
) -> None:
    simulated.trade(2, days=3, per_day=40)
    await _synced(simulated, sync_settings)
    first = await owner.fetch("SELECT order_id, first_seen_at FROM trading.completed_trades ORDER BY 1, 2")
    await _synced(simulated, sync_settings)
    assert await owner.fetch("SELECT order_id, first_seen_at FROM trading.completed_trades ORDER BY 1, 2") == first
    simulated.trade(3, days=2, per_day=40)
    await _synced(simulated, sync_settings)
    assert await _table(owner) == _ledger(simulated)


async def test_a_second_run_reads_only_the_overlap_and_what_is_new(
    simulated: World, sync_settings: DatabaseSettings
) -> None:
    simulated.trade(2, days=8, per_day=10)
    store = await open_store(sync_settings, simulated, BOT)
    async with simulated.gateway(BOT) as gateway:
        sync = simulated.sync(gateway, store)
        await sync.run(history_days=60)
        simulated.move(DAY_MS)
        sent = gateway.counts.sent
        await sync.run(history_days=60)
        assert gateway.counts.sent - sent <= 6
        covered = await store.coverage(CLOSED_PNL)
    assert covered == [Interval(covered[0].start_ms, simulated.exchange.now_ms + 1)]
    await store.close()


async def test_shorts_are_shorts_longs_are_longs_and_holding_times_are_right(
    simulated: World, sync_settings: DatabaseSettings, owner: Connection
) -> None:
    opened_short = simulated.exchange.now_ms
    simulated.order(BOT, "BTCUSDT", "Sell", "0.1", link_id="s-en-1")
    simulated.move(3 * 3_600_000)
    opened_long = simulated.exchange.now_ms
    simulated.order(BOT, "ETHUSDT", "Buy", "1")
    simulated.move(3_600_000)
    simulated.order(BOT, "BTCUSDT", "Buy", "0.1", reduce_only=True, link_id="s-sg-1")
    closed_short = simulated.exchange.now_ms
    simulated.move(30 * 60_000)
    simulated.order(BOT, "ETHUSDT", "Sell", "1", reduce_only=True)
    await store_fills(owner, simulated, BOT)
    await _synced(simulated, sync_settings)
    rows = {row["symbol"]: row for row in await owner.fetch("SELECT * FROM trading.completed_trades")}
    short, long = rows["BTCUSDT"], rows["ETHUSDT"]
    assert (short["direction"], short["side"], short["order_link_id"]) == ("short", "Buy", "s-sg-1")
    assert (long["direction"], long["side"], long["exit_reason"]) == ("long", "Sell", "manual")
    assert short["entry_time"] == at(opened_short)
    assert short["updated_at"] == at(closed_short)
    assert long["entry_time"] == at(opened_long)
    assert long["updated_at"] - long["entry_time"] == timedelta(hours=1, minutes=30)
    assert short["gross"] == short["entry_value"] - short["exit_value"]
    assert long["gross"] == long["exit_value"] - long["entry_value"]


async def test_funding_is_counted_once_and_equals_the_ledger(
    simulated: World, sync_settings: DatabaseSettings, owner: Connection
) -> None:
    simulated.order(BOT, "BTCUSDT", "Buy", "0.2")
    simulated.move(2 * DAY_MS)
    simulated.order(BOT, "BTCUSDT", "Sell", "0.1", reduce_only=True)
    simulated.move(DAY_MS)
    simulated.order(BOT, "BTCUSDT", "Sell", "0.1", reduce_only=True)
    await _synced(simulated, sync_settings)
    paid = sum((e.fee for e in simulated.executions(BOT) if e.exec_type == "Funding"), Decimal(0))
    fees = sum((e.fee for e in simulated.executions(BOT) if e.exec_type != "Funding"), Decimal(0))
    row = await fetch_one(
        owner,
        "SELECT sum(funding) AS funding, sum(open_fee + close_fee) AS fees, sum(closed_pnl) AS net FROM "
        "trading.completed_trades",
    )
    assert paid != 0
    assert row["funding"] == -paid
    assert row["fees"] == fees
    account = simulated.account(BOT)
    assert row["net"] == account.wallet - account.totals.deposits


async def test_a_stop_made_at_entry_is_found_although_its_window_was_read_long_before(
    simulated: World, sync_settings: DatabaseSettings, owner: Connection
) -> None:
    price = simulated.price("BTCUSDT")
    simulated.order(BOT, "BTCUSDT", "Buy", "0.1", stop_loss=(price * Decimal("0.7")).quantize(Decimal(1)))
    simulated.move(20 * DAY_MS)
    await _synced(simulated, sync_settings)
    assert await owner.fetchval("SELECT count(*) FROM trading.completed_trades") == 0
    stop = next(iter(simulated.account(BOT).orders.values()))
    _force_stop(simulated, BOT, "BTCUSDT")
    await store_fills(owner, simulated, BOT)
    await _synced(simulated, sync_settings)
    row = await fetch_one(owner, "SELECT * FROM trading.completed_trades")
    assert row is not None
    assert row["order_id"] == stop.order_id
    assert row["updated_at"] - row["created_at"] > timedelta(days=19)
    assert row["exit_reason"] == "stop_loss"


def _force_stop(world: World, bot: str, symbol: str) -> None:
    """Move the stop to just below the market, as a strategy does, and let the market pass it."""
    while world.account(bot).size(symbol):
        below = (world.price(symbol) * Decimal("0.999")).quantize(Decimal(1))
        with suppress(Refused):  # the level is the same as before
            set_trading_stop(world.exchange.engine, world.account(bot), TradingStop(symbol, stop_loss=below))
        world.move(60_000)


async def test_transfers_are_kept_and_trading_is_not_among_them(
    simulated: World, sync_settings: DatabaseSettings, owner: Connection
) -> None:
    simulated.trade(4, days=3, per_day=10, bots=[BOT])
    simulated.exchange.engine.transfer(simulated.account(BOT), Decimal("-250.5"))
    simulated.exchange.commit()
    simulated.move(60_000)
    await _synced(simulated, sync_settings)
    rows = await owner.fetch("SELECT type, amount FROM trading.transfers ORDER BY transferred_at")
    assert [(row["type"], row["amount"]) for row in rows] == [
        ("TRANSFER_IN", Decimal(100_000)),
        ("TRANSFER_OUT", Decimal("-250.5")),
    ]


async def test_one_run_at_a_time_even_with_two_processes(simulated: World, sync_settings: DatabaseSettings) -> None:
    one = await open_store(sync_settings, simulated, BOT)
    two = await open_store(sync_settings, simulated, BOT)
    async with simulated.gateway(BOT) as gateway:
        async with simulated.sync(gateway, one).locked():
            with pytest.raises(Retry, match="another process"):
                await simulated.sync(gateway, two).run(history_days=7)
        await simulated.sync(gateway, two).run(history_days=7)
    await one.close()
    await two.close()


async def test_a_corrected_row_replaces_the_old_one_and_is_told(
    simulated: World, sync_settings: DatabaseSettings, owner: Connection
) -> None:
    simulated.trade(5, days=1, per_day=30, bots=[BOT])
    await _synced(simulated, sync_settings)
    await owner.execute(
        "UPDATE trading.completed_trades SET closed_pnl = closed_pnl + 1 WHERE ctid = (SELECT min(ctid) FROM "
        "trading.completed_trades)"
    )
    await _synced(simulated, sync_settings)
    assert await _table(owner) == _ledger(simulated)
    assert [alert.key for alert in simulated.alerts] == [f"sync-corrected:{BOT}"]
    noted = await fetch_one(owner, "SELECT kind, state, ours, theirs FROM trading.reconciliation_issues")
    assert (noted["kind"], noted["state"]) == ("closed_pnl_corrected", "resolved")
    assert Decimal(noted["ours"]["closed_pnl"]) == Decimal(noted["theirs"]["closed_pnl"]) + 1


async def test_a_row_that_bybit_does_not_show_any_more_is_kept_and_told(
    simulated: World, sync_settings: DatabaseSettings, owner: Connection
) -> None:
    simulated.trade(5, days=1, per_day=30, bots=[BOT])
    await _synced(simulated, sync_settings)
    before = await owner.fetchval("SELECT count(*) FROM trading.completed_trades")
    await owner.execute(
        "INSERT INTO trading.completed_trades (account_id, order_id, updated_at, closed_size, exit_value, bot_id, "
        "category, symbol, side, exec_type, qty, entry_value, entry_price, exit_price, gross, open_fee, close_fee, "
        "funding, closed_pnl, created_at) SELECT account_id, 'bogus', updated_at, closed_size, exit_value, bot_id, "
        "category, symbol, side, exec_type, qty, entry_value, entry_price, exit_price, gross, open_fee, close_fee, "
        "funding, closed_pnl, created_at FROM trading.completed_trades LIMIT 1"
    )
    await _synced(simulated, sync_settings)
    assert await owner.fetchval("SELECT count(*) FROM trading.completed_trades") == before + 1
    assert [alert.key for alert in simulated.alerts] == [f"sync-vanished:{BOT}"]


async def test_an_account_of_another_bot_is_refused_with_a_sentence(
    simulated: World, sync_settings: DatabaseSettings
) -> None:
    store = await open_store(sync_settings, simulated, BOT)
    await store.close()
    with pytest.raises(Misconfigured, match="same simulated account"):
        await AccountStore.open(sync_settings, "lxalgo_001", "simulated", str(simulated.keys[BOT].uid))


async def test_the_sync_may_not_touch_the_fills(
    simulated: World, sync_settings: DatabaseSettings, owner: Connection
) -> None:
    store = await open_store(sync_settings, simulated, BOT)
    for statement in ("DELETE FROM trading.fills", "UPDATE trading.fills SET fee = 0"):
        with pytest.raises(Misconfigured):
            await store.transaction(lambda connection, sql=statement: connection.execute(sql))  # type: ignore[misc]
    await store.close()
