"""The service as its own process: across a restart, while Telegram is unavailable, and at shutdown."""

import asyncio
import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from alpha.alerts import Alert, Alerts, Level
from alpha.clock import wall_ms
from alpha.config.services import DatabaseSettings
from alpha.live_state import keys
from alpha.model.timestamp import ms_of
from demo.ports import free_port
from demo.processes import Supervisor
from demo.redis import EmbeddedRedis
from operations import history
from operations.context import Operations
from operations.formatting import usdt
from telegram_manager.tests.conftest import ADMIN, OPERATOR, SECOND_ADMIN, VIEWER
from tests.support.bot_api import TOKEN, BotApi
from tests.support.forkserver import Forked, popen
from tests.support.operations import NOW, PASSWORDS, ROOT

CHANNEL = -100777


class Service:
    """A `python -m telegram_manager` process: forked, or `anew` by an interpreter."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.health_port = free_port()
        self._environment = {**environment, "HEALTH_PORT": str(self.health_port)}
        self._folder = folder
        self._process: subprocess.Popen[str] | Forked | None = None

    def start(self, *, anew: bool = False) -> None:
        """Start the process."""
        with (self._folder / "service.log").open("ab") as output:
            self._process = popen(
                ["-m", "telegram_manager"], cwd=self._folder, environment=self._environment, output=output, anew=anew
            )

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; return the exit code."""
        if self._process is None:
            return 0
        self._process.send_signal(number)
        return await asyncio.to_thread(self._process.wait, 30)

    def said(self) -> str:
        """Its log output."""
        return (self._folder / "service.log").read_text()

    def healthy(self) -> dict[str, Any]:
        """The /healthz response."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.health_port}/healthz", timeout=5) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found


@pytest.fixture
async def service(
    api: BotApi, platform: Operations, house_database: DatabaseSettings, redis_server: EmbeddedRedis, tmp_path: Path
) -> AsyncIterator[Service]:
    made = Service(
        {
            **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")},
            **redis_server.environment(),
            "PYTHONPATH": str(ROOT),
            "POSTGRES_HOST": house_database.postgres_host,
            "POSTGRES_PORT": str(house_database.postgres_port),
            "POSTGRES_DB": house_database.postgres_db,
            "POSTGRES_USER": "alpha_c2",
            "POSTGRES_PASSWORD": PASSWORDS["alpha_c2"],
            "ALPHA_BOTS_FILE": str(ROOT / "bots.toml"),
            "BOT_CONTROL_URL": f"supervisor://{tmp_path / 'supervisor.sock'}",
            "C2_TELEGRAM_API_URL": api.url,
            "C2_TELEGRAM_BOT_TOKEN": TOKEN,
            "C2_TELEGRAM_ADMIN_IDS": f"{ADMIN},{SECOND_ADMIN}",
            "C2_TELEGRAM_OPERATOR_IDS": str(OPERATOR),
            "C2_TELEGRAM_VIEWER_IDS": str(VIEWER),
            "SHORTSELLER_TELEGRAM_CHANNEL_ID": str(CHANNEL),
            "C2_ALERT_DRAWDOWN_PCT": "0",
            "LOG_FORMAT": "json",
        },
        tmp_path,
    )
    yield made
    await made.end(signal.SIGKILL)


async def test_the_service_answers_is_healthy_and_ends_in_order(service: Service, api: BotApi) -> None:
    service.start(anew=True)
    api.says(VIEWER, "/status")
    await api.until(lambda m: m.chat == VIEWER and "Status" in m.text)
    assert service.healthy()["healthy"] is True
    assert await service.end() == 0
    assert TOKEN not in service.said()


async def test_no_command_is_lost_or_run_twice_over_a_kill(service: Service, api: BotApi, platform: Operations) -> None:
    service.start()
    for number in range(1, 8):
        api.says(VIEWER, f"/trades {number}")
    await api.until(lambda m: m.chat == VIEWER)
    await service.end(signal.SIGKILL)
    api.says(VIEWER, "/balance")
    service.start()
    await api.until(lambda m: "Balance" in m.text)
    rows = await platform.history.rows("SELECT command_id, name FROM audit.commands WHERE issuer = $1", str(VIEWER))
    assert sorted(row["name"] for row in rows) == ["balance", *["trades"] * 7]
    # an answer is sent at most once per command
    assert len([said for said in api.to(VIEWER) if "Trades" in said.text]) <= 7
    await service.end()


async def test_an_order_cut_off_by_a_kill_is_reported_and_not_run_again(
    service: Service, api: BotApi, platform: Operations
) -> None:
    service.start()
    # no guard answers: the panic is in progress until the kill
    api.says(ADMIN, "/panic")
    asked = await api.until(lambda m: bool(m.buttons) and "PANIC" in m.text)
    api.presses(ADMIN, asked.button("Yes")["callback_data"], asked)
    while not await platform.live.shared.xlen(keys.control("guard")):
        await asyncio.sleep(0.02)
    await service.end(signal.SIGKILL)
    service.start()
    told = await api.until(lambda m: "was restarted while /panic ran" in m.text)
    assert told.chat in (ADMIN, SECOND_ADMIN)
    assert len(await platform.live.shared.xrange(keys.control("guard"))) == 1
    await service.end()


async def test_alerts_reach_those_who_want_them_and_critical_ones_can_be_acknowledged(
    service: Service, api: BotApi, platform: Operations
) -> None:
    await Alerts(platform.live.shared, "tests").raise_alert(
        Alert(Level.CRITICAL, "t:1", "The roof <burns> & falls.", "Call someone.", "lxalgo_001"), wall_ms()
    )
    service.start()
    alert = await api.until(lambda m: m.chat == OPERATOR and "roof" in m.text)
    assert "The roof <burns> & falls." in alert.text
    api.presses(OPERATOR, alert.button("Acknowledge")["callback_data"], alert)
    await api.until(lambda m: m.chat == OPERATOR and "acknowledged" in m.text)
    await service.end()


async def test_alerts_wait_while_telegram_is_away_and_then_come_once_in_order(
    service: Service, api: BotApi, platform: Operations
) -> None:
    service.start()
    api.says(VIEWER, "/whoami")
    await api.until(lambda m: m.chat == VIEWER)
    port = int(api.url.rpartition(":")[2])
    await api.close()
    alerts = Alerts(platform.live.shared, "tests")
    for number in range(3):
        await alerts.raise_alert(Alert(Level.WARNING, f"w:{number}", f"Trouble number {number}."), wall_ms())
    await api.open(port)
    await api.until(lambda m: m.chat == ADMIN and "number 2" in m.text)
    text = "\n".join(said.text for said in api.to(ADMIN))
    assert [text.count(f"number {number}") for number in range(3)] == [1, 1, 1]
    assert text.index("number 0") < text.index("number 1") < text.index("number 2")
    await service.end()


async def test_what_is_stopped_by_wish_is_stopped_again(
    service: Service, platform: Operations, supervisor: Supervisor
) -> None:
    await history.set_desired_state(platform, platform.registry.find("lxalgo"), "stopped", "me")
    await _make_wish_old(platform)
    await supervisor.start("lxalgo")
    service.start()
    while supervisor.processes["lxalgo"].state != "exited":
        await asyncio.sleep(0.05)
    await service.end()


async def test_a_strategys_channel_gets_new_trades_once_and_the_result_of_a_day(
    service: Service, api: BotApi, platform: Operations
) -> None:
    service.start()
    api.says(VIEWER, "/whoami")
    await api.until(lambda m: m.chat == VIEWER)
    await _wait_for_news_to_begin(platform)
    await _new_trade(platform)
    posted = await api.until(lambda m: m.chat == CHANNEL and "Left XRPUSDT" in m.text)
    assert "+9.80 USDT" in posted.text
    assert "take profit" in posted.text
    assert "Entered XRPUSDT" in "".join(said.text for said in api.to(CHANNEL))
    await service.end()
    service.start()
    api.says(VIEWER, "/balance")
    await api.until(lambda m: "Balance" in m.text)
    assert len([said for said in api.to(CHANNEL) if "Left XRPUSDT" in said.text]) == 1
    # the exchange's day ends
    day, net = await platform.history.value(
        "SELECT row(max(day), (array_agg(net ORDER BY day DESC))[1]) FROM trading.bot_daily_performance "
        "WHERE bot_id = 'shortseller_001' AND day <= $1",
        NOW.date(),
    )
    assert day == NOW.date()
    for bot in platform.registry.bots:
        await platform.live.of(bot).hset(keys.wallet(bot.id), "updated_at", str(ms_of(NOW + timedelta(days=1))))
    posted = await api.until(lambda m: m.chat == CHANNEL and "📅" in m.text)
    assert f"{day}: net {usdt(net).text} USDT" in posted.text
    await service.end()


async def _make_wish_old(platform: Operations) -> None:
    """Make the desired state a minute old."""
    await platform.history.value(
        "UPDATE trading.bots SET wish_at = wish_at - interval '1 minute' WHERE bot_id = 'lxalgo_001'"
    )


async def _wait_for_news_to_begin(platform: Operations) -> None:
    while not await platform.history.value("SELECT count(*) FROM audit.command_centre WHERE name = 'trade_news'"):
        await asyncio.sleep(0.05)


async def _new_trade(platform: Operations) -> None:
    """Insert one round trip of the short seller, newer than all history, as the listener would."""
    from decimal import Decimal

    from alpha.postgres.database import connect
    from alpha.postgres.fills import Fill, insert_fills
    from tests.support.operations import as_role

    account = await platform.history.value("SELECT account_id FROM trading.accounts WHERE bot_id = 'shortseller_001'")
    connection = await connect(as_role(platform.history._settings, "alpha_listener"), "tests")
    for number, (side, price, reason) in enumerate((("Sell", "2.00", "entry"), ("Buy", "1.90", "take_profit"))):
        moment = datetime(2025, 6, 1, 10, number, tzinfo=UTC)
        await insert_fills(
            connection,
            [
                Fill(account, "shortseller_001", "linear", "XRPUSDT", f"n{number}", f"o{number}", None, side, "Trade", reason,
                     Decimal(price), Decimal(100), Decimal(price) * 100, Decimal("0.10"), "USDT", Decimal(0), None, None, False,
                     9_000_000 + number, moment, moment)
            ],
        )  # fmt: skip
    await connection.close()


async def test_the_webhook_gets_every_alert(service: Service, platform: Operations) -> None:
    got: list[dict[str, Any]] = []
    came = asyncio.Event()

    async def take(request: web.Request) -> web.Response:
        got.extend((await request.json())["alerts"])
        came.set()
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    service._environment["C2_WEBHOOK_URL"] = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    # with no Telegram configured
    del service._environment["C2_TELEGRAM_BOT_TOKEN"]
    del service._environment["SHORTSELLER_TELEGRAM_CHANNEL_ID"]
    service.start()
    await Alerts(platform.live.shared, "tests").raise_alert(Alert(Level.INFO, "i:1", "Something happened."), wall_ms())
    while not any(row["key"] == "i:1" for row in got):
        came.clear()
        await came.wait()
    await service.end()
    await runner.cleanup()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("C2_TELEGRAM_ADMIN_IDS", ""),
        ("C2_TELEGRAM_API_URL", "http://example.org"),
        ("C2_QUIET_HOURS", "always"),
        ("C2_TELEGRAM_GROUPS", "my group"),
        ("C2_TELEGRAM_ACCESS_CODE_HASH", "plain-code"),
        ("C2_TELEGRAM_BOT_TOKEN", "1:refused"),
        ("SHORTSELLER_TELEGRAM_CHANNEL_ID", "channel"),
        ("ALPHA_TIMEZONE", "Mars/Base"),
    ],
)
async def test_a_wrong_setting_ends_the_start_with_one_sentence(service: Service, variable: str, value: str) -> None:
    service._environment[variable] = value
    service.start()
    assert service._process is not None
    assert await asyncio.to_thread(service._process.wait, 60) == 2
    sentence = service.said().splitlines()[-1]
    assert variable in sentence
    assert "Traceback" not in service.said()
    assert "plain-code" not in service.said()


async def test_the_heartbeat_and_the_daily_summary_come_from_the_service_itself(
    service: Service, api: BotApi, platform: Operations
) -> None:
    beats = asyncio.Event()

    async def beat(_: web.Request) -> web.Response:
        beats.set()
        return web.Response()

    app = web.Application()
    app.router.add_get("/beat", beat)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    service._environment["C2_HEARTBEAT_URL"] = f"http://127.0.0.1:{runner.addresses[0][1]}/beat"
    service._environment["C2_DAILY_SUMMARY_AT"] = "00:00"
    # as if it had been sent yesterday
    yesterday = platform.wall_now().date() - timedelta(days=1)
    await platform.history.value(
        "INSERT INTO audit.command_centre (name, state) VALUES ('daily_summary', $1)",
        {"day": yesterday.isoformat(), "told": [ADMIN]},
    )
    service.start()
    await api.until(lambda m: m.chat == ADMIN and "Daily summary" in m.text)
    await beats.wait()
    assert "/beat" not in service.said()
    await service.end()
    await runner.cleanup()
