"""The pages of the analysis, from what the service writes to Redis."""

from datetime import UTC
from pathlib import Path

import numpy as np
import pytest

from alpha.analysis import analyse, read_definition
from alpha.errors import Rejected
from alpha.live_state.connect import RedisClients
from alpha.model.interval import INTERVAL_MS
from alpha.registry import Registry
from alpha.timeframes import Columns
from analysis_service.store import LivePublisher
from dashboard.heat_map import heat_map_html
from dashboard.markup import page_html
from operations import analysis
from operations.arguments import interval_of, read_words
from operations.context import Operations
from operations.page import Gauges, Page, Table
from telegram_manager.charts import draw

DEFINITION = read_definition(Path(__file__).resolve().parents[2] / "demo" / "analysis.toml")


async def publish(links: RedisClients, symbol: str, drift: float) -> None:
    """What the service writes of a symbol whose price drifts."""
    found = {}
    for interval in DEFINITION.intervals:
        length, count = INTERVAL_MS[interval], DEFINITION.history(interval)
        close = 100.0 * np.exp(drift * np.arange(count))
        starts = np.arange(count, dtype=np.int64) * length + (4 * 86_400_000 if interval == "W" else 0)
        candles = Columns(starts, close, close * 1.001, close * 0.999, close, np.full(count, 5.0))
        found[interval] = analyse(candles, length, DEFINITION)[0]
    await LivePublisher(links.shared, DEFINITION).publish(symbol, found, set(found))


@pytest.mark.parametrize(
    ("said", "interval"),
    [("60", "60"), ("1h", "60"), ("4H", "240"), ("d", "D"), ("1d", "D"), ("W", "W"), ("15m", "15"), ("1440", "D"),
     ("7", None), ("2d", None), ("h", None), ("", None), ("BTC", None), ("0", None)],
)  # fmt: skip
def test_intervals_as_people_say_them(said: str, interval: str | None) -> None:
    assert interval_of(said) == interval


def test_words_come_in_any_order(registry: Registry) -> None:
    for words in (["btc", "4h"], ["240", "BTCUSDT"]):
        args = read_words(registry, "analysis", "[interval] [symbol]", "/analysis BTCUSDT", words)
        assert (args.symbol, args.interval) == ("BTCUSDT", "240")


async def test_pages_show_what_is_published(platform: Operations) -> None:
    assert "published nothing" in heat_map_html(await analysis.ratings(platform), UTC)
    with pytest.raises(Rejected, match="published nothing"):
        await analysis.details(platform, "BTCUSDT")
    await publish(platform.live, "BTCUSDT", 0.0005)
    await publish(platform.live, "ETHUSDT", -0.0005)
    rows = await analysis.ratings(platform)
    assert [row.symbol for row in rows] == ["BTCUSDT", "ETHUSDT"]
    assert rows[0].rating is not None
    assert rows[1].rating is not None
    assert rows[0].rating > 0 > rows[1].rating
    overview = analysis.overview_page(rows, UTC)
    table = overview.blocks[0]
    assert isinstance(table, Table)
    assert [column.title for column in table.columns] == ["symbol", "all", "1h", "4h", "D", "W"]
    shown = heat_map_html(rows, UTC)
    assert shown.index("BTCUSDT") < shown.index("ETHUSDT")
    assert "rgba(95,199,127" in shown
    assert "rgba(236,106,100" in shown
    with pytest.raises(Rejected, match="Analysed: BTCUSDT, ETHUSDT"):
        await analysis.details(platform, "SOLUSDT")
    details = await analysis.details(platform, "BTCUSDT")
    with pytest.raises(Rejected, match="Interval 5 of BTCUSDT is not analysed"):
        analysis.symbol_page(details, "5", UTC)
    page = analysis.symbol_page(details, "240", UTC)
    values = page.blocks[1]
    assert isinstance(values, Table)
    assert len(values.rows) == len(DEFINITION.names)
    assert isinstance(page.picture, Gauges)
    assert draw(page.picture).startswith(b"\x89PNG")
    assert "<svg" in page_html(page)


def test_a_timeframe_without_votes_is_drawn_without_a_bar() -> None:
    picture = Gauges("BTCUSDT -", ["1h", "D"], [None, None])
    assert draw(picture).startswith(b"\x89PNG")
    assert "<rect" not in page_html(Page("Analysis", [], picture=picture))
