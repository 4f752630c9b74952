"""On the simulated exchange: correct records show no difference; every planted one is found, and no other."""

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from alpha.bybit.models import TransactionLogRow
from alpha.config.services import DatabaseSettings
from alpha.errors import Rejected
from alpha.model.leg import slot_of
from alpha.model.order_link import order_link_id
from alpha.model.reason import Reason
from alpha.postgres.database import Connection, fetch_one
from tests.support.sync_world import (
    DAY_MS,
    START_MS,
    SYMBOLS,
    World,
    make_exchange,
    open_store,
    store_fills,
    world,
)
from trade_sync_service.domain.coverage import Interval
from trade_sync_service.domain.difference import Difference, Kind
from trade_sync_service.domain.wallet import change_elsewhere, compare_wallet, trading_change
from trade_sync_service.reconciliation import Reconciliation, Report

BOT = "shortseller_001"


@asynccontextmanager
async def _reconciling(world: World, settings: DatabaseSettings) -> AsyncIterator[Reconciliation]:
    store = await open_store(settings, world, BOT)
    try:
        async with world.gateway(BOT) as gateway:
            yield Reconciliation(gateway, store, grace_s=0.0, lag_ms=0)
    finally:
        await store.close()


async def _report(world: World, settings: DatabaseSettings, span: Interval | None = None) -> Report:
    async with _reconciling(world, settings) as reconciliation:
        return await reconciliation.run(span or Interval(START_MS - DAY_MS, world.exchange.now_ms + 1))


async def _booked(world: World, settings: DatabaseSettings, owner: Connection) -> None:
    """Record the exchange's whole history."""
    await store_fills(owner, world, BOT)
    store = await open_store(settings, world, BOT)
    async with world.gateway(BOT) as gateway:
        await world.sync(gateway, store).run(history_days=60)
    await store.close()


def _found(report: Report) -> Counter[tuple[str, str]]:
    return Counter((difference.kind.value, difference.subject) for difference in report.differences)


async def test_clean_books_show_no_difference(
    simulated: World, sync_settings: DatabaseSettings, owner: Connection
) -> None:
    simulated.trade(11, days=4, per_day=80, bots=[BOT])
    await _booked(simulated, sync_settings, owner)
    report = await _report(simulated, sync_settings)
    assert report.differences == []
    assert report.trades > 80
    assert report.fills > 200


async def test_a_range_in_the_middle_shows_no_difference_either(
    simulated: World, sync_settings: DatabaseSettings, owner: Connection
) -> None:
    simulated.trade(12, days=4, per_day=80, bots=[BOT])
    await _booked(simulated, sync_settings, owner)
    middle = Interval(START_MS + DAY_MS + 12_345, START_MS + 3 * DAY_MS + 54_321)
    assert (await _report(simulated, sync_settings, middle)).differences == []


async def _plant(owner: Connection, rng: random.Random, each: int) -> Counter[tuple[str, str]]:
    """Change the records behind every service's back; returns what must be found."""
    expected: Counter[tuple[str, str]] = Counter()
    # As no service can: without the triggers that keep derived tables in step.
    await owner.execute("SET session_replication_role = replica")
    fills = [row async for row in _shuffled(owner, rng, "trading.fills", "exec_type = 'Trade'")]
    for row in (fills.pop() for _ in range(each)):
        await owner.execute("DELETE FROM trading.fills WHERE exec_id = $1", row["exec_id"])
        expected["missing_fill", f"{row['symbol']}:{row['exec_id']}"] += 1
    for column, value in (("price", "price + 1"), ("qty", "qty * 2"), ("fee", "-fee"), ("exec_time", "exec_time - interval '1 ms'")):  # fmt: skip
        for row in (fills.pop() for _ in range(max(1, each // 2))):
            await owner.execute(f"UPDATE trading.fills SET {column} = {value} WHERE exec_id = $1", row["exec_id"])
            expected["fill_differs", f"{row['symbol']}:{row['exec_id']}"] += 1
    for number, row in enumerate(fills.pop() for _ in range(each)):
        await owner.execute(
            "INSERT INTO trading.fills SELECT (jsonb_populate_record(f, jsonb_build_object('exec_id', $2::text))).* "
            "FROM trading.fills f WHERE exec_id = $1",
            row["exec_id"],
            f"bogus-{number}",
        )
        expected["extra_fill", f"{row['symbol']}:bogus-{number}"] += 1
    trades = [row async for row in _shuffled(owner, rng, "trading.completed_trades", "true")]
    for row in (trades.pop() for _ in range(each)):
        await owner.execute("DELETE FROM trading.completed_trades WHERE order_id = $1", row["order_id"])
        expected["closed_pnl_missing", row["order_id"]] += 1
    for column, value in (("closed_pnl", "closed_pnl + 1"), ("side", "CASE side WHEN 'Buy' THEN 'Sell' ELSE 'Buy' END"), ("open_fee", "open_fee + 1")):  # fmt: skip
        for row in (trades.pop() for _ in range(max(1, each // 2))):
            await owner.execute(
                f"UPDATE trading.completed_trades SET {column} = {value} WHERE order_id = $1", row["order_id"]
            )
            expected["closed_pnl_differs", row["order_id"]] += 1
    for number, row in enumerate(trades.pop() for _ in range(each)):
        await owner.execute(
            "INSERT INTO trading.completed_trades (account_id, order_id, updated_at, closed_size, exit_value, bot_id, "
            "category, symbol, side, exec_type, qty, entry_value, entry_price, exit_price, gross, open_fee, close_fee, "
            "funding, closed_pnl, created_at) SELECT account_id, $2, updated_at, closed_size, exit_value, bot_id, "
            "category, symbol, side, exec_type, qty, entry_value, entry_price, exit_price, gross, open_fee, close_fee, "
            "funding, closed_pnl, created_at FROM trading.completed_trades WHERE order_id = $1",
            row["order_id"],
            f"bogus-{number}",
        )
        expected["closed_pnl_extra", f"bogus-{number}"] += 1
    return expected


async def _plant_few(owner: Connection) -> Counter[tuple[str, str]]:
    """Plant one difference of each kind that concerns money and positions."""
    expected: Counter[tuple[str, str]] = Counter()
    transfers = await owner.fetch("SELECT * FROM trading.transfers ORDER BY log_id")
    lost, wrong = transfers[0], transfers[1]
    await owner.execute("DELETE FROM trading.transfers WHERE log_id = $1", lost["log_id"])
    expected["transfer_missing", f"{lost['log_id']}:{lost['trade_id']}:{lost['type']}"] += 1
    await owner.execute("UPDATE trading.transfers SET amount = amount + 1 WHERE log_id = $1", wrong["log_id"])
    expected["transfer_differs", f"{wrong['log_id']}:{wrong['trade_id']}:{wrong['type']}"] += 1
    await owner.execute(
        "INSERT INTO trading.transfers SELECT account_id, 'bogus', '', 'BONUS', currency, amount, balance_after, "
        "transferred_at FROM trading.transfers LIMIT 1"
    )
    expected["transfer_extra", "bogus::BONUS"] += 1
    state = await fetch_one(owner, "SELECT symbol, leg FROM trading.position_states ORDER BY symbol DESC, leg LIMIT 1")
    await owner.execute(
        "UPDATE trading.position_states SET held = held + 1 WHERE symbol = $1 AND leg = $2",
        state["symbol"],
        state["leg"],
    )
    expected["position", slot_of(state["symbol"], state["leg"])] += 1
    trip = await fetch_one(owner, "SELECT * FROM trading.round_trips ORDER BY closed_at LIMIT 1")
    await owner.execute("UPDATE trading.round_trips SET gross = gross + 1 WHERE closed_id = $1", trip["closed_id"])
    expected["round_trip", f"{trip['symbol']}:{trip['closed_id']}"] += 1
    return expected


async def _shuffled(owner: Connection, rng: random.Random, table: str, where: str) -> AsyncIterator[dict[str, str]]:
    # not among the first rows, or our record would appear to begin later
    order = "exec_time, exec_id" if table == "trading.fills" else "updated_at, order_id"
    rows = await owner.fetch(f"SELECT * FROM {table} WHERE {where} ORDER BY {order} OFFSET 8")
    rng.shuffle(rows)
    seen: set[str] = set()
    for row in rows:
        if row["order_id"] not in seen:
            seen.add(row["order_id"])
            yield dict(row)


def _by_order(found: Counter[tuple[str, str]]) -> Counter[tuple[str, str]]:
    """Closed trades by order only: the subject also holds the rest of their key."""
    return Counter(
        {
            (kind, subject.partition(":")[0] if kind.startswith("closed_pnl_") else subject): count
            for (kind, subject), count in found.items()
        }
    )


async def test_fifty_planted_differences_of_every_kind_are_found_and_no_other(
    simulated: World, sync_settings: DatabaseSettings, owner: Connection
) -> None:
    for amount in ("-5", "7.5", "-0.25"):
        simulated.exchange.engine.transfer(simulated.account(BOT), Decimal(amount))
    simulated.trade(13, days=4, per_day=100, bots=[BOT])
    await _booked(simulated, sync_settings, owner)
    await _fifty_are_found(simulated, sync_settings, owner)


@pytest.mark.parametrize(
    ("options", "symbols"),
    [
        pytest.param("hedge", SYMBOLS, id="hedge mode"),
        pytest.param("usdc=100000", ("BTCPERP", "ETHPERP", "SOLUSDT"), id="USDC", marks=pytest.mark.long),
        pytest.param("mnt=5000", SYMBOLS, id="fees in MNT", marks=pytest.mark.long),
    ],
)
async def test_accounts_as_people_have_them_are_reconciled_to_the_last_difference(
    options: str, symbols: tuple[str, ...], sync_settings: DatabaseSettings, owner: Connection
) -> None:
    exchange = make_exchange(options=options, symbols=symbols)
    async with world(exchange) as running:
        for amount in ("-5", "7.5", "-0.25"):
            exchange.engine.transfer(running.account(BOT), Decimal(amount))
        running.trade(13, days=3, per_day=120, bots=[BOT])
        await _booked(running, sync_settings, owner)
        clean = await _report(running, sync_settings)
        assert clean.differences == []
        assert clean.trades > 60
        legs = {row["leg"] for row in await owner.fetch("SELECT DISTINCT leg FROM trading.fills")}
        assert legs == ({"long", "short"} if options == "hedge" else {"both"})
        await _fifty_are_found(running, sync_settings, owner)
    exchange.close()


async def _fifty_are_found(world: World, settings: DatabaseSettings, owner: Connection) -> None:
    few = await _plant_few(owner)
    planted = await _plant(owner, random.Random(5), each=8)
    planted += few
    assert sum(planted.values()) >= 50
    report = await _report(world, settings)
    assert _by_order(_found(report)) == planted
    stored = await owner.fetch("SELECT kind, subject, state, ours, theirs FROM trading.reconciliation_issues")
    assert _by_order(Counter((row["kind"], row["subject"]) for row in stored)) == planted
    assert {row["state"] for row in stored} == {"open"}
    assert all(row["ours"] is not None or row["theirs"] is not None for row in stored)


async def test_a_difference_is_one_row_however_often_it_is_found_and_is_settled_when_it_is_gone(
    simulated: World, sync_settings: DatabaseSettings, owner: Connection
) -> None:
    simulated.trade(14, days=1, per_day=60, bots=[BOT])
    await _booked(simulated, sync_settings, owner)
    row = await fetch_one(owner, "SELECT * FROM trading.completed_trades ORDER BY updated_at LIMIT 1")
    await owner.execute("UPDATE trading.completed_trades SET closed_pnl = 0 WHERE order_id = $1", row["order_id"])
    first = await _report(simulated, sync_settings)
    again = await _report(simulated, sync_settings)
    assert (len(first.new), len(again.new), again.open) == (1, 0, 1)
    issues = await owner.fetch("SELECT state, first_seen_at, last_seen_at FROM trading.reconciliation_issues")
    assert len(issues) == 1
    assert issues[0]["last_seen_at"] > issues[0]["first_seen_at"]
    await owner.execute(
        "UPDATE trading.completed_trades SET closed_pnl = $2 WHERE order_id = $1", row["order_id"], row["closed_pnl"]
    )
    assert (await _report(simulated, sync_settings)).open == 0
    assert await owner.fetchval("SELECT state FROM trading.reconciliation_issues") == "resolved"
    await owner.execute("UPDATE trading.completed_trades SET closed_pnl = 0 WHERE order_id = $1", row["order_id"])
    assert len((await _report(simulated, sync_settings)).new) == 1


async def test_what_happened_before_our_record_begins_is_explained_and_not_open(
    simulated: World, sync_settings: DatabaseSettings, owner: Connection
) -> None:
    simulated.trade(15, days=2, per_day=30, bots=[BOT])
    begin = simulated.exchange.now_ms
    for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT"):
        if size := simulated.account(BOT).size(symbol):
            simulated.order(BOT, symbol, "Sell" if size > 0 else "Buy", abs(size), reduce_only=True)
    simulated.move(60_000)
    simulated.trade(16, days=2, per_day=30, bots=[BOT])
    await _booked(simulated, sync_settings, owner)
    await owner.execute("SET session_replication_role = replica")
    await owner.execute("DELETE FROM trading.fills WHERE exec_time <= to_timestamp($1::float8 / 1000)", begin)
    await owner.execute("SET session_replication_role = origin")
    report = await _report(simulated, sync_settings)
    missing = [difference for difference in report.differences if difference.kind is Kind.MISSING_FILL]
    assert len(missing) > 20
    assert all(difference.explanation is not None for difference in missing)
    assert await owner.fetchval("SELECT count(*) FROM trading.reconciliation_issues WHERE kind = 'missing_fill' AND state = 'open'") == 0  # fmt: skip


async def test_a_missing_fill_of_a_manual_trade_says_so_and_stays_open(
    simulated: World, sync_settings: DatabaseSettings, owner: Connection
) -> None:
    ours = order_link_id("ss", Reason.ENTRY, account="a", symbol="BTCUSDT", bar_ms=1, intent="enter")
    opened = simulated.order(BOT, "BTCUSDT", "Buy", "0.1", link_id=ours)
    simulated.move(60_000)
    by_hand = simulated.order(BOT, "BTCUSDT", "Sell", "0.04", reduce_only=True)
    simulated.move(60_000)
    await _booked(simulated, sync_settings, owner)
    await owner.execute("SET session_replication_role = replica")
    await owner.execute(
        "DELETE FROM trading.fills WHERE exec_type = 'Trade' AND order_id = ANY ($1)", [opened, by_hand]
    )
    await owner.execute("SET session_replication_role = origin")
    await owner.execute(
        "INSERT INTO trading.opening_positions VALUES (1, 'linear', 'ETHUSDT', 'Buy', 1, 1, '2025-01-01')"
    )
    await _report(simulated, sync_settings)
    rows = await owner.fetch(
        "SELECT theirs ->> 'order_id' AS order_id, explanation, state FROM trading.reconciliation_issues "
        "WHERE kind = 'missing_fill'"
    )
    found = {row["order_id"]: (row["explanation"], row["state"]) for row in rows}
    assert found[opened] == (None, "open")
    assert found[by_hand][0].startswith("A manual trade: its order has no Alpha order id")
    assert found[by_hand][1] == "open"


def test_a_manual_trade_outside_perpetuals_explains_what_it_changed_and_no_more() -> None:
    def line(category: str, change: str) -> TransactionLogRow:
        return TransactionLogRow(
            id="1", symbol="", category=category, side="Buy", time_ms=START_MS + 1, type="TRADE", sub_type="", qty=Decimal(0),
            size=Decimal(0), currency="USDT", trade_price=None, funding=Decimal(0), fee=Decimal(0), cash_flow=Decimal(0),
            change=Decimal(change), cash_balance=Decimal(0), trade_id="", order_id="", order_link_id="",
        )  # fmt: skip

    day = ("USDT", START_MS // DAY_MS)

    def compared(*lines: TransactionLogRow) -> list[Difference]:
        return compare_wallet(
            trading_change(lines), {}, {day: Decimal(3)}, {}, change_elsewhere(lines), START_MS, START_MS + DAY_MS
        )

    assert compared(line("linear", "-3")) == []
    (spot,) = compared(line("linear", "-3"), line("spot", "-50"))
    assert spot.explanation is not None
    assert "Manual trades" in spot.explanation
    assert not spot.open
    (unknown,) = compared(line("linear", "-4"), line("spot", "-50"))
    assert unknown.open


async def test_a_fill_that_comes_a_moment_late_is_no_difference(
    simulated: World, sync_settings: DatabaseSettings, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated.trade(17, days=2, per_day=20, bots=[BOT])
    await store_fills(owner, simulated, BOT)
    simulated.order(BOT, "BTCUSDT", "Buy", "0.01")
    store = await open_store(sync_settings, simulated, BOT)
    async with simulated.gateway(BOT) as gateway:
        await simulated.sync(gateway, store).run(history_days=60)
        reconciliation = Reconciliation(gateway, store, grace_s=0.0, lag_ms=0)
        window = reconciliation._window
        looked = 0

        async def late(span: Interval, begins_ms: int | None, until_ms: int) -> object:
            nonlocal looked
            found = await window(span, begins_ms, until_ms)
            looked += 1
            if looked == 1:
                await store_fills(owner, simulated, BOT)  # the listener commits between two reads
            return found

        monkeypatch.setattr(reconciliation, "_window", late)
        report = await reconciliation.run(Interval(simulated.exchange.now_ms - DAY_MS, simulated.exchange.now_ms + 1))
    await store.close()
    assert looked == 2
    assert report.differences == []


async def test_trading_that_goes_on_while_the_books_are_compared_is_no_difference(
    simulated: World, sync_settings: DatabaseSettings, owner: Connection
) -> None:
    simulated.trade(18, days=2, per_day=20, bots=[BOT])
    await _booked(simulated, sync_settings, owner)
    for seed in range(19, 23):  # stops created before the read fire after it
        simulated.trade(seed, days=0.3, per_day=40, bots=[BOT])
        await store_fills(owner, simulated, BOT)
        assert (await _report(simulated, sync_settings)).differences == []


async def test_a_stop_of_a_range_read_before_that_fires_afterwards_is_no_difference(
    simulated: World, sync_settings: DatabaseSettings, owner: Connection
) -> None:
    below = (simulated.price("BTCUSDT") * Decimal("0.999")).quantize(Decimal(1))
    simulated.order(BOT, "BTCUSDT", "Buy", "0.1", stop_loss=below)
    simulated.move(1)
    await _booked(simulated, sync_settings, owner)
    while simulated.account(BOT).size("BTCUSDT"):
        simulated.move(60_000)
    await store_fills(owner, simulated, BOT)
    report = await _report(simulated, sync_settings)
    assert report.fills == 1
    assert report.differences == []
    await _booked(simulated, sync_settings, owner)
    report = await _report(simulated, sync_settings)
    assert report.trades == 1
    assert report.differences == []


async def test_an_account_that_was_never_read_cannot_be_reconciled(
    simulated: World, sync_settings: DatabaseSettings
) -> None:
    with pytest.raises(Rejected, match="alpha sync"):
        await _report(simulated, sync_settings)
