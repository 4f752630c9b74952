"""The health watch over real stores: drawdown, backups, disk, losses, every trade if enabled."""

import shutil
from collections import namedtuple
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from alpha.alerts import Alert, Alerts, Level
from alpha.config.services import DatabaseSettings
from alpha.live_state import keys
from alpha.model.timestamp import ms_of
from alpha.postgres.database import connect
from alpha.registry import Bot
from operations.context import Operations
from operations.status import BotState, BotStatus, Status
from telegram_manager.health_watch import Debouncer, HealthWatch, judged
from telegram_manager.state_store import StateStore
from telegram_manager.tests.test_delivery import add_trades
from telegram_manager.trade_events import TradeEvents
from tests.support.operations import NOW

Usage = namedtuple("Usage", "total used free")


async def _raised(platform: Operations) -> list[dict[str, str]]:
    """The alerts in the stream, oldest first."""
    return [fields for _, fields in await platform.live.shared.xrange(keys.ALERTS)]


def _watch(platform: Operations, drawdown_pct: int = 10) -> HealthWatch:
    return HealthWatch(platform, Alerts(platform.live.shared, "telegram_manager"), drawdown_pct)


async def test_an_account_far_below_its_high_is_an_alert_and_one_near_it_is_none(platform: Operations) -> None:
    lxalgo, momentum = platform.registry.find("lxalgo"), platform.registry.find("momentum")
    high = await platform.history.value(
        "SELECT max(e.high) FROM trading.daily_equity AS e JOIN trading.accounts AS a USING (account_id) "
        "WHERE a.bot_id = 'lxalgo_001'"
    )
    await platform.live.of(lxalgo).hset(keys.wallet(lxalgo.id), "equity", str(high * Decimal("0.8")))
    await platform.live.of(momentum).hset(keys.wallet(momentum.id), "equity", "1000000")
    await _watch(platform).look_around()
    found = {row["key"]: row for row in await _raised(platform)}
    assert f"20.0 % below its high of the last 90 days ({high:,.2f} USDT)" in found["drawdown:lxalgo_001"]["text"]
    assert found["drawdown:lxalgo_001"]["level"] == "warning"
    assert "drawdown:momentum_001" not in found


async def test_a_backup_that_is_a_day_late_is_an_alert(platform: Operations, house_database: DatabaseSettings) -> None:
    def later(hours: int) -> Operations:
        moment = ms_of(seen + timedelta(hours=hours))
        return replace(platform, wall_ms=lambda: moment)

    seen: datetime = await platform.history.value("SELECT min(first_seen_at) FROM trading.accounts")
    await _watch(later(25), 0).look_around()
    assert await _raised(platform) == []
    await _watch(later(27), 0).look_around()
    (alert,) = await _raised(platform)
    assert (alert["key"], alert["level"], alert["text"]) == (
        "backup-missing",
        "critical",
        "There is no successful backup yet.",
    )
    owner = await connect(house_database, "tests")
    await owner.execute(
        "INSERT INTO audit.backups (kind, started_at, finished_at, ok, detail) VALUES ('backup', $1, $1, true, '')",
        seen + timedelta(hours=20),
    )
    await owner.close()
    await _watch(later(45), 0).look_around()
    assert len(await _raised(platform)) == 1
    await _watch(later(47), 0).look_around()
    assert "The last good backup is of" in (await _raised(platform))[-1]["text"]


async def test_a_disk_that_is_nearly_full_is_an_alert(platform: Operations, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, alerts in ((60, 0), (40, 1)):
        usage = Usage(1000 * 2**30, 0, free * 2**30)
        monkeypatch.setattr(shutil, "disk_usage", lambda _, usage=usage: usage)
        await _watch(platform, 0).look_around()
        assert len([row for row in await _raised(platform) if row["key"] == "disk-low"]) == alerts
    assert "Only 40.0 GiB" in (await _raised(platform))[-1]["text"]


@pytest.mark.parametrize(
    ("loss_usdt", "every_trade", "keys_begin"),
    [
        (0, False, []),
        (5, False, ["large-loss:momentum_001"]),
        (11, False, []),
        (11, True, ["trade:momentum_001", "trade:momentum_001"]),
    ],
)
async def test_a_large_loss_is_an_alert_and_every_trade_is_one_when_wanted(
    platform: Operations, loss_usdt: int, every_trade: bool, keys_begin: list[str]
) -> None:
    async def tell(_: Bot, __: list[str]) -> None:
        return None

    alerts: Any = Alerts(platform.live.shared, "tests")
    news = TradeEvents(platform, StateStore(platform), alerts, tell, loss_usdt, every_trade=every_trade)
    await news.load()
    await news.look()
    # short: sold at 2.00, bought back at 2.10, quantity 100, fees of 0.20: -10.20 USDT
    await add_trades(platform, "momentum_001", "DOGEUSDT", 0, exit_price="2.10")
    await news.look()
    await news.look()
    raised = await _raised(platform)
    assert [row["key"].rsplit(":DOGEUSDT", 1)[0] for row in raised] == keys_begin
    said = [row["text"] for row in raised]
    assert [text for text in said if text.startswith("Left")] == [text for text in said if "-10.20 USDT" in text]
    assert [text for text in said if not text.startswith("Left")] == (
        ["Entered DOGEUSDT short 100 at 2."] if every_trade else []
    )


async def test_trouble_that_passes_is_not_told_and_trouble_that_lasts_is_told_again(platform: Operations) -> None:
    lasting = Debouncer(Alerts(platform.live.shared, "tests"), 30_000)
    trouble = Alert(Level.CRITICAL, "bot-down:x", "x does not run.")
    for moment in (0, 29_000):
        await lasting.told([trouble], moment)
    await lasting.told([], 29_500)
    await lasting.told([trouble], 30_000)
    assert await _raised(platform) == []
    for moment in range(35_000, 700_000, 5_000):
        await lasting.told([trouble], moment)
    assert len(await _raised(platform)) == 2


async def test_the_end_of_what_was_raised_is_passed_on_unless_not_everything_could_be_looked_at(
    platform: Operations,
) -> None:
    ended: list[tuple[list[str], int]] = []
    watch = Debouncer(
        Alerts(platform.live.shared, "tests"), 30_000, lambda keys, now_ms: ended.append(([*keys], now_ms))
    )
    lasting, short = Alert(Level.CRITICAL, "lasting", "It lasts."), Alert(Level.WARNING, "short", "It passes.")
    await watch.told([lasting], 0)
    await watch.told([lasting, short], 35_000)
    await watch.told([], 40_000, complete=False)
    assert ended == [], "Redis is away: nothing can be said of the bots"
    await watch.told([lasting], 45_000)
    assert ended == [], "what passed before it was told has no end to tell"
    await watch.told([], 50_000)
    assert ended == [(["lasting"], 50_000)]
    await watch.told([], 55_000)
    assert len(ended) == 1


async def test_trouble_that_ended_while_the_watch_was_away_has_its_end_told_by_the_first_whole_look(
    platform: Operations,
) -> None:
    ended: list[list[str]] = []
    alerts = Alerts(platform.live.shared, "tests")
    watch = Debouncer(alerts, 30_000, lambda keys, _: ended.append([*keys]), lambda: ["bot-down:x", "bot-down:y"])
    await watch.told([], 0, complete=False)
    assert ended == []
    still = Alert(Level.CRITICAL, "bot-down:y", "y does not run.")
    await watch.told([still], 5_000)
    assert ended == [["bot-down:x"]]
    await watch.told([still], 10_000)
    await watch.told([still], 40_000)
    await watch.told([], 45_000)
    assert ended == [["bot-down:x"], ["bot-down:y"]]


async def test_a_bot_whose_data_is_not_synced_is_not_judged() -> None:
    bot = BotStatus("lxalgo_001", BotState.RUNNING, "synced", 1.0, "running", "", [], None, None, None)
    assert judged(Status([bot], [], [], [], None, NOW))
    assert not judged(Status([replace(bot, data="stale")], [], [], [], None, NOW))
    assert not judged(Status([bot], [], [], ["Redis is away."], None, NOW))
