"""One trade in full, and rows by page: nothing is lost between pages, and filters keep what fits."""

from datetime import timedelta
from decimal import Decimal

import pytest

from alpha.config.services import DatabaseSettings
from alpha.errors import Rejected
from operations import history_pages, search
from operations.analytics import trades
from operations.context import Operations
from operations.formatting import NONE
from operations.page import Table
from operations.periods import parse_period
from operations.search import Filter
from operations.trade import find_trade, stop_levels, trade
from tests.support.operations import NOW, move_a_stop


async def test_a_trade_is_found_by_its_id_and_tells_all_its_fills(platform: Operations) -> None:
    newest = await trades(platform, None, 30)
    assert len({row.trade_id for row in newest}) == 30
    for row in newest[:5]:
        assert await find_trade(platform, row.trade_id) == row
    assert await find_trade(platform, "3") == newest[2]
    seen = await trade(platform, newest[4].trade_id)
    count = await platform.history.value(
        "SELECT count(*) FROM trading.fills WHERE bot_id = $1 AND symbol = $2 AND exec_time BETWEEN $3 AND $4",
        seen.trip.bot,
        seen.trip.symbol,
        seen.trip.opened_at,
        seen.trip.closed_at,
    )
    assert len(seen.fills) == count > 0
    page = history_pages.trade_page(seen, platform.zone)
    assert seen.trip.symbol in page.title
    for name in ("0" * 10, "999"):
        with pytest.raises(Rejected):
            await find_trade(platform, name)


async def test_a_trade_tells_how_its_stop_moved(platform: Operations, house_database: DatabaseSettings) -> None:
    trip = next(row for row in await trades(platform, None, 30) if row.held > timedelta(minutes=3))
    await move_a_stop(house_database, trip)
    seen = await trade(platform, trip.trade_id)
    assert [(level.trigger_price, level.reason) for level in seen.levels] == [
        (Decimal("90"), "stop_loss"),
        (Decimal("95.5"), "stop_loss"),
        (Decimal("100"), "break_even"),
    ]
    assert seen.levels == await stop_levels(platform, trip)
    table = next(
        block for block in history_pages.trade_page(seen, platform.zone).blocks
        if isinstance(block, Table) and block.title == "Stops as they moved"
    )  # fmt: skip
    assert [[cell.text for cell in row[1:]] for row in table.rows] == [
        ["StopLoss", "90", NONE.text, "stop loss"],
        ["StopLoss", "95.5", "+5.5", "stop loss"],
        ["StopLoss", "100", "+4.5", "break even"],
    ]


async def test_pages_of_trades_and_fills_follow_on_each_other(platform: Operations) -> None:
    bot = platform.registry.find("lxalgo")
    everything = await search.trips(platform, Filter(bot=bot, limit=10_000))
    assert not everything.more
    pages = [await search.trips(platform, Filter(bot=bot, offset=at, limit=20)) for at in (0, 20)]
    assert [row for page in pages for row in page.rows] == everything.rows[:40]
    assert pages[0].more
    first = await search.fills(platform, Filter(limit=30))
    rest = await search.fills(platform, Filter(limit=30, offset=30))
    assert not {row.exec_id for row in first.rows} & {row.exec_id for row in rest.rows}
    # beyond the rows that are read bot by bot, and within them
    everything_filled = (await search.fills(platform, Filter(limit=10_000))).rows
    assert first.rows + rest.rows == everything_filled[:60]
    symbol = everything_filled[0].symbol
    some = await search.fills(platform, Filter(symbol=symbol, limit=15, offset=5))
    assert some.rows == [row for row in everything_filled if row.symbol == symbol][5:20]


async def test_filters_keep_what_fits_and_nothing_else(platform: Operations) -> None:
    everything = (await search.trips(platform, Filter(limit=10_000))).rows
    symbol, reason = everything[0].symbol, everything[0].reason
    found = await search.trips(platform, Filter(symbol=symbol, reason=reason, limit=10_000))
    assert found.rows == [row for row in everything if (row.symbol, row.reason) == (symbol, reason)]
    by_words = await search.trips(platform, Filter(words=f"{symbol.lower()} {reason[:6].upper()}", limit=10_000))
    assert {row.trade_id for row in by_words.rows} >= {row.trade_id for row in found.rows}
    period = parse_period("2025-01", NOW)
    month = (await search.trips(platform, Filter(period=period, limit=10_000))).rows
    assert month == [row for row in everything if period.start <= row.closed_at < period.end]
    assert (await search.trips(platform, Filter(words="100%_\\'; DROP", limit=5))).rows == []
    assert (await search.trips(platform, Filter(tag="no-such-tag"))).rows == []
    with pytest.raises(Rejected):
        Filter(offset=-1)
    assert period.end - period.start > timedelta(days=30)
