"""Queries over real stores: live state from Redis, history from the views."""

import asyncio
from collections import defaultdict
from datetime import UTC, date
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from alpha.alerts import Alert, Alerts, Level
from alpha.config.services import DatabaseSettings
from alpha.errors import Rejected
from alpha.live_state import keys
from alpha.model.money import ZERO
from operations import analytics, health, history, history_pages, positions
from operations.arguments import Arguments
from operations.business_time import business_now
from operations.commands import QUERIES
from operations.context import Operations
from operations.page import Curve
from operations.periods import parse_period
from operations.status import BotState, status
from tests.support.operations import NOW
from trade_sync_service.alert_archive import AlertArchive


async def test_business_time_is_the_exchanges_not_the_wall_clock(platform: Operations) -> None:
    assert await business_now(platform) == NOW


async def test_business_time_without_live_state_is_that_of_the_last_fill(platform: Operations) -> None:
    await platform.live.shared.eval("return redis.call('FLUSHALL')", 0)
    last = await platform.history.value("SELECT max(exec_time) FROM trading.fills WHERE bot_id = 'momentum_001'")
    assert await business_now(platform, platform.registry.find("momentum")) == last


async def test_positions_are_those_of_live_state(platform: Operations) -> None:
    short, long = await positions.positions(platform)
    assert (short.bot, short.symbol, short.direction, short.size) == (
        "shortseller_001",
        "BTCUSDT",
        "short",
        Decimal("0.5"),
    )
    assert short.pnl_pct == Decimal(500) / Decimal(47500) * 100
    assert (long.direction, long.stop_loss, long.true) == ("long", None, True)
    assert await positions.positions(platform, platform.registry.find("momentum")) == []


async def test_data_that_is_not_synced_is_marked(platform: Operations) -> None:
    await platform.live.of(platform.registry.bots[0]).hset(keys.status("shortseller_001"), "state", "stale")
    assert [row.true for row in await positions.positions(platform)] == [False, True]


async def test_an_open_order_shows_its_trigger(platform: Operations) -> None:
    (order,) = await positions.orders(platform)
    assert (order.kind, order.trigger_price, order.price, order.reduce_only) == ("StopLoss", Decimal(96000), None, True)


async def test_trades_are_the_newest_first_and_as_many_as_asked(platform: Operations) -> None:
    rows = await analytics.trades(platform, None, 25)
    assert len(rows) == 25
    assert rows == sorted(rows, key=lambda row: row.closed_at, reverse=True)
    newest = await platform.history.value("SELECT max(closed_at) FROM trading.position_summaries")
    assert rows[0].closed_at == newest
    for row in rows:
        assert row.net == row.gross - row.fees + row.funding


async def test_figures_of_a_period_equal_the_days_in_it(platform: Operations) -> None:
    period = parse_period("2025-01", NOW)
    for row in await analytics.performance(platform, None, period):
        net, trips = await platform.history.value(
            "SELECT row(sum(net), sum(round_trips)::bigint) FROM trading.bot_daily_performance "
            "WHERE bot_id = $1 AND day >= '2025-01-01' AND day < '2025-02-01'",
            row.bot,
        )
        assert (row.net, row.trips) == (net, trips)
        assert row.win_rate_pct is None or 0 <= row.win_rate_pct <= 100
    reasons = await analytics.reasons(platform, None, period)
    assert sum(row.trips for row in reasons) == sum(
        row.trips for row in await analytics.performance(platform, None, period)
    )


@pytest.mark.parametrize("kind", ["daily", "weekly", "monthly"])
async def test_spans_add_up_to_the_same_total(platform: Operations, kind: str) -> None:
    rows = await analytics.spans(
        platform, kind, None, 1000 if kind == "daily" else 200 if kind == "weekly" else 30, NOW
    )
    total = await platform.history.value("SELECT sum(net) FROM trading.bot_daily_performance")
    assert sum(row.net for row in rows) == total


async def test_the_nets_of_days_are_those_of_the_bots_together(platform: Operations) -> None:
    for bot in (None, platform.registry.find("lxalgo")):
        expected: dict[date, Decimal] = defaultdict(lambda: ZERO)
        for row in await analytics.spans(platform, "daily", bot, 60, NOW):
            expected[row.start] += row.net
        found = await analytics.day_nets(platform, bot, parse_period("60d", NOW))
        assert {row.start: row.net for row in found} == expected
        assert {row.coin for row in found} == {"USDT"}


async def test_the_curve_of_many_years_is_thinned_and_keeps_its_ends(
    platform: Operations, monkeypatch: pytest.MonkeyPatch
) -> None:
    period = parse_period("all", NOW)
    whole = await analytics.equity_curve(platform, None, period)
    monkeypatch.setattr(analytics, "_MOST_PROBES", 45)
    monkeypatch.setattr(analytics, "_LEAST_POINTS", 15)
    thin = await analytics.equity_curve(platform, None, period)
    assert 10 <= len(thin) <= 17 < len(whole)
    assert (thin[0].time, thin[0].equity, thin[-1].time) == (whole[0].time, whole[0].equity, whole[-1].time)
    assert {(point.time, point.equity) for point in thin} <= {(point.time, point.equity) for point in whole}


async def test_accounts_of_two_environments_are_never_added_up(platform: Operations) -> None:
    bot = platform.registry.find("lxalgo")
    before = await analytics.performance(platform, bot, parse_period("all", NOW))
    await platform.history.value("SELECT trading.register_account('demo', '77', $1)", bot.id)
    # the new account is the current one, and it has not traded yet
    (after,) = await analytics.performance(platform, bot, parse_period("all", NOW))
    assert (before[0].environment, after.environment) == ("simulated", "demo")
    assert before[0].trips > 0
    assert after.trips == 0
    assert await analytics.trades(platform, bot, 5) == []
    assert await history.fills(platform, bot, 5) == []


async def test_the_equity_curve_is_thin_and_ends_at_the_last_snapshot(platform: Operations) -> None:
    for text in ("30d", "all"):
        period = parse_period(text, NOW)
        points = await analytics.equity_curve(platform, None, period)
        assert 2 <= len(points) <= analytics.CURVE_POINTS + 1
        last = await platform.history.value(
            "SELECT sum(equity) FROM trading.equity_snapshots WHERE taken_at = "
            "(SELECT max(taken_at) FROM trading.equity_snapshots)"
        )
        assert points[-1].equity == last
        assert all(point.drawdown_pct <= 0 for point in points)
        assert min(point.drawdown_pct for point in points) < 0


@pytest.mark.parametrize("text", ["7d", "30d", "2024-12", "all"])
async def test_the_picture_begins_and_ends_as_the_figures_do(platform: Operations, text: str) -> None:
    bot, period = platform.registry.find("lxalgo"), parse_period(text, NOW)
    points = await analytics.equity_curve(platform, bot, period)
    row = await platform.history.rows(
        "SELECT start_equity, end_equity, transfers, return_pct FROM trading.bot_performance($1, $2, $3)",
        bot.id,
        period.start.date(),
        period.end.date(),
    )
    assert (points[0].equity, points[-1].equity) == (row[0]["start_equity"], row[0]["end_equity"])
    assert points[0].time >= period.start
    page = history_pages.analytics_page(await analytics.analytics(platform, bot, period), UTC)
    assert isinstance(page.picture, Curve)
    assert page.picture.return_pct == float(row[0]["return_pct"])


async def test_status_says_stopped_for_a_bot_without_a_process(platform: Operations) -> None:
    seen = await status(platform)
    assert [row.state for row in seen.bots] == [BotState.STOPPED] * 3
    assert seen.faults == []
    assert seen.business_time == NOW
    assert seen.bots[0].unrealised_pnl == Decimal(500)


async def test_status_shows_what_it_can_while_postgresql_is_away(platform: Operations) -> None:
    away = platform.history._settings.model_copy(update={"postgres_port": 1})
    platform.history._settings = away
    seen = await status(platform)
    assert seen.bots[0].unrealised_pnl == Decimal(500)
    assert seen.bots[0].today_net is None
    assert len(seen.faults) == 1
    assert "PostgreSQL" in seen.faults[0]


async def test_every_question_gives_a_page_whose_data_is_json(platform: Operations) -> None:
    for question in QUERIES:
        if question.name == "logs":
            continue
        page: Any = await question.ask(platform, Arguments())
        assert page.title
        assert page.blocks
        msgspec.json.encode(page.data)


async def test_logs_are_the_bots_own_output(platform: Operations) -> None:
    bot = platform.registry.find("momentum")
    await platform.control.start(bot.container)
    async with asyncio.timeout(60):
        while "momentum_001 is up" not in await health.logs(platform, bot, 10):
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("count", [0, -1, 100_000])
async def test_a_senseless_number_of_rows_is_refused(platform: Operations, count: int) -> None:
    with pytest.raises(Rejected):
        await analytics.trades(platform, None, count)


async def test_alerts_are_the_kept_ones_and_those_not_stored_yet_without_repeats(
    platform: Operations, house_database: DatabaseSettings
) -> None:
    raised = Alerts(platform.live.shared, "tests")
    archive = AlertArchive(platform.live.shared, house_database)
    for number in range(4):
        if number == 3:
            await archive.step(1)
        await raised.raise_alert(Alert(Level.WARNING, f"t:{number}", f"Trouble {number}.", "Look."), 1_000 + number)
    shown = await health.alerts(platform, 10)
    assert [row.text for row in shown] == [f"Trouble {number}. Look." for number in (3, 2, 1, 0)]
    assert [row.key for row in await health.alerts(platform, 2)] == ["t:3", "t:2"]
    # what Redis no longer has is kept
    await archive.step(1)
    await platform.live.shared.delete(keys.ALERTS)
    assert await health.alerts(platform, 10) == shown
    await archive.close()
