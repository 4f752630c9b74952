"""Pages with data in Chromium, at three sizes: nothing is wider than the screen, no cell covers its neighbour, charts are drawn whole."""

import pytest

from alpha.config.services import DatabaseSettings
from alpha.live_state.connect import RedisClients
from operations import analytics
from operations.context import Operations
from operations.tests.test_analysis import publish
from telegram_manager.tests.test_chart import put_candles
from tests.support.chromium import DESKTOP, PHONE, PROGRAM, WIDE, browser
from tests.support.dashboard import TOKEN, steering_desk

pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed"),
    pytest.mark.timeout(300),
]
_DRAWN = (
    "![...document.querySelectorAll('[data-chart]')].some((c) => !c.dataset.drawn && !c.classList.contains('empty'))"
)
#: Cells whose text is wider than they are, beside one that has text: it lies on that.
_COVERING = (
    "[...document.querySelectorAll('main td, main th')].filter((cell) => cell.scrollWidth > cell.clientWidth + 1 "
    "&& getComputedStyle(cell).overflow !== 'hidden' && (cell.nextElementSibling?.textContent || '').trim())"
    ".map((cell) => cell.textContent.trim().slice(0, 40))"
)
#: Drawn charts whose widest canvas leaves half of the box empty: the widths of box and canvases.
_NARROW = (
    "[...document.querySelectorAll('[data-drawn=yes]:not(.empty)')].map((box) => [box.clientWidth, ...[...box.querySelectorAll('canvas')]"
    ".map((canvas) => canvas.getBoundingClientRect().width)]).filter(([all, ...drawn]) => Math.max(...drawn) < all / 2)"
)


async def test_pages_fit_at_every_size_and_nothing_covers_anything(
    house_database: DatabaseSettings, redis_links: RedisClients, platform: Operations
) -> None:
    for symbol, drift in (("BTCUSDT", 0.0005), ("ETHUSDT", -0.0005), ("1000PEPEUSDT", 0.0001)):
        await publish(platform.live, symbol, drift)
    await put_candles(platform)
    trade = (await analytics.trades(platform, None, 1))[0].trade_id
    pages = ("/?range=90d", "/chart/BTCUSDT?range=1d", f"/trade/{trade}", "/figures?range=90d", "/analysis", "/analysis?q=BTCUSDT",
             "/analytics?bot=momentum&range=90d", "/trades?range=90d", "/risk", "/exposure", "/balance", "/orders", "/system")  # fmt: skip
    async with steering_desk(house_database, redis_links, platform) as desk, browser() as new_tab:
        tab = await new_tab()
        await tab.open(f"{desk.address}/?token={TOKEN}")
        for size in (PHONE, DESKTOP, WIDE):
            await tab.resize(size)
            for path in pages:
                await tab.open(f"{desk.address}{path}")
                await tab.until(_DRAWN)
                assert await tab.value("document.scrollingElement.scrollWidth <= innerWidth"), (path, size)
                assert await tab.value(_COVERING) == [], (path, size)
                assert await tab.value(_NARROW) == [], (path, size)
        assert tab.errors == []


async def test_stops_near_the_candles_are_in_sight_and_far_ones_press_nothing_flat(
    house_database: DatabaseSettings, redis_links: RedisClients, platform: Operations
) -> None:
    await put_candles(platform)
    async with steering_desk(house_database, redis_links, platform) as desk, browser() as new_tab:
        tab = await new_tab()
        await tab.open(f"{desk.address}/chart/BTCUSDT?range=1d&token={TOKEN}")
        await tab.until(_DRAWN)
        seen = "withLevels({ priceRange: { minValue: 94000, maxValue: 95000 }, margins: 1 }, %s)"
        levels = "[96000, 92000, 94500, 50000, 1e9].map((price) => ({ price }))"
        assert await tab.value(seen % levels) == {"priceRange": {"minValue": 92000, "maxValue": 96000}, "margins": 1}
        assert await tab.value(seen % "[]") == {"priceRange": {"minValue": 94000, "maxValue": 95000}, "margins": 1}
        assert await tab.value("withLevels(null, [{ price: 1 }])") is None
        assert tab.errors == []


async def test_a_chart_that_is_begun_anew_while_its_data_are_on_their_way_is_drawn_once(
    house_database: DatabaseSettings, redis_links: RedisClients, platform: Operations
) -> None:
    async with steering_desk(house_database, redis_links, platform) as desk, browser() as new_tab:
        tab = await new_tab()
        await tab.open(f"{desk.address}/?range=90d&token={TOKEN}")
        await tab.until(_DRAWN)
        # as a theme that changes does, twice
        await tab.value(
            "window.ended = 0; window.box = document.querySelector('[data-chart=equity]');"
            "kept.delete(box); box.replaceChildren(); document.querySelectorAll('.toggles').forEach((each) => each.remove());"
            "[1, 2].forEach(() => draw(box).then(() => { ended++ }))"
        )
        await tab.until("ended === 2")
        assert await tab.value("box.querySelectorAll('.tv-lightweight-charts').length") == 1
        assert await tab.value("document.querySelectorAll('.toggles').length") == 1
        assert tab.errors == []


@pytest.mark.parametrize("path", ["/?range=90d", "/chart/BTCUSDT?range=1d"])
async def test_a_chart_shows_the_same_days_on_a_screen_that_becomes_narrow(
    house_database: DatabaseSettings, redis_links: RedisClients, platform: Operations, path: str
) -> None:
    await put_candles(platform)
    async with steering_desk(house_database, redis_links, platform) as desk, browser() as new_tab:
        tab = await new_tab()
        await tab.resize(WIDE)
        await tab.open(f"{desk.address}{path}&token={TOKEN}")
        await tab.open(f"{desk.address}{path}")
        await tab.until(_DRAWN)
        first = "drawn[0].timeScale().getVisibleLogicalRange().from"
        await tab.until(f"{first} < 1")
        await tab.resize(PHONE)
        await tab.until(f"drawn[0].timeScale().width() < {PHONE[0]}")
        assert await tab.value(f"{first} < 1"), "the oldest point is in sight still"
        assert tab.errors == []
