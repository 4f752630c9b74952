"""The views and functions over a period, with figures calculated by hand."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import asyncpg
import pytest

from alpha.postgres.database import Connection, fetch_one
from alpha.postgres.fills import insert_fills
from tests.history.build import BOT, START, fill, new_account

D = Decimal
JUNE = (date(2025, 6, 1), date(2025, 7, 1))


@pytest.fixture
async def three_days(owner: Connection) -> Connection:
    """Nets of +10, -4 (day 1), -8 (day 2), +6 (day 3): two longs, two shorts, three reasons."""
    account = await new_account(owner)
    other = await new_account(owner, environment="demo")
    await insert_fills(
        owner,
        [
            fill(0, "Buy", "1", "100", account_id=account, fee="1"),
            fill(10, "Sell", "1", "112", account_id=account, fee="1", reason="take_profit"),
            fill(20, "Sell", "1", "100", account_id=account),
            fill(50, "Buy", "1", "104", account_id=account, reason="stop_loss"),
            fill(1440, "Buy", "2", "50", account_id=account, symbol="ETHUSDT"),
            fill(1450, "Sell", "2", "46", account_id=account, symbol="ETHUSDT", reason="stop_loss"),
            fill(2880, "Sell", "1", "100", account_id=account),
            fill(2881, "Sell", "1", "1", account_id=account, exec_type="Funding", fee="-1", reason="funding"),
            fill(2910, "Buy", "1", "95", account_id=account, reason="signal"),
            fill(2920, "Buy", "1", "100", account_id=other),
        ],
    )
    return owner


async def test_days_add_up_with_their_drawdown(three_days: Connection) -> None:
    rows = await three_days.fetch(
        "SELECT * FROM trading.bot_daily_performance WHERE bot_id = $1 AND environment = 'simulated' ORDER BY day", BOT
    )
    day = START.date()
    assert [row["day"] for row in rows] == [day, day + timedelta(1), day + timedelta(2)]
    assert [(row["fills"], row["round_trips"], row["wins"], row["losses"]) for row in rows] == [
        (4, 2, 1, 1),
        (2, 1, 0, 1),
        (2, 1, 1, 0),
    ]
    assert [row["volume"] for row in rows] == [416, 192, 195]
    assert [(row["gross"], row["fees"], row["funding"], row["net"]) for row in rows] == [
        (8, 2, 0, 6),
        (-8, 0, 0, -8),
        (5, 0, 1, 6),
    ]
    assert [row["cumulative_net"] for row in rows] == [6, -2, 4]
    assert [row["drawdown"] for row in rows] == [0, -8, -2]
    assert [(row["best"], row["worst"]) for row in rows] == [(10, -4), (-8, -8), (6, 6)]


async def test_a_period_begins_anew_and_its_last_day_is_not_part_of_it(three_days: Connection) -> None:
    second = START.date() + timedelta(1)
    rows = await three_days.fetch(
        "SELECT * FROM trading.daily_performance($1, $2, $3)", BOT, second, second + timedelta(1)
    )
    assert [(row["environment"], row["net"], row["cumulative_net"]) for row in rows] == [("simulated", -8, -8)]


async def test_exits_by_reason(three_days: Connection) -> None:
    rows = await three_days.fetch("SELECT * FROM trading.exit_reason_analysis WHERE bot_id = $1", BOT)
    found = {row["exit_reason"]: row for row in rows}
    assert set(found) == {"take_profit", "stop_loss", "signal"}
    stop = found["stop_loss"]
    assert (stop["round_trips"], stop["share"], stop["win_rate"]) == (2, D("0.5"), 0)
    assert (stop["total_net"], stop["average_net"], stop["profit_factor"]) == (-12, -6, 0)
    assert stop["average_holding"] == timedelta(minutes=20)
    assert found["take_profit"]["profit_factor"] is None
    period = await three_days.fetch("SELECT * FROM trading.exit_reasons($1, $2, $3)", BOT, *JUNE)
    assert [tuple(row) for row in period] == [tuple(row) for row in rows]


async def test_symbols(three_days: Connection) -> None:
    rows = await three_days.fetch(
        "SELECT * FROM trading.symbol_performance WHERE environment = 'simulated' ORDER BY symbol"
    )
    assert [(row["symbol"], row["round_trips"], row["net"], row["win_rate"], row["profit_factor"]) for row in rows] == [
        ("BTCUSDT", 3, 12, D("0.6667"), 4),
        ("ETHUSDT", 1, -8, 0, 0),
    ]


async def test_environments_never_mix(three_days: Connection) -> None:
    rows = await three_days.fetch("SELECT environment, qty FROM trading.open_positions")
    assert [tuple(row) for row in rows] == [("demo", 1)]
    rows = await three_days.fetch(
        "SELECT environment, sum(fills) FROM trading.bot_daily_performance GROUP BY 1 ORDER BY 1"
    )
    assert [tuple(row) for row in rows] == [("demo", 1), ("simulated", 8)]


async def test_performance_of_a_period_with_equity_and_a_transfer(three_days: Connection) -> None:
    account = await three_days.fetchval("SELECT account_id FROM trading.accounts WHERE environment = 'simulated'")
    day = START.replace(hour=0)
    snapshots = [
        (0, 1, 1000),
        (0, 12, 1100),
        (0, 23, 1050),
        (1, 1, 1050),
        (1, 12, 900),
        (1, 23, 945),
        (2, 1, 945),
        (2, 23, 1145),
    ]
    for days, hours, equity in snapshots:
        await three_days.execute(
            "INSERT INTO trading.equity_snapshots VALUES ($1, $2, $3, $3, $3, 0)",
            account,
            day + timedelta(days=days, hours=hours),
            D(equity),
        )
    await three_days.execute(
        "INSERT INTO trading.transfers VALUES ($1, 'x', '', 'TRANSFER_IN', 'USDT', 200, 1145, $2)",
        account,
        day + timedelta(days=2, hours=5),
    )
    row = await fetch_one(
        three_days, "SELECT * FROM trading.bot_performance($1, $2, $3) WHERE environment = 'simulated'", BOT, *JUNE
    )
    assert (row["net"], row["round_trips"], row["wins"], row["losses"]) == (4, 4, 2, 2)
    assert (row["win_rate"], row["profit_factor"], row["expectancy"]) == (D("0.5"), D("1.3333"), 1)
    assert (row["start_equity"], row["end_equity"], row["transfers"]) == (1000, 1145, 200)
    assert row["return_pct"] == D("-5.5")
    # daily returns 5 %, -10 %, 0 %: mean -1.6667 %, deviation 7.6376 %, downside sqrt(0.01 / 3) = 5.7735 %; times sqrt(365)
    assert (row["sharpe"], row["sortino"]) == (D("-4.1690"), D("-5.5151"))
    assert (row["max_drawdown"], row["max_drawdown_pct"]) == (200, D("18.1818"))


async def _performance(
    owner: Connection, equities: list[tuple[float, str]], transfers: list[tuple[float, str]]
) -> asyncpg.Record:
    """bot_performance of June for an account with these snapshots and transfers; times are hours since June 2."""
    account, day = await new_account(owner), datetime(2025, 6, 2, tzinfo=UTC)
    for hours, equity in equities:
        await owner.execute(
            "INSERT INTO trading.equity_snapshots VALUES ($1, $2, $3, $3, $3, 0)",
            account,
            day + timedelta(hours=hours),
            D(equity),
        )
    for number, (hours, amount) in enumerate(transfers):
        await owner.execute(
            "INSERT INTO trading.transfers VALUES ($1, $2, '', 'TRANSFER_IN', 'USDT', $3, 0, $4)",
            account,
            str(number),
            D(amount),
            day + timedelta(hours=hours),
        )
    row = await fetch_one(owner, "SELECT * FROM trading.bot_performance($1, $2, $3)", BOT, *JUNE)
    assert row is not None
    return row


async def test_a_deposit_before_the_first_snapshot_is_no_loss(owner: Connection) -> None:
    row = await _performance(owner, [(10, "10000"), (20, "10100"), (44, "9595")], [(9, "10000")])
    assert (row["start_equity"], row["end_equity"], row["transfers"]) == (10000, 9595, 0)
    assert (row["return_pct"], row["max_drawdown"], row["max_drawdown_pct"]) == (D("-4.05"), 505, 5)


async def test_a_deposit_of_a_day_without_snapshots_is_no_gain(owner: Connection) -> None:
    row = await _performance(owner, [(10, "1000"), (20, "1000"), (68, "6000"), (70, "6060")], [(40, "5000")])
    assert (row["start_equity"], row["end_equity"], row["transfers"]) == (1000, 6060, 5000)
    assert (row["return_pct"], row["max_drawdown"], row["max_drawdown_pct"]) == (1, 0, 0)


async def test_the_return_is_of_the_money_that_was_there(owner: Connection) -> None:
    """5 % on 1,000, then 0.5 % on 100,050: 5.525 %, not the 55 % that the gain is relative to the initial equity."""
    row = await _performance(owner, [(1, "1000"), (20, "1050"), (30, "100050"), (40, "100550.25")], [(25, "99000")])
    assert (row["transfers"], row["return_pct"]) == (99000, D("5.525"))


async def test_a_withdrawal_is_no_loss_and_an_account_that_lost_everything_lost_all(owner: Connection) -> None:
    row = await _performance(owner, [(1, "1000"), (20, "1000"), (30, "400"), (40, "400")], [(25, "-600")])
    assert (row["return_pct"], row["max_drawdown"], row["max_drawdown_pct"]) == (0, 0, 0)
    await owner.execute("UPDATE trading.equity_snapshots SET equity = 0 WHERE taken_at = '2025-06-03 16:00+00'")
    row = await fetch_one(owner, "SELECT * FROM trading.bot_performance($1, $2, $3)", BOT, *JUNE)
    assert (row["return_pct"], row["max_drawdown"], row["max_drawdown_pct"]) == (-100, 400, 100)


async def test_equity_of_a_day_is_the_same_whatever_order_its_snapshots_arrive_in(owner: Connection) -> None:
    account = await new_account(owner)
    equities = [100, 90, 120, 60, 110]
    for place in (2, 0, 4, 1, 3):
        await owner.execute(
            "INSERT INTO trading.equity_snapshots VALUES ($1, $2, $3, $3, $3, 0)",
            account,
            datetime(2025, 6, 1, place, tzinfo=UTC),
            D(equities[place]),
        )
    row = await fetch_one(owner, "SELECT first, last, high, low, fall, fall_share FROM trading.daily_equity")
    assert tuple(row) == (100, 110, 120, 60, 60, D("0.5"))


async def test_funding_of_an_instant_without_a_position_is_the_days_and_shows_in_the_balance(owner: Connection) -> None:
    account = await new_account(owner)
    await insert_fills(
        owner, [fill(0, "Buy", "1", "100", exec_type="Funding", fee="0.3", reason="funding", account_id=account)]
    )
    row = await fetch_one(owner, "SELECT days_net, trips_net, open_net, loose_funding FROM trading.books_balance")
    assert tuple(row) == (D("-0.3"), 0, 0, D("-0.3"))
