"""Round trips by example, with figures calculated by hand."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from msgspec import structs

from alpha.config.services import DatabaseSettings
from alpha.postgres.database import Connection, connect, fetch_one
from alpha.postgres.fills import Fill, InsertResult, insert_fills, recompute_pending
from tests.history.build import START, fill, new_account
from tests.history.compare import expected, stored
from tests.history.reference import books
from tests.support.fill_generator import some_fills

D = Decimal


async def trips(owner: Connection, fills: list[Fill]) -> list[dict[str, Any]]:
    """Insert the fills and read the round trips, oldest first."""
    await new_account(owner)
    await insert_fills(owner, fills)
    return [
        dict(row) for row in await owner.fetch("SELECT * FROM trading.position_summaries ORDER BY closed_at, opened_at")
    ]


async def test_a_long_with_fees_and_funding(owner: Connection) -> None:
    (trip,) = await trips(
        owner,
        [
            fill(0, "Buy", "2", "100", fee="0.11", maker=True),
            fill(60, "Buy", "2", "100.5", fee="0.02", exec_type="Funding", reason="funding"),
            fill(90, "Sell", "2", "110", fee="0.121", reason="take_profit"),
        ],
    )
    assert (trip["direction"], trip["exit_reason"], trip["fills"]) == ("long", "take_profit", 2)
    assert (trip["entry_price"], trip["exit_price"], trip["qty"], trip["max_qty"]) == (100, 110, 2, 2)
    assert (trip["gross"], trip["fees"], trip["funding"], trip["net"]) == (20, D("0.231"), D("-0.02"), D("19.749"))
    assert trip["return_pct"] == D("9.8745")
    assert trip["holding_time"] == timedelta(minutes=90)
    assert trip["maker_share"] == D("0.4762")  # 200 of 420
    assert not trip["provisional"]


async def test_a_short_earns_when_the_price_falls_and_funding_received_adds_to_it(owner: Connection) -> None:
    (trip,) = await trips(
        owner,
        [
            fill(0, "Sell", "3", "50"),
            fill(60, "Sell", "3", "49", fee="-0.5", exec_type="Funding", reason="funding"),
            fill(90, "Buy", "3", "40", reason="signal"),
        ],
    )
    assert (trip["direction"], trip["gross"], trip["funding"], trip["net"]) == ("short", 30, D("0.5"), D("30.5"))


async def test_scaling_in_averages_and_partial_exits_leave_the_average_as_it_is(owner: Connection) -> None:
    (trip,) = await trips(
        owner,
        [
            fill(0, "Buy", "1", "100"),
            fill(1, "Buy", "3", "104"),  # 4 at 103
            fill(2, "Sell", "1", "110", reason="take_profit"),  # +7
            fill(3, "Buy", "1", "95"),  # 3 at 103 and 1 at 95: 4 at 101
            fill(4, "Sell", "4", "100", reason="stop_loss"),  # -4
        ],
    )
    assert (trip["gross"], trip["qty"], trip["max_qty"], trip["fills"]) == (3, 5, 4, 5)
    assert trip["entry_price"] == D("101.4")
    assert trip["exit_price"] == 102
    assert trip["exit_reason"] == "stop_loss"


async def test_a_fill_through_zero_ends_one_trip_and_opens_the_other_and_its_fee_is_divided(owner: Connection) -> None:
    first, second = await trips(
        owner,
        [
            fill(0, "Buy", "2", "100"),
            fill(1, "Sell", "5", "110", fee="0.5", reason="signal"),
            fill(2, "Buy", "3", "105", reason="take_profit"),
        ],
    )
    assert (first["direction"], first["gross"], first["fees"], first["reversed"]) == ("long", 20, D("0.2"), True)
    assert (second["direction"], second["gross"], second["fees"], second["reversed"]) == ("short", 15, D("0.3"), False)
    assert first["closed_at"] == second["opened_at"] == START + timedelta(minutes=1)
    assert await owner.fetchval("SELECT sum(fills) FROM trading.bot_daily_performance") == 3


@pytest.mark.parametrize(("exec_type", "reason"), [("AdlTrade", "adl"), ("BustTrade", "liquidation")])
async def test_what_the_exchange_closes_ends_the_trip_with_its_reason(
    owner: Connection, exec_type: str, reason: str
) -> None:
    (trip,) = await trips(
        owner, [fill(0, "Buy", "1", "100"), fill(5, "Sell", "1", "60", fee="0.1", exec_type=exec_type, reason=reason)]
    )
    assert (trip["exit_reason"], trip["net"]) == (reason, D("-40.1"))


async def test_rows_that_change_no_position_change_no_book(owner: Connection) -> None:
    fills = [
        fill(0, "Buy", "1", "100"),
        fill(1, "Sell", "1", "100", fee="7", exec_type="SessionSettlePnL"),
        fill(2, "Sell", "1", "101", exec_type="Nobody knows"),
    ]
    assert await trips(owner, fills) == []
    assert await owner.fetchval("SELECT net FROM trading.bot_daily_performance") == 0
    assert await owner.fetchval("SELECT count(*) FROM trading.fills") == 3


async def test_a_third_kept_apart_by_days_adds_up_exactly(owner: Connection) -> None:
    await trips(
        owner,
        [
            fill(0, "Buy", "3", "100.01"),
            fill(24 * 60, "Sell", "1", "101"),
            fill(48 * 60, "Sell", "1", "101"),
            fill(72 * 60, "Sell", "1", "101"),
        ],
    )
    (balance,) = await owner.fetch("SELECT * FROM trading.books_balance")
    assert balance["days_net"] == balance["trips_net"] == D("2.97")
    assert (balance["open_net"], balance["loose_funding"]) == (0, 0)


async def test_a_position_that_was_there_before_the_record_begins(owner: Connection) -> None:
    account = await new_account(owner)
    await owner.execute(
        "INSERT INTO trading.opening_positions (account_id, category, symbol, side, qty, entry_price, as_of) "
        "VALUES ($1, 'linear', 'BTCUSDT', 'Sell', 2, 120, $2)",
        account,
        START - timedelta(days=3),
    )
    assert (
        await owner.fetchval("SELECT qty FROM trading.open_positions WHERE from_opening AND direction = 'short'") == 2
    )
    (trip,) = await trips(owner, [fill(0, "Buy", "2", "100", reason="take_profit")])
    assert (trip["gross"], trip["from_opening"], trip["holding_time"]) == (40, True, timedelta(days=3))


async def test_a_fill_pushed_twice_is_stored_once_and_fills_only_what_was_null(owner: Connection) -> None:
    await new_account(owner)
    one = fill(0, "Buy", "1", "100")
    again = structs.replace(one, exec_pnl=D("0"), closed_size=D("0"), price=D("999"), fee=D("9"), reason="manual")
    assert await insert_fills(owner, [one, one]) == InsertResult(1, 1)
    assert await insert_fills(owner, [again, structs.replace(again, exec_pnl=D("5"))]) == InsertResult(0, 2)
    row = await fetch_one(owner, "SELECT price, fee, reason, exec_pnl, closed_size FROM trading.fills")
    assert tuple(row) == (100, 0, "entry", 0, 0)
    assert await owner.fetchval("SELECT volume FROM trading.bot_daily_performance") == 100


async def test_a_late_fill_rewrites_up_to_the_next_common_flat_point_and_no_further(owner: Connection) -> None:
    account = await new_account(owner)
    rows = [
        fill(minute, "Buy" if minute % 2 == 0 else "Sell", "1", f"{100 + minute}", account_id=account)
        for minute in range(40)
    ]
    await insert_fills(owner, rows)
    before = await owner.fetch("SELECT closed_id, xmin::text AS writer FROM trading.round_trips ORDER BY closed_at")
    late = [
        fill(10.5, "Buy", "1", "110", account_id=account),
        fill(10.7, "Sell", "1", "112", account_id=account),
        fill(10.8, "Buy", "2", "1", fee="0.3", exec_type="Funding", account_id=account),
    ]
    await insert_fills(owner, late)
    after = {
        row["closed_id"]: row["xmin"]
        for row in await owner.fetch("SELECT closed_id, xmin::text FROM trading.round_trips")
    }
    rewritten = [row["closed_id"] for row in before if after[row["closed_id"]] != row["writer"]]
    assert rewritten == [rows[11].exec_id]
    assert await stored(owner, account, "BTCUSDT") == expected(books(rows + late))


async def test_too_late_a_fill_waits_as_provisional_until_it_is_settled(owner: Connection) -> None:
    account = await new_account(owner)
    rows = some_fills(3, 24_000, account, "BTCUSDT")
    await insert_fills(owner, rows[:3] + rows[4:22_000])
    await insert_fills(owner, rows[3:4])
    await insert_fills(owner, rows[22_000:])
    assert await owner.fetchval("SELECT bool_and(provisional) FROM trading.position_summaries")
    assert await owner.fetchval("SELECT bool_or(provisional) FROM trading.bot_daily_performance")
    assert await recompute_pending(owner) == 1
    assert not await owner.fetchval("SELECT bool_or(provisional) FROM trading.position_summaries")
    assert await recompute_pending(owner) == 0
    assert await stored(owner, account, "BTCUSDT") == expected(books(rows))


async def test_two_writers_of_the_same_fills_at_once_leave_each_fill_once(
    owner: Connection, history_settings: DatabaseSettings
) -> None:
    account = await new_account(owner)
    rows = some_fills(5, 1_500, account, "BTCUSDT")

    async def write(batches: list[list[Fill]]) -> int:
        connection = await connect(history_settings, "tests")
        inserted = [(await insert_fills(connection, batch)).inserted for batch in batches]
        await connection.close()
        return sum(inserted)

    forward = [rows[start : start + 37] for start in range(0, len(rows), 37)]
    backward = [rows[max(0, end - 53) : end] for end in range(len(rows), 0, -53)]
    counts = await asyncio.gather(write(forward), write(backward), write(forward[::2]))
    assert sum(counts) == len(rows)
    assert await stored(owner, account, "BTCUSDT") == expected(books(rows))


async def test_bybits_own_pnl_is_laid_beside_ours(owner: Connection) -> None:
    await trips(
        owner,
        [
            fill(0, "Buy", "2", "100"),
            fill(1, "Sell", "1", "110", exec_pnl="10"),
            fill(2, "Sell", "1", "111", exec_pnl="10.5"),
            fill(3, "Buy", "1", "100"),
            fill(4, "Sell", "1", "100"),
        ],
    )
    (row,) = await owner.fetch(
        "SELECT * FROM trading.exec_pnl_check($1, $2, $3)", "shortseller_001", START, START + timedelta(1)
    )
    assert (row["ours"], row["theirs"], row["difference"]) == (21, D("20.5"), D("0.5"))


async def test_a_fee_that_turns_out_to_be_in_another_coin_leaves_the_trip_and_gets_its_price_later(
    owner: Connection, listener: Connection
) -> None:
    account = await new_account(owner)
    told_later = structs.replace(fill(0, "Buy", "1", "100", fee="2", account_id=account), fee_currency=None)
    closing = fill(1, "Sell", "1", "110", fee="0.5", account_id=account, reason="take_profit")
    await insert_fills(listener, [told_later, closing])
    fees = "SELECT fees FROM trading.position_summaries"
    assert await owner.fetchval(fees) == Decimal("2.5")
    result = await insert_fills(listener, [structs.replace(told_later, fee_currency="MNT")])
    assert (result.inserted, result.duplicates) == (0, 1)
    assert await owner.fetchval(fees) == Decimal("0.5")
    other = "SELECT currency, amount, value, unvalued FROM trading.daily_other_fees"
    assert tuple(await fetch_one(owner, other)) == ("MNT", 2, 0, 2)
    await listener.execute("UPDATE trading.fills SET fee_price = 3 WHERE fee_currency = 'MNT'")
    assert tuple(await fetch_one(owner, other)) == ("MNT", 2, 6, 0)
    completed = await owner.fetch("SELECT completed_at IS NULL AS whole FROM trading.fills ORDER BY exec_time")
    assert [row["whole"] for row in completed] == [False, True]
