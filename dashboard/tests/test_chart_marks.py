"""A chart of a long range shows the newest trades and the newest fills."""

from typing import Any

import pytest

from alpha.config.services import DatabaseSettings
from dashboard import chart_data
from dashboard.asked import read
from operations import analytics, search
from operations.business_time import business_now
from operations.context import Operations
from operations.search import Filter


@pytest.mark.parametrize("most", [2, 3, 10_000])
async def test_the_newest_fills_are_marked_however_many_trades_are_shown(
    house_database: DatabaseSettings, platform: Operations, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(chart_data, "_TRADES", most)
    symbol = (await analytics.trades(platform, None, 1))[0].symbol
    asked = read(platform.registry, f"/data/candles/{symbol}", {"range": "all"})
    found: dict[str, Any] = await chart_data.candles(platform, symbol, asked)
    period = asked.period(await business_now(platform))
    fills = (await search.fills(platform, Filter(None, period, symbol, limit=most))).rows
    newest = [int(row.time.timestamp()) for row in reversed(fills) if row.exec_type != "Funding"]
    assert newest
    assert [mark["time"] for mark in found["marks"]] == newest
    assert len(found["trades"]) <= most
