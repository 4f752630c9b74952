"""The indicators that a strategy computed, in the chart of the symbol it trades: prices over the candles, others below."""

import math
from pathlib import Path

import httpx
import pytest

from alpha.clock import wall_ms
from alpha.config.services import DatabaseSettings
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.live_state.read import BarIndicators, Candle, encode_candle
from alpha.model.timestamp import ms_of
from dashboard.app import Dashboard
from dashboard.tests.test_dashboard import TOKEN, address, links, served
from operations import analytics
from operations.context import Operations
from tests.support.chromium import DESKTOP, PHONE, PROGRAM, browser
from tests.support.dashboard import OPERATOR, steering_desk
from tests.support.operations import move_a_stop
from tests.support.world import BOTS

__all__ = ["address", "links", "served"]
BAR_MS, COUNT = 300_000, 240


async def put(links: RedisClients, end_ms: int) -> None:
    """Candles around 50, with an average and a strength that is about as high but no price, up to `end_ms`."""
    first = end_ms // BAR_MS * BAR_MS - COUNT * BAR_MS
    shared, own = links.shared, links.database(0)
    await shared.delete(keys.candles("SUIUSDT", "5"))
    await own.sadd(keys.symbols(BOTS[0].bot), "SUIUSDT")
    for n in range(COUNT):
        close = 50 + 5 * math.sin(n / 20)
        candle = Candle(first + n * BAR_MS, f"{close - 0.2}", f"{close + 0.5}", f"{close - 0.5}", f"{close}", "5")
        await shared.rpush(keys.candles("SUIUSDT", "5"), encode_candle(candle))
        row = BarIndicators(
            candle.start_ms,
            BAR_MS,
            {"ema": round(close - 0.4, 4), "rsi": round(50 + 30 * math.sin(n / 7), 2), "<b>score</b>": float(n % 5)},
        )
        await own.rpush(keys.indicators(BOTS[0].bot, "SUIUSDT"), _text(row))


def _text(row: BarIndicators) -> str:
    values = ",".join(f'"{name}":{value}' for name, value in row.values.items())
    return f'{{"start_ms":{row.start_ms},"interval_ms":{row.interval_ms},"values":{{{values}}}}}'


async def test_values_come_by_candle_and_only_prices_are_on_the_price(
    served: tuple[Dashboard, str], links: RedisClients
) -> None:
    address = served[1]
    await put(links, wall_ms())
    async with httpx.AsyncClient(base_url=address) as client:
        await client.get(f"/?token={TOKEN}")
        found = (await client.get("/data/candles/SUIUSDT?range=7d&interval=5")).json()
        assert {one["name"]: one["on_price"] for one in found["indicators"]} == {
            "ema": True,
            "rsi": False,
            "<b>score</b>": False,
        }
        assert {one["bot"] for one in found["indicators"]} == {"shortseller"}
        ema = found["indicators"][0]["points"]
        assert [point[0] for point in ema] == [row[0] for row in found["candles"]]
        quarter = (await client.get("/data/candles/SUIUSDT?range=7d&interval=15")).json()
        joined = dict(quarter["indicators"][0]["points"])
        by_time = dict(ema)
        for start in [row[0] for row in quarter["candles"]][1:-1]:
            assert joined[start] == by_time[start + 600], "the last value within the candle"
        other = (await client.get("/data/candles/SUIUSDT?range=7d&interval=5&bot=momentum")).json()
        assert other["indicators"] == []


@pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
async def test_the_browser_draws_them_and_their_names_are_no_markup(
    served: tuple[Dashboard, str], links: RedisClients, tmp_path: Path, size: tuple[int, int]
) -> None:
    await put(links, wall_ms())
    async with browser() as new_tab:
        tab = await new_tab()
        await tab.resize(size)
        await tab.open(f"{served[1]}/chart/SUIUSDT?range=1d&interval=5&token={TOKEN}")
        await tab.until("document.querySelector('.chart').dataset.drawn == 'yes'")
        said = (
            "[...document.querySelectorAll('.toggles')].map((bar) => [...bar.querySelectorAll('label')]"
            ".map((l) => l.textContent.trim() + (l.querySelector('input').checked ? '*' : '')).join())"
        )
        assert await tab.value(said) == [
            "shortseller ema*,EMA 20,EMA 50,EMA 200",
            "shortseller rsi*,shortseller <b>score</b>",
        ]
        assert await tab.value("document.querySelectorAll('.chart.pane canvas').length") > 0
        assert await tab.value("document.querySelectorAll('.toggles b').length") == 0
        await tab.value("document.querySelectorAll('.toggles')[1].querySelectorAll('input')[1].click()")
        place = "document.querySelector('.chart.tall').getBoundingClientRect()"
        x, y = (
            await tab.value(f"{place}.left + {place}.width / 2"),
            await tab.value(f"{place}.top + {place}.height / 2"),
        )
        await tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        await tab.until("/shortseller ema [0-9.]+/.test(document.querySelector('.chart.tall .tip').textContent)")
        shown = await tab.value("document.querySelector('.chart.tall .tip').textContent")
        assert "shortseller rsi " in shown
        assert "shortseller <b>score</b> " in shown
        assert await tab.value("document.documentElement.scrollWidth <= window.innerWidth")
        await tab.picture(tmp_path / "chart.png")
        # the theme changes: drawn anew, once
        await tab.value("document.dispatchEvent(new Event('alpha:theme'))")
        await tab.until("document.querySelectorAll('.chart.pane').length == 1")
        assert tab.errors == []


async def test_the_chart_of_a_trade_has_the_indicators_of_its_bot_and_only_its_own_fills(
    house_database: DatabaseSettings, redis_links: RedisClients, platform: Operations
) -> None:
    bot = platform.registry.find("shortseller")
    # of a symbol that the bot holds now: entry and stop of that position are no levels of a trade that has ended
    ended = [each for each in await analytics.trades(platform, bot, 100) if each.symbol == "BTCUSDT" and each.funding]
    trip = min(ended, key=lambda each: each.held)
    other = platform.registry.find("momentum")
    own, first = redis_links.of(bot), ms_of(trip.opened_at) // BAR_MS * BAR_MS
    await redis_links.shared.delete(keys.candles(trip.symbol, "5"))
    await own.sadd(keys.intervals(bot.id), "5")
    for start in range(first - 3 * BAR_MS, ms_of(trip.closed_at) + 3 * BAR_MS, BAR_MS):
        price = str(trip.entry_price)
        await redis_links.shared.rpush(
            keys.candles(trip.symbol, "5"), encode_candle(Candle(start, price, price, price, price, "1"))
        )
        for each, name in ((bot, "ema"), (other, "not_of_this_bot")):
            row = BarIndicators(start, BAR_MS, {name: float(trip.entry_price)})
            await redis_links.of(each).rpush(keys.indicators(each.id, trip.symbol), _text(row))
    await move_a_stop(house_database, trip)
    async with steering_desk(house_database, redis_links, platform) as desk, desk.person(OPERATOR) as person:
        found = (await person.get(f"/data/trade/{trip.trade_id}?interval=5")).json()
    assert [(one["bot"], one["name"], one["on_price"]) for one in found["indicators"]] == [("shortseller", "ema", True)]
    assert [time for time, _ in found["indicators"][0]["points"]] == [row[0] for row in found["candles"]]
    assert [row["id"] for row in found["trades"]] == [trip.trade_id]
    assert len(found["marks"]) >= 2
    assert all(mark["text"].startswith("shortseller ") for mark in found["marks"])
    assert not any("funding" in mark["text"] for mark in found["marks"]), "funding is no fill"
    assert found["levels"] == []
    opened = ms_of(trip.opened_at) // 1000
    points = [[opened, 90.0], [opened + 60, 95.5], [opened + 120, 100.0], [opened + 180, 100.0]]
    assert found["stops"] == [{"kind": "stop", "points": points}]
