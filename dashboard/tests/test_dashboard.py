"""The dashboard over the real stores: closed without its token, escaped, live."""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from html import unescape
from pathlib import Path

import httpx
import pytest
from aiohttp import web

from alpha.config.loader import load
from alpha.config.services import RedisSettings
from alpha.errors import Rejected, Retry
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.live_state.read import Candle, encode_candle
from alpha.registry import Registry
from bot_control.no_control import NoControl
from dashboard import log_files
from dashboard.app import Dashboard
from dashboard.markup import page_html
from dashboard.settings import DashboardSettings
from dashboard.tables import _cell
from dashboard.tests import fuzz
from demo.ports import free_port
from operations.candles import joined
from operations.context import History, Operations
from operations.page import BarChart, Cell, Column, Curve, Page, Table, Tone, Words
from tests.support.bot_harness import PASSWORD, BotHarness, Servers
from tests.support.chromium import DESKTOP, PHONE, PROGRAM, WIDE, browser
from tests.support.world import BOTS

TOKEN = "a-token-of-the-tests-that-is-long"


@pytest.fixture
async def links(servers: Servers) -> AsyncIterator[RedisClients]:
    settings = load(RedisSettings, env_file=None, redis_port=servers.redis.port, redis_password=PASSWORD)
    own = RedisClients(settings)
    yield own
    await own.close()


@contextlib.asynccontextmanager
async def serving(dashboard: Dashboard, port: int) -> AsyncIterator[None]:
    """Serve the dashboard at a local port for the duration of the block."""
    runner = web.AppRunner(dashboard.app(), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()


@pytest.fixture
async def served(servers: Servers, registry: Registry, tmp_path: Path) -> AsyncIterator[tuple[Dashboard, str]]:
    """A dashboard and its address, over a migrated database with accounts and a Redis with one candle."""

    stage = BotHarness(tmp_path, servers=servers)
    await stage.open()
    database = stage.database()
    settings = load(
        DashboardSettings,
        env_file=None,
        postgres_host=database.postgres_host,
        postgres_port=database.postgres_port,
        postgres_db=database.postgres_db,
        postgres_user="alpha_readonly",
        postgres_password=PASSWORD,
        redis_port=servers.redis.port,
        redis_password=PASSWORD,
        dashboard_token=TOKEN,
    )
    for bot in BOTS:
        await stage.sql("SELECT trading.register_account('simulated', $1, $1)", bot.bot)
    own, history = RedisClients(settings), History(settings, "test")
    await own.database(0).sadd(keys.intervals("shortseller_001"), "5")
    row = encode_candle(Candle(1_700_000_100_000, "100", "102", "99", "101", "5"))
    await own.shared.rpush(keys.candles("BTCUSDT", "5"), row)
    dashboard = Dashboard(settings, Operations(registry, own, history, NoControl()))
    looking = asyncio.create_task(dashboard.keep_looking())
    port = free_port()
    async with serving(dashboard, port):
        yield dashboard, f"http://127.0.0.1:{port}"
    looking.cancel()
    await history.close()
    await own.close()
    stage.close()


@pytest.fixture
def address(served: tuple[Dashboard, str]) -> str:
    """The dashboard's address."""
    return served[1]


async def test_health_says_that_a_store_is_away_although_nobody_watches(served: tuple[Dashboard, str]) -> None:
    dashboard, platform = served[0], served[0].platform
    dashboard.stores_ms = 0
    await dashboard.ask_stores()
    since = dashboard.stores_ms
    assert since > 0
    away = platform.history._settings.model_copy(update={"postgres_port": free_port()})
    dashboard.platform = replace(platform, history=History(away, "test"))
    with pytest.raises(Retry):
        await dashboard.ask_stores()
    assert dashboard.stores_ms == since
    assert dashboard.blind(since + 30_000) is None
    assert "PostgreSQL or Redis has not answered for 31 s." in (dashboard.blind(since + 31_000) or "")


async def test_without_the_token_nothing_is_shown(address: str) -> None:
    async with httpx.AsyncClient(base_url=address) as client:
        for path in ("/", "/events", "/trades", "/chart/BTCUSDT", "/?token=wrong", "/?token="):
            answer = await client.get(path, headers={"Cookie": "alpha_dashboard=guess"})
            assert answer.status_code == 401, path
            assert "shortseller" not in answer.text


async def test_the_token_opens_every_page_and_leaves_the_address_bar(address: str) -> None:
    async with httpx.AsyncClient(base_url=address) as client:
        first = await client.get(f"/?token={TOKEN}")
        assert first.status_code == 303
        assert TOKEN not in first.headers["Location"]
        assert "HttpOnly" in first.headers["Set-Cookie"]
        for path in ("/", "/analytics", "/daily", "/trades", "/fills?q=shortseller 5", "/positions", "/chart/BTCUSDT"):
            answer = await client.get(path)
            assert answer.status_code == (404 if path == "/positions" else 200), (path, answer.text[-500:])
        assert "shortseller" in (await client.get("/")).text
        assert "data-chart=candles" in (await client.get("/chart/BTCUSDT")).text


async def test_what_moves_comes_as_events_without_asking_again(address: str) -> None:
    async with httpx.AsyncClient(base_url=address, timeout=20) as client:
        await client.get(f"/?token={TOKEN}")
        async with client.stream("GET", "/events") as stream:
            assert stream.headers["content-type"] == "text/event-stream"
            lines = stream.aiter_lines()
            name, data = await anext(lines), await anext(lines)
    assert name == "event: head"
    assert data.startswith("data: <")
    assert "equity" in data


async def test_the_first_page_is_ready_before_its_stream_and_leads_to_every_other(address: str) -> None:
    async with httpx.AsyncClient(base_url=address) as client:
        await client.get(f"/?token={TOKEN}")
        text = (await client.get("/")).text
        for place in ("head", "lights", "bots", "positions", "risk", "orders", "alerts", "fills"):
            assert f'id="{place}" sse-swap="{place}"><' in text
        links = {unescape(link) for link in re.findall(r'href="(/[^"]*)"', text)}
        assert {"/chart", "/trades", "/alerts"} < links
        for path in links:
            assert (await client.get(path)).status_code == 200, path


@pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine (Debian: chromium)")
async def test_in_a_browser_what_changes_moves_by_itself_and_a_phone_has_room(
    address: str, links: RedisClients
) -> None:
    async with browser() as new_tab:
        tab = await new_tab()
        await tab.open(f"{address}/?token={TOKEN}")
        await tab.until("document.getElementById('link').textContent == 'live'")
        for number, bot in enumerate(BOTS):
            wallet = {
                "equity": "1234.5",
                "wallet_balance": "1234.5",
                "unrealised_pnl": "0",
                "updated_at": "1700000000000",
            }
            await links.database(number).hset(keys.wallet(bot.bot), mapping=wallet)
        await tab.until("document.getElementById('head').textContent.includes('3,703.50')")
        for size in (DESKTOP, PHONE, WIDE):
            await tab.resize(size)
            for path in ("/", "/chart/BTCUSDT", "/figures", "/analytics", "/trades", "/fills", "/system", "/logs"):
                await tab.open(address + path)
                assert await tab.value("document.scrollingElement.scrollWidth <= innerWidth"), (path, size)
        assert tab.errors == []


@pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine (Debian: chromium)")
async def test_a_browser_says_that_the_connection_is_lost_and_goes_on_by_itself(
    served: tuple[Dashboard, str], links: RedisClients
) -> None:
    dashboard, port = served[0], free_port()
    said = "document.getElementById('link').textContent"
    async with browser() as new_tab:
        tab = await new_tab()
        async with serving(dashboard, port):
            await tab.open(f"http://127.0.0.1:{port}/?token={TOKEN}")
            await tab.until(f"{said} == 'live'")
        await tab.until(f"{said} == 'connection lost, trying again'")
        async with serving(dashboard, port):
            await tab.until(f"{said} == 'live'")
            wallet = {"equity": "77", "wallet_balance": "77", "unrealised_pnl": "0", "updated_at": "1700000000000"}
            await links.database(0).hset(keys.wallet(BOTS[0].bot), mapping=wallet)
            await tab.until("document.getElementById('bots').textContent.includes('77.00')")


async def test_scripts_are_our_own_server_s_and_no_other_runs(address: str) -> None:
    async with httpx.AsyncClient(base_url=address) as client:
        await client.get(f"/?token={TOKEN}")
        page = await client.get("/")
        assert "script-src 'self';" in page.headers["Content-Security-Policy"]
        assert "<script>" not in page.text
        paths = re.findall(r'<script src="([^"]+)"', page.text) + re.findall(
            r'<link rel="[a-z]+" href="([^"]+)"', page.text
        )
        assert len(paths) == 7
        for path in paths:
            answer = await client.get(path)
            assert answer.status_code == 200
            assert "immutable" in answer.headers["Cache-Control"]
            assert "http" not in path
        assert (await client.get("/scripts/..%2Fapp.py")).status_code == 404


async def test_a_query_that_is_not_understood_is_one_sentence_and_the_askers_fault(address: str) -> None:
    async with httpx.AsyncClient(base_url=address) as client:
        await client.get(f"/?token={TOKEN}")
        for path, query in (
            ("/analytics", "nobody"),
            ("/trades", "5000"),
            ("/trades", "0"),
            ("/daily", "\x00"),
            ("/performance", "7d of what"),
            ("/fills", "x" * 5_000),
            ("/analytics", "9999999999 d"),
        ):
            answer = await client.get(path, params={"q": query})
            assert answer.status_code == 400, (path, query, answer.status_code)
            assert "Traceback" not in answer.text
            assert len(re.findall(r"<p class=bad>[^<]{5,400}</p>", answer.text)) > 0, path


async def test_a_parameter_or_symbol_that_there_is_not_is_refused_and_named(address: str) -> None:
    async with httpx.AsyncClient(base_url=address) as client:
        await client.get(f"/?token={TOKEN}")
        for path, said in {
            "/chart/NOPE": "no symbol 'NOPE'",
            "/data/candles/NOPE": "no symbol 'NOPE'",
            "/chart/BTCUSDT?interval=7": "got '7'",
            "/analytics?period=-3": "no parameter 'period'",
            "/daily?n=-5": "no parameter 'n'",
            "/logs?service=x": "no parameter 'service'",
            "/data/logs/x?range=7d": "no parameter 'range'",
            "/system?range=7d": "no parameter 'range'",
            "/trades.csv?q=1": "no parameter 'q'",
            "/?foo=1": "no parameter 'foo'",
            "/trades?page=1&page=2": "page is given twice",
            "/risk?range=never": "never",
        }.items():
            answer = await client.get(path)
            assert answer.status_code == 400, (path, answer.status_code)
            assert said in unescape(answer.text), (path, answer.text[-500:])
        for path in ("/chart", "/chart/BTCUSDT?interval=15", f"/trades?token={'x' * 20}", "/logs?level=error"):
            assert (await client.get(path)).status_code == 200, path


async def test_an_address_that_leads_nowhere_says_where_to_go(address: str) -> None:
    async with httpx.AsyncClient(base_url=address) as client:
        await client.get(f"/?token={TOKEN}")
        asked = {
            "/chart/btcusdt": (200, "Candles of BTCUSDT"),
            "/data/candles/btcusdt": (200, '"BTCUSDT"'),
            "/chart/nope": (400, "There is no symbol &#x27;NOPE&#x27; here"),
            "/chart/no%20pe": (400, "is no symbol. Symbols are written like BTCUSDT"),
            "/chart/%00": (400, "is no symbol"),
            "/data/candles/<b>": (400, "is no symbol"),
            "/trade/nope": (400, "There is no trade &#x27;nope&#x27;. /trades lists them."),
            "/trade/99999": (400, "There is no trade"),
            "/trade/0123456789": (400, "There is no trade 0123456789."),
            "/trade/1": (400, "There are 0 closed trades"),
            "/data/trade/%2e%2e": (400, "There is no trade"),
            "/logs/nope": (200, "No folder of logs is given"),
            "/data/logs/..%2f..%2fetc%2fpasswd": (400, "There is no log of"),
            "/nothing": (404, "There is no page &#x27;/nothing&#x27;. The menu has all."),
            "/chart/": (404, "There is no page"),
            "/trades?range=2025-02-01 to 2025-01-01": (400, "ends before it begins"),
            "/trades?from=2025-02-01&to=2025-01-01": (400, "ends before it begins"),
            "/trades?page=9999": (400, "The page must begin between row 0 and 100,000"),
        }
        for path, (status, text) in asked.items():
            answer = await client.get(path)
            assert (answer.status_code, text in answer.text) == (status, True), (
                path,
                answer.status_code,
                answer.text[-400:],
            )
        head = await client.head("/chart/BTCUSDT")
        assert (head.status_code, head.content) == (200, b"")
        for method in ("POST", "PUT", "DELETE"):
            refused = await client.request(method, "/trades", content=b"x" * 10_000_000)
            assert (refused.status_code, refused.headers.get("Allow")) == (405, "GET,HEAD"), method


async def test_redis_that_is_away_is_said_on_charts_as_such(served: tuple[Dashboard, str]) -> None:
    dashboard, address = served
    away = load(RedisSettings, env_file=None, redis_port=free_port(), redis_password="x")
    async with httpx.AsyncClient(base_url=address) as client:
        await client.get(f"/?token={TOKEN}")
        dashboard.platform = replace(dashboard.platform, live=RedisClients(away))
        for path in ("/chart", "/chart/BTCUSDT", "/data/candles/BTCUSDT", "/data/equity"):
            answer = await client.get(path)
            assert (answer.status_code, "Redis does not answer" in answer.text) == (503, True), (
                path,
                answer.text[-300:],
            )


async def test_what_is_away_is_503_and_bytes_that_are_no_text_open_nothing(served: tuple[Dashboard, str]) -> None:
    dashboard, address = served
    async with httpx.AsyncClient(base_url=address) as client:
        assert (await client.get("/", headers={b"Cookie": b"alpha_dashboard=\xff\xfe"})).status_code == 401
        assert (await client.get("/?token=%ff%00")).status_code == 401
        await client.get(f"/?token={TOKEN}")
        away = dashboard.platform.history._settings.model_copy(update={"postgres_port": free_port()})
        dashboard.platform = replace(dashboard.platform, history=History(away, "test"))
        assert (await client.get("/trades")).status_code == 503


async def test_no_query_leads_to_a_trace_or_past_the_token(address: str) -> None:
    count, seed = int(os.environ.get("FUZZ_QUERIES", "300")), int(os.environ.get("FUZZ_SEED", "7"))
    statuses = await fuzz.run(address, TOKEN, count, seed)
    assert statuses[200] > 0
    assert statuses[400] > 0


async def test_guessing_is_limited_and_the_token_leads_to_no_other_host(served: tuple[Dashboard, str]) -> None:
    address = served[1]
    async with httpx.AsyncClient(base_url=address) as client:
        answer = await client.get(f"{address}//elsewhere.example/?token={TOKEN}")
        assert (answer.status_code, answer.headers["Location"]) == (303, "/elsewhere.example/")
    async with httpx.AsyncClient(base_url=address) as inside, httpx.AsyncClient(base_url=address) as guessing:
        await inside.get(f"/?token={TOKEN}")
        statuses = [(await guessing.get(f"/?token=guess{number}")).status_code for number in range(25)]
        assert statuses == [401] * 20 + [429] * 5
        assert (await guessing.get(f"/?token={TOKEN}")).status_code == 429
        # who is in stays in
        assert (await inside.get("/trades")).status_code == 200


async def test_the_url_holds_range_bot_filters_and_page_and_what_is_shown_is_also_csv(address: str) -> None:
    async with httpx.AsyncClient(base_url=address) as client:
        await client.get(f"/?token={TOKEN}")
        for path in (
            "/?range=7d",
            "/trades?range=all&bot=lxalgo&symbol=BTCUSDT&reason=stop_loss&tag=x&search=a+b&page=3",
            "/fills?from=2025-01-01&to=2025-01-31",
            "/alerts?search=x",
            "/orders?search=stop",
            "/figures?range=90d&bot=momentum",
            "/analytics?range=7d&bot=ss",
            "/daily?range=7d",
            "/data/equity?range=7d",
            "/data/equity?range=7d&coin=usdc",
            "/data/candles/BTCUSDT?range=all&interval=15",
        ):
            assert (await client.get(path)).status_code == 200, path
        page = (await client.get("/trades?range=7d&bot=lxalgo&search=%22%3E%3Cscript%3E")).text
        assert "<script>" not in page
        assert "/trades.csv?range=7d&amp;bot=lxalgo&amp;search=" in page
        file = await client.get("/fills.csv?range=all")
        assert file.headers["Content-Type"].startswith("text/csv")
        assert "attachment" in file.headers["Content-Disposition"]
        for path in (
            "/trades?range=never", "/trades?bot=nobody", "/trades?page=-1", "/trades?page=x", "/fills?from=2025-01-01",
            "/trades?search=" + "x" * 101, "/data/candles/BTCUSDT?interval=7", "/audit.csv", "/figures?range=2025-13",
            "/data/equity?coin=XYZ",
        ):  # fmt: skip
            assert (await client.get(path)).status_code == 400, path
        assert (await client.get("/data/trade/0123456789")).json()["error"].startswith("There is no trade")


async def test_candles_join_at_multiples_since_the_epoch_and_a_hole_stays_one() -> None:
    at = 1_700_000_100_000 // 900_000 * 900_000
    rows = [
        Candle(at + n * 300_000, f"{100 + n}", f"{110 + n}", f"{90 - n}", f"{101 + n}", "2") for n in (0, 1, 2, 6, 7)
    ]
    assert joined(rows, 15) == [
        (at // 1000, 100.0, 112.0, 88.0, 103.0, 6.0),
        (at // 1000 + 1800, 106.0, 117.0, 83.0, 108.0, 4.0),
    ]


def test_a_cell_that_a_spreadsheet_would_run_is_quoted() -> None:
    assert _cell("=HYPERLINK(1)").startswith("'=")
    assert _cell(Decimal("-1.5")) == "-1.5"


def test_logs_are_read_by_level_and_words_and_errors_are_counted(tmp_path: Path) -> None:
    now = datetime(2026, 1, 2, 12, tzinfo=UTC)
    lines = [
        f'{{"event":"{event}","level":"{level}","timestamp":"2026-01-0{day}T11:00:00Z"}}'
        for event, level, day in (("old", "error", 1), ("started", "info", 2), ("broke", "error", 2))
    ]
    (tmp_path / "risk_guard").mkdir()
    (tmp_path / "risk_guard" / "risk_guard.log").write_text("\n".join([*lines, "Traceback: x"]))
    (found,) = log_files.errors_of_a_day(tmp_path, now)
    assert (found.service, found.count) == ("risk_guard", 1)
    assert [line.split()[3] for line in log_files.tail(tmp_path, "risk_guard", "error", "broke")] == ["broke"]
    assert len(log_files.tail(tmp_path, "risk_guard", "", "")) == 4
    for name in ("../etc", "nobody"):
        with pytest.raises(Rejected):
            log_files.tail(tmp_path, name, "", "")


def test_every_text_is_escaped() -> None:
    nasty = "<script>alert(1)</script>"
    page = Page(
        nasty,
        [
            Words(nasty),
            Table((Column(nasty),), [[Cell(nasty, Tone.BAD)]], title=nasty),
        ],
        picture=BarChart(nasty, [nasty], [1.0]),
    )
    assert "<script" not in page_html(page)
    curve = Page("t", [], picture=Curve(nasty, [1, 2], [1.0, 2.0], [0.0, 0.0]))
    assert "<script" not in page_html(curve)
