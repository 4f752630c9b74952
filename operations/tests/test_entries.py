"""Results by tag and the cost of orders, over real history with intents beside it."""

from decimal import Decimal

from alpha.config.services import DatabaseSettings
from operations.arguments import Arguments
from operations.commands import QUERIES
from operations.context import Operations
from operations.entries import Costs, all_costs, costs_page, entries, entries_page
from operations.periods import parse_period
from tests.support.operations import NOW, run_sql

#: An intent for the first fill of every momentum trip, named by its direction, and one for the last fill, where it has an id.
INTENTS = """
INSERT INTO trading.order_intents (account_id, order_link_id, bot_id, symbol, bar_start, intent, order_kind, side, qty, tag,
    reason, decision_price, decided_at)
SELECT DISTINCT ON (p.account_id, f.order_link_id) p.account_id, f.order_link_id, p.bot_id, p.symbol, p.opened_at, 'enter',
    'limit', f.side, f.qty, 'breakout_' || p.direction, 'entry', 100, p.opened_at
FROM trading.position_summaries AS p JOIN trading.fills AS f
    ON f.account_id = p.account_id AND f.category = 'linear' AND f.symbol = p.symbol AND f.exec_time = p.opened_at
WHERE p.bot_id = 'momentum_001' AND f.order_link_id <> ''
"""


async def test_round_trips_are_grouped_by_the_tag_of_their_entry(
    platform: Operations, house_database: DatabaseSettings
) -> None:
    named = "UPDATE trading.fills SET order_link_id = left('mo-en-' || exec_id, 36) WHERE bot_id = 'momentum_001'"
    await run_sql(house_database, named, INTENTS)
    bot = platform.registry.find("momentum")
    period = parse_period("all", NOW)
    found = await entries(platform, bot, period)
    trips, net = await platform.history.value(
        "SELECT row(count(*), sum(net)) FROM trading.position_summaries WHERE bot_id = 'momentum_001'"
    )
    assert sum(row.trips for row in found.entries) == sum(row.trips for row in found.exits) == trips
    assert sum((row.net for row in found.entries), Decimal(0)) == net
    tagged = [row for row in found.entries if row.tag.startswith("breakout_")]
    assert tagged
    direction = tagged[0].tag.removeprefix("breakout_")
    most = await platform.history.value(
        "SELECT count(*) FROM trading.position_summaries WHERE bot_id = 'momentum_001' AND direction = $1", direction
    )
    assert 0 < tagged[0].trips <= most
    assert {row.reason for row in found.exits} == {
        row["exit_reason"]
        for row in await platform.history.rows(
            "SELECT DISTINCT exit_reason FROM trading.position_summaries WHERE bot_id = 'momentum_001'"
        )
    }
    assert "By entry tag" in str(entries_page(found).blocks)


async def test_an_order_filled_above_its_decision_costs_a_buyer(
    platform: Operations, house_database: DatabaseSettings
) -> None:
    await run_sql(
        house_database,
        "INSERT INTO trading.order_intents (account_id, order_link_id, bot_id, symbol, bar_start, intent, order_kind, side, qty, "
        "tag, reason, decision_price, decided_at) SELECT account_id, 'mo-en-' || side, bot_id, 'BTCUSDT', now() - interval '1 year', "
        "'enter', 'market', side, 2, '', 'entry', 100, '2025-01-10' FROM trading.accounts, unnest(ARRAY['Buy', 'Sell']) AS side "
        "WHERE bot_id = 'momentum_001'",
        "INSERT INTO trading.orders (account_id, order_id, order_link_id, bot_id, category, symbol, side, order_type, status, qty, "
        "cum_exec_qty, avg_price, reason, reduce_only, close_on_trigger, created_at, updated_at, received_at) SELECT account_id, order_link_id, order_link_id, bot_id, 'linear', symbol, "
        "side, 'Market', 'Filled', qty, qty, CASE side WHEN 'Buy' THEN 100.1 ELSE 100.05 END, 'entry', false, false, decided_at, decided_at, decided_at "
        "FROM trading.order_intents WHERE order_link_id LIKE 'mo-en-%'",
    )
    bot = platform.registry.find("momentum")
    found = await all_costs(platform, bot, parse_period("2025-01", NOW))
    (row,) = found.rows
    assert (row.orders, row.kind, row.symbol) == (2, "market", "BTCUSDT")
    # 2 bought 0.1 above, 2 sold 0.05 above: 0.2 paid, 0.1 gained
    assert round(row.cost_usdt, 6) == Decimal("0.1")
    assert row.worst_bps == Decimal("10.0000")
    (hour,), (size,) = found.hours, found.sizes
    assert (hour.orders, hour.cost_usdt) == (row.orders, row.cost_usdt) == (size.orders, size.cost_usdt)
    assert hour.name.endswith(":00")
    assert hour.average_bps == row.average_bps
    page = costs_page(found, parse_period("2025-01", NOW))
    assert "bps of 400 USDT" in str(page.blocks)
    assert "No order was filled" in str(costs_page(Costs([], [], []), parse_period("2025-01", NOW)).blocks)


async def test_both_are_commands(platform: Operations) -> None:
    for name in ("entries", "slippage"):
        query = next(each for each in QUERIES if each.name == name)
        page = await query.ask(platform, Arguments(period="30d"))
        assert page.title.lower().startswith(name)
