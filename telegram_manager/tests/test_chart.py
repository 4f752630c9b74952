"""The chart of a symbol: under each position, by `/chart`, and as drawn."""

import io
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from PIL import Image

from alpha.live_state import keys
from alpha.live_state.read import Candle, encode_candle
from alpha.model.timestamp import ms_of
from demo.ports import free_port
from operations.chart import CANDLES, chart, chart_page
from operations.context import History, Operations
from operations.page import Candles
from telegram_manager.charts import draw, price_text
from telegram_manager.tests.conftest import OPERATOR, VIEWER, Centre
from tests.support.operations import NOW

_FIVE_MINUTES = 300_000


async def put_candles(platform: Operations, symbol: str = "BTCUSDT", count: int = 200) -> None:
    """Candles of five minutes up to NOW, from 95,000 down, as the listener writes them."""
    for bot in platform.registry.bots:
        await platform.live.of(bot).sadd(keys.intervals(bot.id), "5")
    first = ms_of(NOW) - count * _FIVE_MINUTES
    rows = [
        Candle(
            first + n * _FIVE_MINUTES,
            f"{95_000 - 5 * n}",
            f"{95_040 - 5 * n}",
            f"{94_950 - 5 * n}",
            f"{94_995 - 5 * n}",
            "3",
        )
        for n in range(count)
    ]
    await platform.live.shared.rpush(keys.candles(symbol, "5"), *(encode_candle(row) for row in rows))


async def test_each_position_has_close_stop_and_chart_and_the_chart_is_sent_as_a_picture(centre: Centre) -> None:
    await put_candles(centre.platform)
    centre.api.says(OPERATOR, "/positions")
    said = await centre.api.until(lambda m: "Positions" in m.text)
    for label in ("Close SH BTC", "50 %", "Stop half way", "Chart SH BTC", "Close LX ETH", "Chart LX ETH"):
        assert said.button(label)
    press = centre.api.presses(OPERATOR, said.button("Chart SH BTC")["callback_data"], said)
    picture = await centre.api.until(lambda m: m.kind == "photo")
    await centre.api.until_answered(press)
    assert picture.file.startswith(b"\x89PNG")
    assert picture.text == "Chart BTCUSDT"


async def test_where_no_stop_can_be_offered_the_button_asks_for_a_price(centre: Centre) -> None:
    centre.api.says(OPERATOR, "/positions")
    said = await centre.api.until(lambda m: "Positions" in m.text)
    centre.api.presses(OPERATOR, said.button("Stop …")["callback_data"], said)
    asked = await centre.api.until(lambda m: "needs a price" in m.text)
    assert "/movestop" in asked.text


async def test_a_symbol_without_candles_is_said_so_and_a_viewer_may_look(centre: Centre) -> None:
    centre.api.says(VIEWER, "/positions")
    said = await centre.api.until(lambda m: "Positions" in m.text)
    assert not [
        button for row in said.buttons for button in row if "Close" in button["text"] or "Stop" in button["text"]
    ]
    centre.api.presses(VIEWER, said.button("Chart LX ETH")["callback_data"], said)
    assert "no candles of ETHUSDT" in (await centre.api.until(lambda m: "no candles" in m.text)).text


async def test_the_chart_has_the_levels_and_entries_of_what_is_held(platform: Operations) -> None:
    await put_candles(platform)
    bot = platform.registry.find("shortseller")
    seen = await chart(platform, bot, None, None)
    assert seen is not None
    assert (seen.symbol, seen.interval, len(seen.candles)) == ("BTCUSDT", "5", CANDLES)
    expected = await platform.history.rows(
        "SELECT price FROM trading.fills WHERE bot_id = $1 AND symbol = 'BTCUSDT' AND exec_time >= $2 AND exec_type <> 'Funding' "
        "ORDER BY exec_time, seq, exec_id",
        bot.id,
        NOW - timedelta(minutes=5 * CANDLES),
    )
    assert [price for _, price, _ in seen.fills] == [float(row["price"]) for row in expected]
    page = chart_page(seen, platform.zone)
    assert isinstance(page.picture, Candles)
    assert page.picture.levels == [("entry", 95_000.0), ("stop", 96_000.0), ("target", 92_000.0)]


async def test_a_position_held_long_is_shown_from_its_entry(platform: Operations) -> None:
    await put_candles(platform, count=2_000)
    opened = str(ms_of(NOW - timedelta(days=3)))
    await platform.live.of(platform.registry.bots[0]).hset(
        keys.position("shortseller_001", "BTCUSDT"), "opened_at", opened
    )
    seen = await chart(platform, None, "BTCUSDT", None)
    assert seen is not None
    assert seen.interval == "60"
    assert seen.candles[0][0] * 1000 < int(opened)


async def test_without_the_record_the_candles_come_and_the_page_says_what_is_missing(platform: Operations) -> None:
    await put_candles(platform)
    away = platform.history._settings.model_copy(update={"postgres_port": free_port()})
    seen = await chart(replace(platform, history=History(away, "test")), None, "BTCUSDT", None)
    page = chart_page(seen, platform.zone)
    assert isinstance(page.picture, Candles)
    assert "Entries are missing" in str(page.blocks)


@pytest.mark.parametrize("scale", [1.0, 0.000_001, 1_000.0])
def test_any_price_is_drawn_as_a_small_picture(scale: float) -> None:
    rows = [
        (1_700_000_000 + n * 300, scale * x, scale * (x + 4), scale * (x - 3), scale * (x + 1))
        for n, x in ((n, 100.0 + n % 7) for n in range(100))
    ]
    levels = [("entry", 101 * scale), ("stop", 140 * scale), ("target", 90 * scale), ("liq", 900 * scale)]
    picture = Candles(
        "XUSDT", "5", 300, rows, levels, [(1_700_000_700, 101 * scale, True), (1_700_009_000, 99 * scale, False)]
    )
    drawn = draw(picture)
    assert len(drawn) < 100_000
    with Image.open(io.BytesIO(drawn)) as image:
        assert image.size == (800, 500)
        drawn_colours = {image.convert("RGB").getpixel((x, y)) for x in range(40, 690, 5) for y in range(100, 450)}
    # entry, target and stop have each its colour
    assert all(any(_alike(wanted, found) for found in drawn_colours) for wanted in ("#52a8f2", "#4dcd5e", "#ff595a"))


def _alike(wanted: str, found: Any) -> bool:
    return bool(sum(abs(int(wanted[1 + 2 * n : 3 + 2 * n], 16) - found[n]) for n in range(3)) < 40)


def test_flat_candles_are_drawn_too() -> None:
    rows = [(1_700_000_000 + n * 300, 1.0, 1.0, 1.0, 1.0) for n in range(2)]
    assert draw(Candles("XUSDT", "D", 300, rows, [], [])).startswith(b"\x89PNG")


def test_prices_keep_five_digits() -> None:
    assert [price_text(x) for x in (94_000.0, 3_290.5, 0.081234, 123_456.0, 0.0)] == [
        "94,000", "3,290.5", "0.081234", "123,456", "0",
    ]  # fmt: skip
