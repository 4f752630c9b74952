"""Every text that comes from outside, on every page: shown as text, never markup, script or attribute."""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from msgspec import structs

from alpha.clock import wall_ms
from alpha.config.services import DatabaseSettings
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.live_state.read import Candle, encode_candle
from alpha.model.timestamp import ms_of
from alpha.postgres.database import connect
from alpha.postgres.fills import insert_fills
from alpha.registry import Registry
from dashboard.views import MENU
from operations.context import Operations
from operations.tests.test_models import put_on_record
from tests.support.chromium import DESKTOP, PROGRAM, browser
from tests.support.dashboard import ADMIN, TOKEN, Desk, steering_desk
from tests.support.fill_generator import some_fills
from tests.support.models import artefact
from tests.support.operations import NOW, run_sql

BOT = "shortseller_001"
#: All texts that are planted.
WORDS = (
    *("symbol", "reason", "tag", "why", "linkid", "orderid", "execid", "alert", "remedy", "service"),
    *("alertkey", "waits", "logline", "issuer", "command", "argument", "answer", "issue", "subject", "halt", "modelby"),
    *("ordersymbol", "possymbol", "indicator", "backup", "botname"),
)


def nasty(word: str) -> str:
    """A text that breaks out of any place where it is not escaped, and says which one it is."""
    return f"{word}\"'><img src=x onerror=hit('{word}')></script><script>hit('{word}')</script>&lt;!--"


class Reader(HTMLParser):
    """Collects the text of a page, and whatever could run."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text: list[str] = []
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Only scripts of the dashboard's own server, no handlers, no pictures."""
        for name, value in attrs:
            self.text.append(value or "")
            if name.startswith("on") or (name in {"href", "src", "action"} and not re.match(r"[/?#]|$", value or "")):
                self.faults.append(f"{tag} {name}={value}")
        if tag in {"img", "iframe", "object", "embed"} or (tag == "script" and not dict(attrs).get("src")):
            self.faults.append(tag)

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        self.text.append(data)


@pytest.fixture
async def hostile(
    house_database: DatabaseSettings, redis_links: RedisClients, platform: Operations, tmp_path: Path
) -> AsyncIterator[tuple[Desk, str]]:
    """A dashboard over stores in which every outside text is markup, and the id of a trade with such texts."""
    first, *others = platform.registry.bots
    registry = Registry((replace(first, name=nasty("botname")), *others))
    symbol = nasty("symbol") + "USDT"
    connection = await connect(house_database, "tests")
    account = await connection.fetchval("SELECT account_id FROM trading.accounts WHERE bot_id = $1", BOT)
    fills = [
        structs.replace(
            fill, reason=nasty("reason"), order_link_id=f"{nasty('linkid')}{n}", order_id=f"{nasty('orderid')}{n}",
            exec_id=f"{nasty('execid')}{n}",
        )
        for n, fill in enumerate(some_fills(3, 40, account, symbol, BOT))
    ]  # fmt: skip
    shift = NOW - fills[-1].exec_time
    await insert_fills(connection, [structs.replace(fill, exec_time=fill.exec_time + shift) for fill in fills])
    await connection.execute(
        "INSERT INTO trading.order_intents (account_id, order_link_id, bot_id, symbol, bar_start, intent, order_kind, side, "
        "qty, tag, reason, why, decision_price, decided_at) SELECT DISTINCT ON (order_link_id) account_id, order_link_id, "
        "bot_id, symbol, exec_time, 'enter', 'market', side, qty, $1, $2, $3, price, exec_time FROM trading.fills "
        "WHERE symbol = $4 AND exec_type = 'Trade'",
        *(nasty("tag"), nasty("reason"), nasty("why"), symbol),
    )
    await connection.execute(
        "INSERT INTO trading.orders (account_id, order_id, order_link_id, bot_id, category, symbol, side, order_type, status, "
        "qty, cum_exec_qty, avg_price, reason, reduce_only, close_on_trigger, created_at, updated_at, received_at) SELECT "
        "account_id, order_id, order_link_id, bot_id, category, symbol, side, 'Market', 'Filled', qty, qty, price, reason, "
        "false, false, exec_time, exec_time, exec_time FROM trading.fills WHERE symbol = $1 AND exec_type = 'Trade'",
        symbol,
    )
    await connection.execute(
        "INSERT INTO audit.commands (command_id, issued_at, source, issuer, issuer_role, name, bot_id, arguments, outcome, answer) "
        "VALUES ('x1', $1, 'telegram', $2, 'admin', $3, $4, $5::jsonb, 'done', $6)",
        *(
            NOW,
            nasty("issuer"),
            nasty("command"),
            BOT,
            {"words": nasty("argument")},
            nasty("answer"),
        ),
    )
    await connection.execute(
        "INSERT INTO trading.reconciliation_issues (account_id, bot_id, kind, subject, symbol, explanation) "
        "VALUES ($1, $2, $3, $4, $5, $3)",
        *(account, BOT, nasty("issue"), nasty("subject"), symbol),
    )
    await connection.execute(
        "INSERT INTO trading.halts (account_id, bot_id, symbol, kind, reason, created_by) VALUES ($1, $2, NULL, 'limit', $3, $3)",
        *(account, BOT, nasty("halt")),
    )
    await connection.execute(
        "INSERT INTO audit.alerts (stream_id, raised_at, level, source, bot_id, code, message, remedy) "
        "VALUES ('1-1', $1, 'warning', $2, NULL, $3, $4, $5)",
        *(NOW, nasty("service"), nasty("alertkey"), nasty("alert"), nasty("remedy")),
    )
    await connection.execute(
        "INSERT INTO audit.backups (kind, started_at, finished_at, ok, detail) VALUES ('backup', now(), now(), false, $1)",
        nasty("backup"),
    )
    trade = await connection.fetchval(
        "SELECT trade_id FROM trading.position_summaries WHERE symbol = $1 ORDER BY closed_at DESC LIMIT 1", symbol
    )
    await connection.close()
    await put_on_record(platform, artefact(tmp_path, effect=1.5))
    await run_sql(house_database, f"UPDATE trading.models SET stage_by = $x${nasty('modelby')}$x$")
    now, redis = str(ms_of(NOW)), redis_links.of(first)
    held = nasty("possymbol") + "USDT"
    await redis.sadd(keys.symbols(BOT), symbol, "BTCUSDT")
    await redis.sadd(keys.positions(BOT), held)
    position = {
        "side": "Buy",
        "size": "1",
        "entry_price": "10",
        "mark_price": "11",
        "unrealised_pnl": "1",
        "leverage": "3",
    }
    times = {"opened_at": now, "updated_at": now, "seq": "5", "stop_loss": "9"}
    await redis.hset(keys.position(BOT, held), mapping={**position, **times})
    order = {
        "orderId": nasty("orderid"),
        "symbol": nasty("ordersymbol"),
        "side": "Buy",
        "orderType": "Limit",
        "qty": "1",
    }
    more = {"cumExecQty": "0", "price": "1", "reduceOnly": False, "orderLinkId": nasty("linkid"), "createdTime": now}
    await redis.hset(keys.orders(BOT), nasty("orderid"), json.dumps({**order, **more}))
    await redis.hset(
        keys.heartbeat(BOT),
        mapping={
            "alive_at": str(wall_ms()),
            "state": "starting",
            "waits_for": nasty("waits"),
            "writer": "w",
            "beat": "1",
        },
    )
    alert = {
        "level": "critical",
        "key": nasty("alertkey"),
        "text": nasty("alert"),
        "remedy": nasty("remedy"),
        "bot": BOT,
    }
    await redis_links.shared.xadd(keys.ALERTS, {**alert, "service": nasty("service"), "raised_ms": str(wall_ms())})
    row = {"start_ms": ms_of(NOW) // 300_000 * 300_000, "interval_ms": 300_000, "values": {nasty("indicator"): 1.0}}
    await redis.rpush(keys.indicators(BOT, "BTCUSDT"), json.dumps(row))
    await redis.sadd(keys.intervals(BOT), "5")
    candle = Candle(ms_of(NOW) // 300_000 * 300_000, "10", "11", "9", "10", "1")
    await redis_links.shared.rpush(keys.candles("BTCUSDT", "5"), encode_candle(candle))
    logs = tmp_path / "outside"
    logs.mkdir()
    line = {"event": nasty("logline"), "level": "error", "timestamp": f"{NOW:%Y-%m-%dT%H:%M:%SZ}", nasty("logline"): 1}
    (logs / "risk_guard.log").write_text(json.dumps(line) + "\n" + nasty("logline") + "\n")
    centre = replace(platform, registry=registry)
    async with steering_desk(house_database, redis_links, centre, dashboard_logs_dir=str(logs)) as desk:
        yield desk, str(trade)


def pages(trade: str) -> list[str]:
    """Every page, with ranges that hold the hostile rows."""
    listed = [f"/{name}?range=all" for name in MENU if name not in {"analysis", "exposure", "risk", "balance", "model"}]
    asked = ("analysis", "exposure", "risk", "balance", "model", "issues", "sync", "orders", "alerts")
    return [
        "/?range=all", *listed, *(f"/{name}" for name in asked), f"/trades?range=all&bot={BOT}", "/model?q=proof", "/chart",
        "/chart/BTCUSDT", "/figures?range=all",
        f"/trade/{trade}", "/system", "/logs", "/logs/risk_guard", "/steer", "/audit?range=all", "/sessions",
        "/trades?range=all&search=%22%3E%3Cimg%20src%3Dx%20onerror%3Dhit%28%29%3E", "/trades?q=%3Cscript%3Ehit%28%29%3C/script%3E",
    ]  # fmt: skip


async def test_no_text_from_outside_becomes_markup_on_any_page(hostile: tuple[Desk, str]) -> None:
    desk, trade = hostile
    seen: list[str] = []
    async with desk.person(ADMIN) as person:
        for path in pages(trade):
            answer = await person.get(path)
            assert answer.status_code in {200, 400, 404}, (path, answer.text[-300:])
            reader = Reader()
            reader.feed(answer.text)
            assert reader.faults == [], path
            seen += reader.text
        for path in (
            "/data/candles/BTCUSDT?range=all",
            f"/data/trade/{trade}",
            "/data/equity?range=all",
            "/data/logs/risk_guard",
        ):
            answer = await person.get(path)
            assert answer.status_code == 200, path
            assert answer.headers["Content-Type"].split(";")[0] in {"application/json", "text/plain"}, path
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            seen.append(answer.text)
        for name in ("trades", "fills", "orders", "alerts", "audit"):
            answer = await person.get(f"/{name}.csv?range=all")
            assert answer.headers["Content-Type"].startswith("text/csv")
            assert answer.headers["Content-Disposition"].startswith("attachment")
            # ids by which a row is found at the exchange are in the files alone
            seen.append(answer.text.replace('""', '"'))
    text = "\n".join(seen)
    shown = {word for word in WORDS if f"{word}\"'>" in text or f"{word}\\\"'>" in text}
    assert shown == set(WORDS), "each text that is planted is shown somewhere, so that its escaping was looked at"


@pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed")
async def test_nothing_of_it_runs_in_a_browser(hostile: tuple[Desk, str]) -> None:
    desk, trade = hostile
    async with browser() as new_tab:
        tab = await new_tab()
        await tab.resize(DESKTOP)
        await tab.call(
            "Page.addScriptToEvaluateOnNewDocument", source="window.hits = []; window.hit = (x) => hits.push(x)"
        )
        for path in (
            f"/?range=all&token={TOKEN}",
            f"/trade/{trade}",
            "/chart/BTCUSDT?range=all",
            "/logs/risk_guard",
            "/alerts?range=all",
        ):
            await tab.open(f"{desk.address}{path}")
            await tab.until(
                "![...document.querySelectorAll('[data-chart]')].some((c) => !c.dataset.drawn && !c.classList.contains('empty'))"
            )
            assert await tab.value("hits.length") == 0, path
            assert await tab.value("document.querySelectorAll('img, script:not([src]), [onerror]').length") == 0, path
