"""Snapshots of equity older than a week become four per hour; figures, days and what a curve shows stay."""

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import asyncpg

from alpha.config.services import DatabaseSettings
from alpha.postgres.database import Connection
from tests.history.build import BOT, new_account
from tests.history.roles import PASSWORDS

START = datetime(2025, 6, 1, tzinfo=UTC)
#: Minutes with a snapshot each; the account's newest snapshot is a week and an hour after the last of them.
MINUTES = 25 * 60
NEWEST = START + timedelta(minutes=MINUTES) + timedelta(days=7)
_FIGURES = "SELECT * FROM trading.bot_performance($1, $2, $3)"
_DAILY = "SELECT * FROM trading.daily_equity ORDER BY account_id, coin, day"
_COUNT = "SELECT count(*) FROM trading.equity_snapshots WHERE account_id = $1"
_HOURS = (
    "SELECT date_trunc('hour', taken_at, 'UTC') AS hour, min(equity), max(equity), (array_agg(equity ORDER BY taken_at))[1], "
    "(array_agg(equity ORDER BY taken_at DESC))[1], min(taken_at), max(taken_at) "
    "FROM trading.equity_snapshots WHERE account_id = $1 AND coin = $2 GROUP BY 1 ORDER BY 1"
)


async def _a_point_a_minute(owner: Connection, account: int, coin: str = "USDT") -> None:
    draw, equity = random.Random(3), Decimal(10_000)
    rows = []
    for minute in range(MINUTES):
        equity += Decimal(draw.randrange(-500, 505)) / 100
        rows.append((account, START + timedelta(minutes=minute), equity, equity, equity, Decimal(0), coin))
    rows.append((account, NEWEST, equity, equity, equity, Decimal(0), coin))
    await owner.copy_records_to_table("equity_snapshots", schema_name="trading", records=rows)


async def test_after_a_week_four_points_of_an_hour_stay_and_every_figure_with_them(owner: Connection) -> None:
    account, other = await new_account(owner), await new_account(owner, "momentum_001")
    for coin in ("USDT", "USDC"):
        await _a_point_a_minute(owner, account, coin)
    await _a_point_a_minute(owner, other)
    # within the week: stays, however close the points are
    await owner.execute(
        "INSERT INTO trading.equity_snapshots SELECT $1, t, 1, 1, 1, 0 "
        "FROM generate_series($2::timestamptz, $2::timestamptz + interval '50 min', interval '1 min') AS t",
        account,
        NEWEST - timedelta(days=7),
    )
    span = (BOT, date(2025, 6, 1), date(2025, 6, 12))
    figures, days = await owner.fetch(_FIGURES, *span), await owner.fetch(_DAILY)
    hours = {coin: await owner.fetch(_HOURS, account, coin) for coin in ("USDT", "USDC")}
    whole = await owner.fetchval(_COUNT, account)

    gone = await owner.fetchval("SELECT trading.roll_up_equity($1)", account)

    left = await owner.fetchval(_COUNT, account)
    assert left == whole - gone
    assert 2 * 2 * 25 <= left - 51 - 2 <= 2 * 4 * 25
    assert await owner.fetchval(_COUNT, other) == MINUTES + 1
    for coin, before in hours.items():
        assert await owner.fetch(_HOURS, account, coin) == before
    assert await owner.fetch(_FIGURES, *span) == figures
    assert await owner.fetch(_DAILY) == days
    assert await owner.fetchval("SELECT trading.roll_up_equity($1)", account) == 0


async def test_it_looks_no_further_back_than_asked_and_an_account_without_snapshots_is_nothing(
    owner: Connection,
) -> None:
    account = await new_account(owner)
    assert await owner.fetchval("SELECT trading.roll_up_equity($1)", account) == 0
    await _a_point_a_minute(owner, account)
    newest = await owner.fetchval("SELECT trading.roll_up_equity($1, p_back => interval '2 hours')", account)
    assert 2 * 56 <= newest <= 2 * 58
    assert await owner.fetchval("SELECT trading.roll_up_equity($1)", account) > 0


async def test_flat_equity_leaves_the_ends_of_an_hour(owner: Connection) -> None:
    account = await new_account(owner)
    await owner.execute(
        "INSERT INTO trading.equity_snapshots SELECT $1, t, 100, 100, 100, 0 "
        "FROM generate_series(timestamptz '2025-06-01', '2025-06-01 02:00', '1 min') AS t",
        account,
    )
    await owner.execute("INSERT INTO trading.equity_snapshots VALUES ($1, '2025-06-09', 100, 100, 100, 0)", account)
    await owner.fetchval("SELECT trading.roll_up_equity($1)", account)
    hour = await owner.fetch(
        "SELECT taken_at FROM trading.equity_snapshots WHERE taken_at < '2025-06-01 01:00+00' ORDER BY 1"
    )
    assert [row["taken_at"].minute for row in hour] == [0, 59]


async def test_the_sync_service_may_and_the_listener_may_not(
    owner: Connection, history_settings: DatabaseSettings
) -> None:
    account = await new_account(owner)
    for role, allowed in (("alpha_sync", True), ("alpha_listener", False), ("alpha_readonly", False)):
        connection = await asyncpg.connect(
            host=history_settings.postgres_host,
            port=history_settings.postgres_port,
            database=history_settings.postgres_db,
            user=role,
            password=PASSWORDS[role],
        )
        try:
            done = await connection.fetchval("SELECT trading.roll_up_equity($1)", account) == 0
        except asyncpg.InsufficientPrivilegeError:
            done = False
        await connection.close()
        assert done is allowed, role
