"""What docs/freqtrade.md tells a user of FreqUI, tried row by row: in the served dashboard, and with the commands that it names."""

import asyncio
import os
import re
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from alpha.config.services import DatabaseSettings
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.live_state.read import Candle, encode_candle
from alpha.model.timestamp import ms_of
from backtester.candle_files import read_folder, write_file
from bot_runner.load_strategy import load_strategy
from dashboard.views import MENU
from demo.processes import Supervisor
from operations import analytics
from operations.commands import QUERIES
from operations.context import Operations
from operations.pages import short
from tests.support.chromium import PROGRAM, Tab, browser
from tests.support.dashboard import OPERATOR, TOKEN, Desk, steering_desk
from tests.support.operations import NOW, ROOT
from tests.support.toy_strategies import random_bars
from tests.support.world import Simulator

pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine (Debian: chromium)"),
    pytest.mark.timeout(300),
]
_ROWS = re.findall(
    r"^\| (.+?) \| (.+?) \|$",
    (ROOT / "docs" / "freqtrade.md").read_text(encoding="utf-8").partition("## FreqUI")[2],
    re.MULTILINE,
)[1:]
#: What the document says of each of FreqUI's pages.
_SAID = {theirs.partition(":")[0]: ours for theirs, ours in _ROWS}
_DRAWN = "document.querySelector('main [data-chart={}]').dataset.drawn == 'yes'"
_TOGGLES = "[...document.querySelectorAll('.toggles label')].map((each) => each.textContent.trim())"
_BAR_MS = 300_000
_ZONE = "Europe/Berlin"


@dataclass
class Stage:
    """A dashboard, a browser that has shown its token, and a folder."""

    desk: Desk
    tab: Tab
    platform: Operations
    folder: Path

    async def open(self, path: str) -> None:
        """Open a page."""
        await self.tab.open(f"{self.desk.address}{path}")

    async def text(self, place: str) -> str:
        """The text of an element."""
        return str(await self.tab.value(f"document.querySelector('{place}').textContent"))

    async def drawn(self) -> dict[str, Any]:
        """Wait for the page's candles; what they are drawn from."""
        await self.tab.until(_DRAWN.format("candles"))
        found: dict[str, Any] = await self.tab.value("kept.get(document.querySelector('main [data-chart=candles]'))")
        return found

    async def alpha(self, *words: str, **environment: str) -> None:
        """Run the program; it must end well."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "alpha_cli", *words, cwd=ROOT, env={**os.environ, **environment},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()


@pytest.fixture
async def trip(platform: Operations) -> analytics.TripRow:
    """A short trade that has ended, in the symbol of an open position that has a stop, a target and a liquidation price.

    Both have candles and what the strategy computed.
    """
    bot = platform.registry.find("shortseller")
    own, shared = platform.live.of(bot), platform.live.shared
    ended = [each for each in await analytics.trades(platform, bot, 100) if each.symbol == "BTCUSDT"]
    trip = min(ended, key=lambda each: each.held)
    await own.hset(keys.position(bot.id, "BTCUSDT"), "liq_price", "99000")
    await own.sadd(keys.intervals(bot.id), "5")
    lives = (
        range((ms_of(trip.opened_at) // _BAR_MS - 3) * _BAR_MS, ms_of(trip.closed_at) + 3 * _BAR_MS, _BAR_MS),
        range((ms_of(NOW) // _BAR_MS - 280) * _BAR_MS, ms_of(NOW), _BAR_MS),
    )
    for start in sorted({start for life in lives for start in life}):
        price = str(trip.entry_price if start in lives[0] else 95_000)
        row = encode_candle(Candle(start, price, price, price, price, "1"))
        await shared.rpush(keys.candles("BTCUSDT", "5"), row)
        values = f'{{"ema":{price},"rsi":40}}'
        await own.rpush(
            keys.indicators(bot.id, "BTCUSDT"), f'{{"start_ms":{start},"interval_ms":{_BAR_MS},"values":{values}}}'
        )
    return trip


async def _trade(stage: Stage) -> None:
    await stage.open("/")
    assert "BTCUSDT" in await stage.text("#positions")
    await stage.open("/trades?range=all")
    await stage.tab.submit("document.querySelector('main a[href^=\"/trade/\"]').click()")
    assert re.fullmatch("/trade/[0-9a-f]{10}", await stage.tab.value("location.pathname"))
    # the token reads, a person acts; the commands in Telegram are tried with the document's first table
    assert await stage.tab.value("document.querySelectorAll('form[method=post]').length") == 0
    async with stage.desk.person(OPERATOR) as operator:
        assert "reduce lxalgo_001 ETHUSDT 50 is done." in await operator.run("close lxalgo ETHUSDT 50")


async def _dashboard(stage: Stage) -> None:
    await stage.open("/?range=90d")
    await stage.tab.until(_DRAWN.format("equity"))
    assert await stage.tab.value(_TOGGLES) == ["all", *(short(bot.id) for bot in stage.platform.registry.bots)]
    assert "ETHUSDT" in await stage.text("#positions")
    await stage.open("/figures?range=90d")
    assert await stage.tab.value("document.querySelectorAll('.months td[title]').length") > 60
    titles = await stage.tab.value("[...document.querySelectorAll('main h2')].map((each) => each.textContent).join()")
    assert "Net of each day" in titles
    assert "Results of trades" in titles


async def _graph(stage: Stage, trip: analytics.TripRow) -> None:
    await stage.open("/chart/BTCUSDT?range=1d&interval=5")
    live = await stage.drawn()
    assert await stage.tab.value(_TOGGLES) == ["shortseller ema", "EMA 20", "EMA 50", "EMA 200", "shortseller rsi"]
    assert {level["kind"] for level in live["levels"]} == {"entry", "stop", "target", "liq"}
    await stage.open(f"/trade/{trip.trade_id}")
    ended = await stage.drawn()
    for data in (live, ended):
        assert len(data["candles"]) == len(data["volume"]) > 2
        assert {one["name"] for one in data["indicators"]} == {"ema", "rsi"}
    assert [each["id"] for each in ended["trades"]] == [trip.trade_id]
    assert len(ended["marks"]) >= 2


async def _logs(stage: Stage) -> None:
    lines = ("info quiet", "error the first fault", "error something else")
    rows = [f'{{"level":"{level}","event":"{event}"}}\n' for level, _, event in (line.partition(" ") for line in lines)]
    path = stage.folder / "risk_guard.log"
    path.write_text("".join(rows), encoding="utf-8")
    stage.folder.joinpath("momentum.log").write_text(rows[1].replace("first", "other's"), encoding="utf-8")
    await stage.open("/logs/risk_guard?level=error&search=fault")
    shown = await stage.text("#tail")
    assert "the first fault" in shown
    assert not any(words in shown for words in ("quiet", "else", "other's"))
    with path.open("a", encoding="utf-8") as file:
        file.write(rows[1].replace("first", "second"))
    await stage.tab.until("document.getElementById('tail').textContent.includes('the second fault')")


async def _pairlist(stage: Stage) -> None:
    for bot in stage.platform.registry.bots:
        assert "symbols" in load_strategy(bot, {}).parameters_type.model_fields, bot.id


async def _backtest(stage: Stage) -> None:
    write_file(stage.folder / "XUSDT.parquet", random_bars(11, 600))
    report = stage.folder / "report"
    toy = "tests.support.toy_strategies:Crossing"
    await stage.alpha("backtest", toy, "--data", str(stage.folder), "--report", str(report))
    await stage.tab.open((report / "report.html").as_uri())
    assert "Crossing" in await stage.text("body")


async def _download(stage: Stage) -> None:
    exchange = Simulator(stage.folder, speed="1", options=("--start", "2025-02-01"))
    await exchange.start()
    try:
        words = ("BTCUSDT", "--from", "2025-01-01", "--to", "2025-01-02", "--data", str(stage.folder / "data"))
        await stage.alpha("data", "download", *words, **exchange.environment())
    finally:
        exchange.process.kill()
    assert len(read_folder(stage.folder / "data")["BTCUSDT"]) == 288


async def _settings(stage: Stage) -> None:
    await stage.open("/")
    ink = "getComputedStyle(document.body).backgroundColor"
    before = await stage.tab.value(ink)
    await stage.tab.value("document.getElementById('theme').click()")
    await stage.open("/trades?range=all")
    assert await stage.tab.value(ink) != before, "the switch holds on the next page"
    await stage.tab.value("localStorage.removeItem('theme')")
    # /alerts and /mute are tried with the document's first table
    assert await stage.tab.value("document.body.dataset.zone") == _ZONE
    await stage.open("/")
    assert re.search(r"Exchange time 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d CES?T", await stage.text("#head"))


async def _several(stage: Stage) -> None:
    await stage.open("/")
    shown = await stage.text("#bots")
    assert all(short(bot.id) in shown for bot in stage.platform.registry.bots)
    names = ["all bots", *(short(bot.id) for bot in stage.platform.registry.bots)]
    of_a_bot = {each.name for each in QUERIES if "[bot]" in each.usage} & set(MENU)
    for name in ("chart", "figures", "alerts", *sorted(of_a_bot)):
        await stage.open(f"/{name}")
        choice = "[...document.querySelectorAll('nav[aria-label=Bot] a')].map((each) => each.textContent)"
        assert await stage.tab.value(choice) == names, name
    await stage.open("/trades?range=all")
    await stage.tab.submit("document.querySelectorAll('nav[aria-label=Bot] a')[1].click()")
    bots = "[...new Set([...document.querySelectorAll('main td[data-label=bot]')].map((each) => each.textContent))]"
    assert await stage.tab.value(bots) == [names[1]]


_TRIES: dict[str, Callable[..., Awaitable[None]]] = {
    "Trade": _trade,
    "Dashboard": _dashboard,
    "Graph": _graph,
    "Logs": _logs,
    "Pairlist configuration": _pairlist,
    "Backtest": _backtest,
    "Download data": _download,
    "Settings": _settings,
    "Several bots in one page": _several,
}


def test_every_row_has_a_try_and_every_no_a_reason() -> None:
    assert list(_TRIES) == list(_SAID)
    refused = {name: ours for name, ours in _SAID.items() if ours.startswith("no")}
    assert set(refused) == {"Pairlist configuration", "Backtest", "Download data"}
    assert all(re.fullmatch(r"no( page)?: .+", ours) for ours in refused.values())
    # a command that is named here is run here
    assert {name for ours in refused.values() for name in re.findall("`alpha ([a-z]+)", ours)} == {"backtest", "data"}


@pytest.mark.parametrize("name", _SAID)
async def test_what_a_user_of_frequi_is_told_is_so(
    house_database: DatabaseSettings,
    redis_links: RedisClients,
    platform: Operations,
    supervisor: Supervisor,
    trip: analytics.TripRow,
    tmp_path: Path,
    name: str,
) -> None:
    given: dict[str, Any] = {"dashboard_logs_dir": str(tmp_path), "alpha_timezone": _ZONE}
    async with steering_desk(house_database, redis_links, platform, **given) as desk, browser() as new_tab:
        stage = Stage(desk, await new_tab(), platform, tmp_path)
        await stage.open(f"/?token={TOKEN}")
        if name == "Trade":
            await supervisor.start("lxalgo")
            await supervisor.start("risk_guard")
        await (_TRIES[name](stage, trip) if name == "Graph" else _TRIES[name](stage))
        assert stage.tab.errors == []
