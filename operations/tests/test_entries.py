"""Results by tag and the cost of orders, over real history with intents beside it."""

from decimal import Decimal

from alpha.config.services import DatabaseSettings
from operations.arguments import Arguments
from operations.commands import QUERIES
from operations.context import Operations
from operations.entries import Costs, all_costs, costs_page, entries, entries_page
from operations.market_costs import MarketCosts
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
    # none of it measured by a recorder, which is said
    assert found.market.rows == []
    assert "No fill of this period was measured" in str(page.blocks)
    nothing = Costs([], [], [], MarketCosts([], [], [], None))
    assert "No order was filled" in str(costs_page(nothing, parse_period("2025-01", NOW)).blocks)


async def test_fills_are_shown_against_the_quotes_around_them_beside_what_the_back_test_assumes(
    platform: Operations, house_database: DatabaseSettings
) -> None:
    # every trade of momentum in January paid half a spread of 4 bps and 3 more, and the market went on by 1, 2 and 5 bps
    away = "CASE side WHEN 'Buy' THEN 1 ELSE -1 END"
    mid = f"price / (1 + {away} * 0.0005)"
    await run_sql(
        house_database,
        "INSERT INTO trading.fill_quotes (account_id, symbol, exec_id, mid, spread, mid_1s, mid_5s, mid_30s) "
        f"SELECT account_id, symbol, exec_id, m, m * 0.0004, m * (1 + {away} * 0.0001), m * (1 + {away} * 0.0002), "
        f"m * (1 + {away} * 0.0005) FROM trading.fills, LATERAL (SELECT {mid} AS m) AS mids "
        "WHERE bot_id = 'momentum_001' AND exec_type = 'Trade' AND category = 'linear' AND exec_time < '2025-02-01'",
    )
    bot = platform.registry.find("momentum")
    period = parse_period("2025-01", NOW)
    found = (await all_costs(platform, bot, period)).market
    fills = "FROM trading.fills WHERE bot_id = 'momentum_001' AND exec_type = 'Trade' AND exec_time >= '2025-01-01' AND exec_time < '2025-02-01'"
    count, value = await platform.history.value(f"SELECT row(count(*), sum(value)) {fills}")
    for groups in (found.rows, found.hours, found.sizes):
        assert sum(one.measured for one in groups) == count
        assert sum((one.value_usdt for one in groups), Decimal(0)) == value
        for one in groups:
            assert [round(one.spread_bps, 6), round(one.slippage_bps, 6)] == [4, 5]
            assert [round(after, 6) for after in one.after_bps if after is not None] == [1, 2, 5]
    assert [one.name for one in found.hours] == sorted(one.name for one in found.hours)
    assert found.takers is not None
    assert found.worse_than_assumed
    page = str(costs_page(await all_costs(platform, bot, period), period).blocks)
    assert (
        "cost +5.00 bps of the mid price; the back-test assumes 2 bps, too little: repeat it with --slippage-bps 5.0"
        in page
    )
    # another bot was not measured, and nothing of it is said as if it were
    other = platform.registry.find("shortseller")
    assert (await all_costs(platform, other, period)).market.rows == []


async def test_both_are_commands(platform: Operations) -> None:
    for name in ("entries", "slippage"):
        query = next(each for each in QUERIES if each.name == name)
        page = await query.ask(platform, Arguments(period="30d"))
        assert page.title.lower().startswith(name)
